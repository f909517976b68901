//! One project's inbox as plain data: deterministic, with the time as an input.
//!
//! Each step looks first at what became due ([`Book::sweep`]), a bounded part of it: deadlines, leases that ran out, runners
//! that lapsed. What is found later than it became due is judged by its time all the same.

mod care;
mod item;
mod leases;
mod owners;
mod taking;

use std::collections::{BTreeMap, BTreeSet, HashMap};

use bytes::Bytes;

use self::item::{Counter, Item, Place, Queue, Runner, State, guard_key};
use self::owners::Owners;
use crate::inbox::waking::{self, Word};
use crate::inbox::{Guarded, ItemKind, KEPT_MS, OPEN_IN_ALL, Put, PutAnswer, SWEPT_MAX, Standing, USED_EVERY_MS};
use crate::limits::GUARD_MS_MAX;

/// Who stands under a guard's key.
pub(super) type Guards<'a> = dyn Fn(&str) -> Option<Guarded> + 'a;

/// One project's inbox.
#[derive(Debug, Default)]
pub(super) struct Book {
    items: HashMap<String, Item>,
    /// Of each [`Item::counter`].
    open: HashMap<Counter, u32>,
    /// Commands that somebody waits for.
    asked: u32,
    queues: HashMap<Queue, BTreeMap<Place, String>>,
    /// Of items whose deadline is to come, and of those past it.
    deadlines: BTreeSet<(u64, String)>,
    past: BTreeSet<(u64, String)>,
    /// Ends of leases.
    leases: BTreeSet<(u64, String)>,
    runners: BTreeMap<String, Runner>,
    /// When they lapse, and those that did.
    ends: BTreeSet<(u64, String)>,
    lapsed: BTreeSet<(u64, String)>,
    /// Runner and command: leased or accepted.
    hands: BTreeSet<(String, String)>,
    owned: Owners,
    /// Puts so far.
    puts: u64,
    /// The last deadline ever put.
    horizon_ms: u64,
    used_ms: u64,
    entered: bool,
    /// Of the project, which begins with 0 and has another one behind each deletion.
    life: u64,
    /// What is to be said to those who wait.
    words: Vec<String>,
}

impl Book {
    /// Whether nobody used it for so long that it is gone.
    pub(super) fn was_left(&self, now_ms: u64) -> bool {
        now_ms >= self.used_ms.max(self.horizon_ms).saturating_add(KEPT_MS) && self.used_ms > 0
    }

    /// Whether it holds nothing.
    pub(super) fn is_idle(&self) -> bool {
        self.items.is_empty() && self.runners.is_empty() && self.owned.is_empty()
    }

    pub(super) fn is_entered(&self) -> bool {
        self.entered
    }

    /// An inbox that was emptied with its project.
    pub(super) fn of_life(life: u64, now_ms: u64) -> Book {
        Book { life, used_ms: now_ms, ..Book::default() }
    }

    pub(super) fn life(&self) -> u64 {
        self.life
    }

    /// It holds nothing. Whether it stays all the same, to tell that the project was deleted; nobody need find it.
    pub(super) fn remains(&mut self) -> bool {
        self.entered = false;
        self.life > 0
    }

    /// It was used now, or somebody only looked after it. What those who wait are to be told.
    pub(super) fn close(&mut self, now_ms: u64, is_use: bool) -> Option<Bytes> {
        let known = self.used_ms > 0 && (self.used_ms..self.used_ms + USED_EVERY_MS).contains(&now_ms);
        if is_use && !known {
            self.used_ms = now_ms;
        }
        waking::message(&std::mem::take(&mut self.words))
    }

    /// Looks at what became due, about so many things.
    fn sweep(&mut self, now_ms: u64, mut budget: usize) {
        while budget > 0
            && let Some((deadline_ms, id)) = self.deadlines.first().filter(|first| first.0 <= now_ms).cloned()
        {
            budget -= 1;
            self.deadlines.remove(&(deadline_ms, id.clone()));
            self.pass(deadline_ms, id);
        }
        while budget > 0
            && let Some((_, id)) = self.leases.first().filter(|first| first.0 <= now_ms).cloned()
        {
            budget -= 1;
            self.give_back(&id);
        }
        while budget > 0
            && let Some((_, runner)) = self.ends.first().filter(|first| first.0 <= now_ms).cloned()
        {
            budget = budget.saturating_sub(1 + self.lapse(&runner));
        }
    }

    /// A deadline passed.
    fn pass(&mut self, deadline_ms: u64, id: String) {
        let Some(item) = self.items.get_mut(&id) else { return };
        if item.is_notice() {
            self.drop_item(&id);
            return;
        }
        item.is_past = true;
        let (queue, place) = (item.queue(), item.place);
        self.leave_queue(queue.as_ref(), place);
        self.past.insert((deadline_ms, id));
    }

    /// A runner's time is over: what it has not accepted waits again, unless it is bound to it. How many did.
    fn lapse(&mut self, runner: &str) -> usize {
        let Some(known) = self.runners.get(runner) else { return 0 };
        self.ends.remove(&(known.until_ms, runner.to_owned()));
        self.lapsed.insert((known.until_ms, runner.to_owned()));
        let mut given_back = 0;
        for id in self.hand(runner) {
            let item = &self.items[&id];
            if item.bound.is_empty() && matches!(item.state, State::Leased { .. }) {
                self.give_back(&id);
                given_back += 1;
            }
        }
        given_back
    }

