//! What the HTTP side counts. Handles are resolved once; labels come from enums only.

use std::time::Duration;

use prometheus::{Histogram, HistogramOpts, HistogramVec, IntCounter, IntCounterVec, IntGauge, Opts, Registry};
use tidings_protocol::codes::ErrorCode;

/// The code of a request that was answered with 200.
const OK: &str = "ok";

/// Seconds: parsing takes microseconds, reading a body over a slow line many seconds.
const SECONDS: [f64; 11] = [0.000_05, 0.000_2, 0.001, 0.005, 0.02, 0.1, 0.5, 1.0, 5.0, 10.0, 60.0];

/// Counters of the routes. Cheap to clone.
#[derive(Debug, Clone)]
pub(crate) struct Metrics {
    requests: IntCounterVec,
    ok: IntCounter,
    /// Reading and unpacking a body.
    pub(crate) read_seconds: Histogram,
    /// Parsing and validating it.
    pub(crate) parse_seconds: Histogram,
    /// From there to the answers of the log.
    pub(crate) append_seconds: Histogram,
    /// NDJSON streams that are open.
    pub(crate) streams: IntGauge,
    /// Lines of streams that were taken.
    pub(crate) lines_accepted: IntCounter,
    /// Lines of streams that were not.
    pub(crate) lines_rejected: IntCounter,
}

impl Metrics {
    /// Registers the family in `registry`.
    pub(crate) fn register(registry: &Registry) -> Result<Metrics, prometheus::Error> {
        let requests = IntCounterVec::new(
            Opts::new("tidings_ingest_requests_total", "Requests, by the code of their answer."),
            &["code"],
        )?;
        let stages = HistogramVec::new(
            HistogramOpts::new("tidings_ingest_stage_seconds", "Time that requests spend, by stage.")
                .buckets(SECONDS.to_vec()),
            &["stage"],
        )?;
        let lines = IntCounterVec::new(
            Opts::new("tidings_ingest_lines_total", "Lines of NDJSON streams, by what became of them."),
            &["outcome"],
        )?;
        let streams = IntGauge::new("tidings_ingest_streams_open", "NDJSON streams that are open.")?;
        registry.register(Box::new(requests.clone()))?;
        registry.register(Box::new(stages.clone()))?;
        registry.register(Box::new(lines.clone()))?;
        registry.register(Box::new(streams.clone()))?;
        Ok(Metrics {
            ok: requests.with_label_values(&[OK]),
            requests,
            read_seconds: stages.with_label_values(&["read"]),
            parse_seconds: stages.with_label_values(&["parse"]),
            append_seconds: stages.with_label_values(&["append"]),
            streams,
            lines_accepted: lines.with_label_values(&["accepted"]),
            lines_rejected: lines.with_label_values(&["rejected"]),
        })
    }

    /// A request was answered with 200.
    pub(crate) fn on_ok(&self) {
        self.ok.inc();
    }

    /// A request was refused. Rare enough for a look-up.
    pub(crate) fn on_refused(&self, code: Option<ErrorCode>) {
        self.requests.with_label_values(&[code.map_or("unknown", ErrorCode::as_str)]).inc();
    }
}

/// Observes the time since `began`.
pub(crate) fn observe(histogram: &Histogram, began: std::time::Instant) {
    let seconds: Duration = began.elapsed();
    histogram.observe(seconds.as_secs_f64());
}
