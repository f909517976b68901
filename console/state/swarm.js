// The state of a project: its sessions and open approvals, from a snapshot and the events behind it. Bounded: the
// session that is missed least goes first.

import { Session } from "./session.js";
import { isObject, members, text, timeMs } from "./value.js";

const SESSIONS_MAX = 300;
const APPROVALS_MAX = 200;
const INPUT_MAX = 4_000;

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

  /** Somebody here answers: what becomes of the command `id` is told to the approval. */
  answers(key, id) {
    const approval = this.approvals.get(key);
    if (!approval) return;
    approval.answer = id;
    approval.refusal = "";
    this.approvalsChanged = true;
  }

  /** The answer under this `id` was not taken: others may be given. */
  refused(id, why) {
    const approval = [...this.approvals.values()].find(({ answer }) => answer === id);
    if (!approval) return;
    approval.answer = null;
    approval.refusal = why;
    this.approvalsChanged = true;
  }

  apply(event) {
    if (event.type === "gap" && event.data?.cause === "deleted") return this.#forget(event.session);
    if (event.type === "command.failed" && isObject(event.data)) {
      this.refused(event.data.command_id, text(event.data.error || event.data.code, 300));
    }
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
      id: approval.approval_id,
      tool: text(approval.tool, 128),
      input: prettyText(approval.input),
      options: (Array.isArray(approval.options) ? approval.options : []).slice(0, 12).map(readOption),
      askedMs: timeMs(time),
      deadlineMs: timeMs(approval.deadline),
      /** The command by which somebody here answers, if any; why the last one was not taken. */
      answer: null,
      refusal: "",
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

/** An option is a word, or an object that has one; `decision` is what an answer says. */
function readOption(option) {
  if (!isObject(option)) return { label: text(option, 80), decision: option };
  return { label: text(option.label ?? option.title ?? option.id ?? option, 80), decision: option.id ?? option };
}

/** What a tool would be given, to be read by a person: a lone text as it is, all else as indented JSON. */
function prettyText(input) {
  if (!isObject(input)) return text(input, INPUT_MAX);
  const values = Object.values(input);
  const isLone = values.length === 1 && typeof values[0] === "string";
  return text(isLone ? values[0] : JSON.stringify(input, null, 2), INPUT_MAX);
}
