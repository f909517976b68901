//! Keys, members and settings in Redis: a hash each beside the project's log, and for each API key a pointer to its
//! project (docs/redis-keyspace.md).

use ::redis::{FromRedisValue, Value};
use bytes::Bytes;
use futures_util::future::{BoxFuture, FutureExt as _};
use tidings_protocol::grant::Scopes;
use tidings_protocol::head::LOG_FORMAT;
use tidings_protocol::project::Project;

use super::errors::call_error;
use super::script::ScriptCall;
use super::{RedisBroker, script};
use crate::registry::{Added, KEYS_MAX, MEMBERS_MAX, Registry, Versioned, stored_scopes};
use crate::{CallError, ReadError};

/// The field of a pointer: its value is the project's name.
const PROJECT: &str = "project";

fn begin(hash: &str, op: &str) -> ScriptCall {
    script::REGISTRY.call(&[hash]).arg(LOG_FORMAT).arg(op)
}

fn read<T: FromRedisValue>(value: Value) -> Result<T, ReadError> {
    T::from_redis_value(value).map_err(|error| ReadError::Malformed(error.to_string()))
}

impl RedisBroker {
    async fn registry_write(&self, call: ScriptCall) -> Result<i64, CallError> {
        i64::from_redis_value(self.call(call).await?).map_err(|error| call_error(&error.into()))
    }

    async fn registry_get(&self, hash: &str, field: &str) -> Result<Option<Bytes>, ReadError> {
        let value = self.ask(begin(hash, "get").arg(field)).await?;
        Ok(read::<Option<Vec<u8>>>(value)?.map(Bytes::from))
    }

    /// Fields and values, by field.
    async fn registry_all(&self, hash: &str) -> Result<Vec<(String, Bytes)>, ReadError> {
        let flat: Vec<Vec<u8>> = read(self.ask(begin(hash, "all")).await?)?;
        let mut pairs = Vec::with_capacity(flat.len() / 2);
        let mut flat = flat.into_iter();
        while let (Some(field), Some(value)) = (flat.next(), flat.next()) {
            let field = String::from_utf8(field).map_err(|_| ReadError::Malformed("a field is not text".into()))?;
            pairs.push((field, Bytes::from(value)));
        }
        pairs.sort_unstable_by(|a, b| a.0.cmp(&b.0));
        Ok(pairs)
    }
}

fn scopes(value: &Bytes) -> Scopes {
    stored_scopes(&String::from_utf8_lossy(value))
}

impl Registry for RedisBroker {
    fn add_key(&self, project: Project, id: String, record: Bytes) -> BoxFuture<'_, Result<Added, CallError>> {
        async move {
            let hash = self.0.keys.api_keys(&project);
            let added = self.registry_write(begin(&hash, "add").arg(&id).arg(&record[..]).arg(KEYS_MAX)).await?;
            match added {
                1 => {}
                0 => return Ok(Added::Exists),
                _ => return Ok(Added::Full),
            }
            // The record comes first: a pointer without one would say that the key is good and was revoked.
            let pointer = begin(&self.0.keys.api_key(&id), "put").arg(PROJECT).arg(project.as_str()).arg(1);
            self.registry_write(pointer).await.map(|_| Added::Done)
        }
        .boxed()
    }

    fn set_key(&self, project: Project, id: String, record: Bytes) -> BoxFuture<'_, Result<bool, CallError>> {
        async move {
            let call = begin(&self.0.keys.api_keys(&project), "set").arg(id).arg(&record[..]);
            Ok(self.registry_write(call).await? == 1)
        }
        .boxed()
    }

    fn remove_key(&self, project: Project, id: String) -> BoxFuture<'_, Result<bool, CallError>> {
        async move {
            // The record first: without it the pointer leads nowhere, and the key is dead.
            let there = self.registry_write(begin(&self.0.keys.api_keys(&project), "del").arg(&id)).await? == 1;
            if there {
                self.registry_write(begin(&self.0.keys.api_key(&id), "del").arg(PROJECT)).await?;
            }
            Ok(there)
        }
        .boxed()
    }

    fn key(&self, id: String) -> BoxFuture<'_, Result<Option<(Project, Bytes)>, ReadError>> {
        async move {
            let Some(name) = self.registry_get(&self.0.keys.api_key(&id), PROJECT).await? else { return Ok(None) };
            let project = String::from_utf8_lossy(&name).parse::<Project>();
            let project = project.map_err(|error| ReadError::Malformed(error.to_string()))?;
            let record = self.registry_get(&self.0.keys.api_keys(&project), &id).await?;
            Ok(record.map(|record| (project, record)))
        }
        .boxed()
    }

    fn keys(&self, project: Project) -> BoxFuture<'_, Result<Vec<(String, Bytes)>, ReadError>> {
        async move { self.registry_all(&self.0.keys.api_keys(&project)).await }.boxed()
    }

    fn set_member(&self, project: Project, user: String, scopes: Scopes) -> BoxFuture<'_, Result<bool, CallError>> {
        async move {
            let call = begin(&self.0.keys.members(&project), "put").arg(user).arg(scopes.to_string()).arg(MEMBERS_MAX);
            Ok(self.registry_write(call).await? == 1)
        }
        .boxed()
    }

    fn remove_member(&self, project: Project, user: String) -> BoxFuture<'_, Result<bool, CallError>> {
        async move { Ok(self.registry_write(begin(&self.0.keys.members(&project), "del").arg(user)).await? == 1) }
            .boxed()
    }

    fn member(&self, project: Project, user: String) -> BoxFuture<'_, Result<Scopes, ReadError>> {
        async move {
            let found = self.registry_get(&self.0.keys.members(&project), &user).await?;
            Ok(found.map_or(Scopes::NONE, |value| scopes(&value)))
        }
        .boxed()
    }

    fn members(&self, project: Project) -> BoxFuture<'_, Result<Vec<(String, Scopes)>, ReadError>> {
        async move {
            let all = self.registry_all(&self.0.keys.members(&project)).await?;
            Ok(all.into_iter().map(|(user, value)| (user, scopes(&value))).collect())
        }
        .boxed()
    }

    fn settings(&self, project: Project) -> BoxFuture<'_, Result<Versioned, ReadError>> {
        async move {
            let mut found = Versioned::default();
            for (field, value) in self.registry_all(&self.0.keys.settings(&project)).await? {
                match field.as_str() {
                    "version" => {
                        let number = std::str::from_utf8(&value).ok().and_then(|text| text.parse().ok());
                        found.version = number.ok_or_else(|| ReadError::Malformed("settings' version".into()))?;
                    }
                    "value" => found.value = value,
                    _ => {}
                }
            }
            Ok(found)
        }
        .boxed()
    }

    fn swap_settings(
        &self,
        project: Project,
        version: u64,
        value: Bytes,
    ) -> BoxFuture<'_, Result<Option<u64>, CallError>> {
        async move {
            let call = begin(&self.0.keys.settings(&project), "swap").arg(&value[..]).arg(version);
            Ok(u64::try_from(self.registry_write(call).await?).ok())
        }
        .boxed()
    }
}
