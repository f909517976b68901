//! A viewer: the real one, a net that may lose what it was sent, and the account of what its user was told.

use std::collections::{HashMap, HashSet, VecDeque};
use std::sync::Arc;
use std::task::{Context, Waker};

use bytes::Bytes;
use tidings_log::hub::Hub;
use tidings_log::viewer::{Pull, Viewer, Wants};
use tidings_log::wake::Wake;
use tidings_protocol::entry::{Body, Entry};
use tidings_protocol::filter::{Filter, Lane};
use tidings_protocol::frames::{Lag, SnapshotWish};
use tidings_protocol::grant::Grant;
use tidings_protocol::position::{Branch, Position};
use tidings_protocol::project::Project;

use super::store::Store;
use crate::support::Lines;

/// What kind of viewer it is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Kind {
    /// Everything from the beginning.
    Plain,
    /// A snapshot first, and a fresh one after each gap.
    Following,
    /// The same, but it comes when the log is there, at its head.
    Newcomer,
    /// One session's control lane.
    Filtered,
    /// Compacted when it lags.
    Compact,
    /// Comes anew for each answer.
    LongPoll,
}

impl Kind {
    pub(crate) fn follows(self) -> bool {
        matches!(self, Kind::Following | Kind::Newcomer)
    }

    pub(crate) fn filter(self) -> Filter {
        match self {
            Kind::Filtered => Filter { sessions: vec!["s0".into()], lanes: vec![Lane::Control], ..Filter::default() },
            _ => Filter::default(),
        }
    }

    fn lag(self) -> Lag {
        if self == Kind::Compact { Lag::Compact } else { Lag::Full }
    }
}

/// A viewer and its connection, if it has one.
pub(crate) struct Watcher {
    pub(crate) name: usize,
    pub(crate) kind: Kind,
    pub(crate) link: Option<Link>,
    pub(crate) account: Account,
}

/// A connection to a gateway.
pub(crate) struct Link {
    pub(crate) gateway: usize,
    viewer: Viewer,
    /// Lines that were sent and have not arrived.
    net: VecDeque<String>,
}

/// One telling of an event.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Telling {
    epoch: u32,
    link: u64,
    position: Position,
}

/// What the user knows.
#[derive(Default)]
pub(crate) struct Account {
    /// It has a position to come back with.
    pub(crate) begun: bool,
    pub(crate) position: Position,
    links: u64,
    pub(crate) told: HashMap<String, Vec<Telling>>,
    /// Causes of gaps.
    pub(crate) gaps: HashSet<String>,
    /// Positions that a gap or the first snapshot speaks for.
    pub(crate) covered: HashSet<Position>,
    /// Stretches told compacted: events of theirs that may be merged count as told.
    pub(crate) merged: HashSet<Position>,
    /// Branches of which it was told something.
    pub(crate) branches: HashSet<Branch>,
    /// Grows where the log starts anew: what was told before may be told again.
    epoch: u32,
    last: HashMap<Branch, u64>,
    pub(crate) needs_snapshot: bool,
    /// What was told since the last snapshot, and where that was taken.
    pub(crate) since: Vec<Position>,
    pub(crate) snapshot_at: Option<Position>,
}

impl Watcher {
    pub(crate) fn new(name: usize, kind: Kind) -> Watcher {
        let account = Account { begun: kind != Kind::Newcomer, needs_snapshot: kind.follows(), ..Account::default() };
        Watcher { name, kind, link: None, account }
    }

    /// Comes to a gateway with what it knows. False: the gateway knows nothing of the log yet.
    pub(crate) fn connect(&mut self, gateway: usize, hub: &Hub, project: &Project, store: &mut Store) -> bool {
        self.link = None;
        let topic = hub.topic(project).expect("room for one");
        if !topic.view().is_started() {
            return false;
        }
        let account = &mut self.account;
        account.links += 1;
        store.stats.reconnects += u64::from(account.links > 1);
        let at = if account.begun { account.position } else { topic.view().position() };
        let snapshot = match (self.kind.follows(), account.needs_snapshot) {
            (false, _) => SnapshotWish::No,
            (true, true) => SnapshotWish::Now,
            (true, false) => SnapshotWish::AfterGap,
        };
        store.say(|| format!("    v{} comes to g{gateway} with {at}, {snapshot:?}", self.name));
        let wants = Wants {
            at,
            newcomer: !account.begun,
            filter: self.kind.filter(),
            lag: self.kind.lag(),
            snapshot,
            grant: Grant::open("v-1"),
        };
        let viewer = Viewer::new(topic, wants, Arc::new(Wake::default()));
        self.link = Some(Link { gateway, viewer, net: VecDeque::new() });
        true
    }

