//! How fast a listener accepts. Whoever comes too fast is told when to come back, each at another time.
//!
//! After a gateway died, ten thousand clients come at once. They are let in at the rate; the others are promised places
//! behind each other, so that they come back at the rate too, and not all together after the same delay; with
//! some jitter, since other listeners promise the same places.

use std::time::Duration;

use parking_lot::Mutex;
use rand::RngExt as _;
use tidings_broker::quota::Rate;
use tidings_broker::quota::bucket::Bucket;
use tokio::time::Instant;

use crate::lease::micros;
use crate::metrics::Metrics;
use crate::{Decision, Settings};

/// The jitter on top of a delay is up to one part in so many of it.
const JITTER_PART: u64 = 4;

/// The rate of one listener.
#[derive(Debug)]
pub struct AcceptLimit {
    rate: Rate,
    delay_max_us: u64,
    since: Instant,
    places: Mutex<Places>,
    metrics: Metrics,
}

#[derive(Debug, Default)]
struct Places {
    admitted: Bucket,
    /// Up to when places were promised to who was turned away.
    promised_us: u64,
}

impl AcceptLimit {
    /// A listener that nobody came to yet.
    pub fn new(settings: &Settings, metrics: Metrics) -> AcceptLimit {
        AcceptLimit {
            rate: settings.accepts,
            delay_max_us: micros(settings.accept_delay_max).max(1),
            since: Instant::now(),
            places: Mutex::default(),
            metrics,
        }
    }

    /// One more connection. Refused: the delay to tell the client grows with how many were turned away before it, up to the
    /// longest, and is spread.
    pub fn admit(&self) -> Decision {
        let decision = self.admit_at(micros(self.since.elapsed()), &mut rand::rng());
        if !decision.is_allowed() {
            self.metrics.accepts_refused.inc();
        }
        decision
    }

    fn admit_at(&self, now_us: u64, random: &mut impl rand::Rng) -> Decision {
        let mut places = self.places.lock();
        let taken = places.admitted.take(now_us, &self.rate, 1, 1);
        if taken.granted > 0 {
            return Decision::Allowed;
        }
        let next_us = places.promised_us.max(now_us + micros(taken.retry_after));
        let delay_us = next_us - now_us;
        let delay_us = if delay_us > self.delay_max_us {
            // Nothing more is promised: they come back somewhere in the last half of the time.
            random.random_range(self.delay_max_us / 2..=self.delay_max_us)
        } else {
            places.promised_us = next_us + micros(self.rate.interval());
            (delay_us + random.random_range(0..=delay_us / JITTER_PART)).min(self.delay_max_us)
        };
        Decision::Refused { retry_after: Duration::from_micros(delay_us) }
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use rand::SeedableRng as _;
    use rand::rngs::StdRng;

    use super::*;

    const STORM: u64 = 10_000;

    fn limit(delay_max_s: u64) -> AcceptLimit {
        let accepts = Rate::per_second(500, 500);
        let settings = Settings { accepts, accept_delay_max: Duration::from_secs(delay_max_s), ..Settings::default() };
        AcceptLimit::new(&settings, Metrics::default())
    }

    /// When each of a storm gets in, by second; they come back as told.
    fn storm(limit: &AcceptLimit) -> BTreeMap<u64, u64> {
        let mut random = StdRng::seed_from_u64(7);
        let mut coming: BTreeMap<u64, u64> = BTreeMap::new();
        (0..STORM).for_each(|client| *coming.entry(client * 100).or_default() += 1);
        let mut admitted: BTreeMap<u64, u64> = BTreeMap::new();
        let mut tries = 0;
        while let Some((now_us, clients)) = coming.pop_first() {
            for _ in 0..clients {
                tries += 1;
                match limit.admit_at(now_us, &mut random) {
                    Decision::Allowed => *admitted.entry(now_us / 1_000_000).or_default() += 1,
                    Decision::Refused { retry_after } => {
                        *coming.entry(now_us + micros(retry_after)).or_default() += 1;
                    }
                }
            }
        }
        assert!(tries < 6 * STORM, "{tries} tries");
        admitted
    }

    #[test]
    fn a_storm_comes_in_at_the_rate() {
        let admitted = storm(&limit(30));
        assert_eq!(admitted.values().sum::<u64>(), STORM);
        assert!(admitted.values().all(|in_a_second| *in_a_second <= 1_001), "{admitted:?}");
        // 10,000 at 500 a second, 500 of them at once, take 19 s.
        let last = admitted.last_key_value().expect("admitted").0;
        assert!((18..=27).contains(last), "{last} s");
    }

    #[test]
    fn each_is_told_another_time() {
        let limit = limit(30);
        let mut random = StdRng::seed_from_u64(7);
        assert!((0..500).all(|_| limit.admit_at(0, &mut random).is_allowed()));
        let mut later = 0;
        for place in 1..=1_000 {
            let Decision::Refused { retry_after } = limit.admit_at(0, &mut random) else { panic!("over the rate") };
            let place_us = place * 2_000;
            assert!((place_us..=place_us * 5 / 4).contains(&micros(retry_after)), "{place}: {retry_after:?}");
            later += u64::from(micros(retry_after) > place_us);
        }
        assert!(later > 950, "{later}: other listeners promise the same places");
    }

    #[test]
    fn delays_have_an_upper_bound() {
        let limit = limit(2);
        let mut random = StdRng::seed_from_u64(7);
        let delays: Vec<u64> = (0..STORM)
            .filter_map(|_| match limit.admit_at(0, &mut random) {
                Decision::Allowed => None,
                Decision::Refused { retry_after } => Some(micros(retry_after)),
            })
            .collect();
        assert_eq!(delays.len() as u64, STORM - 500);
        assert!(delays.iter().all(|delay| (1..=2_000_000).contains(delay)));
        let early = delays[2_000..].iter().filter(|delay| **delay < 1_500_000).count();
        assert!((3_000..4_500).contains(&early), "{early}: spread over the last half");
        assert!(delays[0] <= 2_500, "the first one's place is the next one: {}", delays[0]);
    }
}
