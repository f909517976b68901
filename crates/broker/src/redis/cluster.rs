//! Redis Cluster: which node has which slot, and the way there.
//!
//! The map is read with `CLUSTER SLOTS` from every node that answers, and the word of the newest configuration counts: a
//! node that is cut off together with an old primary names that one for ever. It is read again when a node fails or says
//! that a slot moved, and now and then. Between two looks `MOVED` changes one slot of it. The client library's own cluster
//! client is not used: it loses shard channels, and says nothing of what became of a call.

use std::collections::HashMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::Duration;

use ::redis::aio::MultiplexedConnection;
use ::redis::{ConnectionAddr, ConnectionInfo, ErrorKind, FromRedisValue as _, RedisResult, Value};
use futures_util::StreamExt as _;
use futures_util::future::join_all;
use futures_util::stream::FuturesUnordered;
use parking_lot::{Mutex, RwLock};
use tokio::sync::Notify;
use tokio::time::Instant;
use tracing::{info, warn};

use super::history::History;
use super::link::{self, Opener, Trouble};
use super::node::{Node, Nursery, Sending};
use super::reply::Claimable;
use super::slots::{Address, Owned, Redirect, SLOTS, owned, slot_of};
use crate::{CallError, NothingWhy};

/// Nobody has the slot.
const NOBODY: u32 = 0;

/// Redirects that one call follows; a map that is wrong for longer is the caller's matter.
const REDIRECTS_MAX: usize = 5;

/// How often the map is read: when all is well, and while something is not.
const LOOK_EVERY: (Duration, Duration) = (Duration::from_secs(10), Duration::from_secs(1));

/// The shortest time between two looks: while they bring something new, and while they do not.
const LOOK_SPACING: (Duration, Duration) = (Duration::from_millis(100), Duration::from_secs(1));

/// How long a look, or the search for who gave a slot up, waits for nodes that do not answer.
const ANSWER_WITHIN: Duration = Duration::from_millis(500);

/// How long a node without slots is kept: one that gets its first one soon, or gave up its last.
const LINGER: Duration = Duration::from_mins(1);

/// How long a slot counts as being on its way after a node said so.
const ON_ITS_WAY: Duration = Duration::from_secs(5);

/// What a place is when a slot is on its way: its projects may be on either of two nodes.
const SLOT_PLACE: u32 = 1 << 31;

/// The map, and what keeps it.
pub(super) struct Cluster {
    seeds: Vec<ConnectionInfo>,
    /// Leads to the first seed; for another address.
    opener: Opener,
    nursery: Nursery,
    next: AtomicU32,
    known: RwLock<Known>,
    /// Slots on their way, and when that was heard. At most as many as there are slots.
    on_their_way: Mutex<HashMap<u16, Instant>>,
    /// The map may be wrong.
    stale: Notify,
    history: History,
    trouble: Trouble,
}

struct Known {
    /// The id of each slot's node.
    table: Arc<Vec<u32>>,
    nodes: HashMap<u32, Kept>,
    epoch: u64,
}

struct Kept {
    node: Arc<Node>,
    /// When it had a slot, or was named, last.
    used: Instant,
}

/// What a node says of the cluster.
#[derive(Debug)]
struct Word {
    /// It sees most primaries, and a primary for each slot where that is asked for.
    is_ok: bool,
    /// Grows with every failover and nearly every move of a slot.
    epoch: u64,
    owned: Vec<Owned>,
    /// Its own, if it is a primary.
    incarnation: Option<String>,
}

impl Cluster {
    /// `opener` leads to one of the seeds.
    pub(super) fn new(seeds: Vec<ConnectionInfo>, opener: Opener, nursery: Nursery) -> Arc<Cluster> {
        let known = Known { table: Arc::new(vec![NOBODY; usize::from(SLOTS)]), nodes: HashMap::new(), epoch: 0 };
        nursery.subscriber.rehome(&known.table);
        Arc::new(Cluster {
            seeds,
            opener,
            nursery,
            next: AtomicU32::new(NOBODY + 1),
            known: RwLock::new(known),
            on_their_way: Mutex::default(),
            stale: Notify::new(),
            history: History::new(),
            trouble: Trouble::new(),
        })
    }

