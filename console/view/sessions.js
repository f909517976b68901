// The sessions as cards: running ones first, newest first. A card is made once and then only brought up to date.

import { button, make, setChildren, setHidden, setText } from "./dom.js";
import { SessionCard } from "./session_card.js";

const SHOWN_STEP = 20;
/** Running sessions beyond this many start folded up. */
const OPEN_MAX = 5;

export class SessionsView {
  #cards = new Map();
  #shownMax = SHOWN_STEP;
  #more = button("action more", "", () => {
    this.#shownMax += SHOWN_STEP;
    this.#swarm.sessions.forEach((_, id) => this.#swarm.changed.add(id));
    this.onWish();
  });
  #swarm = null;

  /** `onPick` hears of a session or agent that was picked; `onWish` asks for a redraw. */
  constructor(root, { onPick, onWish }) {
    this.root = root;
    this.list = make("div", "session-list");
    this.onPick = onPick;
    this.onWish = onWish;
    root.append(this.list, this.#more);
  }

  follow(swarm) {
    this.#swarm = swarm;
    this.#cards.clear();
    this.#shownMax = SHOWN_STEP;
    this.#arrange();
  }

  /** Brings the cards of changed sessions up to date. */
  show() {
    const { changed } = this.#swarm;
    if (changed.size === 0) return;
    this.#arrange();
    for (const id of changed) {
      const session = this.#swarm.sessions.get(id);
      if (session) this.#cards.get(id)?.show(session);
    }
    changed.clear();
  }

  #arrange() {
    const sessions = [...this.#swarm.sessions.values()].sort(compare);
    const shown = sessions.slice(0, this.#shownMax);
    const ids = new Set(shown.map((session) => session.id));
    for (const id of this.#cards.keys()) if (!ids.has(id)) this.#cards.delete(id);
    setChildren(this.list, shown.map((session, at) => this.#card(session, at).node));
    setHidden(this.#more, sessions.length <= shown.length);
    setText(this.#more, `Show more of ${sessions.length} sessions`);
  }

  #card(session, at) {
    let card = this.#cards.get(session.id);
    // A snapshot brings new objects for sessions that have a card already; nothing of the old one may stay.
    if (!card) {
      card = new SessionCard(session, { isOpen: !session.hasEnded && at < OPEN_MAX, onPick: this.onPick });
      this.#cards.set(session.id, card);
      card.show(session);
    }
    return card;
  }
}

function compare(a, b) {
  const ended = Number(a.hasEnded) - Number(b.hasEnded);
  if (ended !== 0) return ended;
  return (b.startedMs ?? 0) - (a.startedMs ?? 0) || (a.id < b.id ? -1 : 1);
}
