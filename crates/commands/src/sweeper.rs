//! Answers what nobody answers: commands past their deadline or whose runner lapsed, approvals that expire, sessions that lost
//! their runner.
//!
//! Inboxes lie in the shards of the index of projects; whoever holds a shard's lease looks after them. The lease only saves
//! work: everything that is said has a guard or an id of its own, so two of them say nothing twice.

use std::collections::{HashMap, HashSet};
use std::sync::Arc;
use std::time::Duration;

use tidings_broker::inbox::{Due, DueItem, Inboxes, Lapsed};
use tidings_broker::{Broker, INDEX_SHARDS, ReadError, Span};
use tidings_log::writer::{Outcome, Writers};
use tidings_protocol::entry::{Body, Entry};
use tidings_protocol::project::Project;
use tidings_protocol::wire;
use tidings_registry::SettingsReader;
use tokio::task::{Id, JoinError, JoinSet};
use tokio::time::{Instant, MissedTickBehavior};
use tokio_util::sync::CancellationToken;

use crate::approval::Alarmed;
use crate::metrics::WorkMetrics;
use crate::sessions::Sessions;
use crate::told::Told;
use crate::written::write_all;
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

/// One whose answers could not all be written.
const FAILED_LOOK: Duration = Duration::from_secs(5);

/// Inboxes that are looked at at once.
const AT_ONCE: usize = 32;

/// Sessions that are read at once.
const SESSIONS_AT_ONCE: usize = 16;

/// Bytes of the log in which the last word of a session is looked for.
const LAST_WORD_BYTES: usize = 512 * 1024;

/// Looks after inboxes.
pub struct Sweeper {
    looker: Arc<Looker>,
    owner: String,
    /// When each inbox is looked at next, and what was found the last time.
    plan: HashMap<Project, Planned, foldhash::fast::RandomState>,
    /// One task for each inbox that is looked at: none waits for another one, nor leases for any.
    looks: JoinSet<(Project, Planned)>,
    looked_at: HashMap<Id, Project>,
}

/// Looks at one inbox.
struct Looker {
    broker: Arc<dyn Broker>,
    inboxes: Arc<dyn Inboxes>,
    writers: Writers,
    projects: SettingsReader,
    metrics: WorkMetrics,
}

#[derive(Debug, Clone, Copy, Default)]
struct Planned {
    at: Option<Instant>,
    found: (u64, u64, u64),
}

/// An item that is due, as it is answered.
struct Closing {
    id: String,
    why: FailedWhy,
    is_approval: bool,
}

impl Sweeper {
    /// A sweeper that holds no lease yet.
    pub fn new(broker: Arc<dyn Broker>, writers: Writers, projects: SettingsReader, metrics: WorkMetrics) -> Sweeper {
        let inboxes = broker.inboxes();
        let owner = format!("{:032x}", rand::random::<u128>());
        let looker = Arc::new(Looker { broker, inboxes, writers, projects, metrics });
        Sweeper { looker, owner, plan: HashMap::default(), looks: JoinSet::new(), looked_at: HashMap::new() }
    }

    /// Works until `stop`.
    pub async fn run(mut self, stop: CancellationToken) {
        let mut ticks = tokio::time::interval(TICK);
        ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
        let mut next_round = Instant::now();
        let working = async {
            loop {
                let now = tokio::select! {
                    now = ticks.tick() => now,
                    Some(looked) = self.looks.join_next_with_id() => {
                        self.looked(looked);
                        Instant::now()
                    }
                };
                if now >= next_round {
                    next_round = now + ROUND;
                    self.round(now).await;
                }
                self.look(now);
            }
        };
        stop.run_until_cancelled(working).await.unwrap_or(());
    }

