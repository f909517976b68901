// The state of the connection, in a word and a sign; and the notice when it needs more than a word.

import { button, make, makeIcon, setData, setHidden, setIcon, setText, setTitle } from "./dom.js";
import { ICONS } from "./icons.js";

const LOOKS = {
  idle: ["Not connected", ICONS.idle],
  connecting: ["Connecting", ICONS.active],
  catching_up: ["Catching up", ICONS.active],
  live: ["Live", ICONS.status],
  waiting: ["Reconnecting", ICONS.active],
  stopped: ["Stopped", ICONS.failed],
  degraded: ["Degraded", ICONS.hand],
  draining: ["Server restarting", ICONS.active],
};

export class LinkView {
  #icon = makeIcon(ICONS.active);
  #word = make("span");

  constructor(root, notice, onRetry) {
    this.root = root;
    this.notice = notice;
    this.onRetry = onRetry;
    root.append(this.#icon, this.#word);
  }

  show(state) {
    const look = lookOf(state);
    const [word, icon] = LOOKS[look];
    setData(this.root, "state", look);
    setIcon(this.#icon, icon);
    setText(this.#word, word);
    setTitle(this.root, explain(state, look));
    this.#explain(state, look);
  }

  #explain(state, look) {
    const shown = look === "degraded" || look === "stopped";
    setHidden(this.notice, !shown);
    if (!shown) return;
    this.notice.dataset.look = look;
    this.notice.replaceChildren(make("span", "", explain(state, look)));
    if (look === "stopped") this.notice.append(button("action", "Try again", this.onRetry));
  }
}

function lookOf(state) {
  if (state.phase === "live" && state.degraded) return "degraded";
  if (state.phase === "live" && state.draining) return "draining";
  return state.phase;
}

function explain(state, look) {
  switch (look) {
    case "live":
      return "Every event shows here as it happens.";
    case "catching_up":
      return "Reading what happened meanwhile, in order.";
    case "waiting":
      return `Reconnecting (${state.why}). The stream goes on where it was cut.`;
    case "degraded":
      return "The server cannot reach its store just now: events may be late. None is skipped; the stream goes on when it is back.";
    case "draining":
      return "The server is about to restart; this page reconnects by itself.";
    case "stopped":
      return `The server closed the stream and asks not to come back unchanged: ${state.why}.`;
    default:
      return "";
  }
}