    /// Keeps the map fresh, for ever.
    pub(super) async fn run(self: Arc<Cluster>) {
        let mut spacing = LOOK_SPACING.0;
        loop {
            let is_new = match self.look().await {
                Ok(word) => self.believe(&word),
                Err(why) => {
                    if self.trouble.set(why.clone()) {
                        warn!(error = why, "the redis cluster cannot be asked for its slots, will retry");
                    }
                    false
                }
            };
            spacing = if is_new { LOOK_SPACING.0 } else { (spacing * 2).min(LOOK_SPACING.1) };
            tokio::time::sleep(spacing).await;
            let period = if self.is_well() { LOOK_EVERY.0 } else { LOOK_EVERY.1 };
            tokio::select! {
                () = self.stale.notified() => {}
                () = self.nursery.subscriber.strayed() => {}
                () = tokio::time::sleep(period) => {}
            }
        }
    }

    /// The map may be wrong: it is read again soon.
    pub(super) fn look_again(&self) {
        self.stale.notify_one();
    }

    /// Whether every slot has a primary that can be reached both ways, and every channel is confirmed.
    pub(super) fn is_well(&self) -> bool {
        let covered = !self.known.read().table.contains(&NOBODY);
        covered && self.primaries().iter().all(|node| *node.up.borrow()) && self.nursery.subscriber.is_settled()
    }

    #[cfg(test)]
    pub(super) fn what_is_wrong(&self) -> String {
        let nodes: Vec<_> = self.primaries().iter().map(|node| (node.id, node.trouble())).collect();
        format!("{nodes:?}, {}", self.nursery.subscriber.unsettled())
    }

    /// What the cluster says; an error says why nobody answers.
    async fn look(&self) -> Result<Word, String> {
        let nodes: Vec<Arc<Node>> = self.known.read().nodes.values().map(|kept| Arc::clone(&kept.node)).collect();
        let asked = join_all(nodes.iter().map(|node| async {
            let (address, connection) = (node.address.as_ref()?, node.commands.current().ok()?);
            tokio::time::timeout(ANSWER_WITHIN, ask(connection, &address.host)).await.ok()?.ok()
        }));
        let answers: Vec<Word> = asked.await.into_iter().flatten().collect();
        self.history.seen(answers.iter().filter_map(|word| word.incarnation.as_deref()));
        let known = self.known.read().epoch;
        match believed(answers, nodes.len(), known) {
            Some(word) => Ok(word),
            None => self.ask_seeds().await,
        }
    }

    /// The same of the seeds, each by a connection made for it.
    async fn ask_seeds(&self) -> Result<Word, String> {
        let asked = join_all(self.seeds.iter().map(async |seed| {
            let asked = async {
                let connection = self.opener.connect(seed.clone(), |_| ()).await?;
                ask(connection, &host_of(seed.addr())).await
            };
            asked.await.map_err(|error| format!("{}: {error}", seed.addr()))
        }));
        let (mut words, mut reasons) = (Vec::new(), Vec::new());
        for answer in asked.await {
            match answer {
                Ok(word) => words.push(word),
                Err(why) => reasons.push(why),
            }
        }
        self.history.seen(words.iter().filter_map(|word| word.incarnation.as_deref()));
        let known = self.known.read().epoch;
        if !words.is_empty() {
            reasons.push("those that answer know of an older configuration only".into());
        }
        believed(words, self.seeds.len(), known).ok_or_else(|| reasons.join("; "))
    }

    /// Takes over a map: opens connections to who is new in it and ends those to who has nothing for long. Whether it says
    /// anything new.
    fn believe(&self, word: &Word) -> bool {
        let mut known = self.known.write();
        let mut table = vec![NOBODY; usize::from(SLOTS)];
        for Owned { from, to, by } in &word.owned {
            let id = self.node_at(&mut known, by).id;
            table[usize::from(*from)..=usize::from(*to)].fill(id);
        }
        let is_new = *known.table != table;
        if is_new {
            info!(nodes = known.nodes.len(), epoch = word.epoch, "slots of the redis cluster changed hands");
        }
        known.table = Arc::new(table);
        known.epoch = word.epoch;
        let Known { table, nodes, .. } = &mut *known;
        nodes.retain(|id, kept| {
            let stays = table.contains(id) || kept.used.elapsed() < LINGER;
            if !stays {
                kept.node.retire();
                self.nursery.subscriber.forget(*id);
            }
            stays
        });
        self.nursery.subscriber.rehome(table);
        if is_new {
            self.nursery.changed.notify_one();
        }
        is_new
    }

