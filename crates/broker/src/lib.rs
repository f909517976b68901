//! The seam to shared state: one log per project, and the index of projects.
//!
//! Two implementations: [`memory`] (dev mode, simulation, and the model that the Lua script is compared with) and
//! [`redis`] (everything else). One contract suite runs on both. Nothing above this crate knows which one it has.
//!
//! A store has an *incarnation*: a name that changes whenever it may have lost what it acknowledged. For Redis that is
//! `master_replid`; a log on disk would keep its own over a clean reopen.

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
use tidings_protocol::position::{Branch, LogId, Position};
use tidings_protocol::project::Project;

use bookmark::Bookmarks;
use fleet::Fleet;
use hooks::Hooks;
use inbox::Inboxes;
use presence::Presences;
use quota::Quotas;
use registry::Registry;
use slip::Slips;

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

/// Longest stretch that a writer's id may be, in bytes.
pub const WRITER_ID_MAX: usize = 64;

/// One call of the append script.
#[derive(Debug, Clone, PartialEq)]
pub struct AppendCall {
    /// Drawn by each process at its start.
    pub writer: Arc<str>,
    /// Only grows, per writer and project; 1 is the first. A sync carries the last number used (0: none yet).
    pub number: u64,
    /// The branch that the writer takes for open; none: it knows none.
    pub branch: Branch,
    /// A name for the branch that this sending may have to open.
    pub fresh: Branch,
    /// None: sync, or a deletion.
    pub batch: Option<AppendBatch>,
    /// Deletes the project (docs/log.md L19): a fork of kind `deleted`, under this number. Without a batch only.
    pub delete: bool,
    /// How long and how many ids are remembered.
    pub dedupe: DedupeWindow,
    /// What a positive answer waits for (docs/log.md L11); none: for nothing.
    pub wait: Option<Wait>,
}

/// Copies of the store that must have what is acknowledged. Too few of them in time: the answer is
/// [`CallError::Unknown`], and the same call under the same number waits again.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Wait {
    /// So many replicas, at least 1.
    pub replicas: u32,
    /// For so long, in milliseconds, at least 1.
    pub timeout_ms: u64,
}

/// The events of an append.
#[derive(Debug, Clone, PartialEq)]
pub struct AppendBatch {
    /// An encoded `tidings.v1.Batch`.
    pub payload: Bytes,
    /// Events in it, at least 1.
    pub count: u32,
    /// Ids to look up and to remember: (index in the batch, id), indexes growing, ids distinct, without control characters.
    pub ids: Vec<(u32, String)>,
    /// Producer sequences to check, indexes growing; events of one producer in order.
    pub producers: Vec<ProducerStep>,
    /// Sessions that events of the batch delete, indexes growing.
    pub deletions: Vec<SessionDeletion>,
    /// Events that stand only if no other one does, indexes growing.
    pub guards: Vec<GuardStep>,
}

/// An event that stands only if no other event stands under its key: the first final answer to a command, say.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct GuardStep {
    /// Index in the batch.
    pub index: u32,
    /// What it answers; without control characters, at most [`limits::GUARD_KEY_BYTES_MAX`] bytes.
    pub key: String,
    /// Until when the key is remembered, by the store's clock, in milliseconds since the Unix epoch; at most
    /// [`limits::GUARD_MS_MAX`] from now count.
    pub until_ms: u64,
    /// What whoever comes later is told, at most [`limits::GUARD_NOTE_BYTES_MAX`] bytes, without control characters.
    pub note: String,
}

/// An event that deletes its session (docs/log.md L19), or is the project's deletion on its way back: what stood before it
/// first did goes, up to where the log went another way, and the rest of that is not read any more.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SessionDeletion {
    /// Index in the batch.
    pub index: u32,
    /// The session; without control characters. Empty: the whole project; never in the deletion's first call, which is
    /// [`AppendCall::delete`].
    pub session: String,
    /// Where the session's deletion stood before forks, first one first. Of the project: the end of each branch that the
    /// deletion first stood behind, newest first.
    pub was: Vec<Position>,
}

/// One event's place in its producer's sequence (docs/log.md L7).
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ProducerStep {
    /// Index in the batch.
    pub index: u32,
    /// The producer's id.
    pub id: String,
    /// A lower one than the log has seen is fenced; a higher one starts a new sequence. At most
    /// [`limits::SEQUENCE_MAX`], or the step is refused as out of sequence.
    pub epoch: u64,
    /// 1 is the first of an epoch; 0, and what is above [`limits::SEQUENCE_MAX`], is refused as out of sequence.
    pub seq: u64,
    /// A jump is taken: the request says what was dropped, or the event is put back by healing.
    pub may_jump: bool,
}

