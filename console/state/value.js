// Reading values that runners made up: any of them may be of any kind and any length.

/** The members of an object, or nothing. A Map, so that ids like `__proto__` are ids like any other. */
export function members(value) {
  return new Map(isObject(value) ? Object.entries(value) : []);
}

export function isObject(value) {
  return value !== null && typeof value === "object" && !Array.isArray(value);
}

/** A value as text: text as it is, nothing as "", all else as JSON. */
export function text(value, max = 2_000) {
  if (value === undefined || value === null) return "";
  if (typeof value === "string") return cut(value, max);
  return cut(typeof value === "object" ? JSON.stringify(value) : String(value), max);
}

/** At most `max` characters, never half of one, and a mark of how much is missing. */
export function cut(string, max) {
  if (string.length <= max) return string;
  const end = isHighSurrogate(string.charCodeAt(max - 1)) ? max - 1 : max;
  // The round trip makes a copy: a slice would keep the whole long text in memory.
  return `${JSON.parse(JSON.stringify(string.slice(0, end)))}… (+${(string.length - end).toLocaleString("en")} characters)`;
}

/** The last `max` characters of a growing text. */
export function tail(string, max) {
  if (string.length <= max) return string;
  const start = string.length - max;
  return string.slice(isHighSurrogate(string.charCodeAt(start - 1)) ? start + 1 : start);
}

export function number(value) {
  return typeof value === "number" && Number.isFinite(value) ? value : null;
}

/** A count, 0 where it is none: sums of counts stay exact. */
export function count(value) {
  const found = number(value) ?? 0;
  return Math.round(Math.min(Math.max(found, 0), 1e15));
}

/** A percentage, 0 to 100, or null. */
export function percent(value) {
  const found = number(value);
  return found === null ? null : Math.min(100, Math.max(0, found));
}

/** Milliseconds since the epoch of an RFC 3339 text, or null. */
export function timeMs(value) {
  const found = typeof value === "string" ? Date.parse(value) : NaN;
  return Number.isNaN(found) ? null : found;
}

function isHighSurrogate(unit) {
  return unit >= 0xd800 && unit <= 0xdbff;
}
