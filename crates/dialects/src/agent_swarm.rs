//! Agent Swarm: a dashboard of software builds, with a terminal over a WebSocket and a REST fallback (docs/dialects.md).
//!
//! Owns the messages of the WebSocket, the bodies of the REST routes, and the words of both. A *project* of theirs is a
//! build: a project of ours by its newest session, or one session of it ([`Target`]). What is a line of the build's log
//! is decided once ([`Line::of`]), so that a client that changes from the socket to polling and back sees the same lines
//! under the same ids.

pub mod build;
pub mod lines;
mod messages;
pub mod orchestrate;
pub mod polling;
pub mod refusals;
pub mod rest;
pub mod target;
mod unbegun;
pub mod words;

use serde_json::Value;
use tidings_protocol::project::Project;

use crate::{Action, Ask, Command, Dialect, Told, View};
use build::Build;
pub use lines::Line;
use messages::Message;
pub use messages::batch;
pub use target::Target;
pub use unbegun::Unbegun;

/// Close code: no credential, or none that is good.
pub const CLOSE_UNAUTHENTICATED: u16 = 4401;
/// Close code: the credential may not read this project.
pub const CLOSE_FORBIDDEN: u16 = 4403;
/// Close code: there is no such session, and none that was asked for.
pub const CLOSE_UNKNOWN: u16 = 4404;
/// Close code: too many connections of one user, or too many messages on one of them.
pub const CLOSE_LIMITED: u16 = 4429;
/// Connections of one user, over all gateways.
pub const CONNECTIONS_MAX: u32 = 5;
/// What a client may send on its connection, a second.
pub const MESSAGES_PER_SECOND: u32 = 100;

/// What stands between the parts of an ask about an agent: no id holds a control character.
const PART_END: char = '\n';

/// The dialect, as one connection wants it.
#[derive(Debug, Clone, Default)]
pub struct AgentSwarm {
    /// Only this session's events reach the connection (its filter sees to that), and ids name it.
    pub session: Option<String>,
    /// Several messages that go out together travel as one `batch`.
    pub batch: bool,
    /// What the connection's user is told as it comes, unless the build has begun.
    pub unbegun: Option<Unbegun>,
}

impl AgentSwarm {
    /// What clients of this target are told.
    pub fn of(target: &Target, batch: bool) -> AgentSwarm {
        AgentSwarm { session: target.session.clone(), batch, unbegun: None }
    }

    /// The `project_id` of what is told about a session.
    fn id_of(&self, project: &str, session: &str) -> String {
        if self.session.is_some() { target::id_of(project, Some(session)) } else { project.to_owned() }
    }

    /// The build that the connection is about; none: nothing is known of it yet.
    fn build<'a>(&self, view: &View<'a>) -> Option<Build<'a>> {
        match &self.session {
            Some(session) => Build::live(view, session),
            None => Build::newest_live(view),
        }
    }

    /// That a build failed, if it has not begun all the same.
    fn unbegun(&self, unbegun: &Unbegun, view: &View<'_>) -> Option<String> {
        let Unbegun { session, error, time_ms } = unbegun;
        let (project_id, timestamp) = (&self.id_of(view.project.as_str(), session), words::seconds(*time_ms));
        let message = Message::ProjectError { project_id, error, timestamp };
        Build::live(view, session).is_none().then(|| message.text())
    }

    fn agent(&self, told: &Told<'_>) -> Option<String> {
        let status = agent_status(told)?;
        let task = ["task", "message", "summary", "role"].iter().find_map(|name| told.text(name)).unwrap_or_default();
        let message = Message::AgentStatusUpdate {
            project_id: &self.id_of(told.project.as_str(), told.session()),
            agent: told.agent(),
            status,
            progress: &words::progress(status, &told.data()["progress"]),
            task,
            timestamp: words::seconds(told.time_ms()),
        };
        Some(message.text())
    }
}

