//! Rates that are shared by all services: a check takes from a leased portion, and hardly ever leaves the process.
//!
//! Over any stretch of time all services together let through at most rate x time + burst + the portions that they had
//! leased before, each at most a tenth of the burst ([`Meter::check`] may let through one more ahead of an answer). While
//! the store is away or slow, each service lets through its share of the rate and of the burst instead, at once, and asks
//! the store again in the background, one question at a time; the first answer ends it.
//!
//! The number of keys is bounded. When there is no place and nothing idle to evict, further keys share one bucket of
//! their kind, with the rate of the kind, over all services: they are limited together, and coarsely.

mod meter;
mod table;

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use parking_lot::Mutex;
use tidings_broker::CallError;
use tidings_broker::quota::{Quotas, Rate, Take, Taken};
use tokio::sync::Notify;
use tokio::time::Instant;
use tokio_util::task::TaskTracker;

use crate::lease::{Ask, Lease, Verdict, micros};
use crate::{Decision, Kind, Metrics, Settings};
pub use meter::{Meter, check_all};
use table::Table;

/// After so long a question counts as failed, whatever the store does.
const ANSWER_MAX: Duration = Duration::from_secs(5);

/// One limited thing.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct LimitKey<'a> {
    /// What is counted.
    pub kind: Kind,
    /// For whom: the id of an API key, a project's name, a user, an address. At most a few hundred bytes: the caller
    /// bounds it.
    pub id: &'a str,
    /// Its own rate; none: that of its kind. All services must say the same.
    pub rate: Option<Rate>,
}

/// The shared rates, as one service sees them. Cheap to clone; clones share everything.
#[derive(Clone)]
pub struct Limiter(Arc<Inner>);

struct Inner {
    store: Arc<dyn Quotas>,
    settings: Settings,
    metrics: Metrics,
    since: Instant,
    table: Table,
    /// 0: the store answers. Else it did not, and is asked again from this time on.
    doubted_until_us: AtomicU64,
    tasks: TaskTracker,
}

/// One key's place. Lock order: the table's shard, then `lease`.
struct Slot {
    kind: Kind,
    bucket: String,
    lease: Mutex<Lease>,
    answered: Notify,
}

/// What a check comes to.
enum Step {
    /// By the lease.
    Lease(Decision),
    /// By this service's share.
    Share(Decision),
    /// The answer to a question that is in flight decides.
    Wait,
}

impl Limiter {
    /// The limits that are kept in `store`.
    pub fn new(store: Arc<dyn Quotas>, settings: Settings, metrics: Metrics) -> Limiter {
        let table = Table::new(settings.keys_max);
        let (since, doubted_until_us, tasks) = (Instant::now(), AtomicU64::new(0), TaskTracker::new());
        Limiter(Arc::new(Inner { store, settings, metrics, since, table, doubted_until_us, tasks }))
    }

    /// The meter of a key: to be kept by who checks one key often. While there is a clone of it, the key is not evicted.
    pub fn meter(&self, key: &LimitKey<'_>) -> Meter {
        let now_us = self.0.now_us();
        let own = key.rate.unwrap_or_else(|| self.0.settings.rates.of(key.kind));
        let slot = self.0.table.slot(key, own, now_us, &self.0.metrics).unwrap_or_else(|| {
            self.0.metrics.overflow.inc();
            self.0.table.overflow(key.kind, self.0.settings.rates.of(key.kind), now_us)
        });
        Meter::new(Arc::clone(&self.0), slot)
    }

    /// [`Meter::check`] of a key that is checked now and then.
    ///
    /// # Panics
    /// Outside a tokio runtime.
    pub fn check(&self, key: &LimitKey<'_>, cost: u64) -> Decision {
        self.meter(key).check(cost)
    }

    /// [`Meter::check_async`] of a key that is checked now and then.
    pub async fn check_async(&self, key: &LimitKey<'_>, cost: u64) -> Decision {
        self.meter(key).check_async(cost).await
    }

