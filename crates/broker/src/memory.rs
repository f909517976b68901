//! The store of dev mode, of simulations and of tests: everything in this process, gone with it.
//!
//! A thin shell around [`LogData`], which decides everything: the shell brings the clock and the incarnation, and hands
//! each published entry, encoded once, to the project's sinks. It trims only in checkpoint steps, as every store does.

mod append;
mod bookmarks;
mod data;
mod fleet;
mod hooks;
mod ids;
mod inbox;
mod presence;
mod producers;
mod quota;
mod registry;
mod slips;

use std::collections::{BTreeSet, HashMap};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use bytes::Bytes;
use futures_util::future::{BoxFuture, FutureExt as _, ready};
use parking_lot::{Mutex, RwLock};
use tidings_protocol::entry::Entry;
use tidings_protocol::head::{Head, LOG_FORMAT};
use tidings_protocol::project::Project;
use tokio::sync::watch;

pub use data::LogData;

use crate::clock::{Clock, ManualClock};
use crate::{
    Answer, AppendCall, CallError, CheckpointAnswer, CheckpointStep, Fields, Index, Log, MemoryUse, NothingWhy, Page,
    Probe, ReadError, Sink, Span, StateAt, Subscription, index,
};

/// Everything in memory. Cheap to clone: clones share one store.
#[derive(Clone)]
pub struct MemoryBroker(Arc<Store>);

struct Store {
    clock: Clock,
    incarnation: RwLock<Arc<str>>,
    logs: RwLock<HashMap<Project, Arc<LogSlot>>>,
    leases: Mutex<HashMap<u16, (String, u64)>>,
    inboxes: inbox::InboxBooks,
    fleet: fleet::FleetBooks,
    hooks: hooks::HookBooks,
    bookmarks: bookmarks::BookmarkBooks,
    slips: slips::SlipBooks,
    presence: presence::PresenceBooks,
    quotas: quota::QuotaBooks,
    registry: registry::RegistryBooks,
    index: Mutex<BTreeSet<Project>>,
    connected: watch::Sender<bool>,
    /// 0: none.
    memory_max_bytes: AtomicU64,
}

/// One project. Lock order: `turn`, then `data`; `sinks` alone.
#[derive(Default)]
struct LogSlot {
    /// Held from the append to the last sink, so that messages keep the log's order; not `data`, so that nobody who reads
    /// waits for sinks.
    turn: Mutex<()>,
    data: Mutex<LogData>,
    sinks: Mutex<Sinks>,
}

#[derive(Default)]
struct Sinks {
    next: u64,
    list: Arc<[(u64, Arc<dyn Sink>)]>,
}

impl Default for MemoryBroker {
    fn default() -> MemoryBroker {
        MemoryBroker::new()
    }
}

impl MemoryBroker {
    /// An empty store on the system's clock.
    pub fn new() -> MemoryBroker {
        MemoryBroker::on(Clock::System)
    }

    /// An empty store on a clock that the caller moves.
    pub fn with_clock(clock: ManualClock) -> MemoryBroker {
        MemoryBroker::on(Clock::Manual(clock))
    }

    fn on(clock: Clock) -> MemoryBroker {
        MemoryBroker(Arc::new(Store {
            clock,
            incarnation: RwLock::new(new_incarnation()),
            logs: RwLock::default(),
            leases: Mutex::default(),
            inboxes: inbox::InboxBooks::default(),
            fleet: fleet::FleetBooks::default(),
            hooks: hooks::HookBooks::default(),
            bookmarks: bookmarks::BookmarkBooks::default(),
            slips: slips::SlipBooks::default(),
            presence: presence::PresenceBooks::default(),
            quotas: quota::QuotaBooks::default(),
            registry: registry::RegistryBooks::default(),
            index: Mutex::default(),
            connected: watch::Sender::new(true),
            memory_max_bytes: AtomicU64::new(0),
        }))
    }

