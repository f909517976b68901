//! What a gateway's log machinery counts. Handles are resolved once; labels come from enums only.

use prometheus::{Histogram, HistogramOpts, IntCounter, IntCounterVec, IntGauge, Opts, Registry};
use tidings_protocol::gap::GapCause;

/// Upper bounds in seconds: decoding and waking take microseconds, until there are thousands to wake or a page to read first.
const FANOUT_SECONDS: [f64; 10] = [0.000_02, 0.000_05, 0.000_1, 0.000_25, 0.000_5, 0.001, 0.005, 0.02, 0.1, 1.0];

/// How a reader that comes back goes on.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Resumed {
    /// From its position, with nothing missing.
    Exact,
    /// It is told that something is missing.
    Gap,
    /// Its position is in no history that is left: it goes on at the head.
    Reset,
}

impl Resumed {
    const ALL: [Resumed; 3] = [Resumed::Exact, Resumed::Gap, Resumed::Reset];

    fn as_str(self) -> &'static str {
        match self {
            Resumed::Exact => "exact",
            Resumed::Gap => "gap",
            Resumed::Reset => "reset",
        }
    }
}

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
    /// Readers of topics.
    pub subscriptions: IntGauge,
    /// Readers whose cursor is off the ring.
    pub viewers_behind: IntGauge,
    /// Events told to readers from pages.
    pub replayed: IntCounter,
    /// From a message heard to its readers woken.
    pub fanout_seconds: Histogram,
    gaps: [IntCounter; GapCause::ALL.len()],
    resumes: [IntCounter; Resumed::ALL.len()],
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
        let resumes = IntCounterVec::new(
            Opts::new("tidings_gateway_resumes_total", "Viewers that came back with a position, by how they went on."),
            &["result"],
        )?;
        registry.register(Box::new(resumes.clone()))?;
        let fanout_seconds = Histogram::with_opts(
            HistogramOpts::new("tidings_gateway_fanout_seconds", "From a message heard to its readers woken.")
                .buckets(FANOUT_SECONDS.to_vec()),
        )?;
        registry.register(Box::new(fanout_seconds.clone()))?;
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
            subscriptions: gauge(
                "tidings_gateway_subscriptions",
                "Readers of projects: one connection may have several.",
            )?,
            viewers_behind: gauge("tidings_gateway_viewers_behind", "Readers that are behind what the ring holds.")?,
            replayed: counter("tidings_gateway_replayed_events_total", "Events told from pages of the log, not live.")?,
            fanout_seconds,
            resumes: Resumed::ALL.map(|how| resumes.with_label_values(&[how.as_str()])),
            gaps: GapCause::ALL.map(|cause| gaps.with_label_values(&[cause.as_str()])),
        })
    }

    /// A reader came back.
    pub(crate) fn on_resumed(&self, how: Resumed) {
        self.resumes[how as usize].inc();
    }

    /// How many readers came back and went on so.
    pub fn resumes(&self, how: Resumed) -> u64 {
        self.resumes[how as usize].get()
    }

    /// A gap was told.
    pub fn on_gap(&self, cause: GapCause) {
        if let Some(index) = GapCause::ALL.iter().position(|other| *other == cause) {
            self.gaps[index].inc();
        }
    }
}
