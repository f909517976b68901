//! Leases of the index's shards: which of them are this process's. They are renewed beside all other work, so that however
//! long a round takes nobody else begins with what is under way here.

use std::sync::Arc;
use std::time::Duration;

use futures_util::{FutureExt as _, StreamExt as _, stream};
use tidings_broker::{Broker, INDEX_SHARDS};
use tokio::sync::watch;
use tokio::time::Instant;

use super::ms;

/// Leases of the janitor and of the commands' sweeper are those below.
const FIRST_LEASE: u16 = 2 * INDEX_SHARDS;

/// Leases are asked for so often while one of them lasts, whoever has it.
const ASKED_FOR: u32 = 3;

/// Leases that the store is asked for at once.
const AT_ONCE: usize = 16;

/// A lease that is given back runs out after this time, in milliseconds: it cannot be shorter.
const GIVEN_BACK_MS: u64 = 1;

/// The leases of one process.
pub(super) struct Leases {
    broker: Arc<dyn Broker>,
    owner: String,
    lasts: Duration,
    /// Until when each shard is ours for certain.
    until: watch::Sender<Vec<Option<Instant>>>,
}

impl Leases {
    /// None is held yet.
    pub(super) fn new(broker: Arc<dyn Broker>, lasts: Duration) -> Leases {
        let owner = format!("{:032x}", rand::random::<u128>());
        Leases { broker, owner, lasts, until: watch::Sender::new(vec![None; usize::from(INDEX_SHARDS)]) }
    }

    /// Renews leases and takes those that are free, once. What the store does not answer stays until it runs out.
    pub(super) async fn ask(&self) {
        let asked: Vec<_> = (0..INDEX_SHARDS).map(|shard| self.ask_for(shard).boxed()).collect();
        stream::iter(asked).buffer_unordered(AT_ONCE).collect::<()>().await;
    }

    /// The same again and again, a while after now. Never ends.
    pub(super) async fn keep(&self) {
        loop {
            let next = Instant::now() + self.lasts / ASKED_FOR;
            tokio::time::sleep_until(next).await;
            self.ask().await;
        }
    }

    async fn ask_for(&self, shard: u16) {
        let now = Instant::now();
        let until = match self.broker.lease(FIRST_LEASE + shard, self.owner.clone(), ms(self.lasts)).await {
            Ok(true) => Some(now + self.lasts),
            Ok(false) => None,
            Err(_) => return,
        };
        self.until.send_modify(|all| all[usize::from(shard)] = until);
    }

    /// The shards that are held.
    pub(super) fn ours(&self) -> Vec<u16> {
        let (now, until) = (Instant::now(), self.until.borrow());
        (0..).zip(&*until).filter(|(_, until)| until.is_some_and(|until| now < until)).map(|(shard, _)| shard).collect()
    }

    /// Gives all leases back: others need not wait until they run out.
    pub(super) async fn give_back(&self) {
        let given = self.ours().into_iter().map(|shard| {
            self.until.send_modify(|all| all[usize::from(shard)] = None);
            self.broker.lease(FIRST_LEASE + shard, self.owner.clone(), GIVEN_BACK_MS)
        });
        let given: Vec<_> = given.collect();
        // Nobody renews them: at worst they run out by themselves.
        stream::iter(given).buffer_unordered(AT_ONCE).for_each(|_| std::future::ready(())).await;
    }
}
