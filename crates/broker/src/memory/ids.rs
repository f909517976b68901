//! Ids that a log remembers, so that a retry is recognised (docs/log.md L7).
//!
//! One rule, kept by the Lua script in the same way: an id is seen while it is stored. Ids are stored in chunks, one per
//! append, and go by whole chunks from the oldest on, only when something is appended: a chunk is due when it is older
//! than the window or more ids are stored than the window holds. One append removes due chunks until it has removed
//! twice what it added, and at least one chunk. So ids stay for at least the window, and work per append is bounded.

use std::collections::{HashMap, VecDeque};
use std::sync::Arc;

use tidings_protocol::position::Position;

use crate::DedupeWindow;

/// The remembered ids of one log.
#[derive(Debug, Clone, Default)]
pub(super) struct Ids {
    seen: HashMap<Arc<str>, Position>,
    chunks: VecDeque<Chunk>,
    /// Ids in all chunks: one that came anew after its project's deletion counts twice until its first chunk goes.
    stored: usize,
}

/// What one append added.
#[derive(Debug, Clone)]
struct Chunk {
    ms: u64,
    ids: Vec<Arc<str>>,
}

impl Ids {
    /// Where this id was seen first.
    pub(super) fn first(&self, id: &str) -> Option<Position> {
        self.seen.get(id).copied()
    }

    /// Remembers the ids of an append at `ms`, then forgets what is due.
    pub(super) fn remember(&mut self, ms: u64, ids: Vec<(Arc<str>, Position)>, window: DedupeWindow) {
        let added = ids.len();
        if added > 0 {
            self.chunks.push_back(Chunk { ms, ids: ids.iter().map(|(id, _)| Arc::clone(id)).collect() });
            self.seen.extend(ids);
            self.stored += added;
        }
        let mut removed = 0;
        loop {
            let over = self.stored as u64 > window.ids;
            match self.chunks.front() {
                Some(chunk) if over || chunk.ms.saturating_add(window.ms) < ms => {}
                _ => break,
            }
            for id in self.chunks.pop_front().into_iter().flat_map(|chunk| chunk.ids) {
                self.seen.remove(&id);
                self.stored -= 1;
                removed += 1;
            }
            if removed >= 2 * added {
                break;
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn remember(ids: &mut Ids, ms: u64, names: &[&str], window: (u64, u64)) {
        let list = names.iter().map(|name| (Arc::from(*name), Position::ZERO)).collect();
        ids.remember(ms, list, DedupeWindow { ms: window.0, ids: window.1 });
    }

    #[test]
    fn a_due_chunk_goes_with_the_next_append_and_not_before() {
        let mut ids = Ids::default();
        remember(&mut ids, 100, &["a"], (10, 9));
        remember(&mut ids, 110, &["b"], (10, 9));
        assert!(ids.first("a").is_some(), "exactly as old as the window: kept");
        remember(&mut ids, 111, &[], (10, 9));
        assert!(ids.first("a").is_none() && ids.first("b").is_some());
    }

    #[test]
    fn an_append_removes_at_most_one_chunk_beyond_twice_what_it_added() {
        let mut ids = Ids::default();
        for n in 0..10 {
            remember(&mut ids, n, &[&format!("id{n}")], (1_000, 10));
        }
        remember(&mut ids, 5_000, &["x"], (1_000, 10));
        assert_eq!(ids.seen.len(), 9, "11 stored, 2 removed");
        remember(&mut ids, 5_000, &[], (1_000, 10));
        assert_eq!(ids.seen.len(), 8, "nothing added, one chunk removed");
    }
}
