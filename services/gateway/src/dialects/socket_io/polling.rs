//! The polling transport, without stickiness: each request may land on another gateway, so what a session is lies in the
//! store, on its slip. A poll pulls from the log behind the session's place; a post does what the client says. Of several
//! polls of one session the newest is answered, and the others are told nothing: what they took is told by that one.

use std::future::poll_fn;
use std::sync::Arc;
use std::task::Poll;
use std::time::Duration;

use axum::body::{Body, to_bytes};
use axum::response::{IntoResponse as _, Response};
use http::header::{CACHE_CONTROL, CONTENT_TYPE};
use tidings_broker::slip::{Done, Slip, Turn};
use tidings_dialects::engine_io::packet::{Packet, Said};
use tidings_dialects::engine_io::session::{Output, Session, Transport};
use tidings_dialects::engine_io::{PAYLOAD_BYTES_MAX, payload};
use tidings_dialects::{Action, Ask, Command, Missing, View};
use tidings_log::viewer::{Aside, Pull, Viewer, Wants};
use tidings_log::wake::Wake;
use tidings_protocol::filter::Filter;
use tidings_protocol::frames::{Lag, SnapshotWish};
use tidings_protocol::grant::{Grant, Holder};
use tidings_protocol::position::Position;
use tidings_protocol::project::Project;

use super::super::bundle::texts;
use super::super::encoding::InDialect;
use super::super::pygent::Factory;
use super::super::{keeping, now_ms};
use super::face::NO_BINARY;
use super::record::{BY_POLLING, CARRIER, Owner, POLL, field, is, is_probed, look, place, session_of, turn};
use super::{No, name, who};
use crate::http::params::within;
use crate::limits::Caller;
use crate::shared::Shared;

/// How soon a poll that waits for events looks at what came by other requests, and how long it lets them wait when nothing
/// has come for a while: answers wait for so long at most.
const LOOK_AFTER: Duration = Duration::from_millis(200);
const LOOK_AFTER_MAX: Duration = Duration::from_secs(1);
/// How long a client may take to send what it posts.
const BODY_WAIT: Duration = Duration::from_secs(30);
/// Bytes of events that the answer to a poll holds, about.
const ANSWER_BYTES: usize = 256 * 1024;
/// Packets that a post may have.
const PACKETS_MAX: usize = 64;

/// How often the place of a client that is told things is kept for when it comes back.
const KEEP_EVERY_MS: u64 = 1_000;

/// Who polls: a viewer in a project, who shows the same with each request.
pub(super) struct Poller {
    pub(super) factory: Arc<Factory>,
    pub(super) encoding: Arc<InDialect>,
    pub(super) project: Project,
    pub(super) grant: Grant,
    pub(super) caller: Caller,
}

fn packets(texts: &[String]) -> Response {
    let body = payload::join(texts);
    ([(CONTENT_TYPE, "text/plain; charset=UTF-8"), (CACHE_CONTROL, "no-store")], body).into_response()
}

impl Poller {
    fn shared(&self) -> &Arc<Shared> {
        &self.factory.shared
    }

    /// A new session: its first packet.
    pub(super) async fn open(&mut self) -> Result<Response, No> {
        let (sid, who) = (name(), name());
        let upgrades = &["websocket"];
        let (session, open) = Session::open(&sid, &name(), Transport::Polling, upgrades, PAYLOAD_BYTES_MAX, now_ms());
        self.grant = self.grant_of(&who);
        let owner = Owner::new(&self.project, &self.grant);
        let set = vec![
            field("project", &owner.project),
            field("viewer", &owner.viewer),
            field("anonymous", &u8::from(owner.anonymous)),
            field("who", &who),
            field("socket", &session.socket),
            field("opened", &session.opened_ms),
            field(CARRIER, &BY_POLLING),
        ];
        turn(self.shared(), &sid, Turn { makes: true, set, ..Turn::default() }).await?;
        Ok(packets(&[open]))
    }

