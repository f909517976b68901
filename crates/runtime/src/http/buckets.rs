//! How often somebody may do something: a bucket for each of many, in this process, in a bounded table.

use std::collections::HashMap;
use std::hash::Hash;
use std::time::Duration;

use parking_lot::Mutex;
use tidings_limits::Rate;
use tokio::time::Instant;

/// Who are counted apart, at most. When all of them drew lately, others share one bucket.
const KEYS_MAX: usize = 16 * 1024;

/// How many times the rate of one the shared bucket has.
const SHARED_RATES: u64 = 64;

/// Least time between two looks through all of them for those that can be forgotten.
const SWEEP_EVERY: Duration = Duration::from_secs(1);

/// The buckets.
#[derive(Debug)]
pub(super) struct Buckets<K> {
    /// From one draw to the next at the exact rate, in microseconds.
    step_us: u64,
    burst: u64,
    since: Instant,
    table: Mutex<Table<K>>,
}

/// Each bucket is the time at which all that was drawn would have come at the exact rate.
#[derive(Debug)]
struct Table<K> {
    drawn_until_us: HashMap<K, u64>,
    shared_us: u64,
    swept_at_us: u64,
}

impl<K: Hash + Eq + Clone> Buckets<K> {
    /// Full ones, of this rate each.
    pub(super) fn new(rate: Rate) -> Buckets<K> {
        let step_us = micros(rate.interval()).max(1);
        let table = Table { drawn_until_us: HashMap::new(), shared_us: 0, swept_at_us: 0 };
        Buckets { step_us, burst: rate.burst().max(1), since: Instant::now(), table: Mutex::new(table) }
    }

    /// Draws one. False: there is none left.
    #[must_use]
    pub(super) fn draw(&self, key: &K) -> bool {
        let now_us = micros(self.since.elapsed());
        let mut table = self.table.lock();
        let (bucket, step_us) = if table.has_place(key, now_us) {
            (table.drawn_until_us.entry(key.clone()).or_default(), self.step_us)
        } else {
            (&mut table.shared_us, self.step_us.div_ceil(SHARED_RATES))
        };
        let drawn_us = (*bucket).max(now_us) + step_us;
        let is_left = drawn_us <= now_us + self.burst * step_us;
        if is_left {
            *bucket = drawn_us;
        }
        is_left
    }

    /// Whether there is one left, as far as can be told without drawing it.
    pub(super) fn has(&self, key: &K) -> bool {
        let now_us = micros(self.since.elapsed());
        let table = self.table.lock();
        let (bucket, step_us) = match table.drawn_until_us.get(key) {
            Some(bucket) => (*bucket, self.step_us),
            None if table.drawn_until_us.len() < KEYS_MAX => return true,
            None => (table.shared_us, self.step_us.div_ceil(SHARED_RATES)),
        };
        bucket.max(now_us) + step_us <= now_us + self.burst * step_us
    }

    /// Gives back what was drawn.
    pub(super) fn give_back(&self, key: &K) {
        let mut table = self.table.lock();
        match table.drawn_until_us.get_mut(key) {
            Some(bucket) => *bucket = bucket.saturating_sub(self.step_us),
            None => table.shared_us = table.shared_us.saturating_sub(self.step_us.div_ceil(SHARED_RATES)),
        }
    }
}

impl<K: Hash + Eq> Table<K> {
    fn has_place(&mut self, key: &K, now_us: u64) -> bool {
        if self.drawn_until_us.len() < KEYS_MAX || self.drawn_until_us.contains_key(key) {
            return true;
        }
        if now_us.saturating_sub(self.swept_at_us) < micros(SWEEP_EVERY) {
            return false;
        }
        self.swept_at_us = now_us;
        // A full bucket is like none.
        self.drawn_until_us.retain(|_, drawn_us| *drawn_us > now_us);
        self.drawn_until_us.len() < KEYS_MAX
    }
}

fn micros(time: Duration) -> u64 {
    u64::try_from(time.as_micros()).unwrap_or(u64::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn buckets() -> Buckets<u32> {
        Buckets::new(Rate::per_second(10, 5))
    }

    fn drawn(buckets: &Buckets<u32>, key: u32) -> usize {
        (0..1_000).filter(|_| buckets.draw(&key)).count()
    }

    #[tokio::test(start_paused = true)]
    async fn each_has_a_burst_and_then_its_rate() {
        let buckets = buckets();
        assert_eq!((drawn(&buckets, 1), drawn(&buckets, 2)), (5, 5));
        tokio::time::advance(Duration::from_millis(300)).await;
        assert!(buckets.has(&1) && buckets.has(&1), "to look draws nothing");
        assert_eq!(drawn(&buckets, 1), 3);
        assert!(!buckets.has(&1) && buckets.has(&2) && buckets.has(&3));
        buckets.give_back(&1);
        buckets.give_back(&1);
        assert_eq!(drawn(&buckets, 1), 2);
        tokio::time::advance(Duration::from_mins(1)).await;
        buckets.give_back(&1);
        assert_eq!(drawn(&buckets, 1), 5, "no more than the burst");
    }

    #[tokio::test(start_paused = true)]
    async fn there_are_no_more_buckets_than_may_be() {
        let buckets = buckets();
        let most = u32::try_from(KEYS_MAX).expect("it is small");
        tokio::time::advance(SWEEP_EVERY).await;
        assert!((0..most).all(|key| buckets.draw(&key)));
        // All others share one, which is generous and ends all the same.
        let others = (most..2 * most).filter(|key| buckets.draw(key)).count();
        assert_eq!(others, 5);
        assert!(buckets.draw(&0), "who has one keeps it");
        tokio::time::advance(Duration::from_millis(100)).await;
        assert_eq!((most..2 * most).filter(|key| buckets.draw(key)).count(), 5);
        tokio::time::advance(SWEEP_EVERY).await;
        assert!((most..2 * most).all(|key| buckets.draw(&key)), "those of before are forgotten");
        assert!(buckets.table.lock().drawn_until_us.len() <= KEYS_MAX);
    }
}
