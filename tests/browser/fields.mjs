// What a client was told, held against tables of fields: whether each has its type, and whether all were seen.
//
// A table is a name (a message type, or a route) and its fields: a path and a kind. In a list a step `0` is each of its
// elements, and a step with any other name those whose `type` that is. A kind with `?` may be null, one with `~` may be absent;
// the kind `null` is always null. A field was seen once it was there with something in it: no null, no empty text, list or
// object.

const ISO = /^\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{3}Z$/;

const isObject = (value) => value !== null && typeof value === "object" && !Array.isArray(value);

function fits(kind, value) {
  if (Array.isArray(kind)) return kind.includes(value);
  if (kind.endsWith("~")) return value === undefined || fits(kind.slice(0, -1), value);
  if (kind.endsWith("?")) return value === null || fits(kind.slice(0, -1), value);
  switch (kind) {
    case "any": return value !== undefined;
    case "array": return Array.isArray(value);
    case "integer": return Number.isInteger(value);
    case "iso": return typeof value === "string" && ISO.test(value);
    case "lower": return typeof value === "string" && value !== "" && value === value.toLowerCase();
    case "null": return value === null;
    case "object": return isObject(value);
    case "percent": return typeof value === "number" && value >= 0 && value <= 100;
    case "string": return typeof value === "string" && value !== "";
    case "text": return typeof value === "string";
    case "unix": return typeof value === "number" && value > 1.7e9 && value < 1e10;
    case "upper": return typeof value === "string" && value !== "" && value === value.toUpperCase();
    default: return typeof value === kind;
  }
}

function saysSomething(kind, value) {
  if (kind === "null") return value === null;
  if (value === null || value === undefined || value === "") return false;
  return typeof value !== "object" || Object.keys(value).length > 0;
}

/** All values at a path: one, but for lists on the way. */
function valuesAt(value, steps) {
  if (steps.length === 0) return [value];
  const [step, ...rest] = steps;
  if (!Array.isArray(value)) return valuesAt(value?.[step], rest);
  const elements = step === "0" ? value : value.filter((element) => element.type === step);
  return elements.flatMap((element) => valuesAt(element, rest));
}

export class Fields {
  #seen = new Set();

  constructor(tables) {
    this.tables = tables;
  }

  /** What is wrong with a message or a body of this name. */
  faults(name, value) {
    const table = this.tables[name];
    if (!table) return [`${name} is unknown`];
    const wrong = [];
    for (const [path, kind] of Object.entries(table)) {
      for (const found of valuesAt(value, path.split("."))) {
        if (!fits(kind, found)) wrong.push(`${name}.${path} is ${JSON.stringify(found)}, not ${kind}`);
        else if (saysSomething(kind, found)) this.#seen.add(`${name}.${path}`);
      }
    }
    return wrong;
  }

  /** The fields that no message or body without a fault has had, of all tables. */
  unseen() {
    const all = Object.entries(this.tables).flatMap(([name, table]) => Object.keys(table).map((path) => `${name}.${path}`));
    return all.filter((field) => !this.#seen.has(field));
  }
}
