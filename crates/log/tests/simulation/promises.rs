//! The judge: what must hold when a world has come to rest.
//!
//! P1: nothing is lost silently. P2: order. P3: nothing is appended twice. P4: snapshot and stream are the fold of the log.
//! Much of it is judged while things happen (in the store and in each viewer's account); here is what needs the end.

use std::collections::{HashMap, HashSet};
use std::sync::Arc;

use tidings_broker::Span;
use tidings_protocol::entry::{Body, Entry, ForkKind};
use tidings_protocol::gap::{deletes_project, deletes_session};
use tidings_protocol::head::Head;
use tidings_protocol::position::Position;
use tidings_protocol::wire;

use super::archive::Archive;
use super::ingest::Recall;
use super::watcher::{Kind, Watcher};
use super::world::{Ack, Request, World};

/// The log as it is at the end, whole.
struct Final {
    head: Head,
    entries: Vec<Arc<Entry>>,
    /// The project was deleted at some time.
    deleted: bool,
    /// What stood last of that which the log holds no more.
    trimmed: Position,
}

impl Final {
    /// Whether writers drop what stood there alone: not on a branch that a deletion of this log opened, nor on a later one.
    fn drops(&self, stood: &[Position]) -> bool {
        let Some(last) = self.head.forks.iter().rposition(|fork| fork.kind == ForkKind::Deleted) else { return false };
        let since = |at: &Position| self.head.forks[last + 1..].iter().any(|fork| fork.closed == at.branch);
        !stood.iter().any(|at| at.branch == self.head.branch || since(at))
    }

    fn events(&self) -> impl Iterator<Item = (Position, &wire::Event)> {
        self.entries.iter().flat_map(|entry| match &entry.body {
            Body::Events(events) => events.iter().enumerate().map(|(i, event)| (entry.position_of(i), event)).collect(),
            Body::Fork(_) | Body::Elsewhere(_) => Vec::new(),
        })
    }
}

impl World {
    /// What is wrong at the end.
    pub(crate) fn judge(&self) {
        let mut store = self.store.lock();
        let data = &store.primary().data;
        let head = data.head("");
        let mut entries: Vec<_> = store.archive.back_from(head.last).cloned().collect();
        entries.reverse();
        let deleted = self.deletes_project();
        let trimmed = data.read("", Span::Tail, usize::MAX).trimmed_to;
        let log = Final { head, entries, deleted, trimmed };
        let at: HashMap<&str, Position> = log.events().map(|(at, event)| (event.id.as_str(), at)).collect();
        let mut wrong = Vec::new();
        let gone = self.judge_writers(&log, &at, &store.archive, &mut wrong);
        for watcher in &self.watchers {
            judge_stream(watcher, &log, &store.archive, &mut wrong);
            judge_losses(watcher, &log, &gone, &store.archive, &mut wrong);
        }
        store.stats.gone += gone.len() as u64;
        store.stats.deleted_again += store.archive.put_back.len() as u64;
        drop(at);
        for wrong in wrong {
            store.bad(wrong);
        }
    }

    /// What was acknowledged is in the log, unless who acknowledged it is dead or has forgotten, and then a gap says so.
    fn judge_writers(
        &self,
        log: &Final,
        at: &HashMap<&str, Position>,
        archive: &Archive,
        wrong: &mut Vec<String>,
    ) -> HashSet<String> {
        let mut gone = HashSet::new();
        for ack in self.acks.iter().filter(|ack| !at.contains_key(ack.id.as_str())) {
            gone.insert(ack.id.clone());
            let Some(stood) = archive.stood.get(&ack.id) else {
                if !ack.id.starts_with('x') {
                    wrong.push(format!("P1: {} was acknowledged and never stood anywhere", ack.id));
                }
                continue;
            };
            // What was sent before a deletion was acknowledged may be gone with it.
            let since = !log.deleted || self.deleted_at().is_some_and(|deleted| deleted < ack.asked);
            if !self.lives(ack) || !since || log.drops(stood) {
                continue;
            }
            if self.recall == Recall::All {
                wrong.push(format!(
                    "P1: {} was acknowledged by i{}, which lives, and is not in the log",
                    ack.id, ack.ingest
                ));
            } else if !stood.iter().any(|lost| is_owned_up(*lost, log, archive, 8)) {
                wrong.push(format!("P1: {} at {stood:?} is missing, and no gap in the log says so", ack.id));
            }
        }
        self.judge_deletions(log, archive, wrong);
        let owns_up = log
            .events()
            .find(|(_, event)| event.gap.as_ref().is_some_and(|gap| gap.certain) && !deletes_session(event));
        if let Some((at, _)) = owns_up.filter(|_| self.recall == Recall::All && !log.deleted) {
            wrong.push(format!("P1: the gap at {at} is certain of a loss that was none"));
        }
        gone
    }

