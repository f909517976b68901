//! The scripts of presence against the memory store: the same random calls and clocks; every answer must be the same. A
//! failure names its seed. And what only Redis has: keys that go by themselves, and a memory that is full.

use std::collections::BTreeMap;

use ::redis::AsyncCommands as _;
use rand::rngs::StdRng;
use rand::{RngExt as _, SeedableRng as _};
use tidings_protocol::project::Project;

use crate::clock::ManualClock;
use crate::memory::MemoryBroker;
use crate::presence::{Members, Presences as _, RemoveRunner, Report, Speaker};
use crate::redis::server::RedisServer;
use crate::redis::{RedisBroker, RedisSettings};
use crate::{CallError, NothingWhy, Probe as _};

const HISTORIES: u64 = 30;
const CALLS: usize = 300;
const LEASE_MS: u64 = 2_000;

async fn connect(server: &RedisServer, clock: Option<&ManualClock>) -> RedisBroker {
    let settings = RedisSettings { clock: clock.cloned(), ..RedisSettings::new(server.url()) };
    let broker = RedisBroker::connect(&settings).expect("good settings");
    let _ = broker.connected().wait_for(|connected| *connected).await.expect("the broker lives");
    broker
}

fn by(subject: &str) -> Speaker {
    Speaker { subject: subject.into(), overrules: false }
}

fn any_speaker(random: &mut StdRng) -> Speaker {
    let subject = if random.random_bool(0.9) { "alice" } else { "bo b" };
    Speaker { overrules: random.random_bool(0.1), ..by(subject) }
}

fn any_report(random: &mut StdRng, known_runners: u64) -> Report {
    let members = random.random_bool(0.5).then(|| {
        let name = |index: u32| (format!("v{index}"), format!("{index}").into());
        let named = (0..4).filter(|_| random.random_bool(0.4)).map(name).collect();
        Box::new(Members { version: 0, named, others: random.random_range(0..3) })
    });
    let gateway = format!("g-{}", random.random_range(0..3)).into();
    Report { gateway, lease_ms: LEASE_MS, version: random.random_range(1..4), members, known_runners }
}

#[tokio::test]
async fn presence_in_lua_and_in_rust_agrees() {
    let (server, clock) = (RedisServer::start(), ManualClock::at(1_763_630_000_000));
    let (redis, memory) = (connect(&server, Some(&clock)).await, MemoryBroker::with_clock(clock.clone()));
    let mut tally = BTreeMap::new();
    for seed in 0..HISTORIES {
        let (mut random, mut known) = (StdRng::seed_from_u64(seed), 0);
        let project: Project = format!("p{seed}").parse().expect("a name");
        for call in 0..CALLS {
            match random.random_range(0..40) {
                0..10 => clock.set(clock.now_ms() + random.random_range(0..LEASE_MS / 2)),
                10 if random.random_bool(0.3) => clock.set(clock.now_ms() - 3_600_000),
                _ => {}
            }
            let at = format!("seed {seed}, call {call}");
            let mut count = |what: &'static str| *tally.entry(what).or_insert(0) += 1;
            let name = format!("r{}", random.random_range(0..4));
            match random.random_range(0..10) {
                0..4 => {
                    let known_runners = if random.random_bool(0.5) { known } else { 0 };
                    let report = any_report(&mut random, known_runners);
                    let told = redis.report(project.clone(), report.clone()).await.expect("an answer");
                    assert_eq!(
                        Ok(&told),
                        memory.report(project.clone(), report.clone()).await.as_ref(),
                        "{at}: {report:?}"
                    );
                    known = told.roll.runners_version;
                    count(if told.lapsed { "lapsed" } else { "reported" });
                    let read = redis.members(project.clone(), report.gateway.clone()).await;
                    if !told.lapsed {
                        assert_eq!(read, memory.members(project.clone(), report.gateway).await, "{at}");
                    }
                }
                4 => {
                    let gateway: std::sync::Arc<str> = format!("g-{}", random.random_range(0..3)).into();
                    let told = redis.leave(project.clone(), gateway.clone()).await;
                    assert_eq!(told, memory.leave(project.clone(), gateway).await, "{at}");
                }
                5 => {
                    let by = any_speaker(&mut random);
                    let told = redis.remove_runner(project.clone(), name.clone(), by.clone()).await.expect("an answer");
                    assert_eq!(Ok(told), memory.remove_runner(project.clone(), name, by).await, "{at}");
                    count(match told {
                        RemoveRunner::Gone => "removed",
                        RemoveRunner::Absent => "was not there",
                        RemoveRunner::Anothers => "another's",
                    });
                }
                6..8 => {
                    let (ttl_ms, record) =
                        (random.random_range(0..2 * LEASE_MS), random.random_range(0..2).to_string());
                    let (by, record) = (any_speaker(&mut random), bytes::Bytes::from(record));
                    let told =
                        redis.put_runner(project.clone(), name.clone(), by.clone(), ttl_ms, record.clone()).await;
                    let expected = memory.put_runner(project.clone(), name, by, ttl_ms, record).await;
                    assert_eq!(told, expected, "{at}");
                    count("put");
                }
                _ => {
                    let told = redis.roll(project.clone(), known).await.expect("an answer");
                    assert_eq!(Ok(&told), memory.roll(project.clone(), known).await.as_ref(), "{at}");
                    count(if told.runners.is_some() { "news" } else { "no news" });
                    known = told.runners_version;
                }
            }
        }
    }
    for kind in ["lapsed", "reported", "removed", "was not there", "put", "news", "no news"] {
        assert!(tally.get(kind).is_some_and(|times| *times >= 100), "{kind} hardly occurred: {tally:?}");
    }
}

