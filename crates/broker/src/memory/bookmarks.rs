//! Bookmarks in memory. `lua/bookmark.lua` does the same in Redis.

use std::collections::HashMap;

use futures_util::future::{BoxFuture, FutureExt as _};
use parking_lot::Mutex;
use tidings_protocol::position::Position;
use tidings_protocol::project::Project;

use super::MemoryBroker;
use crate::CallError;
use crate::bookmark::{BOOKMARKS_MAX, Bookmarks, EMPTY_KEPT_MS, READER_BYTES_MAX};

/// By project and reader.
#[derive(Debug, Default)]
pub(super) struct BookmarkBooks(Mutex<HashMap<Project, HashMap<String, Mark>>>);

#[derive(Debug, Clone)]
struct Mark {
    until_ms: u64,
    holder: String,
    at: Option<Position>,
}

impl BookmarkBooks {
    /// As a restart leaves it.
    pub(super) fn clear(&self) {
        self.0.lock().clear();
    }

    fn change<T>(
        &self,
        project: Project,
        now_ms: u64,
        reader: String,
        mark: impl FnOnce(Option<&Mark>) -> (Option<Mark>, T),
    ) -> T {
        let mut books = self.0.lock();
        let marks = books.entry(project).or_default();
        let (mark, answer) = mark(marks.get(&reader).filter(|mark| mark.until_ms > now_ms));
        if let Some(mark) = mark {
            if !marks.contains_key(&reader) && marks.len() >= BOOKMARKS_MAX {
                let first = marks.iter().min_by_key(|(_, mark)| (mark.at.is_some(), mark.until_ms));
                let first = first.map(|(reader, _)| reader.clone());
                marks.remove(&first.unwrap_or_default());
            }
            marks.insert(reader, mark);
        }
        answer
    }
}

impl Bookmarks for MemoryBroker {
    fn take(
        &self,
        project: Project,
        reader: String,
        holder: String,
        ttl_ms: u64,
    ) -> BoxFuture<'_, Result<Option<Position>, CallError>> {
        assert!(reader.len() <= READER_BYTES_MAX, "a reader's name has at most {READER_BYTES_MAX} bytes");
        let now_ms = self.0.clock.now_ms();
        let take = move |mark: Option<&Mark>| {
            let at = mark.and_then(|mark| mark.at);
            let ttl_ms = at.map_or(ttl_ms.min(EMPTY_KEPT_MS), |_| ttl_ms);
            (Some(Mark { until_ms: now_ms.saturating_add(ttl_ms), holder, at }), at)
        };
        async move { Ok(self.0.bookmarks.change(project, now_ms, reader, take)) }.boxed()
    }

    fn set(
        &self,
        project: Project,
        reader: String,
        holder: String,
        position: Position,
        ttl_ms: u64,
    ) -> BoxFuture<'_, Result<bool, CallError>> {
        assert!(reader.len() <= READER_BYTES_MAX, "a reader's name has at most {READER_BYTES_MAX} bytes");
        let now_ms = self.0.clock.now_ms();
        let set = move |mark: Option<&Mark>| {
            if mark.is_some_and(|mark| mark.holder != holder) {
                return (None, false);
            }
            (Some(Mark { until_ms: now_ms.saturating_add(ttl_ms), holder, at: Some(position) }), true)
        };
        async move { Ok(self.0.bookmarks.change(project, now_ms, reader, set)) }.boxed()
    }
}
