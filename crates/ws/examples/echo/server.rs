//! From a listener to WebSockets, and what an echo does with one. The crate's tests use it too.

use std::convert::Infallible;
use std::future::poll_fn;
use std::io;

use bytes::{Bytes, BytesMut};
use http::{Request, Response};
use http_body_util::Empty;
use hyper::body::Incoming;
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper_util::rt::TokioIo;
use tidings_ws::deflate::{Deflater, WindowBits};
use tidings_ws::frame;
use tidings_ws::handshake::{Handshake, Terms};
use tidings_ws::outbox::Outbox;
use tidings_ws::reader::{Message, Reader, ReaderLimits};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};

/// Autobahn's largest message is 16 MiB.
const LIMITS: ReaderLimits = ReaderLimits { message_bytes_max: 16 << 20, frame_bytes_max: 16 << 20 };
const READ_BYTES: usize = 64 * 1024;
const DEFLATE_LEVEL: u32 = 1;

/// A connection that has become a WebSocket.
pub(crate) struct Upgraded {
    pub(crate) io: TcpStream,
    /// What came behind the request.
    pub(crate) input: BytesMut,
    /// The window of compressed frames, if that was agreed to.
    pub(crate) deflate: Option<WindowBits>,
}

/// Upgrades every request and hands the connections to `run`. What goes wrong with one of them concerns no other.
pub(crate) async fn serve<R>(listener: TcpListener, terms: Terms<'static>, run: fn(Upgraded) -> R) -> io::Result<()>
where
    R: Future<Output = io::Result<()>> + Send + 'static,
{
    loop {
        let (stream, _) = listener.accept().await?;
        stream.set_nodelay(true)?;
        let service = service_fn(move |request| async move { Ok::<_, Infallible>(upgrade(request, &terms, run)) });
        tokio::spawn(http1::Builder::new().serve_connection(TokioIo::new(stream), service).with_upgrades());
    }
}

fn upgrade<R>(mut request: Request<Incoming>, terms: &Terms<'static>, run: fn(Upgraded) -> R) -> Response<Empty<Bytes>>
where
    R: Future<Output = io::Result<()>> + Send + 'static,
{
    let handshake = match Handshake::check(request.method(), request.version(), request.headers(), terms) {
        Ok(handshake) => handshake,
        Err(refused) => return refused.response(),
    };
    let deflate = terms.deflate.filter(|_| handshake.deflate());
    let upgrade = hyper::upgrade::on(&mut request);
    tokio::spawn(async move {
        // The client may be gone before the response is written.
        let Ok(upgraded) = upgrade.await else { return Ok(()) };
        let parts = upgraded.downcast::<TokioIo<TcpStream>>().expect("the listener serves plain TCP");
        run(Upgraded { io: parts.io.into_inner(), input: BytesMut::from(parts.read_buf), deflate }).await
    });
    handshake.response()
}

/// Sends every message back, until the client closes or breaks the rules.
pub(crate) async fn echo(upgraded: Upgraded) -> io::Result<()> {
    let Upgraded { mut io, mut input, deflate } = upgraded;
    let mut echo = Echo {
        reader: Reader::new(LIMITS, deflate.is_some()),
        outbox: Outbox::new(),
        deflater: deflate.map(|window| Deflater::new(DEFLATE_LEVEL, window)),
        closing: false,
    };
    while !echo.closing {
        echo.take_in(&mut input);
        while !echo.outbox.is_empty() {
            poll_fn(|cx| echo.outbox.poll_write(cx, &mut io)).await?;
        }
        if !echo.closing {
            input.reserve(READ_BYTES);
            if io.read_buf(&mut input).await? == 0 {
                return Ok(());
            }
        }
    }
    // The server ends the connection (RFC 6455 7.1.1), but takes what is on its way first: a socket that is closed with
    // unread bytes resets the connection, and the reset may overtake the close frame.
    io.shutdown().await?;
    while io.read_buf(&mut input).await? != 0 {
        input.clear();
    }
    Ok(())
}

struct Echo {
    reader: Reader,
    outbox: Outbox,
    /// There if compression was agreed to. A server with a fan-out would share one, and its frames.
    deflater: Option<Deflater>,
    closing: bool,
}

impl Echo {
    /// Answers all whole messages of the input.
    fn take_in(&mut self, input: &mut BytesMut) {
        while !self.closing {
            let answer = match self.reader.feed(input) {
                Ok(None) => return,
                Ok(Some(Message::Text(text))) => match &mut self.deflater {
                    Some(deflater) => deflater.text(text.as_bytes()),
                    None => frame::text(text.as_bytes()),
                },
                Ok(Some(Message::Binary(bytes))) => match &mut self.deflater {
                    Some(deflater) => deflater.binary(&bytes),
                    None => frame::binary(&bytes),
                },
                Ok(Some(Message::Ping(payload))) => frame::pong(&payload),
                Ok(Some(Message::Pong(_))) => continue,
                Ok(Some(Message::Close(close))) => {
                    self.closing = true;
                    close.answer()
                }
                Err(broken) => {
                    self.closing = true;
                    frame::close(broken.close_code(), &broken.to_string())
                }
            };
            self.outbox.push(answer);
        }
    }
}
