//! WebSocket for the server side: RFC 6455, and permessage-deflate (RFC 7692) without context takeover.
//!
//! The crate exists because a fan-out wants to hand one finished frame to any number of sockets, and to write many of
//! them with one system call. Frames out are plain [`bytes::Bytes`] that are shared ([`frame`], [`deflate`]) and written
//! vectored ([`outbox`]); frames in go through a strict state machine ([`reader`]); [`handshake`] decides about the
//! upgrade. There is no policy here: no tasks, no clocks, no queues with a size of their own, no answers sent by
//! themselves. Pings are answered, closes echoed and stalls judged by the caller.
//!
//! # How a server uses it
//!
//! ```no_run
//! # use std::{convert::Infallible, future::poll_fn, io};
//! # use bytes::BytesMut;
//! # use http::{Request, Response};
//! # use hyper_util::rt::TokioIo;
//! # use tidings_ws::{frame, handshake::{Handshake, Terms}, outbox::Outbox, reader::{Message, Reader, ReaderLimits}};
//! # use tokio::{io::AsyncReadExt, net::TcpStream};
//! # type Body = http_body_util::Empty<bytes::Bytes>;
//! async fn upgrade(mut request: Request<hyper::body::Incoming>) -> Result<Response<Body>, Infallible> {
//!     let terms = Terms { subprotocols: &["tidings.v1"], ..Terms::default() };
//!     let handshake = match Handshake::check(request.method(), request.version(), request.headers(), &terms) {
//!         Ok(handshake) => handshake,
//!         Err(refused) => return Ok(refused.response()),
//!     };
//!     let deflate = handshake.deflate();
//!     let upgrade = hyper::upgrade::on(&mut request);
//!     tokio::spawn(async move {
//!         let upgraded = upgrade.await.expect("the peer stayed until the response was written");
//!         // `Upgraded` is a boxed trait object behind a rewind buffer: it would hide vectored writes and keep that
//!         // buffer. The stream itself comes out when asked for by the exact type that the server was given.
//!         let parts = upgraded.downcast::<TokioIo<TcpStream>>().expect("the listener serves plain TCP");
//!         // What hyper has read beyond the request: a client may send frames right behind it. Start with these bytes.
//!         connection(parts.io.into_inner(), BytesMut::from(parts.read_buf), deflate).await
//!     });
//!     Ok(handshake.response())
//! }
//!
//! async fn connection(mut io: TcpStream, mut input: BytesMut, deflate: bool) -> io::Result<()> {
//!     let mut reader = Reader::new(ReaderLimits { message_bytes_max: 65_536, frame_bytes_max: 65_536 }, deflate);
//!     let mut outbox = Outbox::new();
//!     loop {
//!         match reader.feed(&mut input) {
//!             Ok(Some(Message::Text(text))) => outbox.push(frame::text(text.as_bytes())),
//!             Ok(Some(Message::Ping(payload))) => outbox.push(frame::pong(&payload)),
//!             Ok(Some(Message::Close(close))) => outbox.push(close.answer()),
//!             Ok(Some(_)) => {}
//!             Ok(None) if io.read_buf(&mut input).await? == 0 => return Ok(()),
//!             Ok(None) => {}
//!             Err(broken) => outbox.push(frame::close(broken.close_code(), "")),
//!         }
//!         while !outbox.is_empty() {
//!             poll_fn(|cx| outbox.poll_write(cx, &mut io)).await?;
//!         }
//!     }
//! }
//! ```
//!
//! (`examples/echo` is the whole of it, with an orderly end.) The reader leaves no more than
//! [`reader::UNREAD_BYTES_MAX`] bytes in `input`, so a small buffer of fixed capacity serves messages of any size, and an
//! idle connection may give its buffer back whenever `input` is empty.

pub mod deflate;
pub mod frame;
pub mod handshake;
pub mod outbox;
pub mod reader;
