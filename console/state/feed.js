// The activity feed's memory: the newest entries, bounded in number and bytes. Pieces of one message share an entry.

import { describe } from "./describe.js";
import { isObject, tail, text } from "./value.js";

const ENTRIES_MAX = 2_000;
const BYTES_MAX = 16 * 1024 * 1024;
const STREAMING_CHARS_MAX = 2_000;

export class Feed {
  entries = [];
  /** Entries ever added. */
  added = 0;
  /** Counts how often older entries were put in front. */
  generation = 0;
  /** Entries whose text grew since the view last looked. */
  grown = new Set();
  #bytes = 0;
  #first = 0;
  #streams = new Map();

  /** Adds an event; `bytes` is its size on the wire, `who` names its agent. */
  add(event, bytes, who) {
    const data = isObject(event.data) ? event.data : {};
    if (event.type === "message.delta") return this.#grow(event, data, bytes, who);
    if (event.type === "message.completed" && this.#complete(event, data, bytes)) return;
    this.#push({ ...describe(event, data), event, who, bytes });
  }

  /** Puts what happened before the page came in front. */
  addBefore(events, whoOf) {
    const newer = this.entries.slice(this.#first);
    const streams = this.#streams;
    Object.assign(this, { entries: [], generation: this.generation + 1 });
    this.#first = 0;
    this.#bytes = 0;
    this.#streams = new Map();
    for (const event of events) this.add(event, JSON.stringify(event).length, whoOf(event));
    // A message that spans the seam goes on in the newer entry.
    for (const key of streams.keys()) {
      const older = this.#streams.get(key);
      if (older) older.streaming = false;
    }
    streams.forEach((entry, key) => this.#streams.set(key, entry));
    newer.forEach((entry) => this.#push(entry));
  }

  #grow(event, data, bytes, who) {
    const key = streamKey(event, data);
    const open = this.#streams.get(key);
    if (open) {
      open.text = tail(open.text + text(data.text, STREAMING_CHARS_MAX), STREAMING_CHARS_MAX);
      open.pieces += 1;
      this.grown.add(open);
      return;
    }
    const entry = { ...describe(event, data), event, who, bytes: bytes + STREAMING_CHARS_MAX, pieces: 1, streaming: true, key };
    this.#streams.set(key, entry);
    this.#push(entry);
  }

  #complete(event, data, bytes) {
    const key = streamKey(event, data);
    const open = this.#streams.get(key);
    if (!open) return false;
    this.#streams.delete(key);
    Object.assign(open, { text: describe(event, data).text, event, streaming: false });
    open.bytes += bytes;
    this.#bytes += bytes;
    this.grown.add(open);
    return true;
  }

  #push(entry) {
    entry.atMs ??= Date.now();
    this.added += 1;
    this.entries.push(entry);
    this.#bytes += entry.bytes;
    while (this.#length > ENTRIES_MAX || (this.#bytes > BYTES_MAX && this.#length > 1)) this.#drop();
    // Shifting an array costs its length each time; so the dead head is cut off in blocks.
    if (this.#first > ENTRIES_MAX) this.entries = this.entries.slice(this.#first), (this.#first = 0);
  }

  #drop() {
    const entry = this.entries[this.#first];
    this.entries[this.#first] = undefined;
    this.#first += 1;
    this.#bytes -= entry.bytes;
    this.grown.delete(entry);
    if (entry.streaming) this.#streams.delete(entry.key);
  }

  get #length() {
    return this.entries.length - this.#first;
  }

  /** The newest `max` entries that pass, oldest first. */
  newest(max, passes) {
    const found = [];
    for (let at = this.entries.length - 1; at >= this.#first && found.length < max; at -= 1) {
      if (passes(this.entries[at])) found.push(this.entries[at]);
    }
    return found.reverse();
  }

  /** What was added since `added` stood at `before`, at most the newest `max`. */
  since(before, max) {
    const fresh = Math.min(this.added - before, max, this.#length);
    return fresh > 0 ? this.entries.slice(-fresh) : [];
  }
}

function streamKey(event, data) {
  return JSON.stringify([event.session, data.message_id]);
}
