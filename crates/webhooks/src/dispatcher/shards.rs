//! Which shards of the index are this process's, by lease, and which projects they hold.

use std::sync::Arc;
use std::time::Duration;

use futures_util::{FutureExt as _, StreamExt as _, stream};
use tidings_broker::hooks::{Entered, Hooks};
use tidings_broker::{Broker, INDEX_SHARDS};
use tokio::time::Instant;

use super::ms;

/// Leases of the janitor and of the commands' sweeper are those below.
const FIRST_LEASE: u16 = 2 * INDEX_SHARDS;

/// Leases are asked for so often while one of them lasts, whoever has it.
const ASKED_FOR: u32 = 3;

/// Shards that the store is asked for at once.
const AT_ONCE: usize = 16;

/// A lease that is given back runs out after this time, in milliseconds: it cannot be shorter.
const GIVEN_BACK_MS: u64 = 1;

/// The shards, by their numbers.
#[derive(Debug)]
pub(super) struct Shards {
    owner: String,
    held: Vec<Held>,
}

/// How one of them stands.
#[derive(Debug, Clone, Default)]
struct Held {
    /// Until when it is ours for certain.
    until: Option<Instant>,
    /// When the store was asked for it last.
    asked_at: Option<Instant>,
    /// Its projects when the index was read last.
    entered: Vec<Entered>,
}

impl Held {
    fn is_ours(&self, now: Instant) -> bool {
        self.until.is_some_and(|until| now < until)
    }
}

impl Shards {
    /// None is held yet.
    pub(super) fn new() -> Shards {
        let owner = format!("{:032x}", rand::random::<u128>());
        Shards { owner, held: vec![Held::default(); usize::from(INDEX_SHARDS)] }
    }

    /// Renews leases, takes those that are free, and reads the index of the shards that are held. What the store does not
    /// answer stays as it was, until the lease runs out.
    pub(super) async fn round(&mut self, broker: &Arc<dyn Broker>, hooks: &Arc<dyn Hooks>, lease: Duration) {
        let owner = &self.owner;
        let all = (0..INDEX_SHARDS).zip(std::mem::take(&mut self.held));
        let looks: Vec<_> =
            all.map(|(shard, held)| looked_at(shard, held, owner, broker, hooks, lease).boxed()).collect();
        self.held = stream::iter(looks).buffered(AT_ONCE).collect().await;
    }

    /// The projects of the shards that are held.
    pub(super) fn projects(&self) -> impl Iterator<Item = &Entered> {
        let now = Instant::now();
        self.held.iter().filter(move |held| held.is_ours(now)).flat_map(|held| &held.entered)
    }

    /// The shards that are held.
    pub(super) fn ours(&self) -> Vec<u16> {
        let now = Instant::now();
        (0..INDEX_SHARDS).filter(|shard| self.held[usize::from(*shard)].is_ours(now)).collect()
    }

    /// Gives all leases back: others need not wait until they run out.
    pub(super) async fn give_back(&mut self, broker: &Arc<dyn Broker>) {
        let owner = &self.owner;
        let given = self.ours().into_iter();
        let given: Vec<_> =
            given.map(|shard| broker.lease(FIRST_LEASE + shard, owner.clone(), GIVEN_BACK_MS)).collect();
        // Nobody renews them: at worst they run out by themselves.
        stream::iter(given).buffer_unordered(AT_ONCE).for_each(|_| std::future::ready(())).await;
        self.held.fill(Held::default());
    }
}

async fn looked_at(
    shard: u16,
    mut held: Held,
    owner: &str,
    broker: &Arc<dyn Broker>,
    hooks: &Arc<dyn Hooks>,
    lease: Duration,
) -> Held {
    let now = Instant::now();
    if held.asked_at.is_none_or(|at| now.duration_since(at) >= lease / ASKED_FOR) {
        held.asked_at = Some(now);
        match broker.lease(FIRST_LEASE + shard, owner.to_owned(), ms(lease)).await {
            Ok(true) => held.until = Some(now + lease),
            Ok(false) => held.until = None,
            Err(_) => {}
        }
    }
    if !held.is_ours(Instant::now()) {
        held.entered.clear();
    } else if let Ok(entered) = hooks.projects(shard).await {
        held.entered = entered;
    }
    held
}
