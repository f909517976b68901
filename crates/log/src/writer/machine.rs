//! The writer's pure machine: one process, one project (docs/log.md L5, L6, L7, L9).
//!
//! It owns the numbers, the bytes that wait and the one call in flight, and decides what each answer means. It has no
//! clock, no randomness and no I/O: `now` and [`Draw`] are passed in, calls go out of [`Machine::next`] and their answers
//! come back by [`Machine::answered`]. It does not bound what waits, nor know of deadlines: its shell does.

mod flight;
mod forks;
mod memory;
mod outcome;

#[cfg(test)]
mod histories;
#[cfg(test)]
mod tests;

use std::collections::VecDeque;
use std::sync::Arc;
use std::time::Duration;

use tidings_broker::{Answer, AppendCall, CallError, DedupeWindow, NothingWhy, Refusal, RefusalWhy};
use tidings_protocol::position::{Branch, Position};
use tidings_protocol::wire;

pub use forks::Lost;
pub use memory::Keep;
pub use outcome::{Done, Failure, Outcome, Verdict};

use super::item::{Item, Purpose};
use flight::Flight;
use forks::Freed;
use memory::Memory;

/// How long a sending without an answer is sent again; then its bytes are given up.
pub const UNKNOWN_MAX: Duration = Duration::from_mins(10);

/// What the machine cannot make itself.
pub trait Draw {
    /// A name for a branch, never drawn before.
    fn branch(&mut self) -> Branch;

    /// A writer's id, never drawn before.
    fn writer(&mut self) -> Arc<str>;

    /// The event (type `gap`) that tells of a loss, with an id never drawn before.
    fn gap(&mut self, lost: &Lost) -> wire::Event;
}

/// What happened that only metrics and logs care about.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Note {
    /// An entry was appended: events and encoded bytes.
    Appended {
        /// Events in it.
        events: u32,
        /// Encoded bytes of it.
        bytes: usize,
    },
    /// It stands in the log, but nobody was told of it.
    PublishFailed(String),
    /// A sending got no answer.
    Unknown(String),
    /// The project was deleted.
    Deleted,
    /// Another branch was open: it was adopted.
    Healed,
    /// Acknowledged events that the log lacks will be put back.
    PuttingBack {
        /// So many.
        events: usize,
    },
    /// They were.
    PutBack {
        /// So many.
        events: usize,
    },
    /// A loss will be told.
    GapOwed(Lost),
    /// The log knew a higher number of this writer: another writer id was drawn. Never happens to a live writer.
    Stale {
        /// The number that the log knew.
        last: u64,
    },
    /// There was no answer for [`UNKNOWN_MAX`].
    GivenUp,
}

/// What an answer led to.
#[derive(Debug, Default)]
pub struct Step {
    /// Verdicts on events.
    pub done: Vec<Done>,
    /// For metrics and logs.
    pub notes: Vec<Note>,
}

/// The writer of one project.
#[derive(Debug)]
pub struct Machine {
    writer: Arc<str>,
    dedupe: DedupeWindow,
    /// The last number used.
    number: u64,
    branch: Branch,
    /// Where the branches before it ended, newest first, as far as the log listed them.
    ends: Vec<Position>,
    /// Of the store under which the branch was open when it was learnt.
    incarnation: String,
    /// The store changed since: the log must be asked, even if nothing waits.
    sync_due: bool,
    queue: VecDeque<Item>,
    flight: Option<Flight>,
    keys: u64,
    memory: Memory,
    freed: Freed,
    /// So many items go out with one producer per call, to find the one that the log has no room for.
    narrow: usize,
    /// Tries since the last answer of the script.
    failures: u32,
    trouble: Option<NothingWhy>,
}

