// The account of the stream: a button that says in a line what came and what is missing, and a panel with the details.

import { CAUSES, missing } from "../state/describe.js";
import { RATE_SECONDS } from "../state/continuity.js";
import { make, setData, setText } from "./dom.js";
import { clock, dateTime } from "./time.js";

const SVG = "http://www.w3.org/2000/svg";
const WIDTH = 60;
const HEIGHT = 18;

export class RecordView {
  #count = make("span", "record-count");
  #verdict = make("span", "record-verdict");
  #since = make("span", "record-since");
  #line = document.createElementNS(SVG, "path");

  constructor(root, panel) {
    this.root = root;
    this.panel = panel;
    const spark = document.createElementNS(SVG, "svg");
    spark.setAttribute("viewBox", `0 0 ${WIDTH} ${HEIGHT}`);
    spark.setAttribute("aria-hidden", "true");
    spark.classList.add("spark");
    spark.append(this.#line);
    root.append(spark, this.#count, make("span", "", this.#verdict, this.#since));
    panel.addEventListener("toggle", () => this.isOpen && this.#fillPanel());
  }

  get isOpen() {
    return this.panel.matches(":popover-open");
  }

  follow(continuity) {
    this.continuity = continuity;
    this.show();
  }

  show() {
    const { continuity } = this;
    const count = continuity.received.toLocaleString("en");
    setText(this.#count, `${count} ${continuity.received === 1 ? "event" : "events"}`);
    setText(this.#verdict, verdict(continuity));
    setText(this.#since, sinceText(continuity));
    setData(this.root, "whole", String(continuity.gapsTotal === 0));
    this.root.setAttribute("aria-label", `${this.#count.textContent}, ${this.#verdict.textContent}${this.#since.textContent}. Details`);
    if (this.isOpen) this.#fillPanel();
  }

  /** Once a second: the rate moves even when nothing comes. */
  tick() {
    if (!this.continuity) return;
    const rates = this.continuity.rates();
    const top = Math.max(4, ...rates);
    const points = rates.map((rate, at) => `${((at * WIDTH) / (RATE_SECONDS - 2)).toFixed(1)} ${(HEIGHT - 1 - (rate / top) * (HEIGHT - 2)).toFixed(1)}`);
    this.#line.setAttribute("d", `M${points.join("L")}`);
    if (this.isOpen) this.#fillPanel();
  }

  #fillPanel() {
    const { continuity } = this;
    const facts = make("dl", "facts");
    const fact = (name, value, className = "") => facts.append(make("dt", "", name), make("dd", className, value));
    fact("Watching since", dateTime(continuity.sinceMs));
    fact("Events received", continuity.received.toLocaleString("en") + (continuity.merged ? ` (${continuity.merged.toLocaleString("en")} of them merged by the server while this page lagged)` : ""));
    fact("Last second", `${(continuity.rates().at(-1) ?? 0).toLocaleString("en")} events`);
    fact("Reconnections", continuity.resumes === 0 ? "none" : `${continuity.resumes}, resumed behind the last event`);
    fact("Last position", continuity.position ?? "–", "mono");
    if (continuity.incompleteBefore) fact("State may lack events before", continuity.incompleteBefore, "mono");
    fact("Missed", verdict(continuity) + sinceText(continuity));
    this.panel.replaceChildren(make("h2", "", continuity.gapsTotal === 0 ? "Nothing is missing" : "What is missing, and why"), facts, ...gapList(continuity),
      make("p", "hint", "The server gives every event a position and sends them in order. What it can no longer send, it names as a gap; this page resumes behind the last position it saw."));
  }
}

function verdict({ gapsTotal, missed, uncertain }) {
  if (gapsTotal === 0) return "0 missed";
  const gaps = gapsTotal === 1 ? "1 gap" : `${gapsTotal.toLocaleString("en")} gaps`;
  if (!uncertain) return `${missed.toLocaleString("en")} missed · ${gaps}`;
  return `${missed > 0 ? `${missed.toLocaleString("en")} missed, perhaps more` : "perhaps some missed"} · ${gaps}`;
}

function sinceText({ sinceMs }) {
  return ` since ${clock(sinceMs, false)}`;
}

function gapList({ gaps, gapsTotal }) {
  if (gapsTotal === 0) return [];
  const list = make("ol", "gaps");
  for (const gap of gaps.toReversed()) {
    const item = make("li", "", make("strong", "", missing(gap.lost, gap.certain)), ` ${CAUSES.get(gap.cause) ?? gap.cause}, at ${clock(gap.atMs)}`);
    if (gap.after || gap.before) item.append(make("code", "mono", `${gap.after ?? "start"} … ${gap.before ?? ""}`));
    list.append(item);
  }
  return [make("h3", "", "Gaps"), list];
}
