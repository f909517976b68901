//! What makes polling cheap: when to come back, what did not change, how much of a limit is left. Values of headers.

use tidings_protocol::position::Position;

/// The header with the seconds to wait before the next poll.
pub const POLL_INTERVAL: &str = "X-Poll-Interval";

/// Silence of a build, in milliseconds, below which the interval, in seconds, holds.
const INTERVALS: [(u64, u32); 4] = [(10_000, 1), (30_000, 2), (60_000, 5), (5 * 60_000, 15)];
/// The interval of a build that was silent for longer.
const QUIET_INTERVAL_S: u32 = 30;

/// Seconds after which polling again is worth while: 1 to 5 for a build that something was heard of within the last
/// minute, 15 after a minute of silence, 30 after five.
pub fn interval_s(last_ms: u64, now_ms: u64) -> u32 {
    let silence_ms = now_ms.saturating_sub(last_ms);
    INTERVALS.iter().find(|(below_ms, _)| silence_ms < *below_ms).map_or(QUIET_INTERVAL_S, |(_, interval)| *interval)
}

/// The validator of an answer that depends on the log up to a position, and on nothing else.
pub fn etag(position: Position) -> String {
    format!("\"{position}\"")
}

/// Whether `If-None-Match` names this validator; weakly, as it must be compared.
pub fn is_unchanged(if_none_match: &str, etag: &str) -> bool {
    let strong = |text: &str| text.trim().trim_start_matches("W/") == etag;
    if_none_match.trim() == "*" || if_none_match.split(',').any(strong)
}

/// How much of a caller's limit is left.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Allowance {
    /// Requests an hour.
    pub limit: u64,
    /// Of these, how many may come now.
    pub remaining: u64,
    /// When all of them may come again, in seconds since the Unix epoch.
    pub reset_s: u64,
}

impl Allowance {
    /// Its headers.
    pub fn headers(&self) -> [(&'static str, String); 3] {
        [
            ("X-RateLimit-Limit", self.limit.to_string()),
            ("X-RateLimit-Remaining", self.remaining.to_string()),
            ("X-RateLimit-Reset", self.reset_s.to_string()),
        ]
    }
}
