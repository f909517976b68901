//! What a writer was acknowledged and may have to put back (docs/log.md L9).
//!
//! Kept: each event with every position at which it ever stood, for a minute in which the known store answers, and within
//! bounds of bytes. What leaves is remembered as the highest position of its branch: if a log lacks that, a loss is told.

use std::collections::VecDeque;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use tidings_protocol::entry::ForkKind;
use tidings_protocol::head::{FORKS_MAX, Head};
use tidings_protocol::position::{Branch, Position};

use super::Lost;
use crate::writer::budget::Budget;
use crate::writer::item::{self, Item};

/// How much is kept, and for how long.
#[derive(Debug, Clone)]
pub struct Keep {
    /// How long: counted only while the store that acknowledged answers.
    pub time: Duration,
    /// Bytes of one project.
    pub bytes_max: usize,
    /// Bytes of all projects.
    pub total: Arc<Budget>,
}

/// An event that stands in the log, or stood there.
#[derive(Debug)]
struct Kept {
    key: u64,
    /// An encoded `tidings.v1.Event`.
    encoded: Bytes,
    /// Where it first stood.
    first: Position,
    /// Where it stood since.
    later: Vec<Position>,
    /// When it was acknowledged, or last put back.
    at: Duration,
    /// It waits to be put back, so it must not leave.
    pending: bool,
}

impl Kept {
    fn bytes(&self) -> usize {
        size_of::<Kept>() + self.encoded.len()
    }

    fn positions(&self) -> Vec<Position> {
        std::iter::once(self.first).chain(self.later.iter().copied()).collect()
    }

    /// Where it stood last. With this one in a log it needs no other.
    fn last(&self) -> Position {
        self.later.last().copied().unwrap_or(self.first)
    }

    fn is_in(&self, head: &Head) -> bool {
        head.holds(&[self.first]) || head.holds(&self.later)
    }
}

/// What one writer keeps of one project.
#[derive(Debug)]
pub(super) struct Memory {
    keep: Keep,
    /// Oldest first.
    kept: VecDeque<Kept>,
    bytes: usize,
    forgotten: Forgotten,
    /// Branches that a deletion opened, as far as this writer has learnt of it.
    deletions: Vec<Branch>,
}

/// What must be told and put back after a fork.
#[derive(Debug, Default)]
pub(super) struct Missing {
    /// Losses, oldest first.
    pub(super) lost: Vec<Lost>,
    /// Events to append again, with all their positions in `was`; in the order in which they were acknowledged.
    pub(super) items: Vec<Item>,
}

impl Memory {
    pub(super) fn new(keep: Keep) -> Memory {
        Memory { keep, kept: VecDeque::new(), bytes: 0, forgotten: Forgotten::default(), deletions: Vec::new() }
    }

    /// An event was acknowledged at this position: it stands there, or (a producer's duplicate) at or below it.
    pub(super) fn keep(&mut self, now: Duration, item: &Item, position: Position) {
        let encoded = item.encoded();
        let kept = Kept { key: item.key, encoded, first: position, later: Vec::new(), at: now, pending: false };
        let bytes = kept.bytes();
        if self.make_room(bytes) {
            self.bytes += bytes;
            self.kept.push_back(kept);
        } else {
            self.forgotten.note(position);
        }
    }

    /// Makes room for so many bytes: the oldest leave. False: there is none.
    fn make_room(&mut self, bytes: usize) -> bool {
        while self.bytes + bytes > self.keep.bytes_max || !self.keep.total.take(bytes) {
            if !self.forget_oldest(|_| true) {
                return false;
            }
        }
        true
    }

    /// The oldest that may go leaves, if it is one of `which`.
    fn forget_oldest(&mut self, which: impl Fn(&Kept) -> bool) -> bool {
        let Some(oldest) = self.kept.pop_front_if(|kept| !kept.pending && which(kept)) else { return false };
        self.forgotten.note(oldest.last());
        self.give_back(oldest.bytes());
        true
    }

    fn give_back(&mut self, bytes: usize) {
        self.bytes -= bytes;
        self.keep.total.give_back(bytes);
    }

    /// The store that acknowledged it all answered at this time: what is older than the time to keep leaves.
    pub(super) fn confirmed(&mut self, at: Duration) {
        let bound = at.saturating_sub(self.keep.time);
        while self.forget_oldest(|kept| kept.at < bound) {}
    }

