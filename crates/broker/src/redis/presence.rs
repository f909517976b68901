//! Who is there, in Redis: one script call on the keys of one project.

use ::redis::{FromRedisValue, ParsingError, Value, cmd};
use bytes::Bytes;
use futures_util::future::{BoxFuture, FutureExt as _};
use std::collections::HashMap;
use std::sync::Arc;
use tidings_protocol::head::LOG_FORMAT;
use tidings_protocol::project::Project;

use super::errors::{call_error, read_error};
use super::script::ScriptCall;
use super::{RedisBroker, malformed, script};
use crate::presence::{
    Listed, MEMBERS_MAX, Members, Presences, PutRunner, RUNNER_TTL_MAX_MS, RUNNERS_MAX, RUNNERS_TOLD_MAX, RemoveRunner,
    Report, Reported, Roll, Runner, Speaker,
};
use crate::{CallError, ReadError};

/// The field that is no member: version and others.
const BOOKS: &str = ".";

/// What stands before a member's name in its field.
const MEMBER: char = ':';

impl RedisBroker {
    fn presence_call(&self, project: &Project, own: Option<&str>, known_runners: u64) -> ScriptCall {
        let keys = &self.0.keys;
        let (roll, runners) = (keys.roll(project), keys.runners(project));
        let own = own.map(|gateway| keys.presence(project, gateway));
        let all: Vec<&str> =
            [Some(&roll), Some(&runners), own.as_ref()].into_iter().flatten().map(|key| &**key).collect();
        let call = script::PRESENCE.call(&all).arg(LOG_FORMAT).arg(self.time()).arg(RUNNER_TTL_MAX_MS);
        call.arg(known_runners).arg(RUNNERS_TOLD_MAX)
    }

    fn runner_call(&self, project: &Project, op: &str, name: &str, by: &Speaker) -> ScriptCall {
        let call = script::RUNNER.call(&[&self.0.keys.runners(project)]).arg(LOG_FORMAT).arg(self.time());
        call.arg(RUNNER_TTL_MAX_MS).arg(op).arg(name).arg(&by.subject).arg(u8::from(by.overrules))
    }
}

/// Lapsed, and the roll.
fn roll(answer: Value) -> Result<Reported, ParsingError> {
    let mut rest = Vec::<Value>::from_redis_value(answer)?.into_iter();
    let mut next = || rest.next().unwrap_or(Value::Nil);
    let lapsed = bool::from_redis_value(next())?;
    let runners_version = u64::from_redis_value(next())?;
    let runners = match next() {
        Value::Nil => None,
        list => Some(runners(list)?),
    };
    let runners_others = u64::from_redis_value(next())?;
    let mut gateways = Vec::new();
    while let (Some(name), Some(version)) = (rest.next(), rest.next()) {
        let gateway = String::from_redis_value(name)?.into();
        gateways.push(Listed { gateway, version: u64::from_redis_value(version)? });
    }
    gateways.sort_unstable_by(|a: &Listed, b| a.gateway.cmp(&b.gateway));
    Ok(Reported { lapsed, roll: Roll { gateways, runners_version, runners, runners_others } })
}

/// Name, since, record of each.
fn runners(list: Value) -> Result<Vec<Runner>, ParsingError> {
    let mut flat = Vec::<Value>::from_redis_value(list)?.into_iter();
    let mut runners = Vec::with_capacity(flat.len() / 3);
    while let (Some(name), Some(since), Some(record)) = (flat.next(), flat.next(), flat.next()) {
        runners.push(Runner {
            name: String::from_redis_value(name)?,
            since_ms: u64::from_redis_value(since)?,
            record: Vec::<u8>::from_redis_value(record)?.into(),
        });
    }
    runners.sort_unstable_by(|a, b| a.name.cmp(&b.name));
    Ok(runners)
}

