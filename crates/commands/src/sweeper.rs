//! Answers what nobody answers: commands past their deadline or whose runner lapsed, approvals that expire, sessions that lost
//! their runner.
//!
//! Inboxes lie in the shards of the index of projects; whoever holds a shard's lease looks after them. The lease only saves
//! work: everything that is said has a guard or an id of its own, so two of them say nothing twice.

use std::collections::HashMap;
use std::sync::Arc;
use std::time::Duration;

use futures_util::StreamExt as _;
use tidings_broker::inbox::{Due, DueItem, Inboxes, Lapsed};
use tidings_broker::{Broker, INDEX_SHARDS, Span};
use tidings_log::writer::{Options, Outcome, Writers};
use tidings_protocol::entry::Body;
use tidings_protocol::project::Project;
use tidings_protocol::wire;
use tidings_registry::SettingsReader;
use tokio::time::{Instant, MissedTickBehavior};
use tokio_util::sync::CancellationToken;

use crate::approval::Alarmed;
use crate::metrics::WorkMetrics;
use crate::told::Told;
use crate::{OWN_PREFIX, made, made::FailedWhy};

/// How often the clock is looked at.
const TICK: Duration = Duration::from_millis(250);

/// How often the shards are asked which inboxes there are.
const ROUND: Duration = Duration::from_secs(5);

/// How long a shard stays ours without renewal: three rounds.
const LEASE: Duration = Duration::from_secs(15);

/// An inbox with something open is looked at this often at least: what is put later may be due earlier.
const BUSY_LOOK: Duration = Duration::from_secs(1);

/// One with nothing but runners.
const QUIET_LOOK: Duration = Duration::from_secs(5);

/// Inboxes that are looked at at once.
const AT_ONCE: usize = 16;

/// Bytes of the log in which the last word of a session is looked for.
const LAST_WORD_BYTES: usize = 512 * 1024;

/// Looks after inboxes.
pub struct Sweeper {
    broker: Arc<dyn Broker>,
    inboxes: Arc<dyn Inboxes>,
    writers: Writers,
    projects: SettingsReader,
    metrics: WorkMetrics,
    owner: String,
    /// When each inbox is looked at next, and what was found the last time.
    plan: HashMap<Project, Planned, foldhash::fast::RandomState>,
}

#[derive(Clone, Copy, Default)]
struct Planned {
    at: Option<Instant>,
    found: (u64, u64, u64),
}

impl Sweeper {
    /// A sweeper that holds no lease yet.
    pub fn new(broker: Arc<dyn Broker>, writers: Writers, projects: SettingsReader, metrics: WorkMetrics) -> Sweeper {
        let inboxes = broker.inboxes();
        let owner = format!("{:032x}", rand::random::<u128>());
        Sweeper { broker, inboxes, writers, projects, metrics, owner, plan: HashMap::default() }
    }

    /// Works until `stop`.
    pub async fn run(mut self, stop: CancellationToken) {
        let mut ticks = tokio::time::interval(TICK);
        ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
        let mut next_round = Instant::now();
        let working = async {
            loop {
                let now = ticks.tick().await;
                if now >= next_round {
                    next_round = now + ROUND;
                    self.round(now).await;
                }
                self.look(now).await;
            }
        };
        stop.run_until_cancelled(working).await.unwrap_or(())
    }

    /// Learns which inboxes there are in the shards that are ours.
    async fn round(&mut self, now: Instant) {
        let ttl_ms = u64::try_from(LEASE.as_millis()).unwrap_or(u64::MAX);
        let mut ours: HashMap<Project, Planned, foldhash::fast::RandomState> = HashMap::default();
        for shard in 0..INDEX_SHARDS {
            // Leases of the janitor's are those below.
            let lease = self.broker.lease(INDEX_SHARDS + shard, self.owner.clone(), ttl_ms).await;
            if !matches!(lease, Ok(true)) {
                continue;
            }
            let Ok(projects) = self.inboxes.projects(shard).await else { continue };
            for project in projects {
                let planned =
                    self.plan.get(&project).copied().unwrap_or(Planned { at: Some(now), ..Planned::default() });
                ours.insert(project, planned);
            }
        }
        self.plan = ours;
        let sum = |of: fn(&Planned) -> u64| i64::try_from(self.plan.values().map(of).sum::<u64>()).unwrap_or(i64::MAX);
        self.metrics.open.set(sum(|planned| planned.found.0));
        self.metrics.waiting.set(sum(|planned| planned.found.1));
        self.metrics.runners.set(sum(|planned| planned.found.2));
    }

    /// Looks at the inboxes whose time has come.
    async fn look(&mut self, now: Instant) {
        let is_due = |planned: &Planned| planned.at.is_some_and(|at| at <= now);
        let due: Vec<Project> =
            self.plan.iter().filter(|(_, planned)| is_due(planned)).map(|(project, _)| project.clone()).collect();
        if due.is_empty() {
            return;
        }
        let this = &*self;
        let looked: Vec<(Project, Planned)> = futures_util::stream::iter(due)
            .map(async |project| {
                let planned = this.look_at(&project).await;
                (project, planned)
            })
            .buffer_unordered(AT_ONCE)
            .collect()
            .await;
        self.plan.extend(looked);
    }

