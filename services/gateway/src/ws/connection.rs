//! One WebSocket connection: a single future that owns the socket, whatever protocol is spoken on it ([`Face`]).
//!
//! It has no queue of events. While the socket takes bytes it pulls what its face has, at most [`WRITE_BYTES`] at a time,
//! in one vectored write; while the socket does not, nothing is taken. What the client says is read only while few answers
//! wait, so that a client that floods is slowed by its own socket.

use std::future::Future;
use std::io;
use std::mem::MaybeUninit;
use std::pin::Pin;
use std::task::{Context, Poll};
use std::time::Duration;

use bytes::BytesMut;
use tidings_protocol::codes::CloseCode;
use tidings_runtime::http::Accepted;
use tidings_runtime::telemetry::traces::Traces;
use tidings_ws::frame;
use tidings_ws::outbox::Outbox;
use tidings_ws::reader::{Message, Reader, ReaderLimits};
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::time::Instant;

use crate::connections::Registered;
use crate::limits::Messages;
use crate::metrics::{Metrics, OpenGuard};

mod clocks;
mod face;
mod line;
#[cfg(test)]
mod tests;

use clocks::Clocks;
pub(crate) use face::Face;
pub(crate) use line::Line;
use line::Phase;

/// Bytes of events that are taken for one write.
pub(crate) const WRITE_BYTES: usize = 256 * 1024;

/// Answers that may wait before the client is not read any more.
const REPLIES_MAX: usize = 32;

/// How long the server waits for the peer's half of a close.
const CLOSE_WAIT: Duration = Duration::from_secs(5);

/// Bytes that a peer may still have sent when it is told to close; who sends more is cut off.
const CLOSING_BYTES_MAX: usize = 1024 * 1024;

/// Bytes that are read at once; control frames and subscriptions are small.
const READ_BYTES: usize = 4 * 1024;

/// What an empty outbox was filled with.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Filled {
    /// There is nothing.
    Nothing,
    /// There may be more.
    Part,
    /// All there was: what comes up later wakes the connection.
    All,
}

/// What a connection is made with.
pub(crate) struct Parts<S> {
    /// The upgraded socket.
    pub socket: S,
    /// Bytes that came behind the upgrade request.
    pub input: BytesMut,
    /// Whether permessage-deflate was negotiated.
    pub deflate: bool,
    /// Its place in the registry, with what the viewer may do, and who it is.
    pub registered: Registered,
    /// How many messages the client may send.
    pub messages: Messages,
    /// Counters.
    pub metrics: Metrics,
    /// When the socket was accepted, if nothing else was asked on it before.
    pub accepted: Option<Accepted>,
    /// Where spans of deliveries go.
    pub traces: Traces,
    /// Largest message of a client, in bytes.
    pub message_bytes_max: usize,
    /// How often the server pings.
    pub ping_every: Duration,
    /// How long nothing may be written before a viewer counts as stalled.
    pub stalled_after: Duration,
}

/// A connection that speaks one protocol. Resolves when it is over.
pub(crate) struct Connection<S, F> {
    socket: S,
    input: BytesMut,
    reader: Reader,
    outbox: Outbox,
    messages: Messages,
    accepted: Option<Accepted>,
    /// While the socket takes nothing.
    blocked: Option<OpenGuard>,
    clocks: Clocks,
    /// A frame could not be understood: nothing that follows is looked at.
    deaf: bool,
    line: Line,
    face: F,
}

impl<S: AsyncRead + AsyncWrite + Unpin, F: Face> Connection<S, F> {
    /// Greets the viewer.
    pub(crate) fn new(parts: Parts<S>, mut face: F) -> Connection<S, F> {
        let bytes_max = parts.message_bytes_max;
        let limits = ReaderLimits { message_bytes_max: bytes_max, frame_bytes_max: bytes_max };
        let mut line = Line::new(parts.registered, parts.metrics, parts.traces);
        face.greet(&mut line);
        Connection {
            socket: parts.socket,
            input: parts.input,
            reader: Reader::new(limits, parts.deflate),
            outbox: Outbox::new(),
            messages: parts.messages,
            accepted: parts.accepted,
            blocked: None,
            clocks: Clocks::new(Instant::now(), parts.ping_every, parts.stalled_after),
            deaf: false,
            line,
            face,
        }
    }

    /// Says good-bye, unless that was said.
    fn close(&mut self, code: CloseCode) {
        self.face.close(&mut self.line, code, None);
    }

