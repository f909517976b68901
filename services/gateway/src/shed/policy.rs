//! When a gateway sheds, how many, and whom. A pure machine; times are milliseconds of a clock that only goes on.
//!
//! Viewers are sent on in *bouts*. One begins when the gateway has been more than the tolerance above the mean for a whole
//! lease, and ends half the tolerance above it: between the two nothing happens, so gateways never play ping-pong. Whom
//! they hit is fixed at its beginning: those that were there, oldest first. Whoever comes back is not sent on again in the
//! same bout, so a bout costs nobody more than one reconnect. That is enough: behind a plain round robin, sending on all
//! that were there would leave an equal part of them on each gateway, the mean, and a bout ends above it. Where it is not
//! (a balancer that is sticky, gateways that it cannot reach), the bout is *exhausted*, and the pause before the next one
//! doubles each time.
//!
//! Doubt comes first. Nothing is concluded for one lease after the start, after a call that failed, after our own lease
//! lapsed (a store that was lost), after gateways came or went, and while another gateway's word is older than a few
//! rounds: it may be dying, and its viewers may be here already.

use std::sync::Arc;

use tidings_broker::fleet::Reported;

use super::{Settings, millis};

/// A word that is older than so many rounds is in doubt; so is our own knowledge.
const FRESH_ROUNDS: u64 = 3;

/// Leases between two bouts, at the least.
const PAUSE_LEASES: u64 = 2;

/// The longest pause between two bouts.
const PAUSE_MAX_MS: u64 = 60 * 60 * 1_000;

/// One gateway's mind.
#[derive(Debug)]
pub(super) struct Policy {
    gateway: Arc<str>,
    per_second: u64,
    tolerance_percent: u64,
    excess_min: u64,
    lease_ms: u64,
    fresh_ms: u64,
    /// Nothing is concluded before.
    quiet_until_ms: u64,
    /// Who was on the last roll.
    fleet: Vec<Arc<str>>,
    /// As it was told last.
    view: Option<View>,
    /// Since when the gateway is far above the mean.
    far_since_ms: Option<u64>,
    bout: Option<Bout>,
    rests_until_ms: u64,
    pause_ms: u64,
}

/// What follows from what all carry.
#[derive(Debug, Clone, Copy)]
struct View {
    at_ms: u64,
    mean: u64,
    /// A bout ends here. Never below the mean.
    target: u64,
}

/// Viewers are being sent on.
#[derive(Debug, Clone, Copy)]
struct Bout {
    /// Those that were registered before this number.
    before: u64,
}

/// What to do now.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Step {
    /// Nothing.
    Rest,
    /// Send on so many of those registered before this number, oldest first. If there are not as many:
    /// [`Policy::on_exhausted`].
    Shed {
        /// At least 1.
        count: u64,
        /// A number of [`crate::connections::Connections::next`].
        before: u64,
        /// The mean of all gateways.
        mean: u64,
        /// These are the first of their bout.
        begins: bool,
    },
    /// Nothing any more: it is even.
    Even {
        /// The mean of all gateways.
        mean: u64,
    },
}

impl Policy {
    /// A gateway that starts now, at 0.
    pub(super) fn new(settings: &Settings, gateway: Arc<str>) -> Policy {
        let lease_ms = millis(settings.lease);
        Policy {
            gateway,
            per_second: settings.per_second,
            tolerance_percent: settings.tolerance_percent,
            excess_min: settings.excess_min,
            lease_ms,
            fresh_ms: millis(settings.round).saturating_mul(FRESH_ROUNDS),
            quiet_until_ms: lease_ms,
            fleet: Vec::new(),
            view: None,
            far_since_ms: None,
            bout: None,
            rests_until_ms: 0,
            pause_ms: lease_ms.saturating_mul(PAUSE_LEASES),
        }
    }

    /// All said what they carry; of this gateway it was `own`.
    pub(super) fn on_told(&mut self, now_ms: u64, own: u64, told: &Reported) {
        let fleet: Vec<_> = told.gateways.iter().map(|one| Arc::clone(&one.gateway)).collect();
        if fleet != self.fleet {
            // What was learned of the old fleet does not hold for the new one.
            self.fleet = fleet;
            (self.bout, self.far_since_ms) = (None, None);
            (self.rests_until_ms, self.pause_ms) = (0, self.lease_ms.saturating_mul(PAUSE_LEASES));
            self.doubt(now_ms);
        }
        let is_old = told.gateways.iter().any(|one| one.gateway != self.gateway && one.age_ms > self.fresh_ms);
        if told.lapsed || is_old {
            self.doubt(now_ms);
        }
        let (count, sum) = (told.gateways.len() as u64, sum(told));
        if count == 0 {
            self.view = None;
            return;
        }
        // So many halves of a percent above the mean; rounded up, so that nobody is sent below it.
        let above = |halves: u64| {
            let exact = (sum * u128::from(200 + halves)).div_ceil(u128::from(count) * 200);
            u64::try_from(exact).unwrap_or(u64::MAX)
        };
        let (mean, target) = (above(0), above(self.tolerance_percent));
        let is_far = own > above(2 * self.tolerance_percent) && own >= mean.saturating_add(self.excess_min);
        self.far_since_ms = is_far.then(|| self.far_since_ms.unwrap_or(now_ms));
        self.view = Some(View { at_ms: now_ms, mean, target });
    }

    /// Nobody could be asked.
    pub(super) fn on_failed(&mut self, now_ms: u64) {
        self.doubt(now_ms);
    }

    /// What to do now, with so many viewers that were not told to go; the next one gets the number `next`. To be asked
    /// once a second.
    pub(super) fn step(&mut self, now_ms: u64, viewers: u64, next: u64) -> Step {
        let fresh = self.view.filter(|view| now_ms.saturating_sub(view.at_ms) <= self.fresh_ms);
        let Some(View { mean, target, .. }) = fresh.filter(|_| now_ms >= self.quiet_until_ms) else {
            return Step::Rest;
        };
        let count = self.per_second.min(viewers.saturating_sub(target));
        match self.bout {
            Some(_) if count == 0 => {
                self.bout = None;
                self.pause_ms = self.lease_ms.saturating_mul(PAUSE_LEASES);
                self.rests_until_ms = now_ms.saturating_add(self.pause_ms);
                Step::Even { mean }
            }
            Some(Bout { before }) => Step::Shed { count, before, mean, begins: false },
            None if count > 0 && self.may_begin(now_ms) => {
                self.bout = Some(Bout { before: next });
                Step::Shed { count, before: next, mean, begins: true }
            }
            None => Step::Rest,
        }
    }

    /// Nobody is left of those that the bout may send on.
    pub(super) fn on_exhausted(&mut self, now_ms: u64) {
        self.bout = None;
        self.pause_ms = self.pause_ms.saturating_mul(2).min(PAUSE_MAX_MS.max(self.lease_ms));
        self.rests_until_ms = now_ms.saturating_add(self.pause_ms);
    }

    fn may_begin(&self, now_ms: u64) -> bool {
        let is_settled = self.far_since_ms.is_some_and(|since_ms| now_ms.saturating_sub(since_ms) >= self.lease_ms);
        is_settled && now_ms >= self.rests_until_ms
    }

    fn doubt(&mut self, now_ms: u64) {
        self.quiet_until_ms = now_ms.saturating_add(self.lease_ms);
    }
}

/// What all carry together.
pub(super) fn sum(told: &Reported) -> u128 {
    told.gateways.iter().map(|one| u128::from(one.viewers)).sum()
}

#[cfg(test)]
mod tests;