    /// Gives it a limit to be measured against ([`Probe::memory`]; 0 takes it away). Janitors keep within it; the store
    /// itself takes more all the same.
    pub fn set_memory_max(&self, bytes: u64) {
        self.0.memory_max_bytes.store(bytes, Ordering::Relaxed);
    }

    /// What a restart leaves: nothing, under a new incarnation. Subscriptions stay and are told that they lost messages.
    pub fn reopen(&self) {
        {
            let mut logs = self.0.logs.write();
            *self.0.incarnation.write() = new_incarnation();
            self.0.leases.lock().clear();
            self.0.inboxes.clear();
            self.0.fleet.clear();
            self.0.hooks.clear();
            self.0.bookmarks.clear();
            self.0.slips.clear();
            self.0.presence.clear();
            self.0.quotas.clear();
            self.0.registry.clear();
            self.0.index.lock().clear();
            for slot in logs.values_mut() {
                *slot.data.lock() = LogData::default();
            }
        }
        self.interrupt();
    }

    /// Tells every sink that messages may have been lost, as a reconnect does.
    pub fn interrupt(&self) {
        self.0.inboxes.interrupt();
        let slots: Vec<_> = self.0.logs.read().values().cloned().collect();
        for slot in slots {
            let sinks = Arc::clone(&slot.sinks.lock().list);
            for (_, sink) in sinks.iter() {
                sink.lost();
            }
        }
    }

    /// The present incarnation.
    pub fn incarnation(&self) -> String {
        self.0.incarnation.read().to_string()
    }

    /// Changes the incarnation, as a failover does; with [`MemoryBroker::restore`] of older copies, a lossy one.
    pub fn set_incarnation(&self, incarnation: &str) {
        *self.0.incarnation.write() = incarnation.into();
    }

    /// A copy of a project's log (unborn if there is none).
    pub fn copy(&self, project: &Project) -> LogData {
        self.0.logs.read().get(project).map(|slot| slot.data.lock().clone()).unwrap_or_default()
    }

    /// Puts a copy in the place of a project's log.
    pub fn restore(&self, project: &Project, data: LogData) {
        *self.slot(project).data.lock() = data;
    }

    fn slot(&self, project: &Project) -> Arc<LogSlot> {
        if let Some(slot) = self.0.logs.read().get(project) {
            return Arc::clone(slot);
        }
        Arc::clone(self.0.logs.write().entry(project.clone()).or_default())
    }

    /// Reads a log without making a place for it: asking for a project that nobody wrote must not cost memory.
    fn peek<T>(&self, project: &Project, read: impl FnOnce(&LogData, &str) -> T) -> Result<T, ReadError> {
        let slot = self.0.logs.read().get(project).cloned();
        let incarnation = Arc::clone(&self.0.incarnation.read());
        let Some(slot) = slot else { return Ok(read(&LogData::default(), &incarnation)) };
        let data = slot.data.lock();
        if data.format() > LOG_FORMAT {
            return Err(ReadError::NewerFormat(data.format()));
        }
        Ok(read(&data, &incarnation))
    }

    fn append_now(&self, project: &Project, call: &AppendCall) -> Result<Answer, CallError> {
        let slot = self.slot(project);
        let _turn = slot.turn.lock();
        let stepped = {
            let mut data = slot.data.lock();
            let incarnation = Arc::clone(&self.0.incarnation.read());
            data.append(self.0.clock.now_ms(), &incarnation, call)
        };
        let (answer, entry) = stepped?;
        if let Some(entry) = entry {
            slot.publish(&entry);
        }
        Ok(answer)
    }

    fn checkpoint_now(&self, project: &Project, step: &CheckpointStep) -> Result<CheckpointAnswer, CallError> {
        let slot = self.0.logs.read().get(project).cloned();
        let Some(slot) = slot else { return Ok(CheckpointAnswer::Moved) };
        let mut data = slot.data.lock();
        if data.format() > LOG_FORMAT {
            return Err(refusing(&ReadError::NewerFormat(data.format())));
        }
        let incarnation = Arc::clone(&self.0.incarnation.read());
        Ok(data.checkpoint(self.0.clock.now_ms(), &incarnation, step))
    }

