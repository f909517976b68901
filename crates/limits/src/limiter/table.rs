//! The keys that a limiter keeps: a bounded number, idle ones evicted when there is no place.

use std::collections::HashMap;
use std::hash::BuildHasher as _;
use std::sync::{Arc, OnceLock};
use std::time::Duration;

use foldhash::fast::RandomState;
use parking_lot::Mutex;
use tidings_broker::quota::Rate;
use tokio::sync::Notify;

use super::{LimitKey, Slot};
use crate::lease::{Lease, micros};
use crate::{Kind, Metrics};

/// Shards, each behind a lock of its own.
const SHARDS: usize = 16;

/// A key that was not checked for so long may be evicted.
const IDLE: Duration = Duration::from_mins(1);

/// How often a full shard is looked through for idle keys.
const EVICT_GAP: Duration = Duration::from_secs(1);

/// The id of the bucket that keys without a place share.
const OVERFLOW: &str = " ";

/// All keys.
pub(super) struct Table {
    hasher: RandomState,
    shards: Vec<Mutex<Shard>>,
    shard_keys_max: usize,
    overflow: [OnceLock<Arc<Slot>>; Kind::COUNT],
}

#[derive(Default)]
struct Shard {
    by_kind: [HashMap<Box<str>, Arc<Slot>, RandomState>; Kind::COUNT],
    keys: usize,
    evict_at_us: u64,
}

impl Table {
    /// A table with places for so many keys, rounded up to a whole number in each shard.
    pub(super) fn new(keys_max: usize) -> Table {
        Table {
            hasher: RandomState::default(),
            shards: (0..SHARDS).map(|_| Mutex::default()).collect(),
            shard_keys_max: keys_max.div_ceil(SHARDS),
            overflow: [const { OnceLock::new() }; Kind::COUNT],
        }
    }

    /// The place of a key, with this rate from now on; none: there is none left.
    pub(super) fn slot(&self, key: &LimitKey<'_>, rate: Rate, now_us: u64, metrics: &Metrics) -> Option<Arc<Slot>> {
        // The hash of a map would do for its shard as well, but a map does not tell it.
        let hash = self.hasher.hash_one((key.kind, key.id)).to_le_bytes();
        let mut shard = self.shards[usize::from(hash[0]) % SHARDS].lock();
        if let Some(slot) = shard.by_kind[key.kind.index()].get(key.id) {
            slot.lease.lock().set_rate(rate);
            return Some(Arc::clone(slot));
        }
        if shard.keys >= self.shard_keys_max {
            let evicted = shard.evict(now_us);
            metrics.keys.sub(i64::try_from(evicted).unwrap_or(i64::MAX));
            if shard.keys >= self.shard_keys_max {
                return None;
            }
        }
        let slot = Arc::new(Slot::new(key.kind, key.id, rate, now_us));
        shard.by_kind[key.kind.index()].insert(key.id.into(), Arc::clone(&slot));
        shard.keys += 1;
        metrics.keys.inc();
        Some(slot)
    }

    /// The place of those for whom there is none.
    pub(super) fn overflow(&self, kind: Kind, rate: Rate, now_us: u64) -> Arc<Slot> {
        Arc::clone(self.overflow[kind.index()].get_or_init(|| Arc::new(Slot::new(kind, OVERFLOW, rate, now_us))))
    }
}

impl Shard {
    /// Forgets idle keys that nobody has a meter of; how many.
    fn evict(&mut self, now_us: u64) -> usize {
        if now_us < self.evict_at_us {
            return 0;
        }
        self.evict_at_us = now_us + micros(EVICT_GAP);
        let before = self.keys;
        for keys in &mut self.by_kind {
            keys.retain(|_, slot| Arc::strong_count(slot) > 1 || !slot.lease.lock().is_idle(now_us, IDLE));
        }
        self.keys = self.by_kind.iter().map(HashMap::len).sum();
        before - self.keys
    }
}

impl Slot {
    fn new(kind: Kind, id: &str, rate: Rate, now_us: u64) -> Slot {
        let bucket = format!("{}:{id}", kind.as_str());
        Slot { kind, bucket, lease: Mutex::new(Lease::new(rate, now_us)), answered: Notify::new() }
    }
}
