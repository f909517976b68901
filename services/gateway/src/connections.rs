//! All open connections of a gateway: how the store's state and a drain reach them.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::Duration;

use parking_lot::Mutex;
use tidings_auth::{Reason, Refusal};
use tidings_log::wake::Wake;
use tidings_protocol::grant::Scope;
use tidings_runtime::http::rights::Held;
use tokio_util::task::TaskTracker;

/// No drain yet.
const NOT_DRAINING: u64 = u64::MAX;

/// The registry. Cheap to clone.
#[derive(Clone, Default)]
pub(crate) struct Connections(Arc<Inner>);

#[derive(Default)]
struct Inner {
    open: Mutex<Vec<Arc<Control>>>,
    /// The store is away.
    degraded: AtomicBool,
    draining: AtomicBool,
    tasks: TaskTracker,
}

/// One connection's end of the registry.
#[derive(Debug)]
pub(crate) struct Control {
    /// Wakes the connection's task.
    pub wake: Arc<Wake>,
    retry_after_ms: AtomicU64,
}

impl Control {
    /// When the viewer should come back, once the gateway drains.
    pub(crate) fn draining(&self) -> Option<u64> {
        let retry = self.retry_after_ms.load(Ordering::Acquire);
        (retry != NOT_DRAINING).then_some(retry)
    }
}

/// A registered connection; dropping it takes it out.
pub(crate) struct Registered {
    connections: Connections,
    /// Its control.
    pub control: Arc<Control>,
    /// The grant that it lives by.
    pub held: Held,
}

impl Registered {
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
        if let Some(index) = open.iter().position(|other| Arc::ptr_eq(other, &self.control)) {
            open.swap_remove(index);
        }
    }
}

impl Connections {
    /// Registers a connection, which lives by this grant. One that comes while the gateway drains is told so at once.
    pub(crate) fn register(&self, wake: Arc<Wake>, held: Held) -> Registered {
        let control = Arc::new(Control { wake, retry_after_ms: AtomicU64::new(NOT_DRAINING) });
        self.0.open.lock().push(control.clone());
        if self.0.draining.load(Ordering::Acquire) {
            control.retry_after_ms.store(0, Ordering::Release);
        }
        Registered { connections: self.clone(), control, held }
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
            for control in self.0.open.lock().iter() {
                control.wake.wake();
            }
        }
    }

    /// Tells all to go, each with a time of its own to come back within `window`, so that they do not come all at once.
    pub(crate) fn drain(&self, window: Duration) {
        self.0.draining.store(true, Ordering::Release);
        let window_ms = u64::try_from(window.as_millis()).unwrap_or(u64::MAX).max(1);
        for control in self.0.open.lock().iter() {
            control.retry_after_ms.store(rand::random_range(0..window_ms), Ordering::Release);
            control.wake.wake();
        }
    }

    /// How many are open.
    pub(crate) fn len(&self) -> usize {
        self.0.open.lock().len()
    }
}
