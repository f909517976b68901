// Whether the stream is at the head or still catching up. The protocol marks the head with a snapshot; after a plain
// resume there is no mark, so the age of events (against the youngest ever seen, which takes the clocks' difference
// out) and silence decide.

const BEHIND_MS = 1_500;

/** Silence after which a resumed stream counts as caught up; the caller runs the timer. */
export const SILENCE_MS = 400;

export class Pace {
  live = false;
  #youngestMs = Infinity;

  /** The stream (re)starts somewhere behind the head. */
  restart() {
    this.live = false;
  }

  /** The server or silence says that this is the head. */
  settle() {
    this.live = true;
  }

  /** An event arrived. Merged events say by themselves that the stream lags. */
  hear(event, merged, nowMs) {
    const ageMs = nowMs - Date.parse(event.received ?? event.time);
    if (Number.isNaN(ageMs)) return;
    this.#youngestMs = Math.min(this.#youngestMs, ageMs);
    const behind = ageMs - this.#youngestMs > BEHIND_MS;
    if (merged && behind) this.live = false;
    else if (!behind) this.live = true;
  }
}
