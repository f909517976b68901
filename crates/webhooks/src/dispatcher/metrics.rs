//! What is counted of webhooks. Handles are resolved once, so that every series is there from the start.

use std::time::Duration;

use prometheus::{Histogram, HistogramOpts, HistogramVec, IntCounter, IntCounterVec, IntGauge, Opts, Registry};

use crate::caller::{Delivered, Why};

/// Seconds that a call takes: a receiver near by, to one that hangs.
const TAKES: [f64; 9] = [0.005, 0.01, 0.025, 0.05, 0.1, 0.5, 1.0, 5.0, 10.0];

/// What is delivered.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Kind {
    /// A command for a runner.
    Command,
    /// Events of a project.
    Events,
}

impl Kind {
    const ALL: [Kind; 2] = [Kind::Command, Kind::Events];

    const fn as_str(self) -> &'static str {
        match self {
            Kind::Command => "command",
            Kind::Events => "events",
        }
    }
}

/// The label of what became of a call: that of why it failed, where it did.
fn result(delivered: &Delivered) -> &'static str {
    match delivered {
        Delivered::Taken { .. } => "taken",
        Delivered::Gone => "gone",
        Delivered::Refused { .. } => "refused",
        Delivered::Failed { why, .. } => why.as_str(),
    }
}

/// Counters of a dispatcher. Cheap to clone.
#[derive(Debug, Clone)]
pub struct Metrics {
    deliveries: IntCounterVec,
    seconds: HistogramVec,
    /// Events and gaps that receivers took.
    pub(crate) events: IntCounter,
    /// Webhooks that are delivered for here.
    pub(crate) open: IntGauge,
    /// Those whose last delivery failed.
    pub(crate) failing: IntGauge,
    /// Those whose receiver wants nothing more.
    pub(crate) gone: IntGauge,
    /// Age of the oldest event that was not delivered, in seconds.
    pub(crate) lag: IntGauge,
}

fn gauge(registry: &Registry, name: &str, help: &str) -> Result<IntGauge, prometheus::Error> {
    let made = IntGauge::new(name, help)?;
    registry.register(Box::new(made.clone())).map(|()| made)
}

impl Metrics {
    /// Registers the family in `registry`.
    ///
    /// # Errors
    /// When the registry has it already.
    pub fn register(registry: &Registry) -> Result<Metrics, prometheus::Error> {
        let deliveries = Opts::new("tidings_webhooks_deliveries_total", "Calls of receivers, by what became of them.");
        let deliveries = IntCounterVec::new(deliveries, &["kind", "result"])?;
        registry.register(Box::new(deliveries.clone()))?;
        let seconds = HistogramOpts::new("tidings_webhooks_delivery_seconds", "How long a call of a receiver took.");
        let seconds = HistogramVec::new(seconds.buckets(TAKES.to_vec()), &["kind"])?;
        registry.register(Box::new(seconds.clone()))?;
        let events = IntCounter::new("tidings_webhooks_events_total", "Events and gaps that receivers took.")?;
        registry.register(Box::new(events.clone()))?;
        let results = ["taken", "gone", "refused"].into_iter().chain(Why::ALL.map(Why::as_str));
        for kind in Kind::ALL {
            seconds.with_label_values(&[kind.as_str()]);
            for result in results.clone() {
                deliveries.with_label_values(&[kind.as_str(), result]);
            }
        }
        Ok(Metrics {
            deliveries,
            seconds,
            events,
            open: gauge(registry, "tidings_webhooks_open", "Webhooks that this process delivers for.")?,
            failing: gauge(registry, "tidings_webhooks_failing", "Those whose last delivery failed.")?,
            gone: gauge(
                registry,
                "tidings_webhooks_gone",
                "Those whose receiver answered that it wants nothing more.",
            )?,
            lag: gauge(
                registry,
                "tidings_webhooks_lag_seconds",
                "Age of the oldest event that was not delivered by this process.",
            )?,
        })
    }

    /// A call ended.
    pub(crate) fn on_delivered(&self, kind: Kind, delivered: &Delivered, took: Duration) {
        self.deliveries.with_label_values(&[kind.as_str(), result(delivered)]).inc();
        self.seconds_of(kind).observe(took.as_secs_f64());
    }

    fn seconds_of(&self, kind: Kind) -> Histogram {
        self.seconds.with_label_values(&[kind.as_str()])
    }
}
