//! The rounds: which webhooks there are in the shards that are ours, and a courier for each.

use std::collections::{BTreeMap, HashMap, HashSet};
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use futures_util::{FutureExt as _, StreamExt as _, stream};
use tidings_broker::hooks::{Entered, Hooks, Swapped};
use tidings_protocol::project::Project;
use tidings_protocol::settings::Settings;
use tidings_protocol::settings::hooks::Webhook;
use tokio::sync::watch;
use tokio::task::{Id, JoinError, JoinSet};
use tokio::time::{Instant, MissedTickBehavior};
use tokio_util::sync::CancellationToken;

use super::courier::{Courier, Standing};
use super::leases::Leases;
use super::record::{digest_of, digest_of_commands};
use super::shards::Shards;
use super::{Shared, ms, unix_ms, walk};
use crate::runner::{PLACE as COMMANDS, Runner};

/// Looks that a project is given after it was entered: the settings that bring a webhook are written behind that, and read
/// with some delay.
const FRESH_LOOKS: u32 = 10;

/// Projects whose settings are read at once.
const LOOKS_AT_ONCE: usize = 32;

/// How long the looks of one round take at most; the others are the next round's first.
const LOOKS_WITHIN: Duration = Duration::from_secs(5);

/// Project and name of a webhook.
type Key = (Project, String);

/// What is known of a project.
#[derive(Debug, Clone, Default)]
struct Known {
    stamp: u64,
    /// Looks that are taken in the next rounds, whether or not it is time.
    fresh: u32,
    /// When its settings were read last.
    looked_at: Option<Instant>,
    /// When that was tried last.
    tried_at: Option<Instant>,
    settings: Arc<Settings>,
    /// When places are looked for whose webhook is gone.
    tidied_at: Option<Instant>,
}

impl Known {
    fn is_due(&self, now: Instant, every: Duration) -> bool {
        self.fresh > 0 || self.looked_at.is_none_or(|at| now.duration_since(at) >= every)
    }

    /// What is known behind a look: reads the settings, and takes the project out of the index when there is nothing to do
    /// for it any more. It may be dropped: the next look does the same.
    async fn looked(mut self, shared: &Shared, entered: &Entered) -> Known {
        let (now, linger) = (Instant::now(), shared.rhythm.linger);
        self.tried_at = Some(now);
        let Ok(read) = shared.settings.numbers_of(&entered.project).await else { return self };
        self.looked_at = Some(now);
        self.fresh = self.fresh.saturating_sub(1);
        if self.settings.webhooks != read.webhooks {
            self.tidied_at = Some(now);
        }
        self.settings = read;
        if self.fresh == 0 && self.tidied_at.is_some_and(|at| at <= now) {
            let are_left = tidied(&shared.hooks, &entered.project, &self.settings.webhooks, ms(linger)).await;
            self.tidied_at = are_left.then(|| now + linger);
        }
        let is_needed = !self.settings.webhooks.is_empty() || self.settings.commands.webhook.is_some();
        // A younger entry may be that of settings which are about to be written.
        let is_old = unix_ms().saturating_sub(entered.stamp) >= ms(linger);
        if !is_needed && is_old && self.tidied_at.is_none() {
            // Whoever was entered again stays; what failed is done in the next look.
            let _ = shared.hooks.leave(entered.clone()).await;
        }
        self
    }

    /// The digest of the settings of a webhook, if it is wanted.
    fn wants(&self, name: &str) -> Option<String> {
        match name {
            COMMANDS => self.settings.commands.webhook.as_ref().map(digest_of_commands),
            name => self.settings.webhooks.get(name).map(digest_of),
        }
    }
}

/// A courier at work.
struct AtWork {
    made_of: String,
    standing: Arc<Standing>,
    stop: CancellationToken,
}

impl AtWork {
    fn of(made_of: String) -> AtWork {
        AtWork { made_of, standing: Arc::default(), stop: CancellationToken::new() }
    }
}

/// Has somebody work under a key.
fn spawn(tasks: &mut JoinSet<Key>, work: impl Future<Output = ()> + Send + 'static, key: &Key) -> Id {
    let key = key.clone();
    let working = async move {
        work.await;
        key
    };
    tasks.spawn(working).id()
}

