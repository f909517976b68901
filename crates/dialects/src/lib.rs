//! Dialects: other systems' protocols as views of a project's log, so that clients that were written for them need not know.
//!
//! A dialect is pure: events and state become the messages of its protocol, and what its clients say becomes actions. No
//! sockets, no clock, no randomness: what depends on those is passed in. What is the same for all dialects (sockets,
//! resume, limits, rights, sharing of what was encoded) is the gateway's. One folder for each; `docs/dialects.md` shows the
//! mappings as tables, and how to write another one.

pub mod agent_swarm;
pub mod agentcraft;
pub mod claude_code;
pub mod engine_io;
pub mod pygent;
pub mod told;

use serde_json::Value;
use tidings_protocol::gap::Gap;
use tidings_protocol::project::Project;

pub use told::{Told, View};

/// Variants that a dialect may have: ways in which connections want the same events in other messages.
pub const VARIANTS_MAX: usize = 8;

/// One system's protocol, in one variant of it.
///
/// Messages are texts (JSON, as a rule), each of them one WebSocket message, in the order in which they are pushed.
pub trait Dialect: Send + Sync + 'static {
    /// Which system: the word in metrics and settings.
    fn name(&self) -> &'static str;

    /// Which variant of it: below [`VARIANTS_MAX`]. The same name and variant give the same messages for the same event, so
    /// that all who have them share what was encoded once.
    fn variant(&self) -> u8;

    /// What an event is in this protocol; nothing: it is not told.
    fn event(&self, told: &Told<'_>, out: &mut Vec<String>);

    /// Which message of present state an event makes due. The gateway tells it behind the event, by the state at the
    /// position where the client then is, once for many events that come together.
    fn due(&self, told: &Told<'_>) -> Option<Ask>;

    /// What a client is told at once, before anything is known of the project, if the protocol has such a word. Once for
    /// each connection.
    fn hello(&self, _project: &Project, _now_ms: u64) -> Option<String> {
        None
    }

    /// What a client is told before it is told events, by the state at the position where its stream starts. `resumed`: it
    /// was told something before, perhaps on another connection: its backlog first, or what came before a gap.
    fn greet(&self, view: &View<'_>, resumed: bool, out: &mut Vec<String>);

    /// A message of present state: what [`Dialect::due`] or [`Action::Present`] asked for. An ask that the dialect never
    /// made is not told.
    fn present(&self, ask: &Ask, view: &View<'_>, out: &mut Vec<String>);

    /// What a client has that comes back, of a variant that it chose ([`Action::Become`]) when it was here before. Asked of
    /// the variant with which it would begin.
    fn again(&self, chosen: u8) -> u8 {
        chosen
    }

    /// A stretch that the client will not get. Unless it is overridden: nothing is said of it, and the client is greeted
    /// again, since a protocol that cannot say so can say how things stand.
    fn gap(&self, _gap: &Gap) -> Missing {
        Missing::GreetAgain
    }

    /// What a client says; malformed messages too.
    fn hear(&self, text: &str, now_ms: u64) -> Vec<Action>;

    /// The session of a command whose message names none, where the protocol has one of each viewer: `viewer` is the
    /// asker's stable id. It is asked before the command is handed on.
    fn session_of(&self, _command: &Command, _viewer: &str) -> Option<String> {
        None
    }

    /// What is said of a command that was refused at once; nothing: silence. `kind` is its type, `code` the refusal's
    /// ([`tidings_protocol::codes::ErrorCode`]).
    fn refused(&self, command: &Command, code: &str, message: &str) -> Option<String>;

    /// How messages that go out together travel as one; none: each by itself, as everywhere but where a connection asked for
    /// it. Not called for a single message. What was encoded is shared all the same: it does not depend on this.
    fn bundle(&self, _messages: &[&str]) -> Option<String> {
        None
    }

    /// The message that keeps a silent connection alive, if the protocol has one.
    fn ping(&self, _now_ms: u64) -> Option<String> {
        None
    }
}

/// What is done about a gap.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Missing {
    /// The client is greeted again ([`Dialect::greet`]), by the state behind the gap.
    GreetAgain,
    /// It is told this.
    Tell(String),
    /// It need not know.
    Nothing,
}

/// A message of present state.
#[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Ask {
    /// Of all sessions.
    Sessions,
    /// Of one session.
    Session(String),
    /// The last lines of one session.
    Logs {
        /// Which.
        session: String,
        /// At most so many.
        limit: u32,
    },
    /// Anything else that the dialect names.
    Other(String),
}

/// What is to be done about what a client said.
#[derive(Debug, Clone, PartialEq)]
pub enum Action {
    /// Say this to it.
    Say(String),
    /// Tell it how things stand.
    Present(Ask),
    /// Ask the project's runners.
    Command(Command),
    /// It wants this variant from now on.
    Become(u8),
    /// Close the connection.
    Close {
        /// The close code.
        code: u16,
        /// The reason.
        reason: &'static str,
    },
}

/// What runners are asked to do (docs/commands.md).
#[derive(Debug, Clone, PartialEq)]
pub struct Command {
    /// The type.
    pub kind: String,
    /// Its id, if the client's message has one that is unique; none: the server draws one.
    pub id: Option<String>,
    /// The session that it is about.
    pub session: Option<String>,
    /// The agent.
    pub agent: Option<String>,
    /// Anything for the runner.
    pub data: Value,
}
