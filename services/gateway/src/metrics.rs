//! What the gateway counts of its connections and requests. Handles are resolved once, so that every series is there from the
//! start; labels come from enums only.

use std::ops::Deref;
use std::sync::Arc;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use prometheus::{Histogram, HistogramOpts, IntCounter, IntCounterVec, IntGauge, IntGaugeVec, Opts, Registry};
use tidings_log::viewer::Sample;
use tidings_protocol::codes::{CloseCode, ErrorCode};
use tidings_runtime::config::DialectName;

/// Upper bounds in seconds of what a viewer waits for. 0.1 and 0.2 are goals.
const WAITS: [f64; 12] = [0.001, 0.002_5, 0.005, 0.01, 0.025, 0.05, 0.1, 0.2, 0.5, 1.0, 5.0, 30.0];

/// The same for what may have lain with a runner.
const LONG_WAITS: [f64; 12] = [0.005, 0.01, 0.025, 0.05, 0.1, 0.2, 0.5, 1.0, 5.0, 30.0, 300.0, 3_600.0];

/// The protocol that is spoken over a transport, unless it is a dialect.
const NATIVE: &str = "native";

/// The reason of a close by which a viewer was sent on, while the gateway stays. Its code is that of a drain.
const SHED: &str = "shed";

/// The reason of a close that came from the other side.
const PEER: &str = "peer";

/// The reason of a close that a dialect asked for.
const DIALECTS: &str = "dialect";

/// How a viewer is connected.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Transport {
    /// WebSocket, native protocol.
    WebSocket,
    /// Server-sent events.
    Sse,
    /// Long-poll.
    Poll,
}

impl Transport {
    const ALL: [Transport; 3] = [Transport::WebSocket, Transport::Sse, Transport::Poll];

    fn as_str(self) -> &'static str {
        match self {
            Transport::WebSocket => "websocket",
            Transport::Sse => "sse",
            Transport::Poll => "poll",
        }
    }
}

/// Says which write of a connection is looked at: the first, and one in [`Sampler::EVERY`] after it. What it costs to look
/// is little, but there are very many writes.
#[derive(Debug, Default)]
pub(crate) struct Sampler {
    skip: u8,
    sample: Option<Sample>,
}

impl Sampler {
    const EVERY: u8 = 8;

    /// Whether the next write is looked at.
    pub(crate) fn wants(&self) -> bool {
        self.skip == 0
    }

    /// Something was taken for a write; what was seen of it, if anybody looked.
    pub(crate) fn taken(&mut self, sample: Option<Sample>) {
        if sample.is_some() {
            self.sample = sample;
            self.skip = Sampler::EVERY - 1;
        } else {
            // Where nothing was told live, the next one is looked at.
            self.skip = self.skip.saturating_sub(1);
        }
    }

    /// What was taken has been written.
    pub(crate) fn written(&mut self, metrics: &Metrics) {
        if let Some(sample) = self.sample.take() {
            metrics.on_delivered(sample);
        }
    }
}

/// Where the figures of dialects come from.
#[derive(Clone)]
struct Dialects {
    connections: IntGaugeVec,
    opened: IntCounterVec,
    dropped: IntCounterVec,
}

/// What is counted of one dialect's connections.
#[derive(Clone)]
pub(crate) struct DialectMetrics {
    websockets: Counted,
    polls: Counted,
    dropped: IntCounter,
}

/// Connections of one dialect over one transport.
#[derive(Clone)]
struct Counted {
    connections: IntGauge,
    opened: IntCounter,
}

impl Counted {
    fn open(&self) -> OpenGuard {
        self.opened.inc();
        self.connections.inc();
        OpenGuard(self.connections.clone())
    }
}

impl DialectMetrics {
    /// A client's message was over the dialect's limit, and passed over in silence.
    pub(crate) fn on_dropped(&self) {
        self.dropped.inc();
    }

    /// A WebSocket opened; it counts as open until the guard is dropped.
    pub(crate) fn open(&self) -> OpenGuard {
        self.websockets.open()
    }

    /// A poll waits; it counts as open until the guard is dropped.
    pub(crate) fn wait(&self) -> OpenGuard {
        self.polls.open()
    }
}

/// Counters of connections. Cheap to clone: each connection has them.
#[derive(Clone)]
pub(crate) struct Metrics(Arc<Counters>);

