//! Inboxes in Redis: one script call on the keys of one project, and an index of the projects that have one.

use std::sync::Arc;

use ::redis::{FromRedisValue, ToRedisArgs, Value, cmd};
use bytes::Bytes;
use futures_util::future::{BoxFuture, FutureExt as _};
use tidings_protocol::head::LOG_FORMAT;
use tidings_protocol::project::Project;

use super::script::{Script, ScriptCall};
use super::{RedisBroker, malformed, script};
use crate::inbox::{
    AGENTS_FORGOTTEN_MAX, Due, DueItem, Found, Guarded, Here, Inboxes, ItemKind, KEPT_MS, LOOKED_AT_MAX, Lapsed,
    LeaseAct, LeaseAnswer, LeaseStep, Leased, OPEN_IN_ALL, OWNED_MAX, Owned, Placed, Put, PutAnswer, REST_MS,
    RUNNERS_MAX, SWEPT_MAX, Standing, TAKEN_MAX, Take, sound,
};
use crate::limits::GUARD_MS_MAX;
use crate::{CallError, ReadError, Sink, Subscription, index};

/// After so long a project is entered into the index again: the index may be lost where the inbox is not.
const ENTERED_EVERY_MS: u64 = 10 * 60 * 1_000;

/// An answer that is none of the scripts'.
#[derive(Debug, thiserror::Error)]
#[error("malformed answer of an inbox")]
struct Odd;

type Read<T> = Result<T, Odd>;

/// Walks along an array.
struct Words(std::vec::IntoIter<Value>);

impl Words {
    fn of(value: Value) -> Read<Words> {
        match value {
            Value::Array(values) => Ok(Words(values.into_iter())),
            _ => Err(Odd),
        }
    }

    fn is_empty(&self) -> bool {
        self.0.as_slice().is_empty()
    }

    fn read<T: FromRedisValue>(&mut self) -> Read<T> {
        T::from_redis_value(self.0.next().ok_or(Odd)?).map_err(|_| Odd)
    }

    fn body(&mut self) -> Read<Bytes> {
        self.read::<Vec<u8>>().map(Bytes::from)
    }

    fn words(&mut self) -> Read<Words> {
        Words::of(self.0.next().ok_or(Odd)?)
    }

    fn list<T>(mut self, mut one: impl FnMut(&mut Words) -> Read<T>) -> Read<Vec<T>> {
        let mut list = Vec::new();
        while !self.is_empty() {
            list.push(one(&mut self)?);
        }
        Ok(list)
    }

    fn guarded(&mut self) -> Read<Guarded> {
        let position: String = self.read()?;
        Ok(Guarded { position: position.parse().map_err(|_| Odd)?, note: self.read()? })
    }

    fn standing(&mut self) -> Read<Standing> {
        let kind: String = self.read()?;
        if kind == "answered" {
            return self.guarded().map(Standing::Answered);
        }
        let (runner, _): (String, String) = (self.read()?, self.read()?);
        Ok(match kind.as_str() {
            "queued" => Standing::Queued,
            "leased" => Standing::Leased { runner },
            "accepted" => Standing::Accepted { runner },
            "unknown" => Standing::Unknown,
            _ => return Err(Odd),
        })
    }

    fn found(&mut self) -> Read<Found> {
        Ok(Found { standing: self.standing()?, asker: self.read()?, body: self.body()? })
    }

    fn leased(&mut self) -> Read<Leased> {
        Ok(Leased {
            id: self.read()?,
            lease: self.read()?,
            until_ms: self.read()?,
            deadline_ms: self.read()?,
            asker: self.read()?,
            body: self.body()?,
        })
    }

    fn lease_answer(&mut self) -> Read<LeaseAnswer> {
        let mut words = self.words()?;
        Ok(match words.read::<String>()?.as_str() {
            "done" => LeaseAnswer::Done { asker: words.read()?, deadline_ms: words.read()?, body: words.body()? },
            "lost" => LeaseAnswer::Lost,
            "gone" => LeaseAnswer::Gone,
            _ => return Err(Odd),
        })
    }

