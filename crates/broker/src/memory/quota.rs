//! Shared limits in memory.

use std::collections::HashMap;

use futures_util::future::{BoxFuture, FutureExt as _};
use parking_lot::Mutex;

use super::MemoryBroker;
use crate::CallError;
use crate::quota::bucket::Bucket;
use crate::quota::holds::Holds;
use crate::quota::{HOLDS_MAX, Held, HoldCall, Quotas, Take, Taken};

/// Buckets below which full ones are not looked for.
const BUCKETS_MIN: usize = 1_024;

/// Buckets and holds.
#[derive(Debug, Default)]
pub(super) struct QuotaBooks {
    buckets: Mutex<Buckets>,
    shards: Mutex<HashMap<u16, Holds>>,
}

#[derive(Debug, Default)]
struct Buckets {
    by_name: HashMap<String, Bucket>,
    /// At so many, full ones are dropped.
    look_at: usize,
}

impl Buckets {
    fn take(&mut self, now_us: u64, take: Take) -> Taken {
        if self.by_name.len() >= self.look_at.max(BUCKETS_MIN) {
            // A full bucket is as one that is not there. The bound doubles, so that looking costs little per take.
            self.by_name.retain(|_, bucket| !bucket.is_full(now_us));
            self.look_at = self.by_name.len() * 2;
        }
        self.by_name.entry(take.bucket).or_default().take(now_us, &take.rate, take.wanted, take.least)
    }
}

impl QuotaBooks {
    /// As a restart leaves it.
    pub(super) fn clear(&self) {
        *self.buckets.lock() = Buckets::default();
        self.shards.lock().clear();
    }
}

impl Quotas for MemoryBroker {
    fn take(&self, takes: Vec<Take>) -> BoxFuture<'_, Vec<Result<Taken, CallError>>> {
        async move {
            let now_us = self.0.clock.now_ms().saturating_mul(1_000);
            let mut buckets = self.0.quotas.buckets.lock();
            takes.into_iter().map(|take| Ok(buckets.take(now_us, take))).collect()
        }
        .boxed()
    }

    fn hold(&self, shard: u16, call: HoldCall) -> BoxFuture<'_, Result<Held, CallError>> {
        assert!(call.holds.len() <= HOLDS_MAX, "a call names at most {HOLDS_MAX} names");
        async move { Ok(self.0.quotas.shards.lock().entry(shard).or_default().call(self.0.clock.now_ms(), &call)) }
            .boxed()
    }
}

#[cfg(test)]
impl MemoryBroker {
    /// What is held by name in one shard.
    pub(crate) fn held(&self, shard: u16) -> std::collections::BTreeMap<String, u64> {
        self.0.quotas.shards.lock().entry(shard).or_default().books(self.0.clock.now_ms())
    }

    /// How many buckets there are.
    pub(crate) fn buckets(&self) -> usize {
        self.0.quotas.buckets.lock().by_name.len()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::clock::ManualClock;
    use crate::quota::Rate;

    #[tokio::test]
    async fn full_buckets_are_forgotten() {
        let clock = ManualClock::at(1_000_000);
        let broker = MemoryBroker::with_clock(clock.clone());
        let take =
            |bucket: usize| Take { bucket: bucket.to_string(), rate: Rate::per_second(1, 1), wanted: 1, least: 1 };
        for bucket in 0..10 * BUCKETS_MIN {
            clock.set(clock.now_ms() + 2);
            assert_eq!(broker.take(vec![take(bucket)]).await[0].as_ref().map(|taken| taken.granted), Ok(1));
        }
        assert!(broker.buckets() < 2 * BUCKETS_MIN, "{} buckets", broker.buckets());
        assert!(broker.take(vec![take(10 * BUCKETS_MIN - 1)]).await[0].as_ref().is_ok_and(|taken| taken.granted == 0));
    }
}