impl Deref for Metrics {
    type Target = Counters;

    fn deref(&self) -> &Counters {
        &self.0
    }
}

/// The counters themselves.
pub(crate) struct Counters {
    connections: [prometheus::IntGauge; Transport::ALL.len()],
    opened: [IntCounter; Transport::ALL.len()],
    closed: [IntCounter; CloseCode::ALL.len()],
    closed_by_peer: IntCounter,
    closed_by_shedding: IntCounter,
    closed_by_dialect: IntCounter,
    dialects: Dialects,
    refused: [IntCounter; ErrorCode::ALL.len()],
    blocked: IntGauge,
    connect_seconds: Histogram,
    delivery_lag_seconds: Histogram,
    end_to_end_lag_seconds: Histogram,
    /// Bytes written to WebSockets.
    pub bytes_written: IntCounter,
    /// Writes to WebSockets: bytes and events per write tell how well load coalesces.
    pub writes: IntCounter,
    /// Connections cut because nothing could be written for too long.
    pub stalled: IntCounter,
}

impl Metrics {
    /// Registers the family in `registry`.
    ///
    /// # Errors
    /// When the registry has it already.
    pub(crate) fn register(registry: &Registry) -> Result<Metrics, prometheus::Error> {
        let connections = IntGaugeVec::new(
            Opts::new("tidings_gateway_connections", "Open connections of viewers, by transport and dialect."),
            &["transport", "dialect"],
        )?;
        let opened = IntCounterVec::new(
            Opts::new("tidings_gateway_connections_opened_total", "Connections opened, by transport and dialect."),
            &["transport", "dialect"],
        )?;
        let closed = IntCounterVec::new(
            Opts::new("tidings_gateway_connections_closed_total", "WebSockets closed, by reason."),
            &["reason"],
        )?;
        let refused = IntCounterVec::new(
            Opts::new("tidings_gateway_frames_refused_total", "Client frames refused, by code."),
            &["code"],
        )?;
        let dropped = IntCounterVec::new(
            Opts::new(
                "tidings_gateway_dialect_messages_dropped_total",
                "Messages of dialects' clients that were over their limit, and passed over, by dialect.",
            ),
            &["dialect"],
        )?;
        for name in DialectName::ALL {
            dropped.with_label_values(&[name.as_str()]);
        }
        for family in [&opened, &closed, &refused, &dropped] {
            registry.register(Box::new(family.clone()))?;
        }
        registry.register(Box::new(connections.clone()))?;
        let counter = |name: &str, help: &str| -> Result<IntCounter, prometheus::Error> {
            let counter = IntCounter::new(name, help)?;
            registry.register(Box::new(counter.clone()))?;
            Ok(counter)
        };
        let blocked =
            IntGauge::new("tidings_gateway_viewers_blocked", "Connections whose socket takes nothing more now.")?;
        registry.register(Box::new(blocked.clone()))?;
        let histogram = |name: &str, help: &str, bounds: &[f64]| -> Result<Histogram, prometheus::Error> {
            let histogram = Histogram::with_opts(HistogramOpts::new(name, help).buckets(bounds.to_vec()))?;
            registry.register(Box::new(histogram.clone()))?;
            Ok(histogram)
        };
        let by = |transport: Transport| [transport.as_str(), NATIVE];
        Ok(Metrics(Arc::new(Counters {
            connections: Transport::ALL.map(|transport| connections.with_label_values(&by(transport))),
            opened: Transport::ALL.map(|transport| opened.with_label_values(&by(transport))),
            closed: std::array::from_fn(|index| closed.with_label_values(&[CloseCode::ALL[index].as_str()])),
            closed_by_peer: closed.with_label_values(&[PEER]),
            closed_by_shedding: closed.with_label_values(&[SHED]),
            closed_by_dialect: closed.with_label_values(&[DIALECTS]),
            dialects: Dialects { connections, opened, dropped },
            refused: std::array::from_fn(|index| refused.with_label_values(&[ErrorCode::ALL[index].as_str()])),
            blocked,
            connect_seconds: histogram(
                "tidings_gateway_connect_seconds",
                "From a socket's accept to the greeting of its first viewer.",
                &WAITS,
            )?,
            delivery_lag_seconds: histogram(
                "tidings_gateway_delivery_lag_seconds",
                "From an event's append, by the store's clock, to its live delivery. A sample.",
                &WAITS,
            )?,
            end_to_end_lag_seconds: histogram(
                "tidings_gateway_end_to_end_lag_seconds",
                "From an event's time, by the runner's clock, to its live delivery. A sample.",
                &LONG_WAITS,
            )?,
            bytes_written: counter("tidings_gateway_bytes_written_total", "Bytes written to WebSockets.")?,
            writes: counter("tidings_gateway_writes_total", "Writes to WebSockets.")?,
            stalled: counter("tidings_gateway_stalled_total", "Connections cut because nothing could be written.")?,
        })))
    }
}

