//! The fold (docs/log.md L16): a project's state as a pure function of its log up to a position.
//!
//! Owns [`State`]: sessions, the project's own cells, summaries of sessions that are gone, and the ranks that keep healed
//! events from overwriting what came later. Expiry and eviction look at state and position alone, never at a clock, so
//! two folds of one log agree byte for byte, wherever a checkpoint lay between ([`State::touched`],
//! [`State::from_fields`]). It reads effects, no event data: a type that this version does not know folds all the same.

mod body;
mod checkpoint;
mod limits;
mod rank;
mod session;

#[cfg(test)]
mod tests;

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::sync::Arc;

pub(crate) use body::{Body, Cells, Content, NAME_END};
pub use checkpoint::{FOLD_VERSION, StateError};
pub use limits::StateLimits;

use crate::entry::{Body as EntryBody, Entry, ForkKind, ForkNote};
use crate::gap::deletes_session;
use crate::head::Head;
use crate::position::{Branch, Position};
use crate::wire;
use body::Write;
use rank::Branches;

/// A project's state at a position. A clone is cheap (a pointer per live session) and shares what neither copy changes.
#[derive(Debug, Clone)]
pub struct State {
    pub(crate) limits: StateLimits,
    pub(crate) position: Position,
    pub(crate) branches: Branches,
    pub(crate) project: Arc<Body>,
    pub(crate) sessions: BTreeMap<Arc<str>, Live>,
    /// In the order in which they went.
    pub(crate) gone: Arc<VecDeque<Gone>>,
    /// No ended session expires before this; it may be too early, never too late.
    expire_at_ms: u64,
    /// Of all live sessions.
    bytes: usize,
    incomplete_before: Option<Position>,
    changes: Changes,
}

/// A session that is still shown in full.
#[derive(Debug, Clone)]
pub(crate) struct Live {
    pub(crate) body: Arc<Body>,
    pub(crate) times: Times,
    /// It differs from its checkpoint field.
    dirty: bool,
    /// It has a checkpoint field.
    saved: bool,
}

/// When a session was heard, by positions.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(crate) struct Times {
    pub(crate) first_ms: u64,
    pub(crate) last_ms: u64,
    pub(crate) last_n: u64,
    /// 0: it has not ended.
    pub(crate) ended_ms: u64,
}

/// What is left of a session that expired or was evicted.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Gone {
    pub(crate) session: Arc<str>,
    /// JSON object: title, status, started, ended, where they were known.
    pub(crate) summary: Arc<[u8]>,
    pub(crate) agents: u64,
    pub(crate) times: Times,
    /// When it went.
    pub(crate) since_ms: u64,
}

/// What differs from the checkpoint, beside the sessions' own marks. Bounded by the fields that the checkpoint has.
#[derive(Debug, Clone, Default)]
struct Changes {
    project: bool,
    gone: bool,
    removed: BTreeSet<Arc<str>>,
}

impl State {
    /// The state before a log's birth.
    pub fn new(limits: StateLimits) -> State {
        State {
            limits,
            position: Position::ZERO,
            branches: Branches::default(),
            project: Arc::default(),
            sessions: BTreeMap::new(),
            gone: Arc::default(),
            expire_at_ms: u64::MAX,
            bytes: 0,
            incomplete_before: None,
            // A checkpoint without the project's own field could not be read again.
            changes: Changes { project: true, ..Changes::default() },
        }
    }

    /// The same state under other limits, which apply from the next event on.
    pub fn with_limits(self, limits: StateLimits) -> State {
        State { limits, expire_at_ms: 0, ..self }
    }

    /// Where the fold stands: everything at or below is in it.
    pub fn position(&self) -> Position {
        self.position
    }

    /// The open branch, as far as the fold has seen; none before birth.
    pub fn branch(&self) -> Branch {
        self.branches.names.last().copied().unwrap_or_default()
    }

    /// Weight of the live sessions and of the project's own cells in memory, in bytes, roughly.
    pub fn weight_bytes(&self) -> usize {
        self.bytes + self.project.bytes
    }

