//! Ids that a topic has heard (docs/log.md L10): kept for the dedupe window, apart from ring and pages.
//!
//! An append whose answer was lost may come again under the same id on another branch. Viewers that were told the first
//! one must not be told it twice, so at a fork the ids heard above what survived are kept with where they stood.

use std::collections::{HashMap, VecDeque};
use std::hash::BuildHasher as _;

use foldhash::fast::RandomState;
use tidings_protocol::position::Position;

/// How long an id is kept, in milliseconds of the log's clock: the default dedupe window.
pub const HEARD_MS: u64 = 10 * 60 * 1000;

/// How many are kept at most.
pub const HEARD_MAX: usize = 200_000;

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
            self.olds.clear();
        }
    }

    /// The branch was cut above `survived`: what was heard above it may come again.
    pub fn cut(&mut self, survived: Position) {
        while let Some((hash, position)) = self.recent.back().copied() {
            if position.n() <= survived.n() {
                return;
            }
            self.recent.pop_back();
            self.olds_ms = self.olds_ms.max(position.ms());
            let olds = self.olds.entry(hash).or_default();
            if !olds.contains(&position) {
                olds.push(position);
            }
        }
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
        self.recent.len() * size_of::<(u64, Position)>() + self.olds.len() * 64
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
}
