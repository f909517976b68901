//! Checks of one key, and of several at once.

use std::sync::Arc;

use super::{Decision, Inner, Slot, Step};
use crate::lease::micros;

/// One key's limit. Cheap to clone.
#[derive(Clone)]
pub struct Meter {
    limiter: Arc<Inner>,
    pub(super) slot: Arc<Slot>,
}

impl Meter {
    pub(super) fn new(limiter: Arc<Inner>, slot: Arc<Slot>) -> Meter {
        Meter { limiter, slot }
    }

    /// Checks a cost, and counts it if it is allowed. Never waits: when only the store knows, up to one portion is let
    /// through ahead of its answer, which is then asked for and paid first. For costs that are small beside the burst.
    ///
    /// # Panics
    /// Outside a tokio runtime.
    pub fn check(&self, cost: u64) -> Decision {
        match self.limiter.step(&self.slot, cost) {
            Step::Lease(decision) => self.by_lease(decision),
            Step::Share(decision) => self.by_share(decision),
            Step::Wait if self.slot.lease.lock().overdraw(cost) => self.by_lease(Decision::Allowed),
            Step::Wait => self.by_lease(Decision::Refused { retry_after: self.limiter.settings.wait_max }),
        }
    }

    /// Checks a cost, and counts it if it is allowed. Waits for the store if only it knows, at most
    /// [`Settings::wait_max`](crate::Settings::wait_max), then decides by this service's share.
    ///
    /// Cancel safe: dropped before it is ready, nothing is counted.
    ///
    /// # Panics
    /// Outside a tokio runtime.
    pub async fn check_async(&self, cost: u64) -> Decision {
        match self.limiter.step(&self.slot, cost) {
            Step::Lease(decision) => self.by_lease(decision),
            Step::Share(decision) => self.by_share(decision),
            Step::Wait => self.wait(cost).await,
        }
    }

    /// Puts back what was allowed and was not used after all.
    pub fn give_back(&self, cost: u64) {
        self.slot.lease.lock().give_back(cost);
    }

    async fn wait(&self, cost: u64) -> Decision {
        let limiter = &self.limiter;
        let deadline = tokio::time::Instant::now() + limiter.settings.wait_max;
        loop {
            let mut answered = std::pin::pin!(self.slot.answered.notified());
            // ORDER: listens before it looks again, so that no answer comes between.
            answered.as_mut().enable();
            match limiter.step(&self.slot, cost) {
                Step::Lease(decision) => {
                    limiter.metrics.checks_remote.inc();
                    return self.counted(decision);
                }
                Step::Share(decision) => return self.by_share(decision),
                Step::Wait => {}
            }
            if tokio::time::timeout_at(deadline, answered).await.is_err() {
                return self.too_late(cost);
            }
        }
    }

    fn too_late(&self, cost: u64) -> Decision {
        let (limiter, now_us) = (&self.limiter, self.limiter.now_us());
        if limiter.doubt(now_us) {
            let wait_max_us = micros(limiter.settings.wait_max);
            tracing::warn!(wait_max_us, "the store is slow, limits fall back to this service's share");
        }
        let decision = limiter.share(&mut self.slot.lease.lock(), now_us, cost);
        self.by_share(decision)
    }

    fn by_lease(&self, decision: Decision) -> Decision {
        self.limiter.metrics.checks_local.inc();
        self.counted(decision)
    }

    fn by_share(&self, decision: Decision) -> Decision {
        self.limiter.metrics.checks_share.inc();
        self.counted(decision)
    }

    fn counted(&self, decision: Decision) -> Decision {
        if !decision.is_allowed() {
            self.limiter.metrics.on_refused(self.slot.kind);
        }
        decision
    }
}

impl std::fmt::Debug for Meter {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Meter").field("kind", &self.slot.kind).finish_non_exhaustive()
    }
}

/// Checks several limits of one thing; counts all costs or none. Refused: by the first that refuses, in the order given.
///
/// Cancel safe: dropped before it is ready, nothing is counted.
///
/// # Panics
/// Outside a tokio runtime.
pub async fn check_all(costs: &[(&Meter, u64)]) -> Decision {
    let mut counted = Counted(&[]);
    for (index, (meter, cost)) in costs.iter().enumerate() {
        if let refused @ Decision::Refused { .. } = meter.check_async(*cost).await {
            return refused;
        }
        counted.0 = &costs[..=index];
    }
    std::mem::take(&mut counted.0);
    Decision::Allowed
}

/// Puts back what was counted if the rest is not.
struct Counted<'a>(&'a [(&'a Meter, u64)]);

impl Drop for Counted<'_> {
    fn drop(&mut self) {
        for (meter, cost) in self.0 {
            meter.give_back(*cost);
        }
    }
}
