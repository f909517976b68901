//! A connection that speaks Socket.IO: what the session says is done, and what is said inside it is the speaker's.

use std::sync::Arc;
use std::task::Context;
use std::time::Duration;

use tidings_broker::slip::Slip;
use tidings_dialects::engine_io::packet::{Packet, Said};
use tidings_dialects::engine_io::session::{Output, Session, Transport, Why};
use tidings_dialects::pygent::{PyGent, Wrapping};
use tidings_log::wake::Wake;
use tidings_protocol::codes::CloseCode;
use tidings_protocol::filter::Filter;
use tidings_protocol::grant::{Grant, Holder};
use tidings_protocol::project::Project;
use tidings_ws::frame;
use tokio::time::Instant;

use super::super::alarm::Alarm;
use super::super::coming::{Coming, Start, registered, speaker_from};
use super::super::now_ms;
use super::super::pygent::Factory;
use super::super::served::Farewell;
use super::super::speaker::Speaker;
use super::record::{is, place, session_of};
use super::{name, who};
use crate::MESSAGE_BYTES_MAX;
use crate::limits::Caller;
use crate::ws::connection::{Face, Line};

/// What a client is told that sends binary data.
pub(super) const NO_BINARY: &str = "Binary messages are not supported";

/// What a speaker is made of, once the client has joined.
pub(super) struct Joining {
    pub(super) factory: Arc<Factory>,
    pub(super) project: Project,
    pub(super) grant: Grant,
    pub(super) variant: u8,
    pub(super) caller: Caller,
    pub(super) wake: Arc<Wake>,
}

impl Joining {
    /// What the client may do, whom its library takes for this one.
    fn grant_of(&self, who: &str) -> Grant {
        match self.grant.holder() {
            Holder::Anyone => self.factory.anyone(&who::viewer(who)),
            _ => self.grant.clone(),
        }
    }

    /// Whom its library takes the client for, from there on; nowhere: from its place, or from now.
    fn speaker(&self, who: &str, start: Option<Start>, line: &mut Line) -> Speaker {
        let grant = self.grant_of(who);
        // It may have come before it was known who it is; one that polls may have said so by another request meanwhile.
        if grant.viewer() != self.grant.viewer() {
            line.registered = registered(&self.factory.shared, &self.project, &grant, self.wake.clone());
        }
        let coming = Coming {
            served: self.factory.served.clone(),
            variant: self.variant,
            project: self.project.clone(),
            places: None,
            filter: Filter::default(),
            resumes: Some(who::reader(who, &grant)),
            grant,
        };
        speaker_from(&self.factory.shared, coming, self.caller.clone(), self.wake.clone(), start)
    }
}

/// Socket.IO around a speaker, which is there once the client has joined the namespace: then it is known who it is.
pub(super) struct SocketIo {
    session: Session,
    /// The session's first packet, until it is said.
    open: Option<String>,
    joining: Joining,
    speaker: Option<Speaker>,
    /// When this connection had it, and what the session's clock said then.
    since: (Instant, u64),
    alarm: Alarm,
}

impl SocketIo {
    /// A session that begins on this connection.
    pub(super) fn new(joining: Joining) -> SocketIo {
        let (mut session, open) = Session::open(&name(), &name(), Transport::WebSocket, &[], MESSAGE_BYTES_MAX, 0);
        session.who = name();
        let since = (Instant::now(), 0);
        SocketIo { session, open: Some(open), joining, speaker: None, since, alarm: Alarm::default() }
    }

    /// A session that polled, whose client has everything that it was told there; what waits for it is said first.
    pub(super) fn taken(sid: &str, slip: &Slip, joining: Joining, line: &mut Line) -> SocketIo {
        let session = session_of(sid, slip);
        let speaker = session.joined.then(|| {
            let greeted = is(slip, "greeted");
            let start = place(slip).map(|at| Start { at, resumed: greeted, greeted: greeted && !is(slip, "owes") });
            joining.speaker(&session.who, start, line)
        });
        slip.lines.values().for_each(|said| line.push(frame::text(said.as_bytes())));
        let since = (Instant::now(), now_ms());
        SocketIo { session, open: None, joining, speaker, since, alarm: Alarm::default() }
    }

