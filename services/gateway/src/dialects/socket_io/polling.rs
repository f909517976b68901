//! The polling transport, without stickiness: each request may land on another gateway, so what a session is lies in the
//! store, on its slip. A poll pulls from the log behind the session's place; a post does what the client says.

use std::future::poll_fn;
use std::sync::Arc;
use std::task::Poll;
use std::time::Duration;

use axum::body::{Body, to_bytes};
use axum::response::{IntoResponse as _, Response};
use http::header::{CACHE_CONTROL, CONTENT_TYPE};
use tidings_broker::slip::{Slip, Turn};
use tidings_dialects::engine_io::packet::{Packet, Said};
use tidings_dialects::engine_io::session::{Output, Session, Transport};
use tidings_dialects::engine_io::{PAYLOAD_BYTES_MAX, PING_INTERVAL_MS, PING_TIMEOUT_MS, payload};
use tidings_dialects::{Action, Ask, Command, Missing, View};
use tidings_log::viewer::{Aside, Pull, Viewer, Wants};
use tidings_log::wake::Wake;
use tidings_protocol::filter::Filter;
use tidings_protocol::frames::{Lag, SnapshotWish};
use tidings_protocol::grant::Grant;
use tidings_protocol::position::Position;
use tidings_protocol::project::Project;

use super::super::bundle::texts;
use super::super::encoding::InDialect;
use super::super::now_ms;
use super::super::pygent::Factory;
use super::face::NO_BINARY;
use super::{No, name};
use crate::http::params::within;
use crate::shared::Shared;

/// A session whose client is not heard of any more is forgotten after that.
const KEPT_MS: u64 = PING_INTERVAL_MS + PING_TIMEOUT_MS + 15_000;
/// How often a poll that waits for events looks at what came by other requests: answers wait for so long at most.
const LOOK_EVERY: Duration = Duration::from_millis(200);
/// Bytes of events that the answer to a poll holds, about.
const ANSWER_BYTES: usize = 256 * 1024;
/// Packets that a post may have.
const PACKETS_MAX: usize = 64;

/// Who polls: a viewer in a project, who shows the same with each request.
pub(super) struct Poller {
    pub(super) shared: Arc<Shared>,
    pub(super) encoding: Arc<InDialect>,
    pub(super) project: Project,
    pub(super) grant: Grant,
}

/// Who a session belongs to, if there is such a one: the project and the viewer.
pub(super) async fn owner(factory: &Factory, sid: &str) -> Option<(String, String)> {
    let slip = turn(&factory.shared, sid, Turn::default()).await.ok()??;
    Some((slip.fields.get("project")?.clone(), slip.fields.get("viewer")?.clone()))
}

async fn turn(shared: &Shared, sid: &str, turn: Turn) -> Result<Option<Slip>, No> {
    let turn = Turn { ttl_ms: KEPT_MS, ..turn };
    let turned = shared.hub.broker().slips().turn(format!("socket_io:{sid}"), turn).await;
    turned.map_err(|error| {
        tracing::debug!(%error, "a polling session cannot be looked up");
        No::Store
    })
}

/// A session as its slip has it.
fn session_of(sid: &str, slip: &Slip) -> Session {
    let text = |name: &str| slip.fields.get(name).map_or("", String::as_str);
    let number = |name: &str| text(name).parse().unwrap_or_default();
    Session {
        sid: sid.to_owned(),
        socket: text("socket").to_owned(),
        transport: Transport::Polling,
        opened_ms: number("opened"),
        pinged_ms: number("pinged"),
        ponged_ms: number("ponged"),
        joined: text("joined") == "1",
        met: text("met") == "1",
        over: text("over") == "1",
    }
}

fn field(name: &str, value: impl ToString) -> (String, String) {
    (name.to_owned(), value.to_string())
}

fn packets(texts: &[String]) -> Response {
    let body = payload::join(texts);
    ([(CONTENT_TYPE, "text/plain; charset=UTF-8"), (CACHE_CONTROL, "no-store")], body).into_response()
}

impl Poller {
    /// A new session: its first packet.
    pub(super) async fn open(&self) -> Result<Response, No> {
        let sid = name();
        // Taking a session over by a WebSocket would need this gateway to let go of it: polling stays polling.
        let (session, open) = Session::open(&sid, &name(), Transport::Polling, &[], now_ms());
        let set = vec![
            field("project", &self.project),
            field("viewer", self.grant.viewer()),
            field("socket", &session.socket),
            field("opened", session.opened_ms),
        ];
        turn(&self.shared, &sid, Turn { makes: true, set, ..Turn::default() }).await?;
        Ok(packets(&[open]))
    }

