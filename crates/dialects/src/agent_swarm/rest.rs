//! Bodies of the REST routes, from a build and the lines of its log.

use serde::Serialize;
use serde_json::{Map, Value};
use tidings_protocol::timestamp::rfc3339;

use super::build::{Agent, Build};
use super::lines::Line;
use super::words;

/// The prefixes that the routes are served under.
pub const PREFIXES: [&str; 2] = ["/v1/public/agent-swarms", "/api/v1/public/agent-swarms"];
/// The prefixes of the admin monitor: lists of agents and logs are bare arrays there.
pub const ADMIN_PREFIXES: [&str; 2] = ["/api/v1/admin/agent-swarm", "/api/v1/admin/agent-swarms"];
/// Lines of an answer, where nobody says how many.
pub const LINES_DEFAULT: u32 = 100;
/// Lines of an answer at most.
pub const LINES_MAX: u32 = 1_000;
/// Projects of an answer, where nobody says how many.
pub const PROJECTS_DEFAULT: u32 = 20;
/// Projects of an answer at most.
pub const PROJECTS_MAX: u32 = 100;

fn text(value: &impl Serialize) -> String {
    serde_json::to_string(value).expect("an answer has string keys only")
}

/// A project of theirs.
#[derive(Debug, Clone, Copy)]
pub struct Shown<'a> {
    /// The `project_id`.
    pub id: &'a str,
    /// The build.
    pub build: Build<'a>,
    /// When its log was written to last, in milliseconds since the Unix epoch; 0: never.
    pub updated_ms: u64,
}

/// Both services' names for what there is of a project.
#[derive(Serialize)]
struct Project<'a> {
    id: &'a str,
    project_id: &'a str,
    name: &'a str,
    project_name: &'a str,
    project_type: &'a str,
    description: &'a str,
    status: &'a str,
    progress: Value,
    stage: &'a str,
    message: &'a str,
    agents: Vec<AgentRow<'a>>,
    completion_url: Option<&'a str>,
    deployment_url: Option<&'a str>,
    error: Option<&'a str>,
    created_at: Option<String>,
    updated_at: Option<String>,
    completed_at: Option<String>,
}

#[derive(Serialize)]
struct AgentRow<'a> {
    name: &'a str,
    status: &'a str,
    progress: Value,
    #[serde(skip_serializing_if = "str::is_empty")]
    current_task: &'a str,
}

impl<'a> From<Agent<'a>> for AgentRow<'a> {
    fn from(agent: Agent<'a>) -> AgentRow<'a> {
        AgentRow { name: agent.name, status: agent.status, progress: agent.progress, current_task: agent.task }
    }
}

impl<'a> Shown<'a> {
    fn project(&self) -> Project<'a> {
        let Shown { id, build, .. } = *self;
        let said = |name: &str| build.metadata(name).as_str().unwrap_or_default();
        let name = build.title().unwrap_or(id);
        let (completion_url, deployment_url) = self.addresses();
        Project {
            id,
            project_id: id,
            name,
            project_name: name,
            project_type: said("project_type"),
            description: said("description"),
            status: build.status(),
            progress: build.progress(),
            stage: self.stage(),
            message: build.message(),
            agents: build.agents().into_iter().map(AgentRow::from).collect(),
            completion_url,
            deployment_url,
            error: build.error(),
            created_at: build.started_ms().map(rfc3339),
            updated_at: self.updated_at(),
            completed_at: build.ended_ms().map(rfc3339),
        }
    }

    fn addresses(&self) -> (Option<&'a str>, Option<&'a str>) {
        let said = |address: &'a str| (!address.is_empty()).then_some(address);
        let addresses = words::addresses(self.build.outcome());
        (said(addresses.completion_url), said(addresses.deployment_url))
    }

    /// A stage always: the first one before any, the last one behind all.
    fn stage(&self) -> &'a str {
        let [first, .., last] = words::STAGES;
        self.build.stage().unwrap_or(if self.build.status() == "completed" { last } else { first })
    }

    fn updated_at(&self) -> Option<String> {
        (self.updated_ms > 0).then(|| rfc3339(self.updated_ms))
    }
}

/// `GET /projects/{id}`.
pub fn project(shown: &Shown<'_>) -> String {
    text(&shown.project())
}

/// `GET /projects`: a page of them.
pub fn projects(page: &[Shown<'_>], total: usize, limit: u32, skip: u32) -> String {
    #[derive(Serialize)]
    struct Projects<'a> {
        projects: Vec<Project<'a>>,
        total: usize,
        limit: u32,
        skip: u32,
    }
    text(&Projects { projects: page.iter().map(Shown::project).collect(), total, limit, skip })
}