    fn now_ms(&self) -> u64 {
        let (since, since_ms) = self.since;
        since_ms.saturating_add(u64::try_from(since.elapsed().as_millis()).unwrap_or(u64::MAX))
    }

    fn carry_out(&mut self, line: &mut Line, outputs: Vec<Output>) {
        for output in outputs {
            match output {
                Output::Send(packet) => line.push(frame::text(packet.as_bytes())),
                Output::Joined => self.join(line),
                Output::Heard(event) => {
                    let event = Packet::Message(Said::Event(event).text());
                    if let Some(speaker) = &mut self.speaker {
                        speaker.on_text(line, &event.text());
                    }
                }
                Output::Binary => refuse_binary(line),
                // It closes the transport itself.
                Output::Left => {}
                Output::Close(why) => self.farewell(line, None, farewell(why)),
            }
        }
    }

    fn join(&mut self, line: &mut Line) {
        let mut speaker = self.joining.speaker(&self.session.who, None, line);
        speaker.greet(line);
        self.speaker = Some(speaker);
    }

    fn farewell(&mut self, line: &mut Line, counted: Option<CloseCode>, farewell: Farewell) {
        match &mut self.speaker {
            Some(speaker) => speaker.farewell(line, counted, farewell),
            None => {
                line.close(counted, farewell.code, farewell.reason);
            }
        }
    }
}

/// Why the gateway, or the rights, send this connection away.
pub(super) fn sent_away(line: &Line) -> Option<CloseCode> {
    if line.registered.control.draining().is_some() {
        return Some(CloseCode::Draining);
    }
    line.registered.refused().map(|refusal| refusal.close_code().unwrap_or(CloseCode::Unauthenticated))
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

    fn on_pong(&mut self, payload: &[u8]) {
        if let Some(speaker) = &mut self.speaker {
            speaker.on_pong(payload);
        }
    }

    fn on_farewell_answered(&mut self) {
        if let Some(speaker) = &mut self.speaker {
            speaker.on_farewell_answered();
        }
    }

    fn on_tick(&mut self, line: &mut Line, now: Instant) {
        if let Some(speaker) = &mut self.speaker {
            speaker.on_tick(line, now);
        }
    }

    fn look_at_ends(&mut self, line: &mut Line, _cx: &mut Context<'_>) {
        if let Some(code) = sent_away(line) {
            self.close(line, code, None);
        }
    }

    fn look_around(&mut self, line: &mut Line, cx: &mut Context<'_>) {
        let outputs = self.session.tick(self.now_ms());
        self.carry_out(line, outputs);
        match &mut self.speaker {
            Some(speaker) if self.session.joined => speaker.look_around(line, cx),
            Some(_) | None => self.look_at_ends(line, cx),
        }
        let (since, since_ms) = self.since;
        self.alarm.reset();
        self.alarm.by(since + Duration::from_millis(self.session.wake_at_ms().saturating_sub(since_ms)));
        self.alarm.arm(cx);
    }

    fn pull(&mut self, line: &mut Line, cx: &mut Context<'_>) -> bool {
        match &mut self.speaker {
            Some(speaker) if self.session.joined => speaker.pull(line, cx),
            Some(_) | None => false,
        }
    }

    fn owed(&self) -> usize {
        self.speaker.as_ref().map_or(0, Speaker::owed)
    }

    /// Never in words of Socket.IO: after those its clients do not come back.
    fn close(&mut self, line: &mut Line, code: CloseCode, _retry_after_ms: Option<u64>) {
        let farewell = self.joining.factory.served.profile.farewell(code);
        self.farewell(line, Some(code), farewell);
    }
}