impl Machine {
    /// A writer that knows nothing of the log. Its numbers begin above `number`.
    pub fn new(writer: Arc<str>, number: u64, dedupe: DedupeWindow, keep: Keep) -> Machine {
        Machine {
            writer,
            dedupe,
            number,
            branch: Branch::NONE,
            ends: Vec::new(),
            incarnation: String::new(),
            sync_due: false,
            queue: VecDeque::new(),
            flight: None,
            keys: 0,
            memory: Memory::new(keep),
            freed: Freed::default(),
            narrow: 0,
            failures: 0,
            trouble: None,
        }
    }

    /// The last number used.
    pub fn number(&self) -> u64 {
        self.number
    }

    /// Tries since the script last answered: the shell waits longer with each.
    pub fn failures(&self) -> u32 {
        self.failures
    }

    /// Why the last sending changed nothing, if that was the last thing heard.
    pub fn trouble(&self) -> Option<&NothingWhy> {
        self.trouble.as_ref()
    }

    /// Whether a sending went unanswered and its bytes are still to be settled.
    pub fn is_unsettled(&self) -> bool {
        self.flight.as_ref().is_some_and(|flight| flight.unanswered.is_some())
    }

    /// Whether there is nothing to send. What the writer itself wants to send does not keep it going while the store
    /// refuses; see [`Machine::has_own_work`].
    pub fn is_idle(&self) -> bool {
        let insists = self.trouble.is_none();
        let waits = |item: &Item| insists || !item.is_own();
        self.flight.is_none() && !(insists && self.sync_due) && !self.queue.iter().any(waits)
    }

    /// Gathers an event behind those that wait (L6).
    pub fn push(&mut self, mut item: Item) {
        self.keys += 1;
        item.key = self.keys;
        self.queue.push_back(item);
    }

    /// The next call to send, if none is in the air: the one that went unanswered again, else sync while the open branch
    /// is not known, else what waits.
    pub fn next(&mut self, draw: &mut dyn Draw) -> Option<AppendCall> {
        if self.flight.is_none() {
            self.flight = self.assemble();
        }
        let flight = self.flight.as_mut().filter(|flight| !flight.in_air)?;
        flight.in_air = true;
        Some(AppendCall {
            writer: self.writer.clone(),
            number: flight.number,
            branch: flight.branch,
            fresh: draw.branch(),
            batch: flight.batch.clone(),
            delete: flight.deletes_project(),
            dedupe: self.dedupe,
            wait: None,
        })
    }

    /// Takes the answer to the call in the air. `now` is the time since any fixed moment.
    pub fn answered(&mut self, now: Duration, answer: Result<Answer, CallError>, draw: &mut dyn Draw) -> Step {
        let mut step = Step::default();
        let Some(mut flight) = self.flight.take() else { return step };
        flight.in_air = false;
        match answer {
            Err(error) => self.failed(now, flight, error, draw, &mut step),
            Ok(answer) => {
                self.failures = 0;
                self.trouble = None;
                self.settled(now, flight, answer, draw, &mut step);
            }
        }
        step
    }

    /// There was no answer of the script.
    fn failed(&mut self, now: Duration, mut flight: Flight, error: CallError, draw: &mut dyn Draw, step: &mut Step) {
        self.failures = self.failures.saturating_add(1);
        match error {
            CallError::Unknown(why) => {
                step.notes.push(Note::Unknown(why));
                flight.unanswered.get_or_insert(now);
                for item in &mut flight.items {
                    item.unanswered = true;
                }
            }
            CallError::Nothing(why) => {
                self.trouble = Some(why);
                if flight.unanswered.is_none() {
                    return self.requeue(flight.items);
                }
            }
        }
        // Sync changes nothing that a second one would not, so its outcome needs no settling.
        if flight.items.is_empty() {
            return;
        }
        if flight.unanswered.is_some_and(|since| now.saturating_sub(since) >= UNKNOWN_MAX) {
            step.notes.push(Note::GivenUp);
            let barred: Vec<u64> = flight.items.iter().filter(|item| item.heals()).map(|item| item.key).collect();
            self.cannot_put_back(&barred, draw, step);
            fail(flight.items, Failure::OutcomeUnknown, &mut step.done);
            return;
        }
        self.flight = Some(flight);
    }

