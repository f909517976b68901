// One row of the activity. It opens to the whole event, written only when somebody looks.

import { make, makeIcon, setData, setText, setTitle } from "./dom.js";
import { ICONS } from "./icons.js";
import { clock, exact } from "./time.js";
import { cut, tail, timeMs } from "../state/value.js";

const WHOLE_CHARS_MAX = 200_000;
/** So few that their end is on the page even on a phone. */
const STREAMING_SHOWN_CHARS = 160;

/** `{node, entry, write}`; `write` brings the text up to date. */
export function makeRow(entry) {
  const words = make("span", "words");
  words.dir = "auto";
  const when = make("time", "when");
  const ms = timeMs(entry.event.received) ?? timeMs(entry.event.time) ?? entry.atMs;
  setText(when, clock(ms));
  when.dateTime = new Date(ms).toISOString();
  setTitle(when, exact(ms));
  const who = make("bdi", "who");
  setText(who, entry.who);
  setTitle(who, entry.who);
  const type = make("span", "type");
  const summary = make("summary", "", when, makeIcon(ICONS[entry.kind] ?? ICONS.other), who, words, type);
  const details = make("details", "entry", summary);
  details.addEventListener("toggle", () => details.open && showWhole(details, entry), { once: true });
  const node = make("li", "", details);
  setData(node, "tone", entry.tone);
  setData(node, "kind", entry.kind);
  const write = () => {
    setText(type, entry.event.type);
    setData(node, "streaming", String(entry.streaming === true));
    setText(words, entry.streaming ? ending(entry.text) : entry.text);
  };
  write();
  return { node, entry, write };
}

/** The end of a growing text, from the beginning of a word. */
function ending(string) {
  if (string.length <= STREAMING_SHOWN_CHARS) return string;
  return `…${tail(string, STREAMING_SHOWN_CHARS).replace(/^\S{0,20}\s/u, " ")}`;
}

function showWhole(details, { event }) {
  details.append(make("pre", "whole", cut(JSON.stringify(event, null, 2), WHOLE_CHARS_MAX)));
}
