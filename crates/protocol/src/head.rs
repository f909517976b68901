//! A log's head: what meta says of it at one moment (docs/log.md L3), and how positions relate through its forks.

use crate::entry::{EntryError, ForkKind};
use crate::gap::{deletes_project, deletes_session};
use crate::position::{Branch, LogId, Position};
use crate::wire;

/// Forks that meta keeps; older ones are forgotten.
pub const FORKS_MAX: usize = 32;

/// Deleted sessions that meta keeps, until their events have been trimmed; more are refused.
pub const TOMBSTONES_MAX: usize = 256;

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

/// A deletion whose events the log may still hold (docs/log.md L19): what it covers is not read any more.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Tombstone {
    /// The session; empty: the whole project, whose deletion a fork took and its writer put back.
    pub session: String,
    /// Where the deletion stands.
    pub position: Position,
    /// Of a session: where the deletion stood before forks, first one first. Of the project: the end of each branch that
    /// the deletion first stood behind, newest first.
    pub was: Vec<Position>,
}

impl Tombstone {
    /// Whether it covers the whole project.
    pub fn is_of_project(&self) -> bool {
        self.session.is_empty()
    }

    /// The tombstone that a session's deletion leaves; none: the event is no such thing.
    pub fn of(position: Position, event: &wire::Event) -> Option<Tombstone> {
        let was = || event.was.iter().filter_map(|text| text.parse().ok()).collect();
        deletes_session(event).then(|| Tombstone { session: event.session.clone(), position, was: was() })
    }

    /// The line in meta's field `tombstones`: its positions, then the session.
    pub fn to_text(&self) -> String {
        let positions: Vec<String> = [&self.position].into_iter().chain(&self.was).map(ToString::to_string).collect();
        format!("{} {}", positions.join(","), self.session)
    }

    /// Reads [`Tombstone::to_text`].
    pub fn from_text(text: &str) -> Result<Tombstone, EntryError> {
        let malformed = || EntryError("tombstone");
        let (positions, session) = text.split_once(' ').ok_or_else(malformed)?;
        let mut positions = positions.split(',').map(|text| text.parse().map_err(|_| malformed()));
        let position = positions.next().ok_or_else(malformed)??;
        Ok(Tombstone { session: session.to_owned(), position, was: positions.collect::<Result<_, _>>()? })
    }
}