    /// The script answered: number and bytes are free.
    fn settled(&mut self, now: Duration, flight: Flight, answer: Answer, draw: &mut dyn Draw, step: &mut Step) {
        match answer {
            Answer::Appended { last, count, publish_error } => {
                step.notes.extend(publish_error.map(Note::PublishFailed));
                self.appended(now, flight, last, count, step);
            }
            Answer::Synced(head) => {
                if !self.incarnation.is_empty() && self.incarnation != head.incarnation {
                    step.notes.push(Note::Healed);
                }
                self.requeue(flight.items);
                self.adopt(&head, draw, step);
            }
            Answer::Heal(heal) => {
                step.notes.push(Note::Healed);
                self.free(now, flight);
                if let Some((last, count)) = heal.answer {
                    self.stands(now, heal.number, last, count, &mut step.done);
                }
                self.adopt(&heal.head, draw, step);
            }
            Answer::Stale { last } => {
                step.notes.push(Note::Stale { last });
                self.writer = draw.writer();
                self.number = 0;
                self.freed.clear();
                // What may stand in the log under the lost name cannot be asked about any more.
                let (unknown, sound) = flight.items.into_iter().partition(|item| item.unanswered && !item.is_own());
                fail(unknown, Failure::OutcomeUnknown, &mut step.done);
                self.requeue(sound);
            }
            Answer::Refused(refusals) => self.refused(now, flight, &refusals, draw, step),
            Answer::NewerFormat(format) => {
                // The script says so before it looks at the number: what went unanswered before may stand in the log.
                let (unknown, sound) = flight.items.into_iter().partition(|item| item.unanswered);
                fail(unknown, Failure::OutcomeUnknown, &mut step.done);
                fail(sound, Failure::NewerFormat(format), &mut step.done);
                step.done.extend(self.fail_waiting(Failure::NewerFormat(format)));
                self.queue.clear();
                self.memory.give_in();
            }
            Answer::ProducersFull => self.no_room(flight, draw, step),
        }
    }

    fn appended(&mut self, now: Duration, flight: Flight, last: Position, count: u32, step: &mut Step) {
        debug_assert_eq!(count as usize, flight.items.len(), "an answer to other bytes");
        if flight.deletes_project() {
            step.notes.push(Note::Deleted);
            self.ends = self.all_ends();
            self.branch = last.branch;
        } else {
            debug_assert_eq!(last.branch, flight.branch, "an append to another branch than the call named");
            let bytes = flight.batch.as_ref().map_or(0, |batch| batch.payload.len());
            step.notes.push(Note::Appended { events: count, bytes });
        }
        let back = flight.items.iter().filter(|item| item.heals()).count();
        if back > 0 {
            step.notes.push(Note::PutBack { events: back });
        }
        for (item, back) in flight.items.into_iter().zip((0..u64::from(count)).rev()) {
            self.acknowledge(now, item, last.back(back), &mut step.done);
        }
    }

    /// An item stands in the log: its waiters are told.
    fn acknowledge(&mut self, now: Duration, item: Item, position: Position, done: &mut Vec<Done>) {
        if let Purpose::Owe(owed) = item.purpose {
            self.memory.told(owed);
        }
        self.remember(now, &item, position);
        outcome::stands(item, position, done);
    }

    /// It stands there, and a fork may take it: so it is kept.
    fn remember(&mut self, now: Duration, item: &Item, position: Position) {
        if item.deletes_project() {
            self.memory.deleted(position.branch);
        }
        if item.heals() {
            self.memory.restored(now, item.key, position);
        } else {
            self.memory.keep(now, item, position);
        }
    }