    fn subscribe_now(&self, project: Project, sink: Arc<dyn Sink>) -> Subscription {
        let id = {
            let slot = self.slot(&project);
            let mut sinks = slot.sinks.lock();
            sinks.next += 1;
            let id = sinks.next;
            sinks.list = sinks.list.iter().cloned().chain([(id, sink)]).collect();
            id
        };
        let broker = self.clone();
        Subscription::new(move || broker.unsubscribe(&project, id))
    }

    fn unsubscribe(&self, project: &Project, id: u64) {
        let slot = self.0.logs.read().get(project).cloned();
        if let Some(slot) = slot {
            let mut sinks = slot.sinks.lock();
            let left = sinks.list.iter().filter(|(other, _)| *other != id).cloned().collect();
            let before = std::mem::replace(&mut sinks.list, left);
            // ORDER: the sink may go with this, and whatever it owns; not under the lock.
            drop(sinks);
            drop(before);
        }
        self.forget_if_unused(project);
    }

    /// Takes back the place of a project that nobody ever wrote to, once nobody listens: names cost nothing.
    fn forget_if_unused(&self, project: &Project) {
        let mut logs = self.0.logs.write();
        let unused = |slot: &mut Arc<LogSlot>| {
            // Held by the map alone: whoever is about to use it would have it by now.
            Arc::get_mut(slot)
                .is_some_and(|slot| slot.sinks.get_mut().list.is_empty() && !slot.data.get_mut().is_born())
        };
        if logs.get_mut(project).is_some_and(unused) {
            logs.remove(project);
        }
    }
}

impl LogSlot {
    fn publish(&self, entry: &Entry) {
        let sinks = Arc::clone(&self.sinks.lock().list);
        if sinks.is_empty() {
            return;
        }
        let message: Bytes = entry.to_message();
        for (_, sink) in sinks.iter() {
            sink.message(message.clone());
        }
    }
}

fn refusing(error: &impl ToString) -> CallError {
    CallError::Nothing(NothingWhy::Refusing(error.to_string()))
}

fn new_incarnation() -> Arc<str> {
    format!("{:032x}", rand::random::<u128>()).into()
}

impl Log for MemoryBroker {
    fn append(&self, project: Project, call: AppendCall) -> BoxFuture<'_, Result<Answer, CallError>> {
        // Lazy, as every future: a call that is never polled was never made.
        async move { self.append_now(&project, &call) }.boxed()
    }

    fn read(&self, project: Project, span: Span, bytes_max: usize) -> BoxFuture<'_, Result<Page, ReadError>> {
        async move { self.peek(&project, |data, incarnation| data.read(incarnation, span, bytes_max)) }.boxed()
    }

    fn heads(&self, projects: Vec<Project>) -> BoxFuture<'_, Vec<Result<Head, ReadError>>> {
        async move { projects.iter().map(|project| self.peek(project, LogData::head)).collect() }.boxed()
    }

    fn checkpoint(&self, project: Project, step: CheckpointStep) -> BoxFuture<'_, Result<CheckpointAnswer, CallError>> {
        async move { self.checkpoint_now(&project, &step) }.boxed()
    }

    fn state(&self, project: Project, fields: Fields) -> BoxFuture<'_, Result<StateAt, ReadError>> {
        async move { self.peek(&project, |data, incarnation| data.state(incarnation, &fields)) }.boxed()
    }

    fn subscribe(&self, project: Project, sink: Arc<dyn Sink>) -> BoxFuture<'_, Result<Subscription, ReadError>> {
        async move { Ok(self.subscribe_now(project, sink)) }.boxed()
    }
}

