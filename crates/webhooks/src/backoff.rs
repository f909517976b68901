//! When a delivery that failed is tried again: exponential, with full jitter, so that receivers that come back are not met by
//! everybody at once. Pure: randomness is passed in.

use std::time::Duration;

/// The longest time before the first retry; it doubles with every failure.
pub const FIRST: Duration = Duration::from_secs(1);

/// The longest time between two tries, whatever the receiver wishes.
pub const LONGEST: Duration = Duration::from_mins(5);

/// The shortest time between two tries.
pub const SHORTEST: Duration = Duration::from_millis(100);

/// How long to wait after so many failures in a row (from 1), with `random` drawn evenly from 0 to 1. What the receiver wished
/// (`Retry-After`) is the least, but never beyond [`LONGEST`].
///
/// ```
/// use std::time::Duration;
/// use tidings_webhooks::backoff::delay;
///
/// assert_eq!(delay(3, None, 1.0), Duration::from_secs(4));
/// assert_eq!(delay(3, Some(Duration::from_secs(30)), 0.5), Duration::from_secs(30));
/// ```
pub fn delay(failures: u32, retry_after: Option<Duration>, random: f64) -> Duration {
    let doubled = 2_u32.checked_pow(failures.saturating_sub(1)).unwrap_or(u32::MAX);
    let longest = FIRST.saturating_mul(doubled).min(LONGEST);
    let random = if random.is_nan() { 0.0 } else { random.clamp(0.0, 1.0) };
    let drawn = longest.mul_f64(random);
    drawn.max(retry_after.unwrap_or_default()).clamp(SHORTEST, LONGEST)
}

/// The same with a number drawn here.
pub fn drawn(failures: u32, retry_after: Option<Duration>) -> Duration {
    delay(failures, retry_after, rand::random())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn it_doubles_up_to_the_longest() {
        let longest: Vec<u64> = (0..12).map(|failures| delay(failures, None, 1.0).as_secs()).collect();
        assert_eq!(longest, [1, 1, 2, 4, 8, 16, 32, 64, 128, 256, 300, 300]);
        assert_eq!(delay(u32::MAX, None, 1.0), LONGEST);
    }

    #[test]
    fn jitter_is_full_but_never_nothing() {
        assert_eq!(delay(5, None, 0.25), Duration::from_secs(4));
        assert_eq!(delay(5, None, 0.0), SHORTEST);
        assert_eq!((delay(5, None, f64::NAN), delay(5, None, 7.0)), (SHORTEST, Duration::from_secs(16)));
    }

    #[test]
    fn a_wish_is_honoured_within_bounds() {
        assert_eq!(delay(1, Some(Duration::from_secs(90)), 0.5), Duration::from_secs(90));
        assert_eq!(delay(9, Some(Duration::from_secs(1)), 1.0), Duration::from_secs(256));
        assert_eq!(delay(1, Some(Duration::MAX), 0.5), LONGEST);
        assert_eq!(delay(1, Some(Duration::ZERO), 0.0), SHORTEST);
    }

    #[test]
    fn what_is_drawn_is_within_bounds() {
        for failures in 0..20 {
            let drawn = drawn(failures, None);
            assert!(drawn >= SHORTEST && drawn <= delay(failures, None, 1.0), "{drawn:?}");
        }
    }
}
