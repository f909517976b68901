//! What presence counts. Handles are resolved once; labels come from enums, there are none by project or viewer.

use prometheus::core::Collector;
use prometheus::{IntCounter, IntCounterVec, IntGauge, Opts, Registry};

use crate::listing::Tally;

/// Counters of the presence of one gateway. Cheap to clone. The default is registered nowhere.
#[derive(Debug, Clone)]
pub struct Metrics {
    /// Viewers that are here; one of several projects counts in each.
    pub viewers: IntGauge,
    /// Runners of the projects in which somebody here wants to know.
    pub runners: IntGauge,
    /// Calls of the store.
    pub store_calls: IntCounter,
    /// Calls of the store that failed.
    pub store_errors: IntCounter,
    viewers_joined: IntCounter,
    viewers_left: IntCounter,
    runners_joined: IntCounter,
    runners_left: IntCounter,
}

impl Metrics {
    /// Registers the family in `registry`.
    ///
    /// # Errors
    /// When the registry has it already.
    pub fn register(registry: &Registry) -> Result<Metrics, prometheus::Error> {
        Metrics::made(|made| registry.register(made))
    }

    /// Who watches was told of these.
    pub(crate) fn on_told(&self, tally: Tally) {
        self.viewers_joined.inc_by(tally.viewers_joined);
        self.viewers_left.inc_by(tally.viewers_left);
        self.runners_joined.inc_by(tally.runners_joined);
        self.runners_left.inc_by(tally.runners_left);
    }

    fn made(
        register: impl Fn(Box<dyn Collector>) -> Result<(), prometheus::Error>,
    ) -> Result<Metrics, prometheus::Error> {
        let counter = |name: &str, help: &str| {
            let made = IntCounter::new(name, help)?;
            register(Box::new(made.clone())).map(|()| made)
        };
        let gauge = |name: &str, help: &str| {
            let made = IntGauge::new(name, help)?;
            register(Box::new(made.clone())).map(|()| made)
        };
        let by_kind = |name: &str, help: &str| {
            let made = IntCounterVec::new(Opts::new(name, help), &["kind"])?;
            register(Box::new(made.clone())).map(|()| made)
        };
        let joins = by_kind("tidings_presence_joins_total", "Who joined, as told here, by kind.")?;
        let leaves = by_kind("tidings_presence_leaves_total", "Who left, as told here, by kind.")?;
        Ok(Metrics {
            viewers: gauge("tidings_presence_viewers", "Viewers that are here, by project.")?,
            runners: gauge("tidings_presence_runners", "Runners of the projects whose presence is watched here.")?,
            store_calls: counter("tidings_presence_store_calls_total", "Calls of the store for presence.")?,
            store_errors: counter(
                "tidings_presence_store_errors_total",
                "Calls of the store for presence that failed.",
            )?,
            viewers_joined: joins.with_label_values(&["viewer"]),
            viewers_left: leaves.with_label_values(&["viewer"]),
            runners_joined: joins.with_label_values(&["runner"]),
            runners_left: leaves.with_label_values(&["runner"]),
        })
    }
}

impl Default for Metrics {
    fn default() -> Metrics {
        Metrics::made(|_| Ok(())).expect("the names are well formed")
    }
}