    /// The gateway writes what there is, up to so many events; all but the last `held` lines arrive.
    pub(crate) fn pull(&mut self, events: usize, held: usize, store: &mut Store) {
        let Some(link) = &mut self.link else { return };
        let mut out: Vec<Bytes> = Vec::new();
        let (bytes_left, until) = (1 << 20, u64::MAX);
        let mut pull = Pull { encoding: &Lines, out: &mut out, bytes_left, events_left: events, until };
        let ready = link.viewer.poll_pull(&mut Context::from_waker(Waker::noop()), &mut pull);
        if ready.is_pending() {
            link.viewer.tell_at(&Lines, &mut out);
        }
        let top = link.viewer.topic().view().position();
        let text: Vec<u8> = out.concat();
        let text = String::from_utf8(text).expect("UTF-8");
        link.net.extend(text.lines().map(|line| line.trim_end().to_owned()));
        if text.lines().last().is_some_and(|line| line.starts_with("E ")) && link.viewer.at().n() > top.n() {
            let at = link.viewer.at();
            store.bad(format!("P2: v{} is at {at}, beyond its topic's {top}", self.name));
        }
        let mut heard = false;
        while link.net.len() > held
            && let Some(line) = link.net.pop_front()
        {
            heard = true;
            self.account.take(&line, self.name, self.kind, store);
        }
        if heard && self.kind == Kind::LongPoll {
            self.link = None;
        }
    }
}

impl Account {
    fn take(&mut self, line: &str, name: usize, kind: Kind, store: &mut Store) {
        store.say(|| {
            let short: String = line.chars().take(150).collect();
            format!("    v{name} < {short}")
        });
        let words: Vec<&str> = line.split(' ').collect();
        let at = |index: usize| -> Position { words[index].parse().expect("a position") };
        let wrong = match words[0] {
            "E" => {
                let marked = (words.get(3).is_some_and(|was| !was.is_empty()), words.get(4).is_some());
                self.event(words[1], at(2), marked, store)
            }
            "G" => self.gap(words[1], (at(2), at(3)), words[4].parse().ok(), (words[5] == "true", kind), store),
            "S" => self.snapshot(at(1), &line[line.find('{').expect("a state")..], kind, store),
            "C" => self.compacted(at(1), words[2], store),
            "A" => {
                self.position = at(1);
                None
            }
            other => Some(format!("a line {other}")),
        };
        self.branches.insert(self.position.branch);
        if let Some(wrong) = wrong {
            store.bad(format!("{wrong} (v{name}, {kind:?})"));
        }
    }

    fn event(&mut self, id: &str, position: Position, marked: (bool, bool), store: &mut Store) -> Option<String> {
        store.stats.told += 1;
        store.stats.told_with_was += u64::from(marked.0);
        store.stats.told_seen += u64::from(marked.1);
        self.position = position;
        self.since.push(position);
        if store.archive.ids.get(&position).is_none_or(|stands| stands != id) {
            return Some(format!("P2: told {id} at {position}, where another one stands"));
        }
        if let Some(last) = self.last.insert(position.branch, position.n())
            && position.n() <= last
        {
            return Some(format!("P2: told {position} after {last}"));
        }
        self.tell(id, position, marked, store)
    }

    /// Counts a telling; says if it is one too many.
    fn tell(&mut self, id: &str, position: Position, marked: (bool, bool), store: &mut Store) -> Option<String> {
        let (epoch, link) = (self.epoch, self.links);
        let before = self.told.entry(id.to_owned()).or_default();
        let same_epoch = before.iter().filter(|telling| telling.epoch == epoch);
        let mut wrong = None;
        for telling in same_epoch {
            store.stats.told_again += 1;
            if telling.position == position || (telling.link == link && !marked.1) {
                wrong = Some(format!("P1: told {id} at {} and again at {position}", telling.position));
            }
        }
        before.push(Telling { epoch, link, position });
        wrong
    }

