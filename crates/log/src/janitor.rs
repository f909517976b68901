//! The janitor (docs/log.md L17, L18): rolls checkpoints forward and trims behind them, whether or not anybody watches.
//!
//! Every ingest has one. Projects lie in the shards of an index; whoever holds a shard's lease looks after its projects, in
//! rounds, a bounded step each in turn. When the store runs short of memory, it looks first after those that take more than
//! their share. The lease only saves work: a step compares what it read with what it writes over, so that two
//! janitors, or one that was cut off for a while, do no harm. It owns no truth: what it caches can be read again.
//!
//! It never takes a project out of the index, not even one that was deleted and is empty. An ingest enters a project once,
//! before its first append, and remembers that it did; the index and the log lie apart, so no step could look at both. What
//! such an ingest appended behind a removal would be trimmed by nobody. To be safe, ingests would have to enter again and
//! again, and a removal to wait for longer than the slowest of them takes; a name and a look every round cost less.

mod activity;
mod cache;
mod measured;
pub mod metrics;
mod plan;
mod pressure;
mod queue;
mod retentions;
mod step;

#[cfg(test)]
mod tests;

use std::collections::HashMap;
use std::sync::Arc;
use std::time::Duration;

use tidings_broker::{Broker, DedupeWindow, INDEX_SHARDS, Retention, index};
use tidings_protocol::fold::StateLimits;
use tidings_protocol::project::Project;
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;

pub use activity::Activity;
use cache::Cache;
pub use measured::{Figures, Measured};
pub use metrics::Metrics;
use plan::{Plan, Work};
use pressure::{LOOK_EVERY, Pressure};
use queue::{Queue, Turn};
pub use retentions::Retentions;
use step::{Progress, StepError};

/// How long a shard stays ours without renewal.
const LEASE: Duration = Duration::from_secs(15);

/// A lease is renewed when it has no more than this left, so that a round may be late by as much.
const LEASE_LEFT_MIN: Duration = Duration::from_secs(5);

/// How often all projects of our shards are looked at.
const ROUND: Duration = Duration::from_secs(5);

/// Heads that are asked for at once.
const HEADS_MAX: usize = 256;

/// Writers that have not been used for this long are forgotten by a log (docs/log.md L5).
const WRITERS_KEPT: Duration = Duration::from_hours(1);

/// Producers (docs/log.md L7).
const PRODUCERS_KEPT: Duration = Duration::from_hours(24);

/// Settings of the janitor.
#[derive(Debug, Clone, Copy)]
pub struct Settings {
    /// What a project's log keeps, unless [`Janitor::keeping`] says otherwise.
    pub retention: Retention,
    /// Limits of the state that it folds.
    pub limits: StateLimits,
    /// Bytes of states that are kept in memory, so that a step need not read them again.
    pub cache_bytes_max: usize,
    /// Percent of the store's memory limit above which memory is short.
    pub memory_watermark_percent: u64,
    /// In what window writers have retries recognised.
    pub dedupe: DedupeWindow,
}

/// Percent of the store's memory limit above which memory is short, unless a setting says otherwise.
pub const MEMORY_WATERMARK_PERCENT: u64 = 85;

impl Settings {
    /// The default state limits, cache and watermark, with this retention.
    pub fn new(retention: Retention) -> Settings {
        Settings {
            retention,
            limits: StateLimits::default(),
            cache_bytes_max: 32 * 1024 * 1024,
            memory_watermark_percent: MEMORY_WATERMARK_PERCENT,
            dedupe: DedupeWindow::default(),
        }
    }
}

/// The janitor of one process.
pub struct Janitor {
    broker: Arc<dyn Broker>,
    settings: Settings,
    retentions: Arc<dyn Retentions>,
    activity: Activity,
    metrics: Metrics,
    owner: String,
    /// Until when each shard is ours.
    leases: Vec<Option<Instant>>,
    plan: Plan,
    queue: Queue,
    pressure: Pressure,
    cache: Cache,
    measured: Measured,
}

impl Janitor {
    /// A janitor that holds no lease yet.
    pub fn new(broker: Arc<dyn Broker>, settings: Settings, activity: Activity, metrics: Metrics) -> Janitor {
        // Until something is measured.
        metrics.on_window(Duration::from_millis(settings.dedupe.ms));
        Janitor {
            broker,
            settings,
            retentions: Arc::new(settings.retention),
            activity,
            metrics,
            owner: format!("{:032x}", rand::random::<u128>()),
            leases: vec![None; usize::from(INDEX_SHARDS)],
            plan: Plan::default(),
            queue: Queue::default(),
            pressure: Pressure::default(),
            cache: Cache::new(settings.cache_bytes_max),
            measured: Measured::default(),
        }
    }

    /// What it will measure of the logs that it folds.
    pub fn measured(&self) -> Measured {
        self.measured.clone()
    }

