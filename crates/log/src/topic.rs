//! A topic: one project's log as this gateway sees it. The machine is pure ([`machine`]); this is its thin shell: a task
//! that subscribes, reads and feeds it, and the view that readers get.

use std::future::poll_fn;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};
use std::task::Poll;
use std::time::Duration;

use tokio::time::Instant;

use bytes::Bytes;
use parking_lot::{Mutex, RwLock, RwLockReadGuard};
use tidings_broker::{Broker, Sink};
use tidings_protocol::fold::State;
use tidings_protocol::head::Head;
use tidings_protocol::position::Position;
use tidings_protocol::project::Project;
use tokio::sync::{Notify, watch};
use tokio_util::sync::CancellationToken;

use crate::metrics::Metrics;
use crate::pages::Pages;
use crate::snapshot::Snapshot;
use crate::wake::{Readers, Wake};

pub mod heard;
mod inbox;
mod link;
mod loads;
pub mod machine;
mod snapshots;
mod task;

use heard::HEARD_COLD;
use inbox::Inbox;
use machine::Machine;
use snapshots::{Made, Snapshots};

/// One project's log, shared by all its readers on this gateway.
pub struct Topic {
    project: Project,
    machine: RwLock<Machine>,
    readers: Readers,
    reader_keys: AtomicU64,
    inbox: Inbox,
    /// What readers and timers ask of the task.
    asked: Mutex<Asked>,
    ask: Notify,
    /// Readers and lingering handles; the hub drops a topic at zero.
    uses: AtomicUsize,
    snapshots: Snapshots,
    started: watch::Sender<bool>,
    stop: CancellationToken,
    pages: Arc<Pages>,
    broker: Arc<dyn Broker>,
    writer: Arc<str>,
    metrics: Metrics,
    /// Events told to readers since somebody last asked.
    told: AtomicU64,
    heard_at: Mutex<Instant>,
}

#[derive(Debug, Default)]
struct Asked {
    /// Read what follows the position.
    read: bool,
    /// Somebody wants the fold.
    state: bool,
    /// A head from the tail check.
    head: Option<Head>,
}

impl Sink for Topic {
    fn message(&self, bytes: Bytes) {
        self.inbox.push(bytes);
    }

    fn lost(&self) {
        self.inbox.lose();
    }
}

impl Topic {
    /// A topic that nobody feeds yet; [`task::run`] does.
    pub(crate) fn new(
        project: Project,
        ring_bytes_max: usize,
        broker: Arc<dyn Broker>,
        pages: Arc<Pages>,
        writer: Arc<str>,
        metrics: Metrics,
    ) -> Arc<Topic> {
        Arc::new(Topic {
            machine: RwLock::new(Machine::new(project.clone(), ring_bytes_max)),
            project,
            readers: Readers::default(),
            reader_keys: AtomicU64::new(0),
            inbox: Inbox::default(),
            asked: Mutex::default(),
            ask: Notify::new(),
            uses: AtomicUsize::new(0),
            snapshots: Snapshots::default(),
            started: watch::Sender::new(false),
            stop: CancellationToken::new(),
            pages,
            broker,
            writer,
            metrics,
            told: AtomicU64::new(0),
            heard_at: Mutex::new(Instant::now()),
        })
    }

    /// The topic's task: feeds the machine until the topic is stopped.
    pub(crate) async fn run(self: Arc<Topic>) {
        task::run(self).await;
    }

    /// Ends the task.
    pub(crate) fn stop(&self) {
        self.stop.cancel();
    }

    /// The project.
    pub fn project(&self) -> &Project {
        &self.project
    }

