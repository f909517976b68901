//! A store in memory whose appends can be told to fail.

use std::collections::VecDeque;
use std::sync::Arc;

use futures_util::FutureExt as _;
use futures_util::future::BoxFuture;
use parking_lot::Mutex;
use tidings_broker::memory::MemoryBroker;
use tidings_broker::{Answer, AppendCall, CallError, Index, Log, NothingWhy, Probe, Wait};
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
    tidings_broker::forward!(memory: read, heads, checkpoint, state, subscribe);

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
}

impl Index for Store {
    tidings_broker::forward!(memory: enter, projects, lease, sweep, held_bytes, refuse, handles);
}

impl Probe for Store {
    tidings_broker::forward!(memory: probe);

    fn connected(&self) -> watch::Receiver<bool> {
        self.connected.subscribe()
    }
}
