//! The seam to shared state: one log per project, and the index of projects.
//!
//! Two implementations: [`memory`] (dev mode, simulation, and the model that the Lua script is compared with) and
//! [`redis`] (everything else). One contract suite runs on both. Nothing above this crate knows which one it has.
//!
//! A store has an *incarnation*: a name that changes whenever it may have lost what it acknowledged. For Redis that is
//! `master_replid`; a log on disk would keep its own over a clean reopen.

mod append;
pub mod bookmark;
mod checkpoint;
pub mod clock;
#[cfg(any(test, feature = "contract"))]
pub mod contract;
pub mod fleet;
#[cfg(any(test, feature = "contract"))]
pub mod forward;
pub mod hooks;
pub mod inbox;
pub mod index;
pub mod limits;
pub mod memory;
pub mod presence;
pub mod quota;
pub mod redis;
pub mod registry;
pub mod slip;

#[cfg(test)]
mod tests;

use std::sync::Arc;

use bytes::Bytes;
use futures_util::future::BoxFuture;
use tidings_protocol::entry::Entry;
use tidings_protocol::head::Head;
use tidings_protocol::position::{LogId, Position};
use tidings_protocol::project::Project;

use append::merge_refusals;
use bookmark::Bookmarks;
use fleet::Fleet;
use hooks::Hooks;
use inbox::Inboxes;
use presence::Presences;
use quota::Quotas;
use registry::Registry;
use slip::Slips;

pub use append::{
    Answer, AppendBatch, AppendCall, DedupeWindow, GuardStep, Heal, PRODUCER_RANGES_MAX, PRODUCERS_MAX, ProducerStep,
    Refusal, RefusalWhy, SessionDeletion, WRITER_ID_MAX, Wait,
};
pub use checkpoint::{CheckpointAnswer, CheckpointStep, Fields, Retention, StateAt};

/// A project's log: append, read, watch. Every method is cancel safe in the sense that dropping its future leaves no
/// half-done step behind; whether a dropped `append` happened is unknown.
pub trait Log: Send + Sync + 'static {
    /// One atomic step (docs/log.md L4): fork check, retry check, duplicates, append, bookkeeping, publish. A call without a
    /// batch is *sync*: it births or forks the log where that is due, and appends nothing.
    ///
    /// At most one call per (writer, project) may be in flight; numbers of one writer in one project only grow, and the
    /// same number is only ever sent with the same bytes. `fresh` is drawn anew for every sending.
    fn append(&self, project: Project, call: AppendCall) -> BoxFuture<'_, Result<Answer, CallError>>;

    /// Whole entries that touch `span`, oldest first, at least one if there is any, then as many as fit `bytes_max`
    /// encoded bytes. The head is of the same moment. Bounds compare by id alone: locate a cursor by the head's forks first.
    fn read(&self, project: Project, span: Span, bytes_max: usize) -> BoxFuture<'_, Result<Page, ReadError>>;

    /// Heads, one for each project in the order asked, each read together with the incarnation of the store that answered.
    /// A log that cannot be read (of a newer format, say) fails alone.
    fn heads(&self, projects: Vec<Project>) -> BoxFuture<'_, Vec<Result<Head, ReadError>>>;

    /// Names the server that holds the project now: projects of one place share an incarnation.
    fn place(&self, _project: &Project) -> u32 {
        0
    }

    /// One step of the fold (docs/log.md L17): compare incarnation and checkpoint, trim, write; all or nothing. It trims at most
    /// [`limits::TRIM_ENTRIES_MAX`] entries and about [`limits::TRIM_BYTES_MAX`] bytes; the answer says whether the next
    /// step has more to trim. A log of a newer format is refused with [`NothingWhy::Refusing`]. It passes when the store is
    /// out of memory, too: it frees some.
    fn checkpoint(&self, project: Project, step: CheckpointStep) -> BoxFuture<'_, Result<CheckpointAnswer, CallError>>;

    /// Checkpoint fields, with the head of the same moment.
    fn state(&self, project: Project, fields: Fields) -> BoxFuture<'_, Result<StateAt, ReadError>>;

    /// Subscribes `sink` to the project's messages; confirmed on return: whatever is appended afterwards is heard, or
    /// [`Sink::lost`] is. Messages may be lost or repeated. Dropping the subscription ends it.
    fn subscribe(&self, project: Project, sink: Arc<dyn Sink>) -> BoxFuture<'_, Result<Subscription, ReadError>>;
}

