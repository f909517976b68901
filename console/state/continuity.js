// The honest account of one project's stream on this page: what came, what is missing and why, how often it was resumed.

const GAPS_MAX = 100;
/** Seconds of the rate's history. */
export const RATE_SECONDS = 60;

export class Continuity {
  sinceMs = Date.now();
  /** Events told to this page, each as it came; of merged ones, what was left. */
  received = 0;
  merged = 0;
  resumes = 0;
  position = null;
  incompleteBefore = null;
  /** Newest last: `{atMs, cause, lost, certain, after, before}`. */
  gaps = [];
  gapsTotal = 0;
  /** Counted by gaps that are certain. */
  missed = 0;
  /** Some gap has no exact count, or perhaps hides nothing. */
  uncertain = false;
  #perSecond = new Array(RATE_SECONDS).fill(0);
  #second = 0;

  hear(position, merged) {
    this.received += 1;
    if (merged) this.merged += 1;
    this.position = position ?? this.position;
    this.#turn();
    this.#perSecond[this.#second % RATE_SECONDS] += 1;
  }

  /** What the server says is missing. */
  miss({ data, position }) {
    const lost = Number.isSafeInteger(data?.lost) ? data.lost : null;
    const certain = data?.certain === true;
    this.gaps.push({
      atMs: Date.now(), cause: String(data?.cause ?? "unknown"), lost, certain, after: data?.after, before: data?.before,
    });
    if (this.gaps.length > GAPS_MAX) this.gaps.shift();
    this.gapsTotal += 1;
    if (certain) this.missed += lost ?? 0;
    if (!certain || lost === null) this.uncertain = true;
    this.position = position ?? this.position;
  }

  /** Events of each of the last seconds, oldest first; the running one is left out. */
  rates() {
    this.#turn();
    return this.#perSecond.map((_, index) => this.#perSecond[(this.#second + 1 + index) % RATE_SECONDS]).slice(0, -1);
  }

  /** Empties the slots of the seconds that passed without a word. */
  #turn() {
    const second = Math.floor(Date.now() / 1_000);
    const passed = Math.min(second - this.#second, RATE_SECONDS);
    for (let back = 0; back < passed; back += 1) this.#perSecond[(second - back) % RATE_SECONDS] = 0;
    this.#second = Math.max(second, this.#second);
  }
}
