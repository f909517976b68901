//! Following the primary by Redis Sentinel: three sentinels, a primary and two replicas, all with accounts of their own
//! that may do no more than docs/operations.md says.

#![allow(clippy::print_stdout, reason = "figures and reasons are part of the result")]

use std::time::Duration;

use ::redis::aio::MultiplexedConnection;
use ::redis::{Client, FromRedisValue, cmd};
use tidings_protocol::project::Project;

use crate::contract::writer::{Writer, plain, project};
use crate::redis::server::{RIGHTS, RedisServer, SENTINEL_RIGHTS, SENTINELS_RIGHTS, USER};
use crate::redis::{Account, RedisBroker, RedisSettings};
use crate::{Index as _, Probe as _, ReadError};

/// Longer than a failover takes on a slow machine.
const HANG: Duration = Duration::from_secs(20);

/// The password of the default user, who administrates.
const ADMIN: &str = "adm1n";

/// The services' account at the sentinels.
const WATCH: (&str, &str) = ("watch", "0ther");

/// The sentinels' account at Redis.
const SENTINEL: (&str, &str) = ("sentinel", "th1rd");

struct Fleet {
    nodes: Vec<RedisServer>,
    sentinels: Vec<RedisServer>,
}

impl Fleet {
    async fn start() -> Fleet {
        let primary = node(&[]);
        let follow = ["--replicaof".to_owned(), "127.0.0.1".to_owned(), primary.port().to_string()];
        let follow: Vec<&str> = follow.iter().map(String::as_str).collect();
        let (one, two) = (node(&follow), node(&follow));
        for replica in [&one, &two] {
            eventually("the replica follows", replica, "INFO replication", |info: &String| {
                info.contains("master_link_status:up")
            })
            .await;
        }
        let sentinels: Vec<RedisServer> = (0..3).map(|_| sentinel(primary.port(), 2)).collect();
        let fleet = Fleet { nodes: vec![primary, one, two], sentinels };
        for sentinel in &fleet.sentinels {
            hurry(sentinel).await;
            // Pairs of names and values; all three know each other and both replicas.
            eventually("the sentinels know each other", sentinel, "SENTINEL MASTER hive", |facts: &Vec<String>| {
                let fact = |name: &str| facts.iter().skip_while(|word| *word != name).nth(1).cloned();
                fact("num-slaves").as_deref() == Some("2") && fact("num-other-sentinels").as_deref() == Some("2")
            })
            .await;
        }
        fleet
    }

    fn settings(&self) -> RedisSettings {
        settings(&self.sentinels, "hive")
    }

    /// The index of the node that the third sentinel names.
    async fn primary(&self) -> usize {
        let named: (String, u16) = ask(&self.sentinels[2], "SENTINEL GET-MASTER-ADDR-BY-NAME hive").await;
        self.nodes.iter().position(|node| node.port() == named.1).expect("one of ours")
    }

    /// Lets a sentinel move the primary, as soon as it finds a replica that is good enough.
    async fn fail_over(&self, sentinel: usize) {
        let mut connection = admin(&self.sentinels[sentinel]).await;
        let moving = async {
            while cmd("SENTINEL").arg("FAILOVER").arg("hive").exec_async(&mut connection).await.is_err() {
                tokio::time::sleep(Duration::from_millis(20)).await;
            }
        };
        tokio::time::timeout(HANG, moving).await.expect("a good replica");
    }

    async fn primary_is_not(&self, former: usize) -> usize {
        let moved = async {
            loop {
                let now = self.primary().await;
                if now != former {
                    return now;
                }
                tokio::time::sleep(Duration::from_millis(20)).await;
            }
        };
        tokio::time::timeout(HANG, moved).await.expect("a failover")
    }
}

fn node(args: &[&str]) -> RedisServer {
    let users =
        format!("{} on >{} {RIGHTS} --user {} on >{} {SENTINELS_RIGHTS}", USER.0, USER.1, SENTINEL.0, SENTINEL.1);
    let users: Vec<&str> = ["--user"].into_iter().chain(users.split_whitespace()).collect();
    let rest = ["--requirepass", ADMIN, "--masteruser", SENTINEL.0, "--masterauth", SENTINEL.1];
    let quick = ["--repl-diskless-sync-delay", "0", "--appendonly", "no"];
    RedisServer::start_with(&[&users[..], &rest, &quick, args].concat())
}

