//! The store on Redis (or Valkey): one node, the one that sentinels name, or a cluster. The only place that names the
//! `redis` crate.
//!
//! Every atomic step is a Lua script in `lua/`; docs/redis-keyspace.md describes keys and fields. Commands go over one
//! supervised connection to each node, messages come over another. Both are opened, and opened again, in the background: a broker
//! exists at once, and while Redis is away every call says so.

mod bookmarks;
mod cluster;
mod errors;
mod fleet;
mod history;
mod hooks;
mod inbox;
mod keys;
mod link;
mod metrics;
mod node;
mod nodes;
mod presence;
mod probe;
mod quota;
mod registry;
mod replicas;
mod reply;
mod script;
mod sentinel;
#[cfg(any(test, feature = "contract"))]
pub mod server;
mod settings;
mod slips;
pub(crate) mod slots;
mod subscriber;

use std::sync::Arc;

use ::redis::{Cmd, FromRedisValue as _, Value, cmd};
use futures_util::StreamExt as _;
use futures_util::future::{BoxFuture, FutureExt as _};
use futures_util::stream;
use tidings_protocol::entry::ENTRY_BYTES_MAX;
use tidings_protocol::head::{Head, LOG_FORMAT};
use tidings_protocol::project::Project;
use tokio_util::sync::{CancellationToken, DropGuard};
use tokio_util::task::TaskTracker;

pub use metrics::RedisMetrics;
pub use settings::{Account, Certificates, RedisSettings, RedisSettingsError};

use crate::clock::ManualClock;
use crate::limits::Limits;
use crate::{
    Answer, AppendCall, CallError, CheckpointAnswer, CheckpointStep, Fields, GuardStep, Index, Log, NothingWhy, Page,
    ReadError, SessionDeletion, Sink, Span, StateAt, Subscription,
};
use errors::{call_error, read_error};
use keys::Keys;
use metrics::Call;
use nodes::Nodes;
use reply::Claimable;
pub(crate) use reply::Told;
use script::ScriptCall;

/// Heads asked for at once.
const HEADS_IN_FLIGHT: usize = 256;

/// In place of an incarnation: the script asks when a fork is due, before it writes anything.
const CLAIM_LATER: &str = "?";

/// In place of an incarnation: the fork is a failover.
const CLAIM_NOTHING: &str = "-";

/// Reads the head alone.
const HEAD: &str = "head";

/// Fields that one step of the sweep looks at.
const SWEEP_FIELDS: usize = 500;

/// Redis as a store. Cheap to clone; when the last clone is dropped, its connections end.
#[derive(Clone)]
pub struct RedisBroker(Arc<Shared>);

struct Shared {
    keys: Keys,
    clock: Option<ManualClock>,
    limits: Limits,
    nodes: Arc<Nodes>,
    /// Drawn at start; its probes are told from others' by it.
    process: String,
    tasks: TaskTracker,
    stop: CancellationToken,
    _stop_on_drop: DropGuard,
}

impl RedisBroker {
    /// Starts connecting, in tasks of the present tokio runtime, and returns at once. It never gives up: watch
    /// [`Probe::connected`](crate::Probe::connected).
    ///
    /// # Panics
    /// Outside a tokio runtime.
    pub fn connect(settings: &RedisSettings) -> Result<RedisBroker, RedisSettingsError> {
        RedisBroker::connect_within(settings, Limits::default())
    }

    pub(crate) fn connect_within(settings: &RedisSettings, limits: Limits) -> Result<RedisBroker, RedisSettingsError> {
        let (stop, tasks) = (CancellationToken::new(), TaskTracker::new());
        let nodes = Nodes::open(settings, &tasks, &stop)?;
        tasks.close();
        Ok(RedisBroker(Arc::new(Shared {
            keys: Keys::new(&settings.prefix),
            clock: settings.clock.clone(),
            limits,
            nodes,
            process: format!("{:016x}", rand::random::<u64>()),
            tasks,
            _stop_on_drop: stop.clone().drop_guard(),
            stop,
        })))
    }

    /// Ends the connections of all clones and waits until their tasks are gone. Calls fail from then on.
    pub async fn close(&self) {
        self.0.stop.cancel();
        self.0.tasks.wait().await;
        self.0.nodes.up.send_replace(false);
    }

    #[cfg(test)]
    pub(crate) fn what_is_wrong(&self) -> String {
        self.0.nodes.cluster().map(cluster::Cluster::what_is_wrong).unwrap_or_default()
    }

    #[cfg(test)]
    pub(crate) fn reaches_all(&self) -> bool {
        self.0.nodes.reaches_all()
    }

