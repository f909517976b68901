//! All open connections of a gateway: how the store's state, a drain, and shedding reach them.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::Duration;

use parking_lot::Mutex;
use rand::seq::SliceRandom as _;
use tidings_auth::{Reason, Refusal};
use tidings_log::wake::Wake;
use tidings_protocol::grant::Scope;
use tidings_runtime::http::rights::Held;
use tokio::time::Instant;
use tokio_util::task::TaskTracker;

use crate::drain::Pace;

/// No drain yet.
const NOT_DRAINING: u64 = u64::MAX;

/// The registry. Cheap to clone.
#[derive(Clone, Default)]
pub(crate) struct Connections(Arc<Inner>);

#[derive(Default)]
struct Inner {
    open: Mutex<Open>,
    /// The store is away.
    degraded: AtomicBool,
    draining: AtomicBool,
    tasks: TaskTracker,
}

/// What is open, by numbers in the order in which it came.
#[derive(Default)]
struct Open {
    next: u64,
    all: BTreeMap<u64, Arc<Control>>,
    /// Viewers that may be sent on to another gateway, and were not.
    viewers: BTreeSet<u64>,
}

/// One connection's end of the registry.
#[derive(Debug)]
pub(crate) struct Control {
    /// Wakes the connection's task.
    pub wake: Arc<Wake>,
    retry_after_ms: AtomicU64,
    shed: AtomicBool,
    /// Its protocol has no word for when to come back.
    wordless: AtomicBool,
}

impl Control {
    /// When the viewer should come back, once the gateway drains or sheds it.
    pub(crate) fn draining(&self) -> Option<u64> {
        let retry = self.retry_after_ms.load(Ordering::Acquire);
        (retry != NOT_DRAINING).then_some(retry)
    }

    /// Whether it is sent on alone, by a gateway that stays.
    pub(crate) fn is_shed(&self) -> bool {
        self.shed.load(Ordering::Acquire)
    }

    fn is_wordless(&self) -> bool {
        self.wordless.load(Ordering::Acquire)
    }

    fn send_away(&self, retry_after_ms: u64) {
        self.retry_after_ms.store(retry_after_ms, Ordering::Release);
        self.wake.wake();
    }
}

/// A registered connection; dropping it takes it out.
pub(crate) struct Registered {
    connections: Connections,
    number: u64,
    /// Its control.
    pub control: Arc<Control>,
    /// The grant that it lives by.
    pub held: Held,
}

impl Registered {
    /// It is a viewer's stream: as good on any gateway, and may be sent on there.
    #[must_use]
    pub(crate) fn of_viewer(self) -> Registered {
        self.connections.0.open.lock().viewers.insert(self.number);
        self
    }

    /// The same, of a client that cannot be told when to come back: it comes as soon as it is closed, so it is told to go no
    /// sooner than it is to come.
    #[must_use]
    pub(crate) fn of_wordless_viewer(self) -> Registered {
        self.control.wordless.store(true, Ordering::Release);
        self.of_viewer()
    }

    /// Why what reads one project must end: its grant has, or the right to read there was withdrawn.
    pub(crate) fn refused(&self) -> Option<Refusal> {
        if !self.held.has_news() {
            return None;
        }
        let news = self.held.take_news();
        let withdrawn = || Refusal { reason: Reason::NoRight, needed: Some(Scope::Read) };
        news.ended.or_else(|| (!news.withdrawn.is_empty()).then(withdrawn))
    }

    /// Whether [`Registered::refused`] has something to say.
    pub(crate) fn is_refused(&self) -> bool {
        self.held.has_news()
    }

    /// Whether the store is away.
    pub(crate) fn is_degraded(&self) -> bool {
        self.connections.is_degraded()
    }
}

impl Drop for Registered {
    fn drop(&mut self) {
        let mut open = self.connections.0.open.lock();
        open.all.remove(&self.number);
        open.viewers.remove(&self.number);
    }
}