    /// What the client may do, known by this: who shows nothing is the viewer that this makes him.
    fn grant_of(&self, who: &str) -> Grant {
        match self.grant.holder() {
            Holder::Anyone => self.factory.anyone(&who::viewer(who)),
            _ => self.grant.clone(),
        }
    }

    /// Waits for something to tell, and tells it, unless a newer poll has come.
    pub(super) async fn poll(&self, sid: &str) -> Result<Response, No> {
        let (shared, this) = (self.shared(), field(POLL, &name()));
        let mut slip = turn(shared, sid, Turn { set: vec![this.clone()], ..Turn::default() }).await?;
        if session_of(sid, &slip).transport == Transport::WebSocket {
            return Err(No::Request);
        }
        // Who asks on has what it was told.
        let has = place(&slip);
        let wake = Arc::new(Wake::default());
        let registered = shared.register(wake.clone(), self.grant.clone(), &[&self.project]);
        let mut reading: Option<Reading> = None;
        let mut look_after = LOOK_AFTER;
        let mut kept = Vec::new();
        loop {
            if slip.fields.get(&this.0) != Some(&this.1) {
                return Ok(packets(&[Packet::Noop.text()]));
            }
            let mut session = session_of(sid, &slip);
            if session.over || registered.refused().is_some() {
                return Ok(packets(&[Packet::Close.text()]));
            }
            let mut texts: Vec<String> = slip.lines.values().cloned().collect();
            let told = slip.lines.keys().last().copied().unwrap_or_default();
            let mut turned = Turn { only: Some(this.clone()), told, ..Turn::default() };
            for output in session.tick(now_ms()) {
                match output {
                    Output::Send(packet) => {
                        turned.set.push(field("pinged", &session.pinged_ms));
                        texts.push(packet);
                    }
                    Output::Close(_) => {
                        turn(shared, sid, Turn { set: vec![field("over", &1)], ..Turn::default() }).await?;
                        return Ok(packets(&[Packet::Close.text()]));
                    }
                    _ => {}
                }
            }
            if kept.is_empty() {
                kept = self.keep(&session, &slip, has).await;
            }
            if session.joined && reading.is_none() {
                // It may have said who it is since this poll came.
                reading = Some(self.read(&slip, self.grant_of(&session.who), wake.clone()).await?);
            }
            match &mut reading {
                // What was said before comes before what happens.
                Some(reading) if texts.is_empty() => {
                    let _ = tokio::time::timeout(look_after, self.take(reading, &wake, &mut texts)).await;
                    turned.set.push(field("at", &reading.viewer.at()));
                    turned.set.push(field("greeted", &u8::from(reading.greeted)));
                    turned.set.push(field("owes", &u8::from(reading.viewer.wants_snapshot())));
                }
                None if texts.is_empty() => tokio::time::sleep(look_after).await,
                Some(_) | None => {}
            }
            let ends = registered.control.draining().is_some() || is_probed(&slip, now_ms());
            if texts.is_empty() && ends {
                // A WebSocket takes over only behind the last answer to a poll.
                texts.push(Packet::Noop.text());
            }
            if !texts.is_empty() {
                turned.set.append(&mut kept);
                let is_newest = turn(shared, sid, turned).await?.done == Done::All;
                return Ok(if is_newest { packets(&texts) } else { packets(&[Packet::Noop.text()]) });
            }
            look_after = (look_after * 3 / 2).min(LOOK_AFTER_MAX);
            slip = look(shared, sid, false).await?;
        }
    }

    /// Keeps the place that the client has reached, for when it comes back in another session: about once a second. What is
    /// to be noted of that; nothing: it was not due.
    async fn keep(&self, session: &Session, slip: &Slip, has: Option<Position>) -> Vec<(String, String)> {
        let Some(has) = has else { return Vec::new() };
        let text = |name: &str| slip.fields.get(name).map_or("", String::as_str);
        let since_ms: u64 = text("kept_ms").parse().unwrap_or_default();
        if now_ms().saturating_sub(since_ms) < KEEP_EVERY_MS {
            return Vec::new();
        }
        let marks = self.shared().hub.broker().bookmarks();
        let (reader, holder) = (who::reader(&session.who, &self.grant), session.sid.clone());
        match marks.set(self.project.clone(), reader, holder, has, keeping::KEPT_MS).await {
            Ok(_) => vec![field("kept_ms", &now_ms())],
            Err(error) => {
                tracing::debug!(%error, project = %self.project, "a client's place is not kept yet");
                Vec::new()
            }
        }
    }

