//! One shard of holds: who holds how many of which name, and whose lease runs. `lua/hold.lua` is the same in Lua.
//!
//! What a holder without a running lease held counts nothing, and is forgotten. A lease runs from when it was renewed: at a
//! time before that it does not, so that a clock that went back keeps no dead holder alive.

use std::collections::HashMap;
use std::sync::Arc;

use super::{Held, HoldCall};

/// One shard.
#[derive(Debug, Default)]
pub(crate) struct Holds {
    leases: HashMap<Arc<str>, Lease>,
    names: HashMap<String, Vec<(Arc<str>, u32)>>,
}

#[derive(Debug)]
struct Lease {
    from_ms: u64,
    until_ms: u64,
}

impl Holds {
    /// One call, at the time `now_ms`.
    pub(crate) fn call(&mut self, now_ms: u64, call: &HoldCall) -> Held {
        self.forget_the_dead(now_ms);
        let lease = Lease { from_ms: now_ms, until_ms: now_ms.saturating_add(call.ttl_ms.max(1)) };
        let lapsed = self.leases.insert(Arc::clone(&call.holder), lease).is_none();
        let mut granted = Vec::with_capacity(call.holds.len());
        for hold in &call.holds {
            let shares = self.names.entry(hold.name.clone()).or_default();
            shares.retain(|(holder, _)| *holder != call.holder);
            let others: u64 = shares.iter().map(|(_, count)| u64::from(*count)).sum();
            let room = u64::from(hold.max).saturating_sub(others).saturating_sub(hold.kept.into());
            let more = hold.wanted.min(u32::try_from(room).unwrap_or(u32::MAX));
            let share = hold.kept.saturating_add(more);
            if share > 0 {
                shares.push((Arc::clone(&call.holder), share));
            } else if shares.is_empty() {
                self.names.remove(&hold.name);
            }
            granted.push(more);
        }
        Held { lapsed, granted }
    }

    /// What others would count: for each name the sum of its live shares.
    #[cfg(test)]
    pub(crate) fn books(&mut self, now_ms: u64) -> std::collections::BTreeMap<String, u64> {
        self.forget_the_dead(now_ms);
        let sum = |shares: &Vec<(Arc<str>, u32)>| shares.iter().map(|(_, count)| u64::from(*count)).sum();
        self.names.iter().map(|(name, shares)| (name.clone(), sum(shares))).collect()
    }

    /// All at once: a shard in memory is small. The script only skips them, and sweeps a few with each call.
    fn forget_the_dead(&mut self, now_ms: u64) {
        let before = self.leases.len();
        self.leases.retain(|_, lease| (lease.from_ms..lease.until_ms).contains(&now_ms));
        if self.leases.len() < before {
            let leases = &self.leases;
            self.names.retain(|_, shares| {
                shares.retain(|(holder, _)| leases.contains_key(holder));
                !shares.is_empty()
            });
        }
    }
}
