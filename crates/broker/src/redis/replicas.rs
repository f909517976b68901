//! Calls whose answers wait for replicas (docs/log.md L11), on connections of their own.
//!
//! `WAIT` asks for the newest write of its own connection, and holds up everything behind it. So what comes while one is
//! under way is gathered, and sent as one group with one `WAIT` behind all of it: a wait costs the same for one project as
//! for a thousand. Each number of replicas has its own connection, opened when it is first asked for: who asks for more
//! replicas than there are waits in vain with its like alone, and holds up nobody else. Within a number it is first come,
//! first sent.
//!
//! What waits here is bounded in number, bytes and time. Whoever does not fit, or is not sent in time, hears
//! [`NothingWhy::Busy`]: it never left this process. A call whose future is dropped before it was sent is not sent.

use std::collections::{BTreeMap, VecDeque};
use std::sync::Arc;
use std::time::Duration;

use ::redis::aio::MultiplexedConnection;
use ::redis::{Cmd, FromRedisValue as _, RedisResult, Value, pipe};
use parking_lot::Mutex;
use tokio::sync::{Notify, oneshot};
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

use super::errors::call_error;
use super::link::{Commands, Opener};
use super::script::ScriptCall;
use crate::{CallError, NothingWhy, Wait};

#[cfg(test)]
mod tests;

/// How much may wait.
#[derive(Debug, Clone, Copy)]
struct Bounds {
    /// Numbers of replicas that have a connection at a time.
    lanes: usize,
    /// Calls that wait to be sent, per number.
    queued_calls: usize,
    /// Their bytes.
    queued_bytes: usize,
    /// Calls that go out together.
    group_calls: usize,
    /// Their bytes: the store's answers to them must come within its time-out.
    group_bytes: usize,
    /// Longest time that a call waits to be sent.
    patience: Duration,
    /// A connection that nobody used for so long is closed.
    idle: Duration,
}

impl Bounds {
    fn new(response_timeout: Duration) -> Bounds {
        Bounds {
            lanes: 16,
            queued_calls: 8_192,
            queued_bytes: 64 << 20,
            group_calls: 1_024,
            group_bytes: 4 << 20,
            patience: response_timeout,
            idle: Duration::from_mins(1),
        }
    }
}

/// Waiting calls to one node. Cheap to clone.
#[derive(Clone)]
pub(super) struct Replicas(Arc<Shared>);

struct Shared {
    opener: Opener,
    bounds: Bounds,
    tasks: TaskTracker,
    stop: CancellationToken,
    lanes: Mutex<BTreeMap<u32, Arc<Lane>>>,
}

/// The calls that wait for the same number of replicas.
struct Lane {
    replicas: u32,
    queue: Mutex<Queue>,
    news: Notify,
}

#[derive(Default)]
struct Queue {
    jobs: VecDeque<Job>,
    bytes: usize,
    next: u64,
}

/// A call that was not sent yet.
struct Job {
    id: u64,
    script: ScriptCall,
    bytes: usize,
    timeout_ms: u64,
    reply: oneshot::Sender<Answered>,
}

/// A call's answer, and how many replicas have what its connection wrote.
type Answered = Result<(Value, u64), CallError>;

impl Replicas {
    /// Waiting calls over connections that `opener` opens. Their tasks are counted in `tasks` and end with `stop`.
    pub(super) fn new(opener: Opener, tasks: TaskTracker, stop: CancellationToken) -> Replicas {
        let bounds = Bounds::new(opener.response_timeout);
        Replicas::within(bounds, opener, tasks, stop)
    }

    fn within(bounds: Bounds, opener: Opener, tasks: TaskTracker, stop: CancellationToken) -> Replicas {
        Replicas(Arc::new(Shared { opener, bounds, tasks, stop, lanes: Mutex::default() }))
    }

    /// Calls a script and waits behind it: its answer, and how many replicas have what was written. The wait lasts as long
    /// as the longest of those that it goes out with.
    pub(super) async fn call(&self, script: ScriptCall, wait: Wait) -> Result<(Value, u64), CallError> {
        let (waiting, mut answer) = self.enter(script, wait)?;
        match tokio::time::timeout(self.0.bounds.patience, &mut answer).await {
            Ok(answered) => return answered.unwrap_or_else(|_| gone()),
            Err(_) if waiting.withdraw() => return Err(CallError::Nothing(NothingWhy::Busy)),
            Err(_) => {}
        }
        // It was sent in the meantime: only its answer says what became of it.
        answer.await.unwrap_or_else(|_| gone())
    }

