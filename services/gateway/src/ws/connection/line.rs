//! What a connection and its face share: answers that wait, counters, who the viewer is, and where it is in its life.

use std::collections::VecDeque;

use bytes::Bytes;
use tidings_protocol::codes::CloseCode;
use tidings_runtime::telemetry::traces::Traces;
use tidings_ws::frame;
use tokio::time::Instant;

use crate::connections::Registered;
use crate::metrics::{Metrics, Sampler};
use crate::traced::Deliveries;

/// What a client is told by its own side when a connection ends without a close frame (RFC 6455); no server may send it.
pub(crate) const NO_FRAME: u16 = 1006;

/// Where a connection is in its life.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Phase {
    Open,
    /// The close frame is on its way, or waits for the peer's.
    Closing {
        since: Instant,
        /// Bytes that came since.
        heard: usize,
    },
    Over,
}

/// The server's end of a connection, without its socket.
pub(crate) struct Line {
    /// Its place in the registry, with what the viewer may do, and who it is.
    pub registered: Registered,
    /// Counters.
    pub metrics: Metrics,
    /// Which writes are looked at.
    pub sampler: Sampler,
    /// What is to be recorded when it is written.
    pub deliveries: Deliveries,
    /// What was taken for the next write, and for nothing else; kept between pulls for its capacity.
    pub frames: Vec<Bytes>,
    /// Frames that are ready to be written before any event.
    replies: VecDeque<Bytes>,
    pub(super) phase: Phase,
    /// The code of the close frame that was said.
    pub(super) closed_with: Option<u16>,
}

impl Line {
    pub(super) fn new(registered: Registered, metrics: Metrics, traces: Traces) -> Line {
        Line {
            registered,
            metrics,
            sampler: Sampler::default(),
            deliveries: Deliveries::new(traces),
            frames: Vec::new(),
            replies: VecDeque::new(),
            phase: Phase::Open,
            closed_with: None,
        }
    }

    /// Nobody has said good-bye.
    pub(crate) fn is_open(&self) -> bool {
        self.phase == Phase::Open
    }

    /// A finished frame, to be written before any event. The caller bounds how many: answers to what was read are bounded
    /// by what is read.
    pub(crate) fn push(&mut self, frame: Bytes) {
        self.replies.push_back(frame);
    }

    /// The close frame: nothing follows it. Counted under `code`, or as a dialect's own without one. [`NO_FRAME`] has none:
    /// the connection ends behind what was said. False: good-bye was said before.
    pub(crate) fn close(&mut self, counted: Option<CloseCode>, number: u16, reason: &str) -> bool {
        if self.phase != Phase::Open {
            return false;
        }
        match counted {
            Some(CloseCode::Draining) if self.registered.control.is_shed() => self.metrics.on_shed(),
            Some(code) => self.metrics.on_closed(Some(code)),
            None => self.metrics.on_closed_by_dialect(),
        }
        if number == NO_FRAME {
            self.phase = Phase::Over;
        } else {
            self.replies.push_back(frame::close(number, reason));
            self.closed_with = Some(number);
            self.phase = Phase::Closing { since: Instant::now(), heard: 0 };
        }
        true
    }

    /// Frames that wait.
    pub(super) fn waiting(&self) -> usize {
        self.replies.len()
    }

    pub(super) fn drain_replies(&mut self) -> impl Iterator<Item = Bytes> {
        self.replies.drain(..)
    }

    /// It is over, with what is not written yet.
    pub(super) fn give_up(&mut self) {
        self.phase = Phase::Over;
        self.replies.clear();
    }
}
