//! The call in flight: what goes into it. What its answer means is the machine's.

use std::collections::HashSet;
use std::time::Duration;

use tidings_broker::AppendBatch;
use tidings_broker::limits::SEQUENCE_MAX;
use tidings_protocol::entry::ENTRY_BYTES_MAX;
use tidings_protocol::head::FORKS_MAX;
use tidings_protocol::position::{Branch, Position};

use super::Machine;
use crate::writer::item::{self, Item};

/// The call in flight, or to be sent again.
#[derive(Debug)]
pub(super) struct Flight {
    pub(super) number: u64,
    pub(super) branch: Branch,
    /// None: sync, or the project's deletion.
    pub(super) batch: Option<AppendBatch>,
    /// None: sync.
    pub(super) items: Vec<Item>,
    pub(super) in_air: bool,
    /// Some sending got no answer; since when.
    pub(super) unanswered: Option<Duration>,
}

impl Flight {
    pub(super) fn deletes_project(&self) -> bool {
        self.items.first().is_some_and(Item::deletes_project)
    }
}

impl Machine {
    /// The next call: sync while the open branch is not known, else what waits; none: nothing does.
    pub(super) fn assemble(&mut self) -> Option<Flight> {
        if self.queue.is_empty() && !self.sync_due {
            return None;
        }
        let flight = |number, batch, items| Flight {
            number,
            branch: self.branch,
            batch,
            items,
            in_air: false,
            unanswered: None,
        };
        if self.branch.is_none() || self.sync_due {
            return Some(flight(self.number, None, Vec::new()));
        }
        let count = self.cut();
        let mut items = item::without_doubles(self.queue.drain(..count).collect());
        self.narrow = self.narrow.saturating_sub(count);
        self.number += 1;
        let deletes = items.first().is_some_and(Item::deletes_project);
        if deletes {
            items[0].stand_behind(self.all_ends());
        }
        let batch = (!deletes).then(|| item::batch(&items));
        Some(flight(self.number, batch, items))
    }

    /// What the project's deletion closes, if it is done now: all of the open branch, and of those before it what the log
    /// held.
    pub(super) fn all_ends(&self) -> Vec<Position> {
        let open = Position::new(0, SEQUENCE_MAX, self.branch);
        std::iter::once(open).chain(self.ends.iter().copied()).take(FORKS_MAX).collect()
    }

    /// How many of the waiting items make the next entry: at least one, at most [`ENTRY_BYTES_MAX`]. The project's deletion
    /// goes alone, and of the events under one guard's key the first: the others are told where it stands.
    fn cut(&self) -> usize {
        let mut bytes = 0;
        let mut producer = None;
        let mut guards = HashSet::<&str, foldhash::fast::RandomState>::default();
        let fits = self.queue.iter().take_while(|item| {
            bytes += item.batch_bytes();
            let alone = self.narrow == 0
                || match (producer, item.producer()) {
                    (Some(first), Some(this)) => first == this,
                    (None, this) => {
                        producer = this;
                        true
                    }
                    (_, None) => true,
                };
            let first = item.guard().is_none_or(|key| guards.insert(key));
            alone && first && bytes <= ENTRY_BYTES_MAX && !item.goes_alone()
        });
        fits.count().max(1)
    }
}
