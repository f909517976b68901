//! A stream whose reader can be slowed to a byte at a time, stopped, and let go again.

use std::io;
use std::pin::Pin;
use std::task::{Context, Poll};
use std::time::Duration;

use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::net::TcpStream;
use tokio::time::{Instant, Sleep};

/// A stream that is read at most this fast.
#[derive(Debug)]
pub struct Throttled {
    inner: TcpStream,
    /// Time between two bytes; none: no limit.
    pause: Option<Duration>,
    due: Pin<Box<Sleep>>,
}

impl Throttled {
    /// Without a limit.
    pub fn new(inner: TcpStream) -> Throttled {
        Throttled { inner, pause: None, due: Box::pin(tokio::time::sleep(Duration::ZERO)) }
    }

    /// From now on one byte in so much time; none: without a limit.
    pub fn byte_every(&mut self, pause: Option<Duration>) {
        self.pause = pause;
    }
}

impl AsyncRead for Throttled {
    fn poll_read(mut self: Pin<&mut Self>, cx: &mut Context<'_>, buffer: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        let this = &mut *self;
        let Some(pause) = this.pause else { return Pin::new(&mut this.inner).poll_read(cx, buffer) };
        std::task::ready!(this.due.as_mut().poll(cx));
        let mut one = [0];
        let mut byte = ReadBuf::new(&mut one);
        std::task::ready!(Pin::new(&mut this.inner).poll_read(cx, &mut byte))?;
        buffer.put_slice(byte.filled());
        this.due.as_mut().reset(Instant::now() + pause);
        Poll::Ready(Ok(()))
    }
}

impl AsyncWrite for Throttled {
    fn poll_write(mut self: Pin<&mut Self>, cx: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.inner).poll_write(cx, bytes)
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.inner).poll_flush(cx)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.inner).poll_shutdown(cx)
    }
}
