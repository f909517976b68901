//! A store in memory that a test can take away, and whose answers it can hold back.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use futures_util::FutureExt as _;
use futures_util::future::BoxFuture;
use tidings_broker::memory::MemoryBroker;
use tidings_broker::{Fields, Index, Log, Page, Probe, ReadError, Span, StateAt};
use tidings_protocol::head::Head;
use tidings_protocol::project::Project;
use tokio::sync::watch;

/// What becomes of reads.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Reads {
    /// They are answered.
    Pass,
    /// They wait.
    Held,
    /// They fail.
    Away,
}

/// A store in memory. Clones are one.
#[derive(Clone)]
pub(crate) struct Store {
    pub(crate) memory: MemoryBroker,
    /// Of the log.
    pub(crate) reads: Arc<watch::Sender<Reads>>,
    /// Of checkpoints.
    pub(crate) states: Arc<watch::Sender<Reads>>,
    /// Reads of checkpoints that wait now, and how many waited at the same time at most.
    pub(crate) states_waiting: Arc<watch::Sender<(usize, usize)>>,
    /// How often checkpoints, shards of the index, and heads were read.
    pub(crate) asked: Arc<Asked>,
}

/// Counts reads.
#[derive(Default)]
pub(crate) struct Asked {
    pub(crate) states: AtomicUsize,
    pub(crate) shards: AtomicUsize,
    pub(crate) heads: AtomicUsize,
}

impl Asked {
    /// Reads of checkpoints, and of shards, since the last look.
    pub(crate) fn take(&self) -> (usize, usize) {
        (self.states.swap(0, Ordering::SeqCst), self.shards.swap(0, Ordering::SeqCst))
    }
}

impl Default for Store {
    fn default() -> Store {
        let passing = || Arc::new(watch::Sender::new(Reads::Pass));
        Store {
            memory: MemoryBroker::new(),
            reads: passing(),
            states: passing(),
            states_waiting: Arc::default(),
            asked: Arc::default(),
        }
    }
}

/// Waits until reads are answered, or fail.
async fn admitted(reads: &watch::Sender<Reads>) -> Result<(), ReadError> {
    let reads = *reads.subscribe().wait_for(|reads| *reads != Reads::Held).await.expect("its sender lives");
    if reads == Reads::Away { Err(ReadError::Away("cut".into())) } else { Ok(()) }
}

impl Log for Store {
    tidings_broker::forward!(memory: append, checkpoint, subscribe);

    fn read(&self, project: Project, span: Span, bytes_max: usize) -> BoxFuture<'_, Result<Page, ReadError>> {
        async move {
            admitted(&self.reads).await?;
            self.memory.read(project, span, bytes_max).await
        }
        .boxed()
    }

    fn heads(&self, projects: Vec<Project>) -> BoxFuture<'_, Vec<Result<Head, ReadError>>> {
        self.asked.heads.fetch_add(projects.len(), Ordering::SeqCst);
        self.memory.heads(projects)
    }

    fn state(&self, project: Project, fields: Fields) -> BoxFuture<'_, Result<StateAt, ReadError>> {
        async move {
            self.asked.states.fetch_add(1, Ordering::SeqCst);
            self.states_waiting.send_modify(|(now, most)| {
                *now += 1;
                *most = (*most).max(*now);
            });
            let admitted = admitted(&self.states).await;
            self.states_waiting.send_modify(|(now, _)| *now -= 1);
            admitted?;
            self.memory.state(project, fields).await
        }
        .boxed()
    }
}

impl Index for Store {
    tidings_broker::forward!(memory: enter, lease, sweep, held_bytes, refuse, handles);

    fn projects(&self, shard: u16) -> BoxFuture<'_, Result<Vec<Project>, ReadError>> {
        self.asked.shards.fetch_add(1, Ordering::SeqCst);
        self.memory.projects(shard)
    }
}

impl Probe for Store {
    tidings_broker::forward!(memory: probe, connected);
}
