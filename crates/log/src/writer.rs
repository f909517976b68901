//! The write side of a log (docs/log.md L5, L6, L7, and the writer's part of L9).
//!
//! [`Writers`] takes events for any project and answers with what became of each. Per project one task drives a pure
//! [`machine::Machine`]: numbers that only grow, one call in flight, group commit, and patience with outcomes that are not
//! known. What waits is bounded in bytes, per project and in all; what does not fit is refused, never dropped.
//!
//! What was acknowledged is kept for a while and put back when a failover took it ([`Writers::watch`]); what has left memory
//! by then is told with a `gap` event. It does not validate events.

pub mod budget;
mod draw;
mod item;
mod lane;
pub mod machine;
pub mod metrics;
mod probe;
mod waiting;
mod waits;

#[cfg(test)]
mod tests;

use std::collections::HashMap;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, OnceLock};
use std::time::{Duration, SystemTime};

use parking_lot::Mutex;
use tidings_broker::{Broker, DedupeWindow, ReadError, Wait};
use tidings_protocol::position::Position;
use tidings_protocol::project::Project;
use tidings_protocol::wire;
use tokio::sync::{oneshot, watch};
use tokio::time::Instant;
use tokio_util::task::TaskTracker;

use crate::janitor::Activity;
use budget::{Budget, Commons, Share};
use draw::deletion_event;
pub use item::{Item, Jumps, Slot};
use lane::{Lane, Request};
pub use machine::{Failure, Outcome};
use machine::{Keep, Machine};
pub use metrics::Metrics;
use probe::Sightings;
pub use waits::Waits;

/// How long a request waits for its answer unless its caller says otherwise.
pub const DEADLINE: Duration = Duration::from_secs(10);

/// Past the store's own time limit, before an answer counts as lost.
const ANSWER_SLACK: Duration = Duration::from_secs(1);

/// One in so many writers is forgotten when there are as many as may be.
const FORGOTTEN_PART: usize = 16;

/// Settings of the writers.
#[derive(Debug, Clone, Copy)]
pub struct Settings {
    /// How long and how many ids are remembered.
    pub dedupe: DedupeWindow,
    /// The replicas that what is acknowledged waits for (docs/log.md L11), unless [`Writers::with_waits`] is told
    /// otherwise.
    pub wait: Option<Wait>,
    /// Bytes that may wait in one project.
    pub project_bytes_max: usize,
    /// A sending without an answer is unknown after this time. Longer than the store itself takes to say so: see
    /// [`Settings::answer_within`].
    pub answer_max: Duration,
    /// Projects whose writers are remembered; above it idle ones are forgotten, and with them what they acknowledged.
    pub projects_max: usize,
    /// How long what was acknowledged is kept to be put back after a fork (docs/log.md L9).
    pub healing_time: Duration,
    /// Bytes that are kept to be put back, in all projects; one may take three quarters of them. When they get short, the
    /// oldest of those leave who keep more than an even part.
    pub healing_bytes_max: usize,
}

impl Default for Settings {
    fn default() -> Settings {
        Settings {
            dedupe: DedupeWindow::default(),
            wait: None,
            project_bytes_max: 16 * 1024 * 1024,
            answer_max: Duration::from_secs(5),
            projects_max: 65_536,
            healing_time: Duration::from_mins(1),
            healing_bytes_max: 64 * 1024 * 1024,
        }
    }
}

impl Settings {
    /// The same for a store that itself calls an answer overdue after `response_timeout`: it is left the time to.
    #[must_use]
    pub fn answer_within(self, response_timeout: Duration) -> Settings {
        Settings { answer_max: self.answer_max.max(response_timeout.saturating_add(ANSWER_SLACK)), ..self }
    }
}

/// When the store was called for a request: the call that settled the last of its events.
#[derive(Debug, Default)]
pub struct Called(OnceLock<(SystemTime, SystemTime)>);

impl Called {
    /// First sending and answer; none: no call was answered.
    pub fn times(&self) -> Option<(SystemTime, SystemTime)> {
        self.0.get().copied()
    }

    fn set(&self, sent_at: Instant) {
        let now = SystemTime::now();
        let _ = self.0.set((now - sent_at.elapsed(), now));
    }
}

/// How one request is to be taken.
#[derive(Debug, Clone, Copy)]
pub struct Options {
    /// When the caller must have its answer.
    pub deadline: Instant,
    /// Which steps of producers may skip numbers, by what earlier parts of a streamed request said.
    pub jumps: Jumps,
}

impl Options {
    /// The usual deadline from now, and no jumps.
    pub fn new() -> Options {
        Options { deadline: Instant::now() + DEADLINE, jumps: Jumps::default() }
    }
}

impl Default for Options {
    fn default() -> Options {
        Options::new()
    }
}

/// A request that did not get an answer for each of its events.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{why}")]
pub struct SubmitError {
    /// Why those without a result have none.
    pub why: Failure,
    /// What became of each event, as far as that is known.
    pub results: Vec<Option<Outcome>>,
}

/// The writers of a process, one per project. Cheap to clone.
#[derive(Clone)]
pub struct Writers {
    shared: Arc<Shared>,
}