    async fn read(&self, slip: &Slip, grant: Grant, wake: Arc<Wake>) -> Result<Reading, No> {
        let topic = self.shared().topic(&self.project).map_err(|_| No::Store)?;
        within(topic.started()).await.map_err(|_| No::Store)?;
        let at = place(slip).unwrap_or_else(|| topic.view().position());
        let greeted = is(slip, "greeted");
        let filter = Filter::default();
        // What happened since it joined is told before it is greeted: a greeting does not hold all of it.
        let wants = Wants { at, newcomer: false, filter, lag: Lag::Full, snapshot: SnapshotWish::No, grant };
        let mut viewer = Viewer::new(topic, wants, wake);
        viewer.attend();
        if !greeted || is(slip, "owes") {
            viewer.want_snapshot();
        }
        Ok(Reading { viewer, greeted })
    }

    /// Takes events, and what is said of gaps and of present state, until there is something.
    async fn take(&self, reading: &mut Reading, wake: &Wake, out: &mut Vec<String>) {
        let dialect = &self.encoding.dialect;
        poll_fn(|cx| {
            wake.register(cx.waker());
            wake.take();
            loop {
                let mut frames = Vec::new();
                let mut pull = Pull {
                    encoding: &*self.encoding,
                    out: &mut frames,
                    bytes_left: ANSWER_BYTES,
                    events_left: usize::MAX,
                    until: u64::MAX,
                };
                let polled = reading.viewer.poll_pull(cx, &mut pull);
                out.extend(frames.iter().flat_map(|chunk| texts(chunk)).map(str::to_owned));
                let mut said = false;
                while let Some(aside) = reading.viewer.take_aside() {
                    said = true;
                    match aside {
                        Aside::Snapshot(snapshot) => {
                            let view = self.view(snapshot.position, snapshot.value());
                            dialect.greet(&view, reading.greeted, out);
                            reading.greeted = true;
                        }
                        Aside::Gap(gap) => match dialect.gap(&gap) {
                            Missing::GreetAgain => reading.viewer.want_snapshot(),
                            Missing::Tell(text) => out.push(text),
                            Missing::Nothing => {}
                        },
                    }
                }
                if !out.is_empty() {
                    return Poll::Ready(());
                }
                if !said && polled.is_pending() {
                    return Poll::Pending;
                }
            }
        })
        .await;
    }

    fn view<'a>(&'a self, position: Position, state: &'a serde_json::Value) -> View<'a> {
        View { project: &self.project, position, state, now_ms: now_ms() }
    }

    /// Does what the client says.
    pub(super) async fn post(&mut self, sid: &str, body: Body) -> Result<Response, No> {
        let body = tokio::time::timeout(BODY_WAIT, to_bytes(body, PAYLOAD_BYTES_MAX)).await;
        let body = body.map_err(|_| No::Request)?.map_err(|_| No::Request)?;
        let body = std::str::from_utf8(&body).map_err(|_| No::Request)?;
        let said = payload::split(body, PACKETS_MAX).ok_or(No::Request)?;
        let was = session_of(sid, &look(self.shared(), sid, true).await?);
        if was.transport == Transport::WebSocket {
            return Err(No::Request);
        }
        let mut session = was.clone();
        // Behind a WebSocket that took over meanwhile nobody would be told these lines.
        let mut turned = Turn { only: Some(field(CARRIER, &BY_POLLING)), ..Turn::default() };
        for packet in said {
            for output in session.hear(packet, now_ms()) {
                self.carry_out(&session, output, &mut turned).await?;
            }
        }
        // Only what this post changed: another one may have changed the rest.
        if session.ponged_ms != was.ponged_ms {
            turned.set.push(field("ponged", &session.ponged_ms));
        }
        let flags =
            [("joined", was.joined, session.joined), ("met", was.met, session.met), ("over", was.over, session.over)];
        for (name, _, is) in flags.into_iter().filter(|(_, was, is)| was != is) {
            turned.set.push(field(name, &u8::from(is)));
        }
        match turn(self.shared(), sid, turned).await?.done {
            Done::All => {}
            Done::NotSo => return Err(No::Request),
            Done::NoRoom => {
                // It says more than it lets itself be told.
                let over = Turn { set: vec![field("over", &1)], told: u64::MAX, ..Turn::default() };
                turn(self.shared(), sid, over).await?;
            }
        }
        Ok(([(CONTENT_TYPE, "text/html"), (CACHE_CONTROL, "no-store")], "ok").into_response())
    }

