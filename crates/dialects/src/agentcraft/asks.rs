//! Which messages of present state an event makes due, and how that is written as an [`Ask`].

use super::{Shape, live};
use crate::{Ask, Told};

/// Parts one from the next: ids have no control characters.
const MARK: char = '\u{1f}';

/// The messages with the session's state in them, in the order in which a session's life has them.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Kind {
    Started,
    Phase,
    Agent,
    Output,
    Error,
    Completed,
}

impl Kind {
    /// By their order: asks that are due together are sorted by their text.
    const ALL: [Kind; 6] = [Kind::Started, Kind::Phase, Kind::Agent, Kind::Output, Kind::Error, Kind::Completed];
}

/// What an event makes due.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Due<'a> {
    /// The message with the session's state, where such are told.
    pub(super) kind: Kind,
    /// The flat `agent_status`, where such are told: the event alone does not say all of it.
    pub(super) flat: bool,
    /// `active_sessions`.
    pub(super) sessions: bool,
    pub(super) session: &'a str,
    /// Empty: none.
    pub(super) agent: &'a str,
}

impl<'a> Due<'a> {
    pub(super) fn of(told: &Told<'a>) -> Option<Due<'a>> {
        let (kind, flat, sessions) = match told.kind() {
            "session.started" => (Kind::Started, false, true),
            "session.progress" => (Kind::Phase, false, false),
            "session.stage" => (Kind::Phase, false, true),
            "session.completed" => (Kind::Completed, false, true),
            "session.failed" | "session.cancelled" | "session.lost" => (Kind::Error, false, true),
            "agent.started" => (Kind::Agent, false, true),
            "agent.finished" | "agent.removed" => (Kind::Agent, true, true),
            // One that comes to rest changes how many are active.
            "agent.status" => {
                let rests = matches!(told.text("status"), Some("idle" | "waiting" | "completed" | "failed"));
                (Kind::Agent, !live::is_whole(told), rests)
            }
            "output" => (Kind::Output, false, false),
            _ => return None,
        };
        let agent = if kind == Kind::Agent { told.agent() } else { "" };
        Some(Due { kind, flat, sessions, session: told.session(), agent })
    }

    /// As what the gateway is asked for, by a client of this shape.
    pub(super) fn ask(self, shape: Shape) -> Option<Ask> {
        if shape.has_nested() || (shape.has_flat() && self.flat) {
            let kind = Kind::ALL.iter().position(|kind| *kind == self.kind).unwrap_or_default();
            let (flat, sessions) = (u8::from(self.flat), u8::from(self.sessions));
            let Due { session, agent, .. } = self;
            return Some(Ask::Other(format!("{kind}{flat}{sessions}{MARK}{session}{MARK}{agent}")));
        }
        self.sessions.then_some(Ask::Sessions)
    }

    /// What [`Due::ask`] wrote; none: it is not from there.
    pub(super) fn parse(text: &'a str) -> Option<Due<'a>> {
        let (head, rest) = text.split_once(MARK)?;
        let (session, agent) = rest.split_once(MARK)?;
        let [kind, flat, sessions] = head.as_bytes() else { return None };
        let kind = *Kind::ALL.get(usize::from(kind.checked_sub(b'0')?))?;
        Some(Due { kind, flat: *flat == b'1', sessions: *sessions == b'1', session, agent })
    }
}
