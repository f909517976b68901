//! Random histories: several writers on one log, with replies lost, calls that arrive late or twice, and failovers to older
//! copies. Whatever happens, no log holds an event twice, and what was acknowledged is in the log or covered by a gap; where
//! writers remember everything, it is in the log.

use std::collections::{HashMap, HashSet};

use rand::rngs::StdRng;
use rand::{RngExt as _, SeedableRng as _};
use tidings_broker::Span;
use tidings_broker::memory::LogData;
use tidings_protocol::entry::Body;
use tidings_protocol::position::LogId;

use super::tests::{Counting, forget, keep};
use super::*;
use crate::writer::item::Slot;

const WRITERS: usize = 3;
const STEPS: usize = 120;
const SEEDS: u64 = 3_000;

struct Writer {
    machine: Machine,
    air: Option<AppendCall>,
}

struct World {
    rng: StdRng,
    draw: Counting,
    writers: Vec<Writer>,
    log: LogData,
    incarnation: u32,
    saves: Vec<LogData>,
    /// Calls that a proxy still holds.
    late: Vec<AppendCall>,
    events: u64,
    /// Id and position.
    acknowledged: Vec<(String, Position)>,
    /// Writers remember everything.
    remembers: bool,
    put_back: usize,
    /// Refused by a guard.
    settled: usize,
    /// In the log beside the one that holds their place.
    superseded: std::cell::Cell<usize>,
    /// Where each event ever stood, in any history.
    stood: HashMap<String, Vec<Position>>,
    /// Gap events ever appended: where, and the first position above what they cover.
    gaps: HashMap<Position, Position>,
    now_ms: u64,
}

impl World {
    fn new(seed: u64) -> World {
        let keep = match seed % 3 {
            0 => forget(),
            1 => Keep { time: Duration::from_millis(30), bytes_max: 4_000, ..keep() },
            _ => keep(),
        };
        let writer = |index: usize| Writer {
            machine: Machine::new(format!("w{index}").into(), 0, DedupeWindow::default(), keep.clone()),
            air: None,
        };
        World {
            rng: StdRng::seed_from_u64(seed),
            draw: Counting::default(),
            writers: (0..WRITERS).map(writer).collect(),
            log: LogData::default(),
            incarnation: 1,
            saves: vec![LogData::default()],
            late: Vec::new(),
            events: 0,
            acknowledged: Vec::new(),
            remembers: seed % 3 == 2,
            put_back: 0,
            settled: 0,
            superseded: std::cell::Cell::default(),
            stood: HashMap::new(),
            gaps: HashMap::new(),
            now_ms: 1_000,
        }
    }

    fn submit(&mut self, writer: usize) {
        self.events += 1;
        let remembered = self.rng.random_bool(0.5);
        // Some runners retry through another writer, under the same id.
        let retried = remembered && self.events > 3 && self.rng.random_bool(0.3);
        let number = if retried { self.rng.random_range(1..self.events) } else { self.events };
        let id = format!("{}{number}", if remembered { "r" } else { "s" });
        let guard = number.is_multiple_of(4).then(|| wire::Guard {
            key: format!("c:{}", number % 5),
            until_ms: u64::MAX,
            note: String::new(),
        });
        let event = wire::Event { id, id_from_runner: remembered, json: "{}".into(), guard, ..wire::Event::default() };
        let slot = Slot { request: self.events, index: 0 };
        self.writers[writer].machine.push(Item::new(&event, slot, false));
    }

    fn apply(&mut self, call: &AppendCall) -> Answer {
        self.now_ms += 1;
        let incarnation = self.incarnation.to_string();
        let (answer, entry) = self.log.append(self.now_ms, &incarnation, call).expect("a sound batch");
        if let Some(entry) = entry
            && let Body::Events(events) = &entry.body
        {
            for (index, event) in events.iter().enumerate() {
                let position = entry.position_of(index);
                self.stood.entry(event.id.clone()).or_default().push(position);
                if let Some(gap) = &event.gap {
                    self.gaps.insert(position, gap.before.parse().expect("a position"));
                }
            }
        }
        answer
    }

    fn answer(&mut self, writer: usize, answer: Result<Answer, CallError>) {
        let step = self.writers[writer].machine.answered(Duration::from_millis(self.now_ms), answer, &mut self.draw);
        for done in step.done {
            match done.verdict {
                Ok(Outcome::Appended { id, position } | Outcome::Duplicate { id, position: Some(position) }) => {
                    self.acknowledged.push((id, position));
                }
                Ok(Outcome::Settled { .. }) => self.settled += 1,
                other => panic!("no producers, no deadlines: {other:?}"),
            }
        }
        for note in &step.notes {
            self.put_back += if let Note::PutBack { events } = note { *events } else { 0 };
        }
        assert!(!step.notes.iter().any(|note| matches!(note, Note::Stale { .. })), "a live writer is never stale");
    }

    fn send(&mut self, writer: usize) {
        let Writer { machine, air } = &mut self.writers[writer];
        if air.is_none() {
            *air = machine.next(&mut self.draw);
        }
    }

    fn deliver(&mut self, writer: usize) {
        if let Some(call) = self.writers[writer].air.take() {
            let answer = self.apply(&call);
            self.answer(writer, Ok(answer));
        }
    }

