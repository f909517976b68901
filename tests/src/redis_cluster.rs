//! A Redis Cluster: three primaries with a replica each, and an account for services that may do what docs/operations.md
//! says and no more. Slots are moved as an operator's tools do it, key by key.

use crate::process::free_port;
use crate::redis::{Durability, Redis};
use crate::sentinel::{PASSWORD, ask, rights};
use crate::wait::eventually;

/// The operators' manual, which says what the account may do beside.
const MANUAL: &str = include_str!("../../docs/operations.md");

/// Primaries at the start; each gets a replica.
const PRIMARIES: usize = 3;

/// Slots of a cluster.
const SLOTS: usize = 16_384;

/// Six nodes.
#[derive(Debug)]
pub struct RedisCluster {
    /// The nodes: those that begin as primaries, then a replica of each, in the same order.
    pub nodes: Vec<Redis>,
}

/// What `CLUSTER NODES` says of one of them.
struct Seen {
    port: u16,
    is_primary: bool,
    slots: Vec<(u16, u16)>,
}

impl RedisCluster {
    /// Starts everything and waits until all nodes serve and all replicas have caught up.
    pub async fn start() -> RedisCluster {
        let mut nodes = Vec::new();
        let buses: Vec<u16> = (0..2 * PRIMARIES).map(|_| free_port()).collect();
        for bus in &buses {
            nodes.push(node(*bus).await);
        }
        let cluster = RedisCluster { nodes };
        for index in 0..PRIMARIES {
            let (first, next) = (index * SLOTS / PRIMARIES, (index + 1) * SLOTS / PRIMARIES);
            cluster.tell(index, &format!("CLUSTER ADDSLOTSRANGE {first} {}", next - 1)).await;
        }
        for index in 0..cluster.nodes.len() {
            cluster.tell(index, &format!("CLUSTER SET-CONFIG-EPOCH {}", index + 1)).await;
            cluster.tell(index, &format!("CLUSTER MEET 127.0.0.1 {} {}", cluster.nodes[0].port(), buses[0])).await;
        }
        for index in 0..PRIMARIES {
            let id = cluster.id(index).await;
            eventually("the replica knows its primary", || async {
                let said = cluster.ask(PRIMARIES + index, &format!("CLUSTER REPLICATE {id}")).await;
                said.starts_with("+OK").then_some(())
            })
            .await;
        }
        for index in 0..cluster.nodes.len() {
            eventually("the cluster is well", || async {
                let info = cluster.ask(index, "CLUSTER INFO").await;
                let all = format!("cluster_known_nodes:{}\r", cluster.nodes.len());
                (info.contains("cluster_state:ok") && info.contains(&all)).then_some(())
            })
            .await;
        }
        for index in PRIMARIES..cluster.nodes.len() {
            eventually("the replica follows", || async {
                let info = cluster.ask(index, "INFO replication").await;
                info.contains("master_link_status:up").then_some(())
            })
            .await;
        }
        cluster
    }

    /// What services are told: two of the nodes.
    pub fn url(&self) -> String {
        let seeds: Vec<String> = self.nodes[1..3].iter().map(|node| format!("127.0.0.1:{}", node.port())).collect();
        format!("redis+cluster://tidings:{PASSWORD}@{}", seeds.join(","))
    }

    /// The slot of a project's keys.
    pub async fn slot(&self, project: &str) -> u16 {
        let said = self.ask(0, &format!("CLUSTER KEYSLOT {{{project}}}")).await;
        said.trim().trim_start_matches(':').parse().expect("a slot")
    }

    /// Index of the primary that has this slot, as the node at `by` sees it.
    pub async fn primary_of(&self, slot: u16, by: usize) -> usize {
        eventually("somebody has the slot", || async {
            let has = |seen: &Seen| seen.slots.iter().any(|(from, to)| (*from..=*to).contains(&slot));
            let port = self.see(by).await.into_iter().find(|seen| seen.is_primary && has(seen))?.port;
            self.nodes.iter().position(|node| node.port() == port)
        })
        .await
    }

