//! AgentCraft (docs/dialects.md): its agent tracking over `/ws/agent-tracking/{client_id}`.
//!
//! Its document names flat messages (`agent_status`, `agent_collaboration`), its code sends others, with the session's state
//! in each ([`Shape`]); both are here, one or the other or both at once. Log streaming is what a client turns on for itself.
//! Messages of present state (who is active, a session, its lines) are told by state; what an event says in full is told
//! by the event alone, so that all viewers share it.

mod asks;
pub mod client;
mod hear;
mod live;
mod message;
mod nested;
mod present;
pub mod rest;
mod session;
mod words;

use crate::{Action, Ask, Command, Dialect, Told, View};
use asks::Due;
use message::Message;

pub use live::BROADCAST;

/// Lines that `session_logs` tells.
pub const LOGS_MAX: u32 = 50;

/// Which messages tell what agents do.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Shape {
    /// `agent_status` and `agent_collaboration`, as the document has them.
    #[default]
    Flat,
    /// `agent_status_update`, `phase_update`, ... with the session's `state` in each, as the code sends them.
    Nested,
    /// Both; where one message cannot be both, the document's.
    Both,
}

impl Shape {
    /// All of them, in the order of their variants.
    pub const ALL: [Shape; 3] = [Shape::Flat, Shape::Nested, Shape::Both];

    /// The word in settings.
    pub fn as_str(self) -> &'static str {
        match self {
            Shape::Flat => "flat",
            Shape::Nested => "nested",
            Shape::Both => "both",
        }
    }

    /// The shape that a word names.
    pub fn parse(word: &str) -> Option<Shape> {
        Shape::ALL.into_iter().find(|shape| shape.as_str() == word)
    }

    fn has_flat(self) -> bool {
        self != Shape::Nested
    }

    fn has_nested(self) -> bool {
        self != Shape::Flat
    }
}

/// The dialect, in one variant.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct AgentCraft {
    shape: Shape,
    streaming: bool,
}

impl AgentCraft {
    /// What a client has when it comes: this shape, without log streaming.
    pub fn new(shape: Shape) -> AgentCraft {
        AgentCraft { shape, streaming: false }
    }

    /// The same with log streaming on or off.
    pub fn streaming(self, streaming: bool) -> AgentCraft {
        AgentCraft { streaming, ..self }
    }

    /// The dialect with this [`Dialect::variant`]; none: there is no such variant.
    pub fn of_variant(variant: u8) -> Option<AgentCraft> {
        let shape = *Shape::ALL.get(usize::from(variant >> 1))?;
        Some(AgentCraft { shape, streaming: variant & 1 == 1 })
    }

    /// The shape.
    pub fn shape(self) -> Shape {
        self.shape
    }

    /// How the agents of open sessions stand, and so their sessions.
    fn catch_up(self, view: &View<'_>, out: &mut Vec<String>) {
        if self.shape.has_flat() {
            out.extend(present::agents(view).map(|message| message.text()));
        }
        if self.shape.has_nested() {
            out.extend(nested::sessions(view).map(|message| message.text()));
        }
    }
}

impl Dialect for AgentCraft {
    fn name(&self) -> &'static str {
        "agentcraft"
    }

    fn variant(&self) -> u8 {
        let shape = match self.shape {
            Shape::Flat => 0,
            Shape::Nested => 1,
            Shape::Both => 2,
        };
        shape << 1 | u8::from(self.streaming)
    }

    fn event(&self, told: &Told<'_>, out: &mut Vec<String>) {
        if let Some(message) = live::broadcast(told) {
            out.push(message);
        }
        if self.shape.has_flat() {
            out.extend(live::agent_status(told).map(|message| message.text()));
            out.extend(live::collaboration(told).map(|message| message.text()));
        }
        if self.streaming {
            out.extend(live::crewai_log(told).map(|message| message.text()));
        }
    }

    fn due(&self, told: &Told<'_>) -> Option<Ask> {
        Due::of(told).and_then(|due| due.ask(self.shape))
    }

    /// Log streaming goes on; which messages tell the rest is the settings' choice alone.
    fn again(&self, chosen: u8) -> u8 {
        AgentCraft::of_variant(chosen).map_or(*self, |before| self.streaming(before.streaming)).variant()
    }

    /// Who comes for the first time is told what the original tells. Who may have missed something is told how every agent
    /// stands, too: the protocol has no other word for that.
    fn greet(&self, view: &View<'_>, resumed: bool, out: &mut Vec<String>) {
        out.push(present::active_sessions(view).text());
        if resumed {
            self.catch_up(view, out);
        }
    }

    fn present(&self, ask: &Ask, view: &View<'_>, out: &mut Vec<String>) {
        match ask {
            Ask::Sessions => out.push(present::active_sessions(view).text()),
            Ask::Session(session) => out.push(present::session_state(view, session).text()),
            Ask::Logs { session, limit } => out.push(present::session_logs(self.shape, view, session, *limit).text()),
            Ask::Other(text) => {
                let Some(due) = Due::parse(text) else { return };
                if due.flat && self.shape.has_flat() {
                    out.extend(present::agent_status(view, due.session, due.agent).map(|message| message.text()));
                }
                if self.shape.has_nested() {
                    out.extend(nested::message(due, view).map(|message| message.text()));
                }
                if due.sessions {
                    out.push(present::active_sessions(view).text());
                }
            }
        }
    }

    fn hear(&self, text: &str, now_ms: u64) -> Vec<Action> {
        hear::actions(*self, text, now_ms)
    }

    /// Its clients ask runners for nothing.
    fn refused(&self, _command: &Command, _code: &str, _message: &str) -> Option<String> {
        None
    }

    fn ping(&self, now_ms: u64) -> Option<String> {
        Some(Message::Ping { timestamp: words::seconds(now_ms) }.text())
    }
}