    /// An event was put back, or found to stand here after all.
    pub(super) fn restored(&mut self, now: Duration, key: u64, position: Position) {
        let Some(index) = self.find(key) else { return self.forgotten.note(position) };
        let Some(mut kept) = self.kept.remove(index) else { return };
        kept.later.push(position);
        kept.pending = false;
        kept.at = now;
        self.kept.push_back(kept);
    }

    /// A batch that went unanswered stands in this history: an event that was since acknowledged elsewhere stood there
    /// first. False: nothing of this key is kept.
    pub(super) fn stands(&mut self, key: u64, position: Position) -> bool {
        let Some(index) = self.find(key) else { return false };
        let kept = &mut self.kept[index];
        if !kept.positions().contains(&position) {
            kept.later.insert(0, std::mem::replace(&mut kept.first, position));
        }
        true
    }

    /// It cannot be put back: it counts as one that left. Answers where it stood last.
    pub(super) fn give_up(&mut self, key: u64) -> Option<Position> {
        let kept = self.kept.remove(self.find(key)?)?;
        self.give_back(kept.bytes());
        self.forgotten.note(kept.last());
        Some(kept.last())
    }

    /// How long events are kept.
    pub(super) fn time(&self) -> Duration {
        self.keep.time
    }

    fn find(&self, key: u64) -> Option<usize> {
        // What is asked for is mostly old, since it went through a fork.
        self.kept.iter().position(|kept| kept.key == key)
    }

    /// A gap in the log tells of everything up to here.
    pub(super) fn told(&mut self, owed: Position) {
        self.forgotten.told(owed);
    }

    /// Events kept.
    #[cfg(test)]
    pub(super) fn len(&self) -> usize {
        self.kept.len()
    }

    /// Whether nothing was acknowledged that a fork could take.
    pub(super) fn is_empty(&self) -> bool {
        self.kept.is_empty() && self.forgotten.0.is_empty()
    }

    /// What this log lacks. What waited to be put back is reckoned anew.
    pub(super) fn missing_in(&mut self, head: &Head) -> Missing {
        self.learn_deletions(head);
        if head.forks.len() >= FORKS_MAX {
            // What stands on no branch that is listed may be in the log all the same: nobody can know, so it is told.
            let mut unlisted = Vec::new();
            for kept in &self.kept {
                let listed =
                    |position: &Position| position.branch == head.branch || head.closing(position.branch).is_some();
                if !kept.positions().iter().any(listed) {
                    unlisted.push(kept.key);
                }
            }
            for key in unlisted {
                self.give_up(key);
            }
        }
        let mut items: Vec<Item> = Vec::new();
        for kept in &mut self.kept {
            kept.pending = !kept.is_in(head);
            if kept.pending {
                items.push(Item::put_back(kept.key, &kept.encoded, &kept.positions()));
            }
        }
        // One event may be kept twice, since its retry was acknowledged too. The second one is the log's duplicate.
        for (double, _) in item::doubles(&items).into_iter().rev() {
            let key = items.remove(double).key;
            if let Some(index) = self.find(key) {
                self.kept[index].pending = false;
            }
        }
        Missing { lost: self.forgotten.lost_in(head), items }
    }

    /// A deletion that is news: what was kept from before it is gone by somebody's wish.
    fn learn_deletions(&mut self, head: &Head) {
        let deleted = head.forks.iter().filter(|fork| fork.kind == ForkKind::Deleted).map(|fork| fork.from.branch);
        let deleted: Vec<Branch> = deleted.collect();
        if deleted.iter().any(|branch| !self.deletions.contains(branch)) {
            let bytes = self.bytes;
            self.give_back(bytes);
            self.kept.clear();
            self.forgotten = Forgotten::default();
        }
        self.deletions = deleted;
    }
}

impl Drop for Memory {
    fn drop(&mut self) {
        self.keep.total.give_back(self.bytes);
    }
}

/// Per branch the highest position that was acknowledged and has left memory.
#[derive(Debug, Default)]
struct Forgotten(Vec<Position>);

impl Forgotten {
    fn note(&mut self, position: Position) {
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

    fn told(&mut self, owed: Position) {
        self.0.retain(|known| known.branch != owed.branch || known.n() > owed.n());
    }

    fn lost_in(&self, head: &Head) -> Vec<Lost> {
        let lacking = self.0.iter().filter(|position| !head.holds(&[**position]));
        lacking
            .map(|&acknowledged| {
                let closing = head.closing(acknowledged.branch);
                Lost {
                    after: closing.map_or(Position::ZERO, |fork| fork.survived),
                    acknowledged,
                    certain: closing.is_some() || head.forks.len() < FORKS_MAX,
                }
            })
            .collect()
    }
}
