//! What the janitor counts.

use std::time::Duration;

use prometheus::{IntCounter, IntGauge, Registry};

use crate::registration::Registration;

/// Counters of the janitor of one process. Cheap to clone.
#[derive(Debug, Clone)]
pub struct Metrics {
    /// Steps written.
    pub steps: IntCounter,
    /// Steps that found the checkpoint moved.
    pub moved: IntCounter,
    /// Folds that failed.
    pub failures: IntCounter,
    /// Entries trimmed.
    pub trimmed: IntCounter,
    /// Of these, entries trimmed without a fold.
    pub hard_trimmed: IntCounter,
    /// Events that the checkpoints of our projects lacked at the last round.
    pub behind: IntGauge,
    /// Projects of ours that are refused because they are over their share of the memory.
    pub over_share: IntGauge,
    /// Index shards that are ours.
    pub leases: IntGauge,
    /// The shortest time for which any of our projects remembers ids, in seconds.
    pub dedupe_window: IntGauge,
}

impl Metrics {
    /// Registers the family in `registry`.
    ///
    /// # Errors
    /// When the registry has it already.
    pub fn register(registry: &Registry) -> Result<Metrics, prometheus::Error> {
        let to = Registration(registry);
        Ok(Metrics {
            steps: to.counter("tidings_ingest_checkpoint_steps_total", "Checkpoint steps written.")?,
            moved: to.counter("tidings_ingest_checkpoint_moved_total", "Steps that found the checkpoint moved.")?,
            failures: to.counter("tidings_ingest_fold_failures_total", "Folds that failed.")?,
            trimmed: to.counter("tidings_ingest_trimmed_entries_total", "Entries trimmed from logs.")?,
            hard_trimmed: to.counter("tidings_ingest_hard_trimmed_entries_total", "Entries trimmed without a fold.")?,
            behind: to.gauge(
                "tidings_ingest_checkpoints_behind_events",
                "Events that checkpoints lacked at the last round.",
            )?,
            over_share: to.gauge(
                "tidings_ingest_over_share_projects",
                "Projects refused while memory is short, because they are over their share.",
            )?,
            leases: to.gauge("tidings_ingest_index_leases", "Index shards that this process looks after.")?,
            dedupe_window: to.gauge(
                "tidings_ingest_dedupe_window_seconds",
                "The shortest time for which a project that is folded here surely recognises retries.",
            )?,
        })
    }

    pub(super) fn on_step(&self, trimmed: u64) {
        self.steps.inc();
        self.trimmed.inc_by(trimmed);
    }

    pub(super) fn on_hard_trim(&self, trimmed: u64) {
        self.trimmed.inc_by(trimmed);
        self.hard_trimmed.inc_by(trimmed);
    }

    /// Retries are recognised for no shorter than this.
    pub(super) fn on_window(&self, window: Duration) {
        self.dedupe_window.set(i64::try_from(window.as_secs()).unwrap_or(i64::MAX));
    }

    pub(super) fn on_round(&self, behind: u64, leases: i64, window: Duration) {
        self.on_window(window);
        self.behind.set(i64::try_from(behind).unwrap_or(i64::MAX));
        self.leases.set(leases);
    }
}