impl Index for MemoryBroker {
    fn registry(&self) -> Arc<dyn crate::registry::Registry> {
        Arc::new(self.clone())
    }

    fn quotas(&self) -> Arc<dyn crate::quota::Quotas> {
        Arc::new(self.clone())
    }

    fn presences(&self) -> Arc<dyn crate::presence::Presences> {
        Arc::new(self.clone())
    }

    fn bookmarks(&self) -> Arc<dyn crate::bookmark::Bookmarks> {
        Arc::new(self.clone())
    }

    fn slips(&self) -> Arc<dyn crate::slip::Slips> {
        Arc::new(self.clone())
    }

    fn fleet(&self) -> Arc<dyn crate::fleet::Fleet> {
        Arc::new(self.clone())
    }

    fn hooks(&self) -> Arc<dyn crate::hooks::Hooks> {
        Arc::new(self.clone())
    }

    fn inboxes(&self) -> Arc<dyn crate::inbox::Inboxes> {
        Arc::new(self.clone())
    }

    fn enter(&self, project: Project) -> BoxFuture<'_, Result<(), CallError>> {
        async move {
            self.0.index.lock().insert(project);
            Ok(())
        }
        .boxed()
    }

    fn projects(&self, shard: u16) -> BoxFuture<'_, Result<Vec<Project>, ReadError>> {
        async move {
            let all = self.0.index.lock();
            Ok(all.iter().filter(|project| index::shard_of(project) == shard).cloned().collect())
        }
        .boxed()
    }

    fn lease(&self, shard: u16, owner: String, ttl_ms: u64) -> BoxFuture<'_, Result<bool, CallError>> {
        async move {
            let now_ms = self.0.clock.now_ms();
            let mut leases = self.0.leases.lock();
            let free = leases.get(&shard).is_none_or(|(holder, until_ms)| *holder == owner || *until_ms <= now_ms);
            if free {
                leases.insert(shard, (owner, now_ms.saturating_add(ttl_ms)));
            }
            Ok(free)
        }
        .boxed()
    }

    fn sweep(&self, project: Project, writers_ms: u64, producers_ms: u64) -> BoxFuture<'_, Result<(), CallError>> {
        async move {
            let slot = self.0.logs.read().get(&project).cloned();
            if let Some(slot) = slot {
                slot.data.lock().sweep(self.0.clock.now_ms(), writers_ms, producers_ms);
            }
            Ok(())
        }
        .boxed()
    }

    fn held_bytes(&self, projects: Vec<Project>) -> BoxFuture<'_, Vec<Result<u64, ReadError>>> {
        async move { projects.iter().map(|project| self.peek(project, |data, _| data.held_bytes())).collect() }.boxed()
    }

    fn refuse(&self, project: Project, for_ms: u64) -> BoxFuture<'_, Result<(), CallError>> {
        async move {
            let slot = self.0.logs.read().get(&project).cloned();
            if let Some(slot) = slot {
                slot.data.lock().refuse(self.0.clock.now_ms(), for_ms);
            }
            Ok(())
        }
        .boxed()
    }
}

impl Probe for MemoryBroker {
    fn probe(&self) -> BoxFuture<'_, Result<(), ReadError>> {
        ready(Ok(())).boxed()
    }

    fn connected(&self) -> watch::Receiver<bool> {
        self.0.connected.subscribe()
    }

    /// Encoded bytes of all events, against the limit that it was given.
    fn memory(&self) -> BoxFuture<'_, Result<MemoryUse, ReadError>> {
        async move {
            let max = self.0.memory_max_bytes.load(Ordering::Relaxed);
            let slots: Vec<_> = self.0.logs.read().values().cloned().collect();
            let used_bytes = slots.iter().map(|slot| slot.data.lock().held_bytes()).sum();
            Ok(MemoryUse { used_bytes, max_bytes: (max > 0).then_some(max) })
        }
        .boxed()
    }
}
