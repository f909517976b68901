//! One WebSocket connection of the native protocol: a single future that owns the socket.
//!
//! It has no queue of events. While the socket takes bytes it pulls what lies between its cursors and the heads, at most
//! [`WRITE_BYTES`] at a time, in one vectored write; while the socket does not, nothing is taken. What the client says is
//! read only while few answers wait, so that a client that floods is slowed by its own socket.

use std::collections::VecDeque;
use std::future::Future;
use std::io;
use std::pin::Pin;
use std::task::{Context, Poll};
use std::time::Duration;

use bytes::{Bytes, BytesMut};
use tidings_log::hub::Hub;
use tidings_log::viewer::Pull;
use tidings_presence::Hall;
use tidings_protocol::codes::{CloseCode, ErrorCode, Reconnect};
use tidings_protocol::frames::ServerFrame;
use tidings_runtime::http::Accepted;
use tidings_runtime::telemetry::traces::Traces;
use tidings_ws::frame;
use tidings_ws::outbox::Outbox;
use tidings_ws::reader::{Message, Reader, ReaderLimits};
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::time::Instant;

use super::requests::{self, Request};
use super::subscriptions::Subscriptions;
use crate::connections::Registered;
use crate::encodings::WebSocket;
use crate::limits::Messages;
use crate::metrics::{Metrics, OpenGuard, Sampler};
use crate::traced::Deliveries;

mod clocks;
mod rights;
#[cfg(test)]
mod tests;

use clocks::Clocks;
use rights::Refreshing;

/// Bytes of events that are taken for one write.
pub(super) const WRITE_BYTES: usize = 256 * 1024;

/// Answers that may wait before the client is not read any more.
const REPLIES_MAX: usize = 32;

/// Faulty frames after which a connection is closed.
const ERRORS_MAX: u32 = 100;

/// How long the server waits for the peer's half of a close.
const CLOSE_WAIT: Duration = Duration::from_secs(5);

/// Bytes that a peer may still have sent when it is told to close; who sends more is cut off.
const CLOSING_BYTES_MAX: usize = 1024 * 1024;

/// Bytes that are read at once; control frames and subscriptions are small.
const READ_BYTES: usize = 4 * 1024;

/// Why a viewer that the server itself sent away should come back so late, at most, when nothing better is known.
const RETRY_AFTER_MS: u64 = 5_000;

/// What a connection is made with.
pub(super) struct Parts<S> {
    /// The upgraded socket.
    pub socket: S,
    /// Bytes that came behind the upgrade request.
    pub input: BytesMut,
    /// Whether permessage-deflate was negotiated.
    pub deflate: bool,
    /// Where it gets its topics.
    pub hub: Hub,
    /// Where it says that its viewer is there.
    pub presence: Hall,
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

/// A connection. Resolves when it is over.
pub(super) struct Connection<S> {
    socket: S,
    input: BytesMut,
    reader: Reader,
    outbox: Outbox,
    /// Frames that are ready to be written before any event.
    replies: VecDeque<Bytes>,
    subscriptions: Subscriptions,
    encoding: WebSocket,
    registered: Registered,
    refreshing: Option<Refreshing>,
    messages: Messages,
    metrics: Metrics,
    accepted: Option<Accepted>,
    sampler: Sampler,
    deliveries: Deliveries,
    /// While the socket takes nothing.
    blocked: Option<OpenGuard>,
    clocks: Clocks,
    told_degraded: bool,
    /// Events left no room for who is there the last time.
    presence_waits: bool,
    errors: u32,
    /// A frame could not be understood: nothing that follows is looked at.
    deaf: bool,
    phase: Phase,
    /// Kept between pulls for its capacity.
    frames: Vec<Bytes>,
}

/// Where a connection is in its life.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Phase {
    Open,
    /// The close frame is on its way, or waits for the peer's.
    Closing {
        since: Instant,
        /// Bytes that came since.
        heard: usize,
    },
    Over,
}

