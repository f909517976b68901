// Every field that a client of AgentCraft may read, by message type, in each of the shapes that messages come in.

const OUTPUT = (at) => ({
  [`${at}.timestamp`]: "number", [`${at}.type`]: "string", [`${at}.content`]: "string", [`${at}.agent`]: "string?",
});

/** An agent in a message with the session's state: `data` of `agent_status_update`, and each of `active_agents`. */
const AGENT = (at) => ({
  [`${at}.agent_id`]: "string", [`${at}.agent_name`]: "string", [`${at}.status`]: "lower", [`${at}.current_task`]: "string?",
  [`${at}.progress`]: "number", [`${at}.details`]: "string?", [`${at}.started_at`]: "number?", [`${at}.updated_at`]: "number",
});

const SESSION_WITH_STATE = {
  session_id: "string", timestamp: "number", data: "object", "data.agent_name": "string", "data.status": "string",
  "data.progress": "number", "state.session_id": "string", "state.query": "string", "state.total_agents": "number",
  "state.active_agents": "array", ...AGENT("state.active_agents.0"), "state.completed_agents": "array",
  "state.completed_agents.0": "string", "state.current_phase": "string", "state.overall_progress": "number",
  "state.started_at": "number", "state.estimated_completion": "number?", "state.crew_output": "array",
  ...OUTPUT("state.crew_output.0"),
};
/** Of what is over nobody estimates the end. */
const OVER = { ...SESSION_WITH_STATE, "state.estimated_completion": "null" };

const LINE_OF_DOCUMENT = {
  "logs.0.timestamp": "iso", "logs.0.level": "string", "logs.0.agent": "string", "logs.0.message": "string",
  "logs.0.details": "object",
};
const KINDS_OF_LINE = ["agent_activity", "crew_activity"];

const LINES = {
  flat: LINE_OF_DOCUMENT,
  both: { ...LINE_OF_DOCUMENT, "logs.0.type": KINDS_OF_LINE, "logs.0.status": "lower", "logs.0.task": "string" },
  nested: {
    "logs.0.timestamp": "number", "logs.0.type": KINDS_OF_LINE, "logs.0.details": "string?",
    "logs.agent_activity.agent": "string", "logs.agent_activity.status": "lower", "logs.agent_activity.task": "string",
    "logs.agent_activity.details": "string?", "logs.crew_activity.message": "string", "logs.crew_activity.details": "string?",
  },
};

const FLAT = {
  agent_status: {
    agent_id: "string", agent_name: "string", status: "upper", progress: "integer", message: "text", timestamp: "iso",
    metadata: "object", "metadata.task_id": "string?", "metadata.estimated_completion": "number?",
  },
  agent_collaboration: {
    primary_agent: "string", secondary_agent: "string", collaboration_type: "string", reason: "string", timestamp: "iso",
  },
};

const NESTED = {
  session_started: SESSION_WITH_STATE,
  agent_status_update: { ...SESSION_WITH_STATE, ...AGENT("data") },
  phase_update: SESSION_WITH_STATE,
  crew_output: { ...SESSION_WITH_STATE, ...OUTPUT("data.output") },
  session_completed: { ...OVER, "data.result": "string" },
  session_error: { ...OVER, "data.error": "string" },
};

/** The tables for clients that are told messages of this shape: `flat`, `nested` or `both`. */
export const fieldsOf = (frames) => ({
  active_sessions: {
    timestamp: "number", "data.total_sessions": "number", "data.sessions": "array", "data.sessions.0.session_id": "string",
    "data.sessions.0.query": "string", "data.sessions.0.status": "string", "data.sessions.0.agents_active": "number",
    "data.sessions.0.phase": "string", "data.sessions.0.progress": "number", "data.sessions.0.agents": "number",
    "data.sessions.0.started_at": "number",
  },
  ...(frames !== "nested" && FLAT),
  ...(frames !== "flat" && NESTED),
  session_state: {
    session_id: "string", timestamp: "number", "state.session_id": "string", "state.query": "string",
    "state.current_phase": "string", "state.overall_progress": "integer", "state.active_agents": "array",
    "state.active_agents.0.agent_name": "string", "state.active_agents.0.status": "upper",
    "state.active_agents.0.progress": "integer", "state.active_agents.0.current_task": "text",
    "state.active_agents.0.details": "object", "state.crew_output": "array", ...OUTPUT("state.crew_output.0"),
  },
  session_logs: { session_id: "string", timestamp: "number", logs: "array", ...LINES[frames] },
  session_not_found: { session_id: "string", timestamp: "number" },
  ping: { timestamp: "number" },
  log_streaming_started: { session_id: "string", timestamp: "number", message: "string" },
  log_streaming_stopped: { timestamp: "number", message: "string" },
  crewai_log: {
    timestamp: "number", "log.timestamp": "number", "log.datetime": "iso", "log.session_id": "string", "log.level": "upper",
    "log.logger": "string", "log.message": "string", "log.raw_message": "string", "log.source": "string",
    "log.module": "string", "log.function": "string", "log.line": "integer", "log.event_type": "string",
    "log.agent_info": "object", "log.agent_info.agent_name": "string", "log.agent_info.task": "string",
  },
});