impl Counters {
    /// A connection opened; it counts as open until the guard is dropped.
    pub(crate) fn open(&self, transport: Transport) -> OpenGuard {
        let index = transport as usize;
        self.opened[index].inc();
        self.connections[index].inc();
        OpenGuard(self.connections[index].clone())
    }

    /// A WebSocket was closed by the server with this code, or by the peer (none).
    pub(crate) fn on_closed(&self, code: Option<CloseCode>) {
        let index = code.and_then(|code| CloseCode::ALL.iter().position(|other| *other == code));
        index.map_or(&self.closed_by_peer, |index| &self.closed[index]).inc();
    }

    /// A WebSocket was closed because its dialect asked for it.
    pub(crate) fn on_closed_by_dialect(&self) {
        self.closed_by_dialect.inc();
    }

    /// What is counted of the dialect of this name.
    pub(crate) fn dialect(&self, name: &'static str) -> DialectMetrics {
        let over = |transport: Transport| Counted {
            connections: self.dialects.connections.with_label_values(&[transport.as_str(), name]),
            opened: self.dialects.opened.with_label_values(&[transport.as_str(), name]),
        };
        DialectMetrics {
            websockets: over(Transport::WebSocket),
            polls: over(Transport::Poll),
            dropped: self.dialects.dropped.with_label_values(&[name]),
        }
    }

    /// A WebSocket was closed to send its viewer on.
    pub(crate) fn on_shed(&self) {
        self.closed_by_shedding.inc();
    }

    /// A client's frame was refused.
    pub(crate) fn on_refused(&self, code: ErrorCode) {
        if let Some(index) = ErrorCode::ALL.iter().position(|other| *other == code) {
            self.refused[index].inc();
        }
    }

    /// A viewer was greeted on a socket that was accepted so long ago.
    pub(crate) fn on_connected(&self, within: Duration) {
        self.connect_seconds.observe(within.as_secs_f64());
    }

    /// A connection's socket takes nothing more, until the guard is dropped.
    pub(crate) fn block(&self) -> OpenGuard {
        self.blocked.inc();
        OpenGuard(self.blocked.clone())
    }

    /// How many sockets take nothing more now.
    #[cfg(test)]
    pub(crate) fn blocked(&self) -> i64 {
        self.blocked.get()
    }

    fn on_delivered(&self, sample: Sample) {
        let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
        // Clocks differ: what lies ahead counts as now.
        let since = |ms: u64| now.saturating_sub(Duration::from_millis(ms)).as_secs_f64();
        self.delivery_lag_seconds.observe(since(sample.appended_ms));
        if sample.sent_ms > 0 {
            self.end_to_end_lag_seconds.observe(since(sample.sent_ms));
        }
    }
}

/// Counts one in a gauge while it lives.
#[derive(Debug)]
pub(crate) struct OpenGuard(prometheus::IntGauge);

impl Drop for OpenGuard {
    fn drop(&mut self) {
        self.0.dec();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_first_live_write_is_looked_at_and_one_in_eight_after_it() {
        let metrics = Metrics::register(&Registry::new()).expect("a fresh registry");
        let mut sampler = Sampler::default();
        let seen = Sample { appended_ms: 1, sent_ms: 0 };
        let mut wanted = Vec::new();
        for write in 0..20 {
            if sampler.wants() {
                wanted.push(write);
            }
            // The first two are told from pages.
            sampler.taken((sampler.wants() && write >= 2).then_some(seen));
            sampler.written(&metrics);
        }
        assert_eq!(wanted, [0, 1, 2, 10, 18]);
        assert_eq!(metrics.delivery_lag_seconds.get_sample_count(), 3);
        assert_eq!(metrics.end_to_end_lag_seconds.get_sample_count(), 0, "no runner said when");
    }
}
