//! Limits on the real stores: the memory broker, and Redis while it works, is gone, and comes back.

use std::sync::Arc;
use std::time::Duration;

use tidings_broker::Probe as _;
use tidings_broker::clock::ManualClock;
use tidings_broker::memory::MemoryBroker;
use tidings_broker::quota::Quotas;
use tidings_broker::redis::server::RedisServer;
use tidings_broker::redis::{RedisBroker, RedisSettings};
use tidings_limits::connections::Connections;
use tidings_limits::limiter::{LimitKey, Limiter};
use tidings_limits::{Kind, Metrics, Rate, Rates, Settings};
use tokio_util::sync::CancellationToken;

const START_MS: u64 = 1_763_630_000_000;

fn settings() -> Settings {
    let rates = Rates { requests: Rate::per_second(1_000, 1_000), ..Rates::default() };
    // A store that is there is waited for, however loaded the machine is.
    let wait = Duration::from_secs(30);
    Settings {
        rates,
        wait_max: wait,
        connections_wait_max: wait,
        rest: Duration::from_millis(1),
        ..Settings::default()
    }
}

fn key() -> LimitKey<'static> {
    LimitKey { kind: Kind::Requests, id: "user {1}", rate: None }
}

async fn connect(server: &RedisServer, clock: &ManualClock) -> RedisBroker {
    let settings = RedisSettings { clock: Some(clock.clone()), ..RedisSettings::new(server.url()) };
    let broker = RedisBroker::connect(&settings).expect("good settings");
    until(&broker, true).await;
    broker
}

async fn until(broker: &RedisBroker, wanted: bool) {
    let mut connected = broker.connected();
    let wait = connected.wait_for(|connected| *connected == wanted);
    let _ = tokio::time::timeout(Duration::from_secs(30), wait).await.expect("in time").expect("the broker lives");
}

/// Checks by turns until all refuse; how many were allowed.
async fn exhaust(limiters: &[&Limiter]) -> u64 {
    let (mut allowed, mut refused) = (0, 0);
    while refused < limiters.len() {
        refused = 0;
        for limiter in limiters {
            let decision = limiter.check_async(&key(), 1).await;
            allowed += u64::from(decision.is_allowed());
            refused += usize::from(!decision.is_allowed());
        }
    }
    allowed
}

/// The store's clock stands still, so that no more than the burst is there.
async fn a_limit_is_shared(one: Arc<dyn Quotas>, other: Arc<dyn Quotas>, clock: &ManualClock) {
    let limiters = [one, other].map(|store| Limiter::new(store, settings(), Metrics::default()));
    let both = [&limiters[0], &limiters[1]];
    let allowed = exhaust(&both).await;
    assert!((900..=1_000).contains(&allowed), "{allowed} of 1,000 and what is left in portions");
    let third = Limiter::new(MemoryBroker::new().into_shared(), settings(), Metrics::default());
    assert!(third.check_async(&key(), 1).await.is_allowed(), "another store");
    clock.set(START_MS + 500);
    for limiter in both {
        limiter.finished().await;
    }
}

trait IntoShared {
    fn into_shared(self) -> Arc<dyn Quotas>;
}

impl<T: Quotas> IntoShared for T {
    fn into_shared(self) -> Arc<dyn Quotas> {
        Arc::new(self)
    }
}

async fn places_are_shared(one: Arc<dyn Quotas>, other: Arc<dyn Quotas>, clock: &ManualClock) {
    let gateways = [one, other].map(|store| Connections::new(store, settings(), Metrics::default()));
    let stop = CancellationToken::new();
    let run = tokio::spawn(gateways[0].clone().run(stop.clone()));
    let mut held = Vec::new();
    for turn in 0..6 {
        held.extend(gateways[turn % 2].open("user {1}", Some(4)).await.ok());
    }
    assert_eq!(held.len(), 4, "of both");
    held.clear();
    stop.cancel();
    run.await.expect("it ends");
    // The first said so when it stopped; the second never runs, and its lease must end.
    let third = &gateways[0];
    let mut taken = Vec::new();
    while let Ok(place) = third.open("user {1}", Some(4)).await {
        taken.push(place);
    }
    assert_eq!(taken.len(), 2);
    clock.set(START_MS + 15_000);
    while let Ok(place) = third.open("user {1}", Some(4)).await {
        taken.push(place);
    }
    assert_eq!(taken.len(), 4, "a dead gateway gave back");
}

#[tokio::test]
async fn memory_shares_rates() {
    let clock = ManualClock::at(START_MS);
    let broker = MemoryBroker::with_clock(clock.clone());
    a_limit_is_shared(broker.clone().into_shared(), broker.into_shared(), &clock).await;
}

#[tokio::test]
async fn redis_shares_rates() {
    let (server, clock) = (RedisServer::start(), ManualClock::at(START_MS));
    let (one, other) = (connect(&server, &clock).await, connect(&server, &clock).await);
    a_limit_is_shared(one.into_shared(), other.into_shared(), &clock).await;
}

#[tokio::test]
async fn memory_shares_connections() {
    let clock = ManualClock::at(START_MS);
    let broker = MemoryBroker::with_clock(clock.clone());
    places_are_shared(broker.clone().into_shared(), broker.into_shared(), &clock).await;
}

#[tokio::test]
async fn redis_shares_connections() {
    let (server, clock) = (RedisServer::start(), ManualClock::at(START_MS));
    let (one, other) = (connect(&server, &clock).await, connect(&server, &clock).await);
    places_are_shared(one.into_shared(), other.into_shared(), &clock).await;
}

#[tokio::test]
async fn limits_outlive_a_redis_that_goes_and_comes_back() {
    let (mut server, clock) = (RedisServer::start(), ManualClock::at(START_MS));
    let broker = connect(&server, &clock).await;
    let metrics = Metrics::default();
    let limiter = Limiter::new(broker.clone().into_shared(), settings(), metrics.clone());
    assert!(limiter.check_async(&key(), 1_000).await.is_allowed(), "all of it");
    assert!(!limiter.check_async(&key(), 1).await.is_allowed());

    server.kill();
    until(&broker, false).await;
    let away = LimitKey { id: "another", ..key() };
    assert!(limiter.check_async(&away, 500).await.is_allowed(), "a share is let through");
    assert!(!limiter.check_async(&away, 500).await.is_allowed(), "and no more");
    assert!(metrics.checks_share.get() >= 2);

    server.restart();
    until(&broker, true).await;
    // Asked in the background, until the first answer.
    let back = LimitKey { id: "a third", ..key() };
    let wait = async {
        while metrics.checks_remote.get() < 3 {
            let _ = limiter.check_async(&back, 0).await;
            let _ = limiter.check_async(&back, 100).await;
            limiter.finished().await;
            clock.set(clock.now_ms() + 1_000);
        }
    };
    tokio::time::timeout(Duration::from_secs(30), wait).await.expect("it recovers by itself");
}
