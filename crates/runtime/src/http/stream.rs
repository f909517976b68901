//! A socket whose writes cannot hang for ever: when a write has waited longer than the limit without the peer taking a
//! byte, it fails, and with it the connection. So a reader that stopped reading (a stalled SSE viewer, a download that
//! nobody takes) holds its buffers for a known time. Upgraded connections leave this wrapper and have their own rule.

use std::io::{Error, ErrorKind, IoSlice, Result};
use std::pin::Pin;
use std::task::{Context, Poll, ready};
use std::time::Duration;

use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::time::{Instant, Sleep};

use super::socket::Socket;

/// The socket and the clock of a write that waits.
#[derive(Debug)]
pub(super) struct PatientStream {
    socket: Socket,
    limit: Duration,
    /// Allocated by the first write that has to wait; most connections never need it.
    clock: Option<Pin<Box<Sleep>>>,
    waiting: bool,
}

impl PatientStream {
    pub(super) fn new(socket: Socket, limit: Duration) -> PatientStream {
        PatientStream { socket, limit, clock: None, waiting: false }
    }

    pub(super) fn into_socket(self) -> Socket {
        self.socket
    }

    /// Passes a write's outcome on, or the time-out in place of a wait that took too long.
    fn timed<T>(&mut self, cx: &mut Context<'_>, outcome: Poll<Result<T>>) -> Poll<Result<T>> {
        if outcome.is_ready() {
            self.waiting = false;
            return outcome;
        }
        let deadline = Instant::now() + self.limit;
        let clock = self.clock.get_or_insert_with(|| Box::pin(tokio::time::sleep_until(deadline)));
        if !self.waiting {
            self.waiting = true;
            clock.as_mut().reset(deadline);
        }
        ready!(clock.as_mut().poll(cx));
        self.waiting = false;
        Poll::Ready(Err(Error::new(ErrorKind::TimedOut, "the peer took nothing for too long")))
    }
}

impl AsyncRead for PatientStream {
    fn poll_read(mut self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &mut ReadBuf<'_>) -> Poll<Result<()>> {
        Pin::new(&mut self.socket).poll_read(cx, buf)
    }
}

impl AsyncWrite for PatientStream {
    fn poll_write(mut self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &[u8]) -> Poll<Result<usize>> {
        let outcome = Pin::new(&mut self.socket).poll_write(cx, buf);
        self.timed(cx, outcome)
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bufs: &[IoSlice<'_>],
    ) -> Poll<Result<usize>> {
        let outcome = Pin::new(&mut self.socket).poll_write_vectored(cx, bufs);
        self.timed(cx, outcome)
    }

    fn is_write_vectored(&self) -> bool {
        self.socket.is_write_vectored()
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Result<()>> {
        // TLS keeps what the socket did not take, and a flush waits for it.
        let outcome = Pin::new(&mut self.socket).poll_flush(cx);
        self.timed(cx, outcome)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Result<()>> {
        let outcome = Pin::new(&mut self.socket).poll_shutdown(cx);
        self.timed(cx, outcome)
    }
}
