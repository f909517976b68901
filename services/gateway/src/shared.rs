//! What all handlers of a gateway share.

use std::time::Duration;

use tidings_log::hub::{Hub, TopicHandle};
use tidings_protocol::codes::ErrorCode;
use tidings_protocol::project::Project;
use tidings_runtime::http::problem::Refused;

use crate::connections::Connections;
use crate::http::summaries::Summaries;
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
    /// Over which time viewers are told to come back when the gateway drains.
    pub drain_window: Duration,
}

/// What all handlers share.
pub(crate) struct Shared {
    /// The topics.
    pub hub: Hub,
    /// The open connections.
    pub connections: Connections,
    /// Counters.
    pub metrics: Metrics,
    /// Settings.
    pub settings: Settings,
    /// Summaries of projects, kept for some seconds.
    pub summaries: Summaries,
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

    /// A new stable viewer id, for who has no name of its own.
    #[expect(clippy::unused_self, reason = "rights will name viewers by their credential")]
    pub(crate) fn viewer_id(&self) -> String {
        format!("v-{:016x}", rand::random::<u64>())
    }
}