    /// Learns which inboxes there are in the shards that are ours.
    async fn round(&mut self, now: Instant) {
        let ttl_ms = u64::try_from(LEASE.as_millis()).unwrap_or(u64::MAX);
        let mut ours: HashMap<Project, Planned, foldhash::fast::RandomState> = HashMap::default();
        for shard in 0..INDEX_SHARDS {
            // Leases of the janitor's are those below.
            let lease = self.looker.broker.lease(INDEX_SHARDS + shard, self.owner.clone(), ttl_ms).await;
            if !matches!(lease, Ok(true)) {
                continue;
            }
            let Ok(projects) = self.looker.inboxes.projects(shard).await else { continue };
            for project in projects {
                let planned =
                    self.plan.get(&project).copied().unwrap_or(Planned { at: Some(now), ..Planned::default() });
                ours.insert(project, planned);
            }
        }
        self.plan = ours;
        let sum = |of: fn(&Planned) -> u64| i64::try_from(self.plan.values().map(of).sum::<u64>()).unwrap_or(i64::MAX);
        self.looker.metrics.open.set(sum(|planned| planned.found.0));
        self.looker.metrics.waiting.set(sum(|planned| planned.found.1));
        self.looker.metrics.runners.set(sum(|planned| planned.found.2));
    }

    /// Begins to look at the inboxes whose time has come, those first that are waiting longest.
    fn look(&mut self, now: Instant) {
        let room = AT_ONCE - self.looks.len();
        let is_free = |project: &Project| !self.looked_at.values().any(|other| other == project);
        let due = self.plan.iter().filter_map(|(project, planned)| Some((planned.at?, project)));
        let mut due: Vec<_> = due.filter(|(at, project)| *at <= now && is_free(project)).collect();
        due.sort_unstable_by_key(|(at, _)| *at);
        let due: Vec<Project> = due.into_iter().take(room).map(|(_, project)| project.clone()).collect();
        for project in due {
            let (looker, of) = (self.looker.clone(), project.clone());
            let looking = async move {
                let planned = looker.look_at(&of).await;
                (of, planned)
            };
            let id = self.looks.spawn(looking).id();
            self.looked_at.insert(id, project);
        }
    }

    /// A look has come to its end.
    fn looked(&mut self, looked: Result<(Id, (Project, Planned)), JoinError>) {
        match looked {
            Ok((id, (project, planned))) => {
                self.looked_at.remove(&id);
                // Others may be looking after it by now.
                if let Some(before) = self.plan.get_mut(&project) {
                    *before = planned;
                }
            }
            Err(error) => {
                tracing::error!(%error, "a look at an inbox failed");
                let project = self.looked_at.remove(&error.id());
                if let Some(before) = project.and_then(|project| self.plan.get_mut(&project)) {
                    before.at = Some(Instant::now() + FAILED_LOOK);
                }
            }
        }
    }
}

