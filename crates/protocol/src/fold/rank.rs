//! Ranks (docs/log.md L16): where an event first stood, comparable over the forks that the log lists.

use crate::head::FORKS_MAX;
use crate::position::{Branch, Position};

/// Where an event first stood: the branch's place in log order, then the running count.
///
/// While no fork is listed every write has rank [`Rank::NONE`], and loses nothing by it: a healed event stood above what
/// its branch kept, so it outranks all that was written before the first fork that the log lists.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Default)]
pub(crate) struct Rank {
    /// 1 is the first branch that this fold met; 0 only in [`Rank::NONE`].
    pub(crate) branch: u64,
    /// Running count within the log that held it.
    pub(crate) n: u64,
}

impl Rank {
    /// Below every rank.
    pub(crate) const NONE: Rank = Rank { branch: 0, n: 0 };
}

/// The branches of a log in log order, learnt from its entries: the open one last, and as many closed ones as meta lists.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(crate) struct Branches {
    /// Branches met before the first of `names`.
    pub(crate) forgotten: u64,
    pub(crate) names: Vec<Branch>,
}

impl Branches {
    /// Takes note of a branch that an entry stands on, or closes.
    pub(crate) fn learn(&mut self, branch: Branch) {
        // The open one is nearly always meant.
        if self.names.last() == Some(&branch) || branch.is_none() || self.names.contains(&branch) {
            return;
        }
        self.names.push(branch);
        if self.names.len() > FORKS_MAX + 1 {
            self.names.remove(0);
            self.forgotten += 1;
        }
    }

    /// Whether healed events may come, so that ranks count.
    pub(crate) fn fork_is_listed(&self) -> bool {
        self.names.len() > 1
    }

    /// The rank of an event at `position` that stood at `was` before, first one first.
    pub(crate) fn rank(&self, position: Position, was: &[String]) -> Rank {
        if !self.fork_is_listed() {
            return Rank::NONE;
        }
        let first = was.iter().find_map(|text| self.rank_at(text.parse().ok()?));
        first.or_else(|| self.rank_at(position)).unwrap_or(Rank::NONE)
    }

    fn rank_at(&self, position: Position) -> Option<Rank> {
        let index = self.names.iter().rposition(|name| *name == position.branch)?;
        Some(Rank { branch: self.forgotten + index as u64 + 1, n: position.n() })
    }
}