fn sentinel(primary: u16, quorum: u8) -> RedisServer {
    RedisServer::sentinel(&format!(
        "requirepass {ADMIN}\nuser {} on >{} {SENTINEL_RIGHTS}\nsentinel monitor hive 127.0.0.1 {primary} {quorum}\n\
         sentinel auth-user hive {}\nsentinel auth-pass hive {}\nsentinel sentinel-pass {ADMIN}\n\
         sentinel down-after-milliseconds hive 500\nsentinel failover-timeout hive 3000",
        WATCH.0, WATCH.1, SENTINEL.0, SENTINEL.1
    ))
}

/// Lets a sentinel look and talk more often than once in seconds.
async fn hurry(sentinel: &RedisServer) {
    let periods = "info-period 200 publish-period 200 ask-period 200 ping-period 100 tilt-period 1000";
    let _: String = ask(sentinel, &format!("SENTINEL DEBUG {periods}")).await;
}

fn settings(sentinels: &[RedisServer], name: &str) -> RedisSettings {
    let hosts: Vec<String> = sentinels.iter().map(|at| format!("127.0.0.1:{}", at.port())).collect();
    RedisSettings {
        sentinel: Account { username: Some(WATCH.0.into()), password: Some(WATCH.1.into()) },
        response_timeout: Duration::from_millis(500),
        ping_interval: Duration::from_millis(200),
        ..RedisSettings::new(format!("redis+sentinel://{}:{}@{}/{name}", USER.0, USER.1, hosts.join(",")))
    }
}

async fn admin(server: &RedisServer) -> MultiplexedConnection {
    let client = Client::open(format!("redis://:{ADMIN}@127.0.0.1:{}", server.port())).expect("a url");
    client.get_multiplexed_async_connection().await.expect("it answers")
}

async fn ask<T: FromRedisValue>(server: &RedisServer, words: &str) -> T {
    let mut words = words.split(' ');
    let mut command = cmd(words.next().unwrap_or_default());
    words.for_each(|word| {
        command.arg(word);
    });
    command.query_async(&mut admin(server).await).await.expect("an answer")
}

