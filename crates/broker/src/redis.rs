//! The store on one Redis (or Valkey) node. The only place that names the `redis` crate.
//!
//! Every atomic step is a Lua script in `lua/`; docs/redis-keyspace.md describes keys and fields. Commands go over one
//! supervised connection, messages come over another. Both are opened, and opened again, in the background: a broker
//! exists at once, and while Redis is away every call says so.

mod errors;
mod keys;
mod link;
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
mod subscriber;

use std::sync::{Arc, OnceLock};

use ::redis::{FromRedisValue as _, Value, cmd};
use futures_util::StreamExt as _;
use futures_util::future::{BoxFuture, FutureExt as _};
use futures_util::stream;
use tidings_protocol::entry::ENTRY_BYTES_MAX;
use tidings_protocol::head::{Head, LOG_FORMAT};
use tidings_protocol::project::Project;
use tokio::sync::watch;
use tokio_util::sync::{CancellationToken, DropGuard};
use tokio_util::task::TaskTracker;

pub use settings::{Account, Certificates, RedisSettings, RedisSettingsError};

use crate::clock::ManualClock;
use crate::limits::Limits;
use crate::{
    Answer, AppendCall, CallError, CheckpointAnswer, CheckpointStep, Fields, Index, Log, MemoryUse, NothingWhy, Page,
    Probe, ReadError, SessionDeletion, Sink, Span, StateAt, Subscription,
};
use errors::{call_error, read_error};
use keys::Keys;
use link::{Commands, Opener};
use probe::Probes;
use replicas::Replicas;
pub(crate) use reply::Told;
use script::ScriptCall;
use subscriber::Subscriber;

/// The command that publishes: `SPUBLISH` will be a cluster's.
const PUBLISH: &str = "PUBLISH";

/// Heads asked for at once.
const HEADS_IN_FLIGHT: usize = 256;

/// Fields that one step of the sweep looks at.
const SWEEP_FIELDS: usize = 500;

/// Redis as a store. Cheap to clone; when the last clone is dropped, its connections end.
#[derive(Clone)]
pub struct RedisBroker(Arc<Shared>);

struct Shared {
    keys: Keys,
    clock: Option<ManualClock>,
    limits: Limits,
    commands: Arc<Commands>,
    /// Opened when a call first waits for replicas.
    replicas: OnceLock<Replicas>,
    subscriber: Arc<Subscriber>,
    probes: Arc<Probes>,
    probe_channel: String,
    connected: watch::Sender<bool>,
    tasks: TaskTracker,
    stop: CancellationToken,
    _stop_on_drop: DropGuard,
}

impl RedisBroker {
    /// Starts connecting, in tasks of the present tokio runtime, and returns at once. It never gives up: watch
    /// [`Probe::connected`].
    ///
    /// # Panics
    /// Outside a tokio runtime.
    pub fn connect(settings: &RedisSettings) -> Result<RedisBroker, RedisSettingsError> {
        RedisBroker::connect_within(settings, Limits::default())
    }

    pub(crate) fn connect_within(settings: &RedisSettings, limits: Limits) -> Result<RedisBroker, RedisSettingsError> {
        let opener = Opener::new(settings)?;
        let keys = Keys::new(&settings.prefix);
        let commands = Arc::new(Commands::new(opener.clone()));
        let subscriber = Subscriber::new(opener);
        let (probes, process) = (Arc::new(Probes::default()), format!("{:016x}", rand::random::<u64>()));
        let probe_channel = keys.probe(&process);
        let sink: Arc<dyn Sink> = Arc::<Probes>::clone(&probes);
        subscriber.want(&probe_channel, sink);

        let (stop, tasks) = (CancellationToken::new(), TaskTracker::new());
        let connected = watch::Sender::new(false);
        let of_sentinels = commands.opener.clone();
        let stopped = stop.clone();
        tasks.spawn(stopped.run_until_cancelled_owned(async move { of_sentinels.ask_sentinels().await }));
        let of_commands = Arc::clone(&commands);
        let stopped = stop.clone();
        tasks.spawn(async move { of_commands.run(stopped).await });
        tasks.spawn(Arc::clone(&subscriber).run(stop.clone()));
        let both = join(commands.up.subscribe(), subscriber.up.subscribe(), connected.clone());
        let stopped = stop.clone();
        tasks.spawn(stopped.run_until_cancelled_owned(both));
        tasks.close();

        Ok(RedisBroker(Arc::new(Shared {
            keys,
            clock: settings.clock.clone(),
            limits,
            commands,
            replicas: OnceLock::new(),
            subscriber,
            probes,
            probe_channel,
            connected,
            tasks,
            _stop_on_drop: stop.clone().drop_guard(),
            stop,
        })))
    }

    /// Ends the connections of all clones and waits until their tasks are gone. Calls fail from then on.
    pub async fn close(&self) {
        self.0.stop.cancel();
        self.0.tasks.wait().await;
        self.0.connected.send_replace(false);
    }

    /// What scripts get for a time: empty means the server's own.
    fn time(&self) -> String {
        self.0.clock.as_ref().map(|clock| clock.now_ms().to_string()).unwrap_or_default()
    }

    async fn call(&self, call: ScriptCall) -> Result<Value, CallError> {
        self.0.commands.script(&call).await
    }

    async fn ask(&self, call: ScriptCall) -> Result<Value, ReadError> {
        self.call(call).await.map_err(read_error)
    }