    /// Waits until another node than this has the slot, as the node at `by` sees it, and returns it.
    pub async fn moved_from(&self, former: usize, slot: u16, by: usize) -> usize {
        eventually("another node has the slot", || async {
            let now = self.primary_of(slot, by).await;
            (now != former).then_some(now)
        })
        .await
    }

    /// Nothing that is written to this node from now on reaches its replica.
    ///
    /// # Panics
    /// Unless it had one.
    pub async fn cut_replication(&self, node: usize) {
        self.tell(node, "ACL SETUSER default -psync -sync").await;
        let cut = self.ask(node, "CLIENT KILL TYPE replica").await;
        assert!(cut.starts_with(":1"), "{cut}");
    }

    /// Moves a slot from one primary to another, key by key, while it is used.
    pub async fn move_slot(&self, slot: u16, from: usize, to: usize) {
        let (source, target) = (self.id(from).await, self.id(to).await);
        self.tell(to, &format!("CLUSTER SETSLOT {slot} IMPORTING {source}")).await;
        self.tell(from, &format!("CLUSTER SETSLOT {slot} MIGRATING {target}")).await;
        loop {
            let said = self.ask(from, &format!("CLUSTER GETKEYSINSLOT {slot} 10")).await;
            let keys: Vec<&str> = said.lines().filter(|line| line.starts_with("tidings:")).collect();
            if keys.is_empty() {
                break;
            }
            for key in keys {
                let moved = self.ask(from, &format!("MIGRATE 127.0.0.1 {} {key} 0 10000", self.nodes[to].port())).await;
                // A key that went meanwhile (one with an expiry) is none to move.
                assert!(moved.starts_with("+OK") || moved.starts_with("+NOKEY"), "{key}: {moved}");
            }
        }
        for index in [to, from] {
            self.tell(index, &format!("CLUSTER SETSLOT {slot} NODE {target}")).await;
        }
    }

    async fn id(&self, index: usize) -> String {
        let said = self.ask(index, "CLUSTER MYID").await;
        said.lines().nth(1).expect("a node knows itself").to_owned()
    }

    async fn see(&self, by: usize) -> Vec<Seen> {
        let said = self.ask(by, "CLUSTER NODES").await;
        said.lines().filter_map(seen).collect()
    }

    async fn tell(&self, index: usize, words: &str) {
        let said = self.ask(index, words).await;
        assert!(said.starts_with("+OK"), "{words}: {said}");
    }

    async fn ask(&self, index: usize, words: &str) -> String {
        ask(self.nodes[index].port(), None, words).await
    }
}

/// `<id> <host>:<port>@<bus port> <flags> <primary> <ping> <pong> <epoch> <link> <slots> ...`.
fn seen(line: &str) -> Option<Seen> {
    let words: Vec<&str> = line.split_whitespace().collect();
    let (address, flags) = (words.get(1)?, words.get(2)?);
    let port = address.split('@').next()?.rsplit(':').next()?.parse().ok()?;
    let is_primary = flags.contains("master") && !flags.split(',').any(|flag| flag == "fail");
    let slots = words.get(8..)?.iter().filter_map(|stretch| {
        // A slot on its way stands in brackets.
        let (from, to) = stretch.split_once('-').unwrap_or((stretch, stretch));
        Some((from.parse().ok()?, to.parse().ok()?))
    });
    Some(Seen { port, is_primary, slots: slots.collect() })
}

/// Its bus is at a free port, too: by default it is far above the node's, and may not exist.
async fn node(bus: u16) -> Redis {
    let more = MANUAL.lines().find(|line| line.starts_with("+asking ")).expect("the manual lists the rights");
    let options = format!(
        "--user {} {more} --cluster-enabled yes --cluster-port {bus} --cluster-node-timeout 2000 --repl-diskless-sync-delay 0",
        rights("tidings")
    );
    let options: Vec<&str> = options.split_whitespace().collect();
    Redis::with(Durability::Memory, &options).await
}
