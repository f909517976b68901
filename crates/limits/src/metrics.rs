//! What limits count. Handles are resolved once; labels come from enums, there are none by key or user.

use prometheus::core::Collector;
use prometheus::{IntCounter, IntCounterVec, IntGauge, Opts, Registry};

use crate::Kind;

/// Counters of the limits of one process. Cheap to clone. The default is registered nowhere.
#[derive(Debug, Clone)]
pub struct Metrics {
    /// Checks that were decided in this process.
    pub checks_local: IntCounter,
    /// Checks that waited for the store.
    pub checks_remote: IntCounter,
    /// Checks that were decided by this process's share, since the store was away or slow.
    pub checks_share: IntCounter,
    /// Calls of the store.
    pub store_calls: IntCounter,
    /// Calls of the store that failed.
    pub store_errors: IntCounter,
    /// Checks of keys for which there was no place.
    pub overflow: IntCounter,
    /// Keys that are kept.
    pub keys: IntGauge,
    /// Connections that count against their user's limit.
    pub connections: IntGauge,
    /// Connections refused because their user has as many as may be.
    pub connections_refused: IntCounter,
    /// Client messages refused. [`crate::local::LocalLimit`] has no handles: who owns it counts.
    pub messages_refused: IntCounter,
    /// Connections that were told to come back later.
    pub accepts_refused: IntCounter,
    refused: Vec<IntCounter>,
}

impl Metrics {
    /// Registers the family in `registry`.
    ///
    /// # Errors
    /// When the registry has it already.
    pub fn register(registry: &Registry) -> Result<Metrics, prometheus::Error> {
        Metrics::made(|made| registry.register(made))
    }

    /// One of a kind was refused.
    pub(crate) fn on_refused(&self, kind: Kind) {
        self.refused[kind.index()].inc();
    }

    /// How many of a kind were refused.
    pub fn refused(&self, kind: Kind) -> u64 {
        self.refused[kind.index()].get()
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
        let labelled = |name: &str, help: &str, label: &str| {
            let made = IntCounterVec::new(Opts::new(name, help), &[label])?;
            register(Box::new(made.clone())).map(|()| made)
        };
        let checks = labelled("tidings_limits_checks_total", "Checks of shared limits, by who decided.", "decided")?;
        let refused = labelled("tidings_limits_refused_total", "What was over a limit, by limit.", "limit")?;
        Ok(Metrics {
            checks_local: checks.with_label_values(&["local"]),
            checks_remote: checks.with_label_values(&["store"]),
            checks_share: checks.with_label_values(&["share"]),
            store_calls: counter("tidings_limits_store_calls_total", "Calls of the store for limits.")?,
            store_errors: counter("tidings_limits_store_errors_total", "Calls of the store for limits that failed.")?,
            overflow: counter("tidings_limits_overflow_total", "Checks of keys for which there was no place.")?,
            keys: gauge("tidings_limits_keys", "Keys of limits that are kept.")?,
            connections: gauge("tidings_limits_connections", "Connections that count against their user's limit.")?,
            connections_refused: refused.with_label_values(&["connections"]),
            messages_refused: refused.with_label_values(&["messages"]),
            accepts_refused: refused.with_label_values(&["accepts"]),
            refused: Kind::ALL.iter().map(|kind| refused.with_label_values(&[kind.as_str()])).collect(),
        })
    }
}

impl Default for Metrics {
    fn default() -> Metrics {
        Metrics::made(|_| Ok(())).expect("the names are well formed")
    }
}
