//! The pace of a drain: when each viewer comes back elsewhere, and when it is told to.
//!
//! The viewers of a gateway that goes have slots, evenly spaced, at which they open their next connection. Until shortly
//! before its slot a viewer is served as ever, so it is away for a moment only, and whoever does not wait as it is told
//! comes no faster than the others. Slots that lie behind the time that is left are told at its end, as a time to stay away.
//! Those whose protocol has no word for that time come first: they come back as soon as they are told, so all of them are told
//! at their slots, closer together where the rate would take longer than there is. Pure: the connections' registry tells, and
//! waits.

use std::time::Duration;

/// How long before its slot a viewer is told: enough to close, little enough not to miss anything on a screen.
const AHEAD: Duration = Duration::from_millis(250);

/// A gateway that is behind its plan by more puts off all that follows: it would let viewers come in a bunch to catch up.
const BEHIND_MAX: Duration = AHEAD;

/// Percent of the rate that is planned with: what networks and busy clients hold up comes in bunches.
const PLANNED_PERCENT: u64 = 50;

/// What a drain has.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Pace {
    /// Viewers that may come back elsewhere in a second.
    pub per_second_max: u64,
    /// The time in which all must have been told.
    pub telling_max: Duration,
    /// How long a viewer may be told to stay away. Where the rate would take longer, it is exceeded.
    pub away_max: Duration,
}

/// The slots of so many viewers.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Plan {
    viewers: usize,
    /// From the first slot to the end of the last.
    span: Duration,
    /// The first so many come back as soon as they are told.
    wordless: usize,
    /// From the first slot to the end of theirs.
    wordless_span: Duration,
    /// The rate is exceeded.
    pub is_hasty: bool,
    telling_max: Duration,
    put_off: Duration,
}

impl Pace {
    /// The plan for so many viewers, of whom the first `wordless` cannot be told when to come back.
    pub(crate) fn plan(&self, wordless: usize, viewers: usize) -> Plan {
        let in_order = |count: usize| span(count, self.per_second_max);
        let most = (self.telling_max + self.away_max).saturating_sub(AHEAD);
        let planned = |count: usize| span(count, self.per_second_max.saturating_mul(PLANNED_PERCENT) / 100);
        let wordless_span = planned(wordless).min(self.telling_max);
        Plan {
            viewers,
            span: planned(viewers).min(most).max(wordless_span),
            wordless,
            wordless_span,
            is_hasty: in_order(viewers) > most || in_order(wordless) > self.telling_max,
            telling_max: self.telling_max,
            put_off: Duration::ZERO,
        }
    }
}

/// How long so many take at this rate.
fn span(viewers: usize, per_second: u64) -> Duration {
    let ms = (viewers as u64).saturating_mul(1_000) / per_second.max(1);
    Duration::from_millis(ms)
}

impl Plan {
    /// From the first viewer's return to the last one's.
    pub(crate) fn span(&self) -> Duration {
        self.span
    }

    /// When a viewer is told, from the beginning of the drain on. Later viewers are not told earlier.
    pub(crate) fn told_at(&self, viewer: usize) -> Duration {
        self.turn(viewer).min(self.telling_max)
    }

    /// A viewer is told now: was it to be told much earlier, the plan is put off by as much.
    pub(crate) fn is_told(&mut self, viewer: usize, now: Duration) {
        let behind = now.saturating_sub(self.told_at(viewer));
        if behind > BEHIND_MAX {
            self.put_off += behind;
        }
    }

    /// How long a viewer that is told now is to stay away, in milliseconds.
    pub(crate) fn retry_after_ms(&self, viewer: usize, now: Duration) -> u64 {
        u64::try_from(self.slot(viewer).saturating_sub(now).as_millis()).unwrap_or(u64::MAX)
    }

    /// When a viewer comes back.
    fn slot(&self, viewer: usize) -> Duration {
        self.turn(viewer) + AHEAD
    }

