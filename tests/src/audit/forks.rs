//! The audit across forks: positions start again behind what survived, and what was put back stands somewhere else.

use std::collections::HashMap;

use super::{Audit, CAUSES, Tally};
use crate::place::Place;
use crate::runner::Ledger;
use crate::viewer::Record;
use crate::viewer::record::Told;
use crate::viewer::said::Gap;

/// What a loss may be excused by.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Excuse {
    /// Nothing: every acknowledged event is told.
    None,
    /// A `failover` gap that begins below it, on its branch: whoever acknowledged it died with the store.
    Failover,
}

impl Excuse {
    /// Whether this gap tells that what was acknowledged there may be missing.
    fn covers(self, gap: &Gap, acknowledged: Place) -> bool {
        let begins_below =
            gap.after == Place::default() || gap.after.branch == acknowledged.branch && gap.after.n < acknowledged.n;
        self == Excuse::Failover && gap.cause == "failover" && begins_below
    }
}

/// Whether an event that was told `before` may be told again as `now`: marked, or told over another connection on
/// another branch, of an append that nobody was acknowledged at the first place (what was acknowledged there is put
/// back with its former position, and so is always marked).
fn may_come_again(before: &Told, now: &Told, acknowledged: Option<&Place>) -> bool {
    let elsewhere = before.connection != now.connection && before.place.branch != now.place.branch;
    now.marked || elsewhere && acknowledged != Some(&before.place)
}

impl Audit {
    /// Compares records with the ledger. An event may be told again only if it is marked as told before, or, where its
    /// append was never acknowledged at the first place, on another branch to who came back by another connection
    /// meanwhile; positions grow within a branch; whoever was told of two branches was told of the fork.
    pub fn across_forks(records: &[Record], ledger: &Ledger, excuse: Excuse) -> Audit {
        let acknowledged = ledger.acknowledged();
        let mut audit = Audit::default();
        for (index, record) in records.iter().enumerate() {
            let mut tally = Tally { viewers: 1, connections: record.connections, ..Tally::default() };
            let complain = |what: String| format!("{} {index}: {what}", record.kind.as_str());
            let mut told: HashMap<&str, &Told> = HashMap::new();
            let mut last = record.start.unwrap_or_default();
            let mut branches = vec![];
            for event in &record.told {
                tally.told += 1;
                if let Some(before) = told.insert(&event.id, event) {
                    if may_come_again(before, event, acknowledged.get(&event.id)) {
                        tally.told_again += 1;
                    } else {
                        tally.duplicated += 1;
                        let what = format!("{} told at {} and, unmarked, at {}", event.id, before.place, event.place);
                        audit.complaints.push(complain(what));
                    }
                }
                if event.place.branch == last.branch && event.place.n <= last.n {
                    tally.out_of_order += 1;
                    audit.complaints.push(complain(format!("{} at {} told behind {last}", event.id, event.place)));
                }
                if event.place.branch != last.branch {
                    if branches.contains(&event.place.branch) {
                        tally.out_of_order += 1;
                        let what = format!("{} at {} told behind another branch", event.id, event.place);
                        audit.complaints.push(complain(what));
                    }
                    branches.push(event.place.branch);
                }
                last = event.place;
                match acknowledged.get(&event.id) {
                    None => {
                        tally.unknown += 1;
                        audit.complaints.push(complain(format!("{} was never acknowledged", event.id)));
                    }
                    Some(place) if place.branch == event.place.branch && *place != event.place && !event.marked => {
                        tally.misplaced += 1;
                        let what = format!("{} told at {}, acknowledged at {place}", event.id, event.place);
                        audit.complaints.push(complain(what));
                    }
                    Some(_) => {}
                }
            }
            for (_, gap) in &record.gaps {
                let cause = CAUSES.iter().position(|cause| *cause == gap.cause).expect("a documented cause");
                tally.gaps[cause] += 1;
            }
            if branches.len() > 1 && tally.gaps[1] == 0 {
                tally.missing += 1;
                audit.complaints.push(complain("crossed a fork and was not told".to_owned()));
            }
            for (id, place) in acknowledged.iter().filter(|(id, _)| !told.contains_key(&***id)) {
                if !record.gaps.iter().any(|(_, gap)| excuse.covers(gap, *place)) {
                    tally.missing += 1;
                    audit.complaints.push(complain(format!("{id}, acknowledged at {place}, is missing")));
                }
            }
            audit.add(record.kind, tally);
        }
        audit
    }
}