    /// Folds the next entry of the log. Entries come in log order without a hole; what lies at or below
    /// [`State::position`] already is skipped. An entry that names its events without holding them
    /// (`Body::Elsewhere`) must be read from the log first: it changes nothing, the position stays.
    pub fn apply(&mut self, entry: &Entry) {
        match &entry.body {
            EntryBody::Fork(note) if entry.position.n() > self.position.n() => self.pass_fork(entry.position, *note),
            EntryBody::Events(events) => {
                for (index, event) in events.iter().enumerate() {
                    self.apply_event(entry.position_of(index), event);
                }
            }
            EntryBody::Fork(_) | EntryBody::Elsewhere(_) => {}
        }
    }

    /// The same, without the events that were deleted with the whole project as this head of the log knows it
    /// ([`Head::deletes`]).
    pub fn apply_visible(&mut self, entry: &Entry, head: &Head) {
        let EntryBody::Events(events) = &entry.body else { return self.apply(entry) };
        for (index, event) in events.iter().enumerate() {
            let position = entry.position_of(index);
            if head.deletes(position, event) {
                self.skip(position);
            } else {
                self.apply_event(position, event);
            }
        }
    }

    /// Folds one event. Like [`State::apply`] for who has events one by one, without their entries.
    pub fn apply_event(&mut self, position: Position, event: &wire::Event) {
        if position.n() <= self.position.n() {
            return;
        }
        self.advance(position);
        // An answer to one viewer leaves no trace in what everyone sees.
        if !event.to.is_empty() {
            return;
        }
        if let Some(live) = self.sessions.get_mut(event.session.as_str()) {
            (live.times.last_ms, live.times.last_n) = (position.ms(), position.n());
        }
        if deletes_session(event) && self.gone.iter().any(|gone| *gone.session == *event.session) {
            Arc::make_mut(&mut self.gone).retain(|gone| *gone.session != *event.session);
            self.changes.gone = true;
        }
        if event.effects.is_empty() {
            return;
        }
        let limits = self.limits;
        let write = Write {
            rank: self.branches.rank(position, &event.was),
            healed: !event.was.is_empty(),
            n: position.n(),
            limits: &limits,
        };
        for effect in event.effects.iter().filter(|effect| effect.project) {
            Arc::make_mut(&mut self.project).apply(effect, write);
        }
        if event.effects.iter().any(|effect| !effect.project) && !event.session.is_empty() {
            self.apply_session(position, event, write);
        }
    }

    /// Goes on behind what the log lost before it was folded (trimmed without a checkpoint): everything up to `position` is
    /// taken for passed, and missing from then on ([`State::incomplete_before`]). A position that was passed already
    /// changes nothing.
    pub fn skip_to(&mut self, position: Position) {
        if position.n() > self.position.n() {
            self.incomplete_before = Some(position);
        }
        self.skip(position);
    }

    /// What was trimmed without a fold: events up to here may be missing from the state, for as long as the project lives.
    pub fn incomplete_before(&self) -> Option<Position> {
        self.incomplete_before
    }

    /// Passes what no state holds.
    fn skip(&mut self, position: Position) {
        if position.n() > self.position.n() {
            self.advance(position);
        }
    }

    /// Passes a fork entry: its branch closed, another one opened (docs/log.md L8). A deletion empties the state.
    fn pass_fork(&mut self, position: Position, note: ForkNote) {
        self.branches.learn(note.closed);
        self.advance(position);
        if note.kind == ForkKind::Deleted {
            for session in self.sessions.keys().cloned().collect::<Vec<_>>() {
                self.remove(&session);
            }
            self.project = Arc::default();
            self.incomplete_before = None;
            self.gone = Arc::default();
            self.changes.gone = true;
        }
    }

    fn advance(&mut self, position: Position) {
        self.branches.learn(position.branch);
        self.position = position;
        self.changes.project = true;
        self.expire(position.ms());
    }

