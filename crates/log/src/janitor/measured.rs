//! What logs hold, as the janitor finds them when it folds: for figures of single projects, and for the window in which
//! retries are recognised. Bounded; what is not folded here any more is forgotten.

use std::cmp::Reverse;
use std::collections::HashMap;
use std::sync::Arc;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use parking_lot::Mutex;
use tidings_broker::{DedupeWindow, Page, Span};
use tidings_protocol::position::LogId;
use tidings_protocol::project::Project;
use tidings_protocol::snapshot::Summary;
use tokio::time::Instant;

use super::Janitor;

/// A log is measured this often at most: it costs a small read.
const MEASURE_EVERY: Duration = Duration::from_secs(30);

/// What was measured is forgotten after this time: some other process folds the log now. Even quiet logs are looked at
/// more often.
const KEPT: Duration = Duration::from_mins(15);

/// Logs that are remembered.
const LOGS_MAX: usize = 4_096;

/// The row of all logs that are not named.
const OTHER: &str = "other";

/// What a log holds.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Figures {
    /// Events.
    pub events: u64,
    /// Encoded bytes, without the oldest entry's.
    pub bytes: u64,
    /// When the oldest entry was appended, by the store's clock, in milliseconds since the Unix epoch; 0: there is none.
    pub oldest_ms: u64,
    /// Sessions, by status.
    pub sessions: [(&'static str, u64); 5],
}

impl Figures {
    fn of(page: &Page, state: &Summary) -> Figures {
        let oldest = page.entries.first();
        Figures {
            events: page.head.last.n().saturating_sub(page.trimmed_to.n()),
            bytes: oldest.map_or(0, |oldest| page.head.total_bytes.saturating_sub(oldest.total_bytes)),
            oldest_ms: oldest.map_or(0, |oldest| oldest.position.ms()),
            ..Figures::none(state)
        }
    }

    /// Of a log without events.
    fn none(state: &Summary) -> Figures {
        Figures {
            events: 0,
            bytes: 0,
            oldest_ms: 0,
            sessions: [
                ("running", state.running),
                ("completed", state.completed),
                ("failed", state.failed),
                ("cancelled", state.cancelled),
                ("lost", state.lost),
            ],
        }
    }

    /// How old the oldest entry is now, in seconds.
    pub fn age_seconds(&self) -> u64 {
        let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
        let age = now.saturating_sub(Duration::from_millis(self.oldest_ms));
        if self.oldest_ms == 0 { 0 } else { age.as_secs() }
    }

    fn add(&mut self, other: &Figures) {
        self.events += other.events;
        self.bytes += other.bytes;
        let known = [self.oldest_ms, other.oldest_ms].into_iter().filter(|ms| *ms > 0);
        self.oldest_ms = known.min().unwrap_or_default();
        for (mine, (_, count)) in self.sessions.iter_mut().zip(other.sessions) {
            mine.1 += count;
        }
    }
}

/// A log when it was last measured.
#[derive(Debug)]
struct Log {
    at: Instant,
    /// Running count of the last event then.
    n: u64,
    figures: Figures,
    /// For how long ids are remembered at the pace since the time before.
    window: Duration,
}

/// What the janitor of a process measured lately. Cheap to clone.
#[derive(Debug, Clone, Default)]
pub struct Measured(Arc<Mutex<HashMap<Project, Log>>>);

impl Measured {
    /// The logs that hold most, so many at most, and in the last row all others together.
    pub fn largest(&self, max: usize) -> Vec<(String, Figures)> {
        let logs = self.0.lock();
        let mut all: Vec<(&Project, &Figures)> = logs.iter().map(|(project, log)| (project, &log.figures)).collect();
        all.sort_by_key(|(project, figures)| (Reverse(figures.bytes), *project));
        let mut rest = Figures::none(&Summary::default());
        let mut rows = Vec::with_capacity(max + 1);
        for (project, figures) in all {
            if rows.len() < max && project.as_str() != OTHER {
                rows.push((project.to_string(), *figures));
            } else {
                rest.add(figures);
            }
        }
        rows.push((OTHER.to_owned(), rest));
        rows
    }

    /// The shortest time for which ids are remembered in any of the logs; none: none was measured.
    pub(super) fn shortest_window(&self) -> Option<Duration> {
        let mut logs = self.0.lock();
        logs.retain(|_, log| log.at.elapsed() < KEPT);
        logs.values().map(|log| log.window).min()
    }

    fn is_due(&self, project: &Project) -> bool {
        self.0.lock().get(project).is_none_or(|log| log.at.elapsed() >= MEASURE_EVERY)
    }

    fn note(&self, project: &Project, page: &Page, state: &Summary, dedupe: DedupeWindow) {
        let (at, n) = (Instant::now(), page.head.last.n());
        let mut logs = self.0.lock();
        if logs.len() >= LOGS_MAX && !logs.contains_key(project) {
            let oldest = logs.iter().min_by_key(|(_, log)| log.at).map(|(project, _)| project.clone());
            oldest.and_then(|oldest| logs.remove(&oldest));
        }
        let before = logs.get(project).map(|log| (log.at, log.n));
        let window = window(dedupe, before.map(|(then, from)| (at - then, n.saturating_sub(from))));
        logs.insert(project.clone(), Log { at, n, figures: Figures::of(page, state), window });
    }
}

/// For how long ids are remembered where so many events came in so much time: all of them may have had ids of runners.
fn window(dedupe: DedupeWindow, pace: Option<(Duration, u64)>) -> Duration {
    let configured = Duration::from_millis(dedupe.ms);
    match pace {
        #[expect(clippy::cast_precision_loss, reason = "an estimate in seconds")]
        Some((time, events)) if events > 0 => {
            configured.min(time.mul_f64((dedupe.ids as f64 / events as f64).min(1e6)))
        }
        _ => configured,
    }
}

impl Janitor {
    /// Measures a log that was folded, unless it was measured lately. Nothing depends on it.
    pub(super) async fn measure(&self, project: &Project, state: impl FnOnce() -> Summary) {
        if !self.measured.is_due(project) {
            return;
        }
        let state = state();
        match self.broker.read(project.clone(), Span::After(LogId { ms: 0, n: 0 }), 1).await {
            Ok(page) => self.measured.note(project, &page, &state, self.settings.dedupe),
            Err(error) => tracing::debug!(%project, %error, "a log is not measured this time"),
        }
    }
}

#[cfg(test)]
mod tests {
    use tidings_protocol::head::Head;
    use tidings_protocol::position::{Branch, Position};

    use super::*;

    #[test]
    fn a_busy_log_forgets_ids_sooner() {
        let dedupe = DedupeWindow { ms: 600_000, ids: 200_000 };
        let minutes = |minutes: u64| Duration::from_secs(60 * minutes);
        assert_eq!(window(dedupe, None), minutes(10));
        assert_eq!(window(dedupe, Some((minutes(1), 0))), minutes(10));
        assert_eq!(window(dedupe, Some((minutes(1), 10_000))), minutes(10));
        assert_eq!(window(dedupe, Some((minutes(1), 100_000))), minutes(2));
    }

    #[tokio::test(start_paused = true)]
    async fn the_largest_are_named_and_all_are_counted() {
        let measured = Measured::default();
        for (name, n) in [("small", 1), ("big", 30), ("other", 99), ("middle", 20)] {
            let head = Head { last: Position::new(1, n, Branch::from_random([7; 12])), ..Head::default() };
            let page = Page { entries: Vec::new(), head, trimmed_to: Position::ZERO };
            measured.note(&name.parse().expect("a name"), &page, &Summary::default(), DedupeWindow::default());
            measured.0.lock().get_mut(&name.parse::<Project>().expect("a name")).expect("noted").figures.bytes = n;
        }
        let told: Vec<(String, u64)> =
            measured.largest(2).into_iter().map(|(name, figures)| (name, figures.events)).collect();
        assert_eq!(told, [("big".into(), 30), ("middle".into(), 20), ("other".into(), 100)]);
        assert_eq!(measured.shortest_window(), Some(Duration::from_mins(10)));
        tokio::time::advance(KEPT).await;
        assert_eq!(measured.shortest_window(), None, "others fold them now");
        assert_eq!(measured.largest(2).len(), 1);
    }
}