/// Looks after the webhooks of the shards that are ours.
pub(super) struct Rounds {
    shared: Arc<Shared>,
    leases: Arc<Leases>,
    shards: Shards,
    projects: HashMap<Project, Known>,
    couriers: HashMap<Key, AtWork>,
    tasks: JoinSet<Key>,
    /// Whose task it is, for one that panics.
    keys: HashMap<Id, Key>,
    ours: watch::Sender<walk::Ours>,
}

impl Rounds {
    pub(super) fn new(shared: Arc<Shared>) -> Rounds {
        Rounds {
            leases: Arc::new(Leases::new(shared.broker.clone(), shared.rhythm.lease)),
            shared,
            shards: Shards::default(),
            projects: HashMap::new(),
            couriers: HashMap::new(),
            tasks: JoinSet::new(),
            keys: HashMap::new(),
            ours: watch::Sender::new(Vec::new()),
        }
    }

    /// Works until `stop`; then waits for the deliveries that are under way, and gives the leases back.
    pub(super) async fn run(mut self, stop: CancellationToken) {
        let walking = tokio::spawn(walk::run(self.shared.clone(), self.ours.subscribe(), stop.clone()));
        stop.run_until_cancelled(self.leases.ask()).await.unwrap_or(());
        let (leases, over) = (self.leases.clone(), CancellationToken::new());
        let keeping = tokio::spawn(over.clone().run_until_cancelled_owned(async move { leases.keep().await }));
        let mut ticks = tokio::time::interval(self.shared.rhythm.round);
        ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
        let working = async {
            loop {
                tokio::select! {
                    _ = ticks.tick() => self.round().await,
                    Some(ended) = self.tasks.join_next_with_id() => self.ended(&ended),
                }
            }
        };
        stop.run_until_cancelled(working).await.unwrap_or(());
        for courier in self.couriers.values() {
            courier.stop.cancel();
        }
        while self.tasks.join_next().await.is_some() {}
        over.cancel();
        let _ = keeping.await;
        self.leases.give_back().await;
        let _ = walking.await;
    }

    /// Dropped before it is ready, at a stop, it leaves what it knew before.
    async fn round(&mut self) {
        let ours = self.leases.ours();
        self.shards.round(&self.shared.hooks, &ours).await;
        self.ours.send_replace(ours);
        let entered: Vec<Entered> = self.shards.projects().cloned().collect();
        let there: HashSet<&Project> = entered.iter().map(|entered| &entered.project).collect();
        self.projects.retain(|project, _| there.contains(project));
        self.look(entered).await;
        for ((project, name), courier) in &self.couriers {
            let wanted = self.projects.get(project).and_then(|known| known.wants(name));
            // Another one begins when this one has ended.
            if wanted.as_ref() != Some(&courier.made_of) {
                courier.stop.cancel();
            }
        }
        self.begin();
        self.measure();
    }

    /// Looks at projects where it is time: as many as answer within some time, those first that were not tried for longest.
    async fn look(&mut self, entered: Vec<Entered>) {
        let (shared, now) = (self.shared.clone(), Instant::now());
        let mut due = Vec::new();
        for entered in entered {
            let known = self.projects.entry(entered.project.clone()).or_default();
            if known.stamp != entered.stamp {
                (known.stamp, known.fresh) = (entered.stamp, FRESH_LOOKS);
                known.tidied_at = Some(now);
            }
            if known.is_due(now, shared.rhythm.look) {
                due.push((entered, known.clone()));
            }
        }
        due.sort_by_key(|(_, known)| known.tried_at);
        let begun = AtomicUsize::new(0);
        // Some may lie where the store does not answer: the others do not wait for these one by one.
        let mut looks = Vec::new();
        for (at, (entered, known)) in due.iter().enumerate() {
            let (looked, begun) = (known.clone().looked(&shared, entered), &begun);
            let look = async move {
                begun.fetch_add(1, Ordering::Relaxed);
                (at, looked.await)
            };
            looks.push(look.boxed());
        }
        let mut looks = stream::iter(looks).buffer_unordered(LOOKS_AT_ONCE);
        let mut found = Vec::new();
        let until = now + LOOKS_WITHIN;
        while let Ok(Some(looked)) = tokio::time::timeout_at(until, looks.next()).await {
            found.push(looked);
        }
        drop(looks);
        // Those that were begun in vain are not the first again.
        for (entered, _) in &due[..begun.into_inner()] {
            if let Some(known) = self.projects.get_mut(&entered.project) {
                known.tried_at = Some(now);
            }
        }
        for (at, known) in found {
            self.projects.insert(due[at].0.project.clone(), known);
        }
    }

