//! The scripts of shared limits against the memory store: the same random calls and clocks; every answer must be the same.
//! A failure names its seed. And what only Redis has: keys that go by themselves.

use std::collections::BTreeMap;
use std::time::Duration;

use ::redis::{AsyncCommands as _, RedisResult};
use rand::rngs::StdRng;
use rand::{RngExt as _, SeedableRng as _};

use crate::clock::ManualClock;
use crate::memory::MemoryBroker;
use crate::quota::{HOLDS_MAX, Hold, HoldCall, Quotas as _, Rate, Take};
use crate::redis::server::RedisServer;
use crate::redis::{RedisBroker, RedisSettings};
use crate::{CallError, NothingWhy, Probe as _};

const HISTORIES: u64 = 30;
const CALLS: usize = 300;
const TTL_MS: u64 = 2_000;
const HOLDERS: [&str; 4] = ["h0", "h1", "h10", "n"];

async fn connect(server: &RedisServer, clock: Option<&ManualClock>) -> RedisBroker {
    let settings = RedisSettings { clock: clock.cloned(), ..RedisSettings::new(server.url()) };
    let broker = RedisBroker::connect(&settings).expect("good settings");
    let _ = broker.connected().wait_for(|connected| *connected).await.expect("the broker lives");
    broker
}

fn any_rate(random: &mut StdRng) -> Rate {
    match random.random_range(0..4) {
        0 => Rate::per_second(random.random_range(1..20), random.random_range(1..20)),
        1 => Rate::per_second(random.random_range(1..5_000_000_000), random.random_range(1..5_000_000_000)),
        2 => Rate::new(random.random_range(1..100), Duration::from_hours(1), random.random_range(1..100)),
        _ => Rate::per_second(random.random_range(1_000_000..20_000_000), random.random_range(1..10)),
    }
}

#[tokio::test]
async fn buckets_in_lua_and_in_rust_agree() {
    let (server, clock) = (RedisServer::start(), ManualClock::at(1_763_630_000_000));
    let (redis, memory) = (connect(&server, Some(&clock)).await, MemoryBroker::with_clock(clock.clone()));
    let mut tally = BTreeMap::new();
    for seed in 0..HISTORIES {
        let mut random = StdRng::seed_from_u64(seed);
        let mut rates: Vec<Rate> = (0..3).map(|_| any_rate(&mut random)).collect();
        for call in 0..CALLS {
            let which = random.random_range(0..rates.len());
            let (units, per_us, burst) = rates[which].parts();
            match random.random_range(0..20) {
                0..4 => clock.set(clock.now_ms() + random.random_range(0..100)),
                4..8 => clock.set(clock.now_ms() + random.random_range(0..=2 * burst * per_us / units / 1_000)),
                8 => clock.set(clock.now_ms() - random.random_range(0..10_000)),
                9 => rates[which] = any_rate(&mut random),
                _ => {}
            }
            let rate = rates[which];
            let some = |random: &mut StdRng| match random.random_range(0..4) {
                0 => random.random_range(0..4),
                1 => rate.burst(),
                2 => random.random_range(0..=rate.burst()),
                _ => random.random_range(0..=2 * rate.burst()),
            };
            let (wanted, least) = (some(&mut random), some(&mut random));
            let take = Take { bucket: format!("{seed}:{which}"), rate, wanted, least };
            let (told, expected) = (redis.take(vec![take.clone()]).await, memory.take(vec![take.clone()]).await);
            assert_eq!(told, expected, "seed {seed}, call {call}: {take:?}");
            let taken = told[0].as_ref().expect("an answer");
            let kind = match taken.granted {
                0 => "refused",
                granted if granted > rate.burst() => "over the burst",
                granted if granted < wanted => "in part",
                _ => "granted",
            };
            *tally.entry(kind).or_insert(0) += 1;
        }
    }
    for kind in ["refused", "over the burst", "in part", "granted"] {
        assert!(tally.get(kind).is_some_and(|times| *times >= 100), "{kind} hardly occurred: {tally:?}");
    }
}

