// One project as this page follows it: where to resume, and whether the state it holds can be trusted.
// Pure: it turns frames into a cursor. Positions are opaque; they are kept and sent back, never read.

// A runner's own losses leave the server's state as it was.
const KEEPS_STATE = "producer_dropped";

export class Subscription {
  /** Last position seen; null before the first. */
  position = null;
  /** Whether a snapshot is held and no gap has made it stale. */
  #holdsState = false;
  #ref = 0;
  #confirmed = false;

  constructor(project) {
    this.project = project;
  }

  /** The frame that starts, or resumes, the stream. What arrives before its confirmation belongs to an older one. */
  request() {
    this.#ref += 1;
    this.#confirmed = false;
    return {
      op: "subscribe",
      project: this.project,
      after: this.position ?? "now",
      lag: "compact",
      // Cut off between a gap and its fresh snapshot, the page has to ask for one.
      snapshot: this.#holdsState ? "after_gap" : true,
      presence: true,
      ref: String(this.#ref),
    };
  }

  /** Whether an `error` frame answers the last request. */
  isRefusedBy(frame) {
    return frame.ref === String(this.#ref) && !this.#confirmed;
  }

  /** Takes a frame in; returns whether it is this subscription's. Called before the frame is shown. */
  take(frame) {
    if (projectOf(frame) !== this.project) return false;
    if (frame.op === "subscribed") {
      if (frame.ref !== String(this.#ref)) return false;
      this.#confirmed = true;
    }
    if (!this.#confirmed) return false;
    const position = frame.op === "event" ? frame.event.position : frame.position;
    if (typeof position === "string") this.position = position;
    if (frame.op === "snapshot") this.#holdsState = true;
    if (frame.op === "event" && frame.event.type === "gap" && frame.event.data?.cause !== KEEPS_STATE) {
      this.#holdsState = false;
    }
    return true;
  }
}

function projectOf(frame) {
  if (frame.op === "event") return frame.event?.project;
  return frame.project ?? frame.events?.[0]?.project;
}
