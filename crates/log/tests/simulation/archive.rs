//! Every entry that any history ever held, with the fold at each, so that promises can be judged.

use std::collections::{HashMap, HashSet};
use std::sync::Arc;

use tidings_protocol::entry::{Body, Entry, ForkKind};
use tidings_protocol::fold::{State, StateLimits};
use tidings_protocol::gap::deletes_session;
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
}

impl Archive {
    /// Takes an entry that a log of this head holds since now; says what is wrong with it.
    pub(crate) fn note(&mut self, entry: &Entry, head: &tidings_protocol::head::Head) -> Result<(), String> {
        let mut state = self.state(entry.prev);
        state.apply(entry);
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
            if let Some(first) = stood.iter().find(|at| at.n() > deleted && head.holds(&[**at])) {
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