impl<S: AsyncRead + AsyncWrite + Unpin> Connection<S> {
    /// Greets the viewer.
    pub(super) fn new(parts: Parts<S>) -> Connection<S> {
        let bytes_max = parts.message_bytes_max;
        let limits = ReaderLimits { message_bytes_max: bytes_max, frame_bytes_max: bytes_max };
        let mut connection = Connection {
            socket: parts.socket,
            input: parts.input,
            reader: Reader::new(limits, parts.deflate),
            outbox: Outbox::new(),
            replies: VecDeque::new(),
            subscriptions: Subscriptions::new(parts.hub, parts.presence, parts.registered.control.wake.clone()),
            encoding: WebSocket { deflate: parts.deflate },
            registered: parts.registered,
            refreshing: None,
            messages: parts.messages,
            metrics: parts.metrics,
            accepted: parts.accepted,
            sampler: Sampler::default(),
            deliveries: Deliveries::new(parts.traces),
            blocked: None,
            clocks: Clocks::new(Instant::now(), parts.ping_every, parts.stalled_after),
            told_degraded: false,
            presence_waits: false,
            errors: 0,
            deaf: false,
            phase: Phase::Open,
            frames: Vec::new(),
        };
        let grant = connection.registered.held.grant();
        let ping_ms = u64::try_from(parts.ping_every.as_millis()).unwrap_or(u64::MAX);
        connection.reply(&ServerFrame::Hello { viewer: grant.viewer(), server: crate::SERVER, ping_ms });
        connection
    }

    fn reply(&mut self, frame: &ServerFrame<'_>) {
        let json = frame.to_json();
        let mut out = Vec::with_capacity(json.len() + 10);
        self.encoding.frame(&mut out, |payload| payload.extend_from_slice(&json));
        self.replies.push_back(out.into());
    }

    /// Refuses what is not the client's fault: it does not count against the connection.
    fn say_no(&mut self, code: ErrorCode, message: &str, reference: Option<&str>) {
        self.metrics.on_refused(code);
        self.reply(&ServerFrame::Error { code: code.as_str(), message, project: None, reference });
    }

    fn refuse(&mut self, code: ErrorCode, message: &str, reference: Option<&str>) {
        self.say_no(code, message, reference);
        self.errors += 1;
        if self.errors >= ERRORS_MAX {
            self.close(CloseCode::TooManyErrors, None);
        }
    }

    /// Says good-bye: nothing but the close frame is written any more. The viewer is not there from now on, however long
    /// its socket takes for what it has not read yet.
    fn close(&mut self, code: CloseCode, retry_after_ms: Option<u64>) {
        if self.phase != Phase::Open {
            return;
        }
        self.metrics.on_closed(Some(code));
        let reason = match code.reconnect() {
            Reconnect::Later => {
                let retry_after_ms = retry_after_ms.unwrap_or(RETRY_AFTER_MS);
                format!("{{\"code\":\"{}\",\"retry_after_ms\":{retry_after_ms}}}", code.as_str())
            }
            Reconnect::Now | Reconnect::No => format!("{{\"code\":\"{}\"}}", code.as_str()),
        };
        self.replies.push_back(frame::close(code.number(), &reason));
        self.subscriptions.clear();
        self.phase = Phase::Closing { since: Instant::now(), heard: 0 };
    }

