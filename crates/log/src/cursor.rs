//! A reader's cursor (docs/log.md L10, L12): where it reads on, what it has been told on branches that were closed since,
//! and which gaps it must be told. Pure.

use tidings_protocol::entry::{Entry, ForkKind, ForkNote};
use tidings_protocol::frames::SnapshotWish;
use tidings_protocol::gap::{Gap, GapCause, deletes_project};
use tidings_protocol::head::{FORKS_MAX, Head, Located};
use tidings_protocol::position::Position;
use tidings_protocol::wire;

use crate::topic::heard::{HEARD_MS, Heard};

/// Branches that a cursor remembers: all that a head lists, and as many of histories that are gone.
const OLD_MAX: usize = 2 * FORKS_MAX;

/// A reader's place in a log.
#[derive(Debug, Clone)]
pub struct Cursor {
    /// Reading goes on behind this.
    at: Position,
    /// The last position that the reader was told.
    told: Position,
    /// How far it had read each branch that was closed since, also of histories that are gone.
    old: Vec<Position>,
    follows_snapshots: bool,
    /// A snapshot is due when the cursor reaches the head.
    snapshot_due: bool,
    /// Where the last snapshot of this connection was taken, unless a gap came since.
    fresh_at: Option<Position>,
}

/// Whether an event is to be told, and how.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Verdict {
    /// The reader has been told it before: it counts as told.
    Skip,
    /// Tell it.
    Tell {
        /// An old position under which it was heard, when the event itself does not say.
        was: Option<Position>,
        /// The reader has been told it, but its snapshot lacks it.
        seen: bool,
    },
}

/// What became of a cursor when it was held against a head.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Relocated {
    /// It reads on behind its (perhaps moved) place.
    Here,
    /// It lies above the head on the open branch.
    Ahead,
    /// Its branch is unknown.
    Unknown,
}

impl Cursor {
    /// A cursor behind `at`, which the reader knows.
    pub fn new(at: Position, snapshot: SnapshotWish) -> Cursor {
        Cursor {
            at,
            told: at,
            old: Vec::new(),
            follows_snapshots: snapshot != SnapshotWish::No,
            snapshot_due: snapshot == SnapshotWish::Now,
            fresh_at: None,
        }
    }

    /// Where reading goes on.
    pub fn at(&self) -> Position {
        self.at
    }

    /// Whether the reader's own position lags behind the cursor, so that an `at` would tell it something.
    pub fn is_untold(&self) -> bool {
        self.told != self.at
    }

    /// The reader was told that everything up to the cursor is told.
    pub fn told(&mut self) {
        self.told = self.at;
    }

    /// A snapshot is due at the head.
    pub fn wants_snapshot(&self) -> bool {
        self.snapshot_due
    }

    /// A snapshot is due from now on, whatever the reader follows.
    pub fn want_snapshot(&mut self) {
        self.snapshot_due = true;
    }

    /// A snapshot was told that is true at `position`, and the stream goes on from there.
    pub fn snapshot_told(&mut self, position: Position) {
        self.snapshot_due = false;
        self.fresh_at = Some(position);
        self.at = position;
        self.told = position;
    }

    /// Moves a cursor of a closed branch to where it goes on in this log.
    pub fn relocate(&mut self, head: &Head) -> Relocated {
        match head.locate(self.at) {
            Located::At(_) => Relocated::Here,
            Located::Cut(_) => {
                self.remember(self.at);
                if let Some(fork) = head.closing(self.at.branch) {
                    self.at = fork.survived;
                }
                Relocated::Here
            }
            Located::Ahead => Relocated::Ahead,
            Located::Unknown => Relocated::Unknown,
        }
    }

    /// The cursor's branch is unknown: a failover took the fork that began it, too. Goes on behind what is left of the newest
    /// branch that the reader had been on and this history knows, where that fork's successor is told. False: it knows none.
    pub fn go_back(&mut self, head: &Head) -> bool {
        let left = |old: &Position| match head.locate(*old) {
            Located::At(_) => Some(*old),
            Located::Cut(_) => head.closing(old.branch).map(|fork| fork.survived),
            Located::Ahead | Located::Unknown => None,
        };
        if head.locate(self.at) != Located::Unknown {
            return false;
        }
        let Some(newest) = self.old.iter().filter_map(left).max_by_key(Position::n) else { return false };
        self.remember(self.at);
        self.at = newest;
        true
    }

    fn remember(&mut self, position: Position) {
        match self.old.iter_mut().find(|old| old.branch == position.branch) {
            Some(old) if old.n() < position.n() => *old = position,
            Some(_) => {}
            None => {
                if self.old.len() >= OLD_MAX {
                    self.old.remove(0);
                }
                self.old.push(position);
            }
        }
    }

    /// Everything up to `position` has been told or counts as told.
    pub fn advance(&mut self, position: Position) {
        self.at = position;
    }

