// Every field that a client of AgentCraft may read, by message type, with its JSON type. `?`: or null.

const NESTED = {
  session_id: "string", timestamp: "number", data: "object", "data.agent_name": "string", "data.status": "string",
  "data.progress": "number", "state.session_id": "string", "state.query": "string", "state.total_agents": "number",
  "state.active_agents": "array", "state.active_agents.0.agent_id": "string", "state.active_agents.0.agent_name": "string",
  "state.active_agents.0.status": "lower", "state.active_agents.0.current_task": "string?",
  "state.active_agents.0.progress": "number", "state.active_agents.0.details": "string?",
  "state.active_agents.0.started_at": "number?", "state.active_agents.0.updated_at": "number",
  "state.completed_agents": "array", "state.current_phase": "string", "state.overall_progress": "number",
  "state.started_at": "number", "state.estimated_completion": "number?", "state.crew_output": "array",
};

export const FIELDS = {
  active_sessions: {
    timestamp: "number", "data.total_sessions": "number", "data.sessions": "array", "data.sessions.0.session_id": "string",
    "data.sessions.0.query": "string", "data.sessions.0.status": "string", "data.sessions.0.agents_active": "number",
    "data.sessions.0.phase": "string", "data.sessions.0.progress": "number", "data.sessions.0.agents": "number",
    "data.sessions.0.started_at": "number",
  },
  agent_status: {
    agent_id: "string", agent_name: "string", status: "upper", progress: "integer", message: "string", timestamp: "iso",
    metadata: "object", "metadata.task_id": "string?", "metadata.estimated_completion": "number?",
  },
  agent_collaboration: {
    primary_agent: "string", secondary_agent: "string", collaboration_type: "string", reason: "string", timestamp: "iso",
  },
  session_state: {
    session_id: "string", timestamp: "number", "state.session_id": "string", "state.query": "string",
    "state.current_phase": "string", "state.overall_progress": "integer", "state.active_agents.0.agent_name": "string",
    "state.active_agents.0.status": "upper", "state.active_agents.0.progress": "integer",
    "state.active_agents.0.current_task": "string", "state.active_agents.0.details": "object",
    "state.crew_output.0.timestamp": "number", "state.crew_output.0.type": "string",
    "state.crew_output.0.content": "string", "state.crew_output.0.agent": "string?",
  },
  session_logs: {
    session_id: "string", timestamp: "number", "logs.0.timestamp": "iso", "logs.0.level": "string", "logs.0.agent": "string",
    "logs.0.message": "string", "logs.0.details": "object",
  },
  session_not_found: { session_id: "string", timestamp: "number" },
  ping: { timestamp: "number" },
  session_started: { ...NESTED, "state.active_agents.0.agent_id": undefined },
  agent_status_update: NESTED,
  phase_update: NESTED,
  crew_output: {
    ...NESTED, "state.crew_output.0.timestamp": "number", "state.crew_output.0.type": "string",
    "state.crew_output.0.content": "string", "state.crew_output.0.agent": "string?",
  },
  session_completed: NESTED,
  session_error: NESTED,
  log_streaming_started: { session_id: "string", timestamp: "number", message: "string" },
  log_streaming_stopped: { timestamp: "number", message: "string" },
  crewai_log: {
    timestamp: "number", "log.timestamp": "number", "log.datetime": "iso", "log.session_id": "string", "log.level": "upper",
    "log.logger": "string", "log.message": "string", "log.raw_message": "string", "log.source": "string",
    "log.module": "string", "log.function": "string", "log.line": "integer", "log.event_type": "string",
    "log.agent_info": "object",
  },
};

const ISO = /^\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{3}Z$/;

function fits(kind, value) {
  if (kind.endsWith("?")) return value === null || fits(kind.slice(0, -1), value);
  switch (kind) {
    case "array": return Array.isArray(value);
    case "object": return value !== null && typeof value === "object" && !Array.isArray(value);
    case "integer": return Number.isInteger(value);
    case "iso": return typeof value === "string" && ISO.test(value);
    case "upper": return typeof value === "string" && value !== "" && value === value.toUpperCase();
    case "lower": return typeof value === "string" && value !== "" && value === value.toLowerCase();
    default: return typeof value === kind;
  }
}

/** What is wrong with a message, if anything; lists that are empty have nothing to look at. */
export function faults(message) {
  const fields = FIELDS[message.type];
  if (!fields) return [`unknown type ${message.type}`];
  const wrong = [];
  for (const [path, kind] of Object.entries(fields)) {
    if (!kind) continue;
    let value = message;
    let isEmpty = false;
    for (const name of path.split(".")) {
      isEmpty ||= Array.isArray(value) && value.length === 0;
      value = value?.[name];
    }
    if (!isEmpty && !fits(kind, value)) wrong.push(`${message.type}.${path} is ${JSON.stringify(value)}, not ${kind}`);
  }
  return wrong;
}
