// One followed project: its swarm, its feed and the account of its stream, all fed from frames.

import { Continuity } from "./continuity.js";
import { Feed } from "./feed.js";
import { Presence } from "./presence.js";
import { Swarm } from "./swarm.js";

export class Project {
  swarm = new Swarm();
  feed = new Feed();
  continuity = new Continuity();
  presence = new Presence();
  /** Whether anything ever happened in the project. */
  hasHistory = false;
  /** Whether a snapshot came. */
  isKnown = false;
  /** Whether the feed was filled, or is being filled, with what happened before. */
  isRemembered = false;
  #subscribed = false;
  /** Positions of events that the feed shows already, whichever way they came first. */
  #shown = new Set();

  constructor(name) {
    this.name = name;
  }

  /** Takes a frame of this project; `bytes` is its size. */
  take(frame, bytes) {
    if (this.presence.take(frame)) return;
    switch (frame.op) {
      case "subscribed":
        if (this.#subscribed) this.continuity.resumes += 1;
        this.#subscribed = true;
        this.continuity.position ??= frame.position;
        break;
      case "snapshot":
        this.swarm.load(frame.state);
        this.isKnown = true;
        this.hasHistory ||= this.swarm.sessions.size > 0 || !isBirth(frame.position);
        this.continuity.position = frame.position;
        this.continuity.incompleteBefore = frame.incomplete_before ?? null;
        break;
      case "event":
        this.#event(frame.event, bytes, false);
        break;
      case "events": {
        const events = frame.events ?? [];
        events.forEach((event) => this.#event(event, Math.ceil(bytes / events.length), true));
        this.continuity.position = frame.position;
        break;
      }
      case "at":
        this.continuity.position = frame.position;
        break;
    }
  }

  /** Shows events from before this page came; they change no state and are not counted. */
  remember(events) {
    const live = new Set(this.feed.newest(Infinity, () => true).map(({ event }) => event.position));
    // From the first event that came live on, the stream tells the rest itself.
    const seam = events.findIndex((event) => live.has(event.position));
    // What the log no longer holds from before was never missed by this page.
    const older = events.slice(0, seam < 0 ? events.length : seam).filter((event) => event.data?.cause !== "trimmed");
    this.#shown = new Set(older.map((event) => event.position));
    this.feed.addBefore(older, (event) => this.#who(event));
  }

  #event(event, bytes, merged) {
    this.hasHistory = true;
    if (event.type === "gap") this.continuity.miss(event);
    else this.continuity.hear(event.position, merged);
    this.swarm.apply(event);
    // Told before, and told again only because the fresh snapshot lacks it; or the history was faster.
    if (event.seen !== true && !this.#shown.delete(event.position)) this.feed.add(event, bytes, this.#who(event));
  }

  #who(event) {
    const session = this.swarm.sessions.get(event.session);
    if (event.agent) return session?.nameOf(event.agent) ?? event.agent;
    return session?.label ?? event.session ?? "";
  }
}

/** The one position with a meaning of its own: before everything. */
function isBirth(position) {
  return position === "0-0";
}
