//! A store in memory whose appends can be told to fail.

use std::collections::VecDeque;
use std::sync::Arc;

use futures_util::FutureExt as _;
use futures_util::future::BoxFuture;
use parking_lot::Mutex;
use tidings_broker::memory::MemoryBroker;
use tidings_broker::presence::Presences;
use tidings_broker::quota::Quotas;
use tidings_broker::registry::Registry;
use tidings_broker::{
    Answer, AppendCall, CallError, CheckpointAnswer, CheckpointStep, Fields, Index, Log, NothingWhy, Page, Probe,
    ReadError, Sink, Span, StateAt, Subscription, Wait,
};
use tidings_protocol::head::Head;
use tidings_protocol::project::Project;
use tokio::sync::{Notify, watch};

/// What becomes of an append with events.
#[derive(Debug, Clone)]
pub(crate) enum Fate {
    /// It happens and is answered.
    Pass,
    /// It happens, and its answer is lost.
    Unanswered,
    /// It never arrives.
    Lost,
    /// The store refuses it.
    Nothing(NothingWhy),
    /// It waits until it is let go, and then happens.
    Held(Arc<Notify>),
}

#[derive(Clone)]
pub(crate) struct Store {
    pub(crate) memory: MemoryBroker,
    /// For the next appends, one each; then they pass.
    fates: Arc<Mutex<VecDeque<Fate>>>,
    /// For all appends behind those.
    always: Arc<Mutex<Fate>>,
    /// An append with events has arrived.
    pub(crate) arrived: Arc<Notify>,
    /// What each append with events waits for.
    pub(crate) waits: Arc<Mutex<Vec<Option<Wait>>>>,
    connected: watch::Sender<bool>,
}

impl Default for Store {
    fn default() -> Store {
        Store {
            memory: MemoryBroker::new(),
            fates: Arc::default(),
            always: Arc::new(Mutex::new(Fate::Pass)),
            arrived: Arc::default(),
            waits: Arc::default(),
            connected: watch::Sender::new(true),
        }
    }
}

impl Store {
    /// What becomes of the next appends.
    pub(crate) fn next(&self, fates: impl IntoIterator<Item = Fate>) {
        self.fates.lock().extend(fates);
    }

    /// What becomes of all others.
    pub(crate) fn always(&self, fate: Fate) {
        *self.always.lock() = fate;
    }

    pub(crate) fn connect(&self, connected: bool) {
        self.connected.send_replace(connected);
    }
}

impl Log for Store {
    fn append(&self, project: Project, call: AppendCall) -> BoxFuture<'_, Result<Answer, CallError>> {
        async move {
            if call.batch.is_none() {
                return self.memory.append(project, call).await;
            }
            let fate = self.fates.lock().pop_front().unwrap_or_else(|| self.always.lock().clone());
            self.waits.lock().push(call.wait);
            self.arrived.notify_one();
            let unknown = || Err(CallError::Unknown("cut".into()));
            match fate {
                Fate::Pass => self.memory.append(project, call).await,
                Fate::Unanswered => {
                    self.memory.append(project, call).await.ok();
                    unknown()
                }
                Fate::Lost => unknown(),
                Fate::Nothing(why) => Err(CallError::Nothing(why)),
                Fate::Held(go) => {
                    go.notified().await;
                    self.memory.append(project, call).await
                }
            }
        }
        .boxed()
    }

    fn read(&self, project: Project, span: Span, bytes_max: usize) -> BoxFuture<'_, Result<Page, ReadError>> {
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

impl Index for Store {
    fn registry(&self) -> Arc<dyn Registry> {
        self.memory.registry()
    }

    fn presences(&self) -> Arc<dyn Presences> {
        self.memory.presences()
    }

    fn hooks(&self) -> Arc<dyn tidings_broker::hooks::Hooks> {
        self.memory.hooks()
    }

    fn inboxes(&self) -> Arc<dyn tidings_broker::inbox::Inboxes> {
        self.memory.inboxes()
    }

    fn quotas(&self) -> Arc<dyn Quotas> {
        self.memory.quotas()
    }

    fn enter(&self, project: Project) -> BoxFuture<'_, Result<(), CallError>> {
        self.memory.enter(project)
    }

    fn projects(&self, shard: u16) -> BoxFuture<'_, Result<Vec<Project>, ReadError>> {
        self.memory.projects(shard)
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
}

impl Probe for Store {
    fn probe(&self) -> BoxFuture<'_, Result<(), ReadError>> {
        self.memory.probe()
    }

    fn connected(&self) -> watch::Receiver<bool> {
        self.connected.subscribe()
    }
}