struct Shared {
    broker: Arc<dyn Broker>,
    connected: watch::Receiver<bool>,
    writer: Arc<str>,
    settings: Settings,
    waits: Arc<dyn Waits>,
    metrics: Metrics,
    tasks: TaskTracker,
    draining: AtomicBool,
    total: Arc<Budget>,
    /// Bytes kept to be put back.
    kept: Arc<Commons>,
    activity: Activity,
    lanes: Mutex<HashMap<Project, Arc<Entry>, foldhash::fast::RandomState>>,
    sightings: Sightings,
    /// No forgotten writer used a higher number.
    number_floor: AtomicU64,
    began: Instant,
}

/// A lane and its budget.
struct Entry {
    lane: Arc<Lane>,
    budget: Arc<Budget>,
}

impl Shared {
    fn is_connected(&self) -> bool {
        *self.connected.borrow()
    }

    fn is_draining(&self) -> bool {
        self.draining.load(Ordering::Relaxed)
    }

    /// The machines' clock.
    fn now(&self) -> Duration {
        self.began.elapsed()
    }

    /// A machine whose numbers begin above `number`.
    fn machine(&self, writer: Arc<str>, number: u64) -> Machine {
        let Settings { dedupe, healing_time, healing_bytes_max, .. } = self.settings;
        let keep = Keep { time: healing_time, bytes_max: healing_bytes_max / 4 * 3, total: self.kept.clone() };
        Machine::new(writer, number, dedupe, keep)
    }
}

impl Writers {
    /// Writers on this store, under a writer id of their own. What waits in all projects together counts against `total`,
    /// which the caller may share. `activity` hears of every append.
    pub fn new(
        broker: Arc<dyn Broker>,
        settings: Settings,
        total: Arc<Budget>,
        activity: Activity,
        metrics: Metrics,
    ) -> Writers {
        Writers::with_waits(broker, settings, Arc::new(settings.wait), total, activity, metrics)
    }

    /// The same; each project's acknowledgements wait for what `waits` says. Requests that are written together wait
    /// for what was said last.
    pub fn with_waits(
        broker: Arc<dyn Broker>,
        settings: Settings,
        waits: Arc<dyn Waits>,
        total: Arc<Budget>,
        activity: Activity,
        metrics: Metrics,
    ) -> Writers {
        let shared = Shared {
            connected: broker.connected(),
            broker,
            writer: draw::writer_id(),
            settings,
            waits,
            metrics,
            tasks: TaskTracker::new(),
            draining: AtomicBool::new(false),
            total,
            kept: Commons::new(settings.healing_bytes_max),
            activity,
            lanes: Mutex::default(),
            sightings: Sightings::default(),
            number_floor: AtomicU64::new(0),
            began: Instant::now(),
        };
        Writers { shared: Arc::new(shared) }
    }

    /// The store that they write to.
    pub fn broker(&self) -> &Arc<dyn Broker> {
        &self.shared.broker
    }

    /// Appends events in this order, each once however often it is submitted under the same id, and tells what became of
    /// each, in the same order. Not atomic: when it fails, some may have been appended; the error says which are known to.
    /// `Ok` may hold refusals of single events ([`Outcome::OutOfSequence`], [`Outcome::Fenced`]).
    ///
    /// Dropping the future does not take the events back.
    pub async fn submit(
        &self,
        project: &Project,
        events: impl AsRef<[wire::Event]>,
        options: Options,
    ) -> Result<Vec<Outcome>, SubmitError> {
        self.submit_timed(project, events, options, None).await
    }

    /// As [`Writers::submit`], and tells `called` when the store was called, for traces.
    pub async fn submit_timed(
        &self,
        project: &Project,
        events: impl AsRef<[wire::Event]>,
        options: Options,
        called: Option<Arc<Called>>,
    ) -> Result<Vec<Outcome>, SubmitError> {
        let shared = &self.shared;
        let count = events.as_ref().len();
        let refuse = |why| Err(SubmitError { why, results: vec![None; count] });
        if count == 0 {
            return Ok(Vec::new());
        }
        // ORDER: before the look whether the process drains, behind which nothing may wait: a drain would not see it.
        let wait = shared.waits.of(project).await;
        if shared.is_draining() {
            return refuse(Failure::Draining);
        }
        let entry = self.entry(project);
        // A store that is known to be away is said so at once, unless a call is already waiting for it to come back.
        if !shared.is_connected() && entry.lane.is_parked() {
            return refuse(Failure::Away);
        }
        let mut jumps = options.jumps;
        let items: Vec<Item> = (0..)
            .zip(events.as_ref())
            .map(|(index, event)| Item::new(event, Slot { request: 0, index }, jumps.allows(event)))
            .collect();
        // Given by value, they are held encoded alone from here on.
        drop(events);
        let weight = items.iter().map(Item::weight).sum();
        let Some(share) = Share::take([&entry.budget, &shared.total], weight, &shared.metrics.waiting_bytes) else {
            shared.metrics.busy.inc();
            return refuse(Failure::Busy);
        };
        let (reply, answer) = oneshot::channel();
        if let Some(parked) = entry.lane.push(Request { items, wait, deadline: options.deadline, reply, called, share })
        {
            shared.tasks.spawn(lane::run(shared.clone(), entry.lane.clone(), parked));
        }
        drop(entry);
        answer.await.unwrap_or_else(|_| refuse(Failure::OutcomeUnknown))
    }