/// What janitors work with (docs/log.md L18): the index of projects, leases, and the books beside the fold.
pub trait Index: Send + Sync + 'static {
    /// Enters a project. Idempotent; done before an ingest's first append to it.
    fn enter(&self, project: Project) -> BoxFuture<'_, Result<(), CallError>>;

    /// All projects of one of the [`INDEX_SHARDS`] shards, unordered. What stands there and is no project's name is left out.
    fn projects(&self, shard: u16) -> BoxFuture<'_, Result<Vec<Project>, ReadError>>;

    /// Takes or renews the lease of a shard for `ttl_ms`. True: it is the owner's now.
    fn lease(&self, shard: u16, owner: String, ttl_ms: u64) -> BoxFuture<'_, Result<bool, CallError>>;

    /// Removes writers and producers that were not used for the given times from a project's meta, and guards whose time is
    /// over. Harmless at any time.
    fn sweep(&self, project: Project, writers_ms: u64, producers_ms: u64) -> BoxFuture<'_, Result<(), CallError>>;

    /// Encoded bytes of the events that each log holds, in the order asked. A log that cannot be read fails alone.
    fn held_bytes(&self, projects: Vec<Project>) -> BoxFuture<'_, Vec<Result<u64, ReadError>>>;

    /// Refuses what is appended to a project for so long from now on ([`NothingWhy::OverShare`]), by the store's clock; 0
    /// ends it. Retries of what was appended, sync and reads go on. It passes when the store is out of memory, too. A log
    /// that was never born, or is of a newer format, is left as it is.
    fn refuse(&self, project: Project, for_ms: u64) -> BoxFuture<'_, Result<(), CallError>>;

    /// Keys, members and settings of projects. Unless it is overridden: a registry that is always away.
    fn registry(&self) -> Arc<dyn Registry> {
        Arc::new(registry::NoRegistry)
    }

    /// Shared limits. Unless it is overridden: a store that is always away for them.
    fn quotas(&self) -> Arc<dyn Quotas> {
        Arc::new(quota::NoQuotas)
    }

    /// Who is there. Unless it is overridden: a store that is always away for it.
    fn presences(&self) -> Arc<dyn Presences> {
        Arc::new(presence::NoPresences)
    }

    /// What gateways carry. Unless it is overridden: a store that is always away for it.
    fn fleet(&self) -> Arc<dyn Fleet> {
        Arc::new(fleet::NoFleet)
    }

    /// Places of readers. Unless it is overridden: a store that is always away for them.
    fn bookmarks(&self) -> Arc<dyn Bookmarks> {
        Arc::new(bookmark::NoBookmarks)
    }

    /// What sessions are that no service keeps. Unless it is overridden: a store that is always away for it.
    fn slips(&self) -> Arc<dyn Slips> {
        Arc::new(slip::NoSlips)
    }

    /// What webhooks need. Unless it is overridden: a store that is always away for it.
    fn hooks(&self) -> Arc<dyn Hooks> {
        Arc::new(hooks::NoHooks)
    }

    /// What viewers ask of runners. Unless it is overridden: a store that is always away for it.
    fn inboxes(&self) -> Arc<dyn Inboxes> {
        Arc::new(inbox::NoInboxes)
    }
}