/// What each holder last said of each name; said again in full after a lapse, as the contract asks.
type Said = BTreeMap<(&'static str, String), (u32, u32)>;

#[tokio::test]
async fn holds_in_lua_and_in_rust_agree() {
    let (server, clock) = (RedisServer::start(), ManualClock::at(1_763_630_000_000));
    let (redis, memory) = (connect(&server, Some(&clock)).await, MemoryBroker::with_clock(clock.clone()));
    let mut tally = BTreeMap::new();
    for seed in 0..HISTORIES {
        let (mut random, shard) = (StdRng::seed_from_u64(seed), u16::try_from(seed).expect("few"));
        let mut said = Said::new();
        for call in 0..CALLS {
            match random.random_range(0..20) {
                0..5 => clock.set(clock.now_ms() + random.random_range(0..TTL_MS / 2)),
                5 if random.random_bool(0.1) => clock.set(clock.now_ms() - 3_600_000),
                _ => {}
            }
            let holder = HOLDERS[random.random_range(0..HOLDERS.len())];
            let names: Vec<String> =
                (0..4).filter(|_| random.random_bool(0.4)).map(|name| format!("name {name}")).collect();
            let mut holds: Vec<Hold> = names
                .into_iter()
                .map(|name| Hold {
                    name,
                    kept: random.random_range(0..3),
                    wanted: random.random_range(0..4),
                    max: random.random_range(0..8),
                })
                .collect();
            let mut again = false;
            loop {
                let call_of = HoldCall { holder: holder.into(), ttl_ms: TTL_MS, holds: holds.clone() };
                let told = redis.hold(shard, call_of.clone()).await.expect("an answer");
                assert_eq!(Ok(&told), memory.hold(shard, call_of.clone()).await.as_ref(), "seed {seed}, call {call}");
                for (hold, granted) in holds.iter().zip(&told.granted) {
                    said.insert((holder, hold.name.clone()), (hold.kept + granted, hold.max));
                    *tally.entry(if *granted < hold.wanted { "short" } else { "granted" }).or_insert(0) += 1;
                }
                if again || !told.lapsed {
                    break;
                }
                *tally.entry("lapsed").or_insert(0) += 1;
                again = true;
                let mine = said.iter().filter(|((of, _), _)| *of == holder);
                holds = mine
                    .map(|((_, name), (kept, max))| Hold { name: name.clone(), kept: *kept, wanted: 0, max: *max })
                    .collect();
            }
        }
        // What is left of the dead is swept, a few fields with each call.
        clock.set(clock.now_ms() + TTL_MS);
        let nobody = || HoldCall { holder: "sweeper".into(), ttl_ms: TTL_MS, holds: Vec::new() };
        let mut connection = server.connection().await;
        let key = format!("tidings:holds:{shard:02}");
        for _ in 0..20 {
            redis.hold(shard, nobody()).await.expect("an answer");
        }
        let fields: Vec<String> = connection.hkeys(&key).await.expect("a hash");
        assert_eq!(fields, ["h:sweeper"], "seed {seed}");
        assert!(memory.held(shard).values().all(|count| *count == 0), "seed {seed}");
    }
    for kind in ["short", "granted", "lapsed"] {
        assert!(tally.get(kind).is_some_and(|times| *times >= 100), "{kind} hardly occurred: {tally:?}");
    }
}

#[tokio::test]
async fn keys_go_by_themselves_and_the_server_has_the_time() {
    let server = RedisServer::start();
    let redis = connect(&server, None).await;
    let mut connection = server.connection().await;
    let take = Take { bucket: "b".into(), rate: Rate::per_second(10, 1_000), wanted: 500, least: 500 };
    assert_eq!(redis.take(vec![take.clone()]).await[0].as_ref().map(|taken| taken.granted), Ok(500));
    assert_eq!(redis.take(vec![Take { least: 1_000, ..take }]).await[0].as_ref().map(|taken| taken.granted), Ok(0));
    let expires_ms: i64 = connection.pttl("tidings:rate:b").await.expect("a key");
    assert!((1..=50_000).contains(&expires_ms), "{expires_ms} ms: when it is full");

    let hold = |name: &str| Hold { name: name.into(), kept: 1, wanted: 0, max: 1 };
    let holds = (0..HOLDS_MAX).map(|name| hold(&name.to_string())).collect();
    let call = HoldCall { holder: "h".into(), ttl_ms: 15_000, holds };
    assert!(redis.hold(3, call).await.expect("as many names as may be").lapsed);
    let expires_ms: i64 = connection.pttl("tidings:holds:03").await.expect("a key");
    assert!((15_001..=30_000).contains(&expires_ms), "{expires_ms} ms: behind the lease");
}

#[tokio::test]
async fn a_store_that_is_full_or_away_says_so() {
    let mut server = RedisServer::start();
    let redis = connect(&server, None).await;
    let take = || vec![Take { bucket: "b".into(), rate: Rate::per_second(10, 10), wanted: 1, least: 1 }];
    let call = || HoldCall { holder: "h".into(), ttl_ms: 15_000, holds: Vec::new() };
    let set: RedisResult<_> = server.command("CONFIG SET maxmemory 1").await;
    set.expect("a setting");
    assert_eq!(redis.take(take()).await, [Err(CallError::Nothing(NothingWhy::Memory))]);
    assert_eq!(redis.hold(0, call()).await, Err(CallError::Nothing(NothingWhy::Memory)));
    server.kill();
    let _ = redis.connected().wait_for(|connected| !connected).await.expect("the broker lives");
    assert_eq!(redis.take(take()).await, [Err(CallError::Nothing(NothingWhy::Away))]);
    assert_eq!(redis.hold(0, call()).await, Err(CallError::Nothing(NothingWhy::Away)));
}
