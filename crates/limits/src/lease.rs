//! What one service has leased of one shared limit: a pure machine, told the time.
//!
//! It holds a portion of the rate, taken ahead. When a quarter of it is left it asks for the next; when a check finds too
//! little, it must wait for that. One question is in flight at a time. A refusal of the store holds for as long as the store
//! said. Portions grow while they are used up quickly and shrink when they run out unused, from a twentieth of a second's
//! rate to a tenth of the burst. The store is asked for at least the smallest portion at a time, so that a key far over
//! its limit costs some thirty calls a second and not one for every unit that comes free.

use std::time::Duration;

use tidings_broker::quota::bucket::Bucket;
use tidings_broker::quota::{Rate, Taken};

/// The smallest portion is what the rate lets through in so long a time.
const PORTION_TIME: Duration = Duration::from_millis(50);

/// The largest portion is one part in so many of the burst.
const PORTION_OF_BURST: u64 = 10;

/// The next portion is asked for when one part in so many of the last is left.
const LOW_WATER: u64 = 4;

/// One service's part in one shared limit.
#[derive(Debug)]
pub(crate) struct Lease {
    rate: Rate,
    /// Units that may be used without asking.
    left: u64,
    /// Units that were used without asking; the next grant pays them first.
    owed: u64,
    portion: u64,
    granted_us: u64,
    good_until_us: u64,
    refused: Refusal,
    asking: bool,
    touched_us: u64,
    /// What is let through while the store is away.
    share: Bucket,
}

/// The store's last refusal.
#[derive(Debug, Clone, Copy, Default)]
struct Refusal {
    until_us: u64,
    least: u64,
}

/// What a check finds.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Verdict {
    /// The lease has it.
    Allowed,
    /// The store said no, and would still.
    Refused(Duration),
    /// Only the store knows.
    Empty,
}

/// What to ask the store for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Ask {
    pub(crate) rate: Rate,
    pub(crate) wanted: u64,
    pub(crate) least: u64,
}

impl Lease {
    pub(crate) fn new(rate: Rate, now_us: u64) -> Lease {
        Lease {
            rate,
            left: 0,
            owed: 0,
            portion: smallest(&rate),
            granted_us: 0,
            good_until_us: 0,
            refused: Refusal::default(),
            asking: false,
            touched_us: now_us,
            share: Bucket::default(),
        }
    }

    /// Another rate from now on: a setting changed.
    pub(crate) fn set_rate(&mut self, rate: Rate) {
        if self.rate != rate {
            self.rate = rate;
            self.portion = smallest(&rate);
            self.left = self.left.min(self.portion);
            self.refused = Refusal::default();
        }
    }

    /// Checks a cost. If there is something to ask and `may_ask` says so, the question is in flight with that, and
    /// must be answered by [`Lease::on_taken`] or [`Lease::on_failed`].
    pub(crate) fn check(&mut self, now_us: u64, cost: u64, may_ask: impl FnOnce() -> bool) -> (Verdict, Option<Ask>) {
        self.touched_us = now_us;
        self.expire(now_us);
        if self.left >= cost {
            self.left -= cost;
            let low = self.left < self.portion / LOW_WATER;
            let ask = if low && now_us >= self.refused.until_us { self.ask(now_us, 0, may_ask) } else { None };
            return (Verdict::Allowed, ask);
        }
        let least = self.least(cost);
        if now_us < self.refused.until_us && least >= self.refused.least {
            return (Verdict::Refused(Duration::from_micros(self.refused.until_us - now_us)), None);
        }
        (Verdict::Empty, self.ask(now_us, cost, may_ask))
    }

    /// Allows a cost that the lease has not, ahead of the answer: at most one portion. It is paid by the next grants.
    pub(crate) fn overdraw(&mut self, cost: u64) -> bool {
        let lacking = cost.saturating_sub(self.left);
        let allowed = self.owed.saturating_add(lacking) <= self.portion;
        if allowed {
            self.left -= cost - lacking;
            self.owed += lacking;
        }
        allowed
    }

    /// Puts back what was allowed and not used.
    pub(crate) fn give_back(&mut self, cost: u64) {
        let paid = cost.min(self.owed);
        self.owed -= paid;
        self.left = self.left.saturating_add(cost - paid);
    }

    /// The store's answer to `ask`.
    pub(crate) fn on_taken(&mut self, now_us: u64, ask: &Ask, taken: &Taken, valid: Duration) {
        self.asking = false;
        if taken.granted == 0 {
            self.refused = Refusal { until_us: now_us.saturating_add(micros(taken.retry_after)), least: ask.least };
            return;
        }
        self.expire(now_us);
        let paid = taken.granted.min(self.owed);
        self.owed -= paid;
        self.left = self.left.saturating_add(taken.granted - paid);
        self.granted_us = now_us;
        self.good_until_us = now_us.saturating_add(micros(valid));
        self.refused = Refusal::default();
    }

    /// The store did not answer.
    pub(crate) fn on_failed(&mut self) {
        self.asking = false;
    }

    /// Decides by this service's own share. What it lets through is owed as well, up to a large portion: a store that is
    /// only slow is paid, and one that was away does not find a debt of its whole absence.
    pub(crate) fn check_share(&mut self, now_us: u64, cost: u64, among: u32) -> Result<(), Duration> {
        if cost == 0 {
            return Ok(());
        }
        let taken = self.share.take(now_us, &self.rate.share(among), cost, cost);
        if taken.granted == 0 {
            return Err(taken.retry_after);
        }
        self.owed = self.owed.max(self.owed.saturating_add(cost).min(largest(&self.rate)));
        Ok(())
    }

    /// Whether it may be forgotten: what it still owes, less than a portion, with it.
    pub(crate) fn is_idle(&self, now_us: u64, idle: Duration) -> bool {
        !self.asking && now_us.saturating_sub(self.touched_us) >= micros(idle)
    }

    fn expire(&mut self, now_us: u64) {
        if self.left > 0 && now_us >= self.good_until_us {
            if self.left > self.portion / 2 {
                self.portion = (self.portion / 2).max(smallest(&self.rate));
            }
            self.left = 0;
        }
    }

    fn ask(&mut self, now_us: u64, cost: u64, may_ask: impl FnOnce() -> bool) -> Option<Ask> {
        if self.asking || !may_ask() {
            return None;
        }
        self.asking = true;
        // Used up within the first half of its time: the next one may be larger.
        let time_us = self.good_until_us.saturating_sub(self.granted_us);
        if now_us.saturating_sub(self.granted_us) < time_us / 2 {
            self.portion = (self.portion * 2).min(largest(&self.rate));
        }
        let least = self.least(cost);
        Some(Ask { rate: self.rate, wanted: least.max(self.portion.saturating_add(self.owed)), least })
    }

    /// The least that the store must grant for this cost to pass.
    fn least(&self, cost: u64) -> u64 {
        cost.saturating_sub(self.left).saturating_add(self.owed).max(smallest(&self.rate))
    }
}

fn largest(rate: &Rate) -> u64 {
    (rate.burst() / PORTION_OF_BURST).max(1)
}

fn smallest(rate: &Rate) -> u64 {
    rate.within(PORTION_TIME).clamp(1, largest(rate))
}

pub(crate) fn micros(time: Duration) -> u64 {
    u64::try_from(time.as_micros()).unwrap_or(u64::MAX)
}

#[cfg(test)]
mod tests;
