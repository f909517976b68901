//! What a writer was acknowledged and may have to put back (docs/log.md L9).
//!
//! Kept: each event with every position at which it ever stood, for a minute in which the known store answers, and within
//! bounds of bytes. What leaves is remembered as the highest position of its branch: if a log lacks that, a loss is told.

use std::collections::{HashMap, VecDeque};
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use tidings_protocol::entry::ForkKind;
use tidings_protocol::head::{FORKS_MAX, Head};
use tidings_protocol::position::{Branch, Position};

use super::Lost;
use crate::writer::budget::Commons;
use crate::writer::item::{self, Item};

/// How much is kept, and for how long.
#[derive(Debug, Clone)]
pub struct Keep {
    /// How long: counted only while the store that acknowledged answers.
    pub time: Duration,
    /// Bytes of one project.
    pub bytes_max: usize,
    /// Bytes of all projects.
    pub total: Arc<Commons>,
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
    /// Its place among what was acknowledged.
    order: u64,
    /// What this writer's deletion of the project stood behind, if it is that.
    behind: Option<Vec<Position>>,
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
    /// What waits to be put back, by its key: it must not leave.
    missing: HashMap<u64, Kept, foldhash::fast::RandomState>,
    next_order: u64,
    bytes: usize,
    forgotten: Forgotten,
    /// Branches that a deletion opened, as far as this writer has learnt of it; the newest.
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
        Memory {
            keep,
            kept: VecDeque::new(),
            missing: HashMap::default(),
            next_order: 0,
            bytes: 0,
            forgotten: Forgotten::default(),
            deletions: Vec::new(),
        }
    }

    /// An event was acknowledged at this position: it stands there, or (a producer's duplicate) at or below it.
    pub(super) fn keep(&mut self, now: Duration, item: &Item, position: Position) {
        let kept = Kept {
            key: item.key,
            encoded: item.encoded(),
            first: position,
            later: Vec::new(),
            at: now,
            order: self.order(),
            behind: item.behind().map(<[_]>::to_vec),
        };
        let bytes = kept.bytes();
        if self.make_room(bytes) {
            self.bytes += bytes;
            self.kept.push_back(kept);
        } else {
            self.forgotten.note(position);
        }
    }

    fn order(&mut self) -> u64 {
        self.next_order += 1;
        self.next_order
    }

    /// Makes room for so many bytes: the oldest leave. False: there is none.
    fn make_room(&mut self, bytes: usize) -> bool {
        while self.bytes + bytes > self.keep.bytes_max || !self.keep.total.take(self.bytes, bytes) {
            if !self.forget_oldest(|_| true) {
                return false;
            }
        }
        true
    }

    /// The oldest leaves, if it is one of `which`.
    fn forget_oldest(&mut self, which: impl Fn(&Kept) -> bool) -> bool {
        let Some(oldest) = self.kept.pop_front_if(|kept| which(kept)) else { return false };
        self.forgotten.note(oldest.last());
        self.give_back(oldest.bytes());
        true
    }

    fn give_back(&mut self, bytes: usize) {
        self.bytes -= bytes;
        self.keep.total.give_back(self.bytes, bytes);
    }

    /// The store that acknowledged it all answered at this time: what is older than the time to keep leaves.
    pub(super) fn confirmed(&mut self, at: Duration) {
        let bound = at.saturating_sub(self.keep.time);
        while self.forget_oldest(|kept| kept.at < bound) {}
        // Whoever writes much gives way as it writes; who did so and stopped, here.
        while self.keep.total.presses(self.bytes) && self.forget_oldest(|_| true) {}
    }

    /// An event was put back, or found to stand here after all.
    pub(super) fn restored(&mut self, now: Duration, key: u64, position: Position) {
        let Some(mut kept) = self.missing.remove(&key) else { return self.forgotten.note(position) };
        kept.later.push(position);
        kept.at = now;
        kept.order = self.order();
        self.kept.push_back(kept);
    }

    /// A batch that went unanswered stands in this history, so an event that was since acknowledged elsewhere stood there
    /// too: `first` if it was new in that batch, else after where it had stood before. False: nothing of this key is kept.
    pub(super) fn stands(&mut self, key: u64, position: Position, first: bool) -> bool {
        let waiting = self.missing.get_mut(&key);
        let Some(kept) = waiting.or_else(|| self.kept.iter_mut().find(|kept| kept.key == key)) else { return false };
        if kept.positions().contains(&position) {
            return true;
        }
        if first {
            kept.later.insert(0, std::mem::replace(&mut kept.first, position));
        } else {
            kept.later.push(position);
        }
        true
    }

    /// It cannot be put back: it counts as one that left. Answers where it stood last.
    pub(super) fn give_up(&mut self, key: u64) -> Option<Position> {
        let kept = self.missing.remove(&key)?;
        self.give_back(kept.bytes());
        self.forgotten.note(kept.last());
        Some(kept.last())
    }

    /// Nothing can be put back for now: what waited for it ages like all else.
    pub(super) fn give_in(&mut self) {
        let missing = std::mem::take(&mut self.missing);
        self.kept.extend(missing.into_values());
        self.kept.make_contiguous().sort_by_key(|kept| kept.order);
    }

    /// How long events are kept.
    pub(super) fn time(&self) -> Duration {
        self.keep.time
    }

    /// A gap in the log tells of everything up to here.
    pub(super) fn told(&mut self, owed: Position) {
        self.forgotten.told(owed);
    }

    /// Events kept, those that wait to be put back too.
    pub(super) fn count(&self) -> usize {
        self.kept.len() + self.missing.len()
    }

    /// Whether nothing was acknowledged that a fork could take.
    pub(super) fn is_empty(&self) -> bool {
        self.count() == 0 && self.forgotten.0.is_empty()
    }

    /// What this log lacks. What waited to be put back is reckoned anew.
    pub(super) fn missing_in(&mut self, head: &Head) -> Missing {
        self.learn_deletions(head);
        self.give_in();
        let forks_full = head.forks.len() >= FORKS_MAX;
        let listed = |position: &Position| position.branch == head.branch || head.closing(position.branch).is_some();
        let mut missing = Vec::new();
        for kept in std::mem::take(&mut self.kept) {
            if kept.is_in(head) {
                self.kept.push_back(kept);
            } else if forks_full && !kept.positions().iter().any(listed) {
                // It may be in the log all the same: nobody can know, so it is told, not put back.
                self.give_back(kept.bytes());
                self.forgotten.note(kept.last());
            } else {
                missing.push(kept);
            }
        }
        let items = self.without_doubles(missing);
        Missing { lost: self.forgotten.lost_in(head), items }
    }

    /// What is to be put back. One event may be kept twice, since its retry was acknowledged too: the first one stays.
    fn without_doubles(&mut self, mut missing: Vec<Kept>) -> Vec<Item> {
        let put_back = |kept: &Kept| Item::put_back(kept.key, &kept.encoded, &kept.positions(), kept.behind.as_deref());
        let mut items: Vec<Item> = missing.iter().map(put_back).collect();
        for (double, first) in item::doubles(&items).into_iter().rev() {
            let gone = missing.remove(double);
            items.remove(double);
            self.give_back(gone.bytes());
            let stood = missing[first].positions();
            missing[first].later.extend(gone.positions().into_iter().filter(|position| !stood.contains(position)));
            items[first] = put_back(&missing[first]);
        }
        self.missing.extend(missing.into_iter().map(|kept| (kept.key, kept)));
        items
    }

    /// This writer deleted the project, which opened `branch`: nothing of before matters any more.
    pub(super) fn deleted(&mut self, branch: Branch) {
        self.clear(|_| false);
        self.learn(branch);
    }

    /// A deletion that is news: what was kept from before it is gone by somebody's wish. Only the writer's own one is done
    /// again where it is missing.
    fn learn_deletions(&mut self, head: &Head) {
        let deleted = head.forks.iter().filter(|fork| fork.kind == ForkKind::Deleted).map(|fork| fork.from.branch);
        let news: Vec<Branch> = deleted.filter(|branch| !self.deletions.contains(branch)).collect();
        if !news.is_empty() {
            self.clear(|kept| kept.behind.is_some());
        }
        for branch in news {
            self.learn(branch);
        }
    }

    fn learn(&mut self, branch: Branch) {
        if self.deletions.contains(&branch) {
            return;
        }
        // Twice as many as meta can list: a history that was left may come back.
        if self.deletions.len() >= 2 * FORKS_MAX {
            self.deletions.remove(0);
        }
        self.deletions.push(branch);
    }

    /// Drops what is kept, but for what `stays`, and what is known of what has left.
    fn clear(&mut self, stays: impl Fn(&Kept) -> bool) {
        self.give_in();
        self.kept.retain(stays);
        let freed = self.bytes - self.kept.iter().map(Kept::bytes).sum::<usize>();
        self.give_back(freed);
        self.forgotten = Forgotten::default();
    }
}

impl Drop for Memory {
    fn drop(&mut self) {
        self.keep.total.give_back(0, self.bytes);
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