    fn node_at(&self, known: &mut Known, address: &Address) -> Arc<Node> {
        if let Some(kept) = known.nodes.values_mut().find(|kept| kept.node.address.as_ref() == Some(address)) {
            kept.used = Instant::now();
            return Arc::clone(&kept.node);
        }
        let id = self.next.fetch_add(1, Ordering::Relaxed);
        let node = self.nursery.node(id, self.opener.to(address), Some(address.clone()));
        known.nodes.insert(id, Kept { node: Arc::clone(&node), used: Instant::now() });
        node
    }

    /// The node that has a slot, as far as is known.
    fn home(&self, slot: u16) -> Option<Arc<Node>> {
        let known = self.known.read();
        known.nodes.get(&known.table[usize::from(slot)]).map(|kept| Arc::clone(&kept.node))
    }

    /// A node said that the slot is there now.
    fn moved(&self, slot: u16, address: &Address) -> Arc<Node> {
        self.stale.notify_one();
        let mut known = self.known.write();
        let node = self.node_at(&mut known, address);
        if known.table[usize::from(slot)] != node.id {
            Arc::make_mut(&mut known.table)[usize::from(slot)] = node.id;
            self.nursery.subscriber.rehome(&known.table);
        }
        node
    }

    /// A node said that the slot is on its way there.
    fn asked(&self, slot: u16, address: &Address) -> Arc<Node> {
        self.on_their_way.lock().insert(slot, Instant::now());
        self.node_at(&mut self.known.write(), address)
    }

    /// Sends something to where a slot is. A redirect means that nothing happened there, so what follows it is the same
    /// sending; what went unanswered is unknown, and is not sent again here.
    pub(super) async fn send(&self, slot: u16, sending: Sending<'_>) -> Result<(Value, u64), CallError> {
        let Some(mut to) = self.home(slot) else {
            self.look_again();
            return Err(CallError::Nothing(NothingWhy::Away));
        };
        let mut asking = false;
        for _ in 0..REDIRECTS_MAX {
            let sent = self.history.now();
            let answer = to.send(sending, asking).await;
            if answer.is_ok() && !asking {
                self.history.served(slot, to.id, sent);
            }
            let Err(CallError::Nothing(NothingWhy::Away | NothingWhy::Refusing(_))) = &answer else { return answer };
            match redirect(&answer, &to) {
                Some(Redirect::Moved(address)) => (to, asking) = (self.moved(slot, &address), false),
                Some(Redirect::Ask(address)) => (to, asking) = (self.asked(slot, &address), true),
                None => {
                    self.look_again();
                    return answer;
                }
            }
            if !to.ready(ANSWER_WITHIN).await {
                return Err(CallError::Nothing(NothingWhy::Away));
            }
        }
        Err(CallError::Nothing(NothingWhy::Refusing("MOVED".into())))
    }

    /// Where a slot is. A slot on its way is a place of its own.
    pub(super) fn place(&self, slot: u16) -> u32 {
        let mut on_their_way = self.on_their_way.lock();
        if on_their_way.get(&slot).is_some_and(|heard| heard.elapsed() < ON_ITS_WAY) {
            return SLOT_PLACE | u32::from(slot);
        }
        on_their_way.remove(&slot);
        self.known.read().table[usize::from(slot)]
    }

    /// Whether the slot of `key` was handed over without a loss (docs/log.md L8), which takes both sides. The node under whose
    /// incarnation the log was opened gave it up: asked for the key it answers MOVED or ASK, and behind that on the same
    /// connection it still says that it is a primary of that incarnation (one that was demoted was overruled). And the node
    /// that has it now had its present incarnation before the other one served the slot to us last: it has had the keys under
    /// no other one, whose end may have taken some of what came after them.
    pub(super) async fn gave_up(&self, key: &str, asked: &Claimable) -> bool {
        let Some(since) = self.history.seen_since(&asked.here) else { return false };
        let slot = slot_of(key.as_bytes());
        let nodes = self.primaries();
        let mut answers: FuturesUnordered<_> =
            nodes.iter().map(async |node| (node.id, node.commands.gave_up(key).await)).collect();
        let found = async {
            while let Some((id, gave_up)) = answers.next().await {
                if gave_up.as_deref() == Some(&asked.opened_under) {
                    return self.history.served_since(slot, id, since);
                }
            }
            false
        };
        tokio::time::timeout(ANSWER_WITHIN, found).await.unwrap_or(false)
    }

