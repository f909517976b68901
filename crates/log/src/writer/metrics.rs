//! What writers count. Handles are resolved once; there are no labels by project.

use std::time::Duration;

use prometheus::{Histogram, IntCounter, IntGauge, Registry};

use super::machine::{Note, Outcome, Verdict};
use crate::registration::Registration;

/// Seconds: a memory broker answers in microseconds, a store that fails over in seconds.
const SECONDS: [f64; 12] = [0.000_1, 0.000_25, 0.000_5, 0.001, 0.002_5, 0.005, 0.01, 0.025, 0.1, 0.5, 2.0, 10.0];

/// Events in an entry.
const EVENTS: [f64; 10] = [1.0, 2.0, 4.0, 8.0, 16.0, 32.0, 64.0, 128.0, 256.0, 512.0];

/// Counters of the writers of one process. Cheap to clone.
#[derive(Debug, Clone)]
pub struct Metrics {
    /// Events appended.
    pub events: IntCounter,
    /// Events acknowledged as duplicates.
    pub duplicates: IntCounter,
    /// Events refused because of their producer's epoch or sequence.
    pub refused: IntCounter,
    /// Entries appended.
    pub entries: IntCounter,
    /// Encoded bytes appended.
    pub bytes: IntCounter,
    /// Events per entry.
    pub entry_events: Histogram,
    /// From a call's first sending to the script's answer.
    pub append_seconds: Histogram,
    /// Sendings that got no answer.
    pub unknown: IntCounter,
    /// Calls sent again under the same number.
    pub resends: IntCounter,
    /// Calls given up after going unanswered for too long.
    pub given_up: IntCounter,
    /// Deletions of projects.
    deletions: IntCounter,
    /// Forks that writers adopted.
    pub heals: IntCounter,
    /// Losses of acknowledged events that writers owe viewers a gap for.
    pub gaps: IntCounter,
    /// Acknowledged events that forks took and that were put back.
    pub put_back: IntCounter,
    /// Writer ids drawn anew because the log knew a higher number.
    pub stale: IntCounter,
    /// Entries that nobody was told of.
    pub publish_errors: IntCounter,
    /// Requests turned away because as much waits as may.
    pub busy: IntCounter,
    /// Bytes that wait to be written, or for an answer.
    pub waiting_bytes: IntGauge,
    /// Projects that a writer works for at the moment.
    pub writing: IntGauge,
}

impl Metrics {
    /// Registers the family in `registry`.
    ///
    /// # Errors
    /// When the registry has it already.
    pub fn register(registry: &Registry) -> Result<Metrics, prometheus::Error> {
        let to = Registration(registry);
        Ok(Metrics {
            events: to.counter("tidings_ingest_events_appended_total", "Events appended to logs.")?,
            duplicates: to.counter("tidings_ingest_events_duplicate_total", "Events acknowledged as duplicates.")?,
            refused: to
                .counter("tidings_ingest_events_out_of_order_total", "Events refused for their epoch or sequence.")?,
            entries: to.counter("tidings_ingest_entries_appended_total", "Entries appended to logs.")?,
            bytes: to.counter("tidings_ingest_entry_bytes_total", "Encoded bytes appended to logs.")?,
            entry_events: to.histogram("tidings_ingest_entry_events", "Events per entry.", &EVENTS)?,
            append_seconds: to.histogram(
                "tidings_ingest_append_seconds",
                "From a call's first sending to its answer.",
                &SECONDS,
            )?,
            unknown: to.counter("tidings_ingest_appends_unknown_total", "Sendings that got no answer.")?,
            resends: to.counter("tidings_ingest_appends_resent_total", "Calls sent again under the same number.")?,
            given_up: to.counter("tidings_ingest_appends_given_up_total", "Calls that never got an answer.")?,
            deletions: to
                .counter("tidings_ingest_projects_deleted_total", "Deletions of projects, done again ones too.")?,
            heals: to.counter("tidings_ingest_forks_adopted_total", "Forks that writers adopted.")?,
            gaps: to.counter("tidings_ingest_gaps_owed_total", "Losses of acknowledged events found at forks.")?,
            put_back: to.counter("tidings_ingest_events_put_back_total", "Events put back after a fork took them.")?,
            stale: to.counter("tidings_ingest_writers_stale_total", "Writer ids drawn anew.")?,
            publish_errors: to.counter("tidings_ingest_publish_errors_total", "Entries that nobody was told of.")?,
            busy: to.counter("tidings_ingest_busy_total", "Requests turned away because too much waits.")?,
            waiting_bytes: to.gauge("tidings_ingest_waiting_bytes", "Bytes that wait to be written.")?,
            writing: to.gauge("tidings_ingest_projects_writing", "Projects being written to.")?,
        })
    }

    /// Something noteworthy happened in a machine.
    pub(super) fn on_note(&self, note: &Note) {
        match note {
            Note::Appended { events, bytes } => {
                self.entries.inc();
                self.bytes.inc_by(*bytes as u64);
                self.entry_events.observe(f64::from(*events));
            }
            Note::Deleted => self.deletions.inc(),
            Note::PublishFailed(_) => self.publish_errors.inc(),
            Note::Unknown(_) => self.unknown.inc(),
            Note::Healed => self.heals.inc(),
            Note::PuttingBack { .. } => {}
            Note::PutBack { events } => self.put_back.inc_by(*events as u64),
            Note::GapOwed(_) => self.gaps.inc(),
            Note::Stale { .. } => self.stale.inc(),
            Note::GivenUp => self.given_up.inc(),
        }
    }

    /// An event came to its end.
    pub(super) fn on_verdict(&self, verdict: &Verdict) {
        match verdict {
            Ok(Outcome::Appended { .. }) => self.events.inc(),
            Ok(Outcome::Duplicate { .. }) => self.duplicates.inc(),
            Ok(Outcome::OutOfSequence { .. } | Outcome::Fenced { .. } | Outcome::Settled { .. }) => self.refused.inc(),
            Err(_) => {}
        }
    }

    /// The script answered.
    pub(super) fn on_answer(&self, after: Duration) {
        self.append_seconds.observe(after.as_secs_f64());
    }
}
