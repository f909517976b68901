//! A connection that speaks Socket.IO: what the session says is done, and what is said inside it is the speaker's.

use std::task::Context;
use std::time::Duration;

use tidings_dialects::engine_io::packet::{Packet, Said};
use tidings_dialects::engine_io::session::{Output, Session, Transport, Why};
use tidings_dialects::pygent::{PyGent, Wrapping};
use tidings_protocol::codes::CloseCode;
use tidings_ws::frame;
use tokio::time::Instant;

use super::super::alarm::Alarm;
use super::super::served::Farewell;
use super::super::speaker::Speaker;
use super::name;
use crate::MESSAGE_BYTES_MAX;
use crate::ws::connection::{Face, Line};

/// What a client is told that sends binary data.
pub(super) const NO_BINARY: &str = "Binary messages are not supported";

/// Socket.IO around a speaker, which is greeted, heard and pulled once the client has joined the namespace.
pub(super) struct SocketIo {
    session: Session,
    /// The session's first packet, until it is said.
    open: Option<String>,
    speaker: Speaker,
    /// The session's time begins here.
    since: Instant,
    alarm: Alarm,
}

impl SocketIo {
    /// A session that begins on this connection.
    pub(super) fn new(speaker: Speaker) -> SocketIo {
        let (session, open) = Session::open(&name(), &name(), Transport::WebSocket, &[], MESSAGE_BYTES_MAX, 0);
        SocketIo { session, open: Some(open), speaker, since: Instant::now(), alarm: Alarm::default() }
    }

    fn now_ms(&self) -> u64 {
        u64::try_from(self.since.elapsed().as_millis()).unwrap_or(u64::MAX)
    }

    fn carry_out(&mut self, line: &mut Line, outputs: Vec<Output>) {
        for output in outputs {
            match output {
                Output::Send(packet) => line.push(frame::text(packet.as_bytes())),
                Output::Joined => self.speaker.greet(line),
                Output::Heard(event) => {
                    let event = Packet::Message(Said::Event(event).text());
                    self.speaker.on_text(line, &event.text());
                }
                Output::Binary => refuse_binary(line),
                // It closes the transport itself.
                Output::Left => {}
                Output::Close(why) => self.speaker.farewell(line, None, farewell(why)),
            }
        }
    }
}

fn refuse_binary(line: &mut Line) {
    line.push(frame::text(PyGent(Wrapping::SocketIo).error(NO_BINARY).as_bytes()));
}

fn farewell(why: Why) -> Farewell {
    let code = match why {
        Why::Bye => 1000,
        Why::PingTimeout | Why::NeverJoined => 1001,
        Why::Fault => 1002,
    };
    Farewell { code, reason: "" }
}

impl Face for SocketIo {
    fn greet(&mut self, line: &mut Line) {
        if let Some(open) = self.open.take() {
            line.push(frame::text(open.as_bytes()));
        }
    }

    fn on_text(&mut self, line: &mut Line, text: &str) {
        let outputs = self.session.hear(text, self.now_ms());
        self.carry_out(line, outputs);
    }

    /// The attachment of an event that was refused when it was announced.
    fn on_binary(&mut self, _line: &mut Line) {}

    fn on_tick(&mut self, line: &mut Line, now: Instant) {
        self.speaker.on_tick(line, now);
    }

    fn look_at_ends(&mut self, line: &mut Line, cx: &mut Context<'_>) {
        self.speaker.look_at_ends(line, cx);
    }

    fn look_around(&mut self, line: &mut Line, cx: &mut Context<'_>) {
        let outputs = self.session.tick(self.now_ms());
        self.carry_out(line, outputs);
        if self.session.joined {
            self.speaker.look_around(line, cx);
        } else {
            self.speaker.look_at_ends(line, cx);
        }
        self.alarm.reset();
        self.alarm.by(self.since + Duration::from_millis(self.session.wake_at_ms()));
        self.alarm.arm(cx);
    }

    fn pull(&mut self, line: &mut Line, cx: &mut Context<'_>) -> bool {
        self.session.joined && self.speaker.pull(line, cx)
    }

    fn owed(&self) -> usize {
        self.speaker.owed()
    }

    /// Never in words of Socket.IO: after those its clients do not come back.
    fn close(&mut self, line: &mut Line, code: CloseCode, retry_after_ms: Option<u64>) {
        self.speaker.close(line, code, retry_after_ms);
    }
}