    /// Waits for something to tell, and tells it.
    pub(super) async fn poll(&self, sid: &str) -> Result<Response, No> {
        let wake = Arc::new(Wake::default());
        let registered = self.shared.register(wake.clone(), self.grant.clone(), &[&self.project]);
        let mut reading: Option<Reading> = None;
        loop {
            let slip = turn(&self.shared, sid, Turn::default()).await?.ok_or(No::Session)?;
            let mut session = session_of(sid, &slip);
            if session.over || registered.refused().is_some() {
                return Ok(packets(&[Packet::Close.text()]));
            }
            let mut texts: Vec<String> = slip.lines.values().cloned().collect();
            let mut turned = Turn { told: slip.lines.keys().last().copied().unwrap_or_default(), ..Turn::default() };
            for output in session.tick(now_ms()) {
                match output {
                    Output::Send(packet) => {
                        turned.set.push(field("pinged", session.pinged_ms));
                        texts.push(packet);
                    }
                    Output::Close(_) => {
                        turn(&self.shared, sid, Turn { set: vec![field("over", 1)], ..Turn::default() }).await?;
                        return Ok(packets(&[Packet::Close.text()]));
                    }
                    _ => {}
                }
            }
            if session.joined && reading.is_none() {
                reading = Some(self.read(&slip, wake.clone()).await?);
            }
            match &mut reading {
                // What was said before comes before what happens.
                Some(reading) if texts.is_empty() => {
                    let _ = tokio::time::timeout(LOOK_EVERY, self.take(reading, &wake, &mut texts)).await;
                    turned.set.push(field("at", reading.viewer.at()));
                    turned.set.push(field("greeted", u8::from(reading.greeted)));
                }
                Some(_) => {}
                None if texts.is_empty() => tokio::time::sleep(LOOK_EVERY).await,
                None => {}
            }
            if texts.is_empty() && registered.control.draining().is_some() {
                texts.push(Packet::Noop.text());
            }
            if !texts.is_empty() {
                turn(&self.shared, sid, turned).await?.ok_or(No::Session)?;
                return Ok(packets(&texts));
            }
        }
    }

    async fn read(&self, slip: &Slip, wake: Arc<Wake>) -> Result<Reading, No> {
        let topic = self.shared.topic(&self.project).map_err(|_| No::Store)?;
        within(topic.started()).await.map_err(|_| No::Store)?;
        let at: Position =
            slip.fields.get("at").and_then(|at| at.parse().ok()).unwrap_or_else(|| topic.view().position());
        let greeted = slip.fields.get("greeted").is_some_and(|greeted| greeted == "1");
        let (filter, grant) = (Filter::default(), self.grant.clone());
        let wants = Wants { at, newcomer: !greeted, filter, lag: Lag::Full, snapshot: SnapshotWish::No, grant };
        let mut viewer = Viewer::new(topic, wants, wake);
        viewer.attend();
        if !greeted {
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
    pub(super) async fn post(&self, sid: &str, body: Body) -> Result<Response, No> {
        let body = to_bytes(body, PAYLOAD_BYTES_MAX).await.map_err(|_| No::Request)?;
        let body = std::str::from_utf8(&body).map_err(|_| No::Request)?;
        let said = payload::split(body, PACKETS_MAX).ok_or(No::Request)?;
        let slip = turn(&self.shared, sid, Turn::default()).await?.ok_or(No::Session)?;
        let mut session = session_of(sid, &slip);
        let mut turned = Turn::default();
        for packet in said {
            for output in session.hear(packet, now_ms()) {
                self.carry_out(output, &mut turned).await?;
            }
        }
        turned.set.push(field("ponged", session.ponged_ms));
        for (name, is) in [("joined", session.joined), ("met", session.met), ("over", session.over)] {
            if is || slip.fields.contains_key(name) {
                turned.set.push(field(name, u8::from(is)));
            }
        }
        turn(&self.shared, sid, turned).await?.ok_or(No::Session)?;
        Ok(([(CONTENT_TYPE, "text/html"), (CACHE_CONTROL, "no-store")], "ok").into_response())
    }

    async fn carry_out(&self, output: Output, turned: &mut Turn) -> Result<(), No> {
        match output {
            Output::Send(packet) => turned.lines.push(packet),
            Output::Joined => {
                // From here on it misses nothing, whoever answers its next poll.
                let topic = self.shared.topic(&self.project).map_err(|_| No::Store)?;
                within(topic.started()).await.map_err(|_| No::Store)?;
                turned.set.push(field("at", topic.view().position()));
            }
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
        let topic = self.shared.topic(&self.project).map_err(|_| No::Store)?;
        let snapshot = within(topic.snapshot_at_head()).await.map_err(|_| No::Store)?;
        self.encoding.dialect.present(ask, &self.view(snapshot.position, snapshot.value()), lines);
        Ok(())
    }

    /// What is said of a command that was refused.
    async fn ask_runners(&self, mut command: Command) -> Option<String> {
        let dialect = &self.encoding.dialect;
        if command.session.is_none() {
            command.session = dialect.session_of(&command, self.grant.viewer());
        }
        let asked = self.shared.desk.ask(&self.project, &self.grant, &command).await;
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