    /// What scripts get for a time: empty means the server's own.
    fn time(&self) -> String {
        self.0.clock.as_ref().map(|clock| clock.now_ms().to_string()).unwrap_or_default()
    }

    async fn call(&self, call: ScriptCall) -> Result<Value, CallError> {
        self.0.nodes.script(&call).await
    }

    async fn command(&self, key: &str, command: &Cmd) -> Result<Value, CallError> {
        self.0.nodes.command(key, command).await
    }

    async fn ask(&self, call: ScriptCall) -> Result<Value, ReadError> {
        self.call(call).await.map_err(read_error)
    }

    /// The projects that a set of an index names.
    async fn listed(&self, shard: u16, key: &str) -> Result<Vec<Project>, ReadError> {
        let members = self.command(key, cmd("SMEMBERS").arg(key)).await;
        let names = Vec::<String>::from_redis_value(members.map_err(read_error)?)
            .map_err(|error| ReadError::Malformed(error.to_string()))?;
        let parsed = names.iter().filter_map(|name| match name.parse() {
            Ok(project) => Some(project),
            Err(error) => {
                tracing::warn!(shard, name, %error, "the index holds something that is no project's name");
                None
            }
        });
        Ok(parsed.collect())
    }

    /// The answer, and beside it why an entry (the batch's, or a fork's) was not published.
    pub(crate) async fn append_told(&self, project: &Project, call: &AppendCall) -> Result<Told, CallError> {
        let mut claim = if self.0.nodes.cluster().is_some() { CLAIM_LATER } else { "" }.to_owned();
        let (answer, short) = loop {
            let script = self.append_call(project, call).arg(&claim);
            let (answer, short) = match call.wait.filter(|_| call.batch.is_some() || call.delete) {
                Some(wait) => {
                    let (answer, copies) = self.0.nodes.script_and_wait(script, wait).await?;
                    (answer, (copies < u64::from(wait.replicas)).then_some((copies, wait.replicas)))
                }
                None => (self.call(script).await?, None),
            };
            let Some(asked) = reply::claimable(&answer) else { break (answer, short) };
            // Nothing was written: this is the same sending, with the answer to what was asked.
            claim = self.claim(project, &asked).await;
        };
        let told = reply::answer(answer).map_err(|error| malformed(&error))?;
        let told = told.ok_or(CallError::Nothing(NothingWhy::OverShare))?;
        match short.filter(|_| told.answer.acknowledges()) {
            // It stands, and may be lost: for whoever asked, as good as no answer.
            Some((copies, wanted)) => Err(CallError::Unknown(format!("{copies} of {wanted} replicas have it"))),
            None => Ok(told),
        }
    }

    /// From where to where a fork of this log may be called a move (docs/log.md L8).
    async fn claim(&self, project: &Project, asked: &Claimable) -> String {
        let meta = self.0.keys.project(project).meta;
        let claims = match self.0.nodes.cluster() {
            Some(cluster) => cluster.gave_up(&meta, asked).await,
            None => false,
        };
        if claims { format!("{} {}", asked.opened_under, asked.here) } else { CLAIM_NOTHING.to_owned() }
    }

    /// Whether keys may be on another node than their slot's others.
    fn clustered(&self) -> u8 {
        u8::from(self.0.nodes.cluster().is_some())
    }

    fn append_call(&self, project: &Project, call: &AppendCall) -> ScriptCall {
        let keys = self.0.keys.project(project);
        let limits = &self.0.limits;
        let mut script = script::APPEND
            .call(&[&keys.log, &keys.meta, &keys.ids, &keys.state, &keys.guards])
            .arg(LOG_FORMAT)
            .arg(&*call.writer)
            .arg(call.number)
            .arg(call.branch.as_str())
            .arg(call.fresh.as_str())
            .arg(call.batch.as_ref().map_or(0, |batch| batch.count))
            .arg(call.batch.as_ref().map_or(&[][..], |batch| &batch.payload))
            .arg(call.dedupe.ms)
            .arg(call.dedupe.ids)
            .arg(self.0.keys.channel(project))
            .arg(self.0.nodes.subscriber.publishes())
            .arg(self.time())
            .arg(limits.producers_max)
            .arg(limits.ranges_max)
            .arg(limits.forks_max)
            .arg(ENTRY_BYTES_MAX)
            .arg(limits.tombstones_max)
            .arg(u8::from(call.delete && call.batch.is_none()))
            .arg(u8::from(call.wait.is_some()));
        let (ids, steps) = call.batch.as_ref().map_or((&[][..], &[][..]), |batch| (&batch.ids, &batch.producers));
        let deletions = call.batch.as_ref().map_or(&[][..], |batch| &batch.deletions);
        script = script.arg(ids.len());
        for (index, id) in ids {
            script = script.arg(index).arg(id);
        }
        script = script.arg(steps.len());
        for step in steps {
            script = script.arg(step.index).arg(&step.id).arg(step.epoch).arg(step.seq).arg(u8::from(step.may_jump));
        }
        script = script.arg(deletions.len());
        for SessionDeletion { index, session, was } in deletions {
            // Each behind a comma, as they follow the deletion's own position.
            let was = was.iter().fold(String::new(), |list, was| list + "," + &was.to_string());
            script = script.arg(index).arg(session).arg(was);
        }
        let guards = call.batch.as_ref().map_or(&[][..], |batch| &batch.guards);
        script = script.arg(guards.len()).arg(limits.guard_ms_max).arg(limits.guards_max);
        for GuardStep { index, key, until_ms, note } in guards {
            script = script.arg(index).arg(key).arg(until_ms).arg(note);
        }
        script
    }

