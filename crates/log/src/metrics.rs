//! What a gateway's log machinery counts. Handles are resolved once; labels come from enums only.

use prometheus::{IntCounter, IntCounterVec, IntGauge, Opts, Registry};
use tidings_protocol::gap::GapCause;

/// Counters of topics, pages and cursors. Cheap to clone.
#[derive(Clone)]
pub struct Metrics {
    /// Pages asked of the store.
    pub page_reads: IntCounter,
    /// Pages found in the cache.
    pub page_hits: IntCounter,
    /// Messages heard on channels.
    pub messages: IntCounter,
    /// Times that a topic had to read because something was lost or did not link up.
    pub repairs: IntCounter,
    /// Forks crossed by topics.
    pub forks: IntCounter,
    /// Compacted frames told to viewers that lag.
    pub compactions: IntCounter,
    /// Events told to viewers.
    pub deliveries: IntCounter,
    /// Topics that are live.
    pub topics: IntGauge,
    /// Bytes in rings, pages, states and what was heard, about.
    pub bytes: IntGauge,
    gaps: [IntCounter; GapCause::ALL.len()],
}

impl Metrics {
    /// Registers the family in `registry`.
    ///
    /// # Errors
    /// When the registry has it already.
    pub fn register(registry: &Registry) -> Result<Metrics, prometheus::Error> {
        let counter = |name: &str, help: &str| -> Result<IntCounter, prometheus::Error> {
            let counter = IntCounter::new(name, help)?;
            registry.register(Box::new(counter.clone()))?;
            Ok(counter)
        };
        let gauge = |name: &str, help: &str| -> Result<IntGauge, prometheus::Error> {
            let gauge = IntGauge::new(name, help)?;
            registry.register(Box::new(gauge.clone()))?;
            Ok(gauge)
        };
        let gaps =
            IntCounterVec::new(Opts::new("tidings_gateway_gaps_total", "Gaps told to viewers, by cause."), &["cause"])?;
        registry.register(Box::new(gaps.clone()))?;
        Ok(Metrics {
            page_reads: counter("tidings_gateway_page_reads_total", "Pages asked of the store.")?,
            page_hits: counter("tidings_gateway_page_hits_total", "Pages found in the cache.")?,
            messages: counter("tidings_gateway_messages_total", "Messages heard on projects' channels.")?,
            repairs: counter("tidings_gateway_repairs_total", "Topic reads because something was lost or due.")?,
            forks: counter("tidings_gateway_forks_total", "Forks that topics crossed.")?,
            compactions: counter(
                "tidings_gateway_compacted_frames_total",
                "Compacted frames told to lagging viewers.",
            )?,
            deliveries: counter("tidings_gateway_deliveries_total", "Events told to viewers.")?,
            topics: gauge("tidings_gateway_topics", "Projects with viewers on this gateway.")?,
            bytes: gauge("tidings_gateway_log_bytes", "Bytes held in rings, pages and states, about.")?,
            gaps: GapCause::ALL.map(|cause| gaps.with_label_values(&[cause.as_str()])),
        })
    }

    /// A gap was told.
    pub fn on_gap(&self, cause: GapCause) {
        if let Some(index) = GapCause::ALL.iter().position(|other| *other == cause) {
            self.gaps[index].inc();
        }
    }
}
