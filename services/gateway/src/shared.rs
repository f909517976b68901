//! What all handlers of a gateway share.

use std::sync::Arc;
use std::time::Duration;

use parking_lot::Mutex;
use tidings_log::hub::{Hub, TopicHandle};
use tidings_log::wake::Wake;
use tidings_presence::Hall;
use tidings_protocol::codes::ErrorCode;
use tidings_protocol::grant::{Grant, Scope};
use tidings_protocol::project::Project;
use tidings_runtime::busiest::Busiest;
use tidings_runtime::http::problem::Refused;
use tidings_runtime::http::rights::Rights;
use tidings_runtime::telemetry::traces::Traces;

use crate::bodies::Bodies;
use crate::commands::Commands;
use crate::connections::{Connections, Registered};
use crate::dialects::Desk;
use crate::drain::Pace;
use crate::http::heads::Heads;
use crate::http::names::Names;
use crate::http::summaries::Summaries;
use crate::limits::Limits;
use crate::metrics::Metrics;

/// Settings of the gateway's faces.
#[derive(Debug, Clone)]
pub(crate) struct Settings {
    /// Largest message that a client may send, in bytes.
    pub message_bytes_max: usize,
    /// How often the server pings.
    pub ping_every: Duration,
    /// How long nothing may be written before a viewer counts as stalled.
    pub stalled_after: Duration,
    /// How fast viewers are told to go when the gateway drains.
    pub pace: Pace,
    /// How long an export that was told may still go on.
    pub closing: Duration,
}

/// What all handlers share.
pub(crate) struct Shared {
    /// The topics.
    pub hub: Hub,
    /// Who is there.
    pub presence: Hall,
    /// The open connections.
    pub connections: Connections,
    /// The bodies that go on.
    pub bodies: Bodies,
    /// Who may do what.
    pub rights: Rights,
    /// Who may have how much.
    pub limits: Limits,
    /// Where runners are asked.
    pub commands: Commands,
    /// Counters.
    pub metrics: Metrics,
    /// Where spans go.
    pub traces: Traces,
    /// Where commands of dialects go.
    pub desk: Arc<dyn Desk>,
    /// Settings.
    pub settings: Settings,
    /// Heads of projects, kept for a second.
    pub heads: Heads,
    /// Names of all projects, kept for some seconds.
    pub names: Names,
    /// Summaries of projects, kept for some seconds.
    pub summaries: Summaries,
    /// Which projects are told apart in figures: deliveries.
    pub busiest: Mutex<Busiest<1>>,
}

/// When to come back to a gateway that has as many projects as it may, in seconds.
const BUSY_RETRY_S: u32 = 5;

impl Shared {
    /// The topic of a project.
    ///
    /// # Errors
    /// `busy` when the gateway has as many as it may, all of them in use.
    pub(crate) fn topic(&self, project: &Project) -> Result<TopicHandle, Refused> {
        let full = |error: tidings_log::hub::TopicsFull| Refused::new(ErrorCode::Busy, error.to_string());
        self.hub.topic(project).map_err(|error| full(error).retry_after(BUSY_RETRY_S))
    }

    /// Registers something that stays open for who has this grant, and reads these projects by it. `wake` is woken when
    /// the gateway or the rights have news.
    pub(crate) fn register(&self, wake: Arc<Wake>, grant: Grant, reads: &[&Project]) -> Registered {
        let needs = reads.iter().map(|project| ((*project).clone(), Scope::Read)).collect();
        let woken = wake.clone();
        let held = self.rights.hold(grant, needs, move || woken.wake());
        self.connections.register(wake, held)
    }
}
