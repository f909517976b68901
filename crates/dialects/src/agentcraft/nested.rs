//! Messages with the session's state in them.

use serde_json::{Value, json};

use super::asks::{Due, Kind};
use super::message::{Message, Nested, NestedAgent, NestedState};
use super::session::{Agent, Session};
use super::{present, words};
use crate::View;

/// Outputs in such a message.
const OUTPUTS_MAX: usize = 5;

/// What an event made due; none: the session is gone.
pub(super) fn message<'a>(due: Due<'a>, view: &View<'a>) -> Option<Message<'a>> {
    let session = Session::of(view, due.session)?;
    let nested = Nested {
        session_id: session.id,
        timestamp: words::seconds(view.now_ms),
        state: state(session, view.now_ms, OUTPUTS_MAX),
        data: data(due, session),
    };
    Some(match due.kind {
        Kind::Started => Message::SessionStarted(nested),
        Kind::Phase => Message::PhaseUpdate(nested),
        Kind::Agent => Message::AgentStatusUpdate(nested),
        Kind::Output => Message::CrewOutput(nested),
        Kind::Error => Message::SessionError(nested),
        Kind::Completed => Message::SessionCompleted(nested),
    })
}

/// The open sessions as they stand, those that have an agent, each in a message about the agent that was heard last.
pub(super) fn sessions<'a>(view: &View<'a>) -> impl Iterator<Item = Message<'a>> {
    let open = Session::all(view).filter(|session| session.is_open());
    let newest = |session: Session<'a>| session.agents().max_by_key(|agent| agent.updated_ms());
    let due = move |session| {
        let agent = newest(session)?.id;
        Some(Due { kind: Kind::Agent, flat: false, sessions: false, session: session.id, agent })
    };
    let view = *view;
    open.filter_map(due).filter_map(move |due| message(due, &view))
}

/// The session as a whole.
pub(super) fn state(session: Session<'_>, now_ms: u64, outputs_max: usize) -> NestedState<'_> {
    let active_agents: Vec<_> = session.agents().map(agent).collect();
    let finished = session.agents().filter(|agent| agent.status() == words::Status::Completed);
    NestedState {
        session_id: session.id,
        query: session.query(),
        total_agents: active_agents.len(),
        active_agents,
        completed_agents: finished.map(Agent::name).collect(),
        current_phase: session.phase(),
        overall_progress: session.progress(),
        started_at: session.started().unwrap_or_default(),
        estimated_completion: session.estimated_completion(now_ms),
        crew_output: session.outputs(outputs_max),
    }
}

fn agent(agent: Agent<'_>) -> NestedAgent<'_> {
    NestedAgent {
        agent_id: agent.id,
        agent_name: agent.name(),
        status: agent.status().lower(),
        current_task: agent.task(),
        progress: agent.progress(),
        details: words::text(agent.cells, "details").or_else(|| agent.message()),
        started_at: agent.started_ms().map(words::seconds),
        updated_at: words::seconds(agent.updated_ms()),
    }
}

/// What the message is about. The client that looks here reads `agent_name`, `status` and `progress` of whatever comes, so
/// that every one has them.
fn data(due: Due<'_>, session: Session<'_>) -> Value {
    let whole = json!({
        "session_id": session.id, "agent_name": present::SYSTEM, "status": status(due.kind), "progress": session.progress(),
        "phase": session.phase(), "message": words::text(session.cells, "message").unwrap_or_default(),
    });
    match due.kind {
        Kind::Agent => session.agent(due.agent).map_or_else(|| gone(due.agent), |found| json!(agent(found))),
        Kind::Started | Kind::Phase => whole,
        Kind::Output => with(whole, "output", session.outputs(1).pop().map_or(Value::Null, |output| json!(output))),
        Kind::Completed => with(whole, "result", result(session)),
        Kind::Error => with(whole, "error", json!(error(session))),
    }
}

/// An agent that the session has no more.
fn gone(id: &str) -> Value {
    json!(NestedAgent {
        agent_id: id,
        agent_name: id,
        status: words::Status::Idle.lower(),
        current_task: None,
        progress: 0.0,
        details: None,
        started_at: None,
        updated_at: 0.0,
    })
}

fn status(kind: Kind) -> &'static str {
    match kind {
        Kind::Completed => "finished",
        Kind::Error => "error",
        Kind::Started | Kind::Phase | Kind::Agent | Kind::Output => "processing",
    }
}

fn with(mut object: Value, name: &str, value: Value) -> Value {
    object[name] = value;
    object
}

fn result(session: Session<'_>) -> Value {
    let outcome = &session.cells["outcome"];
    ["result", "summary"].into_iter().find_map(|name| outcome.get(name)).cloned().unwrap_or_default()
}

fn error(session: Session<'_>) -> String {
    let outcome = &session.cells["outcome"];
    let said = words::text(outcome, "error").or_else(|| words::text(outcome, "reason"));
    said.map_or_else(|| format!("Session {}", words::text(session.cells, "status").unwrap_or("failed")), str::to_owned)
}
