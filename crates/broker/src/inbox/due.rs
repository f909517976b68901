//! What somebody must act upon, and whose sessions are whose.

use bytes::Bytes;

/// What is due.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Due {
    /// Past their deadline, commands and alarms.
    pub expired: Vec<DueItem>,
    /// Their runner lapsed: accepted by it, or bound to it.
    pub lost: Vec<DueItem>,
    /// Runners that lapsed.
    pub lapsed: Vec<Lapsed>,
    /// Commands and alarms that are open, those above included.
    pub open: u64,
    /// Of them, commands that wait for a runner.
    pub waiting: u64,
    /// Runners that are there.
    pub runners: u64,
    /// Milliseconds until something more may be due; none: nothing is kept.
    pub next_ms: Option<u64>,
}

/// An item that is due.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct DueItem {
    /// Its id.
    pub id: String,
    /// Whether it is an alarm.
    pub alarm: bool,
    /// Who asked.
    pub asker: String,
    /// The runner that had it; empty: none.
    pub runner: String,
    /// What was put.
    pub body: Bytes,
}

/// A runner that lapsed: it did not say again that it is there.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Lapsed {
    /// Which.
    pub runner: String,
    /// When its time ran out: who comes back has another one.
    pub until_ms: u64,
    /// Sessions that it owned; of all runners of one call, the first [`super::TAKEN_MAX`].
    pub sessions: Vec<String>,
}

/// Who publishes for a session, or for an agent.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Owned {
    /// The session; empty: the agent stands for itself.
    pub session: String,
    /// The agent; empty: the session.
    pub agent: String,
    /// The runner. None: the session is over, and all of it is forgotten.
    pub runner: Option<String>,
    /// It takes nothing that is another runner's, and nothing at all for a runner that is not there.
    pub weak: bool,
}
