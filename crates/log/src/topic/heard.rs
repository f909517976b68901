//! Ids that a topic has heard (docs/log.md L10): kept for the dedupe window, apart from ring and pages.
//!
//! An append whose answer was lost may come again under the same id on another branch. Viewers that were told the first
//! one must not be told it twice, so at a fork the ids heard above what survived are kept with where they stood.
//!
//! Under memory pressure the oldest go first ([`Heard::shrink`]). A fork cuts the newest events of a log, so that an id
//! which was given up matters only if a fork reaches further back than all ids that stayed: an event of before them, cut
//! and then retried by its runner, is told again, under its id but without `was`.

use std::collections::{HashMap, VecDeque};
use std::hash::BuildHasher as _;

use foldhash::fast::RandomState;
use tidings_protocol::position::Position;

/// How long an id is kept, in milliseconds of the log's clock: the default dedupe window.
pub const HEARD_MS: u64 = 10 * 60 * 1000;

/// How many are kept at most.
pub const HEARD_MAX: usize = 200_000;

/// How many of the newest stay under pressure: those that a failover may cut.
pub const HEARD_COLD: usize = 4_096;

/// What an id that was cut weighs, about: its place in the map, and a list of one position.
const OLD_BYTES: usize = 128;

/// What a topic has heard.
#[derive(Debug, Default)]
pub struct Heard {
    hasher: RandomState,
    /// Newest last: hash of the id and where it stood.
    recent: VecDeque<(u64, Position)>,
    /// By hash of the id: where it stood on branches that were cut.
    olds: HashMap<u64, Vec<Position>>,
    /// The newest log time at which an old position was kept; when the window has passed, all may go.
    olds_ms: u64,
}

impl Heard {
    /// An event of this id stands here.
    pub fn note(&mut self, id: &str, position: Position) {
        self.recent.push_back((self.hasher.hash_one(id), position));
        let window = position.ms().saturating_sub(HEARD_MS);
        while self.recent.len() > HEARD_MAX || self.recent.front().is_some_and(|(_, at)| at.ms() < window) {
            self.recent.pop_front();
        }
        if !self.olds.is_empty() && self.olds_ms < window {
            self.olds = HashMap::new();
        }
    }

    /// The branch was cut above `survived`: what was heard above it may come again.
    pub fn cut(&mut self, survived: Position) {
        while let Some((hash, position)) = self.recent.back().copied() {
            if position.n() <= survived.n() {
                return;
            }
            self.recent.pop_back();
            if self.olds.len() >= HEARD_MAX {
                // A log that is cut again and again: the newest of each cut were kept first.
                continue;
            }
            self.olds_ms = self.olds_ms.max(position.ms());
            let olds = self.olds.entry(hash).or_default();
            if !olds.contains(&position) {
                olds.push(position);
            }
        }
    }

    /// Gives memory back: the newest `max` stay. What was cut already stays for its window: a retry may come any time.
    pub fn shrink(&mut self, max: usize) {
        let surplus = self.recent.len().saturating_sub(max);
        self.recent.drain(..surplus);
        self.recent.shrink_to(max);
    }

    /// Whether anything was ever cut within the window: else no event needs a second look.
    pub fn has_olds(&self) -> bool {
        !self.olds.is_empty()
    }

    /// Where an event of this id stood on branches that were cut.
    pub fn olds(&self, id: &str) -> &[Position] {
        if self.olds.is_empty() {
            return &[];
        }
        self.olds.get(&self.hasher.hash_one(id)).map_or(&[], Vec::as_slice)
    }

    /// Bytes held, about.
    pub fn bytes(&self) -> usize {
        self.recent.capacity() * size_of::<(u64, Position)>() + self.olds.len() * OLD_BYTES
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_was_heard_above_the_cut_is_known_by_its_id() {
        let at = |n| Position::new(1_000, n, "aaaaaaaaaaaa".parse().expect("a branch"));
        let mut heard = Heard::default();
        heard.note("kept", at(1));
        heard.note("lost", at(2));
        heard.cut(at(1));
        assert_eq!(heard.olds("lost"), [at(2)]);
        assert!(heard.olds("kept").is_empty());
        let later = Position::new(1_001 + HEARD_MS, 3, "bbbbbbbbbbbb".parse().expect("a branch"));
        heard.note("next", later);
        assert!(!heard.has_olds(), "the window has passed");
    }

    #[test]
    fn under_pressure_the_oldest_ids_go_and_a_cut_still_finds_the_newest() {
        let at = |n| Position::new(1_000, n, "aaaaaaaaaaaa".parse().expect("a branch"));
        let mut heard = Heard::default();
        let many = HEARD_COLD as u64 * 4;
        for n in 1..=many {
            heard.note(&format!("e{n}"), at(n));
        }
        let before = heard.bytes();
        heard.shrink(HEARD_COLD);
        assert!(heard.bytes() <= before / 2, "{} of {before} bytes stayed", heard.bytes());
        heard.cut(at(0));
        assert_eq!(heard.olds(&format!("e{many}")), [at(many)]);
        assert_eq!(heard.olds(&format!("e{}", many - HEARD_COLD as u64 + 1)).len(), 1, "the oldest that stayed");
        assert!(heard.olds(&format!("e{}", many - HEARD_COLD as u64)).is_empty(), "given up");
        let cut = heard.bytes();
        heard.shrink(0);
        assert!(heard.bytes() < cut && heard.has_olds(), "what was cut is a promise");
    }
}
