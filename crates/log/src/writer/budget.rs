//! Bytes that may wait, in a project and in all: promise 5 for the write side.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use prometheus::IntGauge;

/// Counts bytes up to a bound.
#[derive(Debug)]
pub struct Budget {
    used: AtomicUsize,
    max: usize,
}

impl Budget {
    /// A budget of so many bytes.
    pub fn new(max: usize) -> Arc<Budget> {
        Arc::new(Budget { used: AtomicUsize::new(0), max })
    }

    /// Takes bytes from it, if they are there; dropping the share gives them back.
    pub fn share(self: &Arc<Budget>, bytes: usize) -> Option<Part> {
        self.take(bytes).then(|| Part { budget: self.clone(), bytes })
    }

    /// Bytes taken at the moment.
    pub fn used(&self) -> usize {
        self.used.load(Ordering::Relaxed)
    }

    /// Takes bytes by hand: who does gives them back by hand.
    pub(super) fn take(&self, bytes: usize) -> bool {
        let fits = |used: usize| used.checked_add(bytes).filter(|sum| *sum <= self.max);
        self.used.fetch_update(Ordering::Relaxed, Ordering::Relaxed, fits).is_ok()
    }

    /// Gives back what was taken by hand.
    pub(super) fn give_back(&self, bytes: usize) {
        self.used.fetch_sub(bytes, Ordering::Relaxed);
    }
}

/// Bytes that many holders share. While there is room each takes what it wants. When it gets short, whoever holds more than an
/// even part leaves room for the others: the last eighth is for those alone who hold less.
#[derive(Debug)]
pub struct Commons {
    used: AtomicUsize,
    /// Who holds anything.
    holders: AtomicUsize,
    max: usize,
}

impl Commons {
    /// So many bytes for all.
    pub fn new(max: usize) -> Arc<Commons> {
        Arc::new(Commons { used: AtomicUsize::new(0), holders: AtomicUsize::new(0), max })
    }

    /// Takes bytes for a holder that holds `held` of them. False: they are not there for it.
    pub(super) fn take(&self, held: usize, bytes: usize) -> bool {
        let small = held.saturating_add(bytes) <= self.part(held);
        let open = if small { self.max } else { self.shared() };
        let fits = |used: usize| used.checked_add(bytes).filter(|sum| *sum <= open);
        let taken = self.used.fetch_update(Ordering::Relaxed, Ordering::Relaxed, fits).is_ok();
        if taken && held == 0 && bytes > 0 {
            self.holders.fetch_add(1, Ordering::Relaxed);
        }
        taken
    }

    /// Gives back bytes of a holder that holds `left` since.
    pub(super) fn give_back(&self, left: usize, bytes: usize) {
        self.used.fetch_sub(bytes, Ordering::Relaxed);
        if left == 0 && bytes > 0 {
            self.holders.fetch_sub(1, Ordering::Relaxed);
        }
    }

    /// Whether a holder of so many bytes should give some back: others lack them, and it has more than its part.
    pub(super) fn presses(&self, held: usize) -> bool {
        held > self.part(held) && self.used.load(Ordering::Relaxed) > self.shared()
    }

    /// What those may use who hold more than their part.
    fn shared(&self) -> usize {
        self.max - self.max / 8
    }

    /// An even part, for one who holds so many.
    fn part(&self, held: usize) -> usize {
        self.max / (self.holders.load(Ordering::Relaxed) + usize::from(held == 0)).max(1)
    }
}

/// Bytes taken from one budget; dropping it gives them back.
#[derive(Debug)]
pub struct Part {
    budget: Arc<Budget>,
    bytes: usize,
}

impl Part {
    /// Makes it so many bytes. False: they are not there, and nothing changed.
    pub fn resize(&mut self, bytes: usize) -> bool {
        if bytes > self.bytes {
            return self.grow(bytes - self.bytes);
        }
        self.budget.give_back(self.bytes - bytes);
        self.bytes = bytes;
        true
    }

    /// Takes so many bytes more. False: they are not there, and nothing changed.
    pub fn grow(&mut self, bytes: usize) -> bool {
        let grown = self.budget.take(bytes);
        self.bytes += if grown { bytes } else { 0 };
        grown
    }
}

impl Drop for Part {
    fn drop(&mut self) {
        self.budget.give_back(self.bytes);
    }
}

/// Bytes taken from a project's budget and from the process's; dropping it gives them back.
#[derive(Debug)]
pub(super) struct Share {
    budgets: [Arc<Budget>; 2],
    bytes: usize,
    gauge: IntGauge,
}

impl Share {
    /// None: as much waits as may.
    pub(super) fn take(budgets: [&Arc<Budget>; 2], bytes: usize, gauge: &IntGauge) -> Option<Share> {
        let [first, second] = budgets;
        if !first.take(bytes) {
            return None;
        }
        if !second.take(bytes) {
            first.give_back(bytes);
            return None;
        }
        gauge.add(i64::try_from(bytes).unwrap_or(i64::MAX));
        Some(Share { budgets: [first.clone(), second.clone()], bytes, gauge: gauge.clone() })
    }
}

impl Drop for Share {
    fn drop(&mut self) {
        for budget in &self.budgets {
            budget.give_back(self.bytes);
        }
        self.gauge.sub(i64::try_from(self.bytes).unwrap_or(i64::MAX));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_last_eighth_is_for_those_who_hold_less_than_their_part() {
        let all = Commons::new(80);
        assert!(all.take(0, 60) && all.take(60, 20), "alone it may have all");
        assert!(!all.take(0, 1));
        all.give_back(65, 15);
        assert!(all.take(0, 10), "another one's part is 40");
        assert!(!all.take(65, 1), "what is left is not for who has more than its part");
        assert!(all.take(10, 5) && all.presses(65) && !all.presses(15));
        all.give_back(55, 10);
        assert!(!all.presses(55), "nobody lacks it");
        all.give_back(0, 55);
        assert!(all.take(15, 60), "alone again");
    }

    #[test]
    fn a_share_is_taken_from_both_or_from_none_and_given_back() {
        let gauge = IntGauge::new("waiting", "test").expect("a valid name");
        let (lane, total) = (Budget::new(10), Budget::new(12));
        let first = Share::take([&lane, &total], 8, &gauge).expect("both have room");
        assert!(Share::take([&lane, &total], 3, &gauge).is_none(), "the lane is full");
        let other = Budget::new(10);
        assert!(Share::take([&other, &total], 5, &gauge).is_none(), "all together is full");
        assert!(Share::take([&other, &total], 4, &gauge).is_some(), "the refusal took nothing");
        assert_eq!(gauge.get(), 8);
        drop(first);
        assert_eq!(gauge.get(), 0);
        assert!(Share::take([&lane, &total], 10, &gauge).is_some());
    }
}