impl Looker {
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
        let all = self.answer(project, due).await;
        let latest = if busy { BUSY_LOOK } else { QUIET_LOOK };
        let after = match (all, more) {
            (false, _) => FAILED_LOOK,
            // What was done may not be all.
            (true, true) => TICK,
            (true, false) => next.map_or(latest, |next| next.clamp(TICK, latest)),
        };
        Planned { at: Some(Instant::now() + after), found }
    }

    /// Answers what is due. False: not all of it, this time.
    async fn answer(&self, project: &Project, due: Due) -> bool {
        let Due { expired, lost, lapsed, .. } = due;
        let expired = expired.into_iter().map(|item| (item, FailedWhy::Deadline));
        let lost = lost.into_iter().map(|item| (item, FailedWhy::RunnerLost));
        let all = self.close(project, expired.chain(lost).collect()).await;
        // One whose log takes no answers takes no mourning.
        all && self.mourn(project, lapsed).await
    }

    /// Answers items, all by one call. False: not all of them, this time.
    async fn close(&self, project: &Project, items: Vec<(DueItem, FailedWhy)>) -> bool {
        if items.is_empty() {
            return true;
        }
        let Ok(settings) = self.projects.numbers_of(project).await else { return false };
        let everyone = crate::answers_are_for_everyone(&settings);
        let (mut settled, mut closing, mut events) = (Vec::new(), Vec::new(), Vec::new());
        for (item, why) in items {
            match last_word(project, &item, why, everyone) {
                Some(event) => {
                    closing.push(Closing { id: item.id, why, is_approval: event.r#type.starts_with("approval.") });
                    events.push(event);
                }
                None => settled.push(item.id),
            }
        }
        let outcomes = write_all(&self.writers, project, events).await;
        let all = outcomes.iter().all(Option::is_some);
        for (Closing { id, why, is_approval }, outcome) in closing.into_iter().zip(outcomes) {
            match outcome {
                Some(Outcome::Appended { .. }) if is_approval => self.metrics.expired.inc(),
                Some(Outcome::Appended { .. }) => self.metrics.on_failed(why),
                Some(_) => {}
                None => continue,
            }
            settled.push(id);
        }
        if !settled.is_empty()
            && let Err(error) = self.inboxes.settle(project.clone(), settled).await
        {
            tracing::debug!(%project, %error, "what is answered was not settled");
        }
        all
    }

    /// Says which sessions that run lost their runner, once. False: not all of them, this time.
    async fn mourn(&self, project: &Project, mut lapsed: Vec<Lapsed>) -> bool {
        let Ok(running) = self.running(project, &lapsed).await else { return false };
        let sessions =
            |gone: &Lapsed| gone.sessions.iter().filter(|name| running.contains(*name)).cloned().collect::<Vec<_>>();
        let mut all = true;
        if lapsed.iter().any(|gone| !sessions(gone).is_empty()) {
            let Ok(page) = self.broker.read(project.clone(), Span::Tail, LAST_WORD_BYTES).await else { return false };
            let mut events = Vec::new();
            for gone in &lapsed {
                for session in sessions(gone) {
                    let last = position_of(&page.entries, &session);
                    events.push(made::lost(&session, &gone.runner, gone.until_ms, last.as_deref()));
                }
            }
            let outcomes = write_all(&self.writers, project, events).await;
            all = outcomes.iter().all(Option::is_some);
            let mut outcomes = outcomes.into_iter();
            lapsed.retain(|gone| {
                let said: Vec<_> = outcomes.by_ref().take(sessions(gone).len()).collect();
                let new = said.iter().filter(|outcome| matches!(outcome, Some(Outcome::Appended { .. }))).count();
                self.metrics.sessions_lost.inc_by(new as u64);
                said.iter().all(Option::is_some)
            });
        }
        if !lapsed.is_empty()
            && let Err(error) = self.inboxes.forget(project.clone(), lapsed).await
        {
            tracing::debug!(%project, %error, "runners that lapsed are not forgotten yet");
        }
        all
    }

    /// Those of their sessions that run: what was never started, or is over, has nothing to lose. Where that cannot be said
    /// now, they count as running.
    async fn running(&self, project: &Project, lapsed: &[Lapsed]) -> Result<HashSet<String>, ReadError> {
        let names = lapsed.iter().flat_map(|gone| gone.sessions.iter().map(String::as_str));
        let names: Vec<&str> = names.filter(|session| !session.starts_with(OWN_PREFIX)).collect();
        let mut running = HashSet::new();
        for names in names.chunks(SESSIONS_AT_ONCE) {
            let now = Sessions::read(&*self.broker, project, names).await?;
            let runs = |name: &&&str| now.as_ref().is_none_or(|now| now.is_running(name));
            running.extend(names.iter().filter(runs).map(|name| (*name).to_owned()));
        }
        Ok(running)
    }
}

/// What answers an item; none: nobody waits for that.
fn last_word(project: &Project, item: &DueItem, why: FailedWhy, everyone: bool) -> Option<wire::Event> {
    let alarmed = item.alarm.then(|| Alarmed::read(&item.body)).flatten();
    match (alarmed, Told::read(&item.body)) {
        (Some(alarmed), _) => Some(alarmed.expired()),
        // It was for the runner that went.
        (None, Some(told)) if told.notice => None,
        (None, Some(told)) => {
            let told = Told { reply_to: told.reply_to.filter(|_| !everyone), ..told };
            Some(made::failed(&told, why, &item.runner, ""))
        }
        (None, None) => {
            tracing::error!(%project, "an item of an inbox cannot be read; it is dropped");
            None
        }
    }
}

/// The position of a session's last event in this part of a log.
fn position_of(entries: &[Entry], session: &str) -> Option<String> {
    entries.iter().rev().find_map(|entry| {
        let Body::Events(events) = &entry.body else { return None };
        let at = events.iter().rposition(|event| event.session == session)?;
        Some(entry.position_of(at).to_string())
    })
}
