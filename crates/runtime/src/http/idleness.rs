//! Whether an HTTP/2 connection has anything to do. The protocol's pings say that a peer lives, not that it wants anything:
//! without this a client that only answers them would keep its place for ever. HTTP/1 has its parser's clock.

use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};

use axum::body::Body;
use bytes::Bytes;
use http_body::{Frame, SizeHint};
use parking_lot::Mutex;
use tokio::time::Instant;

/// The requests of one connection.
#[derive(Debug, Default, Clone)]
pub(super) struct Idleness(Arc<Mutex<Requests>>);

#[derive(Debug, Default)]
struct Requests {
    running: usize,
    /// When the last one ended; none: none has.
    ended: Option<Instant>,
}

/// A request that runs until its answer was passed on, or was given up.
#[derive(Debug)]
pub(super) struct Running(Idleness);

impl Idleness {
    /// A request begins.
    pub(super) fn begin(&self) -> Running {
        self.0.lock().running += 1;
        Running(self.clone())
    }

    /// Since when nothing runs; none: something does, or nothing ever did.
    pub(super) fn since(&self) -> Option<Instant> {
        let requests = self.0.lock();
        requests.ended.filter(|_| requests.running == 0)
    }
}

impl Running {
    /// The same answer; the request runs as long as it does.
    pub(super) fn with(self, body: Body) -> Body {
        Body::new(Answer { body, _running: self })
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        let mut requests = self.0.0.lock();
        requests.running -= 1;
        requests.ended = Some(Instant::now());
    }
}

struct Answer {
    body: Body,
    _running: Running,
}

impl http_body::Body for Answer {
    type Data = Bytes;
    type Error = axum::Error;

    fn poll_frame(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, axum::Error>>> {
        Pin::new(&mut self.body).poll_frame(cx)
    }

    fn is_end_stream(&self) -> bool {
        self.body.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        self.body.size_hint()
    }
}
