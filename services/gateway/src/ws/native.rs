//! The native protocol (`tidings.v1`): several projects on one connection, each with its own cursor.

use std::task::Context;

use bytes::Bytes;
use tidings_log::hub::Hub;
use tidings_log::viewer::Pull;
use tidings_presence::Hall;
use tidings_protocol::codes::{CloseCode, ErrorCode, Reconnect};
use tidings_protocol::frames::ServerFrame;
use tokio::time::{Duration, Instant};

use super::connection::{Face, Line, WRITE_BYTES};
use super::requests::{self, Request};
use super::subscriptions::Subscriptions;
use crate::commands::Asking;
use crate::encodings::WebSocket;

mod commands;
mod rights;

use rights::Refreshing;

/// Faulty frames after which a connection is closed.
const ERRORS_MAX: u32 = 100;

/// Why a viewer that the server itself sent away should come back so late, at most, when nothing better is known.
const RETRY_AFTER_MS: u64 = 5_000;

/// How long a viewer may not know where its cursor is, when that moves on without a word.
const AT_WITHIN: Duration = Duration::from_secs(4);

/// The native side of a connection.
pub(crate) struct Native {
    subscriptions: Subscriptions,
    encoding: WebSocket,
    ping_every: Duration,
    asking: Asking,
    refreshing: Option<Refreshing>,
    /// When viewers are to be told where their cursors are, while some do not know.
    at_due: Option<Instant>,
    told_degraded: bool,
    /// Events left no room for who is there the last time.
    presence_waits: bool,
    exhausted: bool,
    errors: u32,
}

impl Native {
    /// Of a viewer that is registered under this wake-up. `deflate`: whether permessage-deflate was negotiated.
    pub(crate) fn new(
        hub: Hub,
        presence: Hall,
        wake: std::sync::Arc<tidings_log::wake::Wake>,
        deflate: bool,
        ping_every: Duration,
        asking: Asking,
    ) -> Native {
        Native {
            subscriptions: Subscriptions::new(hub, presence, wake),
            encoding: WebSocket { deflate },
            ping_every,
            asking,
            refreshing: None,
            at_due: None,
            told_degraded: false,
            presence_waits: false,
            exhausted: false,
            errors: 0,
        }
    }

    fn reply(&self, line: &mut Line, frame: &ServerFrame<'_>) {
        let json = frame.to_json();
        let mut out = Vec::with_capacity(json.len() + 10);
        self.encoding.frame(&mut out, |payload| payload.extend_from_slice(&json));
        line.push(out.into());
    }

    /// Refuses what is not the client's fault: it does not count against the connection.
    fn say_no(&self, line: &mut Line, code: ErrorCode, message: &str, reference: Option<&str>) {
        line.metrics.on_refused(code);
        self.reply(line, &ServerFrame::Error { code: code.as_str(), message, project: None, reference });
    }

    fn refuse(&mut self, line: &mut Line, code: ErrorCode, message: &str, reference: Option<&str>) {
        self.say_no(line, code, message, reference);
        self.errors += 1;
        if self.errors >= ERRORS_MAX {
            self.close(line, CloseCode::TooManyErrors, None);
        }
    }

    /// Takes what is to be said of who is there, until this room is used up. False: there is nothing.
    fn tell_presence(&mut self, room: usize, out: &mut Vec<Bytes>) -> bool {
        let before = out.len();
        self.subscriptions.tell_presence(self.encoding, room, out);
        out.len() > before
    }
}

impl Face for Native {
    fn greet(&mut self, line: &mut Line) {
        let grant = line.registered.held.grant();
        let ping_ms = u64::try_from(self.ping_every.as_millis()).unwrap_or(u64::MAX);
        self.reply(line, &ServerFrame::Hello { viewer: grant.viewer(), server: crate::SERVER, ping_ms });
    }

    fn on_binary(&mut self, line: &mut Line) {
        self.refuse(line, ErrorCode::InvalidFrame, "frames are JSON text", None);
    }

