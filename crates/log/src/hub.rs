//! The hub: all topics of a gateway. It makes them when somebody comes, drops them some time after the last one left,
//! checks the heads of the quiet ones, and keeps rings, pages and snapshots inside one budget of bytes.

use std::collections::HashMap;
use std::ops::Deref;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use parking_lot::Mutex;
use tidings_broker::Broker;
use tidings_protocol::project::Project;
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

use crate::metrics::Metrics;
use crate::pages::Pages;
use crate::topic::Topic;
use crate::viewer::release;

/// How a gateway spends its memory and when it looks.
#[derive(Debug, Clone)]
pub struct HubSettings {
    /// Payload bytes of a topic's ring; encodings come beside it.
    pub ring_bytes_max: usize,
    /// Bytes of all rings, pages, their encodings, states and snapshots together, about.
    pub budget_bytes: usize,
    /// Bytes of the page cache alone, encodings included.
    pub pages_bytes_max: usize,
    /// How often quiet topics' heads are checked.
    pub tail_check: Duration,
    /// How long a topic stays without readers.
    pub linger: Duration,
    /// Topics at most, so that made-up names cost a bounded amount; see [`TOPICS_MAX`].
    pub topics_max: usize,
    /// Drawn at start; gateways sync under this name.
    pub writer: Arc<str>,
}

/// The default number of topics at most: one costs some KiB beside what the budget counts, and a subscription.
pub const TOPICS_MAX: usize = 10_000;

/// When there is no room for one more topic, this part of all that may be gives way, those unused for the longest first.
const GIVE_WAY_PART: usize = 16;

/// What a cold topic's ring is shrunk to when the budget is spent.
const COLD_RING_BYTES: usize = 64 * 1024;

/// How often the budget and the lingering topics are looked at.
const UPKEEP: Duration = Duration::from_secs(1);

/// All topics of a gateway. Cheap to clone.
#[derive(Clone)]
pub struct Hub(Arc<Inner>);

struct Inner {
    broker: Arc<dyn Broker>,
    settings: HubSettings,
    topics: Mutex<HashMap<Project, Kept>>,
    pages: Arc<Pages>,
    tasks: TaskTracker,
    metrics: Metrics,
    /// Events that topics told which have ended since somebody last asked.
    told_by_ended: AtomicU64,
}

/// What happened in a hub since somebody last asked.
#[derive(Debug, Default)]
pub struct Traffic {
    /// Of each topic: its project, its readers now, and the events that they were told since.
    pub topics: Vec<(Project, usize, u64)>,
    /// Events that were told by topics which have ended since.
    pub others: u64,
}

struct Kept {
    topic: Arc<Topic>,
    /// Since when nobody uses it.
    unused_since: Option<Instant>,
}

impl Kept {
    /// Handles are only made under the map's lock or from another handle, so that a topic that is unused under that lock
    /// stays so.
    fn is_unused(&self) -> bool {
        self.topic.uses().load(Ordering::Acquire) == 0
    }
}

/// The gateway has as many topics as it may, all of them in use. Others may be gone in a moment.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("too many projects have viewers here")]
pub struct TopicsFull;

/// A use of a topic: the hub keeps the topic while one is held.
pub struct TopicHandle(Arc<Topic>);

impl Deref for TopicHandle {
    type Target = Topic;

    fn deref(&self) -> &Topic {
        &self.0
    }
}

impl Clone for TopicHandle {
    fn clone(&self) -> TopicHandle {
        TopicHandle::new(self.0.clone())
    }
}

impl Drop for TopicHandle {
    fn drop(&mut self) {
        release(&self.0);
    }
}

impl TopicHandle {
    fn new(topic: Arc<Topic>) -> TopicHandle {
        topic.uses().fetch_add(1, Ordering::AcqRel);
        TopicHandle(topic)
    }

    /// The topic, for as long as this handle is held somewhere: it counts as no use of its own.
    pub(crate) fn shared(&self) -> Arc<Topic> {
        self.0.clone()
    }
}

impl Hub {
    /// A hub over this broker; [`Hub::run`] is its upkeep.
    pub fn new(broker: Arc<dyn Broker>, settings: HubSettings, tasks: TaskTracker, metrics: Metrics) -> Hub {
        let pages = Pages::new(broker.clone(), settings.pages_bytes_max, tasks.clone(), metrics.clone());
        Hub(Arc::new(Inner {
            broker,
            settings,
            topics: Mutex::default(),
            pages,
            tasks,
            metrics,
            told_by_ended: AtomicU64::new(0),
        }))
    }

    /// The topic of a project, made when it is not there. It starts by itself; see [`Topic::started`].
    ///
    /// # Errors
    /// When there are [`HubSettings::topics_max`] topics and all of them are in use.
    pub fn topic(&self, project: &Project) -> Result<TopicHandle, TopicsFull> {
        let mut topics = self.0.topics.lock();
        if let Some(kept) = topics.get_mut(project) {
            kept.unused_since = None;
            return Ok(TopicHandle::new(kept.topic.clone()));
        }
        if topics.len() >= self.0.settings.topics_max {
            self.make_room(&mut topics);
            if topics.len() >= self.0.settings.topics_max {
                return Err(TopicsFull);
            }
        }
        let topic = Topic::new(
            project.clone(),
            self.0.settings.ring_bytes_max,
            self.0.broker.clone(),
            self.0.pages.clone(),
            self.0.settings.writer.clone(),
            self.0.metrics.clone(),
        );
        self.0.tasks.spawn(topic.clone().run());
        self.0.metrics.topics.inc();
        let handle = TopicHandle::new(topic.clone());
        topics.insert(project.clone(), Kept { topic, unused_since: None });
        Ok(handle)
    }