    fn apply_session(&mut self, position: Position, event: &wire::Event, write: Write<'_>) {
        let name = event.session.as_str();
        if !self.sessions.contains_key(name) {
            let writes = |effect: &wire::Effect| !effect.project && effect.op() != wire::effect::Op::Delete;
            let buries = write.rank > rank::Rank::NONE;
            if !buries && !event.effects.iter().any(writes) {
                return;
            }
            self.open(position, name);
        }
        let live = self.sessions.get_mut(name).expect("it was opened above");
        self.bytes -= live.body.bytes;
        let was_blank = live.body.is_blank();
        let body = Arc::make_mut(&mut live.body);
        for effect in event.effects.iter().filter(|effect| !effect.project) {
            body.apply(effect, write);
        }
        self.bytes += live.body.bytes;
        live.dirty = true;
        match (live.body.has_ended(), live.times.ended_ms) {
            (true, 0) => {
                live.times.ended_ms = position.ms().max(1);
                self.expire_at_ms = self.expire_at_ms.min(live.times.ended_ms + self.limits.ended_ms);
            }
            (false, _) => live.times.ended_ms = 0,
            (true, _) => {}
        }
        let is_blank = live.body.is_blank();
        if is_blank && live.body.graves.is_empty() {
            self.remove(&Arc::from(name));
        }
        if was_blank && !is_blank && self.gone.iter().any(|gone| *gone.session == *name) {
            // It came back: one session is never both.
            Arc::make_mut(&mut self.gone).retain(|gone| *gone.session != *name);
            self.changes.gone = true;
        }
        while self.bytes > self.limits.project_bytes && self.evict(position.ms(), Some(name)) {}
    }

    /// Makes room for a session and enters it.
    fn open(&mut self, position: Position, name: &str) {
        while self.sessions.len() >= self.limits.sessions && self.evict(position.ms(), None) {}
        let times = Times { first_ms: position.ms(), last_ms: position.ms(), last_n: position.n(), ended_ms: 0 };
        let saved = self.changes.removed.remove(name);
        self.sessions.insert(name.into(), Live { body: Arc::default(), times, dirty: true, saved });
    }

    /// Retires the session that is missed least: the longest-ended one, else the least recently active.
    fn evict(&mut self, now_ms: u64, spare: Option<&str>) -> bool {
        let candidates = self.sessions.iter().filter(|(name, _)| spare != Some(&***name));
        let order = |(name, live): &(&Arc<str>, &Live)| {
            let Times { ended_ms, last_n, .. } = live.times;
            (if ended_ms == 0 { u64::MAX } else { ended_ms }, last_n, (*name).clone())
        };
        let Some((name, _)) = candidates.min_by_key(order) else { return false };
        let name = name.clone();
        self.retire(&name, now_ms);
        true
    }

    /// Retires what ended long enough ago, forgets what went long enough ago.
    fn expire(&mut self, now_ms: u64) {
        if now_ms >= self.expire_at_ms {
            let due = |ended_ms: u64| ended_ms.saturating_add(self.limits.ended_ms);
            let ended = self.sessions.iter().filter(|(_, live)| live.times.ended_ms > 0);
            let (mut over, rest): (Vec<_>, Vec<_>) = ended
                .map(|(name, live)| (live.times.ended_ms, name.clone()))
                .partition(|(ended_ms, _)| due(*ended_ms) <= now_ms);
            self.expire_at_ms = rest.iter().map(|(ended_ms, _)| due(*ended_ms)).min().unwrap_or(u64::MAX);
            over.sort();
            for (_, name) in over {
                self.retire(&name, now_ms);
            }
        }
        let over = |gone: &Gone| gone.since_ms.saturating_add(self.limits.summary_ms) <= now_ms;
        let count = self.gone.iter().take_while(|gone| over(gone)).count();
        if count > 0 {
            Arc::make_mut(&mut self.gone).drain(..count);
            self.changes.gone = true;
        }
    }

    /// Moves a live session to the summaries.
    fn retire(&mut self, name: &Arc<str>, now_ms: u64) {
        let Some(live) = self.remove(name) else { return };
        if live.body.is_blank() {
            return;
        }
        let agents = live.body.section("agents").map_or(0, |agents| agents.len() as u64);
        let summary = live.body.summary().into();
        let gone = Arc::make_mut(&mut self.gone);
        gone.push_back(Gone { session: name.clone(), summary, agents, times: live.times, since_ms: now_ms });
        gone.drain(..gone.len().saturating_sub(self.limits.summaries));
        self.changes.gone = true;
    }

    fn remove(&mut self, name: &Arc<str>) -> Option<Live> {
        let live = self.sessions.remove(name)?;
        self.bytes -= live.body.bytes;
        if live.saved {
            self.changes.removed.insert(name.clone());
        }
        Some(live)
    }
}
