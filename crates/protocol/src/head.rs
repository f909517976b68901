//! A log's head: what meta says of it at one moment (docs/log.md L3), and how positions relate through its forks.

use crate::entry::ForkKind;
use crate::position::{Branch, LogId, Position};

/// Forks that meta keeps; older ones are forgotten.
pub const FORKS_MAX: usize = 32;

/// Format of a log's keys. A service refuses a newer one.
pub const LOG_FORMAT: u32 = 1;

/// One fork in a log's history.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Fork {
    /// The branch that was closed.
    pub closed: Branch,
    /// Its last position that the log holds.
    pub survived: Position,
    /// Why it was closed.
    pub kind: ForkKind,
    /// Position of the fork entry: the first of the next branch.
    pub from: Position,
}

/// What meta says of a log, read together with the incarnation of the store that answered.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Head {
    /// The open branch; none: the log was never born (or is gone).
    pub branch: Branch,
    /// Its last position; [`Position::ZERO`] when nothing was ever appended.
    pub last: Position,
    /// Running total of encoded bytes.
    pub total_bytes: u64,
    /// The newest [`FORKS_MAX`] forks, oldest first.
    pub forks: Vec<Fork>,
    /// Where the checkpoint stands.
    pub checkpoint: Position,
    /// Incarnation of the store that answered (for Redis its `master_replid`).
    pub incarnation: String,
    /// Incarnation that meta holds: the one that the open branch was opened under. They differ: a fork is due.
    pub opened_under: String,
}

impl Head {
    /// Whether the log exists.
    pub fn is_born(&self) -> bool {
        !self.branch.is_none()
    }

    /// Whether the store changed under the open branch, so that the next append or sync will fork.
    pub fn fork_is_due(&self) -> bool {
        self.is_born() && self.incarnation != self.opened_under
    }

    /// The fork that closed `branch`, if meta still lists it.
    pub fn closing(&self, branch: Branch) -> Option<&Fork> {
        self.forks.iter().find(|fork| fork.closed == branch)
    }

    /// Where a cursor goes on in this log, or why it cannot.
    pub fn locate(&self, cursor: Position) -> Located {
        if cursor.is_zero() {
            return Located::At(LogId::ZERO);
        }
        if cursor.branch == self.branch {
            return if cursor.n() <= self.last.n() { Located::At(cursor.id) } else { Located::Ahead };
        }
        match self.closing(cursor.branch) {
            Some(fork) if cursor.n() <= fork.survived.n() => Located::At(cursor.id),
            Some(fork) => Located::Cut(fork.survived.id),
            None => Located::Unknown,
        }
    }

    /// Whether the log holds (or held, before trimming) an event that stood at any of these positions.
    pub fn holds(&self, positions: &[Position]) -> bool {
        positions.iter().any(|position| match self.closing(position.branch) {
            _ if position.branch == self.branch => position.n() <= self.last.n(),
            Some(fork) => position.n() <= fork.survived.n(),
            None => false,
        })
    }
}

/// Where a cursor goes on.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Located {
    /// The cursor itself lies in the log (perhaps trimmed away since).
    At(LogId),
    /// It lies on a closed branch above what survived: go on after this.
    Cut(LogId),
    /// It lies on the open branch above the last position: the answer is older than the cursor, or the log was reset.
    Ahead,
    /// Its branch is not known here.
    Unknown,
}
