//! One project's inbox as plain data: deterministic, with the time as an input.
//!
//! Each step looks first at what became due ([`Book::sweep`]), a bounded part of it: deadlines, leases that ran out, runners
//! that lapsed. What is found later than it became due is judged by its time all the same.

mod care;
mod leases;
mod owners;

use std::collections::{BTreeMap, BTreeSet, HashMap};

use bytes::Bytes;

use self::owners::Owners;
use crate::inbox::{
    DueItem, Guarded, Here, ItemKind, KEPT_MS, LOOKED_AT_MAX, Leased, OPEN_IN_ALL, Put, PutAnswer, RUNNERS_MAX,
    SWEPT_MAX, Standing, Take, USED_EVERY_MS, guard_of,
};
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
    wakes: bool,
}

#[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord)]
enum Queue {
    Of(String),
    Bound(String),
}

/// What is counted together.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
enum Counter {
    Of(String),
    Bound,
    /// By the class of their guards.
    Alarms(String),
}

/// Urgent ones (`false`) first, then by when they were put.
type Place = (bool, u64);

#[derive(Debug)]
struct Item {
    asker: String,
    kind: ItemKind,
    /// The runner that it is bound to; empty: none.
    bound: String,
    place: Place,
    deadline_ms: u64,
    is_past: bool,
    lease: u64,
    state: State,
    /// Who gave it back, and until when he does not get it again.
    rests: Option<(String, u64)>,
    body: Bytes,
}

#[derive(Debug)]
enum State {
    Waits,
    Leased { runner: String, until_ms: u64 },
    Accepted { runner: String },
}

#[derive(Debug)]
struct Runner {
    subject: String,
    capabilities: Vec<String>,
    until_ms: u64,
    /// For so long it is there from its last word on.
    ttl_ms: u64,
}

impl Item {
    fn queue(&self) -> Option<Queue> {
        match &self.kind {
            ItemKind::Command { .. } if !self.bound.is_empty() => Some(Queue::Bound(self.bound.clone())),
            ItemKind::Command { capability, .. } => Some(Queue::Of(capability.clone())),
            ItemKind::Alarm { .. } => None,
        }
    }

    fn counter(&self) -> Counter {
        match &self.kind {
            ItemKind::Command { notice: false, .. } if !self.bound.is_empty() => Counter::Bound,
            ItemKind::Command { capability, .. } => Counter::Of(capability.clone()),
            ItemKind::Alarm { guard } => Counter::Alarms(guard.split(':').next().unwrap_or_default().to_owned()),
        }
    }

    fn is_asked(&self) -> bool {
        matches!(self.kind, ItemKind::Command { notice: false, .. })
    }

    fn is_notice(&self) -> bool {
        matches!(self.kind, ItemKind::Command { notice: true, .. })
    }

    fn guard(&self, id: &str) -> String {
        guard_key(&self.kind, id)
    }

    /// Who has it, else whom it is bound to.
    fn runner(&self) -> &str {
        match &self.state {
            State::Waits => &self.bound,
            State::Leased { runner, .. } | State::Accepted { runner } => runner,
        }
    }

    fn standing(&self, now_ms: u64) -> Standing {
        match &self.state {
            State::Leased { runner, until_ms } if now_ms < *until_ms => Standing::Leased { runner: runner.clone() },
            State::Accepted { runner } => Standing::Accepted { runner: runner.clone() },
            State::Waits | State::Leased { .. } => Standing::Queued,
        }
    }

    fn told(&self, id: &str) -> DueItem {
        DueItem {
            id: id.to_owned(),
            alarm: matches!(self.kind, ItemKind::Alarm { .. }),
            asker: self.asker.clone(),
            runner: self.runner().to_owned(),
            body: self.body.clone(),
        }
    }
}

