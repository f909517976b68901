// One session, folded from its events the way the server folds them, plus what only a live viewer has: growing messages.
// Owns the rules per event type (the table at the end); the swarm picks the session and keeps the whole bounded.

import { count, cut, isObject, members, number, percent, tail, text, timeMs } from "./value.js";

const AGENTS_MAX = 1_000;
const MEMBERS_MAX = 200;
const OUTPUTS_MAX = 20;
const SPOKEN_CHARS_MAX = 4_000;

const ENDED = new Set(["completed", "failed", "cancelled"]);
const FAILURES = new Set(["failed", "failure", "error"]);

export class Session {
  title = "";
  mode = "";
  progress = null;
  phase = "";
  stage = "";
  message = "";
  startedMs = null;
  endedMs = null;
  lost = false;
  outcome = null;
  agents = new Map();
  stages = new Map();
  tools = new Map();
  running = new Map();
  outputs = [];
  usage = { input_tokens: 0, output_tokens: 0, cost_micro_usd: 0 };
  /** What was said last by whom; "" stands for the session itself. */
  spoken = new Map();
  /** Agents whose row is out of date, for the view to take. */
  touched = new Set();
  #status = "running";

  constructor(id) {
    this.id = id;
  }

  get status() {
    return this.lost && !this.hasEnded ? "lost" : this.#status;
  }

