//! The messages of the WebSocket, each with every field that its table has.

use serde::Serialize;
use serde_json::Value;

use super::build::{Agent, Build};
use super::lines::Line;
use super::words;

/// A message to a client. `timestamp` is in seconds since the Unix epoch, with a fraction.
#[derive(Debug, Serialize)]
#[serde(tag = "type", rename_all = "snake_case")]
pub(super) enum Message<'a> {
    ConnectionEstablished {
        project_id: &'a str,
        message: &'a str,
    },
    ProjectStarted {
        project_id: &'a str,
        timestamp: f64,
    },
    ProjectProgress {
        project_id: &'a str,
        progress: &'a Value,
        message: &'a str,
        timestamp: f64,
    },
    AgentStatusUpdate {
        project_id: &'a str,
        agent: &'a str,
        status: &'a str,
        progress: &'a Value,
        task: &'a str,
        timestamp: f64,
    },
    WorkflowStageUpdate {
        project_id: &'a str,
        stage: &'a str,
        message: &'a str,
        timestamp: f64,
    },
    WorkflowLog {
        project_id: &'a str,
        id: &'a str,
        message: &'a str,
        level: &'a str,
        emoji: &'a str,
        timestamp: f64,
    },
    ProjectCompleted {
        project_id: &'a str,
        url: &'a str,
        completion_url: &'a str,
        deployment_url: &'a str,
        timestamp: f64,
    },
    ProjectError {
        project_id: &'a str,
        error: &'a str,
        timestamp: f64,
    },
}

impl Message<'_> {
    pub(super) fn text(&self) -> String {
        serde_json::to_string(self).expect("a message has string keys only")
    }

    /// A stage that says nothing of itself is called by its name.
    pub(super) fn stage(project_id: &str, stage: &str, message: Option<&str>, timestamp: f64) -> String {
        let title = words::title(stage);
        Message::WorkflowStageUpdate { project_id, stage, message: message.unwrap_or(&title), timestamp }.text()
    }

    pub(super) fn log(project_id: &str, line: &Line) -> String {
        let timestamp = words::seconds(line.time_ms);
        let Line { id, message, level, emoji, .. } = line;
        Message::WorkflowLog { project_id, id, message, level, emoji, timestamp }.text()
    }

    /// The addresses are texts always, empty where there is none.
    pub(super) fn completed(project_id: &str, outcome: &Value, timestamp: f64) -> String {
        let words::Addresses { url, completion_url, deployment_url } = words::addresses(outcome);
        Message::ProjectCompleted { project_id, url, completion_url, deployment_url, timestamp }.text()
    }

    pub(super) fn agent(project_id: &str, agent: &Agent<'_>, now_ms: u64) -> String {
        let message = Message::AgentStatusUpdate {
            project_id,
            agent: agent.name,
            status: agent.status,
            progress: &agent.progress,
            task: agent.task,
            timestamp: words::seconds(agent.updated_ms.unwrap_or(now_ms)),
        };
        message.text()
    }

    pub(super) fn progress(project_id: &str, build: &Build<'_>, now_ms: u64) -> String {
        let progress = &build.progress();
        let timestamp = words::seconds(build.ended_ms().unwrap_or(now_ms));
        Message::ProjectProgress { project_id, progress, message: build.message(), timestamp }.text()
    }

    /// How a build stands, in ordinary messages.
    pub(super) fn standing(project_id: &str, build: &Build<'_>, now_ms: u64, out: &mut Vec<String>) {
        let timestamp = words::seconds(build.started_ms().unwrap_or(now_ms));
        out.push(Message::ProjectStarted { project_id, timestamp }.text());
        if let Some(stage) = build.stage() {
            let said = &build.value["stages"][stage];
            let time = words::time_ms(&said["time"]).unwrap_or(now_ms);
            out.push(Message::stage(project_id, stage, said["message"].as_str(), words::seconds(time)));
        }
        out.extend(build.agents().iter().map(|agent| Message::agent(project_id, agent, now_ms)));
        out.push(Message::progress(project_id, build, now_ms));
        let timestamp = words::seconds(build.ended_ms().unwrap_or(now_ms));
        match build.status() {
            "completed" => out.push(Message::completed(project_id, build.outcome(), timestamp)),
            "failed" => {
                let error = build.error().unwrap_or_default();
                out.push(Message::ProjectError { project_id, error, timestamp }.text());
            }
            _ => {}
        }
    }
}

/// Several messages as one, for connections that asked for it. Each of them is a JSON object.
pub fn batch(messages: &[&str]) -> String {
    format!("{{\"type\":\"batch\",\"messages\":[{}]}}", messages.join(","))
}
