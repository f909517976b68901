//! What dialects look at: events as they were appended, and state as it stands at a position.

use serde_json::Value;
use tidings_protocol::position::Position;
use tidings_protocol::project::Project;
use tidings_protocol::{timestamp, wire};

/// An event, parsed once for all viewers of a dialect.
#[derive(Debug, Clone, Copy)]
pub struct Told<'a> {
    /// The project.
    pub project: &'a Project,
    /// Where it stands.
    pub position: Position,
    /// What travels beside it: type, session, agent, when it was received.
    pub event: &'a wire::Event,
    /// The envelope as the runner made it: `type`, `id`, `time`, `data`, ...
    pub envelope: &'a Value,
}

impl<'a> Told<'a> {
    /// The event's type.
    pub fn kind(&self) -> &'a str {
        &self.event.r#type
    }

    /// The session; empty: none.
    pub fn session(&self) -> &'a str {
        &self.event.session
    }

    /// The agent; empty: none.
    pub fn agent(&self) -> &'a str {
        &self.event.agent
    }

    /// Its `data`; null: none.
    pub fn data(&self) -> &'a Value {
        &self.envelope["data"]
    }

    /// A member of `data`, if it is there and a string.
    pub fn text(&self, name: &str) -> Option<&'a str> {
        self.data().get(name).and_then(Value::as_str)
    }

    /// When it happened, by the runner's clock, else when ingest took it: milliseconds since the Unix epoch.
    pub fn time_ms(&self) -> u64 {
        let time = self.envelope.get("time").and_then(Value::as_str).and_then(timestamp::parse_rfc3339);
        time.and_then(|ms| u64::try_from(ms).ok()).unwrap_or(self.event.received_ms)
    }
}

/// A project's state at a position: the `state` of a snapshot (docs/protocol.md).
#[derive(Debug, Clone, Copy)]
pub struct View<'a> {
    /// The project.
    pub project: &'a Project,
    /// Where it is true.
    pub position: Position,
    /// `{sessions, approvals, usage, fleet}`.
    pub state: &'a Value,
    /// Now, in milliseconds since the Unix epoch.
    pub now_ms: u64,
}

impl<'a> View<'a> {
    /// The live sessions, by id.
    pub fn sessions(&self) -> impl Iterator<Item = (&'a str, &'a Value)> + use<'a> {
        let sessions = self.state["sessions"].as_object();
        sessions.into_iter().flatten().map(|(id, session)| (id.as_str(), session))
    }

    /// One of them.
    pub fn session(&self, id: &str) -> Option<&'a Value> {
        self.state["sessions"].get(id)
    }
}
