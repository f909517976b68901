//! Histories of a log that a store could really have: appends, forks that lose a tail, and writers that put back what
//! they were acknowledged and what the log does not hold, in any order.

use proptest::prelude::*;

use crate::entry::{Body, Entry, ForkKind, ForkNote};
use crate::position::{Branch, Position};
use crate::wire::{Effect, Event, effect::Op};

/// One thing that happens.
#[derive(Debug, Clone)]
pub(crate) enum Step {
    /// Events of one entry, each with its session.
    Append(Vec<(u8, Vec<Effect>)>),
    /// The store falls back by so many entries and forks.
    Fork { lost: usize, kind: ForkKind },
    /// One of the lost events is put back.
    Heal(usize),
}

/// A played history.
pub(crate) struct History {
    pub(crate) log: Vec<Entry>,
    ms: u64,
    /// Names drawn so far; the last one is open.
    branches: u8,
    /// Every acknowledged event with all the positions that it stood at; its id tells it.
    acknowledged: Vec<(Event, Vec<Position>)>,
}

pub(crate) fn steps() -> impl Strategy<Value = Step> {
    prop_oneof![
        12 => prop::collection::vec((0_u8..4, prop::collection::vec(effects(), 0..4)), 1..4).prop_map(Step::Append),
        2 => (0_usize..6, prop_oneof![8 => Just(ForkKind::Failover), 2 => Just(ForkKind::Moved), 1 => Just(ForkKind::Deleted)])
            .prop_map(|(lost, kind)| Step::Fork { lost, kind }),
        8 => (0_usize..8).prop_map(Step::Heal),
    ]
}

fn effects() -> impl Strategy<Value = Effect> {
    const PATHS: [&[&str]; 12] = [
        &["status"],
        &["lost"],
        &["a"],
        &["b"],
        &["agents", "x", "m"],
        &["agents", "x", "n"],
        &["agents", "y", "m"],
        &["agents", "z"],
        &["stages", "one"],
        &["tools", "t", "c", "d"],
        &["agents"],
        &["agents", "x"],
    ];
    let value =
        prop_oneof![Just(r#""completed""#), Just(r#""running""#), Just("1"), Just("[\"far too long for tiny\"]")];
    let op = prop_oneof![4 => Just(Op::Set), 1 => Just(Op::SetOnce), 2 => Just(Op::Add), 2 => Just(Op::Push), 3 => Just(Op::Delete)];
    (op, 0..PATHS.len(), value, 1_i64..9, prop::bool::weighted(0.1), prop::bool::weighted(0.1)).prop_map(
        |(op, path, value, number, project, root)| {
            // Writes go to leaves alone: what a cell above others means is not the model's question.
            let path = if op == Op::Delete || path < 10 { PATHS[path] } else { PATHS[path - 8] };
            Effect {
                op: op.into(),
                project,
                path: if root && op == Op::Delete { vec![] } else { path.iter().map(|&name| name.into()).collect() },
                value: if matches!(op, Op::Set | Op::SetOnce | Op::Push) { value.into() } else { "".into() },
                number: if op == Op::Add { number } else { 0 },
                limit: if op == Op::Push { 4 } else { 0 },
            }
        },
    )
}

impl History {
    pub(crate) fn play(steps: &[Step]) -> History {
        let mut history = History { log: Vec::new(), ms: 1_000, branches: 0, acknowledged: Vec::new() };
        let mut deleted = 0;
        for step in steps {
            history.ms += 7;
            match step {
                Step::Append(events) => {
                    let events = events.iter().enumerate().map(|(index, (session, effects))| Event {
                        id: format!("{}.{index}", history.acknowledged.len()),
                        session: format!("s{session}"),
                        effects: effects.clone(),
                        ..Event::default()
                    });
                    history.append(events.collect());
                }
                Step::Fork { lost, kind } => {
                    // A deletion reaches back over everything; a move loses nothing.
                    let lost = if *kind == ForkKind::Failover { *lost } else { 0 };
                    let lost = lost.min(history.log.len().saturating_sub(deleted));
                    history.log.truncate(history.log.len() - lost);
                    history.fork(*kind);
                    if *kind == ForkKind::Deleted {
                        history.acknowledged.clear();
                        deleted = history.log.len();
                    }
                }
                Step::Heal(which) => history.heal(*which),
            }
        }
        history
    }

    fn last(&self) -> Position {
        self.log.last().map_or(Position::ZERO, |entry| entry.position)
    }

    fn branch(&self) -> Branch {
        branch(self.branches)
    }

    fn append(&mut self, events: Vec<Event>) {
        let prev = self.last();
        let position = Position::new(self.ms, prev.n() + events.len() as u64, self.branch());
        let entry = Entry { position, prev, total_bytes: 0, body: Body::Events(events.clone()) };
        for (index, event) in events.into_iter().enumerate() {
            let at = entry.position_of(index);
            match self.acknowledged.iter_mut().find(|(kept, _)| kept.id == event.id) {
                Some((_, positions)) => positions.push(at),
                None => self.acknowledged.push((event, vec![at])),
            }
        }
        self.log.push(entry);
    }

    fn fork(&mut self, kind: ForkKind) {
        let survived = self.last();
        self.branches += 1;
        // Nothing is left: the log is born again, which no entry tells.
        if survived.is_zero() {
            return;
        }
        let position = Position::new(self.ms.max(survived.ms()), survived.n() + 1, self.branch());
        let note = ForkNote { closed: survived.branch, survived, kind };
        self.log.push(Entry { position, prev: survived, total_bytes: 0, body: Body::Fork(note) });
    }

    fn heal(&mut self, which: usize) {
        let holds = |id: &str| {
            let events = self.log.iter().filter_map(|entry| match &entry.body {
                Body::Events(events) => Some(events),
                _ => None,
            });
            events.flatten().any(|event| event.id == id)
        };
        let missing: Vec<_> = self.acknowledged.iter().filter(|(event, _)| !holds(&event.id)).collect();
        if missing.is_empty() {
            return;
        }
        let (event, positions) = missing[which % missing.len()];
        let was = positions.iter().map(ToString::to_string).collect();
        let event = Event { was, ..event.clone() };
        self.append(vec![event]);
    }
}

/// The entry as if its events stood here for the first time.
pub(crate) fn unranked(entry: &Entry) -> Entry {
    let mut entry = entry.clone();
    if let Body::Events(events) = &mut entry.body {
        for event in events {
            event.was.clear();
        }
    }
    entry
}

pub(crate) fn branch(index: u8) -> Branch {
    let mut name = [index % 36; 12];
    name[0] = (index % 36 + index / 36) % 36;
    Branch::from_random(name)
}