    /// Begins with the webhooks that nobody is at work for.
    fn begin(&mut self) {
        for (project, known) in &self.projects {
            for (name, hook) in &known.settings.webhooks {
                let key = (project.clone(), name.clone());
                if self.couriers.contains_key(&key) {
                    continue;
                }
                let at_work = AtWork::of(digest_of(hook));
                let courier = Courier {
                    shared: self.shared.clone(),
                    project: project.clone(),
                    name: name.clone(),
                    hook: Arc::new(hook.clone()),
                    made_of: at_work.made_of.clone(),
                    standing: at_work.standing.clone(),
                    stop: at_work.stop.clone(),
                };
                self.keys.insert(spawn(&mut self.tasks, courier.run(), &key), key.clone());
                self.couriers.insert(key, at_work);
            }
            let (Some(hook), Some(commands)) = (&known.settings.commands.webhook, &self.shared.commands) else {
                continue;
            };
            let key = (project.clone(), COMMANDS.to_owned());
            if self.couriers.contains_key(&key) {
                continue;
            }
            let at_work = AtWork::of(digest_of_commands(hook));
            let runner = Runner {
                shared: self.shared.clone(),
                commands: commands.clone(),
                project: project.clone(),
                hook: hook.clone(),
                standing: at_work.standing.clone(),
                stop: at_work.stop.clone(),
            };
            self.keys.insert(spawn(&mut self.tasks, runner.run(), &key), key.clone());
            self.couriers.insert(key, at_work);
        }
    }

    /// A courier has ended: because it was told to, or by a fault of ours. The next round begins anew where one is wanted.
    fn ended(&mut self, ended: &Result<(Id, Key), JoinError>) {
        let id = match ended {
            Ok((id, _)) => *id,
            Err(error) => {
                tracing::error!(%error, "a courier of webhooks failed");
                error.id()
            }
        };
        if let Some(key) = self.keys.remove(&id) {
            self.couriers.remove(&key);
            // It may know of settings that were not looked at yet.
            if let Some(known) = self.projects.get_mut(&key.0) {
                known.looked_at = None;
            }
        }
    }

    fn measure(&self) {
        let count = |of: fn(&Standing) -> bool| {
            let counted = self.couriers.values().filter(|courier| of(&courier.standing)).count();
            i64::try_from(counted).unwrap_or(i64::MAX)
        };
        let oldest = self.couriers.values().map(|courier| courier.standing.oldest_ms.load(Ordering::Relaxed));
        let oldest_ms = oldest.filter(|oldest_ms| *oldest_ms > 0).min();
        let lag_s = oldest_ms.map_or(0, |oldest_ms| unix_ms().saturating_sub(oldest_ms) / 1_000);
        let metrics = &self.shared.metrics;
        metrics.open.set(count(|_| true));
        metrics.failing.set(count(|standing| standing.is_failing.load(Ordering::Relaxed)));
        metrics.gone.set(count(|standing| standing.is_gone.load(Ordering::Relaxed)));
        metrics.lag.set(i64::try_from(lag_s).unwrap_or(i64::MAX));
    }
}

/// Removes places whose webhook has been gone for a while. True: some are not gone for long enough.
async fn tidied(
    hooks: &Arc<dyn Hooks>,
    project: &Project,
    webhooks: &BTreeMap<String, Webhook>,
    linger_ms: u64,
) -> bool {
    let Ok(places) = hooks.places(project.clone()).await else { return true };
    let mut are_left = false;
    for (name, place) in places {
        if webhooks.contains_key(&name) || name == COMMANDS {
            continue;
        }
        // A version is the store's clock when it was written, or more.
        let is_old = unix_ms().saturating_sub(place.version) >= linger_ms;
        let removed =
            is_old && matches!(hooks.swap(project.clone(), name, place.version, None).await, Ok(Swapped::Done(_)));
        are_left |= !removed;
    }
    are_left
}
