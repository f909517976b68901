//! A Redis Cluster of a test's own: servers that know each other, slots that are moved key by key.

use std::time::Duration;

use ::redis::{FromRedisValue, RedisResult, Value, from_redis_value};

use super::{CLUSTER_RIGHTS, RIGHTS, RedisServer, USER};
use crate::redis::slots::{SLOTS, owned};

/// Longer than anything here takes on a slow machine.
const HANG: Duration = Duration::from_mins(1);

/// How often a node is asked for something that gives no sign.
pub(crate) const LOOK_EVERY: Duration = Duration::from_millis(20);

/// Primaries with the same number of slots each, and their replicas.
pub(crate) struct RedisCluster {
    /// The primaries as they were at first, then the replicas.
    pub(crate) nodes: Vec<RedisServer>,
}

impl RedisCluster {
    /// Starts primaries that keep everything over a restart, and waits until all of them serve.
    ///
    /// # Panics
    /// If a server does not start, or they do not find together.
    pub(crate) async fn start(primaries: u16) -> RedisCluster {
        let nodes: Vec<RedisServer> = (0..primaries).map(|_| node()).collect();
        let cluster = RedisCluster { nodes };
        for index in 0..primaries {
            let bound = |index: u16| u32::from(index) * u32::from(SLOTS) / u32::from(primaries);
            let server = &cluster.nodes[usize::from(index)];
            let slots = format!("CLUSTER ADDSLOTSRANGE {} {}", bound(index), bound(index + 1) - 1);
            server.command(&slots).await.expect("free slots");
            server.command(&format!("CLUSTER SET-CONFIG-EPOCH {}", index + 1)).await.expect("a new node");
            cluster.meet(server).await;
        }
        cluster.serves().await;
        cluster
    }

    /// Starts a replica of each primary, and waits until they have what it has.
    ///
    /// # Panics
    /// As [`RedisCluster::start`].
    pub(crate) async fn replicate(&mut self) {
        for primary in 0..self.nodes.len() {
            let id: String = self.ask(primary, "CLUSTER MYID").await;
            let replica = node();
            self.meet(&replica).await;
            self.nodes.push(replica);
            let last = self.nodes.len() - 1;
            // It must have heard of its primary first.
            self.eventually(last, &format!("CLUSTER REPLICATE {id}"), |answer: String| answer == "OK").await;
            self.eventually(last, "INFO replication", |info: String| info.contains("master_link_status:up")).await;
        }
        self.serves().await;
    }

    async fn meet(&self, server: &RedisServer) {
        let meet = format!("CLUSTER MEET 127.0.0.1 {}", self.nodes[0].port());
        server.command(&meet).await.expect("it does");
    }

    /// Waits until every node that runs says that the cluster is well and knows all of them.
    ///
    /// # Panics
    /// If that takes too long.
    pub(crate) async fn serves(&self) {
        let all = format!("cluster_known_nodes:{}\r", self.nodes.len());
        for index in 0..self.nodes.len() {
            self.eventually(index, "CLUSTER INFO", |info: String| {
                info.contains("cluster_state:ok") && info.contains(&all)
            })
            .await;
        }
    }

    /// Its address, with the account that has no more rights than the manual lists.
    pub(crate) fn url(&self) -> String {
        let hosts: Vec<String> = self.nodes.iter().map(|node| format!("127.0.0.1:{}", node.port())).collect();
        format!("redis+cluster://{}:{}@{}", USER.0, USER.1, hosts.join(","))
    }

    /// The answer of one node.
    ///
    /// # Panics
    /// If it gives none, or another one.
    pub(crate) async fn ask<T: FromRedisValue>(&self, index: usize, words: &str) -> T {
        from_redis_value(self.nodes[index].command(words).await.expect("an answer")).expect("as expected")
    }

