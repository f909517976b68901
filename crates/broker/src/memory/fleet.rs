//! The fleet in memory. `lua/fleet.lua` does the same in Redis.

use std::collections::BTreeMap;
use std::sync::Arc;

use futures_util::future::{BoxFuture, FutureExt as _};
use parking_lot::Mutex;

use super::MemoryBroker;
use crate::CallError;
use crate::fleet::{Carried, Fleet, Report, Reported};

/// What gateways said last.
#[derive(Debug, Default)]
pub(super) struct FleetBooks(Mutex<BTreeMap<Arc<str>, Word>>);

#[derive(Debug)]
struct Word {
    from_ms: u64,
    until_ms: u64,
    viewers: u64,
}

impl Word {
    /// Not before it began, either: a clock that went back keeps no dead gateway alive.
    fn holds(&self, now_ms: u64) -> bool {
        self.from_ms <= now_ms && now_ms < self.until_ms
    }
}

impl FleetBooks {
    /// As a restart leaves it.
    pub(super) fn clear(&self) {
        self.0.lock().clear();
    }

    fn report(&self, now_ms: u64, report: Report) -> Reported {
        let mut words = self.0.lock();
        words.retain(|_, word| word.holds(now_ms));
        let word =
            Word { from_ms: now_ms, until_ms: now_ms.saturating_add(report.lease_ms.max(1)), viewers: report.viewers };
        let lapsed = words.insert(report.gateway, word).is_none();
        let carried = |(gateway, word): (&Arc<str>, &Word)| Carried {
            gateway: Arc::clone(gateway),
            viewers: word.viewers,
            age_ms: now_ms - word.from_ms,
        };
        Reported { lapsed, gateways: words.iter().map(carried).collect() }
    }
}

impl Fleet for MemoryBroker {
    fn report(&self, report: Report) -> BoxFuture<'_, Result<Reported, CallError>> {
        async move { Ok(self.0.fleet.report(self.0.clock.now_ms(), report)) }.boxed()
    }

    fn leave(&self, gateway: Arc<str>) -> BoxFuture<'_, Result<(), CallError>> {
        async move {
            self.0.fleet.0.lock().remove(&gateway);
            Ok(())
        }
        .boxed()
    }
}
