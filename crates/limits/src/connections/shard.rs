//! One shard of a gateway's connections: what is open, what the store was told, who waits. A pure machine, told the time.
//!
//! One call is in flight at a time; what changes meanwhile is told by the next.

use std::collections::HashMap;

use foldhash::fast::RandomState;
use tidings_broker::quota::{HOLDS_MAX, Held, Hold};

use super::{RENEWALS_PER_TTL, RETELL_TTLS};
use crate::Settings;
use crate::lease::micros;

/// One shard. `W` is who waits for a place.
pub(super) struct Shard<W> {
    users: HashMap<Box<str>, User<W>, RandomState>,
    /// Users whom the next call names.
    due: Vec<Box<str>>,
    waiters: usize,
    calling: bool,
    /// When the lease was last renewed; none: it was never taken.
    renewed_us: Option<u64>,
    retold_us: u64,
}

struct User<W> {
    open: u32,
    /// What the store counts for this gateway, as far as is known: places that are not open are there to be taken.
    told: u32,
    max: u32,
    due: bool,
    waiting: Vec<W>,
}

impl<W> Default for User<W> {
    fn default() -> User<W> {
        User { open: 0, told: 0, max: 0, due: false, waiting: Vec::new() }
    }
}

impl<W> Default for Shard<W> {
    fn default() -> Shard<W> {
        Shard { users: HashMap::default(), due: Vec::new(), waiters: 0, calling: false, renewed_us: None, retold_us: 0 }
    }
}

/// A call in flight.
pub(super) struct Call<W> {
    named: Vec<Named<W>>,
    /// There was more to say.
    is_full: bool,
}

struct Named<W> {
    hold: Hold,
    waiting: Vec<W>,
}

/// What became of one who waited.
pub(super) struct Told<W> {
    pub(super) waiter: W,
    pub(super) user: Box<str>,
    /// The place is open.
    pub(super) granted: bool,
}

impl<W> Call<W> {
    /// What it says.
    pub(super) fn holds(&self) -> Vec<Hold> {
        self.named.iter().map(|named| named.hold.clone()).collect()
    }
}

impl<W> Shard<W> {
    /// Opens a place that the store counts already, if there is one.
    pub(super) fn open_spare(&mut self, user: &str, max: u32) -> bool {
        let Some(found) = self.users.get_mut(user) else { return false };
        let spare = found.open < found.told && found.open < max;
        found.open += u32::from(spare);
        spare
    }

    /// Opens a place of this gateway's share, whatever the store counts; it is told.
    pub(super) fn open_within(&mut self, user: &str, max: u32, share: u32) -> bool {
        if self.users.get(user).map_or(0, |found| found.open) >= share {
            return false;
        }
        let found = self.users.entry(user.into()).or_default();
        found.open += 1;
        found.max = max;
        self.mark(user);
        true
    }

    /// Asks for a place with the next call.
    pub(super) fn wait(&mut self, user: &str, max: u32, waiter: W) {
        let found = self.users.entry(user.into()).or_default();
        found.max = max;
        found.waiting.push(waiter);
        self.waiters += 1;
        self.mark(user);
    }

    /// A connection ended.
    pub(super) fn close(&mut self, user: &str) {
        let found = self.users.get_mut(user).expect("who has a place open is known");
        found.open -= 1;
        self.mark(user);
    }

    /// Whether a call would say anything now: who waits is told at once, the rest whenever this is asked.
    pub(super) fn is_due(&self, now_us: u64, settings: &Settings) -> bool {
        let renew_us = micros(settings.connections_ttl / RENEWALS_PER_TTL);
        let renewed_us = self.renewed_us.unwrap_or(0);
        !self.calling
            && (!self.due.is_empty() || !self.users.is_empty() && now_us.saturating_sub(renewed_us) >= renew_us)
    }

    /// The next call, if there is anything to say and none is in flight.
    pub(super) fn begin(&mut self, now_us: u64, settings: &Settings) -> Option<Call<W>> {
        if !self.is_due(now_us, settings) {
            return None;
        }
        if now_us.saturating_sub(self.retold_us) >= micros(settings.connections_ttl * RETELL_TTLS) {
            self.retell(now_us);
        }
        self.calling = true;
        let last = self.due.split_off(self.due.len().saturating_sub(HOLDS_MAX));
        let named = last.into_iter().map(|name| self.name(name)).collect();
        Some(Call { named, is_full: !self.due.is_empty() })
    }

    /// The store answered. Who waited for it, and whether there is more to tell at once.
    pub(super) fn done(&mut self, now_us: u64, call: Call<W>, held: &Held) -> (Vec<Told<W>>, bool) {
        self.calling = false;
        if held.lapsed && self.renewed_us.is_some() {
            self.retell(now_us);
        }
        self.renewed_us = Some(now_us);
        let mut all = Vec::new();
        let is_full = call.is_full;
        for (named, granted) in call.named.into_iter().zip(&held.granted) {
            let name = named.hold.name;
            let user = self.users.get_mut(&*name).expect("who is named by a call stays known");
            user.told = named.hold.kept + granted;
            user.open += granted;
            for (index, waiter) in named.waiting.into_iter().enumerate() {
                let granted = index < *granted as usize;
                all.push(Told { waiter, user: name.as_str().into(), granted });
            }
            self.forget_if_unused(&name);
        }
        (all, is_full || self.waiters > 0)
    }

    /// The store did not answer: what it counts now is not known, and is told again when this shard is next asked. Who
    /// waited for it, and who waits for the next call: that would fail the same way.
    pub(super) fn failed(&mut self, call: Call<W>) -> Vec<W> {
        self.calling = false;
        let mut all = Vec::new();
        for named in call.named {
            all.extend(named.waiting);
            self.mark(&named.hold.name);
        }
        if self.waiters > 0 {
            self.users.values_mut().for_each(|user| all.append(&mut user.waiting));
            self.waiters = 0;
        }
        all
    }

    fn name(&mut self, name: Box<str>) -> Named<W> {
        let user = self.users.get_mut(&name).expect("who is due is known");
        user.due = false;
        // From now on the store counts what is open, and what it grants: nothing more is spare.
        user.told = user.open;
        let waiting = std::mem::take(&mut user.waiting);
        self.waiters -= waiting.len();
        let wanted = u32::try_from(waiting.len()).unwrap_or(u32::MAX);
        Named { hold: Hold { name: name.into(), kept: user.open, wanted, max: user.max }, waiting }
    }

    fn retell(&mut self, now_us: u64) {
        self.retold_us = now_us;
        let names: Vec<Box<str>> = self.users.keys().cloned().collect();
        for name in names {
            self.mark(&name);
        }
    }

    fn mark(&mut self, name: &str) {
        let user = self.users.get_mut(name).expect("who is marked is known");
        if !std::mem::replace(&mut user.due, true) {
            self.due.push(name.into());
        }
    }

    fn forget_if_unused(&mut self, name: &str) {
        let unused = |user: &User<W>| user.open == 0 && user.told == 0 && !user.due && user.waiting.is_empty();
        if self.users.get(name).is_some_and(unused) {
            self.users.remove(name);
        }
    }
}

#[cfg(test)]
mod tests;
