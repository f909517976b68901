// Open approvals, where nobody can overlook them, and where they are answered.
//
// A card stays the same element while its approval is open, so that a button does not move away under the pointer, nor a text
// that somebody writes, when another approval comes or goes.

import { button, make, makeIcon, setChildren, setHidden, setLine } from "./dom.js";
import { ICONS } from "./icons.js";
import { makeTime, setTime } from "./time.js";

const SHOWN_MAX = 20;
/** What the server takes as a decision, in bytes of JSON; a text within it fits. */
const DECISION_MAX = 60;

export class ApprovalsView {
  #root;
  #onAnswer;
  #cards = new Map();
  #more = make("p", "hint");

  /** `onAnswer(approval, decision)` is called when a person has decided. */
  constructor(root, { onAnswer }) {
    this.#root = root;
    this.#onAnswer = onAnswer;
  }

  show(swarm) {
    const open = [...swarm.approvals.values()];
    setHidden(this.#root, open.length === 0);
    const shown = open.slice(0, SHOWN_MAX);
    const kept = new Map(shown.map((approval) => [approval.key, this.#cardOf(approval, swarm.sessions.get(approval.session))]));
    this.#cards = kept;
    const more = open.length - shown.length;
    setLine(this.#more, more > 0 ? `and ${more} more` : "");
    setChildren(this.#root, [...[...kept.values()].map((card) => card.node), this.#more]);
  }

  #cardOf(approval, session) {
    const card = this.#cards.get(approval.key);
    if (card?.isOf(approval)) return card.show(approval);
    return new Card(approval, session, (decision) => this.#onAnswer(approval, decision)).show(approval);
  }
}

/** One open approval. */
class Card {
  #askedMs;
  #answers;
  #state = make("p", "hint");

  constructor(approval, session, onDecision) {
    this.#askedMs = approval.askedMs;
    const asked = makeTime("ago");
    setTime(asked, approval.askedMs);
    const who = make("bdi", "who", session && approval.agent ? session.nameOf(approval.agent) : approval.agent || approval.session);
    const meta = make("p", "meta", who, make("span", "", "waits for an answer"), asked);
    if (approval.deadlineMs !== null) {
      const deadline = makeTime("until");
      setTime(deadline, approval.deadlineMs);
      meta.append(make("span", "", "· due "), deadline);
    }
    const question = make("p", "question", approval.question);
    question.dir = "auto";
    const input = approval.input ? make("pre", "approval-input", approval.input) : null;
    if (input) {
      input.tabIndex = 0;
      input.setAttribute("aria-label", approval.tool ? `What ${approval.tool} would be given` : "What it is about");
    }
    this.#answers = approval.options.length > 0 ? buttons(approval.options, onDecision) : form(onDecision);
    this.node = make("article", "approval", makeIcon(ICONS.hand), make("div", "approval-body", meta, question, input, this.#answers, this.#state));
  }

  /** Whether it is the same question; one that is asked again is another one. */
  isOf(approval) {
    return this.#askedMs === approval.askedMs;
  }

  show(approval) {
    for (const control of this.#answers.querySelectorAll("button, input")) control.disabled = approval.answer !== null;
    setLine(this.#state, approval.answer === null ? approval.refusal : "Answering …");
    return this;
  }
}

function buttons(options, onDecision) {
  const items = options.map(({ label, decision }) => make("li", "", button("action", label, () => onDecision(decision))));
  const list = make("ul", "options", ...items);
  list.setAttribute("aria-label", "Possible answers");
  return list;
}

/** Where any answer will do. */
function form(onDecision) {
  const field = make("input", "");
  field.required = true;
  field.maxLength = DECISION_MAX;
  field.setAttribute("aria-label", "Your answer");
  const submit = make("button", "action", "Answer");
  const node = make("form", "options", field, submit);
  node.addEventListener("submit", (event) => {
    event.preventDefault();
    onDecision(field.value);
  });
  return node;
}
