//! How many connections a user has open over all gateways.
//!
//! Each gateway tells the store what it holds, under a lease: one that dies stops renewing, and its connections are counted
//! no longer. Users are divided into shards; one call carries all that changed in a shard, and a call without a name
//! renews all of it. So a storm of connections costs some calls per shard, and idle ones next to nothing.
//!
//! Closing is told once a second; until then the place is kept for who comes back. Nothing that is open is ever closed by
//! a limit. While the store is away, a gateway lets each user have its share of the places (at least one), and tells the
//! store when it is back.

mod shard;

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use parking_lot::Mutex;
use tidings_broker::quota::{HOLD_SHARDS, HoldCall, Quotas, shard_of};
use tokio::sync::oneshot;
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

use crate::lease::micros;
use crate::{Metrics, Settings};
use shard::Shard;

/// How often what changed is told, and leases that are due are renewed.
const TICK: Duration = Duration::from_secs(1);

/// A lease is renewed after one part in so many of its time.
const RENEWALS_PER_TTL: u32 = 3;

/// All names of a shard are told again after so many leases: a store that lost some of them and not the lease is put right.
const RETELL_TTLS: u32 = 4;

/// After so long a call counts as failed, whatever the store does.
const ANSWER_MAX: Duration = Duration::from_secs(5);

/// When it is worth coming back after a refusal.
const RETRY_AFTER: Duration = Duration::from_secs(5);

/// The connections of one gateway. Cheap to clone; clones share everything.
#[derive(Clone)]
pub struct Connections(Arc<Inner>);

struct Inner {
    store: Arc<dyn Quotas>,
    settings: Settings,
    metrics: Metrics,
    holder: Arc<str>,
    since: Instant,
    shards: Vec<Mutex<Shard<Waiter>>>,
    /// The last call failed: nobody waits for the next.
    away: AtomicBool,
    tasks: TaskTracker,
}

/// Who waits for a place; none: the store did not answer.
type Waiter = oneshot::Sender<Option<Result<Connection, TooMany>>>;

/// A user has as many connections open as may be, over all gateways.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("too many connections of one user")]
pub struct TooMany {
    /// When to come back: some connection may have ended by then.
    pub retry_after: Duration,
}

/// An open connection's place. Dropping it gives it back.
pub struct Connection {
    inner: Arc<Inner>,
    user: Box<str>,
}

impl Connections {
    /// The connections of a holder that is drawn at random: one per process. [`Connections::run`] must run beside it.
    pub fn new(store: Arc<dyn Quotas>, settings: Settings, metrics: Metrics) -> Connections {
        Connections(Arc::new(Inner {
            store,
            settings,
            metrics,
            holder: format!("{:016x}", rand::random::<u64>()).into(),
            since: Instant::now(),
            shards: (0..HOLD_SHARDS).map(|_| Mutex::default()).collect(),
            away: AtomicBool::new(false),
            tasks: TaskTracker::new(),
        }))
    }

    /// A place for one more connection of a user who may have `max`; none: as many as the settings say. Waits for the
    /// store at most [`Settings::connections_wait_max`], then decides by this gateway's share.
    ///
    /// Cancel safe: dropped before it is ready, no place is taken.
    ///
    /// # Errors
    /// The user has as many as may be.
    ///
    /// # Panics
    /// Outside a tokio runtime.
    pub async fn open(&self, user: &str, max: Option<u32>) -> Result<Connection, TooMany> {
        let (inner, max) = (&self.0, max.unwrap_or(self.0.settings.user_connections_max));
        let shard = shard_of(user);
        let waiting = {
            let mut shard = inner.shards[usize::from(shard)].lock();
            if shard.open_spare(user, max) {
                return Ok(inner.opened(user));
            }
            if inner.away.load(Ordering::Relaxed) {
                None
            } else {
                let (tell, told) = oneshot::channel();
                shard.wait(user, max, tell);
                Some(told)
            }
        };
        if let Some(told) = waiting {
            inner.call_soon(shard);
            let answer = tokio::time::timeout(inner.settings.connections_wait_max, told).await;
            match answer {
                Ok(Ok(Some(decided))) => return decided,
                Ok(_) => {}
                Err(_) => inner.doubt(None),
            }
        }
        inner.open_by_share(shard, user, max)
    }

