//! When to try again: later each time, and not all clients at once.

use std::time::Duration;

/// The longest pause.
const PAUSE_MAX: Duration = Duration::from_secs(15);

/// The pauses between attempts: they double, with jitter over their upper half.
#[derive(Debug, Clone)]
pub(crate) struct Backoff {
    first: Duration,
    attempts: u32,
}

impl Backoff {
    /// Starts with a pause of about `first`.
    pub(crate) fn new(first: Duration) -> Backoff {
        Backoff { first, attempts: 0 }
    }

    /// The server says what the first pause should be.
    pub(crate) fn hint(&mut self, first: Duration) {
        self.first = first.min(PAUSE_MAX);
    }

    /// It worked: the next pause is the first one again.
    pub(crate) fn reset(&mut self) {
        self.attempts = 0;
    }

    /// The next pause. `luck` is from 0 to 1 and drawn by the caller.
    pub(crate) fn next(&mut self, luck: f64) -> Duration {
        let whole = self.first.saturating_mul(1 << self.attempts.min(10)).min(PAUSE_MAX);
        self.attempts = self.attempts.saturating_add(1);
        whole.mul_f64(0.5 + luck.clamp(0.0, 1.0) / 2.0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pauses_double_up_to_the_longest_and_start_again_after_a_success() {
        let mut backoff = Backoff::new(Duration::from_millis(400));
        let pauses: Vec<u128> = (0..8).map(|_| backoff.next(1.0).as_millis()).collect();
        assert_eq!(pauses, [400, 800, 1_600, 3_200, 6_400, 12_800, 15_000, 15_000]);
        backoff.reset();
        assert_eq!(backoff.next(0.0).as_millis(), 200, "jitter takes up to half of it");
        backoff.reset();
        backoff.hint(Duration::from_secs(1));
        assert_eq!(backoff.next(1.0).as_millis(), 1_000);
    }
}
