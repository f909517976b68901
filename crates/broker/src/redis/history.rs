//! What this process has seen of a cluster: since when each primary has its incarnation, and which node served a slot last.
//! From these follows whether a slot was handed over without a loss in between ([`super::cluster::Cluster::gave_up`]).

use std::collections::HashMap;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use parking_lot::Mutex;
use tokio::time::Instant;

use super::slots::SLOTS;

/// How long an incarnation is remembered that nobody has any more.
const REMEMBERED: Duration = Duration::from_mins(10);

/// Bits of a time, in milliseconds: 34 years. What is left of 64 holds the ids of 16 million nodes.
const TIME_BITS: u32 = 40;

const TIME_MAX: u64 = (1 << TIME_BITS) - 1;

/// Times are counted from its making.
pub(super) struct History {
    began: Instant,
    incarnations: Mutex<HashMap<String, Sighting>>,
    /// For each slot the last two nodes that served it: id in the upper bits, time of the last call that it answered in the lower.
    served: Box<[[AtomicU64; 2]]>,
}

struct Sighting {
    /// Rounded up.
    first: u64,
    last: Instant,
}

impl History {
    pub(super) fn new() -> History {
        let served = (0..SLOTS).map(|_| [AtomicU64::new(0), AtomicU64::new(0)]).collect();
        History { began: Instant::now(), incarnations: Mutex::default(), served }
    }

    /// Primaries said a moment ago that they have these.
    pub(super) fn seen<'a>(&self, incarnations: impl Iterator<Item = &'a str>) {
        let (now, first) = (Instant::now(), self.now() + 1);
        let mut known = self.incarnations.lock();
        for incarnation in incarnations {
            known.entry(incarnation.to_owned()).or_insert(Sighting { first, last: now }).last = now;
        }
        known.retain(|_, sighting| now.duration_since(sighting.last) < REMEMBERED);
    }

    /// Since when a primary is known to have it; none: it is new.
    pub(super) fn seen_since(&self, incarnation: &str) -> Option<u64> {
        self.incarnations.lock().get(incarnation).map(|sighting| sighting.first)
    }

    /// A node answered for a slot what was sent at this time, not asked to do so out of turn. It served the slot then or
    /// later; how late the answer is heard says nothing.
    pub(super) fn served(&self, slot: u16, node: u32, sent: u64) {
        let [last, before] = &self.served[usize::from(slot)];
        let was = last.load(Ordering::Relaxed);
        if was >> TIME_BITS != u64::from(node) {
            before.store(was, Ordering::Relaxed);
        }
        last.store(u64::from(node) << TIME_BITS | sent, Ordering::Relaxed);
    }

    /// Whether this node, one of the last two, served the slot at or after that time.
    pub(super) fn served_since(&self, slot: u16, node: u32, time: u64) -> bool {
        let cells = self.served[usize::from(slot)].iter().map(|cell| cell.load(Ordering::Relaxed));
        cells.filter(|cell| cell >> TIME_BITS == u64::from(node)).any(|cell| cell & TIME_MAX >= time)
    }

    /// The time now, rounded down.
    pub(super) fn now(&self) -> u64 {
        u64::try_from(self.began.elapsed().as_millis()).unwrap_or(TIME_MAX).min(TIME_MAX)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test(start_paused = true)]
    async fn a_node_vouches_only_behind_the_other_ones_first_sighting() {
        let history = History::new();
        let pass = |ms| tokio::time::advance(Duration::from_millis(ms));
        history.served(7, 1, history.now());
        pass(1_000).await;
        history.seen(["b"].into_iter());
        let since = history.seen_since("b").expect("it was seen");
        assert_eq!(history.seen_since("c"), None);
        assert!(!history.served_since(7, 1, since), "it served the slot before");
        pass(1_000).await;
        history.served(7, 1, history.now());
        history.served(7, 2, history.now());
        assert!(history.served_since(7, 1, since) && history.served_since(7, 2, since));
        assert!(!history.served_since(7, 3, since) && !history.served_since(8, 1, since));
        history.served(7, 3, history.now());
        assert!(!history.served_since(7, 1, since), "two others had it since");
        history.served(7, 1, since - 1);
        assert!(!history.served_since(7, 1, since), "an answer that is heard late");
        pass(600_000).await;
        history.seen(["c"].into_iter());
        assert_eq!(history.seen_since("b"), None, "nobody has it any more");
    }
}