    /// Does what is due in one inbox, and says when to look again.
    async fn look_at(&self, project: &Project) -> Planned {
        let due = match self.inboxes.due(project.clone()).await {
            Ok(due) => due,
            Err(error) => {
                tracing::debug!(%project, %error, "no look at this inbox this time");
                return Planned { at: Some(Instant::now() + BUSY_LOOK), ..Planned::default() };
            }
        };
        let found = (due.open, due.waiting, due.runners);
        let busy = due.open > 0 || !due.lapsed.is_empty();
        let more = !(due.expired.is_empty() && due.lost.is_empty() && due.lapsed.is_empty());
        let next = due.next_ms.map(Duration::from_millis);
        self.answer(project, due).await;
        let latest = if busy { BUSY_LOOK } else { QUIET_LOOK };
        // What was done may not be all.
        let after = if more { TICK } else { next.map_or(latest, |next| next.clamp(TICK, latest)) };
        Planned { at: Some(Instant::now() + after), found }
    }

    async fn answer(&self, project: &Project, due: Due) {
        let Due { expired, lost, lapsed, .. } = due;
        let expired = expired.into_iter().map(|item| (item, FailedWhy::Deadline));
        let lost = lost.into_iter().map(|item| (item, FailedWhy::RunnerLost));
        let mut settled = Vec::new();
        for (item, why) in expired.chain(lost) {
            if self.close(project, &item, why).await {
                settled.push(item.id);
            }
        }
        if !settled.is_empty()
            && let Err(error) = self.inboxes.settle(project.clone(), settled).await
        {
            tracing::debug!(%project, %error, "what is answered was not settled");
        }
        self.mourn(project, lapsed).await;
    }

    /// Answers an item. False: not this time.
    async fn close(&self, project: &Project, item: &DueItem, why: FailedWhy) -> bool {
        let alarmed = item.alarm.then(|| Alarmed::read(&item.body)).flatten();
        let event = match (alarmed, Told::read(&item.body)) {
            (Some(alarmed), _) => alarmed.expired(),
            // It was for the runner that went.
            (None, Some(told)) if told.notice => return true,
            (None, Some(told)) => {
                let Ok(settings) = self.projects.numbers_of(project).await else { return false };
                let everyone = crate::answers_are_for_everyone(&settings);
                let told = Told { reply_to: told.reply_to.filter(|_| !everyone), ..told };
                made::failed(&told, why, &item.runner, "")
            }
            (None, None) => {
                tracing::error!(%project, "an item of an inbox cannot be read; it is dropped");
                return true;
            }
        };
        let is_approval = event.r#type.starts_with("approval.");
        match self.write(project, event).await {
            Some(Outcome::Appended { .. }) if is_approval => self.metrics.expired.inc(),
            Some(Outcome::Appended { .. }) => self.metrics.on_failed(why),
            Some(_) => {}
            None => return false,
        }
        true
    }

    /// Says which sessions lost their runner, once.
    async fn mourn(&self, project: &Project, lapsed: Vec<Lapsed>) {
        let mut done = Vec::new();
        for gone in lapsed {
            let sessions: Vec<&String> = gone.sessions.iter().filter(|name| !name.starts_with(OWN_PREFIX)).collect();
            let mut all = true;
            for session in sessions {
                let last = self.last_word(project, session).await;
                let event = made::lost(session, &gone.runner, gone.until_ms, last.as_deref());
                match self.write(project, event).await {
                    Some(Outcome::Appended { .. }) => self.metrics.sessions_lost.inc(),
                    Some(_) => {}
                    None => all = false,
                }
            }
            if all {
                done.push(gone);
            }
        }
        if !done.is_empty()
            && let Err(error) = self.inboxes.forget(project.clone(), done).await
        {
            tracing::debug!(%project, %error, "runners that lapsed are not forgotten yet");
        }
    }

    /// The position of a session's last event, if it is among the newest of the log.
    async fn last_word(&self, project: &Project, session: &str) -> Option<String> {
        let page = self.broker.read(project.clone(), Span::Tail, LAST_WORD_BYTES).await.ok()?;
        page.entries.iter().rev().find_map(|entry| {
            let Body::Events(events) = &entry.body else { return None };
            let at = events.iter().rposition(|event| event.session == session)?;
            Some(entry.position_of(at).to_string())
        })
    }

    async fn write(&self, project: &Project, event: wire::Event) -> Option<Outcome> {
        match self.writers.submit(project, vec![event], Options::new()).await {
            Ok(outcomes) => outcomes.into_iter().next(),
            Err(error) => {
                tracing::debug!(%project, %error, "an answer cannot be written yet");
                None
            }
        }
    }
}
