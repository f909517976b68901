//! A limit of one thing that one task owns: the messages of a connection. No store, no lock.

use tidings_broker::quota::Rate;
use tidings_broker::quota::bucket::Bucket;
use tokio::time::Instant;

use crate::Decision;
use crate::lease::micros;

/// A rate that is let through here.
#[derive(Debug)]
pub struct LocalLimit {
    rate: Rate,
    bucket: Bucket,
    since: Instant,
}

impl LocalLimit {
    /// A limit that nothing was counted of.
    pub fn new(rate: Rate) -> LocalLimit {
        LocalLimit { rate, bucket: Bucket::default(), since: Instant::now() }
    }

    /// Checks a cost and counts it if it is allowed. 0 is always allowed; more than the burst is when nothing was counted
    /// for long enough, and is counted in full.
    pub fn check(&mut self, cost: u64) -> Decision {
        if cost == 0 {
            return Decision::Allowed;
        }
        let taken = self.bucket.take(micros(self.since.elapsed()), &self.rate, cost, cost);
        if taken.granted > 0 { Decision::Allowed } else { Decision::Refused { retry_after: taken.retry_after } }
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    #[tokio::test(start_paused = true)]
    async fn a_flood_is_cut_to_the_rate() {
        let mut limit = LocalLimit::new(Rate::per_second(10, 5));
        assert_eq!((0..100).filter(|_| limit.check(1).is_allowed()).count(), 5);
        assert_eq!(limit.check(1), Decision::Refused { retry_after: Duration::from_millis(100) });
        assert_eq!(limit.check(0), Decision::Allowed);
        tokio::time::advance(Duration::from_millis(300)).await;
        assert_eq!((0..100).filter(|_| limit.check(1).is_allowed()).count(), 3);
    }
}
