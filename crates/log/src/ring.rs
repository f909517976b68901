//! The ring: a topic's newest entries, linked without a hole, bounded in bytes.

use std::collections::VecDeque;
use std::sync::Arc;

use tidings_protocol::position::Position;

use crate::held::Held;

/// A topic's newest entries.
#[derive(Debug, Default)]
pub struct Ring {
    entries: VecDeque<Arc<Held>>,
    /// The position before the oldest entry.
    base: Position,
    bytes: usize,
}

/// Where a cursor stands in a ring.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Place {
    /// Index of the entry to read on from.
    pub entry: usize,
    /// Index of the first unread event in it.
    pub event: usize,
}

impl Ring {
    /// An empty ring behind `base`.
    pub fn starting_at(base: Position) -> Ring {
        Ring { base, ..Ring::default() }
    }

    /// Appends the entry that links up with the newest one, and drops the oldest ones beyond `bytes_max`.
    /// The newest entry always stays.
    pub fn push(&mut self, held: Arc<Held>, bytes_max: usize) {
        debug_assert!(self.entries.back().map_or(self.base, |last| last.position()) == held.entry().prev);
        self.bytes += held.payload_bytes();
        self.entries.push_back(held);
        self.shrink(bytes_max);
    }

    /// Drops the oldest entries beyond `bytes_max`, but for the newest one.
    pub fn shrink(&mut self, bytes_max: usize) {
        while self.bytes > bytes_max && self.entries.len() > 1 {
            if let Some(oldest) = self.entries.pop_front() {
                self.bytes -= oldest.payload_bytes();
                self.base = oldest.position();
            }
        }
    }

    /// Drops what lies above `survived`, which becomes the head. An entry is never cut: forks fall between entries.
    pub fn cut_above(&mut self, survived: Position) {
        while let Some(newest) = self.entries.back() {
            if newest.position().n() <= survived.n() {
                return;
            }
            self.bytes -= newest.payload_bytes();
            self.entries.pop_back();
        }
        if self.base.n() > survived.n() {
            self.base = survived;
        }
    }

    /// Where to read on behind `cursor`; none if the ring does not hold what follows it (or it is on another branch).
    pub fn place(&self, cursor: Position) -> Option<Place> {
        if cursor == self.base {
            return Some(Place { entry: 0, event: 0 });
        }
        let entry = self.entries.partition_point(|held| held.position().n() < cursor.n());
        let held = self.entries.get(entry)?;
        let last = held.position();
        let back = last.n() - cursor.n();
        if back >= held.entry().count() || last.back(back) != cursor {
            return None;
        }
        Some(if back == 0 {
            Place { entry: entry + 1, event: 0 }
        } else {
            Place { entry, event: usize::try_from(held.entry().count() - back).expect("an entry's count is small") }
        })
    }

    /// The entries from this index on.
    pub fn from(&self, entry: usize) -> impl Iterator<Item = &Arc<Held>> {
        self.entries.range(entry.min(self.entries.len())..)
    }

    /// Whether a reader at this entry lags by more than so many payload bytes.
    pub fn lags(&self, entry: usize, bytes: usize) -> bool {
        let mut behind = 0;
        self.from(entry).any(|held| {
            behind += held.payload_bytes();
            behind > bytes
        })
    }

    /// The position before the oldest entry.
    pub fn base(&self) -> Position {
        self.base
    }

    /// Payload bytes held.
    pub fn bytes(&self) -> usize {
        self.bytes
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::held::Tally;
    use tidings_protocol::entry::{Body, Entry};
    use tidings_protocol::project::Project;
    use tidings_protocol::wire;

    fn held(prev: Position, count: u64) -> Arc<Held> {
        let project: Project = "p".parse().expect("a name");
        let position = Position::new(prev.ms() + 5, prev.n() + count, "aaaaaaaaaaaa".parse().expect("a branch"));
        let events = vec![wire::Event::default(); usize::try_from(count).expect("small")];
        Held::new(&project, Entry { position, prev, total_bytes: 0, body: Body::Events(events) }, &Tally::default())
    }

    #[test]
    fn a_cursor_finds_its_place_also_inside_an_entry() {
        let mut ring = Ring::starting_at(Position::ZERO);
        let first = held(Position::ZERO, 3);
        let second = held(first.position(), 2);
        ring.push(first.clone(), 1 << 20);
        ring.push(second.clone(), 1 << 20);
        let check = |cursor: Position, entry, event| assert_eq!(ring.place(cursor), Some(Place { entry, event }));
        check(Position::ZERO, 0, 0);
        check(first.position().back(2), 0, 1);
        check(first.position(), 1, 0);
        check(second.position().back(1), 1, 1);
        check(second.position(), 2, 0);
        let other = Position::new(5, 3, "bbbbbbbbbbbb".parse().expect("a branch"));
        assert_eq!(ring.place(other), None, "the same count on another branch is another place");
    }

    #[test]
    fn the_oldest_go_first_and_a_cursor_before_them_is_off_the_ring() {
        let mut ring = Ring::starting_at(Position::ZERO);
        let mut prev = Position::ZERO;
        for _ in 0..10 {
            let next = held(prev, 1);
            prev = next.position();
            let room = next.payload_bytes() * 4;
            ring.push(next, room);
        }
        assert_eq!(ring.from(0).count(), 4);
        assert_eq!(ring.base().n(), 6);
        assert_eq!(ring.place(Position::ZERO), None);
        ring.cut_above(Position::new(0, 8, "aaaaaaaaaaaa".parse().expect("a branch")));
        assert_eq!(ring.from(0).count(), 2);
    }
}
