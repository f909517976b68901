//! How far Redis is away: round trips, and its clock against ours. Both by `TIME`, which services may call anyway.

use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use super::finding::{Finding, Page};
use super::store::{Node, Trouble};

/// Round trips that are measured.
const ROUNDS: usize = 21;

/// Above this, everything waits for the way to Redis.
const ROUND_TRIP_USUAL: Duration = Duration::from_millis(20);

/// A clock that differs by more may be wrong.
const OFFSET_USUAL_MS: u128 = 1_000;

/// One round trip.
#[derive(Debug, Clone, Copy)]
struct Round {
    round_trip: Duration,
    /// How far Redis' clock is before ours (below zero: behind), in microseconds.
    offset_us: i128,
}

/// Both checks.
pub(super) async fn checks(node: &Node) -> Result<[Finding; 2], Trouble> {
    let mut rounds = Vec::with_capacity(ROUNDS);
    for _ in 0..ROUNDS {
        let asked_at = SystemTime::now();
        let begun = Instant::now();
        let (seconds, micros): (u64, u64) = node.ask(&["TIME"]).await?;
        let round_trip = begun.elapsed();
        // It looked at its clock about half way through.
        let ours_us = asked_at.duration_since(UNIX_EPOCH).unwrap_or_default().as_micros() + round_trip.as_micros() / 2;
        let theirs_us = u128::from(seconds) * 1_000_000 + u128::from(micros);
        rounds.push(Round { round_trip, offset_us: theirs_us.cast_signed() - ours_us.cast_signed() });
    }
    Ok(judge(rounds))
}

fn judge(mut rounds: Vec<Round>) -> [Finding; 2] {
    rounds.sort_by_key(|round| round.round_trip);
    let median = rounds[rounds.len() / 2].round_trip;
    // The fastest answer says most of the clock.
    let offset_ms = rounds[0].offset_us / 1_000;
    [latency(median), offset(offset_ms)]
}

fn latency(median: Duration) -> Finding {
    const CHECK: &str = "round trip";
    let found = format!("{:.2} ms, median of {ROUNDS}", median.as_secs_f64() * 1_000.0);
    if median <= ROUND_TRIP_USUAL {
        return Finding::ok(CHECK, found);
    }
    let advice = "run services near Redis, or look at what keeps it busy (SLOWLOG): each append waits for a round trip";
    Finding::warn(CHECK, found, advice, Page::REDIS)
}

fn offset(offset_ms: i128) -> Finding {
    const CHECK: &str = "clock";
    let apart = offset_ms.unsigned_abs();
    if apart <= OFFSET_USUAL_MS {
        return Finding::ok(CHECK, format!("as here, within {} ms", apart.max(1)));
    }
    let side = if offset_ms > 0 { "before" } else { "behind" };
    let found = format!(
        "{:.1} s {side} the one here",
        Duration::from_millis(u64::try_from(apart).unwrap_or(u64::MAX)).as_secs_f64()
    );
    let advice = "run a time service on all machines: positions carry Redis' time, tokens expire by the services'";
    Finding::warn(CHECK, found, advice, Page::REDIS)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::doctor::finding::Verdict;

    #[test]
    fn the_median_and_the_fastest_round_count() {
        let round = |ms, offset_ms: i128| Round { round_trip: Duration::from_millis(ms), offset_us: offset_ms * 1_000 };
        let check = |rounds: Vec<Round>, verdicts: [Verdict; 2], clock: &str| {
            let found = judge(rounds);
            assert_eq!(found.each_ref().map(|one| one.verdict), verdicts, "{found:#?}");
            assert!(found[1].found.contains(clock), "{found:#?}");
        };
        check(vec![round(900, 450), round(1, 3), round(2, 9_000)], [Verdict::Ok, Verdict::Ok], "within 3 ms");
        check(vec![round(30, -2_500), round(31, 0), round(32, 0)], [Verdict::Warn, Verdict::Warn], "2.5 s behind");
        check(vec![round(1, 90_000)], [Verdict::Ok, Verdict::Warn], "90.0 s before");
    }
}
