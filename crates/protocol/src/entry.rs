//! Entries: what one append leaves in the log (docs/log.md L2), and the message that announces it.

use bytes::Bytes;
use prost::Message as _;

use crate::position::{Branch, LogId, Position};
use crate::wire;

/// An entry's events, encoded, at most (a single bigger event stands alone).
pub const ENTRY_BYTES_MAX: usize = 64 * 1024;

/// One entry of a log: a batch of events, or a fork. Its position is that of its LAST event; the events before it
/// count down and share its `ms`.
#[derive(Debug, Clone, PartialEq)]
pub struct Entry {
    /// Position of the last event.
    pub position: Position,
    /// The log's last position before this entry.
    pub prev: Position,
    /// Running total of encoded bytes in the log, this entry included.
    pub total_bytes: u64,
    /// What it holds.
    pub body: Body,
}

/// What an entry holds.
#[derive(Debug, Clone, PartialEq)]
pub enum Body {
    /// A batch of events, at least one.
    Events(Vec<wire::Event>),
    /// A branch closed and another one opened. Counts as one position and is not delivered as an event.
    Fork(ForkNote),
    /// Only in messages: this many events, too big to travel, to be read from the log.
    Elsewhere(u32),
}

/// What a fork entry says.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct ForkNote {
    /// The branch that was closed.
    pub closed: Branch,
    /// Its last position that this log holds.
    pub survived: Position,
    /// Why.
    pub kind: ForkKind,
}

/// Why a log forked (docs/log.md L8).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum ForkKind {
    /// The server changed; acknowledged entries may be missing.
    Failover,
    /// The keys moved to another node; nothing is lost and nobody is told.
    Moved,
    /// The project was deleted.
    Deleted,
}

impl ForkKind {
    /// The word on the wire and in meta.
    pub fn as_str(self) -> &'static str {
        match self {
            ForkKind::Failover => "failover",
            ForkKind::Moved => "moved",
            ForkKind::Deleted => "deleted",
        }
    }

    /// The kind that a word names.
    pub fn parse(word: &str) -> Option<ForkKind> {
        [ForkKind::Failover, ForkKind::Moved, ForkKind::Deleted].into_iter().find(|kind| kind.as_str() == word)
    }
}

/// Bytes that are no entry.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("malformed log entry: {0}")]
pub struct EntryError(pub &'static str);

impl Entry {
    /// Number of positions that the entry takes.
    pub fn count(&self) -> u64 {
        match &self.body {
            Body::Events(events) => events.len() as u64,
            Body::Fork(_) => 1,
            Body::Elsewhere(count) => u64::from(*count),
        }
    }

    /// Position of event `index` (0 is the first).
    pub fn position_of(&self, index: usize) -> Position {
        self.position.back(self.count() - 1 - index as u64)
    }

    /// Everything above this id and at or below the entry's own is in it.
    pub fn first_id(&self) -> LogId {
        self.position.back(self.count() - 1).id
    }

    /// The message that announces this entry. Over [`ENTRY_BYTES_MAX`] it names the entry only.
    pub fn to_message(&self) -> Bytes {
        let (batch, fork) = match &self.body {
            Body::Events(events) => {
                let batch = wire::Batch { events: events.clone() };
                ((batch.encoded_len() <= ENTRY_BYTES_MAX).then_some(batch), None)
            }
            Body::Fork(note) => (None, Some(note.to_wire())),
            Body::Elsewhere(_) => (None, None),
        };
        let message = wire::Message {
            position: self.position.to_string(),
            prev: self.prev.to_string(),
            count: u32::try_from(self.count()).unwrap_or(u32::MAX),
            total_bytes: self.total_bytes,
            batch,
            fork,
        };
        message.encode_to_vec().into()
    }

    /// Reads a message from a project's channel. Payloads are slices of `bytes`, not copies.
    pub fn from_message(bytes: Bytes) -> Result<Entry, EntryError> {
        let message = wire::Message::decode(bytes).map_err(|_| EntryError("not a protobuf message"))?;
        let body = match (message.batch, message.fork) {
            (Some(batch), None) => Body::Events(batch.events),
            (None, Some(fork)) => Body::Fork(ForkNote::from_wire(&fork)?),
            (None, None) => Body::Elsewhere(message.count),
            (Some(_), Some(_)) => return Err(EntryError("both a batch and a fork")),
        };
        Entry {
            position: message.position.parse().map_err(|_| EntryError("position"))?,
            prev: message.prev.parse().map_err(|_| EntryError("prev"))?,
            total_bytes: message.total_bytes,
            body,
        }
        .checked(u64::from(message.count))
    }

    /// Refuses an entry whose parts do not fit: no events, a count that differs, or a position that cannot count down.
    pub fn checked(self, count: u64) -> Result<Entry, EntryError> {
        if self.count() == 0 || self.count() != count {
            return Err(EntryError("count"));
        }
        // Events of one entry are numbered without a hole behind `prev`.
        if self.position.n() != self.prev.n().saturating_add(count) {
            return Err(EntryError("position does not follow prev"));
        }
        Ok(self)
    }
}

impl ForkNote {
    fn to_wire(self) -> wire::Fork {
        wire::Fork {
            closed: self.closed.to_string(),
            survived: self.survived.to_string(),
            kind: self.kind.as_str().into(),
        }
    }

    fn from_wire(fork: &wire::Fork) -> Result<ForkNote, EntryError> {
        Ok(ForkNote {
            closed: fork.closed.parse().map_err(|_| EntryError("fork.closed"))?,
            survived: fork.survived.parse().map_err(|_| EntryError("fork.survived"))?,
            kind: ForkKind::parse(&fork.kind).ok_or(EntryError("fork.kind"))?,
        })
    }

    /// The text in a stream entry's field `fork`: closed branch, survived position, kind.
    pub fn to_text(self) -> String {
        format!("{} {} {}", self.closed, self.survived, self.kind.as_str())
    }

    /// Reads [`ForkNote::to_text`].
    pub fn from_text(text: &str) -> Result<ForkNote, EntryError> {
        let mut words = text.split(' ');
        let mut word = || words.next().ok_or(EntryError("fork text is short"));
        Ok(ForkNote {
            closed: word()?.parse().map_err(|_| EntryError("fork.closed"))?,
            survived: word()?.parse().map_err(|_| EntryError("fork.survived"))?,
            kind: ForkKind::parse(word()?).ok_or(EntryError("fork.kind"))?,
        })
    }
}