    fn due_item(&mut self) -> Read<DueItem> {
        Ok(DueItem {
            id: self.read()?,
            alarm: self.read()?,
            asker: self.read()?,
            runner: self.read()?,
            body: self.body()?,
        })
    }
}

fn put_answer(words: &mut Words) -> Read<PutAnswer> {
    let word: String = words.read()?;
    if word == "known" {
        return words.standing().map(PutAnswer::Known);
    }
    let _: (String, String, String) = (words.read()?, words.read()?, words.read()?);
    Ok(match word.as_str() {
        "queued" => PutAnswer::Queued,
        "no_runner" => PutAnswer::NoRunner,
        "full" => PutAnswer::Full,
        "conflict" => PutAnswer::Conflict,
        "deleted" => PutAnswer::Deleted,
        _ => return Err(Odd),
    })
}

/// Whether the index should have the project again.
fn is_entering_due(words: &mut Words) -> Read<bool> {
    let (entered_ms, now_ms): (u64, u64) = (words.read()?, words.read()?);
    Ok(!(entered_ms..entered_ms + ENTERED_EVERY_MS).contains(&now_ms))
}

fn here(mut words: Words) -> Read<(Here, bool)> {
    let word: String = words.read()?;
    let enters = is_entering_due(&mut words)?;
    let in_hand = words.read()?;
    let here = match word.as_str() {
        "taken" => Here::Taken { commands: words.list(Words::leased)?, in_hand },
        "anothers" => Here::Anothers,
        "full" => Here::Full,
        "gone" => Here::Gone,
        _ => return Err(Odd),
    };
    Ok((here, enters))
}

/// What is due, and whether there is an inbox.
fn due(mut words: Words) -> Read<(Due, bool)> {
    let is_there = words.read()?;
    let (open, waiting, runners) = (words.read()?, words.read()?, words.read()?);
    let next_ms = u64::try_from(words.read::<i64>()?).ok();
    let (expired, lost) = (words.words()?.list(Words::due_item)?, words.words()?.list(Words::due_item)?);
    let lapsed = words.words()?.list(|words| {
        Ok(Lapsed { runner: words.read()?, until_ms: words.read()?, sessions: words.words()?.list(Words::read)? })
    })?;
    Ok((Due { expired, lost, lapsed, open, waiting, runners, next_ms }, is_there))
}

impl RedisBroker {
    fn inbox_call(&self, script: &'static Script, project: &Project) -> ScriptCall {
        let ((inbox, order), log) = (self.0.keys.inbox(project), self.0.keys.project(project));
        let call = script.call(&[&inbox, &order, &log.guards, &log.meta]).arg(LOG_FORMAT).arg(self.time());
        let call = call.arg(self.clustered()).arg(&inbox).arg(self.0.nodes.subscriber.publishes());
        call.arg(KEPT_MS).arg(SWEPT_MAX)
    }

    async fn inbox_answer<T>(&self, call: ScriptCall, read: impl FnOnce(Words) -> Read<T>) -> Result<T, CallError> {
        let answer = self.call(call).await?;
        Words::of(answer).and_then(read).map_err(|error| malformed(&error))
    }

    async fn inbox_read<T>(&self, call: ScriptCall, read: impl FnOnce(Words) -> Read<T>) -> Result<T, ReadError> {
        let answer = self.ask(call).await?;
        Words::of(answer).and_then(read).map_err(|error| ReadError::Malformed(error.to_string()))
    }

    async fn inbox_index(&self, project: &Project, command: &str) -> Result<(), CallError> {
        let key = self.0.keys.inboxes(index::shard_of(project));
        self.command(&key, cmd(command).arg(&key).arg(project.as_str())).await.map(drop)
    }

    /// The index has the project, and the inbox knows so: in this order, or nobody would ever look after it.
    async fn enter_inbox(&self, project: &Project) -> Result<(), CallError> {
        self.inbox_index(project, "SADD").await?;
        self.call(self.inbox_call(&script::INBOX_RUNNER, project).arg("entered")).await.map(drop)
    }