    /// Deletes all that a project holds (docs/log.md L19), in its order among what is submitted: what was before is gone,
    /// what comes after lives. Answers where the deletion stands; [`Position::ZERO`]: there was nothing to delete.
    ///
    /// A log that is not there may have been lost a moment ago, and whoever keeps its events will put them back. So while the
    /// store is not known to be the same for [`Settings::healing_time`], the deletion is written all the same, and they
    /// learn of it.
    pub async fn delete_project(&self, project: &Project, options: Options) -> Result<Position, Failure> {
        self.delete(project, deletion_event(None), options).await
    }

    /// Deletes what a session said and was until now (docs/log.md L19). Answers where the deletion stands;
    /// [`Position::ZERO`]: the project was never written to. While that cannot be known, since its log may have been lost a
    /// moment ago, [`Failure::Unsettled`].
    pub async fn delete_session(
        &self,
        project: &Project,
        session: &str,
        options: Options,
    ) -> Result<Position, Failure> {
        self.delete(project, deletion_event(Some(session)), options).await
    }

    async fn delete(&self, project: &Project, event: wire::Event, options: Options) -> Result<Position, Failure> {
        // A project that never was is not born to be deleted, unless this process knows better than the store.
        if !self.knows(project) {
            match self.shared.broker.heads(vec![project.clone()]).await.pop() {
                Some(Ok(head)) if !head.is_born() => {
                    let (shared, place) = (&self.shared, self.shared.broker.place(project));
                    let same_for = shared.sightings.seen(place, &head.incarnation, shared.now());
                    match (same_for >= shared.settings.healing_time, event.session.is_empty()) {
                        (true, _) => return Ok(Position::ZERO),
                        (false, true) => {}
                        (false, false) => return Err(Failure::Unsettled),
                    }
                }
                Some(Err(ReadError::NewerFormat(format))) => return Err(Failure::NewerFormat(format)),
                Some(Ok(_)) => {}
                Some(Err(_)) | None => return Err(Failure::Away),
            }
        }
        match self.submit(project, vec![event], options).await {
            Ok(outcomes) => match outcomes.into_iter().next() {
                Some(Outcome::Appended { position, .. }) => Ok(position),
                // Only ids and steps of runners are refused.
                _ => Err(Failure::OutcomeUnknown),
            },
            Err(SubmitError { why, .. }) => Err(why),
        }
    }

    /// Whether something of the project waits here, or was acknowledged and is kept.
    fn knows(&self, project: &Project) -> bool {
        let lanes = self.shared.lanes.lock();
        lanes.get(project).is_some_and(|entry| entry.lane.idle().is_none_or(|(_, nothing)| !nothing))
    }

    /// Refuses what comes from now on, and resolves when everything that was taken has been answered.
    pub async fn drain(&self) {
        self.shared.draining.store(true, Ordering::Relaxed);
        for entry in self.shared.lanes.lock().values() {
            entry.lane.wake();
        }
        self.shared.tasks.close();
        self.shared.tasks.wait().await;
    }

    /// Projects that are being written to.
    pub fn open(&self) -> usize {
        self.shared.tasks.len()
    }

    fn entry(&self, project: &Project) -> Arc<Entry> {
        let shared = &self.shared;
        let mut lanes = shared.lanes.lock();
        if let Some(entry) = lanes.get(project) {
            return entry.clone();
        }
        // First those that keep nothing to put back, then any idle one; some at a time, so that this is rare and few lose it.
        for keeping in [false, true] {
            if lanes.len() < shared.settings.projects_max {
                break;
            }
            let (mut floor, mut leave) = (0, shared.settings.projects_max.div_ceil(FORGOTTEN_PART));
            lanes.retain(|_, entry| {
                // Whoever holds the entry is about to use it.
                let idle = (leave > 0 && Arc::strong_count(entry) == 1).then(|| entry.lane.idle()).flatten();
                let number = idle.filter(|(_, keeps_nothing)| *keeps_nothing || keeping).map(|(number, _)| number);
                floor = floor.max(number.unwrap_or(0));
                leave -= usize::from(number.is_some());
                number.is_none()
            });
            shared.number_floor.fetch_max(floor, Ordering::Relaxed);
        }
        let number = shared.number_floor.load(Ordering::Relaxed);
        let machine = shared.machine(shared.writer.clone(), number);
        let entry = Arc::new(Entry {
            lane: Arc::new(Lane::new(project.clone(), machine, shared.settings.wait)),
            budget: Budget::new(shared.settings.project_bytes_max),
        });
        lanes.insert(project.clone(), entry.clone());
        entry
    }
}

impl std::fmt::Debug for Writers {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Writers").field("writer", &self.shared.writer).field("open", &self.open()).finish()
    }
}