    async fn carry_out(&mut self, session: &Session, output: Output, turned: &mut Turn) -> Result<(), No> {
        match output {
            Output::Send(packet) => turned.lines.push(packet),
            Output::Joined => self.join(session, turned).await?,
            Output::Heard(event) => {
                let event = Packet::Message(Said::Event(event).text());
                for action in self.encoding.dialect.hear(&event.text(), now_ms()) {
                    self.act(action, turned).await?;
                }
            }
            Output::Binary => turned.lines.push(error(NO_BINARY)),
            // What the session says of itself is written by who heard it.
            Output::Left | Output::Close(_) => {}
        }
        Ok(())
    }

    /// From here on it misses nothing, whoever answers its next poll: nothing behind its place, where it comes back.
    async fn join(&mut self, session: &Session, turned: &mut Turn) -> Result<(), No> {
        self.grant = self.grant_of(&session.who);
        let topic = self.shared().topic(&self.project).map_err(|_| No::Store)?;
        within(topic.started()).await.map_err(|_| No::Store)?;
        let marks = self.shared().hub.broker().bookmarks();
        let (reader, holder) = (who::reader(&session.who, &self.grant), session.sid.clone());
        let taken = marks.take(self.project.clone(), reader, holder, keeping::KEPT_MS).await;
        let at = taken.map_err(|_| No::Store)?.unwrap_or_else(|| topic.view().position());
        turned.set.push(field("at", &at));
        turned.set.push(field("who", &session.who));
        turned.set.push(field("viewer", &self.grant.viewer()));
        Ok(())
    }

    async fn act(&self, action: Action, turned: &mut Turn) -> Result<(), No> {
        match action {
            Action::Say(text) => turned.lines.push(text),
            Action::Present(ask) => self.present(&ask, &mut turned.lines).await?,
            Action::Command(command) => turned.lines.extend(self.ask_runners(command).await),
            // The protocol has one variant for this transport, and closes nobody.
            Action::Become(_) | Action::Close { .. } => {}
        }
        Ok(())
    }

    async fn present(&self, ask: &Ask, lines: &mut Vec<String>) -> Result<(), No> {
        let topic = self.shared().topic(&self.project).map_err(|_| No::Store)?;
        let snapshot = within(topic.shared_snapshot()).await.map_err(|_| No::Store)?;
        self.encoding.dialect.present(ask, &self.view(snapshot.position, snapshot.value()), lines);
        Ok(())
    }

    /// What is said of a command that was refused.
    async fn ask_runners(&self, mut command: Command) -> Option<String> {
        let dialect = &self.encoding.dialect;
        if command.session.is_none() {
            command.session = dialect.session_of(&command, self.grant.viewer());
        }
        let asked = self.shared().desk.ask(&self.project, &self.grant, &self.caller, &command).await;
        asked.err().and_then(|refusal| dialect.refused(&command, refusal.code, &refusal.message))
    }
}

/// Where a poll reads.
struct Reading {
    viewer: Viewer,
    /// The client was told what is open.
    greeted: bool,
}

fn error(message: &str) -> String {
    use tidings_dialects::pygent::{PyGent, Wrapping};
    PyGent(Wrapping::SocketIo).error(message)
}
