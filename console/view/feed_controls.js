// What of the activity is shown: quick kinds, a filter box, and the pause.

import { button, make, setAttribute, setText } from "./dom.js";
import { parseFilter, term } from "./filter.js";

const KINDS = [
  ["All", () => true],
  ["Messages", ({ kind }) => kind === "message"],
  ["Tools", ({ kind }) => kind === "tool"],
  ["Logs", ({ kind }) => kind === "log"],
  ["Problems", ({ tone }) => tone === "warn" || tone === "bad" || tone === "gap"],
];

export class FeedControls {
  #kind = KINDS[0];
  #matches = () => true;
  #box = make("input", "filter");
  #kinds = make("div", "kinds");
  #pause;

  constructor(onChange, onPause) {
    this.onChange = onChange;
    this.#pause = button("action", "Pause", onPause);
    Object.assign(this.#box, {
      type: "search", placeholder: "Filter: words, agent:…, session:…, type:…, level:…", spellcheck: false, autocomplete: "off",
    });
    this.#box.setAttribute("aria-label", "Filter the activity");
    this.#box.setAttribute("aria-keyshortcuts", "/");
    this.#box.addEventListener("input", () => this.#read());
    this.#box.addEventListener("keydown", (event) => {
      if (event.key === "Escape") this.#write("");
    });
    this.#kinds.setAttribute("role", "group");
    this.#kinds.setAttribute("aria-label", "Kinds of events");
    for (const kind of KINDS) this.#kinds.append(button("kind", kind[0], () => this.#choose(kind)));
    this.node = make("header", "feed-controls", make("h2", "label", "Activity"), this.#pause, this.#kinds, this.#box);
    this.#choose(this.#kind);
    addEventListener("keydown", (event) => this.#shortcut(event));
  }

  passes(entry) {
    // A gap concerns everybody, whatever they look for.
    return entry.kind === "gap" || (this.#kind[1](entry) && this.#matches(entry));
  }

  /** Shows one session or agent alone; the same again shows all. */
  pick({ session, agent }) {
    const wanted = [agent ? term("agent", agent) : "", term("session", session)].filter(Boolean).join(" ");
    this.#write(this.#box.value === wanted ? "" : wanted);
  }

  clear() {
    this.#write("");
  }

  setPaused(paused) {
    setText(this.#pause, paused ? "Resume" : "Pause");
  }

  #choose(kind) {
    this.#kind = kind;
    [...this.#kinds.children].forEach((node, at) => setAttribute(node, "aria-pressed", String(KINDS[at] === kind)));
    this.onChange();
  }

  #write(value) {
    this.#box.value = value;
    this.#read();
  }

  #read() {
    this.#matches = parseFilter(this.#box.value);
    this.onChange();
  }

  #shortcut(event) {
    const isTyping = /^(input|textarea|select)$/i.test(event.target.tagName);
    if (event.key !== "/" || isTyping || event.ctrlKey || event.metaKey || event.altKey) return;
    event.preventDefault();
    this.#box.focus();
  }
}