    fn read_call(&self, project: &Project, mode: &str, bound: &str, bytes_max: usize) -> ScriptCall {
        let keys = self.0.keys.project(project);
        script::READ
            .call(&[&keys.log, &keys.meta, &keys.ids, &keys.state, &keys.guards])
            .arg(LOG_FORMAT)
            .arg(mode)
            .arg(bound)
            .arg(bytes_max)
            .arg(self.clustered())
            .counted_as(if mode == HEAD { Call::Heads } else { Call::Read })
    }

    fn checkpoint_call(&self, project: &Project, step: &CheckpointStep) -> ScriptCall {
        let keys = self.0.keys.project(project);
        let mut script = script::CHECKPOINT
            .call(&[&keys.log, &keys.meta, &keys.state])
            .arg(LOG_FORMAT)
            .arg(self.time())
            .arg(&step.incarnation)
            .arg(step.from.to_string())
            .arg(step.to.to_string())
            .arg(step.version)
            .arg(u8::from(step.hard))
            .arg(step.retention.events)
            .arg(step.retention.bytes)
            .arg(step.retention.age_ms)
            .arg(self.0.limits.trim_entries_max)
            .arg(self.0.limits.trim_bytes_max)
            .arg(self.0.limits.tombstone_ms)
            .arg(self.clustered())
            .arg(step.deletion.map(|position| position.to_string()).unwrap_or_default())
            .arg(step.fields.iter().filter(|(_, value)| value.is_some()).count());
        for (name, value) in &step.fields {
            if let Some(value) = value {
                script = script.arg(name).arg(&value[..]);
            }
        }
        for (name, _) in step.fields.iter().filter(|(_, value)| value.is_none()) {
            script = script.arg(name);
        }
        script
    }
}

fn malformed(error: &impl ToString) -> CallError {
    CallError::Unknown(error.to_string())
}

impl Log for RedisBroker {
    fn append(&self, project: Project, call: AppendCall) -> BoxFuture<'_, Result<Answer, CallError>> {
        async move {
            let Told { answer, publish_error } = self.append_told(&project, &call).await?;
            if let Some(error) = publish_error {
                tracing::warn!(%project, %error, "an entry was appended, but the publish failed");
            }
            Ok(answer)
        }
        .boxed()
    }

    fn read(&self, project: Project, span: Span, bytes_max: usize) -> BoxFuture<'_, Result<Page, ReadError>> {
        async move {
            let (mode, bound) = match span {
                Span::After(id) => ("after", id.to_string()),
                Span::Before(id) => ("before", id.to_string()),
                Span::Tail => ("tail", String::new()),
            };
            reply::page(self.ask(self.read_call(&project, mode, &bound, bytes_max)).await?)
        }
        .boxed()
    }

    fn heads(&self, projects: Vec<Project>) -> BoxFuture<'_, Vec<Result<Head, ReadError>>> {
        async move {
            // One script each: keys of different projects may lie on different nodes. The connection pipelines them.
            stream::iter(projects)
                .map(|project| self.ask(self.read_call(&project, HEAD, "", 0)))
                .buffered(HEADS_IN_FLIGHT)
                .map(|answer| reply::page_head(answer?))
                .collect()
                .await
        }
        .boxed()
    }

    fn checkpoint(&self, project: Project, step: CheckpointStep) -> BoxFuture<'_, Result<CheckpointAnswer, CallError>> {
        async move {
            let answer = self.call(self.checkpoint_call(&project, &step)).await?;
            reply::checkpoint(answer)
                .map_err(|error| malformed(&error))?
                .map_err(|format| CallError::Nothing(NothingWhy::Refusing(ReadError::NewerFormat(format).to_string())))
        }
        .boxed()
    }

    fn state(&self, project: Project, fields: Fields) -> BoxFuture<'_, Result<StateAt, ReadError>> {
        async move {
            let keys = self.0.keys.project(&project);
            let script = script::STATE
                .call(&[&keys.meta, &keys.state, &keys.log, &keys.ids, &keys.guards])
                .arg(LOG_FORMAT)
                .arg(self.clustered());
            let script = match &fields {
                Fields::All => script.arg("all"),
                Fields::Named(names) => script.arg("named").arg(names),
            };
            reply::state(self.ask(script).await?)
        }
        .boxed()
    }

    fn place(&self, project: &Project) -> u32 {
        self.0.nodes.place(&self.0.keys.project(project).meta)
    }

    fn subscribe(&self, project: Project, sink: Arc<dyn Sink>) -> BoxFuture<'_, Result<Subscription, ReadError>> {
        Arc::clone(&self.0.nodes.subscriber).subscribe(self.0.keys.channel(&project), sink).boxed()
    }
}

