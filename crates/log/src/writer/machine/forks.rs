//! The writer across forks (docs/log.md L9): what it puts back, what it must own up to, and what may stand after all.

use std::time::Duration;

use tidings_protocol::head::Head;
use tidings_protocol::position::{Branch, Position};

use super::memory::Missing;
use super::{Done, Draw, Flight, Machine, Note, Step};
use crate::writer::item::{Item, Purpose};

/// Batches that were refused after a sending that went unanswered; older ones are forgotten.
const FREED_MAX: usize = 64;

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

/// Batches that went unanswered and were then refused: another history may hold them.
#[derive(Debug, Default)]
pub(super) struct Freed(Vec<FreedBatch>);

#[derive(Debug)]
struct FreedBatch {
    number: u64,
    /// Each item's key, and whether it was new in this batch.
    items: Vec<(u64, bool)>,
    /// What the project's deletion was sent to stand behind, if it is one.
    behind: Option<Vec<Position>>,
    at: Duration,
}

impl Freed {
    pub(super) fn insert(&mut self, now: Duration, number: u64, items: &[Item]) {
        if self.0.len() >= FREED_MAX {
            self.0.remove(0);
        }
        let behind = items.iter().find_map(Item::behind).map(<[_]>::to_vec);
        let items = items.iter().map(|item| (item.key, !item.heals())).collect();
        self.0.push(FreedBatch { number, items, behind, at: now });
    }

    pub(super) fn clear(&mut self) {
        self.0.clear();
    }

    /// Batches freed before this are past what memory could put back.
    pub(super) fn expire(&mut self, bound: Duration) {
        self.0.retain(|batch| batch.at >= bound);
    }

    fn take(&mut self, number: u64) -> Option<FreedBatch> {
        let index = self.0.iter().position(|batch| batch.number == number)?;
        Some(self.0.remove(index))
    }
}

impl Machine {
    /// A definite refusal by this log: the bytes wait again, for a new number. Another history may hold them.
    pub(super) fn free(&mut self, now: Duration, flight: Flight) {
        if flight.unanswered.is_some() {
            self.freed.insert(now, flight.number, &flight.items);
        }
        self.requeue(flight.items);
    }

    /// The log's answer to `number` stands: what was freed under it is in the log, whether it still waits or was
    /// acknowledged elsewhere since.
    pub(super) fn stands(&mut self, now: Duration, number: u64, last: Position, count: u32, done: &mut Vec<Done>) {
        let Some(FreedBatch { items, mut behind, .. }) = self.freed.take(number) else { return };
        if items.len() != count as usize {
            debug_assert!(false, "an answer to other bytes");
            return;
        }
        for ((key, new), back) in items.into_iter().zip((0..u64::from(count)).rev()) {
            let position = last.back(back);
            if self.memory.stands(key, position, new) {
                continue;
            }
            if let Some(index) = self.queue.iter().position(|item| item.key == key)
                && let Some(mut item) = self.queue.remove(index)
            {
                behind.take().into_iter().for_each(|ends| item.stand_behind(ends));
                self.acknowledge(now, item, position, done);
            }
        }
    }

    /// Goes on with the open branch of this log. What it lacks of what was acknowledged goes first: a gap for what has
    /// left memory, then the events that are kept.
    pub(super) fn adopt(&mut self, head: &Head, draw: &mut dyn Draw, step: &mut Step) {
        self.branch = head.branch;
        self.ends = head.forks.iter().rev().map(|fork| fork.survived).collect();
        self.incarnation.clone_from(&head.incarnation);
        self.sync_due = false;
        // What is owed and put back is reckoned anew: another history may lack more, or less. A retry that was merged with
        // an event on its way back waits on alone.
        for item in &mut self.queue {
            if item.heals() && !item.slots.is_empty() {
                item.purpose = Purpose::Request;
                self.keys += 1;
                item.key = self.keys;
            }
        }
        self.queue.retain(|item| !item.is_own());
        let Missing { lost, items } = self.memory.missing_in(head);
        if !items.is_empty() {
            step.notes.push(Note::PuttingBack { events: items.len() });
        }
        // The project's deletion is done again before anything else: what is told and put back came after it.
        let (deletions, items): (Vec<_>, Vec<_>) = items.into_iter().partition(Item::goes_alone);
        self.requeue(items);
        for lost in lost.into_iter().rev() {
            self.owe(lost, draw, step);
        }
        self.requeue(deletions);
    }

    /// A gap will tell of a loss, before anything else is appended.
    fn owe(&mut self, lost: Lost, draw: &mut dyn Draw, step: &mut Step) {
        let mut item = Item::owing(&draw.gap(&lost), lost.acknowledged);
        self.keys += 1;
        item.key = self.keys;
        self.queue.push_front(item);
        step.notes.push(Note::GapOwed(lost));
    }

    /// Events on their way back were refused for good: their loss is told.
    pub(super) fn cannot_put_back(&mut self, keys: &[u64], draw: &mut dyn Draw, step: &mut Step) {
        let mut highest: Vec<Position> = Vec::new();
        for position in keys.iter().filter_map(|key| self.memory.give_up(*key)) {
            match highest.iter_mut().find(|known| known.branch == position.branch) {
                Some(known) if known.n() >= position.n() => {}
                Some(known) => *known = position,
                None => highest.push(position),
            }
        }
        for acknowledged in highest {
            // Where its branch was cut is not known any more; everything since the beginning holds for sure.
            self.owe(Lost { after: Position::ZERO, acknowledged, certain: true }, draw, step);
        }
    }

    /// The store was asked at `at` and said which incarnation it is. Another one than the writer knows: what was
    /// acknowledged may be missing, so the log is asked even if nothing waits.
    pub fn probed(&mut self, incarnation: &str, at: Duration) {
        if self.branch.is_none() {
            return;
        }
        if incarnation == self.incarnation {
            self.memory.confirmed(at);
            self.freed.expire(at.saturating_sub(self.memory.time() * 2));
        } else if !self.memory.is_empty() {
            self.sync_due = true;
        }
        if self.has_own_work() && self.flight.is_none() {
            // The store answers: what it refused before is worth another try, once for each time that it was asked.
            self.trouble = None;
        }
    }

    /// Whether nothing is kept that could be put back, so that forgetting the machine costs a healing nothing.
    pub fn keeps_nothing(&self) -> bool {
        self.memory.count() == 0
    }

    /// Whether there is something to send for which nobody waits.
    pub fn has_own_work(&self) -> bool {
        self.sync_due || self.queue.iter().any(Item::is_own)
    }

    /// The branch that the writer takes for open.
    pub fn branch(&self) -> Branch {
        self.branch
    }
}