    /// When it is told, if there is so much time.
    fn turn(&self, viewer: usize) -> Duration {
        let (begin, span, index, count) = match viewer.checked_sub(self.wordless) {
            None => (Duration::ZERO, self.wordless_span, viewer, self.wordless),
            Some(index) => {
                (self.wordless_span, self.span.saturating_sub(self.wordless_span), index, self.viewers - self.wordless)
            }
        };
        let share = |count: usize| u32::try_from(count).unwrap_or(u32::MAX);
        self.put_off + begin + span * share(index) / share(count).max(1)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const SECOND: Duration = Duration::from_secs(1);

    fn pace(per_second_max: u64) -> Pace {
        Pace { per_second_max, telling_max: 40 * SECOND, away_max: 30 * SECOND }
    }

    /// The most slots in any second.
    fn peak(plan: &Plan) -> usize {
        let slots: Vec<Duration> = (0..plan.viewers).map(|viewer| plan.slot(viewer)).collect();
        let within = |from: usize| slots[from..].iter().take_while(|slot| **slot < slots[from] + SECOND).count();
        (0..slots.len()).map(within).max().unwrap_or(0)
    }

    #[test]
    fn no_second_has_more_than_the_rate() {
        for viewers in [0, 1, 400, 2_000, 10_000] {
            let plan = pace(500).plan(0, viewers);
            assert!(peak(&plan) <= 251 && !plan.is_hasty, "{viewers}: {}", peak(&plan));
        }
    }

    #[test]
    fn viewers_are_served_until_shortly_before_they_go() {
        let plan = pace(500).plan(0, 10_000);
        for viewer in 0..10_000 {
            let told = plan.told_at(viewer);
            assert!((249..=250).contains(&plan.retry_after_ms(viewer, told)), "{viewer}");
        }
        assert_eq!((plan.told_at(0), plan.told_at(5_000)), (Duration::ZERO, 20 * SECOND));
    }

    #[test]
    fn a_gateway_that_stood_still_does_not_catch_up() {
        let mut plan = pace(500).plan(0, 10_000);
        plan.is_told(5_000, 20 * SECOND + AHEAD);
        assert_eq!(plan.told_at(5_250), 21 * SECOND, "a little late is no matter");
        assert_eq!(plan.retry_after_ms(5_000, 20 * SECOND + AHEAD), 0);
        plan.is_told(5_000, 22 * SECOND);
        assert_eq!((plan.told_at(5_250), plan.retry_after_ms(5_250, 23 * SECOND)), (23 * SECOND, 250));
        assert_eq!(plan.told_at(9_999), 40 * SECOND, "but in time");
        assert!((2_200..=2_250).contains(&plan.retry_after_ms(9_999, 40 * SECOND)));
    }

    #[test]
    fn what_does_not_fit_the_time_left_is_told_at_its_end_and_stays_away() {
        let plan = pace(500).plan(0, 12_500);
        assert_eq!(plan.told_at(12_499), 40 * SECOND);
        assert!((10_200..=10_250).contains(&plan.retry_after_ms(12_499, 40 * SECOND)));
        assert!(!plan.is_hasty);
    }

    #[test]
    fn nobody_is_told_to_stay_away_longer_than_may_be() {
        let plan = pace(10).plan(0, 20_000);
        assert!(plan.is_hasty);
        assert!(plan.retry_after_ms(19_999, 40 * SECOND) <= 30_000);
        // A shutdown that has no time at all.
        let now = Pace { per_second_max: 1, telling_max: Duration::ZERO, away_max: Duration::ZERO }.plan(0, 9);
        assert_eq!((now.told_at(8), now.span()), (Duration::ZERO, Duration::ZERO));
    }

    #[test]
    fn who_cannot_be_told_when_to_come_back_comes_evenly_all_the_same() {
        let plan = pace(500).plan(2_000, 12_500);
        assert!(peak(&plan) <= 251 && !plan.is_hasty, "{}", peak(&plan));
        assert!((0..2_000).all(|viewer| plan.told_at(viewer) < 8 * SECOND), "before those who can");
        // So many that their rate does not let them all come in time: evenly, as fast as must be.
        for (wordless, is_hasty) in [(16_000, false), (24_000, true)] {
            let plan = pace(500).plan(wordless, wordless + 1_000);
            assert_eq!(plan.is_hasty, is_hasty);
            let in_a_second = |from: usize| {
                let end = plan.told_at(from) + SECOND;
                (from..wordless).take_while(|viewer| plan.told_at(*viewer) < end).count()
            };
            assert!((0..wordless).all(|from| in_a_second(from) <= wordless / 40 + 1), "{wordless} come in bunches");
            assert!(plan.told_at(wordless) >= plan.told_at(wordless - 1), "then the others");
        }
    }
}