    /// Reads what the client says, as long as few answers wait. Pending: nothing more now.
    fn poll_read(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        loop {
            while self.replies.len() < REPLIES_MAX && self.phase != Phase::Over && !self.deaf {
                match self.reader.feed(&mut self.input) {
                    Ok(Some(message)) => self.on_message(message),
                    Ok(None) => break,
                    Err(error) => {
                        let code = match error.close_code() {
                            1007 => CloseCode::InvalidUtf8,
                            1009 => CloseCode::FrameTooLarge,
                            _ => CloseCode::ProtocolError,
                        };
                        self.close(code, None);
                        // Whatever follows cannot be understood, but is read, or the close frame might be lost in a
                        // reset of the connection.
                        self.deaf = true;
                        break;
                    }
                }
            }
            if self.replies.len() >= REPLIES_MAX || self.phase == Phase::Over {
                return Poll::Pending;
            }
            let mut buffer = [0; READ_BYTES];
            let mut buffer = ReadBuf::new(&mut buffer);
            match Pin::new(&mut self.socket).poll_read(cx, &mut buffer) {
                Poll::Ready(Ok(())) if buffer.filled().is_empty() => {
                    return Poll::Ready(Err(io::ErrorKind::UnexpectedEof.into()));
                }
                Poll::Ready(Ok(())) => {
                    if let Phase::Closing { heard, .. } = &mut self.phase {
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
                if self.phase == Phase::Open {
                    self.metrics.on_closed(None);
                    self.replies.push_back(close.answer());
                }
                self.phase = Phase::Over;
            }
            // The close frame was the last one (RFC 6455, 5.5.1): only its answer is waited for.
            _ if self.phase != Phase::Open => {}
            _ if !self.messages.take() => self.close(CloseCode::RateLimited, None),
            Message::Ping(payload) => self.replies.push_back(frame::pong(&payload)),
            Message::Binary(_) => self.refuse(ErrorCode::InvalidFrame, "frames are JSON text", None),
            Message::Text(text) => self.on_text(&text),
            Message::Pong(_) => {}
        }
    }

    fn on_text(&mut self, text: &str) {
        match requests::parse(text) {
            Ok(Request::Ping { reference }) => self.reply(&ServerFrame::Pong { reference: reference.as_deref() }),
            Ok(Request::Refresh { token, reference }) => self.refresh(token, reference),
            Ok(Request::Subscribe(wish)) => {
                if self.subscriptions.is_full_for(&wish.project) {
                    let message = "too many projects on one connection";
                    self.refuse(ErrorCode::TooManySubscriptions, message, wish.reference.as_deref());
                    return;
                }
                let reference = wish.reference.clone();
                if let Err(full) = self.subscriptions.open(wish, &self.registered.held) {
                    self.say_no(ErrorCode::Busy, &full.to_string(), reference.as_deref());
                }
            }
            Ok(Request::Unsubscribe { project, reference }) => {
                if self.subscriptions.close(&project) {
                    self.registered.held.release(&project);
                    let reference = reference.as_deref();
                    self.reply(&ServerFrame::Unsubscribed { project: project.as_str(), reference });
                } else {
                    self.refuse(ErrorCode::NotSubscribed, "no subscription to this project", reference.as_deref());
                }
            }
            Err(refused) => self.refuse(refused.code, &refused.message, refused.reference.as_deref()),
        }
    }

    /// Looks at the clocks: pings, silent peers, stalled sockets, words about the cursor.
    fn on_tick(&mut self, now: Instant) {
        match self.phase {
            Phase::Open if self.clocks.is_stalled(now) => {
                // The socket takes nothing, so nothing can be said: the viewer resumes from its own position.
                self.metrics.stalled.inc();
                self.metrics.on_closed(Some(CloseCode::Stalled));
                return self.give_up();
            }
            Phase::Open => {}
            Phase::Closing { since, .. } if now.duration_since(since) >= CLOSE_WAIT => return self.give_up(),
            Phase::Over if self.clocks.is_stalled(now) => return self.give_up(),
            Phase::Closing { .. } | Phase::Over => return,
        }
        if self.clocks.is_silent(now) {
            self.close(CloseCode::PingTimeout, None);
            return;
        }
        if self.clocks.ping_is_due(now) {
            self.replies.push_back(frame::ping(b""));
        }
        if self.clocks.at_is_due(now) {
            let mut frames = std::mem::take(&mut self.frames);
            self.subscriptions.tell_at(&self.encoding, &mut frames);
            self.replies.extend(frames.drain(..));
            self.frames = frames;
        }
    }

    /// Ends the connection with what is not written yet.
    fn give_up(&mut self) {
        self.phase = Phase::Over;
        self.outbox.clear();
        self.replies.clear();
    }

    /// Looks whether the gateway or the rights have sent the viewer away.
    fn look_at_ends(&mut self, cx: &mut Context<'_>) {
        if let Some(retry_after_ms) = self.registered.control.draining() {
            self.reply(&ServerFrame::Draining { retry_after_ms });
            self.close(CloseCode::Draining, Some(retry_after_ms));
        }
        self.look_at_rights(cx);
    }

    /// Fills an empty outbox with what is due, answers first. False: there is nothing.
    fn fill(&mut self, cx: &mut Context<'_>) -> bool {
        if self.phase == Phase::Open {
            let degraded = self.registered.is_degraded();
            if degraded != self.told_degraded {
                self.told_degraded = degraded;
                self.reply(&ServerFrame::Degraded { active: degraded });
            }
            self.look_at_ends(cx);
        }
        if self.phase == Phase::Open {
            self.look_at_openings(cx);
        }
        if !self.replies.is_empty() {
            self.replies.drain(..).for_each(|frame| self.outbox.push(frame));
            return true;
        }
        if self.phase != Phase::Open {
            return false;
        }
        // Events come first; where they leave no room, who is there is told every second time.
        if std::mem::take(&mut self.presence_waits) && self.tell_presence(WRITE_BYTES) {
            return true;
        }
        let mut pull = Pull {
            encoding: &self.encoding,
            out: &mut self.frames,
            bytes_left: WRITE_BYTES,
            events_left: usize::MAX,
            until: u64::MAX,
        };
        let wanted = self.sampler.wants();
        let (taken, sample) = self.subscriptions.poll_pull(cx, &mut pull, wanted, &mut self.deliveries);
        let room = pull.bytes_left;
        if taken {
            self.sampler.taken(sample);
        }
        self.frames.drain(..).for_each(|frame| self.outbox.push(frame));
        if room == 0 {
            self.presence_waits = true;
            return taken;
        }
        self.tell_presence(room) || taken
    }

    /// Takes what is to be said of who is there, until this room is used up. False: there is nothing.
    fn tell_presence(&mut self, room: usize) -> bool {
        self.subscriptions.tell_presence(self.encoding, room, &mut self.frames);
        let told = !self.frames.is_empty();
        self.frames.drain(..).for_each(|frame| self.outbox.push(frame));
        told
    }

    /// What was taken has left; the first time that was the greeting.
    fn on_written(&mut self) {
        if let Some(Accepted(at)) = self.accepted.take() {
            self.metrics.on_connected(at.elapsed());
        }
        self.sampler.written(&self.metrics);
        self.deliveries.written();
    }

    /// Writes what is due. Ready: the connection is over.
    fn poll_write(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        let mut written = 0;
        loop {
            if written >= WRITE_BYTES {
                // A thousand that catch up at once take turns, or everybody else (the store's own connection, too) would
                // wait for as many full socket buffers.
                cx.waker().wake_by_ref();
                return Poll::Pending;
            }
            if self.outbox.is_empty() && !self.fill(cx) {
                return if self.phase == Phase::Over { Poll::Ready(Ok(())) } else { Poll::Pending };
            }
            match self.outbox.poll_write(cx, &mut self.socket) {
                Poll::Ready(Ok(progress)) => {
                    self.clocks.blocked_since = None;
                    self.blocked = None;
                    if self.outbox.is_empty() {
                        self.on_written();
                    }
                    written += progress.bytes;
                    self.metrics.writes.inc();
                    self.metrics.bytes_written.inc_by(progress.bytes as u64);
                }
                Poll::Ready(Err(error)) => return Poll::Ready(Err(error)),
                Poll::Pending => {
                    self.clocks.blocked_since.get_or_insert_with(Instant::now);
                    self.blocked.get_or_insert_with(|| self.metrics.block());
                    return Poll::Pending;
                }
            }
        }
    }
}

impl<S: AsyncRead + AsyncWrite + Unpin> Future for Connection<S> {
    type Output = io::Result<()>;

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        let this = &mut *self;
        // ORDER: register before looking, or news in between would be missed.
        this.registered.control.wake.register(cx.waker());
        this.registered.control.wake.take();
        while let Poll::Ready(now) = this.clocks.tick.poll_tick(cx) {
            this.on_tick(now);
        }
        if this.phase == Phase::Open && !this.outbox.is_empty() {
            // Else whoever reads slowly, or not at all, would stay for as long as that takes.
            this.look_at_ends(cx);
        }
        loop {
            // What the client says comes first: it may end what would be written.
            if let Poll::Ready(Err(error)) = this.poll_read(cx) {
                return Poll::Ready(if this.phase == Phase::Open { Err(error) } else { Ok(()) });
            }
            let answers_full = this.replies.len() >= REPLIES_MAX;
            if let Poll::Ready(over) = this.poll_write(cx) {
                return Poll::Ready(over);
            }
            // Room for answers was made: read on, or nothing would wake this task for what the client has said already.
            if !answers_full || this.replies.len() >= REPLIES_MAX {
                return Poll::Pending;
            }
        }
    }
}
