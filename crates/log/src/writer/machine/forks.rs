//! The writer across forks (docs/log.md L9, with a memory of 0): what it must own up to, and what may stand after all.

use tidings_protocol::entry::ForkKind;
use tidings_protocol::head::{FORKS_MAX, Head};
use tidings_protocol::position::{Branch, Position};

use super::{Done, Draw, Flight, Machine, Note, Step};
use crate::writer::item::Item;

/// Batches that were refused after a sending that went unanswered; older ones are forgotten.
const FREED_MAX: usize = 8;

/// Something that was acknowledged and is not in the log.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Lost {
    /// The last position of its branch that the log holds.
    pub after: Position,
    /// The highest position on it that was acknowledged.
    pub acknowledged: Position,
    /// False: the log no longer knows the branch, and has forgotten older ones.
    pub certain: bool,
}

/// Per branch the highest position that was acknowledged: with a memory of 0 all of it has left memory.
#[derive(Debug, Default)]
pub(super) struct Acknowledged(Vec<Position>);

impl Acknowledged {
    pub(super) fn note(&mut self, position: Position) {
        match self.0.iter_mut().find(|known| known.branch == position.branch) {
            Some(known) if known.n() >= position.n() => {}
            Some(known) => *known = position,
            None => {
                // One for each fork that meta can list, and the open branch.
                if self.0.len() > FORKS_MAX {
                    self.0.remove(0);
                }
                self.0.push(position);
            }
        }
    }

    /// A gap in the log tells of everything up to here.
    pub(super) fn told(&mut self, owed: Position) {
        self.0.retain(|known| known.branch != owed.branch || known.n() > owed.n());
    }

    /// What this log lacks. What a deletion swept away is not missing, and is forgotten.
    fn lost_in(&mut self, head: &Head) -> Vec<Lost> {
        let deleted = head.forks.iter().rposition(|fork| fork.kind == ForkKind::Deleted);
        self.0.retain(|position| {
            let closed = head.forks.iter().position(|fork| fork.closed == position.branch);
            !matches!((closed, deleted), (Some(closed), Some(deleted)) if closed <= deleted)
        });
        let lacking = self.0.iter().filter(|position| !head.holds(&[**position]));
        lacking
            .map(|&acknowledged| {
                let closing = head.closing(acknowledged.branch);
                let reset = Position::ZERO;
                Lost {
                    after: closing.map_or(reset, |fork| fork.survived),
                    acknowledged,
                    certain: closing.is_some() || head.forks.len() < FORKS_MAX,
                }
            })
            .collect()
    }
}

/// Batches that went unanswered and were then refused: another history may hold them.
#[derive(Debug, Default)]
pub(super) struct Freed(Vec<(u64, Vec<u64>)>);

impl Freed {
    pub(super) fn insert(&mut self, number: u64, items: &[Item]) {
        if self.0.len() >= FREED_MAX {
            self.0.remove(0);
        }
        self.0.push((number, items.iter().map(|item| item.key).collect()));
    }

    pub(super) fn clear(&mut self) {
        self.0.clear();
    }

    fn take(&mut self, number: u64) -> Option<Vec<u64>> {
        let index = self.0.iter().position(|(freed, _)| *freed == number)?;
        Some(self.0.remove(index).1)
    }
}

impl Machine {
    /// A definite refusal by this log: the bytes wait again, for a new number. Another history may hold them.
    pub(super) fn free(&mut self, flight: Flight) {
        if flight.unanswered.is_some() {
            self.freed.insert(flight.number, &flight.items);
        }
        self.requeue(flight.items);
    }

    /// The log's answer to `number` stands: what was freed under it and still waits is in the log.
    pub(super) fn stands(&mut self, number: u64, last: Position, count: u32, done: &mut Vec<Done>) {
        let Some(keys) = self.freed.take(number) else { return };
        if keys.len() != count as usize {
            debug_assert!(false, "an answer to other bytes");
            return;
        }
        for (key, back) in keys.into_iter().zip((0..u64::from(count)).rev()) {
            if let Some(index) = self.queue.iter().position(|item| item.key == key)
                && let Some(item) = self.queue.remove(index)
            {
                self.acknowledge(item, last.back(back), done);
            }
        }
    }

    /// Goes on with the open branch of this log; what it lacks of what was acknowledged is told first.
    pub(super) fn adopt(&mut self, head: &Head, draw: &mut dyn Draw, step: &mut Step) {
        self.branch = head.branch;
        // What is owed is reckoned anew: another history may lack more, or less.
        self.queue.retain(|item| item.owes.is_none());
        let lost = self.acknowledged.lost_in(head);
        for lost in lost.iter().rev() {
            let mut item = Item::owing(&draw.gap(lost), lost.acknowledged);
            self.keys += 1;
            item.key = self.keys;
            self.queue.push_front(item);
        }
        step.notes.extend(lost.into_iter().map(Note::GapOwed));
    }

    /// The branch that the writer takes for open.
    pub fn branch(&self) -> Branch {
        self.branch
    }
}
