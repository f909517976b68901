//! What the gateway counts of its connections and requests. Handles are resolved once; labels come from enums only.

use prometheus::{IntCounter, IntCounterVec, IntGaugeVec, Opts, Registry};
use tidings_protocol::codes::CloseCode;

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

/// Counters of connections. Cheap to clone.
#[derive(Clone)]
pub(crate) struct Metrics {
    connections: [prometheus::IntGauge; Transport::ALL.len()],
    opened: [IntCounter; Transport::ALL.len()],
    closed: IntCounterVec,
    refused: IntCounterVec,
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
            Opts::new("tidings_gateway_connections", "Open connections of viewers, by transport."),
            &["transport"],
        )?;
        let opened = IntCounterVec::new(
            Opts::new("tidings_gateway_connections_opened_total", "Connections opened, by transport."),
            &["transport"],
        )?;
        let closed = IntCounterVec::new(
            Opts::new("tidings_gateway_connections_closed_total", "WebSockets closed, by reason."),
            &["reason"],
        )?;
        let refused = IntCounterVec::new(
            Opts::new("tidings_gateway_frames_refused_total", "Client frames refused, by code."),
            &["code"],
        )?;
        for family in [&opened, &closed, &refused] {
            registry.register(Box::new(family.clone()))?;
        }
        registry.register(Box::new(connections.clone()))?;
        let counter = |name: &str, help: &str| -> Result<IntCounter, prometheus::Error> {
            let counter = IntCounter::new(name, help)?;
            registry.register(Box::new(counter.clone()))?;
            Ok(counter)
        };
        Ok(Metrics {
            connections: Transport::ALL.map(|transport| connections.with_label_values(&[transport.as_str()])),
            opened: Transport::ALL.map(|transport| opened.with_label_values(&[transport.as_str()])),
            closed,
            refused,
            bytes_written: counter("tidings_gateway_bytes_written_total", "Bytes written to WebSockets.")?,
            writes: counter("tidings_gateway_writes_total", "Writes to WebSockets.")?,
            stalled: counter("tidings_gateway_stalled_total", "Connections cut because nothing could be written.")?,
        })
    }

    /// A connection opened; it counts as open until the guard is dropped.
    pub(crate) fn open(&self, transport: Transport) -> OpenGuard {
        let index = transport as usize;
        self.opened[index].inc();
        self.connections[index].inc();
        OpenGuard(self.connections[index].clone())
    }

    /// A WebSocket was closed by the server with this code, or by the peer (none).
    pub(crate) fn on_closed(&self, code: Option<CloseCode>) {
        self.closed.with_label_values(&[code.map_or("peer", CloseCode::as_str)]).inc();
    }

    /// A client's frame was refused.
    pub(crate) fn on_refused(&self, code: tidings_protocol::codes::ErrorCode) {
        self.refused.with_label_values(&[code.as_str()]).inc();
    }
}

/// Counts a connection as open while it lives.
#[derive(Debug)]
pub(crate) struct OpenGuard(prometheus::IntGauge);

impl Drop for OpenGuard {
    fn drop(&mut self) {
        self.0.dec();
    }
}
