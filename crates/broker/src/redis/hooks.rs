//! Webhooks in Redis: one script call on one key, a project's or a shard's of the index.

use std::collections::BTreeMap;

use ::redis::{FromRedisValue as _, Value};
use bytes::Bytes;
use futures_util::future::{BoxFuture, FutureExt as _};
use tidings_protocol::head::LOG_FORMAT;
use tidings_protocol::project::Project;

use super::script::ScriptCall;
use super::{RedisBroker, malformed, script};
use crate::hooks::{Entered, Hooks, PLACES_MAX, Place, Swapped, check};
use crate::{CallError, ReadError, index};

impl RedisBroker {
    fn hooks_call(&self, key: &str, op: &str) -> ScriptCall {
        script::HOOKS.call(&[key]).arg(LOG_FORMAT).arg(self.time()).arg(op)
    }

    fn hooks_index(&self, project: &Project, op: &str) -> ScriptCall {
        self.hooks_call(&self.0.keys.hooked(index::shard_of(project)), op).arg(project.as_str())
    }

    /// Names and values of a hash.
    async fn hooks_all(&self, key: &str) -> Result<Vec<(String, Vec<u8>)>, ReadError> {
        let answer = self.ask(self.hooks_call(key, "all")).await?;
        Vec::from_redis_value(answer).map_err(|error| ReadError::Malformed(error.to_string()))
    }
}

/// `<version> <record>`.
fn place(value: &[u8]) -> Option<Place> {
    let blank = value.iter().position(|byte| *byte == b' ')?;
    let version = std::str::from_utf8(&value[..blank]).ok()?.parse().ok()?;
    Some(Place { version, record: Bytes::copy_from_slice(&value[blank + 1..]) })
}

impl Hooks for RedisBroker {
    fn enter(&self, project: Project) -> BoxFuture<'_, Result<(), CallError>> {
        async move { self.call(self.hooks_index(&project, "enter")).await.map(drop) }.boxed()
    }

    fn projects(&self, shard: u16) -> BoxFuture<'_, Result<Vec<Entered>, ReadError>> {
        async move {
            let entered = |(name, stamp): (String, Vec<u8>)| {
                let stamp = std::str::from_utf8(&stamp).ok().and_then(|stamp| stamp.parse().ok());
                if let (Ok(project), Some(stamp)) = (name.parse(), stamp) {
                    return Some(Entered { project, stamp });
                }
                tracing::warn!(shard, name, "the index of webhooks holds something that is no project's name");
                None
            };
            let all = self.hooks_all(&self.0.keys.hooked(shard)).await?;
            Ok(all.into_iter().filter_map(entered).collect())
        }
        .boxed()
    }

    fn leave(&self, entered: Entered) -> BoxFuture<'_, Result<bool, CallError>> {
        async move {
            let call = self.hooks_index(&entered.project, "leave").arg(entered.stamp);
            bool::from_redis_value(self.call(call).await?).map_err(|error| malformed(&error))
        }
        .boxed()
    }

    fn places(&self, project: Project) -> BoxFuture<'_, Result<BTreeMap<String, Place>, ReadError>> {
        async move {
            let all = self.hooks_all(&self.0.keys.hooks(&project)).await?;
            let read = |(name, value): (String, Vec<u8>)| match place(&value) {
                Some(place) => Ok((name, place)),
                None => Err(ReadError::Malformed(format!("the place of webhook {name:?}"))),
            };
            all.into_iter().map(read).collect()
        }
        .boxed()
    }

    fn swap(
        &self,
        project: Project,
        name: String,
        version: u64,
        record: Option<Bytes>,
    ) -> BoxFuture<'_, Result<Swapped, CallError>> {
        check(&name, record.as_ref());
        async move {
            let call = self.hooks_call(&self.0.keys.hooks(&project), "swap").arg(name).arg(version).arg(PLACES_MAX);
            let call = match &record {
                Some(record) => call.arg(&record[..]),
                None => call,
            };
            Ok(match self.call(call).await? {
                Value::Int(-1) => Swapped::Moved,
                Value::Int(-2) => Swapped::Full,
                version => Swapped::Done(u64::from_redis_value(version).map_err(|error| malformed(&error))?),
            })
        }
        .boxed()
    }

    fn clear(&self, project: Project) -> BoxFuture<'_, Result<(), CallError>> {
        async move { self.call(self.hooks_call(&self.0.keys.hooks(&project), "clear")).await.map(drop) }.boxed()
    }
}