  get hasEnded() {
    return ENDED.has(this.#status);
  }

  /** What to call the session: its id until it has a title. */
  get label() {
    return this.title || this.id;
  }

  nameOf(agent) {
    return this.agents.get(agent)?.name || agent;
  }

  /** Applies an event of this session; false: it says nothing about state. */
  apply(event) {
    const rule = RULES.get(event.type);
    if (!rule) return false;
    rule(this, event, isObject(event.data) ? event.data : {});
    return true;
  }

  /** A session as a snapshot tells it. */
  static load(id, state) {
    const session = new Session(id);
    session.lost = state.status === "lost";
    if (!session.lost && state.status) session.#status = text(state.status, 40);
    session.title = text(state.title);
    session.mode = text(state.mode);
    session.startedMs = timeMs(state.started);
    session.endedMs = timeMs(state.ended);
    session.outcome = isObject(state.outcome) ? state.outcome : null;
    applyProgress(session, state);
    for (const [agent, cells] of members(state.agents)) session.agents.set(agent, loadAgent(agent, cells));
    for (const [name, stage] of members(state.stages)) session.stages.set(name, text(stage?.status, 40));
    for (const [call, tool] of members(state.running)) session.running.set(call, runningTool(tool, tool));
    for (const [name, tool] of members(state.tools)) {
      session.tools.set(name, { calls: count(tool?.calls), failures: count(tool?.failures), totalMs: count(tool?.total_ms) });
    }
    for (const name of Object.keys(session.usage)) session.usage[name] = count(state.usage?.[name]);
    session.outputs = Array.isArray(state.outputs) ? state.outputs.filter(isObject).slice(-OUTPUTS_MAX) : [];
    if (isObject(state.message)) session.speak(state.message, state.message.agent, text(state.message.text, SPOKEN_CHARS_MAX), true);
    return session;
  }

  agent(id) {
    let agent = this.agents.get(id);
    if (!agent) {
      agent = loadAgent(id, {});
      putBounded(this.agents, id, agent, AGENTS_MAX);
    }
    this.touched.add(id);
    return agent;
  }

  /** A message, or a piece of one, belongs to the agent if that is known, else to the session. */
  speak(message, agentId, words, done) {
    const speaker = this.agents.has(agentId) ? agentId : "";
    this.touched.add(speaker);
    const id = text(message.message_id, 128);
    const spoken = this.spoken.get(speaker);
    if (done || spoken?.id !== id) {
      const said = { id, words, done, role: text(message.role, 40), by: speaker ? "" : text(agentId, 128), pieces: 1 };
      putBounded(this.spoken, speaker, said, AGENTS_MAX);
    } else {
      spoken.words = tail(spoken.words + words, SPOKEN_CHARS_MAX);
      spoken.pieces += 1;
    }
  }

  setStatus(status, timeOf) {
    this.#status = status;
    this.lost = false;
    if (!ENDED.has(status)) return;
    this.endedMs = timeMs(timeOf);
    this.running.clear();
    for (const id of this.agents.keys()) this.touched.add(id);
    for (const [speaker, spoken] of this.spoken) {
      spoken.done = true;
      this.touched.add(speaker);
    }
  }
}

function loadAgent(id, cells) {
  return {
    id,
    name: text(cells?.name, 128),
    role: text(cells?.role, 128),
    parent: text(cells?.parent, 128),
    status: text(cells?.status, 40) || "idle",
    progress: percent(cells?.progress),
    message: text(cells?.message),
    task: text(cells?.task),
    outcome: text(cells?.outcome),
    summary: text(cells?.summary),
    updatedMs: timeMs(cells?.updated ?? cells?.started),
  };
}

function runningTool(data, event) {
  return { name: text(data.name, 128), agent: text(event.agent, 128), sinceMs: timeMs(event.time) };
}

function applyProgress(session, data) {
  if (data.progress !== undefined) session.progress = percent(data.progress);
  for (const name of ["phase", "stage", "message"]) {
    if (typeof data[name] === "string") session[name] = cut(data[name], 2_000);
  }
}

/** Sets a member; of too many, the oldest goes. */
function putBounded(map, key, value, max) {
  map.set(key, value);
  if (map.size > max) map.delete(map.keys().next().value);
}

function end(status) {
  return (session, event, data) => {
    session.setStatus(status, event.time);
    session.outcome = data;
  };
}

function endTool(failed) {
  return (session, event, data) => {
    session.running.delete(text(data.call_id, 128));
    session.touched.add(text(event.agent, 128));
    const tool = toolOf(session, data);
    tool.failures += failed ? 1 : 0;
    tool.totalMs += count(data.duration_ms);
  };
}

function toolOf(session, data) {
  const name = text(data.name, 128);
  if (!session.tools.has(name)) putBounded(session.tools, name, { calls: 0, failures: 0, totalMs: 0 }, MEMBERS_MAX);
  return session.tools.get(name);
}

const RULES = new Map([
  ["session.started", (session, event, data) => {
    session.setStatus("running", event.time);
    session.startedMs = timeMs(event.time);
    session.endedMs = null;
    session.outcome = null;
    session.title = text(data.title) || session.title;
    session.mode = text(data.mode, 128) || session.mode;
  }],
  ["session.progress", (session, event, data) => {
    session.lost = false;
    applyProgress(session, data);
  }],
  ["session.stage", (session, event, data) => {
    session.lost = false;
    const stage = text(data.stage, 128);
    putBounded(session.stages, stage, text(data.status, 40), MEMBERS_MAX);
    if (data.status === "started") session.stage = stage;
  }],
  ["session.completed", end("completed")],
  ["session.failed", end("failed")],
  ["session.cancelled", end("cancelled")],
  ["session.lost", (session) => {
    session.lost = true;
  }],
  ["agent.started", (session, event, data) => {
    const agent = session.agent(event.agent);
    agent.status = "idle";
    agent.name = text(data.name, 128) || agent.name;
    agent.role = text(data.role, 128) || agent.role;
    agent.parent = text(event.parent, 128) || agent.parent;
    agent.outcome = agent.summary = "";
    agent.updatedMs = timeMs(event.time);
  }],
  ["agent.status", (session, event, data) => {
    const agent = session.agent(event.agent);
    for (const name of ["name", "status", "message", "task"]) {
      if (data[name] !== undefined) agent[name] = text(data[name]);
    }
    if (data.progress !== undefined) agent.progress = percent(data.progress);
    agent.updatedMs = timeMs(event.time);
  }],
  ["agent.finished", (session, event, data) => {
    const agent = session.agent(event.agent);
    agent.outcome = text(data.outcome);
    agent.summary = text(data.summary);
    agent.status = FAILURES.has(agent.outcome) ? "failed" : "completed";
    agent.updatedMs = timeMs(event.time);
  }],
  ["agent.removed", (session, event) => {
    session.agents.delete(event.agent);
    session.spoken.delete(event.agent);
    session.touched.add(event.agent);
  }],
  ["message.delta", (session, event, data) => session.speak(data, event.agent, text(data.text, SPOKEN_CHARS_MAX), false)],
  ["message.completed", (session, event, data) => session.speak(data, event.agent, text(data.text, SPOKEN_CHARS_MAX), true)],
  ["tool.started", (session, event, data) => {
    putBounded(session.running, text(data.call_id, 128), runningTool(data, event), MEMBERS_MAX);
    session.touched.add(text(event.agent, 128));
    toolOf(session, data).calls += 1;
  }],
  ["tool.completed", endTool(false)],
  ["tool.failed", endTool(true)],
  ["output", (session, event, data) => {
    session.outputs.push({ kind: text(data.kind, 128), content: text(data.content, 8_000) });
    if (session.outputs.length > OUTPUTS_MAX) session.outputs.shift();
  }],
  ["usage", (session, event, data) => {
    session.usage.input_tokens += count(data.input_tokens);
    session.usage.output_tokens += count(data.output_tokens);
    session.usage.cost_micro_usd += count((number(data.cost_usd) ?? 0) * 1e6);
  }],
  // They change no cell of the session that is shown, but show that it exists.
  ["log", () => {}],
  ["approval.requested", () => {}],
  ["approval.resolved", () => {}],
  ["agent.collaboration", () => {}],
]);
