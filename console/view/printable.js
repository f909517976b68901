// Untrusted text made safe to look at. It is only ever put into text nodes and titles, so it cannot become markup; this
// takes care of what text can still do: terminal codes, invisible controls, and marks that turn the reading order round.

const TERMINAL_CODES = /\u001b(?:\[[0-9;:?<=>]*[ -/]*[@-~]|\][^\u0007\u001b]*(?:\u0007|\u001b\\)|[@-Z\\-_])/g;
const UNSEEN = /[\u0000-\u0008\u000b-\u001f\u007f-\u009f\u202a-\u202e\u2066-\u2069\ufeff]|[\ud800-\udbff](?![\udc00-\udfff])|(?<![\ud800-\udbff])[\udc00-\udfff]/g;

/** The text without terminal codes, with a visible sign in place of every other control character. */
export function printable(string) {
  // Both ends of a line are common and harmless; everything else is rare, so the test comes first.
  const plain = string.includes("\r") ? string.replace(/\r\n?/g, "\n") : string;
  UNSEEN.lastIndex = 0;
  if (!UNSEEN.test(plain)) return plain;
  return plain.replace(TERMINAL_CODES, "").replace(UNSEEN, sign);
}

function sign(char) {
  const code = char.charCodeAt(0);
  if (code < 0x20) return String.fromCharCode(0x2400 + code);
  if (code === 0x7f) return "\u2421";
  if (code >= 0x202a && code <= 0x2069) return `[U+${code.toString(16).toUpperCase()}]`;
  return "\ufffd";
}