    fn probe(&mut self, writer: usize) {
        let now = Duration::from_millis(self.now_ms);
        self.writers[writer].machine.probed(&self.incarnation.to_string(), now);
    }

    fn step(&mut self) {
        let writer = self.rng.random_range(0..WRITERS);
        match self.rng.random_range(0..22) {
            0..5 => self.submit(writer),
            5..9 => self.send(writer),
            9..13 => self.deliver(writer),
            13 => {
                // The call arrived, its reply did not.
                if let Some(call) = self.writers[writer].air.take() {
                    self.apply(&call);
                    self.answer(writer, Err(CallError::Unknown("reply lost".into())));
                }
            }
            14 => {
                // The call is held somewhere on the way.
                if let Some(call) = self.writers[writer].air.take() {
                    self.late.push(call);
                    self.answer(writer, Err(CallError::Unknown("no reply".into())));
                }
            }
            15 | 16 => {
                if !self.late.is_empty() {
                    let index = self.rng.random_range(0..self.late.len());
                    // Some were sent more than once, each time with another name for a branch.
                    let again = self.rng.random_bool(0.3);
                    let fresh = self.draw.branch();
                    let sent = if again { self.late[index].clone() } else { self.late.swap_remove(index) };
                    let call = AppendCall { fresh, ..sent };
                    self.apply(&call);
                }
            }
            17 => {
                if self.writers[writer].air.take().is_some() {
                    self.answer(writer, Err(CallError::Nothing(NothingWhy::Refusing("READONLY".into()))));
                }
            }
            18 => self.saves.push(self.log.clone()),
            19 | 20 => self.probe(writer),
            _ => self.fail_over(),
        }
    }

    fn fail_over(&mut self) {
        self.incarnation += 1;
        if self.rng.random_bool(0.7) {
            // The old primary's copy may come back later.
            let old = self.log.clone();
            let index = self.rng.random_range(0..self.saves.len());
            self.log = std::mem::replace(&mut self.saves[index], old);
        }
    }

    /// Everything that waits is answered; late calls arrive at last; idle writers hear of the last fork.
    fn settle(&mut self) {
        loop {
            for writer in 0..WRITERS {
                self.probe(writer);
                self.send(writer);
                self.deliver(writer);
            }
            if let Some(call) = self.late.pop() {
                self.apply(&call);
            } else if self.writers.iter().all(|writer| writer.air.is_none() && writer.machine.is_idle()) {
                return;
            }
        }
    }

    fn covered(&self, lost: Position, depth: usize) -> bool {
        let head = self.log.head("");
        self.gaps.iter().any(|(at, before)| {
            before.branch == lost.branch
                && lost.n() < before.n()
                && (head.holds(&[*at]) || (depth > 0 && self.covered(*at, depth - 1)))
        })
    }

    fn check(&self) {
        let page = self.log.read("", Span::After(LogId::ZERO), usize::MAX);
        let mut seen = HashSet::new();
        let mut guarded = HashSet::new();
        for entry in &page.entries {
            let Body::Events(events) = &entry.body else { continue };
            for event in events {
                assert!(seen.insert(event.id.clone()), "{} stands twice", event.id);
                // Who stands without its guard says that it is not the one.
                let first = event.guard.as_ref().is_none_or(|guard| guarded.insert(guard.key.clone()));
                assert!(first, "{} is the second under its key", event.id);
                let number: u64 = event.id.trim_start_matches(char::is_alphabetic).parse().unwrap_or(1);
                let superseded = &event.json[..] == br#"{"data":{"superseded":true}}"#;
                let without = number.is_multiple_of(4) && event.gap.is_none() && event.guard.is_none();
                assert_eq!(superseded, without, "{}", event.id);
                self.superseded.set(self.superseded.get() + usize::from(superseded));
            }
        }
        for (id, position) in &self.acknowledged {
            let there = seen.contains(id);
            // What was put back and then left memory is told of by where it stood last.
            let told = || self.stood[id].iter().any(|stood| self.covered(*stood, 8));
            assert!(there || told(), "{id}, {position}, is missing, and nobody says so");
            assert!(there || !self.remembers, "{id}, {position}, was not put back");
        }
    }
}

fn run(seed: u64) -> World {
    let mut world = World::new(seed);
    for _ in 0..STEPS {
        world.step();
    }
    world.settle();
    world
}

#[test]
fn no_history_doubles_an_event_or_loses_one_silently() {
    let (mut appended, mut gaps, mut put_back, mut settled, mut superseded) = (0, 0, 0, 0, 0);
    for seed in 0..SEEDS {
        let outcome = std::panic::catch_unwind(|| {
            let world = run(seed);
            world.check();
            let guards = (world.settled, world.superseded.get());
            (world.acknowledged.len(), world.gaps.len(), world.put_back, guards)
        });
        let Ok((acknowledged, owed, back, guards)) = outcome else { panic!("seed {seed}") };
        appended += acknowledged;
        gaps += owed;
        put_back += back;
        settled += guards.0;
        superseded += guards.1;
    }
    // The histories are worth something: most events are acknowledged, and losses do happen.
    let worth = appended > 20_000 && gaps > 200 && put_back > 2_000;
    assert!(settled > 1_000 && superseded > 50, "{settled} settled, {superseded} superseded");
    assert!(worth, "{appended} acknowledged, {gaps} gaps, {put_back} put back");
}