    /// The same, with a retention for each project.
    #[must_use]
    pub fn keeping(self, retentions: Arc<dyn Retentions>) -> Janitor {
        Janitor { retentions, ..self }
    }

    /// Works until `stop`. A step that is under way then is dropped: it happens whole or not at all.
    pub async fn run(mut self, stop: CancellationToken) {
        let mut next_round = Instant::now() + ROUND;
        let mut next_look = Instant::now() + LOOK_EVERY;
        loop {
            let work = async {
                // ORDER: looks and rounds come before the work that is left, which may never end: what is appended faster
                // than it is folded is always due.
                tokio::select! {
                    biased;
                    () = tokio::time::sleep_until(next_look) => {
                        next_look = Instant::now() + LOOK_EVERY;
                        self.look_at_memory().await;
                    }
                    () = tokio::time::sleep_until(next_round) => {
                        next_round = Instant::now() + ROUND;
                        self.round().await;
                    }
                    () = self.activity.busy() => self.hurry(),
                    () = std::future::ready(()), if !self.queue.is_empty() => self.work().await,
                }
            };
            tokio::select! {
                () = stop.cancelled() => return,
                () = work => {}
            }
        }
    }

    /// Looks at every project of the shards that are ours, for what is due.
    async fn round(&mut self) {
        self.activity.forget();
        let mut seen = HashMap::default();
        let mut behind = 0;
        let mut held = 0;
        for shard in 0..INDEX_SHARDS {
            if !self.holds(shard).await {
                continue;
            }
            held += 1;
            let Ok(projects) = self.broker.projects(shard).await else { continue };
            for some in projects.chunks(HEADS_MAX) {
                for (project, head) in some.iter().zip(self.broker.heads(some.to_vec()).await) {
                    let head = match head {
                        Ok(head) if head.is_born() => head,
                        Ok(_) => continue,
                        Err(error) => {
                            tracing::debug!(%project, %error, "no look at this log this time");
                            continue;
                        }
                    };
                    behind += plan::behind(&head);
                    for work in self.plan.look(project, &head, Instant::now(), &mut seen) {
                        self.queue.push(project.clone(), work);
                    }
                }
            }
        }
        self.plan.keep(seen);
        let window = self.measured.shortest_window().unwrap_or(Duration::from_millis(self.settings.dedupe.ms));
        self.metrics.on_round(behind, held, window);
    }

    /// Notes the projects in which much was appended since the last look.
    fn hurry(&mut self) {
        for project in self.activity.take_busy() {
            let work = self.plan.work_now(&project, Instant::now());
            self.queue.push(project, work);
        }
    }

    /// Does what is next: a bounded step of one project.
    async fn work(&mut self) {
        let Some(turn) = self.queue.pop() else { return };
        let Turn { project, work, .. } = &turn;
        // It may have waited for long.
        if !self.holds(index::shard_of(project)).await {
            return;
        }
        let done = match work {
            Work::Sweep => return self.sweep(project).await,
            Work::Step => self.step(project).await,
            Work::Trim => self.trim(project).await,
        };
        match (done, work) {
            (Ok(Progress::More), _) => self.queue.again(turn.clone(), turn.work),
            (Ok(Progress::Reached), Work::Step) => self.plan.stepped(project, Instant::now()),
            (Ok(Progress::Reached), Work::Trim | Work::Sweep) => {}
            (Err(error), Work::Trim | Work::Sweep) => tracing::debug!(%project, %error, "no trim this time"),
            (Err(error), Work::Step) => {
                tracing::debug!(%project, %error, "no checkpoint this time");
                let unfoldable = matches!(error, StepError::Fold { .. });
                self.plan.failed(project, Instant::now(), unfoldable);
                if matches!(error, StepError::Fold { left: Progress::More, .. }) {
                    self.queue.again(turn.clone(), Work::Trim);
                }
            }
        }
    }

    async fn sweep(&self, project: &Project) {
        let ms = |time: Duration| u64::try_from(time.as_millis()).unwrap_or(u64::MAX);
        let swept = self.broker.sweep(project.clone(), ms(WRITERS_KEPT), ms(PRODUCERS_KEPT)).await;
        if let Err(error) = swept {
            tracing::debug!(%project, %error, "no sweep this time");
        }
    }

    /// Whether the shard is ours; takes or renews its lease.
    async fn holds(&mut self, shard: u16) -> bool {
        let now = Instant::now();
        let slot = usize::from(shard);
        if self.leases[slot].is_some_and(|until| until > now + LEASE_LEFT_MIN) {
            return true;
        }
        let ttl_ms = u64::try_from(LEASE.as_millis()).unwrap_or(u64::MAX);
        let taken = self.broker.lease(shard, self.owner.clone(), ttl_ms).await;
        // Counted from before the call, so that it never ends later here than there.
        self.leases[slot] = matches!(taken, Ok(true)).then(|| now + LEASE);
        self.leases[slot].is_some()
    }
}