    /// Puts a call in its queue.
    fn enter(&self, script: ScriptCall, wait: Wait) -> Result<(Waiting, oneshot::Receiver<Answered>), CallError> {
        let Shared { bounds, stop, .. } = &*self.0;
        if stop.is_cancelled() {
            return Err(CallError::Nothing(NothingWhy::Away));
        }
        let mut lanes = self.0.lanes.lock();
        if !lanes.contains_key(&wait.replicas) && lanes.len() >= bounds.lanes {
            return Err(CallError::Nothing(NothingWhy::Busy));
        }
        let lane = Arc::clone(lanes.entry(wait.replicas).or_insert_with(|| self.open(wait.replicas)));
        let (reply, answer) = oneshot::channel();
        // ORDER: under the lock of the lanes, so that this one does not close in between.
        let id = lane.queue.lock().push(bounds, script, wait.timeout_ms, reply)?;
        drop(lanes);
        lane.news.notify_one();
        Ok((Waiting { lane, id }, answer))
    }

    fn open(&self, replicas: u32) -> Arc<Lane> {
        let lane = Arc::new(Lane { replicas, queue: Mutex::default(), news: Notify::new() });
        let (mine, served) = (self.clone(), Arc::clone(&lane));
        self.0.tasks.spawn(async move { mine.run(&served).await });
        lane
    }

    /// Keeps a lane's connection and serves its calls, until the end or until nobody asks for long.
    async fn run(&self, lane: &Lane) {
        let commands = Commands::waiting(self.0.opener.clone());
        let ended = self.0.stop.child_token();
        let (connecting, serving) = (commands.run(ended.clone()), async {
            ended.run_until_cancelled(self.serve(lane, &commands)).await;
            ended.cancel();
        });
        tokio::join!(connecting, serving);
        lane.queue.lock().refuse(&NothingWhy::Away);
    }

    async fn serve(&self, lane: &Lane, commands: &Commands) {
        loop {
            if lane.queue.lock().jobs.is_empty() {
                let news = tokio::time::timeout(self.0.bounds.idle, lane.news.notified()).await;
                if news.is_err() && self.close(lane) {
                    return;
                }
                continue;
            }
            let mut up = commands.up.subscribe();
            let link = up.wait_for(|up| *up);
            if tokio::time::timeout(self.0.opener.connect_timeout, link).await.is_err() {
                lane.queue.lock().refuse(&NothingWhy::Away);
                continue;
            }
            let Ok(connection) = commands.current() else {
                // Lost this very moment: the one that keeps it has the next turn.
                tokio::task::yield_now().await;
                continue;
            };
            let group = lane.queue.lock().group(&self.0.bounds);
            Group { jobs: group, replicas: lane.replicas, connection }.send().await;
        }
    }

    /// Takes the lane out, unless somebody came.
    fn close(&self, lane: &Lane) -> bool {
        let mut lanes = self.0.lanes.lock();
        let empty = lane.queue.lock().jobs.is_empty();
        if empty {
            lanes.remove(&lane.replicas);
        }
        empty
    }
}

impl Queue {
    fn push(
        &mut self,
        bounds: &Bounds,
        script: ScriptCall,
        timeout_ms: u64,
        reply: oneshot::Sender<Answered>,
    ) -> Result<u64, CallError> {
        let bytes = script.bytes();
        if self.jobs.len() >= bounds.queued_calls || self.bytes.saturating_add(bytes) > bounds.queued_bytes {
            return Err(CallError::Nothing(NothingWhy::Busy));
        }
        let id = self.next;
        self.next += 1;
        self.bytes += bytes;
        self.jobs.push_back(Job { id, script, bytes, timeout_ms, reply });
        Ok(id)
    }

