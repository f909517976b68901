//! What the append script is called with, and what it answers: [`crate::Log::append`] (docs/log.md L4).

use std::sync::Arc;

use bytes::Bytes;
use tidings_protocol::head::Head;
use tidings_protocol::position::{Branch, Position};

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
/// [`crate::CallError::Unknown`], and the same call under the same number waits again.
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
    /// What it answers; without control characters, at most [`crate::limits::GUARD_KEY_BYTES_MAX`] bytes.
    pub key: String,
    /// Until when the key is remembered, by the store's clock, in milliseconds since the Unix epoch; at most
    /// [`crate::limits::GUARD_MS_MAX`] from now count.
    pub until_ms: u64,
    /// What whoever comes later is told, at most [`crate::limits::GUARD_NOTE_BYTES_MAX`] bytes, without control characters.
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
    /// [`crate::limits::SEQUENCE_MAX`], or the step is refused as out of sequence.
    pub epoch: u64,
    /// 1 is the first of an epoch; 0, and what is above [`crate::limits::SEQUENCE_MAX`], is refused as out of sequence.
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
    /// It has a guard, and the project keeps as many as it may ([`crate::limits::GUARDS_MAX`]).
    GuardsFull,
}

/// One list of refusals, by index. Of several for one event the duplicate id stays: it names the first position. What its
/// producer or its guard says comes behind, in this order.
pub(crate) fn merge_refusals(ids: Vec<Refusal>, others: Vec<Refusal>) -> Vec<Refusal> {
    let mut all = ids;
    all.extend(others);
    // The sort is stable, so that ids come first.
    all.sort_by_key(|refusal| refusal.index);
    all.dedup_by_key(|refusal| refusal.index);
    all
}
