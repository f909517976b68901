//! A store that fails as tests want it.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::Duration;

use bytes::Bytes;
use futures_util::FutureExt as _;
use futures_util::future::BoxFuture;
use tidings_broker::memory::MemoryBroker;
use tidings_broker::{Fields, Index, Log, Page, Probe, ReadError, Sink, Span, StateAt, Subscription};
use tidings_protocol::project::Project;
use tokio::sync::watch;

/// The memory broker with a channel that loses messages without a word while `deaf` and cannot be subscribed to while
/// `cut` (or takes its time while `joining`); it counts what is read, and states are `broken` or `held` when a test wants
/// it. While `slow`, a read takes a millisecond, so that who reads in a circle fails a test instead of standing still.
pub(crate) struct Lossy {
    pub inner: MemoryBroker,
    pub deaf: Arc<AtomicBool>,
    pub cut: AtomicBool,
    pub broken: AtomicBool,
    pub held: watch::Sender<bool>,
    pub joining: watch::Sender<bool>,
    pub slow: AtomicBool,
    pub reads: AtomicU64,
    pub states: AtomicU64,
}

impl Lossy {
    pub(crate) fn new(inner: MemoryBroker) -> Arc<Lossy> {
        Arc::new(Lossy {
            inner,
            deaf: Arc::default(),
            cut: AtomicBool::new(false),
            broken: AtomicBool::new(false),
            held: watch::Sender::new(false),
            joining: watch::Sender::new(false),
            slow: AtomicBool::new(false),
            reads: AtomicU64::new(0),
            states: AtomicU64::new(0),
        })
    }
}

struct LossySink(Arc<dyn Sink>, Arc<AtomicBool>);

impl Sink for LossySink {
    fn message(&self, bytes: Bytes) {
        if !self.1.load(Ordering::Relaxed) {
            self.0.message(bytes);
        }
    }

    fn lost(&self) {
        self.0.lost();
    }
}

impl Log for Lossy {
    tidings_broker::forward!(inner: append, heads, checkpoint);

    fn read(&self, project: Project, span: Span, bytes_max: usize) -> BoxFuture<'_, Result<Page, ReadError>> {
        self.reads.fetch_add(1, Ordering::Relaxed);
        if self.slow.load(Ordering::Relaxed) {
            let slowly = tokio::time::sleep(Duration::from_millis(1));
            return slowly.then(move |()| self.inner.read(project, span, bytes_max)).boxed();
        }
        self.inner.read(project, span, bytes_max)
    }

    fn state(&self, project: Project, fields: Fields) -> BoxFuture<'_, Result<StateAt, ReadError>> {
        self.states.fetch_add(1, Ordering::Relaxed);
        async move {
            let _ = self.held.subscribe().wait_for(|held| !held).await;
            if self.broken.load(Ordering::Relaxed) {
                tokio::time::sleep(Duration::from_millis(1)).await;
                return Err(ReadError::Malformed("a test says so".into()));
            }
            self.inner.state(project, fields).await
        }
        .boxed()
    }

    fn subscribe(&self, project: Project, sink: Arc<dyn Sink>) -> BoxFuture<'_, Result<Subscription, ReadError>> {
        if self.cut.load(Ordering::Relaxed) {
            return std::future::ready(Err(ReadError::Away("no subscriber connection".into()))).boxed();
        }
        async move {
            let _ = self.joining.subscribe().wait_for(|joining| !joining).await;
            self.inner.subscribe(project, Arc::new(LossySink(sink, self.deaf.clone()))).await
        }
        .boxed()
    }
}

impl Index for Lossy {
    tidings_broker::forward!(inner: enter, projects, lease, sweep, held_bytes, refuse);
}

impl Probe for Lossy {
    tidings_broker::forward!(inner: probe, connected);
}