    /// Tells the store what closed, and renews the leases, until `stop`; then tells it once more. To be stopped when the
    /// connections are closed.
    pub async fn run(self, stop: CancellationToken) {
        let mut tick = tokio::time::interval(TICK);
        tick.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
        while stop.run_until_cancelled(tick.tick()).await.is_some() {
            (0..HOLD_SHARDS).for_each(|shard| self.0.call_soon(shard));
        }
        self.0.tasks.close();
        self.0.tasks.wait().await;
        let last = (0..HOLD_SHARDS).map(|shard| self.0.call(shard));
        futures_util::future::join_all(last).await;
    }

    /// The name under which this gateway holds its places.
    pub fn holder(&self) -> &str {
        &self.0.holder
    }
}

impl Inner {
    fn opened(self: &Arc<Self>, user: &str) -> Connection {
        self.metrics.connections.inc();
        Connection { inner: Arc::clone(self), user: user.into() }
    }

    fn open_by_share(self: &Arc<Self>, shard: u16, user: &str, max: u32) -> Result<Connection, TooMany> {
        // At least one place, but none of none.
        let share = max.div_ceil(self.settings.holders_expected.max(1));
        self.metrics.checks_share.inc();
        if self.shards[usize::from(shard)].lock().open_within(user, max, share) {
            return Ok(self.opened(user));
        }
        Err(self.refused())
    }

    fn refused(&self) -> TooMany {
        self.metrics.connections_refused.inc();
        TooMany { retry_after: RETRY_AFTER }
    }

    /// Sees to it that what is to be told in a shard is told. In a task, so that it goes on if who waits goes away.
    fn call_soon(self: &Arc<Self>, shard: u16) {
        if self.shards[usize::from(shard)].lock().is_due(self.now_us(), &self.settings) {
            let inner = Arc::clone(self);
            self.tasks.spawn(async move { inner.call(shard).await });
        }
    }

    /// Calls until nobody waits, and no call was full.
    async fn call(self: &Arc<Self>, shard: u16) {
        loop {
            let begun = self.shards[usize::from(shard)].lock().begin(self.now_us(), &self.settings);
            let Some(call) = begun else { return };
            let hold = HoldCall {
                holder: Arc::clone(&self.holder),
                ttl_ms: micros(self.settings.connections_ttl) / 1_000,
                holds: call.holds(),
            };
            self.metrics.store_calls.inc();
            let answer = tokio::time::timeout(ANSWER_MAX, self.store.hold(shard, hold)).await;
            let more = match answer {
                Ok(Ok(held)) => {
                    self.away.store(false, Ordering::Relaxed);
                    let (waiters, more) = self.shards[usize::from(shard)].lock().done(self.now_us(), call, &held);
                    self.tell(waiters);
                    more
                }
                failed => {
                    let error = failed.ok().and_then(Result::err).map(|error| error.to_string());
                    self.metrics.store_errors.inc();
                    self.doubt(error.as_deref());
                    let waiters = self.shards[usize::from(shard)].lock().failed(call);
                    // Who is gone does not wait for the answer.
                    for waiter in waiters {
                        drop(waiter.send(None));
                    }
                    false
                }
            };
            if !more {
                return;
            }
        }
    }

    /// Hands out places. One whose taker is gone comes back when it is dropped: not under the shard's lock.
    fn tell(self: &Arc<Self>, waiters: Vec<shard::Told<Waiter>>) {
        for told in waiters {
            let decided = if told.granted { Ok(self.opened(&told.user)) } else { Err(self.refused()) };
            drop(told.waiter.send(Some(decided)));
        }
    }

    /// The store failed or is slow: nobody waits for it until it answers.
    fn doubt(&self, error: Option<&str>) {
        if !self.away.swap(true, Ordering::Relaxed) {
            tracing::warn!(error, "the store does not answer, users have their share of connections");
        }
    }

    fn now_us(&self) -> u64 {
        micros(self.since.elapsed())
    }
}

impl Drop for Connection {
    fn drop(&mut self) {
        self.inner.metrics.connections.dec();
        self.inner.shards[usize::from(shard_of(&self.user))].lock().close(&self.user);
    }
}

impl std::fmt::Debug for Connection {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Connection")
    }
}

#[cfg(test)]
mod tests;