fn guard_key(kind: &ItemKind, id: &str) -> String {
    match kind {
        ItemKind::Command { .. } => guard_of(id),
        ItemKind::Alarm { guard } => guard.clone(),
    }
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

    /// It was used now, or somebody only looked after it. Whether those who watch are to be woken.
    pub(super) fn close(&mut self, now_ms: u64, is_use: bool) -> bool {
        let known = self.used_ms > 0 && (self.used_ms..self.used_ms + USED_EVERY_MS).contains(&now_ms);
        if is_use && !known {
            self.used_ms = now_ms;
        }
        std::mem::take(&mut self.wakes)
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
            self.queues.entry(queue).or_default().insert(place, id.to_owned());
            self.wakes = true;
        }
    }

    /// It is in nobody's hand any more.
    fn take_away(&mut self, id: &str) {
        match &self.items[id].state {
            State::Waits => {}
            State::Leased { runner, until_ms } => {
                self.hands.remove(&(runner.clone(), id.to_owned()));
                self.leases.remove(&(*until_ms, id.to_owned()));
            }
            State::Accepted { runner } => {
                self.hands.remove(&(runner.clone(), id.to_owned()));
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
            self.queues.entry(queue).or_default().insert(item.place, put.id.clone());
        }
        self.horizon_ms = self.horizon_ms.max(deadline_ms);
        self.deadlines.insert((deadline_ms, put.id.clone()));
        self.items.insert(put.id, item);
        self.wakes = true;
        PutAnswer::Queued
    }

    pub(super) fn take(&mut self, now_ms: u64, take: Take, guards: &Guards<'_>) -> Here {
        self.entered = true;
        self.sweep(now_ms, SWEPT_MAX);
        let runner = take.runner;
        let mut until_ms = now_ms.saturating_add(take.ttl_ms);
        match self.runners.get(&runner) {
            // Somebody else's things are not his who comes next.
            Some(known)
                if known.subject != take.subject && (now_ms < known.until_ms || self.has_something(&runner)) =>
            {
                return Here::Anothers;
            }
            Some(known) if known.subject != take.subject => {}
            Some(known) => until_ms = until_ms.max(known.until_ms),
            None if self.runners.len() >= RUNNERS_MAX => return Here::Full,
            None => {}
        }
        let now_there =
            Runner { subject: take.subject, capabilities: take.capabilities.clone(), until_ms, ttl_ms: take.ttl_ms };
        if let Some(before) = self.runners.insert(runner.clone(), now_there) {
            self.ends.remove(&(before.until_ms, runner.clone()));
            self.lapsed.remove(&(before.until_ms, runner.clone()));
        }
        self.ends.insert((until_ms, runner.clone()));

        let in_hand = self.hand(&runner).len();
        let wanted = take.max as usize;
        let mut room = wanted.min((take.in_hand_max as usize).saturating_sub(in_hand));
        let mut commands = Vec::new();
        for id in self.candidates(&runner, take.capabilities, wanted, room) {
            if commands.len() == wanted {
                break;
            }
            let item = &self.items[&id];
            let is_notice = item.is_notice();
            if room == 0 && !is_notice {
                continue;
            }
            let rests = item.rests.as_ref().is_some_and(|(whose, until_ms)| *whose == runner && now_ms < *until_ms);
            if item.deadline_ms <= now_ms || rests {
                continue;
            }
            if guards(&item.guard(&id)).is_some() {
                self.drop_item(&id);
                continue;
            }
            commands.push(self.lease(&runner, id, now_ms.saturating_add(take.lease_ms)));
            room -= usize::from(!is_notice);
        }
        Here::Taken { commands, in_hand: u32::try_from(in_hand).unwrap_or(u32::MAX) }
    }

    /// What may be leased to a runner, in order; some more than wanted, since not all may turn out to be for it. Notices come
    /// to full hands, too, so what is bound to it is looked at in any case.
    fn candidates(&self, runner: &str, capabilities: Vec<String>, wanted: usize, room: usize) -> Vec<String> {
        if wanted == 0 {
            return Vec::new();
        }
        let queues: BTreeSet<Queue> = capabilities.into_iter().map(Queue::Of).filter(|_| room > 0).collect();
        let bound = self.queues.get(&Queue::Bound(runner.to_owned())).map(|waiting| (waiting, wanted));
        let open = queues.iter().filter_map(|queue| self.queues.get(queue)).map(|waiting| (waiting, room));
        let heads = bound.into_iter().chain(open);
        let mut heads: Vec<_> = heads.flat_map(|(waiting, most)| waiting.iter().take(most + LOOKED_AT_MAX)).collect();
        heads.sort_unstable();
        heads.into_iter().map(|(_, id)| id.clone()).collect()
    }

    fn lease(&mut self, runner: &str, id: String, until_ms: u64) -> Leased {
        let item = self.items.get_mut(&id).expect("what waits is there");
        item.lease += 1;
        item.state = State::Leased { runner: runner.to_owned(), until_ms };
        item.rests = None;
        let leased = Leased {
            id: id.clone(),
            lease: item.lease,
            until_ms,
            deadline_ms: item.deadline_ms,
            asker: item.asker.clone(),
            body: item.body.clone(),
        };
        let (queue, place) = (item.queue(), item.place);
        self.leave_queue(queue.as_ref(), place);
        self.hands.insert((runner.to_owned(), id.clone()));
        self.leases.insert((until_ms, id));
        leased
    }
}
