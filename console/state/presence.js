// Who is there: as the last full list says, put right by who came and went since. Pure.

export class Presence {
  /** Names of viewers that are listed. */
  #viewers = new Map();
  #others = 0;
  #runners = new Set();
  /** Whether a list came, and whether it may be old. */
  isKnown = false;
  isStale = false;

  /** Takes a frame in; returns whether it is about who is there. */
  take(frame) {
    if (frame.op === "presence") {
      this.#viewers = new Map((frame.viewers ?? []).map((one) => [one.viewer, one.user ?? one.viewer]));
      this.#runners = new Set((frame.runners ?? []).map((one) => one.runner));
      this.#others = frame.others ?? 0;
      this.isKnown = true;
      this.isStale = frame.stale === true;
      return true;
    }
    const event = frame.op === "event" ? frame.event : null;
    if (!isPresence(event)) return false;
    const { viewer, user, runner } = event.data ?? {};
    const joined = event.type === "presence.joined";
    if (viewer !== undefined) joined ? this.#viewers.set(viewer, user ?? viewer) : this.#viewers.delete(viewer);
    if (runner !== undefined) joined ? this.#runners.add(runner) : this.#runners.delete(runner);
    return true;
  }

  /** How many watch, this page included. */
  get watching() {
    return this.#viewers.size + this.#others;
  }

  /** Names of those that are listed, and of runners. */
  get names() {
    return { viewers: [...this.#viewers.values()], others: this.#others, runners: [...this.#runners] };
  }
}

/** Whether an event is about who is there: it has no position, and is no part of the log. */
function isPresence(event) {
  return typeof event?.type === "string" && event.type.startsWith("presence.");
}
