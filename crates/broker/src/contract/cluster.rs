//! The suite on a Redis Cluster of three primaries. Cases take turns on one cluster, each with keys of its own: three
//! servers take seconds to find together.

use std::sync::Arc;

use futures_util::future::{BoxFuture, FutureExt as _};
use tidings_protocol::project::Project;

use super::Subject;
use super::subject::{START_MS, until_connected};
use crate::Broker;
use crate::clock::ManualClock;
use crate::redis::server::cluster::{LOOK_EVERY, RedisCluster};
use crate::redis::{RedisBroker, RedisSettings};

/// A prefix of a cluster's keys.
pub(super) struct ClusterSubject<'a> {
    cluster: &'a mut RedisCluster,
    prefix: String,
    broker: RedisBroker,
    clock: ManualClock,
}

impl ClusterSubject<'_> {
    pub(super) async fn connect(cluster: &mut RedisCluster, prefix: String) -> ClusterSubject<'_> {
        let clock = ManualClock::at(START_MS);
        let settings =
            RedisSettings { clock: Some(clock.clone()), prefix: prefix.clone(), ..RedisSettings::new(cluster.url()) };
        let broker = RedisBroker::connect(&settings).expect("the settings are good");
        reaches_all(&broker).await;
        ClusterSubject { cluster, prefix, broker, clock }
    }

    async fn everywhere(&self, words: &str) {
        for node in &self.cluster.nodes {
            node.command(words).await.expect("it does");
        }
    }
}

/// Connected is who reaches most of the primaries; a case asks any.
async fn reaches_all(broker: &RedisBroker) {
    while !broker.reaches_all() {
        tokio::time::sleep(LOOK_EVERY).await;
    }
}

impl Subject for ClusterSubject<'_> {
    fn broker(&self) -> Arc<dyn Broker> {
        Arc::new(self.broker.clone())
    }

    fn clock(&self) -> &ManualClock {
        &self.clock
    }

    fn change_incarnation(&mut self) -> BoxFuture<'_, ()> {
        self.everywhere("DEBUG CHANGE-REPL-ID").boxed()
    }

    fn set_format(&mut self, project: &Project, format: u32) -> BoxFuture<'_, ()> {
        let command = format!("HSET {}:{{{project}}}:meta format {format}", self.prefix);
        async move {
            let mut taken = 0;
            for node in &self.cluster.nodes {
                taken += u8::from(node.command(&command).await.is_ok());
            }
            assert_eq!(taken, 1, "one of them has the slot");
        }
        .boxed()
    }

    fn cut(&mut self) -> BoxFuture<'_, ()> {
        self.everywhere("CLIENT KILL TYPE pubsub").boxed()
    }

    fn reopen(&mut self) -> BoxFuture<'_, bool> {
        async move {
            for node in &mut self.cluster.nodes {
                node.kill();
            }
            until_connected(&self.broker, false).await;
            for node in &mut self.cluster.nodes {
                node.restart();
            }
            self.cluster.serves().await;
            reaches_all(&self.broker).await;
            true
        }
        .boxed()
    }
}

#[tokio::test]
async fn the_contract_holds_on_a_cluster() {
    let mut cluster = RedisCluster::start(3).await;
    let mut failed = Vec::new();
    for (turn, case) in super::all().enumerate() {
        // The prefix of the accounts' rights stands before it.
        let mut subject = ClusterSubject::connect(&mut cluster, format!("tidings:turn-{turn}")).await;
        let run = std::panic::AssertUnwindSafe(super::run((case.run)(&mut subject))).catch_unwind();
        if run.await.is_err() {
            failed.push(case.name);
        }
        subject.broker.close().await;
    }
    assert!(failed.is_empty(), "{failed:?}");
}
