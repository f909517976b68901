//! What the HTTP side counts. Handles are resolved once, so that every series is there from the start; labels come from enums
//! only.

use std::sync::Arc;
use std::time::Duration;

use prometheus::{Histogram, HistogramOpts, HistogramVec, IntCounter, IntCounterVec, IntGauge, Opts, Registry};
use tidings_protocol::codes::ErrorCode;

use crate::facts::FactMetrics;

/// The code of a request that was answered with 200.
const OK: &str = "ok";

/// The code of a refusal that has none.
const UNKNOWN: &str = "unknown";

/// How a request brings its events.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Protocol {
    /// One event or an array of them, in the native envelope.
    Native,
    /// A stream of lines.
    Ndjson,
    /// In any mode.
    CloudEvents,
    /// A hook of Claude Code.
    ClaudeCode,
    /// It brings none: deletions, keys, members, settings, runners.
    Admin,
}

impl Protocol {
    const ALL: [Protocol; 5] =
        [Protocol::Native, Protocol::Ndjson, Protocol::CloudEvents, Protocol::ClaudeCode, Protocol::Admin];

    fn as_str(self) -> &'static str {
        match self {
            Protocol::Native => "native",
            Protocol::Ndjson => "ndjson",
            Protocol::CloudEvents => "cloudevents",
            Protocol::ClaudeCode => "claude_code",
            Protocol::Admin => "admin",
        }
    }
}

/// Seconds: parsing takes microseconds, reading a body over a slow line many seconds.
const SECONDS: [f64; 11] = [0.000_05, 0.000_2, 0.001, 0.005, 0.02, 0.1, 0.5, 1.0, 5.0, 10.0, 60.0];

/// Counters of the routes. Cheap to clone.
#[derive(Debug, Clone)]
pub(crate) struct Metrics {
    requests: Arc<[Requests; Protocol::ALL.len()]>,
    /// What events say of themselves.
    pub(crate) facts: FactMetrics,
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

/// The requests of one protocol, by the code of their answer.
#[derive(Debug)]
struct Requests {
    ok: IntCounter,
    unknown: IntCounter,
    /// In the order of [`ErrorCode::ALL`].
    refused: Vec<IntCounter>,
}

impl Requests {
    fn new(family: &IntCounterVec, protocol: Protocol) -> Requests {
        let counter = |code: &str| family.with_label_values(&[protocol.as_str(), code]);
        Requests {
            ok: counter(OK),
            unknown: counter(UNKNOWN),
            refused: ErrorCode::ALL.iter().map(|code| counter(code.as_str())).collect(),
        }
    }

    fn refused(&self, code: Option<ErrorCode>) -> &IntCounter {
        let index = code.and_then(|code| ErrorCode::ALL.binary_search(&code).ok());
        index.map_or(&self.unknown, |index| &self.refused[index])
    }
}

impl Metrics {
    /// Registers the family in `registry`.
    pub(crate) fn register(registry: &Registry) -> Result<Metrics, prometheus::Error> {
        let requests = IntCounterVec::new(
            Opts::new("tidings_ingest_requests_total", "Requests, by protocol and the code of their answer."),
            &["protocol", "code"],
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
            requests: Arc::new(Protocol::ALL.map(|protocol| Requests::new(&requests, protocol))),
            facts: FactMetrics::register(registry)?,
            read_seconds: stages.with_label_values(&["read"]),
            parse_seconds: stages.with_label_values(&["parse"]),
            append_seconds: stages.with_label_values(&["append"]),
            streams,
            lines_accepted: lines.with_label_values(&["accepted"]),
            lines_rejected: lines.with_label_values(&["rejected"]),
        })
    }

    /// A request was answered with 200.
    pub(crate) fn on_ok(&self, protocol: Protocol) {
        self.requests[protocol as usize].ok.inc();
    }

    /// A request was refused.
    pub(crate) fn on_refused(&self, protocol: Protocol, code: Option<ErrorCode>) {
        self.requests[protocol as usize].refused(code).inc();
    }
}

/// Observes the time since `began`.
pub(crate) fn observe(histogram: &Histogram, began: std::time::Instant) {
    let seconds: Duration = began.elapsed();
    histogram.observe(seconds.as_secs_f64());
}