/// The window in which ids are remembered; whichever bound is reached first. It is a lower bound: ids leave by whole
/// appends, only when something is appended, and a bounded number at a time.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct DedupeWindow {
    /// Milliseconds.
    pub ms: u64,
    /// Number of ids.
    pub ids: u64,
}

impl Default for DedupeWindow {
    fn default() -> DedupeWindow {
        DedupeWindow { ms: 10 * 60 * 1000, ids: 200_000 }
    }
}

/// What the append script answered. A deletion is `Appended`, at the position of its fork. All but `Appended` and a `Synced` that birthed or forked left the log as it was.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Answer {
    /// The batch stands in the log; `last` is the position of its last event. Also the answer to a retry.
    Appended {
        /// Position of the last event.
        last: Position,
        /// Events appended; event i of them stands at `last.back(count - 1 - i)`.
        count: u32,
        /// The publish failed (an ACL, say): viewers will find the entry by their tail check only.
        publish_error: Option<String>,
    },
    /// Sync: the log as it is now.
    Synced(Box<Head>),
    /// Another branch is open than the call names. A definite refusal.
    Heal(Box<Heal>),
    /// A lower number than this writer's last one.
    Stale {
        /// The writer's last number.
        last: u64,
    },
    /// Nothing was appended, because of these events. Send the others again under a new number.
    Refused(Vec<Refusal>),
    /// The log was written by a newer format than this service knows.
    NewerFormat(u32),
    /// The project remembers as many producers as it may ([`PRODUCERS_MAX`]).
    ProducersFull,
}

impl Answer {
    /// Whether it acknowledges an event: that one stands in the log.
    pub fn acknowledges(&self) -> bool {
        let stands =
            |refusal: &Refusal| matches!(refusal.why, RefusalWhy::Duplicate(_) | RefusalWhy::DuplicateSequence(_));
        match self {
            Answer::Appended { .. } => true,
            Answer::Refused(refusals) => refusals.iter().any(stands),
            // The writer may find that an earlier batch of its own stands.
            Answer::Heal(heal) => heal.answer.is_some(),
            Answer::Synced(_) | Answer::Stale { .. } | Answer::NewerFormat(_) | Answer::ProducersFull => false,
        }
    }
}

/// Producers remembered per project.
pub const PRODUCERS_MAX: u64 = 10_000;

/// Ranges of sequence numbers kept per producer; more holes than that and a jump is refused.
pub const PRODUCER_RANGES_MAX: usize = 64;

/// What a writer needs to go on after a fork that it did not make.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Heal {
    /// The log as it is now.
    pub head: Head,
    /// This writer's last number in this log (0: none).
    pub number: u64,
    /// Its answer: last position and count.
    pub answer: Option<(Position, u32)>,
}

/// Why one event of a batch was refused.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Refusal {
    /// Index in the batch.
    pub index: u32,
    /// Why.
    pub why: RefusalWhy,
}

/// Why one event was refused.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum RefusalWhy {
    /// Its id was seen before, first at this position.
    Duplicate(Position),
    /// Its producer's sequence number is in the log's set; the log's last position at this answer.
    DuplicateSequence(Position),
    /// The sequence jumps.
    OutOfSequence {
        /// The number that would be taken.
        expected: u64,
    },
    /// The producer's epoch is older than one seen.
    Fenced {
        /// The epoch seen.
        epoch: u64,
    },
    /// Another event stands under its guard's key, here; of two in one batch the second is refused, with the log's last
    /// position at this answer.
    Settled(Position),
    /// It deletes a session, and as many as may be ([`tidings_protocol::head::TOMBSTONES_MAX`]) were deleted while their
    /// events are in the log. A deletion that is put back is never refused so.
    DeletionsFull,
    /// It has a guard, and the project keeps as many as it may ([`limits::GUARDS_MAX`]).
    GuardsFull,
}

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

/// One list of refusals, by index. Of several for one event the duplicate id stays: it names the first position. What its
/// producer or its guard says comes behind, in this order.
fn merge_refusals(ids: Vec<Refusal>, others: Vec<Refusal>) -> Vec<Refusal> {
    let mut all = ids;
    all.extend(others);
    // The sort is stable, so that ids come first.
    all.sort_by_key(|refusal| refusal.index);
    all.dedup_by_key(|refusal| refusal.index);
    all
}
