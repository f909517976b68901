//! The audit: every viewer's record against the ledger of what was acknowledged, event by event.

use std::collections::{BTreeMap, HashSet};
use std::fmt;

use crate::place::Place;
use crate::runner::Ledger;
use crate::viewer::{Kind, Record};

/// Complaints that are spelled out.
const COMPLAINTS_MAX: usize = 20;

/// Causes of gaps.
pub const CAUSES: [&str; 5] = ["deleted", "failover", "log_reset", "producer_dropped", "trimmed"];

/// What was found for the viewers of one kind.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Tally {
    /// Viewers.
    pub viewers: usize,
    /// Their connections (for long-polling: requests).
    pub connections: usize,
    /// Events told to them.
    pub told: usize,
    /// Gaps told to them, by [`CAUSES`].
    pub gaps: [usize; CAUSES.len()],
    /// Acknowledged events behind a viewer's start that it was neither told nor told to be missing.
    pub missing: usize,
    /// Events told again.
    pub duplicated: usize,
    /// Events told behind one that stands after them.
    pub out_of_order: usize,
    /// Events told at another position than the acknowledged one.
    pub misplaced: usize,
    /// Events told that nobody acknowledged.
    pub unknown: usize,
    /// Gaps whose count is not the number of acknowledged events between their bounds.
    pub miscounted: usize,
}

impl Tally {
    fn faults(&self) -> usize {
        self.missing + self.duplicated + self.out_of_order + self.misplaced + self.unknown + self.miscounted
    }
}

/// The result, by kind.
#[derive(Debug, Clone, Default)]
pub struct Audit {
    /// For each kind of viewer.
    pub tallies: BTreeMap<Kind, Tally>,
    complaints: Vec<String>,
}

impl Audit {
    /// Compares records with the ledger.
    pub fn of(records: &[Record], ledger: &Ledger) -> Audit {
        let acknowledged = ledger.acknowledged();
        let mut order: Vec<(&str, Place)> = acknowledged.iter().map(|(id, place)| (&**id, *place)).collect();
        order.sort_by_key(|(_, place)| place.n);
        let mut audit = Audit::default();
        for pair in order.windows(2).filter(|pair| pair[0].1.n == pair[1].1.n) {
            audit.complaints.push(format!("{} and {} were acknowledged at one position", pair[0].0, pair[1].0));
        }
        for (index, record) in records.iter().enumerate() {
            let mut tally = Tally { viewers: 1, connections: record.connections, ..Tally::default() };
            let complain = |what: String| format!("{} {index}: {what}", record.kind.as_str());
            let mut told = HashSet::new();
            let mut last = record.start.unwrap_or_default().n;
            for event in &record.told {
                tally.told += 1;
                if !told.insert(&*event.id) {
                    tally.duplicated += 1;
                    audit.complaints.push(complain(format!("{} told again at {}", event.id, event.place)));
                    continue;
                }
                if event.place.n <= last {
                    tally.out_of_order += 1;
                    audit.complaints.push(complain(format!("{} at {} told behind {last}", event.id, event.place)));
                }
                last = event.place.n;
                match acknowledged.get(&event.id) {
                    None => {
                        tally.unknown += 1;
                        audit.complaints.push(complain(format!("{} was never acknowledged", event.id)));
                    }
                    Some(place) if *place != event.place => {
                        tally.misplaced += 1;
                        let what = format!("{} told at {}, acknowledged at {place}", event.id, event.place);
                        audit.complaints.push(complain(what));
                    }
                    Some(_) => {}
                }
            }
            let between = |after: u64, before: u64| {
                let (from, to) = (
                    order.partition_point(|(_, place)| place.n <= after),
                    order.partition_point(|(_, place)| place.n < before),
                );
                &order[from.min(to)..to]
            };
            let mut excused = HashSet::new();
            for (_, gap) in &record.gaps {
                let cause = CAUSES.iter().position(|cause| *cause == gap.cause).expect("a documented cause");
                tally.gaps[cause] += 1;
                let missing = between(gap.after.n, gap.before.n);
                excused.extend(missing.iter().map(|(id, _)| *id));
                if gap.lost.is_some_and(|lost| lost != missing.len() as u64) {
                    tally.miscounted += 1;
                    let what = format!("{gap:?} counts otherwise than the ledger: {}", missing.len());
                    audit.complaints.push(complain(what));
                }
            }
            for (id, place) in between(record.start.unwrap_or_default().n, u64::MAX) {
                if !told.contains(id) && !excused.contains(id) {
                    tally.missing += 1;
                    audit.complaints.push(complain(format!("{id} at {place} is missing")));
                }
            }
            audit.add(record.kind, tally);
        }
        audit
    }

    fn add(&mut self, kind: Kind, tally: Tally) {
        let sum = self.tallies.entry(kind).or_default();
        sum.viewers += tally.viewers;
        sum.connections += tally.connections;
        sum.told += tally.told;
        sum.gaps.iter_mut().zip(tally.gaps).for_each(|(sum, gaps)| *sum += gaps);
        sum.missing += tally.missing;
        sum.duplicated += tally.duplicated;
        sum.out_of_order += tally.out_of_order;
        sum.misplaced += tally.misplaced;
        sum.unknown += tally.unknown;
        sum.miscounted += tally.miscounted;
    }

    /// Prints a line for each kind, and fails the test unless everything was told once, in order.
    ///
    /// # Panics
    /// When something was not.
    pub fn assert_flawless(&self, what: &str) {
        println!("{what}\n{self}");
        let faults: usize = self.tallies.values().map(Tally::faults).sum();
        let shown = self.complaints.iter().take(COMPLAINTS_MAX).map(String::as_str).collect::<Vec<_>>().join("\n");
        assert!(faults == 0 && self.complaints.is_empty(), "{faults} faults, the first of them:\n{shown}");
    }
}

impl fmt::Display for Audit {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (kind, tally) in &self.tallies {
            let Tally { viewers, connections, told, missing, duplicated, out_of_order, .. } = tally;
            let gaps = CAUSES.iter().zip(tally.gaps).filter(|(_, gaps)| *gaps > 0);
            let gaps: Vec<String> = gaps.map(|(cause, gaps)| format!("{gaps} {cause}")).collect();
            let gaps = if gaps.is_empty() { "none".to_owned() } else { gaps.join(", ") };
            writeln!(
                f,
                "  {:<10} {viewers} viewers, {connections} connections, {told} events told: missing {missing}, \
                 duplicated {duplicated}, out of order {out_of_order}, misplaced {}; gaps: {gaps} (miscounted {})",
                kind.as_str(),
                tally.misplaced,
                tally.miscounted,
            )?;
        }
        Ok(())
    }
}
