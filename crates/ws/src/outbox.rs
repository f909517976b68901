//! What a socket has yet to send, and the vectored writing of it.
//!
//! Progress lives in the [`Outbox`], never in a future, so a write may be dropped at any time (in a `select!`, say) and
//! goes on where it stopped. The outbox sets no bound of its own: the caller pushes only what it is ready to hold, best
//! when the outbox is empty, and learns of every written byte so that it can tell a stalled peer.

use std::collections::VecDeque;
use std::io::{self, IoSlice};
use std::pin::Pin;
use std::task::{Context, Poll, ready};

use bytes::{Buf, Bytes};
use tokio::io::AsyncWrite;

/// The most chunks that one write hands to the socket.
pub const SLICES_MAX: usize = 64;

/// Chunk slots that an empty outbox keeps; those of a larger burst are given back.
const SLOTS_KEPT: usize = 32;

/// Chunks in order, the first of them perhaps written in part.
#[derive(Debug, Default)]
pub struct Outbox {
    chunks: VecDeque<Bytes>,
    pending_bytes: usize,
    /// Bytes were written that the writer may still hold back (TLS does).
    unflushed: bool,
}

/// What a call of [`Outbox::poll_write`] achieved.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Progress {
    /// Bytes that the writer took.
    pub bytes: usize,
    /// Everything is written and flushed.
    pub done: bool,
}

impl Outbox {
    /// An empty outbox; it allocates with the first push.
    pub fn new() -> Outbox {
        Outbox::default()
    }

    /// Appends a chunk: a frame, several of them, or a part of one. Chunks are written in the order of their pushes.
    pub fn push(&mut self, chunk: Bytes) {
        if !chunk.is_empty() {
            self.pending_bytes += chunk.len();
            self.chunks.push_back(chunk);
        }
    }

    /// Whether all is written and flushed.
    pub fn is_empty(&self) -> bool {
        self.chunks.is_empty() && !self.unflushed
    }

    /// Bytes that the writer has not taken yet.
    pub fn pending_bytes(&self) -> usize {
        self.pending_bytes
    }

    /// Drops what is not written yet, and does not wait for what the writer holds back. Unless the outbox
    /// [is empty](Outbox::is_empty), the peer may have got a part of a frame, so the connection is of no more use.
    pub fn clear(&mut self) {
        self.chunks = VecDeque::new();
        self.pending_bytes = 0;
        self.unflushed = false;
    }

    /// Writes, up to [`SLICES_MAX`] chunks at a time, until all is written and flushed or the writer takes no more.
    ///
    /// Pending only if nothing at all could be written; then `cx` is woken when it is worth another try. After progress
    /// that is not `done` the caller calls again, at once or when it likes. An empty outbox is ready and done.
    ///
    /// CANCEL SAFETY: all progress is in `self`; a caller may stop polling at any time.
    ///
    /// # Errors
    /// Those of the writer, after which the connection is of no more use; [`io::ErrorKind::WriteZero`] if it takes
    /// nothing without saying why.
    pub fn poll_write<W: AsyncWrite + Unpin + ?Sized>(
        &mut self,
        cx: &mut Context<'_>,
        io: &mut W,
    ) -> Poll<io::Result<Progress>> {
        let before = self.pending_bytes;
        let done = match self.poll_all(cx, Pin::new(io)) {
            Poll::Ready(result) => {
                result?;
                true
            }
            Poll::Pending if self.pending_bytes == before => return Poll::Pending,
            Poll::Pending => false,
        };
        Poll::Ready(Ok(Progress { bytes: before - self.pending_bytes, done }))
    }

    fn poll_all<W: AsyncWrite + ?Sized>(&mut self, cx: &mut Context<'_>, mut io: Pin<&mut W>) -> Poll<io::Result<()>> {
        while !self.chunks.is_empty() {
            let written = ready!(self.poll_some(cx, io.as_mut()))?;
            if written == 0 {
                return Poll::Ready(Err(io::ErrorKind::WriteZero.into()));
            }
            self.unflushed = true;
            self.advance(written);
        }
        self.chunks.shrink_to(SLOTS_KEPT);
        if self.unflushed {
            ready!(io.poll_flush(cx))?;
            self.unflushed = false;
        }
        Poll::Ready(Ok(()))
    }

    fn poll_some<W: AsyncWrite + ?Sized>(&self, cx: &mut Context<'_>, io: Pin<&mut W>) -> Poll<io::Result<usize>> {
        // Most writes are of one chunk, and a plain one costs the kernel less.
        if let (Some(only), 1) = (self.chunks.front(), self.chunks.len()) {
            return io.poll_write(cx, only);
        }
        let mut slices = [IoSlice::new(&[]); SLICES_MAX];
        let used = self.chunks.len().min(SLICES_MAX);
        for (slice, chunk) in slices.iter_mut().zip(&self.chunks) {
            *slice = IoSlice::new(chunk);
        }
        io.poll_write_vectored(cx, &slices[..used])
    }

    fn advance(&mut self, mut written: usize) {
        self.pending_bytes -= written;
        while let Some(first) = self.chunks.front_mut() {
            if written < first.len() {
                first.advance(written);
                return;
            }
            written -= first.len();
            self.chunks.pop_front();
        }
    }
}

#[cfg(test)]
mod tests;