    /// The answer, and beside it why an entry (the batch's, or a fork's) was not published.
    pub(crate) async fn append_told(&self, project: &Project, call: &AppendCall) -> Result<Told, CallError> {
        let script = self.append_call(project, call);
        let (answer, short) = match call.wait.filter(|_| call.batch.is_some() || call.delete) {
            Some(wait) => {
                let (answer, copies) = self.replicas().call(&script, wait).await?;
                (answer, (copies < u64::from(wait.replicas)).then_some((copies, wait.replicas)))
            }
            None => (self.call(script).await?, None),
        };
        let told = reply::answer(answer).map_err(|error| malformed(&error))?;
        let told = told.ok_or(CallError::Nothing(NothingWhy::OverShare))?;
        match short.filter(|_| told.answer.acknowledges()) {
            // It stands, and may be lost: for whoever asked, as good as no answer.
            Some((copies, wanted)) => Err(CallError::Unknown(format!("{copies} of {wanted} replicas have it"))),
            None => Ok(told),
        }
    }

    fn replicas(&self) -> &Replicas {
        self.0.replicas.get_or_init(|| {
            let commands = Arc::new(Commands::new(self.0.commands.opener.clone()));
            let (running, stop) = (Arc::clone(&commands), self.0.stop.clone());
            self.0.tasks.spawn(async move { running.run(stop).await });
            Replicas::new(commands)
        })
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
            .arg(PUBLISH)
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
        script
    }

    fn read_call(&self, project: &Project, mode: &str, bound: &str, bytes_max: usize) -> ScriptCall {
        let keys = self.0.keys.project(project);
        script::READ.call(&[&keys.log, &keys.meta]).arg(LOG_FORMAT).arg(mode).arg(bound).arg(bytes_max)
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

/// Both links up, or not.
async fn join(mut commands: watch::Receiver<bool>, mut subscriber: watch::Receiver<bool>, both: watch::Sender<bool>) {
    loop {
        let now = *commands.borrow_and_update() && *subscriber.borrow_and_update();
        both.send_if_modified(|was| std::mem::replace(was, now) != now);
        let changed = tokio::select! {
            changed = commands.changed() => changed,
            changed = subscriber.changed() => changed,
        };
        if changed.is_err() {
            return;
        }
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
                .map(|project| self.ask(self.read_call(&project, "head", "", 0)))
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
            let script = script::STATE.call(&[&keys.meta, &keys.state]).arg(LOG_FORMAT);
            let script = match &fields {
                Fields::All => script.arg("all"),
                Fields::Named(names) => script.arg("named").arg(names),
            };
            reply::state(self.ask(script).await?)
        }
        .boxed()
    }

    fn subscribe(&self, project: Project, sink: Arc<dyn Sink>) -> BoxFuture<'_, Result<Subscription, ReadError>> {
        Arc::clone(&self.0.subscriber).subscribe(self.0.keys.channel(&project), sink).boxed()
    }
}

impl Index for RedisBroker {
    fn registry(&self) -> Arc<dyn crate::registry::Registry> {
        Arc::new(self.clone())
    }

    fn quotas(&self) -> Arc<dyn crate::quota::Quotas> {
        Arc::new(self.clone())
    }

    fn enter(&self, project: Project) -> BoxFuture<'_, Result<(), CallError>> {
        async move {
            let key = self.0.keys.index(crate::index::shard_of(&project));
            self.0.commands.command(cmd("SADD").arg(key).arg(project.as_str())).await.map(drop)
        }
        .boxed()
    }

    fn projects(&self, shard: u16) -> BoxFuture<'_, Result<Vec<Project>, ReadError>> {
        async move {
            let members = self.0.commands.command(cmd("SMEMBERS").arg(self.0.keys.index(shard))).await;
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
        .boxed()
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
            let mut cursor = "0".to_owned();
            loop {
                let step = script::SWEEP.call(&[&keys.meta]).arg(LOG_FORMAT).arg(self.time());
                let step = step.arg(writers_ms).arg(producers_ms).arg(&cursor).arg(SWEEP_FIELDS);
                cursor = String::from_redis_value(self.call(step).await?).map_err(|error| call_error(&error.into()))?;
                if cursor == "0" {
                    return Ok(());
                }
            }
        }
        .boxed()
    }

    fn held_bytes(&self, projects: Vec<Project>) -> BoxFuture<'_, Vec<Result<u64, ReadError>>> {
        async move {
            stream::iter(projects)
                .map(|project| async move {
                    let mut ask = cmd("HMGET");
                    ask.arg(self.0.keys.project(&project).meta).arg(&["format", "bytes", "trimmed_bytes"]);
                    reply::held_bytes(self.0.commands.command(&ask).await.map_err(read_error)?)
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
            let call = script::REFUSE.call(&[&keys.log, &keys.meta]).arg(LOG_FORMAT).arg(self.time()).arg(for_ms);
            self.call(call).await.map(drop)
        }
        .boxed()
    }
}

impl Probe for RedisBroker {
    fn probe(&self) -> BoxFuture<'_, Result<(), ReadError>> {
        async move {
            let links =
                [(&self.0.commands.up, &self.0.commands.trouble), (&self.0.subscriber.up, &self.0.subscriber.trouble)];
            if let Some((_, trouble)) = links.into_iter().find(|(up, _)| !*up.borrow()) {
                return Err(ReadError::Away(trouble.get()));
            }
            let wait = self.0.probes.begin();
            let publish = cmd(PUBLISH).arg(&self.0.probe_channel).arg(wait.nonce).to_owned();
            self.0.commands.command(&publish).await.map_err(read_error)?;
            if wait.heard().await { Ok(()) } else { Err(ReadError::Away("the subscriber connection broke".into())) }
        }
        .boxed()
    }

    fn connected(&self) -> watch::Receiver<bool> {
        self.0.connected.subscribe()
    }

    fn memory(&self) -> BoxFuture<'_, Result<MemoryUse, ReadError>> {
        async move { reply::memory(self.0.commands.command(cmd("INFO").arg("memory")).await.map_err(read_error)?) }
            .boxed()
    }
}
