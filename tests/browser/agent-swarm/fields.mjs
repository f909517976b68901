// Every field that a client of Agent Swarm may read, by message type and by route.

const LEVEL = ["info", "success", "error", "warning"];
const AGENT = ["idle", "working", "completed", "failed"];
const STATUS = ["initializing", "in_progress", "completed", "failed", "paused"];
const AGENTS = ["architect", "frontend_developer", "backend_developer", "qa_engineer", "devops_engineer"];

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
  batch: { messages: "array", "messages.0.type": "string" },
};

const AGENT_ROW = (at) => ({
  [`${at}.name`]: "string", [`${at}.status`]: AGENT, [`${at}.progress`]: "percent", [`${at}.current_task`]: "string~",
});

const PROJECT = (at) =>
  Object.fromEntries(Object.entries({
    id: "string", project_id: "string", name: "string", project_name: "string", project_type: "text", description: "text",
    status: STATUS, progress: "percent", stage: "string", message: "text", agents: "array", ...AGENT_ROW("agents.0"),
    completion_url: "string?", deployment_url: "string?", error: "string?", created_at: "iso?", updated_at: "iso?",
    completed_at: "iso?",
  }).map(([name, kind]) => [at + name, kind]));

export const BODIES = {
  health: { status: ["healthy"], message: "string" },
  orchestrate: {
    project_id: "string", project_type: "string", description: "string", status: ["initializing"], agents_config: "object",
    ...Object.fromEntries(AGENTS.flatMap((agent) => [
      [`agents_config.${agent}.enabled`, "boolean"], [`agents_config.${agent}.status`, ["pending"]],
    ])),
    created_at: "iso", updated_at: "iso", estimated_completion: "iso", message: "string",
  },
  projects: { projects: "array", total: "integer", limit: "integer", skip: "integer", ...PROJECT("projects.0.") },
  project: PROJECT(""),
  status: {
    project_id: "string", status: STATUS, current_stage: "string", stage: "string", progress: "percent", message: "text",
    parallel_execution: "boolean", active_agents: "array", "active_agents.0.stage": "string",
    "active_agents.0.agent": "string", "active_agents.0.status": AGENT, stages_completed: "array",
    "stages_completed.0": "string", errors: "array", "errors.0": "string", warnings: "array", "warnings.0": "string",
    metadata: "object", "metadata.data_model": "any", "metadata.backlog": "any", "metadata.sprint_plan": "any",
    completion_url: "string?", deployment_url: "string?", updated_at: "iso?",
  },
  agents: { agents: "array", ...AGENT_ROW("agents.0") },
  logs: {
    logs: "array", "logs.0.id": "string", "logs.0.timestamp": "iso", "logs.0.level": LEVEL, "logs.0.message": "text",
    "logs.0.agent": "string", "logs.0.emoji": "string",
  },
  message: { message: "string" },
  metrics: {
    total_projects: "integer", active_projects: "integer", completed_projects: "integer", failed_projects: "integer",
    avg_completion_time: "number",
  },
  /** A refusal, and one that names what is wrong. */
  refused: { detail: "string" },
  invalid: { detail: "array", "detail.0.loc": "array", "detail.0.loc.0": "string", "detail.0.msg": "string", "detail.0.type": "string" },
};