    fn lives(&self, ack: &Ack) -> bool {
        self.ingests[ack.ingest].life == ack.life
    }

    /// What the log held that was deleted, acknowledged before somebody wanted that and never sent again, stays deleted while
    /// who acknowledged the deletion lives and remembers.
    fn judge_deletions(&self, log: &Final, archive: &Archive, wrong: &mut Vec<String>) {
        let deletions = self.acks.iter().filter(|ack| ack.id.starts_with('x') && self.lives(ack));
        let Some(deletion) = deletions.max_by_key(|ack| ack.asked).filter(|_| self.recall == Recall::All) else {
            return;
        };
        let shown = |at: &Position, event: &wire::Event| !deletes_project(event) && !log.head.buries(*at, event);
        let visible = log.events().filter(|(at, event)| shown(at, event) && at.n() > log.trimmed.n());
        let was_there: HashSet<&str> = deletion.position.map(|at| archive.ids_before(at)).unwrap_or_default();
        for (at, event) in visible.filter(|(_, event)| was_there.contains(event.id.as_str())) {
            let before = |ack: &&Ack| ack.id == event.id && ack.heard < deletion.asked;
            let of_it = |request: &&Request| request.events.iter().any(|sent| sent.id == event.id);
            let again = self.requests.iter().filter(of_it).any(|request| request.repeated);
            if self.acks.iter().any(|ack| before(&ack)) && !again {
                wrong.push(format!("P1: {} at {at} is there, though {} deleted it", event.id, deletion.id));
            }
        }
    }
}

/// Whether a gap event in the log (or one that another such covers) covers what stood there.
fn is_owned_up(lost: Position, log: &Final, archive: &Archive, depth: usize) -> bool {
    archive.gaps.iter().any(|(at, before)| {
        before.branch == lost.branch
            && lost.n() < before.n()
            && (log.head.holds(&[*at]) || (depth > 0 && is_owned_up(*at, log, archive, depth - 1)))
    })
}

/// Everything that the log holds was told, or something else was told about it.
fn judge_stream(watcher: &Watcher, log: &Final, archive: &Archive, wrong: &mut Vec<String>) {
    let (account, filter, name) = (&watcher.account, watcher.kind.filter(), watcher.name);
    for (position, event) in log.events() {
        let stood = &archive.stood[&event.id];
        let merged = || {
            let mergeable = event.lane != i32::from(wire::Lane::Control);
            mergeable && stood.iter().any(|at| account.merged.contains(at))
        };
        let told = account.told.contains_key(&event.id)
            || stood.iter().any(|at| account.covered.contains(at))
            || merged()
            || !filter.passes(event)
            || log.head.deletes(position, event)
            || archive.deleted.contains(&event.session);
        if !told {
            wrong.push(format!("P1: v{name} ({:?}) was never told {} at {position}", watcher.kind, event.id));
        }
    }
    if watcher.kind.follows() && log.head.is_born() {
        let Some(from) = account.snapshot_at.filter(|_| !account.needs_snapshot) else {
            wrong.push(format!("P4: v{name} never got its fresh snapshot"));
            return;
        };
        let behind = log.events().filter(|(at, event)| at.n() > from.n() && !log.head.buries(*at, event));
        let behind: Vec<Position> = behind.map(|(at, _)| at).collect();
        if behind != account.since {
            wrong.push(format!(
                "P4: v{name} was told {:?} behind its snapshot at {from}, not {behind:?}",
                account.since
            ));
        }
    }
    if !log.head.is_born() || account.position == log.head.last || watcher.kind == Kind::LongPoll {
        return;
    }
    // Fork entries and what is hidden leave a position behind, but never a whole branch.
    if account.position.branch != log.head.branch {
        wrong.push(format!("P1: v{name} rests at {}, the log at {}", account.position, log.head.last));
    }
}

/// What the log lost was told, or a gap was.
fn judge_losses(watcher: &Watcher, log: &Final, gone: &HashSet<String>, archive: &Archive, wrong: &mut Vec<String>) {
    let account = &watcher.account;
    if log.deleted || ["failover", "log_reset", "deleted"].iter().any(|cause| account.gaps.contains(*cause)) {
        return;
    }
    for id in gone {
        let Some(stood) = archive.stood.get(id) else { continue };
        // A birth that was lost whole, before the viewer was told anything, leaves nothing to know it by; and what was
        // lost before a newcomer came is not its concern.
        let listed = |at: &Position| log.head.branch == at.branch || log.head.closing(at.branch).is_some();
        let knowable =
            |at: &Position| account.branches.contains(&at.branch) || (watcher.kind != Kind::Newcomer && listed(at));
        let spoken_for = account.told.contains_key(id) || stood.iter().any(|at| account.covered.contains(at));
        if !spoken_for && stood.iter().any(knowable) {
            wrong.push(format!("P1: {id} is gone, and v{} was told neither it nor a gap", watcher.name));
        }
    }
}