    /// All nodes that have slots.
    pub(super) fn primaries(&self) -> Vec<Arc<Node>> {
        let known = self.known.read();
        let mut ids: Vec<u32> = known.table.to_vec();
        ids.sort_unstable();
        ids.dedup();
        ids.iter().filter_map(|id| known.nodes.get(id)).map(|kept| Arc::clone(&kept.node)).collect()
    }

    /// A slot of this node; none: it has none.
    pub(super) fn has(&self, node: u32, slot: u16) -> bool {
        self.known.read().table[usize::from(slot)] == node
    }

    /// Why something is wrong, as far as is known.
    pub(super) fn trouble(&self) -> Option<String> {
        let primaries = self.primaries();
        if primaries.is_empty() {
            return Some(self.trouble.get());
        }
        primaries.iter().find_map(|node| node.trouble())
    }
}

/// The newest configuration that nodes of so many tell. One that is older than what was known counts only if most of them
/// speak and none knows better: the cluster was set up anew.
fn believed(words: Vec<Word>, asked: usize, known: u64) -> Option<Word> {
    let most_speak = 2 * words.len() > asked;
    let newest = words.into_iter().max_by_key(|word| (word.is_ok, word.epoch))?;
    (most_speak || newest.epoch >= known).then_some(newest)
}

fn redirect(answer: &Result<(Value, u64), CallError>, from: &Node) -> Option<Redirect> {
    match answer {
        Err(CallError::Nothing(NothingWhy::Refusing(why))) => Redirect::parse(why, &from.address.as_ref()?.host),
        _ => None,
    }
}

async fn ask(mut connection: MultiplexedConnection, host: &str) -> RedisResult<Word> {
    let mut both = ::redis::pipe();
    both.cmd("CLUSTER").arg("INFO").cmd("CLUSTER").arg("SLOTS").cmd("INFO").arg("replication");
    let mut answers = connection.send_packed_commands(&both, 0, 3).await?.into_iter();
    let mut next = || answers.next().unwrap_or(Value::Nil).extract_error();
    let (info, slots, replication) = (String::from_redis_value(next()?)?, next()?, String::from_redis_value(next()?)?);
    let fact = |name: &str| info.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix(':')).map(str::trim_end);
    let malformed = || (ErrorKind::UnexpectedReturnType, "CLUSTER INFO or CLUSTER SLOTS is malformed");
    Ok(Word {
        is_ok: fact("cluster_state") == Some("ok"),
        epoch: fact("cluster_current_epoch").and_then(|epoch| epoch.parse().ok()).ok_or_else(malformed)?,
        owned: owned(&slots, host).ok_or_else(malformed)?,
        incarnation: link::primary_incarnation(&replication),
    })
}

fn host_of(address: &ConnectionAddr) -> String {
    match address {
        ConnectionAddr::Tcp(host, _) | ConnectionAddr::TcpTls { host, .. } => host.clone(),
        other => other.to_string(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn word(is_ok: bool, epoch: u64) -> Word {
        Word { is_ok, epoch, owned: Vec::new(), incarnation: None }
    }

    #[test]
    fn the_newest_configuration_of_those_that_are_well_is_believed() {
        let check = |words: &[(bool, u64)], asked, known, expected: Option<u64>| {
            let words: Vec<Word> = words.iter().map(|(is_ok, epoch)| word(*is_ok, *epoch)).collect();
            assert_eq!(believed(words, asked, known).map(|word| word.epoch), expected);
        };
        check(&[(true, 3), (true, 5), (true, 4)], 3, 3, Some(5));
        // Cut off from most of the others, it cannot know.
        check(&[(true, 5), (false, 6)], 3, 5, Some(5));
        // While all are in trouble, the newest.
        check(&[(false, 5), (false, 6)], 3, 5, Some(6));
        // One that is behind, alone.
        check(&[(true, 4)], 3, 5, None);
        check(&[(true, 5)], 3, 5, Some(5));
        // Set up anew.
        check(&[(true, 1), (true, 1)], 3, 5, Some(1));
        check(&[], 0, 0, None);
    }
}