    /// The machine, for reading. Hold it shortly and never over an await.
    pub fn view(&self) -> RwLockReadGuard<'_, Machine> {
        self.machine.read()
    }

    /// The page cache that its readers fall back to.
    pub fn pages(&self) -> &Arc<Pages> {
        &self.pages
    }

    /// Its counters.
    pub fn metrics(&self) -> &Metrics {
        &self.metrics
    }

    /// So many events were told to a reader.
    pub(crate) fn on_told(&self, events: u64) {
        self.metrics.deliveries.inc_by(events);
        self.told.fetch_add(events, Ordering::Relaxed);
    }

    /// How many events were told to readers since the last call.
    pub(crate) fn take_told(&self) -> u64 {
        self.told.swap(0, Ordering::Relaxed)
    }

    /// How many readers it has.
    pub(crate) fn readers(&self) -> usize {
        self.readers.len()
    }

    /// Waits until the topic knows its log. Pending while the store is away.
    pub async fn started(&self) {
        // The sender lives as long as the topic, so waiting cannot fail.
        let _ = self.started.subscribe().wait_for(|started| *started).await;
    }

    /// Adds a reader that is woken at news; returns its key.
    pub(crate) fn add_reader(&self, wake: Arc<Wake>) -> u64 {
        let key = self.reader_keys.fetch_add(1, Ordering::Relaxed);
        self.readers.add(key, wake);
        key
    }

    pub(crate) fn remove_reader(&self, key: u64) {
        self.readers.remove(key);
    }

    pub(crate) fn uses(&self) -> &AtomicUsize {
        &self.uses
    }

    fn ask(&self, what: impl FnOnce(&mut Asked)) {
        what(&mut self.asked.lock());
        self.ask.notify_one();
    }

    /// Asks the task to read what follows the position.
    pub fn ask_read(&self) {
        self.ask(|asked| asked.read = true);
    }

    /// Asks the task to load the fold. Whether that succeeds or fails, readers are woken: who still wants it asks again.
    pub(crate) fn ask_state(&self) {
        self.ask(|asked| asked.state = true);
    }

    /// Hands the task a head from the tail check.
    pub(crate) fn ask_check(&self, head: Head) {
        self.ask(|asked| asked.head = Some(head));
    }

    /// When the topic last heard a message.
    pub(crate) fn heard_at(&self) -> Instant {
        *self.heard_at.lock()
    }

    /// A snapshot at exactly `at`, or one `near` it. Not to be called while a [`Topic::view`] is held.
    pub(crate) fn snapshot(&self, at: Position, near: Near) -> Snapshotted {
        let made = self.snapshots.get_or_make(|kept| {
            let (position, state) = {
                let machine = self.view();
                if let Some(kept) = kept {
                    let position = kept.snapshot.position;
                    let is_near = near.admits(position, at) && kept.is_recent();
                    if position == at || (is_near && machine.ring().place(position).is_some()) {
                        return Ok(Made::Kept(kept.snapshot));
                    }
                }
                if machine.position() != at && near != Near::Anywhere {
                    return Err(Snapshotted::Moved);
                }
                let Some(state) = machine.state() else { return Err(Snapshotted::Cold) };
                (machine.position(), state.clone())
            };
            // Encoding a big state takes a while: others read the machine meanwhile.
            let mut json = Vec::new();
            state.snapshot_json(&mut json);
            Ok(Made::New(Snapshot::new(position, state.incomplete_before(), json.into())))
        });
        match made {
            Ok(snapshot) => Snapshotted::Here(snapshot),
            Err(why) => {
                if matches!(why, Snapshotted::Cold) {
                    self.ask_state();
                }
                why
            }
        }
    }

    /// State for who stands at `at` and is to be told how things stand since `since`: true at some position between them,
    /// so that no event is missing that he was told about it. Without `since` a recent one will do.
    ///
    /// Shared by all who ask about the same time: one is made at most four times a second for them. Not to be called while
    /// a [`Topic::view`] is held.
    pub fn state_between(&self, since: Option<Position>, at: Position) -> Between {
        let made = self.snapshots.get_or_make(|kept| {
            let (position, state) = {
                let machine = self.view();
                let head = machine.position();
                if let Some(kept) = kept {
                    let position = kept.snapshot.position;
                    let reached = at == head || machine.ring().place(at).is_some();
                    let on_the_way = position == at
                        || (reached && position.n() < at.n() && machine.ring().place(position).is_some());
                    let recent = kept.is_recent();
                    if on_the_way && since.map_or(recent || position == at, |since| since.n() <= position.n()) {
                        return Ok(Made::Kept(kept.snapshot));
                    }
                    if recent {
                        return Err(Between::Later(kept.free_in()));
                    }
                }
                if head != at {
                    return Err(Between::Moved);
                }
                let Some(state) = machine.state() else { return Err(Between::Cold) };
                (head, state.clone())
            };
            let mut json = Vec::new();
            state.snapshot_json(&mut json);
            Ok(Made::New(Snapshot::new(position, state.incomplete_before(), json.into())))
        });
        match made {
            Ok(snapshot) => Between::Here(snapshot),
            Err(why) => {
                if matches!(why, Between::Cold) {
                    self.ask_state();
                }
                why
            }
        }
    }

    /// Where a snapshot is true that was made a moment ago, and that others share.
    pub(crate) fn recent_snapshot_at(&self) -> Option<Position> {
        self.snapshots.recent()
    }

    /// A snapshot at the head, or a very recent one while the head moves fast. Waits while the store is away.
    pub async fn snapshot_at_head(&self) -> Arc<Snapshot> {
        self.warm(|topic| {
            let at = topic.view().position();
            match topic.snapshot(at, Near::There) {
                Snapshotted::Moved => topic.snapshot(at, Near::Anywhere),
                other => other,
            }
            .here()
        })
        .await
    }

    /// A snapshot that knows all that the topic knew when it was asked for. All who ask within a quarter of a second share
    /// one, and wait for so long at most. Waits while the store is away.
    pub async fn shared_snapshot(&self) -> Arc<Snapshot> {
        self.started().await;
        let since = self.view().position();
        loop {
            let at = self.view().position();
            match self.state_between(Some(since), at) {
                Between::Here(snapshot) => return snapshot,
                Between::Later(time) => tokio::time::sleep(time).await,
                Between::Moved => tokio::task::yield_now().await,
                Between::Cold => drop(self.state_at_head().await),
            }
        }
    }

    /// The fold at the head. Cheap to clone. Waits while the store is away.
    pub async fn state_at_head(&self) -> State {
        self.warm(|topic| {
            let state = topic.view().state().cloned();
            if state.is_none() {
                topic.ask_state();
            }
            state
        })
        .await
    }

    /// Asks again at every news until there is an answer.
    async fn warm<T>(&self, ask: impl Fn(&Topic) -> Option<T>) -> T {
        self.started().await;
        let wake = Arc::new(Wake::default());
        let reading = Reading { topic: self, key: self.add_reader(wake.clone()) };
        poll_fn(|cx| {
            wake.register(cx.waker());
            wake.take();
            ask(reading.topic).map_or(Poll::Pending, Poll::Ready)
        })
        .await
    }

    /// Bytes held, about.
    pub(crate) fn bytes(&self) -> usize {
        self.view().bytes() + self.snapshots.bytes()
    }

    /// Gives memory back: bounds ring and ids anew, and forgets folds and snapshots.
    pub(crate) fn shrink(&self, ring_bytes_max: usize) {
        self.machine.write().shrink(ring_bytes_max, HEARD_COLD);
        self.snapshots.forget();
    }
}