impl Connections {
    /// Registers a connection, which lives by this grant. One that comes while the gateway drains is told so at once.
    pub(crate) fn register(&self, wake: Arc<Wake>, held: Held) -> Registered {
        let retry_after_ms = AtomicU64::new(NOT_DRAINING);
        let control =
            Arc::new(Control { wake, retry_after_ms, shed: AtomicBool::default(), wordless: AtomicBool::default() });
        let number = {
            let mut open = self.0.open.lock();
            let number = open.next;
            open.next += 1;
            open.all.insert(number, control.clone());
            number
        };
        if self.0.draining.load(Ordering::Acquire) {
            control.retry_after_ms.store(0, Ordering::Release);
        }
        Registered { connections: self.clone(), number, control, held }
    }

    /// Where the tasks of connections are counted.
    pub(crate) fn tasks(&self) -> &TaskTracker {
        &self.0.tasks
    }

    /// Whether the store is away.
    pub(crate) fn is_degraded(&self) -> bool {
        self.0.degraded.load(Ordering::Acquire)
    }

    /// The store went away or came back: all are told.
    pub(crate) fn set_degraded(&self, degraded: bool) {
        if self.0.degraded.swap(degraded, Ordering::AcqRel) != degraded {
            for control in self.0.open.lock().all.values() {
                control.wake.wake();
            }
        }
    }

    /// Tells all to go, one after the other in an order of chance, each with a time of its own to come back; first those who
    /// cannot be told such a time. Resolves when all have been told; dropped before, the rest are not.
    pub(crate) async fn drain(&self, pace: Pace) {
        self.0.draining.store(true, Ordering::Release);
        let all: Vec<_> = self.0.open.lock().all.values().cloned().collect();
        let (mut leaving, mut others): (Vec<_>, Vec<_>) = all.into_iter().partition(|control| control.is_wordless());
        leaving.shuffle(&mut rand::rng());
        others.shuffle(&mut rand::rng());
        let wordless = leaving.len();
        leaving.extend(others);
        let mut plan = pace.plan(wordless, leaving.len());
        let (viewers, span_ms) = (leaving.len(), plan.span().as_millis());
        if plan.is_hasty {
            tracing::warn!(viewers, span_ms, "viewers are told to go, faster than gateway.drain_reconnects_per_second");
        } else {
            tracing::info!(viewers, span_ms, "viewers are told to go");
        }
        let begun = Instant::now();
        for (index, control) in leaving.iter().enumerate() {
            tokio::time::sleep_until(begun + plan.told_at(index)).await;
            plan.is_told(index, begun.elapsed());
            control.send_away(plan.retry_after_ms(index, begun.elapsed()));
        }
    }

    /// How many viewers are here that were not sent on.
    pub(crate) fn viewers(&self) -> usize {
        self.0.open.lock().viewers.len()
    }

    /// The number of what comes next: whatever is here has a lower one.
    pub(crate) fn next(&self) -> u64 {
        self.0.open.lock().next
    }

    /// Tells so many viewers to go elsewhere, the oldest of those with a number below `before`, each with a time of its own
    /// to come back within `window`; those that cannot be told that, at that time. Must be called on a tokio runtime. How many there were: fewer when there are not as many.
    pub(crate) fn shed(&self, count: u64, before: u64, window: Duration) -> u64 {
        let window_ms = u64::try_from(window.as_millis()).unwrap_or(u64::MAX).max(1);
        let mut open = self.0.open.lock();
        let numbers = open.viewers.range(..before).copied().take(usize::try_from(count).unwrap_or(usize::MAX));
        let numbers: Vec<u64> = numbers.collect();
        for number in &numbers {
            open.viewers.remove(number);
            let control = &open.all[number];
            control.shed.store(true, Ordering::Release);
            let retry_after_ms = rand::random_range(0..window_ms);
            if control.is_wordless() {
                let control = control.clone();
                self.0.tasks.spawn(async move {
                    tokio::time::sleep(Duration::from_millis(retry_after_ms)).await;
                    control.send_away(0);
                });
            } else {
                control.send_away(retry_after_ms);
            }
        }
        numbers.len() as u64
    }

    /// How many are open.
    pub(crate) fn len(&self) -> usize {
        self.0.open.lock().all.len()
    }
}
