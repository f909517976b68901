//! The audit: every viewer's record against the ledger of what was acknowledged, event by event.

pub mod forks;

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
    /// Events told again, against the promise.
    pub duplicated: usize,
    /// Events told again as a fork allows it.
    pub told_again: usize,
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
        sum.told_again += tally.told_again;
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
            let again = if tally.told_again > 0 { format!(" ({} again)", tally.told_again) } else { String::new() };
            writeln!(
                f,
                "  {:<10} {viewers} viewers, {connections} connections, {told} events told{again}: missing {missing}, \
                 duplicated {duplicated}, out of order {out_of_order}, misplaced {}; gaps: {gaps} (miscounted {})",
                kind.as_str(),
                tally.misplaced,
                tally.miscounted,
            )?;
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::runner::Acknowledged;
    use crate::viewer::said::{Event, Gap, Said};
    use crate::viewer::{Kind, Plan};

    fn position(n: u64) -> String {
        format!("7-{n}.aaaaaaaaaaaa")
    }

    /// Five acknowledged events, e1 to e5.
    fn ledger() -> Ledger {
        let ledger = Ledger::default();
        let acknowledged = |n| Acknowledged { id: format!("e{n}"), position: position(n), status: "appended".into() };
        ledger.enter(&(1..=5).map(acknowledged).collect::<Vec<_>>());
        ledger
    }

    fn event(id: u64, n: u64) -> Said {
        let id = format!("e{id}").into();
        Said::Event(Event { id, position: position(n), was: false, seen: false, json: "{}".into() })
    }

    /// A gap between two running counts, that says how many are lost.
    fn gap(after: u64, before: u64, lost: u64) -> Said {
        let place = |n| position(n).parse().expect("a position");
        let (after, before, cause) = (place(after), place(before), "trimmed".into());
        Said::Gap(Gap { after, before, cause, lost: Some(lost), certain: true, position: position(before.n - 1) })
    }

    fn record(said: Vec<Said>) -> Record {
        let mut record = Record::new(&Plan::new(Kind::Sse, "p"));
        for said in said {
            record.hear(said);
        }
        record
    }

    fn check(said: Vec<Said>, expected: Tally) {
        let text = format!("{said:?}");
        let record = record(said);
        let found = Audit::of(&[record], &ledger()).tallies[&Kind::Sse];
        let expected = Tally { viewers: 1, told: found.told, gaps: found.gaps, ..expected };
        assert_eq!(found, expected, "{text}");
    }

    #[test]
    fn whatever_is_wrong_is_found() {
        let all = || (1..=5).map(|n| event(n, n)).collect::<Vec<_>>();
        check(all(), Tally::default());
        check(all().split_off(1), Tally { missing: 1, ..Tally::default() });
        check([all(), vec![event(2, 2)]].concat(), Tally { duplicated: 1, ..Tally::default() });
        let mut swapped = all();
        swapped.swap(1, 2);
        check(swapped, Tally { out_of_order: 1, ..Tally::default() });
        check([all(), vec![event(9, 9)]].concat(), Tally { unknown: 1, ..Tally::default() });
        let mut elsewhere = all();
        elsewhere[4] = event(5, 6);
        check(elsewhere, Tally { misplaced: 1, ..Tally::default() });
    }

    /// The event again, on the branch that a failover opened.
    fn again(id: u64, n: u64) -> Said {
        let Said::Event(event) = event(id, n) else { unreachable!("it is one") };
        Said::Event(Event { position: format!("8-{n}.bbbbbbbbbbbb"), ..event })
    }

    /// A failover behind this count.
    fn failover(after: u64) -> Said {
        let Said::Gap(failover) = gap(after, after + 1, 0) else { unreachable!("it is one") };
        let position = format!("8-{}.bbbbbbbbbbbb", after + 1);
        Said::Gap(Gap { cause: "failover".into(), lost: None, certain: false, position, ..failover })
    }

    #[test]
    fn across_a_fork_an_event_comes_again_only_as_it_may() {
        let all = || (1..=5).map(|n| event(n, n)).collect::<Vec<_>>();
        let across = |before: Vec<Said>, behind: Vec<Said>| {
            let mut record = record(before);
            record.connections += 1;
            for said in behind {
                record.hear(said);
            }
            Audit::across_forks(&[record], &ledger(), forks::Excuse::Failover).tallies[&Kind::Sse]
        };
        let faults = |tally: Tally| (tally.missing, tally.duplicated, tally.told_again);
        assert_eq!(faults(across(all(), vec![failover(5)])), (0, 0, 0));
        assert_eq!(faults(across(all(), vec![failover(5), again(5, 7)])), (0, 1, 0), "it was acknowledged: mark it");
        let Said::Event(unmarked) = again(5, 7) else { unreachable!("it is one") };
        let marked = Said::Event(Event { was: true, ..unmarked });
        assert_eq!(faults(across(all(), vec![failover(5), marked])), (0, 0, 1));
        // An append that was never acknowledged where it was first told.
        let unsure = [all().split_off(1), vec![event(1, 6)]].concat();
        assert_eq!(faults(across(unsure, vec![failover(6), again(1, 8)])), (0, 0, 1));
        assert_eq!(faults(across(all()[..3].to_vec(), vec![failover(3)])), (0, 0, 0), "perhaps lost with its ingest");
        assert_eq!(faults(across(all()[..3].to_vec(), vec![failover(4)])), (1, 0, 0), "the gap begins behind event 4");
    }

    #[test]
    fn a_gap_accounts_for_what_it_says_and_no_more() {
        let rest = |from: u64| (from..=5).map(|n| event(n, n)).collect::<Vec<_>>();
        check([vec![gap(0, 3, 2)], rest(3)].concat(), Tally::default());
        check([vec![gap(0, 3, 1)], rest(3)].concat(), Tally { miscounted: 1, ..Tally::default() });
        check([vec![gap(0, 3, 2)], rest(4)].concat(), Tally { missing: 1, ..Tally::default() });
    }
}