/// Which snapshots will do for a reader at a position.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Near {
    /// That of exactly there.
    There,
    /// Also a recent one of before, which the ring links up with.
    Before,
    /// Any recent one that the ring links up with, or one of the head.
    Anywhere,
}

impl Near {
    fn admits(self, position: Position, at: Position) -> bool {
        match self {
            Near::There => false,
            Near::Before => position.n() <= at.n(),
            Near::Anywhere => true,
        }
    }
}

/// What became of the wish for a snapshot.
pub(crate) enum Snapshotted {
    /// Here it is.
    Here(Arc<Snapshot>),
    /// The topic has moved on: read on, and ask again at the head.
    Moved,
    /// The fold is not warm; it was asked for, and readers are woken when it is there.
    Cold,
}

/// What became of the wish for [`Topic::state_between`].
#[derive(Debug)]
pub enum Between {
    /// Here it is.
    Here(Arc<Snapshot>),
    /// One was made a moment ago that does not do: the next one may be made after this time.
    Later(Duration),
    /// The topic has moved on: read on, and ask again at the head.
    Moved,
    /// The fold is not warm; it was asked for, and readers are woken when it is there.
    Cold,
}

impl From<Snapshotted> for Between {
    fn from(snapshotted: Snapshotted) -> Between {
        match snapshotted {
            Snapshotted::Here(snapshot) => Between::Here(snapshot),
            Snapshotted::Moved => Between::Moved,
            Snapshotted::Cold => Between::Cold,
        }
    }
}

impl Snapshotted {
    fn here(self) -> Option<Arc<Snapshot>> {
        match self {
            Snapshotted::Here(snapshot) => Some(snapshot),
            Snapshotted::Moved | Snapshotted::Cold => None,
        }
    }
}

/// A reader that is taken out when whoever waited goes.
struct Reading<'a> {
    topic: &'a Topic,
    key: u64,
}

impl Drop for Reading<'_> {
    fn drop(&mut self) {
        self.topic.remove_reader(self.key);
    }
}
