//! From an HTTP upgrade to the bare socket, so that a service writes to it without HTTP's buffers in between.

use bytes::Bytes;
use hyper::upgrade::Upgraded;
use hyper_util::rt::TokioIo;
use hyper_util::server::conn::auto::upgrade::downcast;

use super::stream::PatientStream;

pub use super::socket::Socket;

/// The upgrade did not come over a connection of [`super::Server`].
#[derive(Debug, thiserror::Error)]
#[error("the upgraded connection is not one of this server's")]
pub struct ForeignUpgrade;

/// Takes an upgraded connection apart: its socket (TCP_NODELAY is set; it may be TLS, so
/// writes are to be flushed), and the bytes that the client sent behind its
/// request and that were read with it.
#[expect(clippy::doc_markdown, reason = "the socket option's own name")]
pub fn into_socket(upgraded: Upgraded) -> Result<(Socket, Bytes), ForeignUpgrade> {
    let parts = downcast::<TokioIo<PatientStream>>(upgraded).map_err(|_| ForeignUpgrade)?;
    Ok((parts.io.into_inner().into_socket(), parts.read_buf))
}