    /// The cursor passes a fork entry.
    pub fn cross(&mut self, position: Position, note: &ForkNote) -> Option<Gap> {
        if !note.closed.is_none() && note.closed == self.at.branch {
            self.remember(self.at);
        }
        let cause = match note.kind {
            ForkKind::Moved => {
                self.at = position;
                return None;
            }
            ForkKind::Failover => GapCause::Failover,
            ForkKind::Deleted => GapCause::Deleted,
        };
        let certain = note.kind == ForkKind::Deleted;
        Some(self.gap(Gap { after: self.told, before: position, cause, lost: None, certain, position }))
    }

    /// The log no longer holds what lies between the cursor and `resume`, the position before the oldest entry it holds.
    /// One gap or two; of two the last moves the position.
    pub fn trimmed(&mut self, head: &Head, resume: Position) -> Vec<Gap> {
        let crossed = |fork: &&tidings_protocol::head::Fork| self.at.n() < fork.from.n() && fork.from.n() <= resume.n();
        let forks: Vec<_> = head.forks.iter().filter(crossed).copied().collect();
        let before = next(resume);
        // Of one that was put back the rest is told where it stands.
        let deleted = forks.iter().any(|fork| fork.kind == ForkKind::Deleted) || head.is_deleted(self.at);
        if deleted {
            let gap =
                Gap { after: self.told, before, cause: GapCause::Deleted, lost: None, certain: true, position: resume };
            return vec![self.gap(gap)];
        }
        let mut gaps = Vec::new();
        if forks.iter().any(|fork| fork.kind == ForkKind::Failover) {
            let told = self.told;
            gaps.push(Gap {
                after: told,
                before,
                cause: GapCause::Failover,
                lost: None,
                certain: false,
                position: told,
            });
        }
        // What was told on a branch that was cut, or may have come again since a failover, cannot be counted for certain.
        let cut = self.told.branch != self.at.branch || self.told.n() > self.at.n();
        let doubtful =
            head.forks.iter().any(|fork| fork.kind == ForkKind::Failover && fork.from.ms() + HEARD_MS >= self.at.ms());
        // Forks that meta has forgotten look like events: then nobody can count.
        let counts =
            self.at.branch == head.branch || head.closing(self.at.branch).is_some() || head.forks.len() < FORKS_MAX;
        let lost = counts.then(|| resume.n() - self.at.n() - forks.len() as u64);
        gaps.push(self.gap(Gap {
            after: self.told,
            before,
            cause: GapCause::Trimmed,
            lost,
            certain: !cut && !doubtful,
            position: resume,
        }));
        gaps
    }

    /// The log starts anew: go on at its head.
    pub fn reset(&mut self, head: &Head) -> Gap {
        self.old.clear();
        let position = head.last;
        self.gap(Gap {
            after: self.told,
            before: next(position),
            cause: GapCause::LogReset,
            lost: None,
            certain: false,
            position,
        })
    }

    /// The project's deletion, which a fork took, was put back here: what was before it first stood is gone, wherever the
    /// reader is.
    pub fn project_deleted(&mut self, position: Position) -> Gap {
        let (after, cause) = (Position::ZERO, GapCause::Deleted);
        self.gap(Gap { after, before: position, cause, lost: None, certain: true, position })
    }

    /// A session was deleted: who follows snapshots is due one without it.
    pub fn session_deleted(&mut self) {
        self.snapshot_due |= self.follows_snapshots;
    }

    /// Moves behind a gap; who follows snapshots is due a fresh one.
    fn gap(&mut self, gap: Gap) -> Gap {
        self.at = gap.position;
        self.told = gap.position;
        if self.follows_snapshots {
            self.snapshot_due = true;
        }
        self.fresh_at = None;
        gap
    }

    /// Whether an event that stands at `position` is to be told.
    pub fn judge(&self, position: Position, event: &wire::Event, heard: &Heard) -> Verdict {
        let mut was = None;
        // A history in which a branch goes on further may come back after one in which it was cut.
        let mut seen = self.had(position);
        for old in event.was.iter().filter_map(|text| text.parse::<Position>().ok()) {
            seen |= self.had(old);
        }
        for old in heard.olds(&event.id).iter().filter(|old| old.branch != position.branch) {
            was = was.or(Some(*old));
            seen |= self.had(*old);
        }
        // What the project's deletion takes may be more here than where it was first told.
        if seen && self.fresh_at.is_none() && !deletes_project(event) {
            Verdict::Skip
        } else {
            Verdict::Tell { was, seen }
        }
    }

    /// Whether the reader had read some of this entry when a fork took it, and now it is back.
    pub fn had_some_of(&self, entry: &Entry) -> bool {
        self.had(Position { id: entry.first_id(), branch: entry.position.branch })
    }

    /// Has this reader been told what stood there?
    fn had(&self, position: Position) -> bool {
        self.old.iter().any(|old| old.branch == position.branch && position.n() <= old.n())
    }

    /// Where a reader stands in an entry: the index of the first event behind the cursor.
    pub fn first_unread(&self, entry: &Entry) -> usize {
        let first = entry.first_id().n;
        usize::try_from((self.at.n() + 1).saturating_sub(first)).unwrap_or(usize::MAX)
    }
}

/// The lowest position that the next event may have: an exclusive upper bound.
fn next(position: Position) -> Position {
    Position::new(position.ms(), position.n() + 1, position.branch)
}

#[cfg(test)]
mod tests;
