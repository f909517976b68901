//! A WebSocket that is to take a polling session over, wherever its polls land: it is probed, and takes over when its client
//! says so, which it does once its last poll was answered. That is one step on the session's slip, behind which no poll is
//! told anything: what the client had is where the WebSocket goes on. Until then the session polls as if it were not there.

use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::Duration;

use futures_util::FutureExt as _;
use futures_util::future::BoxFuture;
use tidings_broker::slip::{Done, Slip, Turn};
use tidings_dialects::engine_io::packet::Packet;
use tidings_dialects::engine_io::session::probe;
use tidings_protocol::codes::CloseCode;
use tidings_ws::frame;
use tokio::time::Instant;

use super::super::alarm::Alarm;
use super::super::now_ms;
use super::No;
use super::face::{Joining, SocketIo, sent_away};
use super::record::{BY_WEBSOCKET, CARRIER, POLL, PROBE, PROBED, UPGRADE_WAIT_MS, field, is, turn};
use crate::shared::Shared;
use crate::ws::connection::{Face, Line};

/// Wait between tries while the store is away.
const RETRY: Duration = Duration::from_millis(200);

/// So much counts as owed while the slip is asked: nothing is read.
const NOT_NOW: usize = 1_024;

/// A step on the slip that is under way.
type Step = BoxFuture<'static, Result<Slip, No>>;

/// How far it is.
enum Stage {
    /// Nothing was said.
    Silent,
    /// Polls are asked to end soon; then this is said.
    Probing(Step, String),
    /// It was probed.
    Probed,
    /// The client has said that it takes over.
    Taking(Step),
    /// It has.
    Taken(Box<SocketIo>),
    /// It came to nothing.
    Over,
}

/// The server's end of such a WebSocket.
pub(super) struct Taking {
    sid: String,
    /// Its name among those that might take the session over.
    name: String,
    shared: Arc<Shared>,
    /// Until it has taken over.
    joining: Option<Joining>,
    stage: Stage,
    /// When it must have taken over.
    until: Instant,
    alarm: Alarm,
}

impl Taking {
    /// Of this session, for whom it belongs to.
    pub(super) fn new(sid: String, joining: Joining) -> Taking {
        Taking {
            sid,
            name: super::name(),
            shared: joining.factory.shared.clone(),
            joining: Some(joining),
            stage: Stage::Silent,
            until: Instant::now() + Duration::from_millis(UPGRADE_WAIT_MS),
            alarm: Alarm::default(),
        }
    }

    /// A step on the slip; while the store is away, again and again. Each may be done twice without harm.
    fn step(&self, what: Turn) -> Step {
        let (shared, sid) = (self.shared.clone(), self.sid.clone());
        async move {
            loop {
                match turn(&shared, &sid, what.clone()).await {
                    Err(No::Store) => tokio::time::sleep(RETRY).await,
                    turned => return turned,
                }
            }
        }
        .boxed()
    }

    fn mark(&self) -> Step {
        self.step(Turn { set: vec![field(PROBE, &self.name), field(PROBED, &now_ms())], ..Turn::default() })
    }

    /// From this step on whatever polls took in vain stays untold there, and no poll is answered any more.
    fn take(&self) -> Step {
        let only = Some(field(PROBE, &self.name));
        let set = vec![field(CARRIER, &BY_WEBSOCKET), field(POLL, &self.name)];
        self.step(Turn { only, set, ..Turn::default() })
    }

    /// It does not take over: the session goes on without it.
    fn end(&mut self, line: &mut Line, code: u16) {
        self.stage = Stage::Over;
        line.close(None, code, "");
    }

    fn look_at_step(&mut self, line: &mut Line, cx: &mut Context<'_>) {
        let (Stage::Probing(step, _) | Stage::Taking(step)) = &mut self.stage else { return };
        let Poll::Ready(stepped) = step.poll_unpin(cx) else { return };
        let slip = stepped.ok().filter(|slip| slip.done == Done::All && !is(slip, "over"));
        match (std::mem::replace(&mut self.stage, Stage::Over), slip, self.joining.take()) {
            (Stage::Probing(_, answer), Some(_), joining) => {
                line.push(frame::text(answer.as_bytes()));
                (self.stage, self.joining) = (Stage::Probed, joining);
            }
            (Stage::Taking(_), Some(slip), Some(joining)) => {
                let taken = SocketIo::taken(&self.sid, &slip, joining, line);
                self.stage = Stage::Taken(Box::new(taken));
            }
            // The session is over, or another one takes it.
            _ => self.end(line, CloseCode::Normal.number()),
        }
    }
}

