//! Bookmarks in Redis: one script call on one key of a project.

use ::redis::FromRedisValue as _;
use futures_util::future::{BoxFuture, FutureExt as _};
use tidings_protocol::head::LOG_FORMAT;
use tidings_protocol::position::Position;
use tidings_protocol::project::Project;

use super::script::ScriptCall;
use super::{RedisBroker, malformed, script};
use crate::CallError;
use crate::bookmark::{BOOKMARKS_MAX, Bookmarks, EMPTY_KEPT_MS, READER_BYTES_MAX};

impl RedisBroker {
    fn bookmark_call(&self, project: &Project, op: &str, reader: &str, holder: &str, ttl_ms: u64) -> ScriptCall {
        assert!(reader.len() <= READER_BYTES_MAX, "a reader's name has at most {READER_BYTES_MAX} bytes");
        let call = script::BOOKMARK.call(&[&self.0.keys.bookmarks(project)]).arg(LOG_FORMAT).arg(self.time());
        call.arg(op).arg(reader).arg(holder).arg(ttl_ms).arg(BOOKMARKS_MAX).arg(EMPTY_KEPT_MS)
    }
}

impl Bookmarks for RedisBroker {
    fn take(
        &self,
        project: Project,
        reader: String,
        holder: String,
        ttl_ms: u64,
    ) -> BoxFuture<'_, Result<Option<Position>, CallError>> {
        let call = self.bookmark_call(&project, "take", &reader, &holder, ttl_ms);
        async move {
            let answer = String::from_redis_value(self.call(call).await?).map_err(|error| malformed(&error))?;
            // What is no position says no more than nothing.
            Ok(answer.parse().ok())
        }
        .boxed()
    }

    fn set(
        &self,
        project: Project,
        reader: String,
        holder: String,
        position: Position,
        ttl_ms: u64,
    ) -> BoxFuture<'_, Result<bool, CallError>> {
        let call = self.bookmark_call(&project, "set", &reader, &holder, ttl_ms).arg(position.to_string());
        async move { bool::from_redis_value(self.call(call).await?).map_err(|error| malformed(&error)) }.boxed()
    }
}
