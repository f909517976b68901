//! What the tests play: a session as a runner posts it, folded as a gateway folds it.

use serde_json::{Value, json};
use tidings_dialects::agentcraft::{AgentCraft, Shape};
use tidings_dialects::{Ask, Dialect as _, Told, View};
use tidings_protocol::fold::{State, StateLimits};
use tidings_protocol::intake::{Intake, parse_body};
use tidings_protocol::limits::EventLimits;
use tidings_protocol::position::{Branch, Position};
use tidings_protocol::project::Project;
use tidings_protocol::wire;

/// 2026-11-20T09:00:00Z.
const START_MS: u64 = 1_795_165_200_000;
/// Now, on every stage: a minute later.
pub(crate) const NOW_MS: u64 = START_MS + 60_000;
pub(crate) const SESSION: &str = "session_abc123";

/// A log, and its state.
pub(crate) struct Stage {
    project: Project,
    state: State,
    events: Vec<(Position, wire::Event)>,
}

impl Stage {
    /// A log with these events, a second between each and the next.
    pub(crate) fn with(events: &[Value]) -> Stage {
        let project: Project = "craft".parse().expect("a name");
        let mut stage = Stage { project, state: State::new(StateLimits::default()), events: Vec::new() };
        for event in events {
            stage.post(event.clone());
        }
        stage
    }

    /// A crew of two at work.
    pub(crate) fn crew() -> Stage {
        Stage::with(&crew())
    }

    /// Appends an event as ingest does; what it needs of an envelope is added.
    pub(crate) fn post(&mut self, mut event: Value) {
        let n = self.events.len() as u64 + 1;
        let ms = START_MS + n * 1_000;
        let ours = json!({ "id": format!("e{n}"), "time": tidings_protocol::timestamp::rfc3339(ms) });
        for (name, value) in ours.as_object().expect("an object") {
            event.as_object_mut().expect("an object").entry(name.clone()).or_insert_with(|| value.clone());
        }
        let mut intake = Intake {
            limits: &EventLimits::default(),
            received_ms: ms,
            next_id: &mut || unreachable!("every event has an id"),
            default_runner: None,
            default_traceparent: None,
            idempotency_key: None,
        };
        let events = parse_body(event.to_string().as_bytes(), &mut intake).expect("a valid event");
        for event in events {
            let position = Position::new(ms, n, Branch::from_random([7; 12]));
            self.state.apply_event(position, &event);
            self.events.push((position, event));
        }
    }

    /// What a client of this variant is told of the newest event: at once, then what it makes due.
    pub(crate) fn newest(&self, dialect: AgentCraft) -> Vec<String> {
        let mut out = Vec::new();
        self.told(|told| dialect.event(told, &mut out));
        if let Some(ask) = self.due(dialect) {
            out.extend(self.present(dialect, &ask));
        }
        out
    }

    /// What the newest event makes due.
    pub(crate) fn due(&self, dialect: AgentCraft) -> Option<Ask> {
        self.told(|told| dialect.due(told))
    }

    fn told<T>(&self, look: impl FnOnce(&Told<'_>) -> T) -> T {
        let (position, event) = self.events.last().expect("something was posted");
        let envelope: Value = serde_json::from_slice(&event.json).expect("events are JSON");
        look(&Told { project: &self.project, position: *position, event, envelope: &envelope })
    }

    /// The same as values.
    pub(crate) fn says(&self, shape: Shape) -> Vec<Value> {
        values(&self.newest(AgentCraft::new(shape)))
    }

    pub(crate) fn present(&self, dialect: AgentCraft, ask: &Ask) -> Vec<String> {
        self.view(|view| {
            let mut out = Vec::new();
            dialect.present(ask, view, &mut out);
            out
        })
    }

    /// What a client hears first.
    pub(crate) fn greeting(&self, dialect: AgentCraft, resumed: bool) -> Vec<String> {
        self.view(|view| {
            let mut out = Vec::new();
            dialect.greet(view, resumed, &mut out);
            out
        })
    }

    pub(crate) fn view<T>(&self, look: impl FnOnce(&View<'_>) -> T) -> T {
        let mut json = Vec::new();
        self.state.snapshot_json(&mut json);
        let state: Value = serde_json::from_slice(&json).expect("snapshots are JSON");
        look(&View { project: &self.project, position: self.state.position(), state: &state, now_ms: NOW_MS })
    }
}

/// Messages as values.
pub(crate) fn values(messages: &[String]) -> Vec<Value> {
    messages.iter().map(|message| serde_json::from_str(message).expect("messages are JSON")).collect()
}

/// Their types.
pub(crate) fn types(messages: &[Value]) -> Vec<&str> {
    messages.iter().map(|message| message["type"].as_str().expect("every message has a type")).collect()
}

/// An event of the session.
pub(crate) fn event(kind: &str, agent: Option<&str>, data: Value) -> Value {
    let mut event = json!({ "type": kind, "session": SESSION });
    event["data"] = data;
    if let Some(agent) = agent {
        event["agent"] = json!(agent);
    }
    event
}

pub(crate) fn crew() -> Vec<Value> {
    let (tech, guard) = (Some("agent-tech"), Some("agent-guard"));
    vec![
        event("session.started", None, json!({ "title": "How do I fix webhook errors?", "agents": 2 })),
        event("agent.started", tech, json!({ "name": "Technical Integration Specialist", "role": "Integrations" })),
        event("agent.started", guard, json!({ "name": "Security Specialist" })),
        event("session.progress", None, json!({ "progress": 20, "phase": "processing", "message": "Looking around" })),
        event(
            "log",
            tech,
            json!({ "level": "info", "message": "Starting webhook analysis", "source": "crewai.agent" }),
        ),
        event("log", None, json!({ "level": "warning", "message": "One retry is left", "emoji": "⚠" })),
        event("output", tech, json!({ "content": "The signature is computed twice.", "kind": "finding" })),
        event("agent.status", tech, status()),
    ]
}

/// A status with everything that the protocol has a place for.
pub(crate) fn status() -> Value {
    json!({
        "name": "Technical Integration Specialist", "status": "processing", "progress": 65,
        "message": "Analyzing webhook signature validation...", "task": "Analyzing webhook configuration",
        "task_id": "task-7", "estimated_completion": 30, "details": { "file": "hooks.py" },
    })
}