    /// What a runner has, by id.
    fn hand(&self, runner: &str) -> Vec<String> {
        let from = (runner.to_owned(), String::new());
        let of_runner = self.hands.range(from..).take_while(|(whose, _)| whose == runner);
        of_runner.map(|(_, id)| id.clone()).collect()
    }

    /// A command that somebody has waits again, in its old place.
    fn give_back(&mut self, id: &str) {
        self.take_away(id);
        let Some(item) = self.items.get_mut(id) else { return };
        item.state = State::Waits;
        if let Some(queue) = item.queue().filter(|_| !item.is_past) {
            let place = item.place;
            self.words.push(queue.word().to_string());
            self.queues.entry(queue).or_default().insert(place, id.to_owned());
        }
    }

    /// It is in nobody's hand any more.
    fn take_away(&mut self, id: &str) {
        match &self.items[id].state {
            State::Waits => {}
            State::Leased { runner, until_ms } => {
                self.hands.remove(&(runner.clone(), id.to_owned()));
                self.leases.remove(&(*until_ms, id.to_owned()));
                self.words.push(Word::Hand(runner).to_string());
            }
            State::Accepted { runner } => {
                self.hands.remove(&(runner.clone(), id.to_owned()));
                self.words.push(Word::Hand(runner).to_string());
            }
        }
    }

    fn leave_queue(&mut self, queue: Option<&Queue>, place: Place) {
        let Some(queue) = queue else { return };
        if let Some(waiting) = self.queues.get_mut(queue) {
            waiting.remove(&place);
            if waiting.is_empty() {
                self.queues.remove(queue);
            }
        }
    }

    fn drop_item(&mut self, id: &str) -> bool {
        if !self.items.contains_key(id) {
            return false;
        }
        self.take_away(id);
        let item = self.items.remove(id).expect("it is there");
        self.leave_queue(item.queue().as_ref(), item.place);
        self.deadlines.remove(&(item.deadline_ms, id.to_owned()));
        self.past.remove(&(item.deadline_ms, id.to_owned()));
        self.asked -= u32::from(item.is_asked());
        let counter = item.counter();
        let open = self.open.entry(counter.clone()).or_default();
        *open -= 1;
        if *open == 0 {
            self.open.remove(&counter);
        }
        true
    }

    fn is_there(&self, runner: &str, now_ms: u64) -> bool {
        self.runners.get(runner).is_some_and(|runner| now_ms < runner.until_ms)
    }

    /// Whether forgetting a runner would lose something.
    fn has_something(&self, runner: &str) -> bool {
        self.hands.range((runner.to_owned(), String::new())..).next().is_some_and(|(whose, _)| whose == runner)
            || self.queues.contains_key(&Queue::Bound(runner.to_owned()))
            || !self.owned.has_nothing_of(runner)
    }

    pub(super) fn put(&mut self, now_ms: u64, put: Put, guards: &Guards<'_>) -> PutAnswer {
        self.entered = true;
        self.sweep(now_ms, SWEPT_MAX);
        if put.life.is_some_and(|life| life < self.life) {
            return PutAnswer::Deleted;
        }
        let known = self.items.get(&put.id);
        if known.is_some_and(|item| item.asker != put.asker) {
            return PutAnswer::Conflict;
        }
        if let Some(guarded) = guards(&guard_key(&put.kind, &put.id)) {
            self.drop_item(&put.id);
            return PutAnswer::Known(Standing::Answered(guarded));
        }
        if let Some(item) = known {
            return PutAnswer::Known(item.standing(now_ms));
        }
        let mut bound = String::new();
        let mut is_urgent = false;
        if let ItemKind::Command { capability, session, agent, urgent, notice } = &put.kind {
            bound = self.owned.of(session, agent).filter(|runner| self.is_there(runner, now_ms)).unwrap_or_default();
            is_urgent = *urgent;
            let can = |runner: &Runner| now_ms < runner.until_ms && runner.capabilities.contains(capability);
            if bound.is_empty() && !notice && !self.runners.values().any(can) {
                return PutAnswer::NoRunner;
            }
        }
        self.puts += 1;
        let deadline_ms = now_ms + put.deadline_ms.min(GUARD_MS_MAX);
        let item = Item {
            asker: put.asker,
            kind: put.kind,
            bound,
            place: (!is_urgent, self.puts),
            deadline_ms,
            is_past: false,
            lease: 0,
            state: State::Waits,
            rests: None,
            body: put.body,
        };
        let counter = item.counter();
        let open = self.open.get(&counter).copied().unwrap_or_default();
        if open >= put.open_max || item.is_asked() && self.asked >= put.open_max.saturating_mul(OPEN_IN_ALL) {
            return PutAnswer::Full;
        }
        self.open.insert(counter, open + 1);
        self.asked += u32::from(item.is_asked());
        if let Some(queue) = item.queue() {
            self.words.push(queue.word().to_string());
            self.queues.entry(queue).or_default().insert(item.place, put.id.clone());
        }
        self.horizon_ms = self.horizon_ms.max(deadline_ms);
        self.deadlines.insert((deadline_ms, put.id.clone()));
        self.items.insert(put.id, item);
        PutAnswer::Queued
    }
}