/// How the store is: readiness asks whether it delivers (promise 7), the janitor how full it is (docs/log.md L18).
pub trait Probe: Send + Sync + 'static {
    /// Sends a message that travels through the store's publish path back to this process, and waits for it.
    /// Unbounded in time: the caller sets the limit. Where the store is several servers: one by each, and it is well when
    /// those by most of them come back.
    fn probe(&self) -> BoxFuture<'_, Result<(), ReadError>>;

    /// Wakes when the connection to the store is lost or found again; the value is whether it is there. Of several servers:
    /// to most of them.
    fn connected(&self) -> tokio::sync::watch::Receiver<bool>;

    /// How full the store is; of several servers, the one nearest to its limit. Unless it is overridden: a store without a
    /// limit.
    fn memory(&self) -> BoxFuture<'_, Result<MemoryUse, ReadError>> {
        Box::pin(std::future::ready(Ok(MemoryUse::default())))
    }
}

/// How full a store is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct MemoryUse {
    /// Bytes that count against the limit.
    pub used_bytes: u64,
    /// Bytes at which it refuses writes; none: it has no limit.
    pub max_bytes: Option<u64>,
}

/// Everything that a service needs of its store.
pub trait Broker: Log + Index + Probe {}
impl<T: Log + Index + Probe> Broker for T {}

/// Hears a project's messages. Called inline from the connection's task: it must not block, and must bound what it keeps.
pub trait Sink: Send + Sync + 'static {
    /// An encoded `tidings.v1.Message` (see `tidings_protocol::entry::Entry::from_message`).
    fn message(&self, bytes: Bytes);

    /// Messages may have been lost: after each reconnect, and whenever the connection cannot tell.
    fn lost(&self);
}

/// Keeps a subscription alive; dropping it ends it.
pub struct Subscription(Box<dyn FnOnce() + Send>);

impl Subscription {
    /// A subscription that runs `end` when it is dropped.
    pub fn new(end: impl FnOnce() + Send + 'static) -> Subscription {
        Subscription(Box::new(end))
    }
}

impl Drop for Subscription {
    fn drop(&mut self) {
        std::mem::replace(&mut self.0, Box::new(|| ()))();
    }
}

impl std::fmt::Debug for Subscription {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Subscription")
    }
}

/// Shards of the project index.
pub const INDEX_SHARDS: u16 = 64;

/// Why a call got no answer of the script.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum CallError {
    /// This sending changed nothing (refused before the first write, or never sent). Says nothing of earlier sendings
    /// under the same number.
    #[error("nothing happened: {0}")]
    Nothing(NothingWhy),
    /// It may have happened: a time-out or a broken connection.
    #[error("outcome unknown: {0}")]
    Unknown(String),
}

/// Why a sending changed nothing.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum NothingWhy {
    /// No connection: it was never sent.
    #[error("the store is away")]
    Away,
    /// More calls wait for replicas than may, or for longer: it was never sent.
    #[error("too many calls wait for replicas")]
    Busy,
    /// The store is out of memory.
    #[error("the store is out of memory")]
    Memory,
    /// Memory is short, and the project uses more than its share of it ([`Index::refuse`]).
    #[error("the project is over its share of the store's memory")]
    OverShare,
    /// The store refuses for now: read only, loading, busy, moving.
    #[error("the store refuses for now: {0}")]
    Refusing(String),
}

/// Why a read got no answer. Reads may always be tried again.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum ReadError {
    /// No connection, a time-out, or a store that is not the primary now.
    #[error("the store is away: {0}")]
    Away(String),
    /// The log was written by a newer format than this service knows.
    #[error("log format {0} is newer than this service knows")]
    NewerFormat(u32),
    /// What is stored cannot be read.
    #[error("stored data is malformed: {0}")]
    Malformed(String),
}

/// Which entries to read. Bounds are ids of events and exclusive.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Span {
    /// The oldest entries with an event above this id.
    After(LogId),
    /// The newest entries with an event below this id.
    Before(LogId),
    /// The newest entries.
    Tail,
}

/// Some entries of a log and its head at the same moment.
#[derive(Debug, Clone, PartialEq)]
pub struct Page {
    /// Whole entries, oldest first; the first and last may reach over the span's bound. Never `Body::Elsewhere`.
    pub entries: Vec<Entry>,
    /// The head at that moment.
    pub head: Head,
    /// Position before the oldest entry that the log still holds (its `prev`); the head's last when it holds none.
    pub trimmed_to: Position,
}