    /// Waits until no question is in flight. At the end of a service: checks may still be made, and ask.
    pub async fn finished(&self) {
        self.0.tasks.close();
        self.0.tasks.wait().await;
    }
}

impl Inner {
    fn now_us(&self) -> u64 {
        micros(self.since.elapsed())
    }

    /// Decides, or starts what the decision waits for.
    fn step(self: &Arc<Self>, slot: &Arc<Slot>, cost: u64) -> Step {
        let now_us = self.now_us();
        let (step, ask) = {
            let mut lease = slot.lease.lock();
            let (verdict, ask) = lease.check(now_us, cost, || self.may_ask(now_us));
            let step = match verdict {
                Verdict::Allowed => Step::Lease(Decision::Allowed),
                Verdict::Refused(retry_after) => Step::Lease(Decision::Refused { retry_after }),
                Verdict::Empty if self.is_doubted() => Step::Share(self.share(&mut lease, now_us, cost)),
                Verdict::Empty => Step::Wait,
            };
            (step, ask)
        };
        if let Some(ask) = ask {
            self.ask(slot, ask);
        }
        step
    }

    /// What this service lets through by itself.
    fn share(&self, lease: &mut Lease, now_us: u64, cost: u64) -> Decision {
        match lease.check_share(now_us, cost, self.settings.holders_expected) {
            Ok(()) => Decision::Allowed,
            Err(retry_after) => Decision::Refused { retry_after },
        }
    }

    /// Puts a question to the store. In a task, so that it is answered even if who waits for it goes away.
    fn ask(self: &Arc<Self>, slot: &Arc<Slot>, ask: Ask) {
        let (inner, slot) = (Arc::clone(self), Arc::clone(slot));
        self.tasks.spawn(async move {
            let take = Take { bucket: slot.bucket.clone(), rate: ask.rate, wanted: ask.wanted, least: ask.least };
            inner.metrics.store_calls.inc();
            let answer = tokio::time::timeout(ANSWER_MAX, inner.store.take(vec![take])).await;
            let answer = answer.ok().and_then(|mut answers| answers.pop());
            inner.answered(&slot, &ask, answer);
        });
    }

    fn answered(&self, slot: &Slot, ask: &Ask, answer: Option<Result<Taken, CallError>>) {
        let now_us = self.now_us();
        match answer {
            Some(Ok(taken)) => {
                slot.lease.lock().on_taken(now_us, ask, &taken, self.settings.lease_valid);
                if self.doubted_until_us.swap(0, Ordering::Relaxed) > 0 {
                    tracing::info!("the store answers again, limits are shared");
                }
            }
            failed => {
                slot.lease.lock().on_failed();
                self.metrics.store_errors.inc();
                if self.doubt(now_us) {
                    let error = failed.and_then(Result::err).map(|error| error.to_string());
                    tracing::warn!(error, "the store does not answer, limits fall back to this service's share");
                }
            }
        }
        slot.answered.notify_waiters();
    }

    fn is_doubted(&self) -> bool {
        self.doubted_until_us.load(Ordering::Relaxed) > 0
    }

    /// The store failed or is slow. True: that is news.
    fn doubt(&self, now_us: u64) -> bool {
        let until_us = now_us.saturating_add(micros(self.settings.rest)).max(1);
        self.doubted_until_us.swap(until_us, Ordering::Relaxed) == 0
    }

    /// Whether the store may be asked: always while it answers, else once in a while.
    fn may_ask(&self, now_us: u64) -> bool {
        let until_us = self.doubted_until_us.load(Ordering::Relaxed);
        if until_us == 0 {
            return true;
        }
        let next_us = now_us.saturating_add(micros(self.settings.rest));
        let order = Ordering::Relaxed;
        now_us >= until_us && self.doubted_until_us.compare_exchange(until_us, next_us, order, order).is_ok()
    }
}

#[cfg(test)]
mod tests;