    fn gap(
        &mut self,
        cause: &str,
        (after, position): (Position, Position),
        lost: Option<u64>,
        (certain, kind): (bool, Kind),
        store: &mut Store,
    ) -> Option<String> {
        let archive = &store.archive;
        let mut wrong = None;
        match cause {
            "failover" => store.stats.failover_gaps += 1,
            "trimmed" => {
                store.stats.trimmed_gaps += 1;
                // Newest first: what lies behind where `after` goes on in this history.
                let behind =
                    |entry: &&Arc<Entry>| !(entry.position.branch == after.branch && entry.position.n() <= after.n());
                let missing: Vec<Position> = archive
                    .back_from(position)
                    .take_while(behind)
                    .flat_map(|entry| events_of(entry))
                    .filter(|at| at.branch != after.branch || at.n() > after.n())
                    .collect();
                let count = missing.len() as u64;
                let lost = lost.unwrap_or(u64::MAX);
                let deleted = !archive.deleted.is_empty() || !archive.put_back.is_empty();
                store.stats.exact_gaps += u64::from(certain && !deleted);
                let exact = certain && kind != Kind::Filtered && !deleted;
                if lost > count || (exact && lost != count) {
                    wrong = Some(format!("P1: a gap of {lost} from {after} to {position} is one of {count}"));
                }
                self.covered.extend(missing);
            }
            "log_reset" | "deleted" => {
                if cause == "deleted" {
                    store.stats.deleted_gaps += 1;
                } else {
                    store.stats.resets += 1;
                }
                self.epoch += 1;
                self.last.clear();
                self.covered.extend(archive.back_from(position).flat_map(|entry| events_of(entry)));
            }
            other => return Some(format!("a gap of cause {other}")),
        }
        self.gaps.insert(cause.to_owned());
        self.position = position;
        self.needs_snapshot = kind.follows();
        self.since.clear();
        self.snapshot_at = None;
        wrong
    }

    fn snapshot(&mut self, position: Position, state: &str, kind: Kind, store: &mut Store) -> Option<String> {
        store.stats.snapshots += 1;
        let whole = store.archive.state_json(position);
        if kind == Kind::Newcomer {
            // It knows from its snapshots what it was not there to be told.
            self.covered.extend(store.archive.back_from(position).flat_map(|entry| events_of(entry)));
        }
        self.begun = true;
        self.position = position;
        self.needs_snapshot = false;
        self.since.clear();
        self.snapshot_at = Some(position);
        (!store.archive.is_state(position, state))
            .then(|| format!("P4: a snapshot at {position} says {state}, not {whole}"))
    }

    fn compacted(&mut self, position: Position, ids: &str, store: &mut Store) -> Option<String> {
        store.stats.compacted += 1;
        let from = self.position;
        let stretch: Vec<Position> = store
            .archive
            .back_from(position)
            .take_while(|entry| !(entry.position.branch == from.branch && entry.position.n() <= from.n()))
            .flat_map(|entry| events_of(entry))
            .filter(|at| at.n() <= position.n() && (at.branch != from.branch || at.n() > from.n()))
            .collect();
        self.position = position;
        let mut wrong = None;
        for id in ids.split(',') {
            let stood = store.archive.stood.get(id).cloned().unwrap_or_default();
            match stood.into_iter().find(|at| stretch.contains(at)) {
                Some(at) => wrong = self.event(id, at, (false, false), store).or(wrong),
                None => wrong = Some(format!("P2: told {id} before {position}, where it never stood")),
            }
        }
        self.position = position;
        store.stats.merged += (stretch.len() as u64).saturating_sub(ids.split(',').count() as u64);
        self.merged.extend(stretch);
        wrong
    }
}

/// Positions of an entry's events.
pub(crate) fn events_of(entry: &Entry) -> impl Iterator<Item = Position> + use<'_> {
    let count = match &entry.body {
        Body::Events(events) => events.len(),
        Body::Fork(_) | Body::Elsewhere(_) => 0,
    };
    (0..count).map(|index| entry.position_of(index))
}
