//! What the janitor counts.

use prometheus::core::Collector;
use prometheus::{IntCounter, IntGauge, Registry};

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
    /// Index shards that are ours.
    pub leases: IntGauge,
}

impl Metrics {
    /// Registers the family in `registry`.
    ///
    /// # Errors
    /// When the registry has it already.
    pub fn register(registry: &Registry) -> Result<Metrics, prometheus::Error> {
        fn add<C: Collector + Clone + 'static>(registry: &Registry, made: C) -> Result<C, prometheus::Error> {
            registry.register(Box::new(made.clone()))?;
            Ok(made)
        }
        let counter = |name: &str, help: &str| add(registry, IntCounter::new(name, help)?);
        let gauge = |name: &str, help: &str| add(registry, IntGauge::new(name, help)?);
        Ok(Metrics {
            steps: counter("tidings_ingest_checkpoint_steps_total", "Checkpoint steps written.")?,
            moved: counter("tidings_ingest_checkpoint_moved_total", "Steps that found the checkpoint moved.")?,
            failures: counter("tidings_ingest_fold_failures_total", "Folds that failed.")?,
            trimmed: counter("tidings_ingest_trimmed_entries_total", "Entries trimmed from logs.")?,
            hard_trimmed: counter("tidings_ingest_hard_trimmed_entries_total", "Entries trimmed without a fold.")?,
            behind: gauge(
                "tidings_ingest_checkpoints_behind_events",
                "Events that checkpoints lacked at the last round.",
            )?,
            leases: gauge("tidings_ingest_index_leases", "Index shards that this process looks after.")?,
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

    pub(super) fn on_round(&self, behind: u64, leases: i64) {
        self.behind.set(i64::try_from(behind).unwrap_or(i64::MAX));
        self.leases.set(leases);
    }
}
