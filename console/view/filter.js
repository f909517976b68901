// The words of the filter box: `session:`, `agent:`, `type:` and `level:` name a field, everything else is looked for in
// the text. Quotes keep blanks together. All of them must be true of an entry.

const WORD = /(?:(session|agent|type|level):)?(?:"([^"]*)"?|(\S+))/giu;

/** `{passes(entry)}` of what a person typed. */
export function parseFilter(input) {
  const tests = [];
  for (const [, field, quoted, bare] of input.matchAll(WORD)) {
    const wanted = (quoted ?? bare ?? "").toLowerCase();
    if (wanted !== "") tests.push(testOf(field?.toLowerCase(), wanted));
  }
  return (entry) => tests.every((test) => test(entry));
}

/** How a field is written so that it is read back as it was. */
export function term(field, value) {
  return /^[^\s"]+$/u.test(value) ? `${field}:${value}` : `${field}:"${value.replaceAll('"', "")}"`;
}

function testOf(field, wanted) {
  const has = (value) => typeof value === "string" && value.toLowerCase().includes(wanted);
  switch (field) {
    case "session":
      return ({ event }) => has(event.session);
    case "agent":
      return ({ event, who }) => has(event.agent) || (event.agent && has(who));
    case "type":
      return ({ event }) => {
        const type = event.type.toLowerCase();
        return type === wanted || type.startsWith(`${wanted}.`);
      };
    case "level":
      return ({ level }) => has(level);
    default:
      return ({ text, who, event }) => has(text) || has(who) || has(event.session) || has(event.type);
  }
}