/// The status that an event gives its agent; none: it is not about one.
fn agent_status(told: &Told<'_>) -> Option<&'static str> {
    match told.kind() {
        "agent.started" | "agent.removed" => Some("idle"),
        "agent.finished" => Some(words::agent_outcome(told.text("outcome"))),
        "agent.status" => Some(words::agent_status(told.text("status"))),
        _ => None,
    }
}

impl Dialect for AgentSwarm {
    fn name(&self) -> &'static str {
        "agent_swarm"
    }

    /// Ids differ between the two; how messages are bundled does not touch them.
    fn variant(&self) -> u8 {
        u8::from(self.session.is_some())
    }

    fn event(&self, told: &Told<'_>, out: &mut Vec<String>) {
        let project_id = &self.id_of(told.project.as_str(), told.session());
        let timestamp = words::seconds(told.time_ms());
        let text = |name| told.text(name).unwrap_or_default();
        let stage =
            || told.text("stage").map(|stage| Message::stage(project_id, stage, told.text("message"), timestamp));
        match told.kind() {
            "session.started" => out.push(Message::ProjectStarted { project_id, timestamp }.text()),
            "session.progress" => {
                let progress = &words::progress("in_progress", &told.data()["progress"]);
                out.push(Message::ProjectProgress { project_id, progress, message: text("message"), timestamp }.text());
            }
            "session.stage" if text("status") == "started" => out.extend(stage()),
            "session.completed" => out.push(Message::completed(project_id, told.data(), timestamp)),
            "session.failed" => out.push(Message::ProjectError { project_id, error: text("error"), timestamp }.text()),
            _ => out.extend(self.agent(told)),
        }
        if let Some(line) = Line::of(told) {
            out.push(Message::log(project_id, &line));
        }
    }

    /// What an event leaves to the state: how far an agent is that does not say so, though the protocol always does; and a
    /// stage that progress names, if no event of its own did; and whether a build began that was given up.
    fn due(&self, told: &Told<'_>) -> Option<Ask> {
        if told.kind() == "session.progress" {
            return told.text("stage").map(|_| Ask::Session(told.session().to_owned()));
        }
        if let Some(unbegun) = Unbegun::of(told) {
            return Some(unbegun.ask());
        }
        if told.data().get("progress").is_some_and(Value::is_number) {
            return None;
        }
        let status = agent_status(told).filter(|_| told.kind() != "agent.removed")?;
        let ask = || Ask::Other(format!("{}{PART_END}{}", told.session(), told.agent()));
        (status != "completed").then(ask)
    }

    /// At once, before any state is there.
    fn hello(&self, project: &Project, _now_ms: u64) -> Option<String> {
        let project_id = &target::id_of(project.as_str(), self.session.as_deref());
        Some(Message::ConnectionEstablished { project_id, message: "Real-time updates active" }.text())
    }

    /// How things stand, in ordinary messages. No client says where it was, so all of them are told everything.
    fn greet(&self, view: &View<'_>, _resumed: bool, out: &mut Vec<String>) {
        if let Some(build) = self.build(view) {
            let project_id = &target::id_of(view.project.as_str(), self.session.as_deref());
            Message::standing(project_id, &build, view.now_ms, out);
        }
        out.extend(self.unbegun.as_ref().and_then(|unbegun| self.unbegun(unbegun, view)));
    }

    fn present(&self, ask: &Ask, view: &View<'_>, out: &mut Vec<String>) {
        match ask {
            Ask::Session(session) => {
                let Some(build) = Build::live(view, session) else { return };
                // A stage that has told of itself was told as it began.
                if let Some(stage) = build.stage().filter(|stage| build.value["stages"].get(stage).is_none()) {
                    let project_id = &self.id_of(view.project.as_str(), session);
                    out.push(Message::stage(project_id, stage, None, words::seconds(view.now_ms)));
                }
            }
            Ask::Other(parts) => {
                if let Some(unbegun) = Unbegun::of_ask(parts) {
                    return out.extend(self.unbegun(&unbegun, view));
                }
                let Some((session, agent)) = parts.split_once(PART_END) else { return };
                let Some(build) = Build::live(view, session) else { return };
                // An agent that never said how far it is was told as far as it is.
                let agent = build.agents().into_iter().find(|known| known.name == agent);
                if let Some(agent) = agent.filter(|agent| agent.progress.as_f64().is_some_and(|done| done > 0.0)) {
                    out.push(Message::agent(&self.id_of(view.project.as_str(), session), &agent, view.now_ms));
                }
            }
            Ask::Sessions | Ask::Logs { .. } => {}
        }
    }

    /// The terminal says nothing; an older client asks whether somebody is there.
    fn hear(&self, text: &str, _now_ms: u64) -> Vec<Action> {
        if text.trim() == "ping" { vec![Action::Say("pong".into())] } else { Vec::new() }
    }

    /// No client of this protocol asks for anything on its socket.
    fn refused(&self, _command: &Command, _code: &str, _message: &str) -> Option<String> {
        None
    }

    fn bundle(&self, messages: &[&str]) -> Option<String> {
        self.batch.then(|| batch(messages))
    }
}
