//! Patience with readers of HTTP/2 streams. A client that grants a stream no window stalls nothing that the socket would
//! notice ([`super::stream`] sees only whole connections), so its answer would be held for as long as the connection lives.
//! Here such a stream is reset, as a socket that takes nothing is closed.
//!
//! Each stream is a task of its own, in which hyper asks the answer's body for a frame when it has passed on the one before.
//! So the body notes when it gave a frame, and the task's wrapper ends the task when nobody came back for the next one in
//! time. Frames are cut small: a slow reader of a large answer comes back for each piece.

use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::Duration;

use axum::body::Body;
use bytes::Bytes;
use http_body::{Frame, SizeHint};
use parking_lot::Mutex;
use tokio::time::{Instant, Sleep};
use tokio_util::task::TaskTracker;

/// What a stream must take within the limit, in bytes, however slowly it reads.
const PIECE_BYTES: usize = 16 * 1024;

tokio::task_local! {
    /// Since when a frame of this task's answer waits to be passed on.
    static WAITING: Waiting;
}

type Waiting = Arc<Mutex<Option<Instant>>>;

/// Runs HTTP/2's stream tasks on a tracker, each until its reader has taken nothing for `limit`.
#[derive(Debug, Clone)]
pub(super) struct Patient {
    pub(super) tasks: TaskTracker,
    pub(super) limit: Duration,
}

impl<F> hyper::rt::Executor<F> for Patient
where
    F: Future + Send + 'static,
    F::Output: Send + 'static,
{
    fn execute(&self, stream: F) {
        let waiting = Waiting::default();
        let stream = Box::pin(WAITING.scope(waiting.clone(), stream));
        self.tasks.spawn(Bounded { stream, waiting, limit: self.limit, clock: None });
    }
}

/// A stream's task.
struct Bounded<F> {
    stream: Pin<Box<F>>,
    waiting: Waiting,
    limit: Duration,
    /// Allocated by the first frame that has to wait.
    clock: Option<Pin<Box<Sleep>>>,
}

impl<F: Future> Future for Bounded<F> {
    type Output = ();

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<()> {
        if self.stream.as_mut().poll(cx).is_ready() {
            return Poll::Ready(());
        }
        let Some(since) = *self.waiting.lock() else { return Poll::Pending };
        let deadline = since + self.limit;
        let clock = self.clock.get_or_insert_with(|| Box::pin(tokio::time::sleep_until(deadline)));
        if clock.deadline() != deadline {
            clock.as_mut().reset(deadline);
        }
        // To drop the stream is to reset it.
        clock.as_mut().poll(cx)
    }
}

/// The same answer, in pieces whose reader is watched, if this is a stream's task; else as it is.
pub(super) fn watched(body: Body) -> Body {
    match WAITING.try_with(Arc::clone) {
        Ok(waiting) => Body::new(Pieces { body, rest: Bytes::new(), waiting }),
        Err(_) => body,
    }
}

struct Pieces {
    body: Body,
    /// Of a frame that was too large for one piece.
    rest: Bytes,
    waiting: Waiting,
}

impl http_body::Body for Pieces {
    type Data = Bytes;
    type Error = axum::Error;

    fn poll_frame(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, axum::Error>>> {
        *self.waiting.lock() = None;
        if self.rest.is_empty() {
            match std::task::ready!(Pin::new(&mut self.body).poll_frame(cx)).map(|frame| frame.map(Frame::into_data)) {
                Some(Ok(Ok(data))) => self.rest = data,
                Some(Ok(Err(other))) => return Poll::Ready(Some(Ok(other))),
                Some(Err(error)) => return Poll::Ready(Some(Err(error))),
                None => return Poll::Ready(None),
            }
        }
        let length = self.rest.len().min(PIECE_BYTES);
        let piece = self.rest.split_to(length);
        *self.waiting.lock() = Some(Instant::now());
        Poll::Ready(Some(Ok(Frame::data(piece))))
    }

    fn is_end_stream(&self) -> bool {
        self.rest.is_empty() && self.body.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        let (body, rest) = (self.body.size_hint(), self.rest.len() as u64);
        let mut hint = SizeHint::new();
        hint.set_lower(body.lower() + rest);
        if let Some(upper) = body.upper() {
            hint.set_upper(upper + rest);
        }
        hint
    }
}
