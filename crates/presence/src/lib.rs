//! Presence: who watches a project, over all gateways, and which runners are there.
//!
//! Each gateway reports its viewers of a project under one lease ([`tidings_broker::presence`]), and reads what the others
//! have while somebody here wants to know. What was told before is compared with what is there now, so that the viewers of
//! a gateway that died leave everywhere without anybody saying so.
//!
//! The machine is `board`: pure, told the time. `hall` is its shell: a task per project, and the handles of connections.
//! Presence is no part of the log: it has no position, is told at most once, and put right by a full list every
//! [`FULL_EVERY`]. While the store is away it is marked stale, and stops nothing.

mod board;
mod hall;
mod listing;
mod metrics;
mod news;
mod record;

use std::time::Duration;

pub use hall::{Hall, Present, Watching};
pub use listing::{Figure, Figures, LISTED_BYTES_MAX, LISTED_MAX};
pub use metrics::Metrics;
pub use news::{Said, Topic};
pub use record::RunnerRecord;

/// How often who watches is told all that are there.
pub const FULL_EVERY: Duration = Duration::from_secs(30);

/// How presence is kept.
#[derive(Debug, Clone, Copy)]
pub struct Settings {
    /// How long what a gateway has counts when it does not report again.
    pub lease: Duration,
    /// How often a gateway looks who is there, where somebody wants to know; at least three times in a lease.
    pub round: Duration,
}

impl Default for Settings {
    fn default() -> Settings {
        Settings { lease: Duration::from_secs(15), round: Duration::from_secs(2) }
    }
}

/// A viewer as its gateway knows it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Who {
    /// The viewer's id: the one that `hello` tells. Its connections are one viewer.
    pub viewer: std::sync::Arc<str>,
    /// Whether that is the name of a user.
    pub is_user: bool,
}

/// How a viewer is connected.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Transport {
    /// Server-sent events.
    Sse,
    /// WebSocket.
    WebSocket,
}

impl Transport {
    /// All of them, in the order of their words.
    pub const ALL: [Transport; 2] = [Transport::Sse, Transport::WebSocket];

    /// The word on the wire.
    pub fn as_str(self) -> &'static str {
        match self {
            Transport::Sse => "sse",
            Transport::WebSocket => "websocket",
        }
    }
}