#[tokio::test]
async fn keys_of_presence_go_by_themselves() {
    let server = RedisServer::start();
    let redis = connect(&server, None).await;
    let mut connection = server.connection().await;
    let project: Project = "p".parse().expect("a name");
    let members = Some(Box::new(Members { version: 0, named: vec![("v".into(), "{}".into())], others: 0 }));
    let report = Report { gateway: "g".into(), lease_ms: 15_000, version: 1, members, known_runners: 0 };
    redis.report(project.clone(), report).await.expect("an answer");
    redis.put_runner(project, "r".into(), by("a"), 1_000, "{}".into()).await.expect("an answer");
    for (key, most_ms) in [
        ("tidings:{p}:presence:g", 15_000),
        ("tidings:{p}:presence", 30_000),
        // Longer than anybody may say to be there: who knows its version learns that it went.
        ("tidings:{p}:runners", 1_200_000),
    ] {
        let expires_ms: i64 = connection.pttl(key).await.expect("a key");
        assert!((most_ms / 2..=most_ms).contains(&expires_ms), "{key}: {expires_ms} ms");
    }
}

#[tokio::test]
async fn who_leaves_needs_no_memory() {
    let server = RedisServer::start();
    let redis = connect(&server, None).await;
    let project: Project = "p".parse().expect("a name");
    let members = || Some(Box::new(Members::default()));
    let report =
        |version, members| Report { gateway: "g".into(), lease_ms: 15_000, version, members, known_runners: 0 };
    redis.report(project.clone(), report(1, members())).await.expect("an answer");
    redis.put_runner(project.clone(), "r".into(), by("a"), 30_000, "{}".into()).await.expect("an answer");
    let set: ::redis::RedisResult<_> = server.command("CONFIG SET maxmemory 1").await;
    set.expect("a setting");
    let full = CallError::Nothing(NothingWhy::Memory);
    assert_eq!(redis.report(project.clone(), report(2, members())).await, Err(full.clone()));
    assert_eq!(redis.put_runner(project.clone(), "s".into(), by("a"), 30_000, "{}".into()).await, Err(full));
    let there = redis.roll(project.clone(), 0).await.expect("reads pass");
    assert_eq!((there.gateways.len(), there.runners.map(|all| all.len())), (1, Some(1)));
    assert_eq!(redis.leave(project.clone(), "g".into()).await, Ok(()));
    assert_eq!(redis.remove_runner(project.clone(), "r".into(), by("a")).await, Ok(RemoveRunner::Gone));
    let there = redis.roll(project, 0).await.expect("reads pass");
    assert_eq!((there.gateways.len(), there.runners.map(|all| all.len())), (0, Some(0)));
}