    /// Waits until a node's answer is as wanted.
    ///
    /// # Panics
    /// If that takes too long.
    pub(crate) async fn eventually<T: FromRedisValue>(&self, index: usize, words: &str, is: impl Fn(T) -> bool) {
        let looking = async {
            loop {
                let answer = self.nodes[index].command(words).await;
                if answer.is_ok_and(|answer| from_redis_value(answer).is_ok_and(&is)) {
                    return;
                }
                tokio::time::sleep(LOOK_EVERY).await;
            }
        };
        tokio::time::timeout(HANG, looking).await.expect("in time");
    }

    /// Who has a slot, as the node at `index` sees it; none: nobody.
    ///
    /// # Panics
    /// If it does not answer.
    pub(crate) async fn owner(&self, index: usize, slot: u16) -> Option<usize> {
        let answer = self.nodes[index].command("CLUSTER SLOTS").await.expect("an answer");
        let slots = owned(&answer, "127.0.0.1").expect("stretches");
        let by = slots.iter().find(|owned| (owned.from..=owned.to).contains(&slot))?.by.port;
        self.nodes.iter().position(|node| node.port() == by)
    }

    /// Opens the move of a slot: from now on the source redirects to the target whoever asks for keys that it lacks.
    ///
    /// # Panics
    /// If a node refuses.
    pub(crate) async fn open_move(&self, slot: u16, from: usize, to: usize) {
        let (source, target): (String, String) =
            (self.ask(from, "CLUSTER MYID").await, self.ask(to, "CLUSTER MYID").await);
        let _: String = self.ask(to, &format!("CLUSTER SETSLOT {slot} IMPORTING {source}")).await;
        let _: String = self.ask(from, &format!("CLUSTER SETSLOT {slot} MIGRATING {target}")).await;
    }

    /// Moves one key.
    pub(crate) async fn move_key(&self, key: &str, from: usize, to: usize) -> RedisResult<Value> {
        self.nodes[from].command(&format!("MIGRATE 127.0.0.1 {} {key} 0 5000", self.nodes[to].port())).await
    }

    /// Ends the move of a slot: it is the target's.
    ///
    /// # Panics
    /// If a node refuses.
    pub(crate) async fn close_move(&self, slot: u16, from: usize, to: usize) {
        let target: String = self.ask(to, "CLUSTER MYID").await;
        let closing = async {
            loop {
                // The target first, as tools do it.
                for index in [to, from] {
                    let _: String = self.ask(index, &format!("CLUSTER SETSLOT {slot} NODE {target}")).await;
                }
                // After moves in a row, old gossip may undo the last one at the target, which then sends everybody back.
                tokio::time::sleep(LOOK_EVERY).await;
                let mut agreed = true;
                for index in 0..self.nodes.len() {
                    agreed &= self.owner(index, slot).await == Some(to);
                }
                if agreed {
                    return;
                }
            }
        };
        tokio::time::timeout(HANG, closing).await.expect("they agree");
    }

    /// Moves a slot with all its keys.
    ///
    /// # Panics
    /// If a node refuses.
    pub(crate) async fn move_slot(&self, slot: u16, from: usize, to: usize) {
        self.open_move(slot, from, to).await;
        self.finish_move(slot, from, to).await;
    }

    /// Moves what is left of a slot's keys, and ends its move.
    ///
    /// # Panics
    /// If a node refuses.
    pub(crate) async fn finish_move(&self, slot: u16, from: usize, to: usize) {
        loop {
            let keys: Vec<String> = self.ask(from, &format!("CLUSTER GETKEYSINSLOT {slot} 100")).await;
            if keys.is_empty() {
                break;
            }
            for key in keys {
                self.move_key(&key, from, to).await.expect("it moves");
            }
        }
        self.close_move(slot, from, to).await;
    }
}

fn node() -> RedisServer {
    let account = format!("--user {} on >{} {RIGHTS} {CLUSTER_RIGHTS}", USER.0, USER.1);
    let account: Vec<&str> = account.split_whitespace().collect();
    let rest = "--cluster-enabled yes --cluster-node-timeout 1500 --repl-diskless-sync-delay 0 --appendonly yes \
                --appendfsync always";
    RedisServer::start_with(&[account, rest.split_whitespace().collect()].concat())
}
