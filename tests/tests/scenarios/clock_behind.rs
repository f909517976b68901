//! A failover to a replica whose clock is an hour behind: positions go on growing, nothing is lost and nothing is told
//! twice.
//!
//! The script's clock is a seam of the store's client, so the writer runs in this process; gateways, Redis and the
//! failover are real. The clock is an hour ahead until the failover and right behind it, as the gateways' own is all
//! the time.

use std::sync::Arc;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use prometheus::Registry;
use tidings_broker::clock::ManualClock;
use tidings_broker::redis::{RedisBroker, RedisSettings};
use tidings_log::janitor::Activity;
use tidings_log::writer::budget::Budget;
use tidings_log::writer::{self, Options, Outcome, Writers};
use tidings_protocol::wire;
use tidings_tests::audit::Audit;
use tidings_tests::audit::forks::Excuse;
use tidings_tests::cluster::{Cluster, PROJECT};
use tidings_tests::place::Place;
use tidings_tests::proxy::Proxy;
use tidings_tests::runner::Acknowledged;
use tidings_tests::wait::eventually;
use tokio_util::sync::{CancellationToken, DropGuard};

use crate::steps::{latecomers, quick, standing};

/// How far the clock is behind.
const HOUR_MS: u64 = 3_600_000;

fn now_ms() -> u64 {
    let since = SystemTime::now().duration_since(UNIX_EPOCH).expect("it is later than 1970");
    u64::try_from(since.as_millis()).expect("it is not that late")
}

/// What an ingest writes with, in this process.
struct Writer {
    writers: Writers,
    clock: ManualClock,
    link: Proxy,
    _watching: DropGuard,
}

impl Writer {
    async fn new(redis_port: u16) -> Writer {
        let clock = ManualClock::at(now_ms() + HOUR_MS);
        let link = Proxy::start(redis_port).await;
        let settings = RedisSettings {
            clock: Some(clock.clone()),
            ping_interval: Duration::from_millis(200),
            ..RedisSettings::new(link.url())
        };
        let broker = Arc::new(RedisBroker::connect(&settings).expect("sound settings"));
        let metrics = writer::Metrics::register(&Registry::new()).expect("an empty registry");
        let budget = Budget::new(64 * 1024 * 1024);
        let writers = Writers::new(broker, writer::Settings::default(), budget, Activity::default(), metrics);
        let (watching, stop) = (writers.clone(), CancellationToken::new());
        let until = stop.clone();
        tokio::spawn(async move { watching.watch(until).await });
        Writer { writers, clock, link, _watching: stop.drop_guard() }
    }

    /// Says an event of its own entry until it is acknowledged.
    async fn says(&self, id: &str) -> Acknowledged {
        let json = format!(
            "{{\"type\":\"log\",\"id\":\"{id}\",\"session\":\"s\",\"data\":{{\"level\":\"info\",\"message\":\"m\"}}}}"
        );
        let event = wire::Event {
            json: json.into(),
            r#type: "log".into(),
            id: id.into(),
            id_from_runner: true,
            session: "s".into(),
            ..wire::Event::default()
        };
        let project = PROJECT.parse().expect("a name");
        eventually("it is acknowledged", async || {
            let outcomes = self.writers.submit(&project, vec![event.clone()], Options::new()).await.ok()?;
            match outcomes.into_iter().next()? {
                Outcome::Appended { id, position } => {
                    Some(Acknowledged { id, position: position.to_string(), status: "appended".into() })
                }
                other => panic!("{other:?}"),
            }
        })
        .await
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn positions_go_on_growing_when_the_new_primary_has_a_clock_that_is_behind() {
    let mut cluster = quick(Cluster::on_redis().gateways(2).ingests(0).replicated()).start().await;
    let writer = Writer::new(cluster.redis().port()).await;
    let mut viewers = standing(&cluster, 1);
    let say = async |cluster: &Cluster, name: &str, count: usize| {
        for index in 0..count {
            cluster.ledger.enter(&[writer.says(&format!("{name}-{index}")).await]);
        }
    };
    say(&cluster, "kept", 20).await;
    viewers.have_reached(cluster.ledger.last_n()).await;
    cluster.replicated().await;
    cluster.cut_replication();
    say(&cluster, "lost", 30).await;
    let ahead = cluster.ledger.acknowledged().values().map(|place| place.ms).max().expect("some");
    viewers.have_reached(cluster.ledger.last_n()).await;
    cluster.redis().kill();
    cluster.fail_over().await;
    writer.clock.set(now_ms());
    writer.link.leads_to(cluster.redis().port());
    say(&cluster, "behind", 20).await;
    let end = cluster.ledger.last_n();

    let records = viewers.reach(end).await;
    let late = latecomers(&cluster, end).await;
    for (records, who) in [(&records, "who was there"), (&late, "who comes later")] {
        Audit::across_forks(records, &cluster.ledger, Excuse::None).assert_flawless(who);
        assert!(records.iter().all(|record| record.told.len() == cluster.ledger.len()), "each once");
    }
    for record in &late {
        let ids: Vec<(u64, u64)> = record.told.iter().map(|told| (told.place.ms, told.place.n)).collect();
        assert!(ids.is_sorted() && ids.windows(2).all(|two| two[0].1 < two[1].1), "{:?}: {ids:?}", record.kind);
        // The clock went back by an hour, and positions did not.
        let Place { ms, .. } = record.told.last().expect("some").place;
        assert!(ms >= ahead && ms > now_ms() + HOUR_MS / 2, "{ms}");
    }
}