impl Face for Taking {
    fn greet(&mut self, _line: &mut Line) {}

    fn on_text(&mut self, line: &mut Line, text: &str) {
        match &mut self.stage {
            Stage::Taken(taken) => taken.on_text(line, text),
            Stage::Silent => match probe(text) {
                Some(answer) => self.stage = Stage::Probing(self.mark(), answer),
                None => self.end(line, 1002),
            },
            Stage::Probed if Packet::parse(text) == Ok(Packet::Upgrade) => self.stage = Stage::Taking(self.take()),
            Stage::Probing(..) | Stage::Probed | Stage::Taking(_) | Stage::Over => self.end(line, 1002),
        }
    }

    fn on_binary(&mut self, line: &mut Line) {
        match &mut self.stage {
            Stage::Taken(taken) => taken.on_binary(line),
            _ => self.end(line, 1003),
        }
    }

    fn on_pong(&mut self, payload: &[u8]) {
        if let Stage::Taken(taken) = &mut self.stage {
            taken.on_pong(payload);
        }
    }

    fn on_farewell_answered(&mut self) {
        if let Stage::Taken(taken) = &mut self.stage {
            taken.on_farewell_answered();
        }
    }

    fn on_tick(&mut self, line: &mut Line, now: Instant) {
        if let Stage::Taken(taken) = &mut self.stage {
            taken.on_tick(line, now);
        }
    }

    fn look_at_ends(&mut self, line: &mut Line, cx: &mut Context<'_>) {
        if let Stage::Taken(taken) = &mut self.stage {
            taken.look_at_ends(line, cx);
        } else if let Some(code) = sent_away(line) {
            self.close(line, code, None);
        }
    }

    fn look_around(&mut self, line: &mut Line, cx: &mut Context<'_>) {
        self.look_at_step(line, cx);
        if let Stage::Taken(taken) = &mut self.stage {
            return taken.look_around(line, cx);
        }
        self.look_at_ends(line, cx);
        if self.until <= Instant::now() && line.is_open() {
            self.end(line, CloseCode::Normal.number());
        }
        self.alarm.reset();
        self.alarm.by(self.until);
        self.alarm.arm(cx);
    }

    fn pull(&mut self, line: &mut Line, cx: &mut Context<'_>) -> bool {
        match &mut self.stage {
            Stage::Taken(taken) => taken.pull(line, cx),
            _ => false,
        }
    }

    fn owed(&self) -> usize {
        match &self.stage {
            Stage::Taken(taken) => taken.owed(),
            Stage::Probing(..) | Stage::Taking(_) => NOT_NOW,
            Stage::Silent | Stage::Probed | Stage::Over => 0,
        }
    }

    fn close(&mut self, line: &mut Line, code: CloseCode, retry_after_ms: Option<u64>) {
        match (&mut self.stage, &self.joining) {
            (Stage::Taken(taken), _) => taken.close(line, code, retry_after_ms),
            (_, Some(joining)) => {
                let farewell = joining.factory.served.profile.farewell(code);
                line.close(Some(code), farewell.code, farewell.reason);
                self.stage = Stage::Over;
            }
            (_, None) => {
                line.close(Some(code), code.number(), "");
            }
        }
    }
}

impl Drop for Taking {
    /// Where it did not take over, polls wait again for as long as they did before.
    fn drop(&mut self) {
        let Ok(runtime) = tokio::runtime::Handle::try_current() else { return };
        if matches!(self.stage, Stage::Silent | Stage::Taken(_)) {
            return;
        }
        let (shared, sid) = (self.shared.clone(), std::mem::take(&mut self.sid));
        let clear = Turn { only: Some(field(PROBE, &self.name)), set: vec![field(PROBE, &"")], ..Turn::default() };
        let tasks = shared.connections.tasks().clone();
        tasks.spawn_on(async move { turn(&shared, &sid, clear).await.map(drop).unwrap_or_default() }, &runtime);
    }
}