/// What a gateway's hash holds; none: it is not there.
fn members(value: Value) -> Result<Option<Members>, ReadError> {
    let malformed = |what: &str| ReadError::Malformed(format!("presence: {what}"));
    let mut fields = HashMap::<String, Vec<u8>>::from_redis_value(value).map_err(|_| malformed("no hash of text"))?;
    let Some(books) = fields.remove(BOOKS) else { return Ok(None) };
    let books = String::from_utf8_lossy(&books).into_owned();
    let numbers =
        books.split_once(' ').and_then(|(version, others)| Some((version.parse().ok()?, others.parse().ok()?)));
    let (version, others) = numbers.ok_or_else(|| malformed("version and others"))?;
    let named = fields
        .into_iter()
        .filter_map(|(field, record)| field.strip_prefix(MEMBER).map(|name| (name.to_owned(), Bytes::from(record))));
    let mut named: Vec<_> = named.collect();
    named.sort_unstable_by(|a, b| a.0.cmp(&b.0));
    Ok(Some(Members { version, named, others }))
}

impl Presences for RedisBroker {
    fn report(&self, project: Project, report: Report) -> BoxFuture<'_, Result<Reported, CallError>> {
        let named = report.members.as_ref().map_or(0, |members| members.named.len());
        assert!(named <= MEMBERS_MAX, "a report names at most {MEMBERS_MAX} members");
        async move {
            let call = self.presence_call(&project, Some(&report.gateway), report.known_runners);
            let mut call = call.arg(&*report.gateway).arg(report.lease_ms.max(1)).arg(report.version);
            match &report.members {
                None => call = call.arg(""),
                Some(members) => {
                    call = call.arg(members.others);
                    for (name, record) in &members.named {
                        call = call.arg(name).arg(&record[..]);
                    }
                }
            }
            roll(self.call(call).await?).map_err(|error| malformed(&error))
        }
        .boxed()
    }

    fn leave(&self, project: Project, gateway: Arc<str>) -> BoxFuture<'_, Result<(), CallError>> {
        async move {
            let call = self.presence_call(&project, Some(&gateway), 0);
            self.call(call.arg(&*gateway).arg(0)).await.map(drop)
        }
        .boxed()
    }

    fn roll(&self, project: Project, known_runners: u64) -> BoxFuture<'_, Result<Roll, ReadError>> {
        async move {
            let answer = self.ask(self.presence_call(&project, None, known_runners)).await?;
            roll(answer).map(|reported| reported.roll).map_err(|error| ReadError::Malformed(error.to_string()))
        }
        .boxed()
    }

    fn members(&self, project: Project, gateway: Arc<str>) -> BoxFuture<'_, Result<Option<Members>, ReadError>> {
        async move {
            let key = self.0.keys.presence(&project, &gateway);
            members(self.command(&key, cmd("HGETALL").arg(&key)).await.map_err(read_error)?)
        }
        .boxed()
    }

    fn put_runner(
        &self,
        project: Project,
        name: String,
        by: Speaker,
        ttl_ms: u64,
        record: Bytes,
    ) -> BoxFuture<'_, Result<PutRunner, CallError>> {
        async move {
            let call = self.runner_call(&project, "put", &name, &by).arg(ttl_ms).arg(&record[..]).arg(RUNNERS_MAX);
            let answer = <(i64, u64)>::from_redis_value(self.call(call).await?);
            let (came, since_ms) = answer.map_err(|error| call_error(&error.into()))?;
            Ok(match came {
                1 => PutRunner::Joined { since_ms },
                0 => PutRunner::Renewed { since_ms },
                -1 => PutRunner::Full,
                _ => PutRunner::Anothers,
            })
        }
        .boxed()
    }

    fn remove_runner(
        &self,
        project: Project,
        name: String,
        by: Speaker,
    ) -> BoxFuture<'_, Result<RemoveRunner, CallError>> {
        async move {
            let answer = self.call(self.runner_call(&project, "del", &name, &by)).await?;
            let went = i64::from_redis_value(answer).map_err(|error| call_error(&error.into()))?;
            Ok(match went {
                1 => RemoveRunner::Gone,
                0 => RemoveRunner::Absent,
                _ => RemoveRunner::Anothers,
            })
        }
        .boxed()
    }

    fn forget_runners(&self, project: Project) -> BoxFuture<'_, Result<(), CallError>> {
        async move {
            let nobody = Speaker { subject: String::new(), overrules: true };
            self.call(self.runner_call(&project, "forget", "", &nobody)).await.map(drop)
        }
        .boxed()
    }
}