    /// An inbox is gone: the index need not have the project. Somebody may have made another one meanwhile, and have found
    /// the index up to date.
    async fn leave_index(&self, project: &Project) -> Result<(), CallError> {
        self.inbox_index(project, "SREM").await?;
        let (inbox, _) = self.0.keys.inbox(project);
        // One field alone are the books: that the project was deleted, and nothing since.
        let fields = self.command(&inbox, cmd("HLEN").arg(&inbox)).await?;
        if matches!(fields, Value::Int(2..)) { self.inbox_index(project, "SADD").await } else { Ok(()) }
    }
}

impl Inboxes for RedisBroker {
    fn put(&self, project: Project, item: Put) -> BoxFuture<'_, Result<Placed, CallError>> {
        async move {
            item.sound()?;
            let call = self.inbox_call(&script::INBOX_PUT, &project).arg(&item.id).arg(&item.asker);
            let call = call
                .arg(item.deadline_ms.min(GUARD_MS_MAX))
                .arg(item.open_max)
                .arg(item.open_max.saturating_mul(OPEN_IN_ALL));
            let life = item.life.map(|life| life.to_string()).unwrap_or_default();
            let call = call.arg(&item.body[..]).arg(life);
            let call = match &item.kind {
                ItemKind::Alarm { guard } => call.arg(guard),
                ItemKind::Command { capability, session, agent, urgent, notice } => {
                    let call = call.arg("").arg(capability).arg(session).arg(agent);
                    call.arg(u8::from(*urgent)).arg(u8::from(*notice))
                }
            };
            let read = |mut words: Words| {
                let (answer, enters) = (put_answer(&mut words)?, is_entering_due(&mut words)?);
                Ok((Placed { answer, life: words.read()? }, enters))
            };
            let (placed, enters) = self.inbox_answer(call, read).await?;
            if enters && let Err(error) = self.enter_inbox(&project).await {
                // It is put; the next put or take tries again.
                tracing::warn!(%project, %error, "a project with an inbox was not entered into the index");
            }
            Ok(placed)
        }
        .boxed()
    }

    fn take(&self, project: Project, take: Take) -> BoxFuture<'_, Result<Here, CallError>> {
        async move {
            let take = take.sound()?;
            let call = self.inbox_call(&script::INBOX_TAKE, &project).arg(&take.runner).arg(&take.subject);
            let call = call.arg(take.ttl_ms).arg(take.max).arg(take.in_hand_max).arg(take.lease_ms);
            let call = call.arg(RUNNERS_MAX).arg(LOOKED_AT_MAX).arg(u8::from(take.goes_on));
            let call = all(call, &take.capabilities);
            let (here, enters) = self.inbox_answer(call, here).await?;
            if enters && let Err(error) = self.enter_inbox(&project).await {
                // What was taken must be told. The next take tries again.
                tracing::warn!(%project, %error, "a project with an inbox was not entered into the index");
            }
            Ok(here)
        }
        .boxed()
    }

    fn leave(&self, project: Project, runner: String, subject: String) -> BoxFuture<'_, Result<bool, CallError>> {
        async move {
            let call = self.inbox_call(&script::INBOX_RUNNER, &project).arg("leave").arg(runner).arg(subject);
            Ok(matches!(self.call(call).await?, Value::Int(1)))
        }
        .boxed()
    }

    fn answer(
        &self,
        project: Project,
        runner: String,
        subject: String,
        steps: Vec<LeaseStep>,
    ) -> BoxFuture<'_, Result<Vec<LeaseAnswer>, CallError>> {
        async move {
            let mut call = self.inbox_call(&script::INBOX_LEASE, &project).arg(runner).arg(REST_MS).arg(subject);
            for LeaseStep { id, lease, act } in steps {
                let (act, ms) = match act {
                    LeaseAct::Accept => ("accept", 0),
                    LeaseAct::Extend(ms) => ("extend", ms.min(GUARD_MS_MAX)),
                    LeaseAct::Release => ("release", 0),
                    LeaseAct::Check => ("check", 0),
                };
                call = call.arg(id).arg(lease).arg(act).arg(ms);
            }
            self.inbox_answer(call, |words| words.list(Words::lease_answer)).await
        }
        .boxed()
    }

    fn settle(&self, project: Project, ids: Vec<String>) -> BoxFuture<'_, Result<(), CallError>> {
        async move {
            let call = self.inbox_call(&script::INBOX_SETTLE, &project).arg("settle");
            self.call(all(call, &ids)).await.map(drop)
        }
        .boxed()
    }

    fn look(&self, project: Project, ids: Vec<String>) -> BoxFuture<'_, Result<Vec<Standing>, ReadError>> {
        async move {
            let call = all(self.inbox_call(&script::INBOX_LOOK, &project).arg("look"), &ids);
            self.inbox_read(call, |words| words.list(|words| words.words()?.standing())).await
        }
        .boxed()
    }

    fn find(&self, project: Project, id: String) -> BoxFuture<'_, Result<Option<Found>, ReadError>> {
        async move {
            let call = self.inbox_call(&script::INBOX_LOOK, &project).arg("find").arg(id);
            self.inbox_read(call, |words| Ok(words.list(Words::found)?.pop())).await
        }
        .boxed()
    }

    fn guard(&self, project: Project, key: String) -> BoxFuture<'_, Result<Option<Guarded>, ReadError>> {
        async move {
            let call = self.inbox_call(&script::INBOX_LOOK, &project).arg("guard").arg(key);
            self.inbox_read(call, |words| Ok(words.list(Words::guarded)?.pop())).await
        }
        .boxed()
    }

    fn due(&self, project: Project) -> BoxFuture<'_, Result<Due, CallError>> {
        async move {
            let call = self.inbox_call(&script::INBOX_DUE, &project).arg(TAKEN_MAX);
            let (due, is_there) = self.inbox_answer(call, due).await?;
            if !is_there {
                self.leave_index(&project).await?;
            }
            Ok(due)
        }
        .boxed()
    }

    fn forget(&self, project: Project, lapsed: Vec<Lapsed>) -> BoxFuture<'_, Result<(), CallError>> {
        async move {
            let mut call = self.inbox_call(&script::INBOX_RUNNER, &project).arg("forget").arg(AGENTS_FORGOTTEN_MAX);
            for Lapsed { runner, until_ms, sessions } in lapsed {
                call = all(call.arg(runner).arg(until_ms).arg(sessions.len()), &sessions);
            }
            self.call(call).await.map(drop)
        }
        .boxed()
    }

    fn own(&self, project: Project, owned: Vec<Owned>) -> BoxFuture<'_, Result<(), CallError>> {
        async move {
            let call = self.inbox_call(&script::INBOX_RUNNER, &project).arg("own");
            let mut call = call.arg(OWNED_MAX).arg(AGENTS_FORGOTTEN_MAX);
            for owned in &owned {
                sound([&owned.session, &owned.agent].into_iter().chain(&owned.runner))?;
                call = call.arg(&owned.session).arg(&owned.agent).arg(owned.runner.as_deref().unwrap_or_default());
                call = call.arg(u8::from(owned.weak));
            }
            self.call(call).await.map(drop)
        }
        .boxed()
    }

    fn projects(&self, shard: u16) -> BoxFuture<'_, Result<Vec<Project>, ReadError>> {
        async move { self.listed(shard, &self.0.keys.inboxes(shard)).await }.boxed()
    }

    fn clear(&self, project: Project) -> BoxFuture<'_, Result<(), CallError>> {
        async move {
            self.call(self.inbox_call(&script::INBOX_SETTLE, &project).arg("clear")).await?;
            self.leave_index(&project).await
        }
        .boxed()
    }

    fn watch(&self, project: Project, sink: Arc<dyn Sink>) -> BoxFuture<'_, Result<Subscription, ReadError>> {
        let (channel, _) = self.0.keys.inbox(&project);
        Arc::clone(&self.0.nodes.subscriber).subscribe(channel, sink).boxed()
    }
}

/// Adds each as an argument.
fn all(call: ScriptCall, values: &[impl ToRedisArgs]) -> ScriptCall {
    values.iter().fold(call, ScriptCall::arg)
}
