//! The dispatcher brings events to webhooks: each is a cursor over its project's log, as every reader is, whose place is kept
//! in the store.
//!
//! Projects with webhooks lie in the shards of an index; whoever holds a shard's lease delivers for them, one task (a
//! courier) for each webhook. The lease only saves work: a place is written by who knows its version, so of two
//! couriers of one webhook one goes on, and what both delivered was delivered twice, under one id.
//!
//! Promises: every event that a webhook asks for reaches its receiver, in the log's order, at least once, or a gap says what does
//! not; one delivery of a webhook is under way at a time; no receiver delays another one's webhook, but those that fail or
//! are slow each other. It does not decide what is signed, where may be called and when to try again: that is
//! for [`crate::caller`] and [`crate::backoff`].

mod appended;
pub(crate) mod batch;
pub(crate) mod courier;
mod leases;
pub(crate) mod metrics;
mod opening;
mod place;
pub(crate) mod record;
mod rounds;
mod shards;
pub(crate) mod turns;
mod walk;

#[cfg(test)]
mod tests;

use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use futures_util::future::{BoxFuture, FutureExt as _};
use tidings_broker::Broker;
use tidings_broker::hooks::Hooks;
use tidings_log::hub::{Hub, HubSettings};
use tidings_registry::SettingsReader;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

use crate::caller::{Caller, Delivered, Target};
use crate::runner::Commands;

pub use metrics::Metrics;
pub use opening::{Opened, Opening};

use rounds::Rounds;
use turns::Turns;

/// Payload bytes of a topic's ring: its newest entry, as a rule. What is behind it is read from the log.
const RING_BYTES: usize = 8 * 1024;

/// Bytes of pages of logs that couriers are behind in.
const PAGES_BYTES: usize = 8 * 1024 * 1024;

/// Bytes of rings and pages together, about.
const BUDGET_BYTES: usize = 32 * 1024 * 1024;

/// How often the heads of quiet logs are looked at: messages may be lost.
const TAIL_CHECK: Duration = Duration::from_secs(5);

/// How long a topic stays without a courier.
const LINGER: Duration = Duration::from_secs(5);

/// Projects with webhooks of which one process looks after at most; others wait until one goes.
const TOPICS_MAX: usize = 20_000;

/// How much is delivered at once, and when.
#[derive(Debug, Clone)]
pub struct Rhythm {
    /// Deliveries under way at the same time, of all webhooks.
    pub at_once: usize,
    /// Events and gaps in one delivery.
    pub events_max: usize,
    /// Bytes of a delivery, about: one event more may fit.
    pub bytes_max: usize,
    /// How often the index is read.
    pub round: Duration,
    /// How long a lease lasts that is not renewed.
    pub lease: Duration,
    /// How often settings of projects are read that did not change.
    pub look: Duration,
    /// How often all projects are looked at for webhooks that the index lost.
    pub walk: Duration,
    /// How long a webhook that is gone keeps its place, and a project without webhooks the index's.
    pub linger: Duration,
    /// No pause between two tries is longer.
    pub pause_max: Duration,
}

impl Default for Rhythm {
    fn default() -> Rhythm {
        Rhythm {
            at_once: 64,
            events_max: 100,
            bytes_max: 256 * 1024,
            round: Duration::from_secs(2),
            lease: Duration::from_secs(15),
            look: Duration::from_secs(15),
            walk: Duration::from_mins(5),
            linger: Duration::from_mins(10),
            pause_max: crate::backoff::LONGEST,
        }
    }
}

/// Who brings a delivery to its receiver.
pub trait Post: Send + Sync + 'static {
    /// One call, bounded in time; `attempt` counts from 1. The future may be dropped; whether it arrived is then unknown.
    fn post<'a>(&'a self, target: &'a Target, id: &'a str, attempt: u32, body: Bytes) -> BoxFuture<'a, Delivered>;
}

impl Post for Caller {
    fn post<'a>(&'a self, target: &'a Target, id: &'a str, attempt: u32, body: Bytes) -> BoxFuture<'a, Delivered> {
        self.deliver(target, id, attempt, body).boxed()
    }
}

/// What couriers share.
pub(crate) struct Shared {
    pub(crate) broker: Arc<dyn Broker>,
    pub(crate) hooks: Arc<dyn Hooks>,
    pub(crate) hub: Hub,
    pub(crate) settings: SettingsReader,
    pub(crate) post: Arc<dyn Post>,
    pub(crate) turns: Turns,
    pub(crate) rhythm: Rhythm,
    pub(crate) metrics: Metrics,
    /// What webhooks need to be runners; none: they are none.
    commands: Option<Commands>,
}

/// Delivers for the webhooks of projects.
pub struct Dispatcher {
    shared: Arc<Shared>,
    /// The topics' tasks.
    topics: TaskTracker,
}

impl Dispatcher {
    /// A dispatcher that holds no lease yet. Without `commands` it brings events alone.
    ///
    /// # Errors
    /// When topics' own counters cannot be made.
    pub fn new(
        broker: Arc<dyn Broker>,
        settings: SettingsReader,
        post: Arc<dyn Post>,
        rhythm: Rhythm,
        metrics: Metrics,
        commands: Option<Commands>,
    ) -> Result<Dispatcher, prometheus::Error> {
        let topics = TaskTracker::new();
        let hub_settings = HubSettings {
            ring_bytes_max: RING_BYTES,
            budget_bytes: BUDGET_BYTES,
            pages_bytes_max: PAGES_BYTES,
            tail_check: TAIL_CHECK,
            linger: LINGER,
            topics_max: TOPICS_MAX,
            writer: format!("h-{:016x}", rand::random::<u64>()).into(),
        };
        // A gateway in the same process has counters of these names for its viewers.
        let own = tidings_log::metrics::Metrics::register(&prometheus::Registry::new())?;
        let hub = Hub::new(broker.clone(), hub_settings, topics.clone(), own);
        let turns = Turns::new(rhythm.at_once);
        let shared = Shared { hooks: broker.hooks(), broker, hub, settings, post, turns, rhythm, metrics, commands };
        Ok(Dispatcher { shared: Arc::new(shared), topics })
    }

    /// Works until `stop`; then ends what is under way and gives its leases back.
    pub async fn run(self, stop: CancellationToken) {
        let upkeep = CancellationToken::new();
        self.topics.spawn(self.shared.hub.clone().run(upkeep.clone()));
        Rounds::new(self.shared.clone()).run(stop).await;
        upkeep.cancel();
        self.topics.close();
        self.topics.wait().await;
    }
}

/// Milliseconds of a time, as much as fits.
pub(crate) fn ms(time: Duration) -> u64 {
    u64::try_from(time.as_millis()).unwrap_or(u64::MAX)
}

/// Milliseconds since the Unix epoch.
pub(crate) fn unix_ms() -> u64 {
    ms(std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH).unwrap_or_default())
}
