//! The known event types: one table of lanes, keys, what `data` holds, and which events must name their session or agent.
//!
//! Everything that treats a type in its own way asks this table. Types that are not in it pass through: lane control, no
//! state, no checks. `docs/events.md` is the published version, and a test compares the two. How `data` turns into
//! state is not here but in [`crate::effects`].

use crate::filter::Lane;

mod table;

/// One known type.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct EventType {
    /// The type's name.
    pub name: &'static str,
    /// How its events may be treated when a viewer lags.
    pub lane: Lane,
    /// What makes two events mergeable.
    pub key: KeyRule,
    /// What an event of this type must belong to.
    pub scope: Scope,
    /// The members of `data` that are known; others pass unchecked.
    pub data: &'static [Member],
    /// What it changes in the project's state; empty: nothing.
    pub state: &'static str,
}

/// What an event must belong to.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Scope {
    /// Nothing in particular.
    Project,
    /// `session` must be set.
    Session,
    /// `session` and `agent` must be set.
    Agent,
}

/// Where an event's key comes from (EVENTS.md, docs/log.md L15). Keys are compared within type, session and agent.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum KeyRule {
    /// The runner's `key`, else none: all events of the type, session and agent are alike.
    Runner,
    /// The runner's `key`, else the session.
    Session,
    /// The runner's `key`, else this member of data.
    Data(&'static str),
    /// The runner's `key`, else the agent; and this member of data, which no merge may cross.
    AgentAnd(&'static str),
    /// This member of data; a runner's `key` goes before it, since text of two messages must never be joined.
    Joined(&'static str),
    /// The session (or the runner's `key`) and this member of data.
    SessionAnd(&'static str),
}

/// A known member of `data`.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Member {
    /// Its name.
    pub name: &'static str,
    /// Whether it must be there. Optional members may be absent or null.
    pub required: bool,
    /// What it may be.
    pub kind: Kind,
}

/// What a member of `data` may be.
#[derive(Debug, Clone, Copy, PartialEq)]
pub enum Kind {
    /// Any JSON value but null.
    Any,
    /// An array.
    Array,
    /// True or false.
    Bool,
    /// An integer from 0 to this.
    Count(u64),
    /// An id: a string like the envelope's names.
    Name,
    /// A number between these, both included.
    Number(f64, f64),
    /// An object.
    Object,
    /// A string.
    Text,
    /// A time: RFC 3339, as the envelope's.
    Time,
    /// One of these strings.
    Word(&'static [&'static str]),
}

/// The only cause that a runner may give a `gap`.
pub const GAP_CAUSE_OF_RUNNERS: &str = "producer_dropped";

/// The known types that a runner may send, in alphabetical order.
pub fn known_types() -> &'static [EventType] {
    table::TYPES
}

/// The known type of this name.
pub fn lookup(name: &str) -> Option<&'static EventType> {
    table::TYPES.binary_search_by(|known| known.name.cmp(name)).ok().map(|at| &table::TYPES[at])
}

/// Whether only the server makes events of this type. (`gap` is told apart by its cause.)
pub fn is_reserved(name: &str) -> bool {
    name == "session.lost" || name == "presence" || name.starts_with("presence.")
}

/// Whether an event of this type tells of a command: runners post it for one that they have, and nobody publishes it.
pub fn is_of_commands(name: &str) -> bool {
    name == "command" || name.starts_with("command.")
}

/// The member of data whose text lagging viewers may get joined, for types of the delta lane.
pub fn joinable_member(name: &str) -> Option<&'static str> {
    match name {
        "message.delta" => Some("text"),
        "reasoning.step" => Some("content"),
        _ => None,
    }
}

#[cfg(test)]
mod tests;
