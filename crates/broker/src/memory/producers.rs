//! Producers' sequences (docs/log.md L7): which numbers of each producer the log holds.

use std::collections::HashMap;

use tidings_protocol::position::{Branch, Position};

use crate::limits::{Limits, SEQUENCE_MAX};
use crate::{ProducerStep, Refusal, RefusalWhy};

/// What a log remembers of one producer.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Producer {
    /// The highest epoch seen.
    pub(super) epoch: u64,
    /// When it last appended, by the log's clock.
    pub(super) used_ms: u64,
    /// The branch on which it last jumped, or first appeared: on another one it may jump once, being the first after a
    /// fork. None: it appeared first in a log that had forked.
    pub(super) jumped_on: Branch,
    /// Numbers in the log: inclusive, ascending, neither touching nor overlapping.
    pub(super) ranges: Vec<(u64, u64)>,
}

impl Producer {
    fn last(&self) -> u64 {
        self.ranges.last().map_or(0, |range| range.1)
    }

    fn holds(&self, seq: u64) -> bool {
        self.ranges.iter().any(|range| range.0 <= seq && seq <= range.1)
    }

    /// Adds a number that it does not hold. False: that would take more than `ranges_max` ranges; nothing changed.
    fn add(&mut self, seq: u64, ranges_max: usize) -> bool {
        let at = self.ranges.partition_point(|range| range.1 < seq);
        let joins_left = at > 0 && self.ranges[at - 1].1 + 1 == seq;
        let joins_right = self.ranges.get(at).is_some_and(|range| seq + 1 == range.0);
        match (joins_left, joins_right) {
            (true, true) => {
                self.ranges[at - 1].1 = self.ranges[at].1;
                self.ranges.remove(at);
            }
            (true, false) => self.ranges[at - 1].1 = seq,
            (false, true) => self.ranges[at].0 = seq,
            (false, false) if self.ranges.len() >= ranges_max => return false,
            (false, false) => self.ranges.insert(at, (seq, seq)),
        }
        true
    }
}

/// The log that a batch's sequences are checked against.
pub(super) struct Against<'a> {
    /// What it remembers.
    pub(super) known: &'a HashMap<String, Producer>,
    /// Its open branch.
    pub(super) branch: Branch,
    /// Whether meta lists a fork.
    pub(super) forked: bool,
    /// Its last position.
    pub(super) last: Position,
}

/// Checks the steps of a batch in order: the refusals, and what the producers become if there is none.
pub(super) fn sequence(
    log: &Against<'_>,
    steps: &[ProducerStep],
    limits: &Limits,
) -> (Vec<Refusal>, HashMap<String, Producer>) {
    let mut refusals = Vec::new();
    let mut after: HashMap<String, Producer> = HashMap::new();
    for step in steps {
        let producer = after.entry(step.id.clone()).or_insert_with(|| {
            log.known.get(&step.id).cloned().unwrap_or_else(|| Producer {
                epoch: step.epoch.min(SEQUENCE_MAX),
                used_ms: 0,
                jumped_on: if log.forked { Branch::NONE } else { log.branch },
                ranges: Vec::new(),
            })
        });
        if let Err(why) = take(producer, step, log, limits) {
            refusals.push(Refusal { index: step.index, why });
        }
    }
    (refusals, after)
}

fn take(producer: &mut Producer, step: &ProducerStep, log: &Against<'_>, limits: &Limits) -> Result<(), RefusalWhy> {
    if step.epoch < producer.epoch {
        return Err(RefusalWhy::Fenced { epoch: producer.epoch });
    }
    if step.epoch > SEQUENCE_MAX {
        return Err(RefusalWhy::OutOfSequence { expected: 1 });
    }
    if step.epoch > producer.epoch {
        producer.epoch = step.epoch;
        producer.ranges.clear();
    }
    let expected = producer.last() + 1;
    let refused = Err(RefusalWhy::OutOfSequence { expected });
    if step.seq == 0 || step.seq > SEQUENCE_MAX {
        return refused;
    }
    if producer.holds(step.seq) {
        return Err(RefusalWhy::DuplicateSequence(log.last));
    }
    // At or below the expected number it goes on, or fills a hole.
    let in_order = step.may_jump || step.seq <= expected;
    if !in_order && producer.jumped_on == log.branch {
        return refused;
    }
    if !producer.add(step.seq, limits.ranges_max) {
        return refused;
    }
    if !in_order {
        producer.jumped_on = log.branch;
    }
    Ok(())
}