    /// Whether so much waits to be answered that the client is not read any more.
    fn is_full(&self) -> bool {
        self.line.waiting() + self.face.owed() >= REPLIES_MAX
    }

    /// Reads what the client says, as long as few answers wait. Pending: nothing more now.
    fn poll_read(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        loop {
            while !self.is_full() && self.line.phase != Phase::Over && !self.deaf {
                match self.reader.feed(&mut self.input) {
                    Ok(Some(message)) => self.on_message(message),
                    Ok(None) => break,
                    Err(error) => {
                        let code = match error.close_code() {
                            1007 => CloseCode::InvalidUtf8,
                            1009 => CloseCode::FrameTooLarge,
                            _ => CloseCode::ProtocolError,
                        };
                        self.close(code);
                        // Whatever follows cannot be understood, but is read, or the close frame might be lost in a
                        // reset of the connection.
                        self.deaf = true;
                        break;
                    }
                }
            }
            if self.is_full() || self.line.phase == Phase::Over {
                return Poll::Pending;
            }
            let mut buffer = [MaybeUninit::uninit(); READ_BYTES];
            let mut buffer = ReadBuf::uninit(&mut buffer);
            match Pin::new(&mut self.socket).poll_read(cx, &mut buffer) {
                Poll::Ready(Ok(())) if buffer.filled().is_empty() => {
                    return Poll::Ready(Err(io::ErrorKind::UnexpectedEof.into()));
                }
                Poll::Ready(Ok(())) => {
                    if let Phase::Closing { heard, .. } = &mut self.line.phase {
                        // Who goes on talking does not mean to answer the close frame.
                        *heard += buffer.filled().len();
                        if *heard > CLOSING_BYTES_MAX {
                            return Poll::Ready(Err(io::ErrorKind::ConnectionAborted.into()));
                        }
                    }
                    self.clocks.heard_at = Instant::now();
                    if !self.deaf {
                        self.input.extend_from_slice(buffer.filled());
                    }
                }
                Poll::Ready(Err(error)) => return Poll::Ready(Err(error)),
                Poll::Pending => {
                    if self.input.is_empty() {
                        // An idle connection holds no buffer.
                        self.input = BytesMut::new();
                    }
                    return Poll::Pending;
                }
            }
        }
    }

    fn on_message(&mut self, message: Message) {
        match message {
            Message::Close(close) => {
                if self.line.is_open() {
                    self.line.metrics.on_closed(None);
                    self.line.push(close.answer());
                } else if close.code.is_some() && close.code == self.line.closed_with {
                    // Another code is a close of the client's own that has crossed ours.
                    self.face.on_farewell_answered();
                }
                self.line.phase = Phase::Over;
            }
            // The close frame was the last one (RFC 6455, 5.5.1): only its answer is waited for.
            _ if !self.line.is_open() => {}
            _ if !self.messages.take() => {
                if !self.face.drops() {
                    self.close(CloseCode::RateLimited);
                }
            }
            Message::Ping(payload) => self.line.push(frame::pong(&payload)),
            Message::Binary(_) => self.face.on_binary(&mut self.line),
            Message::Text(text) => self.face.on_text(&mut self.line, &text),
            Message::Pong(payload) => self.face.on_pong(&payload),
        }
    }

    /// Looks at the clocks: pings, silent peers, stalled sockets, words about the cursor.
    fn on_alarm(&mut self, now: Instant) {
        match self.line.phase {
            Phase::Open if self.clocks.is_stalled(now) => {
                // The socket takes nothing, so nothing can be said: the viewer resumes from its own position.
                self.line.metrics.stalled.inc();
                self.line.metrics.on_closed(Some(CloseCode::Stalled));
                return self.give_up();
            }
            Phase::Open => {}
            Phase::Closing { since, .. } if now.duration_since(since) >= CLOSE_WAIT => return self.give_up(),
            Phase::Over if self.clocks.is_stalled(now) => return self.give_up(),
            Phase::Closing { .. } | Phase::Over => return,
        }
        if self.clocks.is_silent(now) {
            self.close(CloseCode::PingTimeout);
            return;
        }
        if self.clocks.ping_is_due(now) {
            self.line.push(frame::ping(b""));
        }
        self.face.on_tick(&mut self.line, now);
    }

