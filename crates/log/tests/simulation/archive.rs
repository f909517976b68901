//! Every entry that any history ever held, with the fold at each, so that promises can be judged.

use std::collections::{HashMap, HashSet};
use std::sync::Arc;

use tidings_protocol::entry::{Body, Entry, ForkKind};
use tidings_protocol::fold::{State, StateLimits};
use tidings_protocol::gap::{deletes_project, deletes_session};
use tidings_protocol::head::Head;
use tidings_protocol::position::Position;

/// Every entry that any history ever held.
#[derive(Default)]
pub(crate) struct Archive {
    /// The event that stands at each position.
    pub(crate) ids: HashMap<Position, String>,
    /// Where each event ever stood, in the order in which it came to stand there.
    pub(crate) stood: HashMap<String, Vec<Position>>,
    /// Gap events of writers: where each stands, and the first position above what it covers.
    pub(crate) gaps: HashMap<Position, Position>,
    /// Sessions that were ever deleted: what they said may be hidden from some.
    pub(crate) deleted: HashSet<String>,
    /// By the position of their last event.
    entries: HashMap<Position, Arc<Entry>>,
    /// The entry of each event, by its last position.
    ends: HashMap<Position, Position>,
    states: HashMap<Position, State>,
    /// States as a deletion that was put back behind them leaves them.
    restated: HashMap<Position, Vec<String>>,
    /// Where deletions of the project were put back: what stood last before each.
    pub(crate) put_back: Vec<Position>,
}

impl Archive {
    /// Takes an entry that a log of this head holds since now; says what is wrong with it. `trimmed`: up to where the log was
    /// trimmed before and is now.
    pub(crate) fn note(&mut self, entry: &Entry, head: &Head, trimmed: (Position, Position)) -> Result<(), String> {
        let mut state = self.state(entry.prev);
        let takes_back = matches!(&entry.body, Body::Events(events) if events.iter().any(deletes_project));
        if takes_back {
            self.keeps_what_came_after(entry.prev, head, trimmed)?;
            state = self.without_deleted(entry.prev, head, trimmed.1);
        }
        state.apply_visible(entry, head);
        self.states.insert(entry.position, state);
        if self.entries.insert(entry.position, Arc::new(entry.clone())).is_some() {
            return Err(format!("P2: two entries end at {}", entry.position));
        }
        let Body::Events(events) = &entry.body else { return Ok(()) };
        let mut doubled = Ok(());
        let deleted = head.forks.iter().rfind(|fork| fork.kind == ForkKind::Deleted).map_or(0, |fork| fork.from.n());
        for (index, event) in events.iter().enumerate() {
            let position = entry.position_of(index);
            let stood = self.stood.entry(event.id.clone()).or_default();
            let held = |at: &&Position| at.n() > deleted && head.holds(&[**at]) && !head.is_deleted(**at);
            if let Some(first) = stood.iter().find(held) {
                doubled = Err(format!("P3: {} stands at {first} and again at {position}", event.id));
            }
            stood.push(position);
            self.ids.insert(position, event.id.clone());
            self.ends.insert(position, entry.position);
            if deletes_session(event) {
                self.deleted.insert(event.session.clone());
            }
            if let Some(gap) = &event.gap
                && let Ok(before) = gap.before.parse()
            {
                self.gaps.insert(position, before);
            }
        }
        doubled
    }

    /// Whether a deletion of the project that was put back behind `last` took nothing that came after it first stood.
    fn keeps_what_came_after(&self, last: Position, head: &Head, trimmed: (Position, Position)) -> Result<(), String> {
        let taken = |at: Position| trimmed.0.n() < at.n() && at.n() <= trimmed.1.n();
        for entry in self.back_from(last) {
            let Body::Events(events) = &entry.body else { continue };
            for (index, event) in events.iter().enumerate() {
                let at = entry.position_of(index);
                if taken(at) && !deletes_project(event) && !head.deletes(at, event) {
                    return Err(format!("P1: a deletion that was put back took {} at {at}", event.id));
                }
            }
        }
        Ok(())
    }

    /// The fold of what a deletion of the project, put back behind `last`, leaves. Whoever folds what came before it once
    /// it is there sees this too.
    fn without_deleted(&mut self, last: Position, head: &Head, trimmed_to: Position) -> State {
        let from = head.checkpoint.n().max(trimmed_to.n());
        let left = self.back_from(last).take_while(|entry| entry.position.n() > from);
        let mut left: Vec<_> = left.cloned().collect();
        left.reverse();
        let mut state = State::from_fields(head.checkpoint, 0, []).expect("an empty one");
        state.skip_to(trimmed_to);
        for entry in left {
            state.apply_visible(&entry, head);
            self.restated.entry(entry.position).or_default().push(json_of(&state));
        }
        self.put_back.push(last);
        state
    }

    /// Ids of what stood before the entry that ends here.
    pub(crate) fn ids_before(&self, at: Position) -> HashSet<&str> {
        let Some(entry) = self.entries.get(&at) else { return HashSet::new() };
        let before = self.back_from(entry.prev).flat_map(|entry| match &entry.body {
            Body::Events(events) => events.as_slice(),
            Body::Fork(_) | Body::Elsewhere(_) => &[],
        });
        before.map(|event| event.id.as_str()).collect()
    }

    /// Whether a state that was told at this position is the fold up to there.
    pub(crate) fn is_state(&self, at: Position, json: &str) -> bool {
        self.state_json(at) == json || self.restated.get(&at).is_some_and(|all| all.iter().any(|other| other == json))
    }

    /// The fold of everything up to here.
    pub(crate) fn state(&self, at: Position) -> State {
        self.states.get(&at).cloned().unwrap_or_else(|| State::new(StateLimits::default()))
    }

    pub(crate) fn state_json(&self, at: Position) -> String {
        json_of(&self.state(at))
    }

    /// The entries of a history up to the one that holds `last`, newest first; what a deletion took is left out.
    pub(crate) fn back_from(&self, last: Position) -> impl Iterator<Item = &Arc<Entry>> {
        let mut next = Some(self.ends.get(&last).copied().unwrap_or(last));
        std::iter::from_fn(move || {
            let entry = self.entries.get(&next?)?;
            let deletes = matches!(&entry.body, Body::Fork(note) if note.kind == ForkKind::Deleted);
            next = (!deletes).then_some(entry.prev);
            Some(entry)
        })
    }
}

pub(crate) fn json_of(state: &State) -> String {
    let mut json = Vec::new();
    state.snapshot_json(&mut json);
    String::from_utf8(json).expect("JSON is UTF-8")
}
