//! Messages of present state.

use serde_json::{Map, Value};
use tidings_protocol::timestamp::rfc3339;

use super::Shape;
use super::message::{ActiveAgent, ActiveSession, ActiveSessions, AgentStatus, Line, Message, Metadata, SessionState};
use super::session::{self, Agent, Session};
use super::words;
use crate::View;

/// Outputs in `session_state`.
const OUTPUTS_MAX: usize = 10;
/// Agents that somebody who missed something is told of at once.
const AGENTS_MAX: usize = 1_000;
/// Who says a line that names no agent.
pub(super) const SYSTEM: &str = "system";
/// How an open session is.
const OPEN: &str = "processing";

pub(super) fn active_sessions<'a>(view: &View<'a>) -> Message<'a> {
    Message::ActiveSessions { timestamp: words::seconds(view.now_ms), data: sessions(view) }
}

/// The sessions that have not ended.
pub(super) fn sessions<'a>(view: &View<'a>) -> ActiveSessions<'a> {
    let open = Session::all(view).filter(|session| session.is_open());
    let sessions: Vec<_> = open
        .map(|session| ActiveSession {
            session_id: session.id,
            query: session.query(),
            status: OPEN,
            agents_active: session.agents_active(),
            phase: session.phase(),
            progress: session.progress(),
            agents: session.agents().count(),
            started_at: session.started(),
        })
        .collect();
    ActiveSessions { total_sessions: sessions.len(), sessions }
}

/// The agents of open sessions as they stand, those that were heard last, in the order in which they were.
pub(super) fn agents<'a>(view: &View<'a>) -> impl Iterator<Item = Message<'a>> {
    let open = Session::all(view).filter(|session| session.is_open());
    let mut agents: Vec<_> = open.flat_map(Session::agents).collect();
    agents.sort_by_key(|agent| agent.updated_ms());
    agents.drain(..agents.len().saturating_sub(AGENTS_MAX));
    agents.into_iter().map(status_of)
}

/// One agent as it stands; none: it is gone, and its session with it perhaps.
pub(super) fn agent_status<'a>(view: &View<'a>, session: &'a str, agent: &str) -> Option<Message<'a>> {
    Session::of(view, session)?.agent(agent).map(status_of)
}

fn status_of(agent: Agent<'_>) -> Message<'_> {
    Message::AgentStatus(AgentStatus {
        agent_id: agent.id,
        agent_name: agent.name(),
        status: agent.status().upper(),
        progress: words::percent(agent.progress()),
        message: agent.message().unwrap_or_default(),
        timestamp: rfc3339(agent.updated_ms()),
        metadata: Metadata {
            task_id: words::text(agent.cells, "task_id"),
            estimated_completion: agent.cells.get("estimated_completion").unwrap_or(&Value::Null),
        },
    })
}

/// `session_state`, or `session_not_found`.
pub(super) fn session_state<'a>(view: &View<'a>, session_id: &'a str) -> Message<'a> {
    let timestamp = words::seconds(view.now_ms);
    let Some(session) = Session::of(view, session_id) else {
        return Message::SessionNotFound { session_id, timestamp };
    };
    let active_agents = session.agents().map(|agent| ActiveAgent {
        agent_name: agent.name(),
        status: agent.status().upper(),
        progress: words::percent(agent.progress()),
        current_task: agent.task().or_else(|| agent.message()).unwrap_or_default(),
        details: words::details(agent.cells.get("details")),
    });
    let state = SessionState {
        session_id,
        query: session.query(),
        current_phase: session.phase(),
        overall_progress: words::percent(session.progress()),
        active_agents: active_agents.collect(),
        crew_output: session.outputs(OUTPUTS_MAX),
    };
    Message::SessionState { session_id, state, timestamp }
}

/// `session_logs`; of a session that is not known: no lines.
pub(super) fn session_logs<'a>(shape: Shape, view: &View<'a>, session_id: &'a str, limit: u32) -> Message<'a> {
    let logs = logs(shape, view, session_id, limit);
    Message::SessionLogs { session_id, logs, timestamp: words::seconds(view.now_ms) }
}

pub(super) fn logs<'a>(shape: Shape, view: &View<'a>, session_id: &'a str, limit: u32) -> Vec<Line<'a>> {
    let limit = usize::try_from(limit).unwrap_or(usize::MAX);
    let session = Session::of(view, session_id).into_iter();
    session.flat_map(|session| session.lines(limit)).map(|(line, agent)| one_line(shape, line, agent)).collect()
}

fn one_line<'a>(shape: Shape, line: &'a Value, agent: Option<&'a str>) -> Line<'a> {
    let ms = session::time(line, "time").unwrap_or_default();
    let level = words::text(line, "level").unwrap_or("info");
    let message = words::text(line, "message").unwrap_or_default();
    let status = match level {
        "error" => "error",
        "success" => "finished",
        _ => "processing",
    };
    let r#type = if agent.is_some() { "agent_activity" } else { "crew_activity" };
    let document = || (rfc3339(ms), agent.unwrap_or(SYSTEM), beside(line));
    match shape {
        Shape::Flat => {
            let (timestamp, agent, details) = document();
            Line::Document { timestamp, level, agent, message, details }
        }
        Shape::Both => {
            let (timestamp, agent, details) = document();
            Line::Both { timestamp, level, agent, message, details, r#type, status, task: message }
        }
        Shape::Nested => {
            let (timestamp, details) = (words::seconds(ms), words::text(line, "source"));
            match agent {
                Some(agent) => Line::AgentActivity { timestamp, r#type, agent, status, task: message, details },
                None => Line::CrewActivity { timestamp, r#type, message, details },
            }
        }
    }
}

/// What else a line says.
fn beside(line: &Value) -> Value {
    let members = ["source", "emoji"].into_iter().filter_map(|name| Some((name.to_owned(), line.get(name)?.clone())));
    Value::Object(members.collect::<Map<_, _>>())
}