/// Puts a tombstone behind those that there are. One that first stands here replaces the session's older ones.
pub fn bury(tombstones: &mut Vec<Tombstone>, tombstone: Tombstone) {
    if tombstone.was.is_empty() {
        tombstones.retain(|older| older.session != tombstone.session);
    }
    tombstones.push(tombstone);
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
    /// Sessions that were deleted and whose events may be in the log still, in the order of their deletions.
    pub tombstones: Vec<Tombstone>,
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

    /// Whether what stands at or above `n` cannot have been deleted, so that nobody needs to look.
    pub fn is_clear_from(&self, n: u64) -> bool {
        self.tombstones.last().is_none_or(|newest| newest.position.n() < n)
    }

    /// The deletions of the whole project that were put back, and whose events the log may hold.
    pub fn project_deletions(&self) -> impl Iterator<Item = &Tombstone> {
        self.tombstones.iter().filter(|tombstone| tombstone.is_of_project())
    }

    /// Where the newest of them stands.
    pub fn newest_project_deletion(&self) -> Option<Position> {
        self.project_deletions().last().map(|deletion| deletion.position)
    }

    /// Whether this head knows of every deletion of the whole project that `other` lists above what both hold.
    pub fn knows_deletions_of(&self, other: &Head) -> bool {
        other.project_deletions().all(|theirs| self.project_deletions().any(|ours| ours.position == theirs.position))
    }

    /// Whether what first stood at `position` was deleted with the whole project.
    pub fn is_deleted(&self, position: Position) -> bool {
        self.project_deletions().any(|tombstone| self.is_behind(tombstone, position, &[]))
    }

    /// Whether the event at `position` was deleted with the whole project, so that no fold may hold it.
    pub fn deletes(&self, position: Position, event: &wire::Event) -> bool {
        let mut deletions = self.project_deletions().peekable();
        if deletions.peek().is_none() || deletes_project(event) {
            return false;
        }
        if event.was.is_empty() && self.is_clear_from(position.n()) {
            return false;
        }
        let was = positions_of(event);
        deletions.any(|tombstone| self.is_behind(tombstone, position, &was))
    }

    /// Whether a deletion of the whole project stands behind what stood at these positions: on a branch that the deletion
    /// knew, at or below its end there, or on one that this log lists before those.
    fn is_behind(&self, tombstone: &Tombstone, position: Position, was: &[Position]) -> bool {
        let stood = || was.iter().copied().chain([position]);
        let known = |at: Position| tombstone.was.iter().any(|end| end.branch == at.branch && at.n() <= end.n());
        if stood().any(known) {
            return true;
        }
        let Some(end) = tombstone.was.iter().find_map(|end| self.place(*end)) else { return false };
        stood().find_map(|at| self.place(at)).unwrap_or((0, position.n())) <= end
    }

    /// The last position that a deletion of the whole project takes from the log when it is put back, if it stood behind the
    /// ends `was` (newest first). [`Position::ZERO`]: nothing that the log holds was before it. Never before a deletion
    /// that stands.
    pub fn taken_by(&self, was: &[Position]) -> Position {
        let end_of = |end: &Position| {
            let closed = self.closing(end.branch).map(|fork| fork.survived);
            let last = (end.branch == self.branch).then_some(self.last).or(closed)?;
            Some(if end.n() < last.n() { *end } else { last })
        };
        let taken = was.iter().find_map(end_of).unwrap_or(Position::ZERO);
        let deleted = self.forks.iter().rfind(|fork| fork.kind == ForkKind::Deleted).map(|fork| fork.from);
        deleted.filter(|from| from.n() > taken.n()).unwrap_or(taken)
    }

    /// Whether the event at `position` was deleted, with its session or with the whole project: it ranks (L16) below the
    /// deletion. A deletion itself never is.
    pub fn buries(&self, position: Position, event: &wire::Event) -> bool {
        if self.tombstones.is_empty() {
            return false;
        }
        if self.deletes(position, event) {
            return true;
        }
        if event.session.is_empty() || deletes_session(event) {
            return false;
        }
        let mut of_session = self.tombstones.iter().filter(|tombstone| tombstone.session == event.session).peekable();
        if of_session.peek().is_none() {
            return false;
        }
        let rank = self.rank(position, positions_of(event).into_iter());
        of_session.any(|tombstone| rank <= self.rank(tombstone.position, tombstone.was.iter().copied()))
    }

    /// Where something first stood, as far as the log knows, in an order over all branches. Branches that are forgotten
    /// come first.
    fn rank(&self, position: Position, was: impl Iterator<Item = Position>) -> (usize, u64) {
        was.chain([position]).find_map(|at| self.place(at)).unwrap_or((0, position.n()))
    }

    /// A position's place in the order over all branches that the log knows.
    fn place(&self, position: Position) -> Option<(usize, u64)> {
        let branch = self.forks.iter().position(|fork| fork.closed == position.branch).map(|index| index + 1);
        let open = (position.branch == self.branch).then_some(self.forks.len() + 1);
        Some((open.or(branch)?, position.n()))
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

/// Where an event stood before forks, first one first.
fn positions_of(event: &wire::Event) -> Vec<Position> {
    event.was.iter().filter_map(|text| text.parse().ok()).collect()
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

#[cfg(test)]
mod tests {
    use super::*;
    use crate::gap::GapCause;

    fn at(n: u64, branch: char) -> Position {
        Position::new(1_000, n, branch.to_string().repeat(12).parse().expect("a branch"))
    }

    fn event(session: &str, was: &[Position]) -> wire::Event {
        let was = was.iter().map(ToString::to_string).collect();
        wire::Event { session: session.into(), was, ..wire::Event::default() }
    }

    fn tombstone(session: &str, position: Position, was: &[Position]) -> Tombstone {
        Tombstone { session: session.into(), position, was: was.into() }
    }

    /// `a` was cut at 10, `b` goes on from 11.
    fn forked(tombstones: Vec<Tombstone>) -> Head {
        let fork =
            Fork { closed: at(1, 'a').branch, survived: at(10, 'a'), kind: ForkKind::Failover, from: at(11, 'b') };
        Head { branch: at(1, 'b').branch, last: at(30, 'b'), forks: vec![fork], tombstones, ..Head::default() }
    }

    #[test]
    fn a_tombstone_covers_what_its_session_said_until_then() {
        let head = forked(vec![tombstone("s", at(20, 'b'), &[])]);
        assert!(head.buries(at(5, 'a'), &event("s", &[])) && head.buries(at(19, 'b'), &event("s", &[])));
        assert!(!head.buries(at(21, 'b'), &event("s", &[])), "it lives again");
        assert!(!head.buries(at(5, 'a'), &event("other", &[])));
        assert!(!head.buries(at(5, 'a'), &event("", &[])), "an event of the project");
        assert!(!head.is_clear_from(20) && head.is_clear_from(21));
    }

    #[test]
    fn what_was_put_back_counts_from_where_it_first_stood() {
        let head = forked(vec![tombstone("s", at(20, 'b'), &[at(14, 'a')])]);
        assert!(
            head.buries(at(22, 'b'), &event("s", &[at(13, 'a')])),
            "it was before the deletion, and comes behind it"
        );
        assert!(!head.buries(at(22, 'b'), &event("s", &[at(15, 'a')])));
        assert!(!head.buries(at(12, 'b'), &event("s", &[])), "new since the fork that took the deletion");
    }

    #[test]
    fn a_projects_deletion_that_was_put_back_covers_what_was_before_it_alone() {
        // It stood behind `a` at 12, which the log cut at 10.
        let head = forked(vec![tombstone("", at(20, 'b'), &[at(12, 'a')])]);
        assert!(head.buries(at(5, 'a'), &event("s", &[])) && head.buries(at(5, 'a'), &event("", &[])));
        assert!(head.buries(at(13, 'b'), &event("s", &[at(11, 'a')])), "it was before, and was put back since");
        assert!(head.buries(at(25, 'b'), &event("s", &[at(11, 'a')])), "or will be");
        assert!(!head.buries(at(12, 'b'), &event("s", &[])), "acknowledged since the fork that took the deletion");
        assert!(!head.buries(at(22, 'b'), &event("s", &[at(14, 'c')])), "acknowledged behind it");
        assert!(head.is_deleted(at(10, 'a')) && head.is_deleted(Position::ZERO) && !head.is_deleted(at(12, 'b')));
        assert_eq!(head.taken_by(&[at(12, 'a')]), at(10, 'a'));
    }

    #[test]
    fn a_projects_deletion_knows_the_branches_that_were_closed_before_it() {
        // It stood on `z`, behind `a` at 8; this log went another way from `a`.
        let was = [at(99, 'z'), at(8, 'a')];
        let head = forked(vec![tombstone("", at(20, 'b'), &was)]);
        assert!(head.buries(at(8, 'a'), &event("s", &[])) && !head.buries(at(9, 'a'), &event("s", &[])));
        assert!(head.buries(at(12, 'b'), &event("s", &[at(15, 'z')])), "of a branch that is not here");
        assert_eq!(head.taken_by(&was), at(8, 'a'));
        // A log that knows none of it holds nothing of before.
        assert!(!forked(Vec::new()).is_deleted(at(5, 'a')));
        assert_eq!(head.taken_by(&[at(99, 'z')]), Position::ZERO);
        // Another deletion stands behind all of it.
        let deleted = Fork { kind: ForkKind::Deleted, ..head.forks[0] };
        assert_eq!(Head { forks: vec![deleted], ..head }.taken_by(&was), at(11, 'b'));
    }

    #[test]
    fn a_deletion_is_never_covered_itself() {
        let gap = Some(wire::Gap { cause: GapCause::Deleted.as_str().into(), ..wire::Gap::default() });
        let deletion = wire::Event { gap, ..event("s", &[]) };
        let head = forked(vec![tombstone("s", at(20, 'b'), &[])]);
        assert!(!head.buries(at(20, 'b'), &deletion));
        assert_eq!(Tombstone::of(at(20, 'b'), &deletion), Some(head.tombstones[0].clone()));
    }

    #[test]
    fn its_text_gives_it_back() {
        for tombstone in [
            tombstone("my session, 1", at(2, 'a'), &[]),
            tombstone("s", at(9, 'b'), &[at(2, 'a'), at(4, 'b')]),
            tombstone("", at(9, 'b'), &[at(4, 'a')]),
        ] {
            assert_eq!(Tombstone::from_text(&tombstone.to_text()), Ok(tombstone));
        }
        assert!(Tombstone::from_text("nothing").is_err());
    }

    #[test]
    fn a_second_deletion_replaces_the_first() {
        let mut all = vec![tombstone("s", at(2, 'a'), &[]), tombstone("t", at(3, 'a'), &[])];
        bury(&mut all, tombstone("s", at(4, 'a'), &[]));
        assert_eq!(all, [tombstone("t", at(3, 'a'), &[]), tombstone("s", at(4, 'a'), &[])]);
        bury(&mut all, tombstone("t", at(12, 'b'), &[at(2, 'a')]));
        assert_eq!(all.len(), 3, "one that is put back may rank below");
    }
}
