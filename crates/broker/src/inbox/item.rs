//! What is put into an inbox, and how it stands.

use bytes::Bytes;
use tidings_protocol::position::Position;

use super::{BODY_BYTES_MAX, refusing, sound};
use crate::CallError;

/// What is put.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Put {
    /// Unique in the project; without control characters, at most 128 bytes.
    pub id: String,
    /// Who asks: a known id of another asker is [`PutAnswer::Conflict`].
    pub asker: String,
    /// What kind of item.
    pub kind: ItemKind,
    /// Milliseconds from now after which it is due.
    pub deadline_ms: u64,
    /// Commands that may be open in this inbox for its capability, and [`super::OPEN_IN_ALL`] times as many for all together. Those
    /// that are bound to runners count as one capability, whatever theirs are; alarms by the class of their guard, which is
    /// what stands before its colon, and beside all others; so do notices, by their capability.
    pub open_max: u32,
    /// Told to the runner, and back when it is due.
    pub body: Bytes,
    /// The life of the project that it was put in before ([`Placed::life`]): put again, it is [`PutAnswer::Deleted`] in a
    /// later one. None: it is put for the first time.
    pub life: Option<u64>,
}

impl Put {
    /// # Errors
    /// Nothing happened: a name is empty, too long or holds control characters, or the body is too large.
    pub(crate) fn sound(&self) -> Result<(), CallError> {
        if self.body.len() > BODY_BYTES_MAX {
            return Err(refusing("the body is too large"));
        }
        let (named, others) = match &self.kind {
            ItemKind::Command { capability, session, agent, .. } => (capability, vec![session, agent]),
            ItemKind::Alarm { guard } => (guard, Vec::new()),
        };
        if self.id.is_empty() || named.is_empty() {
            return Err(refusing("a name is empty"));
        }
        sound(others.into_iter().chain([&self.id, named]))
    }
}

/// Kinds of items.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum ItemKind {
    /// For a runner.
    Command {
        /// Only for runners with this one, unless it is bound.
        capability: String,
        /// Bound to the runner that owns this session, if that one is there when the command is put; empty: to none.
        session: String,
        /// The same by agent (of the session, if there is one); empty: by the session alone.
        agent: String,
        /// Overtakes what waits and is not urgent.
        urgent: bool,
        /// Nobody waits for an answer: gone once it is accepted, silently gone at its deadline, put although no runner is
        /// there.
        notice: bool,
    },
    /// For nobody: told by [`super::Inboxes::due`] at its deadline, unless its guard (this key) stands or it was settled.
    Alarm {
        /// The guard.
        guard: String,
    },
}

/// What became of a put, and when in the project's history.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Placed {
    /// What became of it.
    pub answer: PutAnswer,
    /// Which life of the project this is: it only grows, with each [`super::Inboxes::clear`]. A store that lost the inbox may
    /// know a lower one.
    pub life: u64,
}

/// What became of a put.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum PutAnswer {
    /// It waits.
    Queued,
    /// No runner with this capability is there: nothing was put.
    NoRunner,
    /// As many as may are open already: nothing was put.
    Full,
    /// The id is known; nothing was changed.
    Known(Standing),
    /// The id is somebody else's.
    Conflict,
    /// The project was deleted since it was put: nothing was put, and nobody waits for it any more.
    Deleted,
}

/// How a command stands.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Standing {
    /// It waits for a runner.
    Queued,
    /// A runner has it, and has not accepted it yet.
    Leased {
        /// Which.
        runner: String,
    },
    /// A runner works on it.
    Accepted {
        /// Which.
        runner: String,
    },
    /// Its guard stands: it is answered.
    Answered(Guarded),
    /// Nothing is known of it.
    Unknown,
}

/// A guard that stands.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Guarded {
    /// Where its event stands.
    pub position: Position,
    /// What its event's writer noted.
    pub note: String,
}

/// An item that is open.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Found {
    /// How it stands; never answered.
    pub standing: Standing,
    /// Who asked.
    pub asker: String,
    /// What was put.
    pub body: Bytes,
}