    /// Drops some topics that nobody uses, so that a flood of names looks for victims once in a while only.
    fn make_room(&self, topics: &mut HashMap<Project, Kept>) {
        let now = Instant::now();
        let mut unused: Vec<(Instant, Project)> = topics
            .iter()
            .filter(|(_, kept)| kept.is_unused())
            .map(|(project, kept)| (kept.unused_since.unwrap_or(now), project.clone()))
            .collect();
        unused.sort_by_key(|(since, _)| *since);
        let enough = (self.0.settings.topics_max / GIVE_WAY_PART).max(1);
        for (_, project) in unused.into_iter().take(enough) {
            if let Some(kept) = topics.remove(&project) {
                self.end(&kept.topic);
            }
        }
    }

    /// A topic that left the map ends.
    fn end(&self, topic: &Topic) {
        topic.stop();
        self.0.told_by_ended.fetch_add(topic.take_told(), Ordering::Relaxed);
        self.0.pages.forget(topic.project());
        self.0.metrics.topics.dec();
    }

    /// The topic of a project, if somebody uses it already.
    pub fn existing(&self, project: &Project) -> Option<TopicHandle> {
        self.0.topics.lock().get(project).map(|kept| TopicHandle::new(kept.topic.clone()))
    }

    /// What happened since the last call. One caller at a time gets each event.
    pub fn traffic(&self) -> Traffic {
        let topics = self.0.topics.lock();
        let of = |kept: &Kept| (kept.topic.project().clone(), kept.topic.readers(), kept.topic.take_told());
        let others = self.0.told_by_ended.swap(0, Ordering::Relaxed);
        Traffic { topics: topics.values().map(of).collect(), others }
    }

    /// The broker that all topics read from.
    pub fn broker(&self) -> &Arc<dyn Broker> {
        &self.0.broker
    }

    /// The upkeep: tail checks, lingering topics, budget. Ends, and ends all topics, when `stop` is cancelled.
    pub async fn run(self, stop: CancellationToken) {
        let mut upkeep = tokio::time::interval(UPKEEP);
        let mut check = tokio::time::interval(self.0.settings.tail_check);
        upkeep.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
        check.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
        loop {
            tokio::select! {
                () = stop.cancelled() => break,
                _ = upkeep.tick() => {
                    self.drop_unused();
                    self.keep_budget();
                }
                _ = check.tick() => self.check_tails().await,
            }
        }
        for kept in self.0.topics.lock().drain().map(|(_, kept)| kept) {
            kept.topic.stop();
        }
    }

    /// One look at the heads of all topics that heard nothing since the last one, pipelined (docs/log.md L13).
    async fn check_tails(&self) {
        let quiet: Vec<Arc<Topic>> = {
            let topics = self.0.topics.lock();
            let quiet = |kept: &&Kept| kept.topic.heard_at().elapsed() >= self.0.settings.tail_check;
            topics.values().filter(quiet).map(|kept| kept.topic.clone()).collect()
        };
        if quiet.is_empty() {
            return;
        }
        let projects = quiet.iter().map(|topic| topic.project().clone()).collect();
        for (topic, head) in quiet.iter().zip(self.0.broker.heads(projects).await) {
            match head {
                Ok(head) => topic.ask_check(head),
                Err(error) => {
                    let project = topic.project();
                    tracing::debug!(%project, %error, "tail check failed, the next one will tell");
                }
            }
        }
    }

    fn drop_unused(&self) {
        let now = Instant::now();
        let linger = self.0.settings.linger;
        self.0.topics.lock().retain(|_, kept| {
            if !kept.is_unused() {
                kept.unused_since = None;
                return true;
            }
            let since = *kept.unused_since.get_or_insert(now);
            if now.duration_since(since) < linger {
                return true;
            }
            self.end(&kept.topic);
            false
        });
    }

    /// Cold topics shrink first. What was heard shrinks with the ring, so that busy topics fit again.
    fn keep_budget(&self) {
        self.0.pages.trim();
        let mut topics: Vec<(Instant, usize, Arc<Topic>)> = {
            let topics = self.0.topics.lock();
            topics.values().map(|kept| (kept.topic.heard_at(), kept.topic.bytes(), kept.topic.clone())).collect()
        };
        let mut spent = self.0.pages.bytes() + topics.iter().map(|(_, bytes, _)| bytes).sum::<usize>();
        self.0.metrics.bytes.set(i64::try_from(spent).unwrap_or(i64::MAX));
        topics.sort_by_key(|(heard_at, ..)| *heard_at);
        for (_, bytes, topic) in topics {
            if spent <= self.0.settings.budget_bytes {
                return;
            }
            topic.shrink(COLD_RING_BYTES);
            spent = spent.saturating_sub(bytes) + topic.bytes();
        }
    }
}