    /// When to look at the clocks again, as things stand.
    fn alarm_at(&self) -> Option<Instant> {
        match self.line.phase {
            Phase::Open => {
                let next = self.clocks.next();
                Some(self.face.tick_at().map_or(next, |tick_at| next.min(tick_at)))
            }
            Phase::Closing { since, .. } => Some(since + CLOSE_WAIT),
            Phase::Over => self.clocks.stalled_at(),
        }
    }

    /// Ends the connection with what is not written yet.
    fn give_up(&mut self) {
        self.line.give_up();
        self.outbox.clear();
    }

    /// Looks whether the gateway or the rights have sent the viewer away.
    fn look_at_ends(&mut self, cx: &mut Context<'_>) {
        self.face.look_at_ends(&mut self.line, cx);
    }

    /// Fills an empty outbox with what is due, answers first.
    fn fill(&mut self, cx: &mut Context<'_>) -> Filled {
        if self.line.is_open() {
            self.face.look_around(&mut self.line, cx);
        }
        if self.line.waiting() > 0 {
            self.line.drain_replies().for_each(|frame| self.outbox.push(frame));
            return Filled::Part;
        }
        if !self.line.is_open() || !self.face.pull(&mut self.line, cx) {
            return Filled::Nothing;
        }
        self.line.frames.drain(..).for_each(|frame| self.outbox.push(frame));
        if self.face.is_exhausted() { Filled::All } else { Filled::Part }
    }

    /// What was taken has left; the first time that was the greeting.
    fn on_written(&mut self) {
        if let Some(Accepted(at)) = self.accepted.take() {
            self.line.metrics.on_connected(at.elapsed());
        }
        self.line.sampler.written(&self.line.metrics);
        self.line.deliveries.written();
    }

    /// Writes what is due. Ready: the connection is over.
    fn poll_write(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        let (mut written, mut filled) = (0, Filled::Part);
        loop {
            if written >= WRITE_BYTES {
                // A thousand that catch up at once take turns, or everybody else (the store's own connection, too) would
                // wait for as many full socket buffers.
                cx.waker().wake_by_ref();
                return Poll::Pending;
            }
            if self.outbox.is_empty() {
                filled = if filled == Filled::All { Filled::Nothing } else { self.fill(cx) };
                if filled == Filled::Nothing {
                    return if self.line.phase == Phase::Over { Poll::Ready(Ok(())) } else { Poll::Pending };
                }
            }
            match self.outbox.poll_write(cx, &mut self.socket) {
                Poll::Ready(Ok(progress)) => {
                    self.clocks.blocked_since = None;
                    self.blocked = None;
                    if self.outbox.is_empty() {
                        self.on_written();
                    }
                    written += progress.bytes;
                    self.line.metrics.writes.inc();
                    self.line.metrics.bytes_written.inc_by(progress.bytes as u64);
                }
                Poll::Ready(Err(error)) => return Poll::Ready(Err(error)),
                Poll::Pending => {
                    self.clocks.blocked_since.get_or_insert_with(Instant::now);
                    self.blocked.get_or_insert_with(|| self.line.metrics.block());
                    return Poll::Pending;
                }
            }
        }
    }

    /// Reads and writes what can be. Ready: the connection is over.
    fn poll_both(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        loop {
            // What the client says comes first: it may end what would be written.
            if let Poll::Ready(Err(error)) = self.poll_read(cx) {
                return Poll::Ready(if self.line.is_open() { Err(error) } else { Ok(()) });
            }
            let answers_full = self.is_full();
            if let Poll::Ready(over) = self.poll_write(cx) {
                return Poll::Ready(over);
            }
            // Room for answers was made: read on, or nothing would wake this task for what the client has said already.
            if !answers_full || self.is_full() {
                return Poll::Pending;
            }
        }
    }
}

impl<S: AsyncRead + AsyncWrite + Unpin, F: Face> Future for Connection<S, F> {
    type Output = io::Result<()>;

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        let this = &mut *self;
        // ORDER: register before looking, or news in between would be missed.
        this.line.registered.control.wake.register(cx.waker());
        this.line.registered.control.wake.take();
        if let Poll::Ready(now) = this.clocks.poll_alarm(cx) {
            this.on_alarm(now);
        }
        if this.line.is_open() && !this.outbox.is_empty() {
            // Else whoever reads slowly, or not at all, would stay for as long as that takes.
            this.look_at_ends(cx);
        }
        let polled = this.poll_both(cx);
        if polled.is_pending()
            && let Some(at) = this.alarm_at()
        {
            this.clocks.wake_by(at, cx);
        }
        polled
    }
}