    /// The oldest ones that may go out together, at least one.
    fn group(&mut self, bounds: &Bounds) -> Vec<Job> {
        let (mut group, mut bytes) = (Vec::new(), 0);
        while let Some(job) = self.jobs.front() {
            bytes += job.bytes;
            if group.len() >= bounds.group_calls || (bytes > bounds.group_bytes && !group.is_empty()) {
                break;
            }
            self.bytes -= job.bytes;
            group.extend(self.jobs.pop_front());
        }
        group
    }

    /// Takes a call out; false: it is not here any more.
    fn remove(&mut self, id: u64) -> bool {
        // Ids grow along the queue.
        let Ok(at) = self.jobs.binary_search_by_key(&id, |job| job.id) else { return false };
        let job = self.jobs.remove(at);
        self.bytes -= job.map_or(0, |job| job.bytes);
        true
    }

    fn refuse(&mut self, why: &NothingWhy) {
        self.bytes = 0;
        for job in self.jobs.drain(..) {
            job.answer(Err(CallError::Nothing(why.clone())));
        }
    }
}

/// A caller's place in the queue; it leaves it when dropped.
struct Waiting {
    lane: Arc<Lane>,
    id: u64,
}

impl Waiting {
    /// False: it was sent.
    fn withdraw(&self) -> bool {
        self.lane.queue.lock().remove(self.id)
    }
}

impl Drop for Waiting {
    fn drop(&mut self) {
        self.withdraw();
    }
}

/// Calls that go out together.
struct Group {
    jobs: Vec<Job>,
    replicas: u32,
    connection: MultiplexedConnection,
}

impl Group {
    /// Sends the calls with one wait behind them, and hands out the answers; what the server does not know by its hash
    /// goes out again with its source.
    async fn send(mut self) {
        let unknown = self.round(ScriptCall::by_hash, true).await;
        if !unknown.is_empty() {
            self.jobs = unknown;
            self.round(ScriptCall::by_source, false).await;
        }
    }

    /// Those that the server did not know, unless they are of the last round.
    async fn round(&mut self, command: impl Fn(&ScriptCall) -> Cmd, again: bool) -> Vec<Job> {
        let jobs = std::mem::take(&mut self.jobs);
        let mut pipeline = pipe();
        for job in &jobs {
            if job.script.is_asking() {
                pipeline.cmd("ASKING");
            }
            pipeline.add_command(command(&job.script));
        }
        let timeout_ms = jobs.iter().map(|job| job.timeout_ms).max().unwrap_or(1);
        pipeline.cmd("WAIT").arg(self.replicas).arg(timeout_ms);
        let asking = jobs.iter().filter(|job| job.script.is_asking()).count();
        let answers = self.connection.send_packed_commands(&pipeline, 0, jobs.len() + asking + 1).await;
        let mut answers = match answers {
            Ok(answers) => answers.into_iter(),
            Err(error) => {
                let failed = call_error(&error);
                for job in jobs {
                    job.answer(Err(failed.clone()));
                }
                return Vec::new();
            }
        };
        let of_job = |job: &Job| answers.nth(usize::from(job.script.is_asking())).unwrap_or(Value::Nil);
        let scripts: Vec<Value> = jobs.iter().map(of_job).collect();
        let copies =
            answers.next().unwrap_or(Value::Nil).extract_error().and_then(|copies| Ok(u64::from_redis_value(copies)?));
        let mut unknown = Vec::new();
        for (job, answer) in jobs.into_iter().zip(scripts) {
            match answer.extract_error() {
                Ok(answer) => job.answer(waited(answer, &copies)),
                Err(error) if again && error.code() == Some("NOSCRIPT") => unknown.push(job),
                Err(error) => job.answer(Err(call_error(&error))),
            }
        }
        unknown
    }
}

impl Job {
    fn answer(self, answer: Answered) {
        // Who does not listen any more needs no answer.
        let _ = self.reply.send(answer);
    }
}

/// The answer of a script that ran, by what became of the wait behind it.
fn waited(answer: Value, copies: &RedisResult<u64>) -> Answered {
    match copies {
        Ok(copies) => Ok((answer, *copies)),
        // Whatever the wait was refused for, the script has written.
        Err(error) => Err(CallError::Unknown(error.to_string())),
    }
}

/// The task that had the call ended.
fn gone() -> Answered {
    Err(CallError::Unknown("the connection was given up".into()))
}
