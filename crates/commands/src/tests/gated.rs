//! A store in memory that can hold back what is appended to a project.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use futures_util::future::{BoxFuture, FutureExt as _};
use tidings_broker::clock::ManualClock;
use tidings_broker::inbox::Inboxes;
use tidings_broker::memory::MemoryBroker;
use tidings_broker::{
    Answer, AppendCall, CallError, CheckpointAnswer, CheckpointStep, Fields, Index, Log, Page, Probe, ReadError, Sink,
    Span, StateAt, Subscription,
};
use tidings_protocol::head::Head;
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

    fn heads(&self, projects: Vec<Project>) -> BoxFuture<'_, Vec<Result<Head, ReadError>>> {
        self.memory.heads(projects)
    }

    fn checkpoint(&self, project: Project, step: CheckpointStep) -> BoxFuture<'_, Result<CheckpointAnswer, CallError>> {
        self.memory.checkpoint(project, step)
    }

    fn state(&self, project: Project, fields: Fields) -> BoxFuture<'_, Result<StateAt, ReadError>> {
        self.memory.state(project, fields)
    }

    fn subscribe(&self, project: Project, sink: Arc<dyn Sink>) -> BoxFuture<'_, Result<Subscription, ReadError>> {
        self.memory.subscribe(project, sink)
    }
}

impl Index for Gated {
    fn enter(&self, project: Project) -> BoxFuture<'_, Result<(), CallError>> {
        self.memory.enter(project)
    }

    fn projects(&self, shard: u16) -> BoxFuture<'_, Result<Vec<Project>, ReadError>> {
        Index::projects(&self.memory, shard)
    }

    fn lease(&self, shard: u16, owner: String, ttl_ms: u64) -> BoxFuture<'_, Result<bool, CallError>> {
        self.memory.lease(shard, owner, ttl_ms)
    }

    fn sweep(&self, project: Project, writers_ms: u64, producers_ms: u64) -> BoxFuture<'_, Result<(), CallError>> {
        self.memory.sweep(project, writers_ms, producers_ms)
    }

    fn held_bytes(&self, projects: Vec<Project>) -> BoxFuture<'_, Vec<Result<u64, ReadError>>> {
        self.memory.held_bytes(projects)
    }

    fn refuse(&self, project: Project, for_ms: u64) -> BoxFuture<'_, Result<(), CallError>> {
        self.memory.refuse(project, for_ms)
    }

    fn inboxes(&self) -> Arc<dyn Inboxes> {
        Arc::new(self.memory.clone())
    }
}

impl Probe for Gated {
    fn probe(&self) -> BoxFuture<'_, Result<(), ReadError>> {
        self.memory.probe()
    }

    fn connected(&self) -> watch::Receiver<bool> {
        self.memory.connected()
    }
}
