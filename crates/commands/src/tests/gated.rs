//! A store in memory that can hold back what is appended to a project.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use futures_util::future::{BoxFuture, FutureExt as _};
use tidings_broker::clock::ManualClock;
use tidings_broker::memory::MemoryBroker;
use tidings_broker::{Answer, AppendCall, CallError, Index, Log, Page, Probe, ReadError, Span};
use tidings_protocol::project::Project;
use tokio::sync::watch;

pub(super) struct Gated {
    pub(super) memory: MemoryBroker,
    held: Arc<watch::Sender<Option<Project>>>,
    appends: AtomicUsize,
    reads: AtomicUsize,
}

/// A project is held back until this is dropped.
pub(super) struct Held(Arc<watch::Sender<Option<Project>>>);

impl Drop for Held {
    fn drop(&mut self) {
        self.0.send_replace(None);
    }
}

impl Gated {
    pub(super) fn new(clock: &ManualClock) -> Gated {
        let memory = MemoryBroker::with_clock(clock.clone());
        Gated { memory, held: Arc::default(), appends: AtomicUsize::new(0), reads: AtomicUsize::new(0) }
    }

    /// What is appended to this project is not answered.
    pub(super) fn hold(&self, project: &str) -> Held {
        self.held.send_replace(Some(super::name(project)));
        Held(self.held.clone())
    }

    /// How often something was appended.
    pub(super) fn appends(&self) -> usize {
        self.appends.load(Ordering::SeqCst)
    }

    /// How often a log was read.
    pub(super) fn reads(&self) -> usize {
        self.reads.load(Ordering::SeqCst)
    }
}

impl Log for Gated {
    tidings_broker::forward!(memory: heads, checkpoint, state, subscribe);

    fn append(&self, project: Project, call: AppendCall) -> BoxFuture<'_, Result<Answer, CallError>> {
        async move {
            if call.batch.is_some() {
                self.appends.fetch_add(1, Ordering::SeqCst);
                let mut held = self.held.subscribe();
                let _ = held.wait_for(|held| held.as_ref() != Some(&project)).await.expect("the sender is here");
            }
            self.memory.append(project, call).await
        }
        .boxed()
    }

    fn read(&self, project: Project, span: Span, bytes_max: usize) -> BoxFuture<'_, Result<Page, ReadError>> {
        self.reads.fetch_add(1, Ordering::SeqCst);
        self.memory.read(project, span, bytes_max)
    }
}

impl Index for Gated {
    tidings_broker::forward!(memory: enter, projects, lease, sweep, held_bytes, refuse, handles);
}

impl Probe for Gated {
    tidings_broker::forward!(memory: probe, connected);
}
