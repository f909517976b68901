// Open approvals, where nobody can overlook them. Read only: the runner's people answer elsewhere for now.

import { make, makeIcon, setHidden, setText } from "./dom.js";
import { ICONS } from "./icons.js";
import { makeTime, setTime } from "./time.js";

const SHOWN_MAX = 20;

export class ApprovalsView {
  constructor(root) {
    this.root = root;
  }

  show(swarm) {
    const open = [...swarm.approvals.values()];
    setHidden(this.root, open.length === 0);
    const more = open.length - SHOWN_MAX;
    this.root.replaceChildren(
      ...open.slice(0, SHOWN_MAX).map((approval) => card(approval, swarm.sessions.get(approval.session))),
      ...(more > 0 ? [make("p", "hint", `and ${more} more`)] : []),
    );
  }
}

function card(approval, session) {
  const asked = makeTime("ago");
  setTime(asked, approval.askedMs);
  const deadline = makeTime("until");
  setTime(deadline, approval.deadlineMs);
  const who = make("bdi", "who", session && approval.agent ? session.nameOf(approval.agent) : approval.agent || approval.session);
  const question = make("p", "question");
  setText(question, approval.question);
  question.dir = "auto";
  const options = make("ul", "options", ...approval.options.map((option) => make("li", "", option)));
  options.setAttribute("aria-label", "Possible answers");
  const meta = make("p", "meta", who, make("span", "", "waits for an answer"), asked);
  if (approval.deadlineMs !== null) meta.append(make("span", "", "· due "), deadline);
  return make("article", "approval", makeIcon(ICONS.hand), make("div", "approval-body", meta, question, approval.options.length ? options : null));
}
