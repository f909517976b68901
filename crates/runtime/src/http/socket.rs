//! A client's connection as bytes: bare TCP, or TLS on it. It holds the connection's place among the open ones, wherever
//! it goes (an upgrade takes it out of HTTP), until it is dropped.

use std::io::{IoSlice, Result};
use std::pin::Pin;
use std::task::{Context, Poll};

use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::net::TcpStream;
use tokio_rustls::server::TlsStream;

use super::admission::Place;

/// A connection to a client, encrypted or not. Vectored writes stay vectored: over TLS the slices of one write share
/// records.
///
/// Over TLS a write is done only when it is flushed.
#[derive(Debug)]
pub struct Socket {
    wire: Wire,
    _place: Place,
}

#[derive(Debug)]
enum Wire {
    Tcp(TcpStream),
    Tls(Box<TlsStream<TcpStream>>),
}

impl Socket {
    pub(super) fn plain(socket: TcpStream, place: Place) -> Socket {
        Socket { wire: Wire::Tcp(socket), _place: place }
    }

    pub(super) fn encrypted(stream: TlsStream<TcpStream>, place: Place) -> Socket {
        Socket { wire: Wire::Tls(Box::new(stream)), _place: place }
    }
}

/// Calls the same method on whichever wire it is.
macro_rules! on_wire {
    ($socket:expr, $wire:ident => $call:expr) => {
        match &mut $socket.wire {
            Wire::Tcp($wire) => $call,
            Wire::Tls($wire) => $call,
        }
    };
}

impl AsyncRead for Socket {
    fn poll_read(mut self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &mut ReadBuf<'_>) -> Poll<Result<()>> {
        on_wire!(self, wire => Pin::new(wire).poll_read(cx, buf))
    }
}

impl AsyncWrite for Socket {
    fn poll_write(mut self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &[u8]) -> Poll<Result<usize>> {
        on_wire!(self, wire => Pin::new(wire).poll_write(cx, buf))
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bufs: &[IoSlice<'_>],
    ) -> Poll<Result<usize>> {
        on_wire!(self, wire => Pin::new(wire).poll_write_vectored(cx, bufs))
    }

    fn is_write_vectored(&self) -> bool {
        match &self.wire {
            Wire::Tcp(wire) => wire.is_write_vectored(),
            Wire::Tls(wire) => wire.is_write_vectored(),
        }
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Result<()>> {
        on_wire!(self, wire => Pin::new(wire).poll_flush(cx))
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Result<()>> {
        on_wire!(self, wire => Pin::new(wire).poll_shutdown(cx))
    }
}