async fn eventually<T: FromRedisValue>(what: &str, server: &RedisServer, words: &str, is: impl Fn(&T) -> bool) {
    let looking = async {
        while !is(&ask(server, words).await) {
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    };
    tokio::time::timeout(HANG, looking).await.expect(what);
}

async fn connect(settings: &RedisSettings) -> RedisBroker {
    let broker = RedisBroker::connect(settings).expect("good settings");
    connected(&broker).await;
    broker
}

async fn connected(broker: &RedisBroker) {
    let mut connected = broker.connected();
    let wait = connected.wait_for(|connected| *connected);
    let _ = tokio::time::timeout(HANG, wait).await.expect("in time").expect("the broker lives");
}

/// Waits until the probe comes back.
async fn delivers(broker: &RedisBroker) {
    let wait = async {
        while broker.probe().await.is_err() {
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    };
    tokio::time::timeout(HANG, wait).await.expect("in time");
}

/// Waits until the probe fails with these words.
async fn says(broker: &RedisBroker, part: &str) {
    let mut last = String::new();
    let wait = async {
        loop {
            let said = tokio::time::timeout(Duration::from_secs(1), broker.probe()).await;
            if let Ok(Err(ReadError::Away(why))) = &said
                && why.contains(part)
            {
                return println!("{why}");
            }
            last = format!("{said:?}");
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    };
    let waited = tokio::time::timeout(HANG, wait).await;
    assert!(waited.is_ok(), "not {part:?}, but {last}");
}

/// Whether a node has the log of this project.
async fn has(server: &RedisServer, project: &Project) -> bool {
    ask::<bool>(server, &format!("EXISTS tidings:{{{project}}}:meta")).await
}

async fn write(broker: &RedisBroker, name: &str) -> Project {
    Writer::join(std::sync::Arc::new(broker.clone()), name).await.take(plain(1)).await;
    project(name)
}

#[tokio::test(flavor = "multi_thread")]
async fn the_primary_is_found_and_followed_with_sentinels_missing() {
    let mut fleet = Fleet::start().await;
    let broker = connect(&fleet.settings()).await;
    let first = write(&broker, "first").await;
    assert!(has(&fleet.nodes[0], &first).await);
    // Whoever comes now asks a dead one first, whoever is here loses it.
    fleet.sentinels[0].kill();
    let late = connect(&fleet.settings()).await;
    fleet.fail_over(1).await;
    let now = fleet.primary_is_not(0).await;
    for (index, broker) in [&broker, &late].into_iter().enumerate() {
        delivers(broker).await;
        let project = write(broker, &format!("second-{index}")).await;
        assert!(has(&fleet.nodes[now], &project).await, "the new primary has it");
    }
    // And without any sentinel it stays where it is.
    fleet.sentinels.iter_mut().for_each(RedisServer::kill);
    says_nothing_for_two_rounds(&late).await;
    write(&late, "third").await;
}

async fn says_nothing_for_two_rounds(broker: &RedisBroker) {
    let mut connected = broker.connected();
    connected.mark_unchanged();
    let changed = tokio::time::timeout(Duration::from_secs(2), connected.changed()).await;
    changed.expect_err("a connection that works was given up");
}

#[tokio::test(flavor = "multi_thread")]
async fn an_old_primary_that_still_answers_as_one_is_given_up() {
    let fleet = Fleet::start().await;
    let broker = connect(&fleet.settings()).await;
    write(&broker, "before").await;
    // The sentinels are cut off from it, we are not: it goes on as a primary, and nobody tells it otherwise.
    let (user, _) = SENTINEL;
    let _: String = ask(&fleet.nodes[0], &format!("ACL SETUSER {user} off resetpass")).await;
    let _: u32 = ask(&fleet.nodes[0], &format!("CLIENT KILL USER {user}")).await;
    let now = fleet.primary_is_not(0).await;
    let role: Vec<::redis::Value> = ask(&fleet.nodes[0], "ROLE").await;
    assert_eq!(role[0], ::redis::Value::BulkString(b"master".to_vec()), "the old one still calls itself a primary");
    let there = async {
        let mut number = 0;
        loop {
            let name = project(&format!("after-{number}"));
            let shard = crate::index::shard_of(&name);
            let entered = broker.enter(name.clone()).await.is_ok();
            let look = format!("SISMEMBER tidings:index:{shard:02} {name}");
            if entered && ask::<bool>(&fleet.nodes[now], &look).await {
                return number;
            }
            number += 1;
        }
    };
    let on_the_old = tokio::time::timeout(HANG, there).await.expect("the broker moves");
    println!("{on_the_old} more were written to the old primary");
    for name in ["a", "b", "c"] {
        let project = write(&broker, name).await;
        assert!(!has(&fleet.nodes[0], &project).await && has(&fleet.nodes[now], &project).await, "{name}");
    }
    delivers(&broker).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_node_that_calls_itself_a_replica_is_never_used() {
    let other = node(&[]);
    let follow = ["--replicaof".to_owned(), "127.0.0.1".to_owned(), other.port().to_string()];
    let replica = node(&follow.iter().map(String::as_str).collect::<Vec<_>>());
    let sentinels = [sentinel(replica.port(), 1)];
    let broker = RedisBroker::connect(&settings(&sentinels, "hive")).expect("good settings");
    says(&broker, "no primary now").await;
    assert!(!*broker.connected().borrow());
    let _: String = ask(&replica, "REPLICAOF NO ONE").await;
    connected(&broker).await;
    assert!(has(&replica, &write(&broker, "p").await).await);
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_wrong_is_said_by_name() {
    let node = node(&[]);
    let sentinels = [sentinel(node.port(), 1)];
    let broker = RedisBroker::connect(&settings(&sentinels, "other")).expect("good settings");
    says(&broker, "it knows no primary of the name \"other\"").await;
    let stranger = RedisSettings { sentinel: Account::default(), ..settings(&sentinels, "hive") };
    says(&RedisBroker::connect(&stranger).expect("good settings"), "NOAUTH").await;
    let mut intruder = settings(&sentinels, "hive");
    intruder.url = intruder.url.replace(USER.1, "wrong");
    says(&RedisBroker::connect(&intruder).expect("good settings"), "WRONGPASS").await;
    // What was missing may come later.
    let _: String = ask(&sentinels[0], &format!("SENTINEL MONITOR other 127.0.0.1 {} 1", node.port())).await;
    connected(&broker).await;
}
