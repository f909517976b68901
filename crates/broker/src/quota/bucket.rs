//! One bucket: GCRA (a leaky bucket kept as one time) in whole microseconds. `lua/take.lua` is the same in Lua.
//!
//! The state is the time at which all that was let through would have come at the exact rate. What lies between that time
//! and now, at most the burst, is there to be taken. Amounts are rounded so that over any stretch of time no more is
//! granted than rate x time + burst, give or take what the rate lets through in a microsecond. A take costs a whole number of
//! them, at least one: a rate above a million a second is only used up by takes of more than one unit.

use std::time::Duration;

use super::{Rate, Taken};

/// What was taken from a bucket. The default is a full one.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Bucket {
    /// When all that was granted would have come at the exact rate.
    tat_us: u64,
    /// The time of the last grant, by the same clock.
    written_us: u64,
}

impl Bucket {
    /// Takes at the time `now_us`, in microseconds of any clock. One that goes back neither forgives nor lengthens what
    /// is owed.
    pub fn take(&mut self, now_us: u64, rate: &Rate, wanted: u64, least: u64) -> Taken {
        let most = rate.most();
        let (wanted, least) = (wanted.min(most), least.clamp(1, most));
        let tat_us = self.tat_us.saturating_sub(self.written_us.saturating_sub(now_us)).max(now_us);
        let full_us = now_us + time_of(rate, rate.burst);
        let least_us = time_of(rate, least.min(rate.burst));
        if tat_us + least_us > full_us {
            return Taken { granted: 0, retry_after: Duration::from_micros(tat_us + least_us - full_us) };
        }
        let room_us = full_us - tat_us;
        let granted = wanted.min(rate.burst).min(room_us * rate.units / rate.per_us).max(least);
        *self = Bucket { tat_us: tat_us + time_of(rate, granted), written_us: now_us };
        Taken { granted, retry_after: Duration::ZERO }
    }

    /// Whether it is full again: the same as one that nobody took from.
    pub fn is_full(&self, now_us: u64) -> bool {
        self.tat_us.saturating_sub(self.written_us.saturating_sub(now_us)) <= now_us
    }
}

/// How long so many units take at the exact rate, rounded up, at least a microsecond.
fn time_of(rate: &Rate, units: u64) -> u64 {
    (units * rate.per_us).div_ceil(rate.units).max(1)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    const T0: u64 = 1_763_630_000_000_000;

    fn taken(granted: u64, retry_us: u64) -> Taken {
        Taken { granted, retry_after: Duration::from_micros(retry_us) }
    }

    #[test]
    fn a_burst_then_the_rate() {
        let (mut bucket, rate) = (Bucket::default(), Rate::per_second(100, 10));
        assert_eq!(bucket.take(T0, &rate, 4, 4), taken(4, 0));
        assert_eq!(bucket.take(T0, &rate, 100, 1), taken(6, 0), "as much of it as is there");
        assert_eq!(bucket.take(T0, &rate, 1, 1), taken(0, 10_000));
        assert_eq!(bucket.take(T0, &rate, 5, 3), taken(0, 30_000));
        assert_eq!(bucket.take(T0 + 29_999, &rate, 5, 3), taken(0, 1));
        assert_eq!(bucket.take(T0 + 30_000, &rate, 5, 3), taken(3, 0));
        assert!(!bucket.is_full(T0 + 129_999));
        assert!(bucket.is_full(T0 + 130_000));
    }

    #[test]
    fn more_than_the_burst_waits_for_a_full_bucket_and_is_charged_in_full() {
        let (mut bucket, rate) = (Bucket::default(), Rate::per_second(100, 10));
        assert_eq!(bucket.take(T0, &rate, 0, 50), taken(50, 0));
        assert_eq!(bucket.take(T0, &rate, 1, 1), taken(0, 410_000));
        assert_eq!(bucket.take(T0 + 499_999, &rate, 50, 50), taken(0, 1));
        assert_eq!(bucket.take(T0 + 500_000, &rate, 50, 50), taken(50, 0));
    }

    #[test]
    fn a_clock_that_goes_back_changes_nothing() {
        let (mut bucket, rate) = (Bucket::default(), Rate::per_second(100, 10));
        assert_eq!(bucket.take(T0, &rate, 10, 10), taken(10, 0));
        let earlier = T0 - 3_600_000_000;
        assert_eq!(bucket.take(earlier, &rate, 1, 1), taken(0, 10_000));
        assert_eq!(bucket.take(earlier + 10_000, &rate, 1, 1), taken(0, 10_000), "time starts with the next grant");
        assert!(!bucket.is_full(earlier));
    }

    proptest! {
        #[test]
        fn no_stretch_of_time_lets_more_through(
            units in 1_u64..5_000_000, per_ms in 1_u64..100_000, burst in 1_u64..100_000,
            calls in prop::collection::vec((0_u64..500_000, 1_u64..100_000, 0_u64..1_000), 1..60),
        ) {
            let rate = Rate::new(units, Duration::from_millis(per_ms), burst);
            let (mut bucket, mut now, mut granted) = (Bucket::default(), T0, Vec::new());
            for (pause_us, wanted, least) in calls {
                now += pause_us;
                let got = bucket.take(now, &rate, wanted, least.min(burst)).granted;
                prop_assert!(got <= wanted.max(least.min(burst)).max(1));
                granted.push((now, got));
            }
            for from in 0..granted.len() {
                let mut sum = 0;
                for (at, got) in &granted[from..] {
                    sum += got;
                    let time = Duration::from_micros(at - granted[from].0 + 2);
                    prop_assert!(sum <= rate.within(time) + rate.burst() + 1, "{sum} in {time:?}");
                }
            }
        }

        #[test]
        fn who_waits_as_told_is_served(
            units in 1_u64..5_000_000, burst in 1_u64..10_000, first in 1_u64..20_000, least in 1_u64..20_000,
        ) {
            let (mut bucket, rate) = (Bucket::default(), Rate::per_second(units, burst));
            bucket.take(T0, &rate, first, first);
            let told = bucket.take(T0, &rate, least, least);
            if told.granted == 0 {
                let wait = u64::try_from(told.retry_after.as_micros()).expect("short");
                prop_assert_eq!(bucket.take(T0 + wait - 1, &rate, least, least).granted, 0);
                prop_assert_eq!(bucket.take(T0 + wait, &rate, least, least).granted, least);
            }
        }
    }
}
