// Every field that a client of Agent Swarm may read, by message type and by route, with its JSON type. `?`: or null.

const LEVEL = ["info", "success", "error", "warning"];
const AGENT = ["idle", "working", "completed", "failed"];
const STATUS = ["initializing", "in_progress", "completed", "failed", "paused"];

export const MESSAGES = {
  connection_established: { project_id: "string", message: "string" },
  project_started: { project_id: "string", timestamp: "unix" },
  project_progress: { project_id: "string", progress: "percent", message: "text", timestamp: "unix" },
  agent_status_update: {
    project_id: "string", agent: "string", status: AGENT, progress: "percent", task: "text", timestamp: "unix",
  },
  workflow_stage_update: { project_id: "string", stage: "string", message: "text", timestamp: "unix" },
  workflow_log: {
    project_id: "string", message: "text", level: LEVEL, emoji: "string", timestamp: "unix", id: "string",
  },
  project_completed: {
    project_id: "string", url: "text", completion_url: "text", deployment_url: "text", timestamp: "unix",
  },
  project_error: { project_id: "string", error: "string", timestamp: "unix" },
};

export const BODIES = {
  health: { status: ["healthy"], message: "string" },
  orchestrate: {
    project_id: "string", project_type: "string", description: "string", status: ["initializing"],
    agents_config: "object", "agents_config.architect.enabled": "boolean", "agents_config.architect.status": ["pending"],
    created_at: "iso", updated_at: "iso", estimated_completion: "iso", message: "string",
  },
  projects: { projects: "array", total: "integer", limit: "integer", skip: "integer", "projects.0.project_id": "string" },
  project: {
    project_id: "string", project_name: "string", project_type: "text", status: STATUS, created_at: "iso?",
    updated_at: "iso?",
  },
  status: {
    project_id: "string", status: STATUS, current_stage: "string", stage: "string", progress: "percent", message: "text",
    parallel_execution: "boolean", active_agents: "array", "active_agents.0.stage": "string",
    "active_agents.0.agent": "string", "active_agents.0.status": AGENT, stages_completed: "array", errors: "array",
    warnings: "array", metadata: "object", "metadata.data_model": "any", "metadata.backlog": "any",
    "metadata.sprint_plan": "any", completion_url: "text?", deployment_url: "text?", updated_at: "iso?",
  },
  agents: { agents: "array", "agents.0.name": "string", "agents.0.status": AGENT, "agents.0.progress": "percent" },
  logs: {
    logs: "array", "logs.0.id": "string", "logs.0.timestamp": "iso", "logs.0.level": LEVEL, "logs.0.message": "text",
    "logs.0.agent": "string",
  },
  message: { message: "string" },
  metrics: {
    total_projects: "integer", active_projects: "integer", completed_projects: "integer", failed_projects: "integer",
    avg_completion_time: "number",
  },
};

function fits(kind, value) {
  if (Array.isArray(kind)) return kind.includes(value);
  if (kind.endsWith("?")) return value === null || fits(kind.slice(0, -1), value);
  switch (kind) {
    case "any": return value !== undefined;
    case "array": return Array.isArray(value);
    case "integer": return Number.isInteger(value);
    case "iso": return typeof value === "string" && /^\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{3}Z$/.test(value);
    case "object": return value !== null && typeof value === "object" && !Array.isArray(value);
    case "percent": return typeof value === "number" && value >= 0 && value <= 100;
    case "string": return typeof value === "string" && value !== "";
    case "text": return typeof value === "string";
    case "unix": return typeof value === "number" && value > 1.7e9 && value < 1e10;
    default: return typeof value === kind;
  }
}

/** What is wrong with a message or a body; lists that are empty have nothing to look at. */
export function faults(fields, value, name) {
  if (!fields) return [`${name} is unknown`];
  const wrong = [];
  for (const [path, kind] of Object.entries(fields)) {
    let found = value;
    let isEmpty = false;
    for (const step of path.split(".")) {
      isEmpty ||= Array.isArray(found) && found.length === 0;
      found = found?.[step];
    }
    if (!isEmpty && !fits(kind, found)) wrong.push(`${name}.${path} is ${JSON.stringify(found)}, not ${kind}`);
  }
  return wrong;
}