impl Index for RedisBroker {
    fn registry(&self) -> Arc<dyn crate::registry::Registry> {
        Arc::new(self.clone())
    }

    fn quotas(&self) -> Arc<dyn crate::quota::Quotas> {
        Arc::new(self.clone())
    }

    fn presences(&self) -> Arc<dyn crate::presence::Presences> {
        Arc::new(self.clone())
    }

    fn bookmarks(&self) -> Arc<dyn crate::bookmark::Bookmarks> {
        Arc::new(self.clone())
    }

    fn slips(&self) -> Arc<dyn crate::slip::Slips> {
        Arc::new(self.clone())
    }

    fn fleet(&self) -> Arc<dyn crate::fleet::Fleet> {
        Arc::new(self.clone())
    }

    fn hooks(&self) -> Arc<dyn crate::hooks::Hooks> {
        Arc::new(self.clone())
    }

    fn inboxes(&self) -> Arc<dyn crate::inbox::Inboxes> {
        Arc::new(self.clone())
    }

    fn enter(&self, project: Project) -> BoxFuture<'_, Result<(), CallError>> {
        async move {
            let key = self.0.keys.index(crate::index::shard_of(&project));
            self.command(&key, cmd("SADD").arg(&key).arg(project.as_str())).await.map(drop)
        }
        .boxed()
    }

    fn projects(&self, shard: u16) -> BoxFuture<'_, Result<Vec<Project>, ReadError>> {
        async move { self.listed(shard, &self.0.keys.index(shard)).await }.boxed()
    }

    fn lease(&self, shard: u16, owner: String, ttl_ms: u64) -> BoxFuture<'_, Result<bool, CallError>> {
        async move {
            let call = script::LEASE.call(&[&self.0.keys.lease(shard)]);
            let answer = self.call(call.arg(self.time()).arg(owner).arg(ttl_ms.max(1))).await?;
            bool::from_redis_value(answer).map_err(|error| call_error(&error.into()))
        }
        .boxed()
    }

    fn sweep(&self, project: Project, writers_ms: u64, producers_ms: u64) -> BoxFuture<'_, Result<(), CallError>> {
        async move {
            let keys = self.0.keys.project(&project);
            for which in ["meta", "guards"] {
                let mut cursor = "0".to_owned();
                loop {
                    let step = script::SWEEP.call(&[&keys.meta, &keys.guards]).arg(LOG_FORMAT).arg(self.time());
                    let step = step.arg(writers_ms).arg(producers_ms).arg(&cursor).arg(SWEEP_FIELDS).arg(which);
                    let next = String::from_redis_value(self.call(step).await?);
                    cursor = next.map_err(|error| call_error(&error.into()))?;
                    if cursor == "0" {
                        break;
                    }
                }
            }
            Ok(())
        }
        .boxed()
    }

    fn held_bytes(&self, projects: Vec<Project>) -> BoxFuture<'_, Vec<Result<u64, ReadError>>> {
        async move {
            stream::iter(projects)
                .map(|project| async move {
                    let (meta, mut ask) = (self.0.keys.project(&project).meta, cmd("HMGET"));
                    ask.arg(&meta).arg(&["format", "bytes", "trimmed_bytes"]);
                    reply::held_bytes(self.command(&meta, &ask).await.map_err(read_error)?)
                })
                .buffered(HEADS_IN_FLIGHT)
                .collect()
                .await
        }
        .boxed()
    }

    fn refuse(&self, project: Project, for_ms: u64) -> BoxFuture<'_, Result<(), CallError>> {
        async move {
            let keys = self.0.keys.project(&project);
            let call = script::REFUSE.call(&[&keys.log, &keys.meta]).arg(LOG_FORMAT).arg(self.time());
            let call = call.arg(for_ms).arg(self.clustered());
            self.call(call).await.map(drop)
        }
        .boxed()
    }
}
