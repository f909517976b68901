// How many watch the project, and who, as far as they are named.

import { setHidden, setText, setTitle } from "./dom.js";

const NAMES_MAX = 20;

export class WatchingView {
  constructor(root) {
    this.root = root;
  }

  show(presence) {
    setHidden(this.root, !presence.isKnown);
    if (!presence.isKnown) return;
    const { viewers, others, runners } = presence.names;
    setText(this.root, `${presence.watching} watching`);
    const more = viewers.length + others - Math.min(viewers.length, NAMES_MAX);
    const lines = [viewers.slice(0, NAMES_MAX).join(", ") + (more > 0 ? ` and ${more} more` : "")];
    if (runners.length > 0) lines.push(`Runners: ${runners.slice(0, NAMES_MAX).join(", ")}`);
    if (presence.isStale) lines.push("The store is away: this may be old.");
    setTitle(this.root, lines.join("\n"));
  }
}
