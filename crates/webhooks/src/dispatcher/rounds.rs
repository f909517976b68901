//! The rounds: which webhooks there are in the shards that are ours, and a courier for each.

use std::collections::{BTreeMap, HashMap, HashSet};
use std::sync::Arc;
use std::sync::atomic::Ordering;

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
use super::record::{digest_of, digest_of_commands};
use super::shards::Shards;
use super::{Shared, ms, unix_ms, walk};
use crate::runner::Runner;

/// Looks that a project is given after it was entered: the settings that bring a webhook are written behind that, and read
/// with some delay.
const FRESH_LOOKS: u32 = 10;

/// Projects whose settings are read at once.
const LOOKS_AT_ONCE: usize = 32;

/// The name of the webhook that commands are brought to: no other one's.
const COMMANDS: &str = ":commands";

/// Project and name of a webhook.
type Key = (Project, String);

/// What is known of a project.
#[derive(Debug, Default)]
struct Known {
    stamp: u64,
    /// Looks that are taken in the next rounds, whether or not it is time.
    fresh: u32,
    looked_at: Option<Instant>,
    settings: Arc<Settings>,
    /// When places are looked for whose webhook is gone.
    tidied_at: Option<Instant>,
}

impl Known {
    /// These are its settings now.
    async fn looked_at(&mut self, shared: &Shared, entered: &Entered, read: Arc<Settings>) {
        let (now, linger) = (Instant::now(), shared.rhythm.linger);
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
            shared,
            shards: Shards::new(),
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
        self.shards.give_back(&self.shared.broker).await;
        let _ = walking.await;
    }

    async fn round(&mut self) {
        let rhythm = &self.shared.rhythm;
        self.shards.round(&self.shared.broker, &self.shared.hooks, rhythm.lease).await;
        self.ours.send_replace(self.shards.ours());
        let entered: Vec<Entered> = self.shards.projects().cloned().collect();
        let there: HashSet<&Project> = entered.iter().map(|entered| &entered.project).collect();
        self.projects.retain(|project, _| there.contains(project));
        self.look(&entered).await;
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

    /// Reads settings of projects where it is time, and takes a project out of the index when there is nothing to do for it
    /// any more.
    async fn look(&mut self, entered: &[Entered]) {
        let Shared { rhythm, settings, .. } = &*self.shared;
        let now = Instant::now();
        let mut due = Vec::new();
        for entered in entered {
            let known = self.projects.entry(entered.project.clone()).or_default();
            if known.stamp != entered.stamp {
                (known.stamp, known.fresh) = (entered.stamp, FRESH_LOOKS);
                known.tidied_at = Some(now);
            }
            if known.fresh > 0 || known.looked_at.is_none_or(|at| now.duration_since(at) >= rhythm.look) {
                due.push(entered.clone());
            }
        }
        // Some may lie where the store does not answer: the others do not wait for these one by one.
        let read = |entered: Entered| {
            async move {
                let read = settings.numbers_of(&entered.project).await;
                (entered, read)
            }
            .boxed()
        };
        let reads: Vec<_> = due.into_iter().map(read).collect();
        let read: Vec<_> = stream::iter(reads).buffer_unordered(LOOKS_AT_ONCE).collect().await;
        for (entered, read) in read {
            if let (Ok(read), Some(known)) = (read, self.projects.get_mut(&entered.project)) {
                known.looked_at(&self.shared, &entered, read).await;
            }
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