    fn on_text(&mut self, line: &mut Line, text: &str) {
        match requests::parse(text) {
            Ok(Request::Ping { reference }) => self.reply(line, &ServerFrame::Pong { reference: reference.as_deref() }),
            Ok(Request::Refresh { token, reference }) => self.refresh(line, token, reference),
            Ok(Request::Subscribe(wish)) => {
                if self.subscriptions.is_full_for(&wish.project) {
                    let message = "too many projects on one connection";
                    self.refuse(line, ErrorCode::TooManySubscriptions, message, wish.reference.as_deref());
                    return;
                }
                let reference = wish.reference.clone();
                if let Err(full) = self.subscriptions.open(wish, &line.registered.held) {
                    self.say_no(line, ErrorCode::Busy, &full.to_string(), reference.as_deref());
                }
            }
            Ok(Request::Unsubscribe { project, reference }) => {
                if self.subscriptions.close(&project) {
                    line.registered.held.release(&project);
                    let reference = reference.as_deref();
                    self.reply(line, &ServerFrame::Unsubscribed { project: project.as_str(), reference });
                } else {
                    let message = "no subscription to this project";
                    self.refuse(line, ErrorCode::NotSubscribed, message, reference.as_deref());
                }
            }
            Ok(Request::Command { project, command, reference }) => self.command(line, project, command, reference),
            Err(refused) => self.refuse(line, refused.code, &refused.message, refused.reference.as_deref()),
        }
    }

    fn tick_at(&self) -> Option<Instant> {
        self.at_due
    }

    fn on_tick(&mut self, line: &mut Line, now: Instant) {
        if self.at_due.take_if(|due| *due <= now).is_some() {
            let mut frames = std::mem::take(&mut line.frames);
            self.subscriptions.tell_at(&self.encoding, &mut frames);
            frames.drain(..).for_each(|frame| line.push(frame));
            line.frames = frames;
        }
    }

    fn look_at_ends(&mut self, line: &mut Line, cx: &mut Context<'_>) {
        if let Some(retry_after_ms) = line.registered.control.draining() {
            self.reply(line, &ServerFrame::Draining { retry_after_ms });
            self.close(line, CloseCode::Draining, Some(retry_after_ms));
        }
        self.look_at_rights(line, cx);
    }

    fn look_around(&mut self, line: &mut Line, cx: &mut Context<'_>) {
        let degraded = line.registered.is_degraded();
        if degraded != self.told_degraded {
            self.told_degraded = degraded;
            self.reply(line, &ServerFrame::Degraded { active: degraded });
        }
        self.look_at_ends(line, cx);
        if line.is_open() {
            self.look_at_openings(line, cx);
            self.look_at_commands(line, cx);
        }
    }

    fn pull(&mut self, line: &mut Line, cx: &mut Context<'_>) -> bool {
        self.exhausted = false;
        // Events come first; where they leave no room, who is there is told every second time.
        if std::mem::take(&mut self.presence_waits) && self.tell_presence(WRITE_BYTES, &mut line.frames) {
            return true;
        }
        let mut pull = Pull {
            encoding: &self.encoding,
            out: &mut line.frames,
            bytes_left: WRITE_BYTES,
            events_left: usize::MAX,
            until: u64::MAX,
        };
        let wanted = line.sampler.wants();
        let (taken, sample) = self.subscriptions.poll_pull(cx, &mut pull, wanted, &mut line.deliveries);
        let room = pull.bytes_left;
        if taken {
            line.sampler.taken(sample);
        }
        if self.at_due.is_none() && self.subscriptions.is_untold() {
            self.at_due = Some(Instant::now() + AT_WITHIN);
        }
        if room == 0 {
            self.presence_waits = true;
            return taken;
        }
        let told = self.tell_presence(room, &mut line.frames);
        self.exhausted = !told;
        told || taken
    }

    fn is_exhausted(&self) -> bool {
        self.exhausted
    }

    fn close(&mut self, line: &mut Line, code: CloseCode, retry_after_ms: Option<u64>) {
        let reason = match code.reconnect() {
            Reconnect::Later => {
                let retry_after_ms = retry_after_ms.unwrap_or(RETRY_AFTER_MS);
                format!("{{\"code\":\"{}\",\"retry_after_ms\":{retry_after_ms}}}", code.as_str())
            }
            Reconnect::Now | Reconnect::No => format!("{{\"code\":\"{}\"}}", code.as_str()),
        };
        if line.close(Some(code), code.number(), &reason) {
            self.subscriptions.clear();
        }
    }
}
