//! One page, and how a cursor meets it (docs/log.md L12). Pure.

use std::sync::Arc;

use tidings_protocol::head::Head;
use tidings_protocol::position::Position;

use crate::held::Held;

/// A stretch of a log.
#[derive(Debug)]
pub struct PageHeld {
    /// Whole entries, oldest first; the first may begin at or before what was asked for.
    pub entries: Vec<Arc<Held>>,
    /// The head when it was read.
    pub head: Head,
    /// The position before the oldest entry that the log held then.
    pub trimmed_to: Position,
    /// Running count of the last event in it.
    pub(super) end: u64,
    pub(super) bytes: usize,
}

/// What a page says of a cursor, which must be of a branch that its head knows.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Meet {
    /// The page goes on where the cursor stands.
    Follows,
    /// The log held nothing behind the cursor when the page was read: another read may.
    Nothing,
    /// The log no longer holds what lies between the cursor and this.
    Trimmed(Position),
    /// No event ever stood there: the position is made up.
    NeverWas,
}

impl PageHeld {
    /// Entries and head are of one moment, so what does not link up here never will.
    pub fn meet(&self, at: Position) -> Meet {
        if at.n() > self.head.last.n() {
            // Whoever gave the position knew a newer log, or one that a failover has cut since.
            return Meet::Nothing;
        }
        let oldest = self.entries.first().map_or(self.trimmed_to, |first| first.entry().prev);
        if at.n() < oldest.n() {
            return if oldest == self.trimmed_to { Meet::Trimmed(oldest) } else { Meet::NeverWas };
        }
        if at == self.head.last {
            return Meet::Nothing;
        }
        if !self.entries.is_empty() && at == oldest {
            return Meet::Follows;
        }
        // Its own event's entry, if there is one, gives the same position back.
        let entry = self.entries.partition_point(|held| held.position().n() < at.n());
        match self.entries.get(entry) {
            Some(held) if held.entry().first_id().n <= at.n() => {
                let last = held.position();
                if last.back(last.n() - at.n()) == at { Meet::Follows } else { Meet::NeverWas }
            }
            _ => Meet::NeverWas,
        }
    }

    /// What was made of its entries, in bytes.
    pub(super) fn encoded_bytes(&self) -> usize {
        self.entries.iter().map(|held| held.encoded_bytes()).sum()
    }

    /// Whether the page holds, without a hole, what the log held behind this running count. A wish may be made up (a
    /// count with another event's time), and its page begins elsewhere.
    pub(super) fn is_sound_behind(&self, n: u64) -> bool {
        self.entries.first().is_some_and(|first| {
            let links = first.entry().prev;
            n < first.position().n() && (links.n() <= n || links == self.trimmed_to)
        })
    }
}