    fn refused(&mut self, now: Duration, flight: Flight, refusals: &[Refusal], draw: &mut dyn Draw, step: &mut Step) {
        if flight.unanswered.is_some() {
            self.freed.insert(now, flight.number, &flight.items);
        }
        let mut kept = Vec::with_capacity(flight.items.len());
        let mut barred = Vec::new();
        for (index, item) in flight.items.into_iter().enumerate() {
            match refusals.iter().find(|refusal| refusal.index as usize == index).map(|refusal| refusal.why) {
                None => kept.push(item),
                // Somebody else's event came first while this one was not there: it goes beside that one.
                Some(RefusalWhy::Settled(_)) if item.heals() => kept.push(item.superseded()),
                // What was acknowledged goes in, at worst unguarded.
                Some(RefusalWhy::GuardsFull) if item.heals() => kept.push(item.unguarded()),
                Some(why) => {
                    match why {
                        // A duplicate is acknowledged, so what stands there must not be lost unnoticed.
                        RefusalWhy::Duplicate(position) | RefusalWhy::DuplicateSequence(position) => {
                            self.remember(now, &item, position);
                        }
                        _ if item.heals() => barred.push(item.key),
                        _ => {}
                    }
                    outcome::refused(item, why, &mut step.done);
                }
            }
        }
        self.requeue(kept);
        self.cannot_put_back(&barred, draw, step);
    }

    /// The log has no room for one of the producers: calls with a single one find out which.
    fn no_room(&mut self, flight: Flight, draw: &mut dyn Draw, step: &mut Step) {
        let first = flight.items.iter().find_map(Item::producer);
        let single = flight.items.iter().filter_map(Item::producer).all(|this| Some(this) == first);
        if single {
            let (full, kept): (Vec<Item>, _) = flight.items.into_iter().partition(|item| item.producer().is_some());
            self.requeue(kept);
            self.bar(full, Failure::ProducersFull, draw, step);
        } else {
            self.narrow = self.narrow.max(flight.items.len());
            self.requeue(flight.items);
        }
    }

    /// The log has no room for these.
    fn bar(&mut self, full: Vec<Item>, why: Failure, draw: &mut dyn Draw, step: &mut Step) {
        let barred: Vec<u64> = full.iter().filter(|item| item.heals()).map(|item| item.key).collect();
        fail(full, why, &mut step.done);
        self.cannot_put_back(&barred, draw, step);
    }

    /// Puts items back to the front of those that wait, in their order.
    fn requeue(&mut self, items: Vec<Item>) {
        for item in items.into_iter().rev() {
            self.queue.push_front(item);
        }
    }

    /// Fails every event that waits and is not in flight; what the writer itself wants to send stays.
    pub fn fail_waiting(&mut self, why: Failure) -> Vec<Done> {
        let mut done = Vec::new();
        for mut item in std::mem::take(&mut self.queue) {
            let why = if item.unanswered { Failure::OutcomeUnknown } else { why };
            done.extend(item.slots.drain(..).map(|slot| Done { slot, verdict: Err(why) }));
            if item.is_own() {
                self.queue.push_back(item);
            }
        }
        done
    }

    /// Nobody waits for this request any more: what was never sent is taken out. True: something of it was, and its
    /// outcome is not known.
    pub fn forget(&mut self, request: u64) -> bool {
        let mut unknown = false;
        let mut leave = |item: &mut Item, sent: bool| {
            let before = item.slots.len();
            item.slots.retain(|slot| slot.request != request);
            let left = item.slots.len() < before;
            unknown |= left && (sent || item.unanswered);
            left && item.slots.is_empty() && !item.is_own()
        };
        self.queue.retain_mut(|item| !leave(item, false));
        if let Some(flight) = &mut self.flight {
            for item in &mut flight.items {
                leave(item, true);
            }
        }
        unknown
    }
}

/// Fails items for all their waiters.
fn fail(items: Vec<Item>, why: Failure, done: &mut Vec<Done>) {
    for item in items {
        outcome::failed(item, why, done);
    }
}
