//! What became of events, told to each who waits for them.

use tidings_broker::RefusalWhy;
use tidings_protocol::position::Position;

use crate::writer::item::{Item, Slot};

/// What the log answered about one event.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Outcome {
    /// It stands in the log.
    Appended {
        /// Its id.
        id: String,
        /// Where.
        position: Position,
    },
    /// It stood there before; acknowledged again.
    Duplicate {
        /// Its id.
        id: String,
        /// Where it first stood; none: only its producer's number is remembered.
        position: Option<Position>,
    },
    /// Its producer's sequence jumps; it was not taken.
    OutOfSequence {
        /// The number that would be taken.
        expected: u64,
    },
    /// Its producer was replaced by a newer one; it was not taken.
    Fenced {
        /// The epoch that was seen.
        epoch: u64,
    },
    /// Another event stands under its guard's key; it was not taken.
    Settled {
        /// Where that one stands.
        first: Position,
    },
}

/// Why there is no outcome.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, thiserror::Error)]
pub enum Failure {
    /// The store is away, or refuses for now. It was not taken.
    #[error("the store is away")]
    Away,
    /// As much waits as may. It was not taken.
    #[error("too much waits to be written")]
    Busy,
    /// As many sessions as may be were deleted while their events are in the log. It was not taken.
    #[error("the project has too many deleted sessions")]
    DeletionsFull,
    /// The process stops. It was not taken.
    #[error("the writer is draining")]
    Draining,
    /// The store is out of memory. It was not taken.
    #[error("the store is out of memory")]
    Memory,
    /// The log is of this newer format. It was not taken.
    #[error("the log is of the newer format {0}")]
    NewerFormat(u32),
    /// It was sent and there was no answer: it may stand in the log, now or later.
    #[error("the outcome is unknown")]
    OutcomeUnknown,
    /// Memory is short, and the project uses more than its share of it. It was not taken.
    #[error("the project is over its share of the store's memory")]
    OverShare,
    /// The project remembers as many producers as it may. It was not taken.
    #[error("the project has too many producers")]
    ProducersFull,
    /// The log is not there, and may have been lost a moment ago: whether there is anything to delete is not known yet.
    #[error("the log may have been lost a moment ago")]
    Unsettled,
}

/// The end of one event's way.
pub type Verdict = Result<Outcome, Failure>;

/// A verdict for one who waits.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Done {
    /// Who.
    pub slot: Slot,
    /// What.
    pub verdict: Verdict,
}

/// The item stands in the log: the first waiter appended it, the others hear of a duplicate.
pub(super) fn stands(item: Item, position: Position, done: &mut Vec<Done>) {
    let mut slots = item.slots.into_iter();
    let Some(first) = slots.next() else { return };
    for slot in slots {
        let verdict = Ok(Outcome::Duplicate { id: item.id.clone(), position: Some(position) });
        done.push(Done { slot, verdict });
    }
    done.push(Done { slot: first, verdict: Ok(Outcome::Appended { id: item.id, position }) });
}

/// The log refused the item: all waiters hear why.
pub(super) fn refused(item: Item, why: RefusalWhy, done: &mut Vec<Done>) {
    let verdict = match why {
        RefusalWhy::Duplicate(position) => Ok(Outcome::Duplicate { id: item.id, position: Some(position) }),
        RefusalWhy::DuplicateSequence(_) => Ok(Outcome::Duplicate { id: item.id, position: None }),
        RefusalWhy::OutOfSequence { expected } => Ok(Outcome::OutOfSequence { expected }),
        RefusalWhy::Fenced { epoch } => Ok(Outcome::Fenced { epoch }),
        RefusalWhy::Settled(first) => Ok(Outcome::Settled { first }),
        RefusalWhy::DeletionsFull => Err(Failure::DeletionsFull),
        RefusalWhy::GuardsFull => Err(Failure::OverShare),
    };
    done.extend(item.slots.iter().map(|&slot| Done { slot, verdict: verdict.clone() }));
}

/// There is no outcome for the item.
pub(super) fn failed(item: Item, why: Failure, done: &mut Vec<Done>) {
    done.extend(item.slots.into_iter().map(|slot| Done { slot, verdict: Err(why) }));
}
