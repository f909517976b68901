// The state of a project: its sessions and open approvals, from a snapshot and the events behind it. Bounded: the
// session that is missed least goes first.

import { Session } from "./session.js";
import { isObject, members, text, timeMs } from "./value.js";

const SESSIONS_MAX = 300;
const APPROVALS_MAX = 200;

export class Swarm {
  sessions = new Map();
  approvals = new Map();
  /** Sessions whose card is out of date, for the view to take. */
  changed = new Set();
  approvalsChanged = true;

  load(state) {
    // Cards of sessions that are not there any more have to go.
    for (const id of this.sessions.keys()) this.changed.add(id);
    this.sessions.clear();
    this.approvals.clear();
    for (const [id, session] of members(state?.sessions)) {
      if (!isObject(session)) continue;
      this.sessions.set(id, Session.load(id, session));
      this.changed.add(id);
    }
    const approvals = Array.isArray(state?.approvals) ? state.approvals : [...members(state?.approvals).values()];
    for (const approval of approvals.filter(isObject)) this.#ask(approval, approval);
    this.#evict();
    this.approvalsChanged = true;
  }

  apply(event) {
    if (event.type === "gap" && event.data?.cause === "deleted") return this.#forget(event.session);
    const id = event.session;
    if (typeof id !== "string" || id === "") return;
    const session = this.sessions.get(id) ?? new Session(id);
    if (!session.apply(event)) return;
    this.sessions.set(id, session);
    this.changed.add(id);
    this.#keepApprovals(event, session);
    this.#evict();
  }

  /** A session was deleted, or (none is named) all of them; a fresh snapshot follows. */
  #forget(session) {
    const isAll = typeof session !== "string" || session === "";
    const isGone = (id) => isAll || id === session;
    for (const id of [...this.sessions.keys()].filter(isGone)) {
      this.sessions.delete(id);
      this.changed.add(id);
    }
    for (const [key, approval] of this.approvals) if (isGone(approval.session)) this.approvals.delete(key);
    this.approvalsChanged = true;
  }

  #keepApprovals(event, session) {
    if (event.type === "approval.requested" && isObject(event.data)) {
      this.#ask(event.data, event);
    } else if (event.type === "approval.resolved" && isObject(event.data)) {
      this.approvals.delete(keyOf(event.session, event.data.approval_id));
    } else if (session.hasEnded) {
      for (const [key, approval] of this.approvals) if (approval.session === session.id) this.approvals.delete(key);
    } else return;
    this.approvalsChanged = true;
  }

  #ask(approval, { session, agent, time }) {
    const key = keyOf(session, approval.approval_id);
    this.approvals.set(key, {
      key,
      session: text(session, 128),
      agent: text(agent, 128),
      question: text(approval.question),
      options: (Array.isArray(approval.options) ? approval.options : []).slice(0, 12).map(optionText),
      askedMs: timeMs(time),
      deadlineMs: timeMs(approval.deadline),
    });
    if (this.approvals.size > APPROVALS_MAX) this.approvals.delete(this.approvals.keys().next().value);
  }

  #evict() {
    while (this.sessions.size > SESSIONS_MAX) {
      const ended = [...this.sessions.values()].find((session) => session.hasEnded);
      const id = ended?.id ?? this.sessions.keys().next().value;
      this.sessions.delete(id);
      this.changed.add(id);
    }
  }
}

function keyOf(session, approval) {
  return JSON.stringify([session, approval]);
}

/** An option is a word, or an object that has one. */
function optionText(option) {
  return text(isObject(option) ? (option.label ?? option.title ?? option.id ?? option) : option, 80);
}