/// `GET /projects/{id}/status`: what the service's and the specification's clients read.
pub fn status(shown: &Shown<'_>) -> String {
    #[derive(Serialize)]
    struct Active<'a> {
        stage: &'a str,
        agent: &'a str,
        status: &'a str,
    }
    #[derive(Serialize)]
    struct Status<'a> {
        project_id: &'a str,
        status: &'a str,
        current_stage: &'a str,
        stage: &'a str,
        progress: Value,
        message: &'a str,
        parallel_execution: bool,
        active_agents: Vec<Active<'a>>,
        stages_completed: Vec<&'a str>,
        errors: Vec<&'a str>,
        warnings: Vec<&'a str>,
        metadata: Map<String, Value>,
        completion_url: Option<&'a str>,
        deployment_url: Option<&'a str>,
        updated_at: Option<String>,
    }
    let build = &shown.build;
    let stage = shown.stage();
    // A build that is over has nobody at work, whatever its agents said last.
    let is_under_way = build.status() == "in_progress";
    let agents = build.agents().into_iter().filter(|agent| is_under_way && agent.status == "working");
    let active: Vec<_> = agents.map(|agent| Active { stage, agent: agent.name, status: agent.status }).collect();
    let mut errors = build.messages("error");
    errors.extend(build.error().filter(|error| !errors.contains(error)));
    let metadata = ["data_model", "backlog", "sprint_plan"].map(|name| (name.to_owned(), build.metadata(name).clone()));
    let (completion_url, deployment_url) = shown.addresses();
    text(&Status {
        project_id: shown.id,
        status: build.status(),
        current_stage: stage,
        stage,
        progress: build.progress(),
        message: build.message(),
        parallel_execution: active.len() > 1,
        active_agents: active,
        stages_completed: build.stages_completed(),
        errors,
        warnings: build.messages("warning"),
        metadata: metadata.into_iter().collect(),
        completion_url,
        deployment_url,
        updated_at: shown.updated_at(),
    })
}

/// `GET /projects/{id}/agents`. `bare`: as the admin monitor wants it.
pub fn agents(build: &Build<'_>, bare: bool) -> String {
    let agents: Vec<_> = build.agents().into_iter().map(AgentRow::from).collect();
    listed("agents", &agents, bare)
}

/// `GET /projects/{id}/logs`: these lines, in this order.
pub fn logs(lines: &[Line], bare: bool) -> String {
    #[derive(Serialize)]
    struct Row<'a> {
        id: &'a str,
        timestamp: String,
        level: &'a str,
        message: &'a str,
        agent: &'a str,
        emoji: &'a str,
    }
    let row = |line: &Line| -> String {
        let Line { id, level, message, agent, emoji, .. } = line;
        text(&Row { id, timestamp: rfc3339(line.time_ms), level, message, agent, emoji })
    };
    let rows = lines.iter().map(row).collect::<Vec<_>>().join(",");
    if bare { format!("[{rows}]") } else { format!("{{\"logs\":[{rows}]}}") }
}

fn listed(name: &str, rows: &impl Serialize, bare: bool) -> String {
    let rows = text(rows);
    if bare { rows } else { format!("{{\"{name}\":{rows}}}") }
}

/// `GET /metrics`, over these builds.
pub fn metrics<'a>(builds: impl IntoIterator<Item = Build<'a>>) -> String {
    #[derive(Serialize, Default)]
    struct Metrics {
        total_projects: u64,
        active_projects: u64,
        completed_projects: u64,
        failed_projects: u64,
        /// In seconds.
        avg_completion_time: f64,
    }
    let mut metrics = Metrics::default();
    let mut times_ms: Vec<u64> = Vec::new();
    for build in builds {
        metrics.total_projects += 1;
        match build.status() {
            "completed" => {
                metrics.completed_projects += 1;
                let time = build.started_ms().zip(build.ended_ms());
                times_ms.extend(time.and_then(|(started, ended)| ended.checked_sub(started)));
            }
            "failed" => metrics.failed_projects += 1,
            "initializing" | "in_progress" => metrics.active_projects += 1,
            _ => {}
        }
    }
    if let Some(mean_ms) = times_ms.iter().sum::<u64>().checked_div(times_ms.len() as u64) {
        metrics.avg_completion_time = words::seconds(mean_ms);
    }
    text(&metrics)
}

/// `GET /health`.
pub fn health(is_ready: bool) -> String {
    let (status, message) = if is_ready {
        ("healthy", "Agent swarm service is operational")
    } else {
        ("degraded", "The store is away; projects are as they were last seen")
    };
    message_with("status", status, message)
}

/// `POST /projects/{id}/stop` and `/restart`.
pub fn message(message: &str) -> String {
    text(&serde_json::json!({ "message": message }))
}

fn message_with(name: &str, value: &str, message: &str) -> String {
    format!("{{\"{name}\":{},\"message\":{}}}", text(&value), text(&message))
}

/// A log as text: a line each.
pub fn logs_txt(lines: &[Line]) -> String {
    let row = |line: &Line| {
        let Line { level, message, agent, .. } = line;
        format!("{} {level:<7} {agent}: {}\n", rfc3339(line.time_ms), message.replace('\n', "\n    "))
    };
    lines.iter().map(row).collect()
}

/// A log as CSV, with names above.
pub fn logs_csv(lines: &[Line]) -> String {
    // A spreadsheet takes what begins like a formula for one.
    let guarded = |text: &str| if text.starts_with(['=', '+', '-', '@', '\t', '\r']) { "'" } else { "" };
    let quoted = |text: &str| format!("\"{}{}\"", guarded(text), text.replace('"', "\"\""));
    let row = |line: &Line| {
        let cells = [&line.id, &rfc3339(line.time_ms), line.level, &line.agent, &line.message];
        cells.map(quoted).join(",") + "\r\n"
    };
    "id,timestamp,level,agent,message\r\n".to_owned() + &lines.iter().map(row).collect::<String>()
}
