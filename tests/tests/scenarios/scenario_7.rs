//! Scenario 7: `maxmemory` is reached while checkpoints are behind, nobody watches, and the ingest that wrote is
//! killed: another one frees memory, appends go on, snapshots are right. The same with a fold that fails.
//!
//! That checkpoints are behind is certain, since somebody else holds all leases of janitors until memory is full. The
//! fold fails as it does beside a newer release: that one has written the checkpoint by rules of its own.

use serde_json::{Value, json};
use tidings_protocol::fold::FOLD_VERSION;
use tidings_tests::cluster::{Cluster, PROJECT};
use tidings_tests::fold::fold;
use tidings_tests::http;
use tidings_tests::place::Place;
use tidings_tests::redis::Redis;
use tidings_tests::swarm::Swarm;
use tidings_tests::wait::eventually;

use crate::steps::{acknowledged, posted, quick, snapshot};

/// Events that nobody has folded when memory is full.
const BEHIND: usize = 6_000;

/// Events that somebody has, where the fold fails later.
const FOLDED: usize = 2_000;

/// Sets the leases of all shards for somebody who does nothing, or removes them.
async fn nobody_tends(redis: &Redis, nobody: bool) {
    let script = "for i = 0, 63 do local key = string.format('tidings:lease:%02d', i) \
        if ARGV[1] == '1' then redis.call('SET', key, '9999999999999 nobody') else redis.call('DEL', key) end end \
        return 'OK'";
    let _: String = redis.command(&["EVAL", script, "0", if nobody { "1" } else { "0" }]).await;
}

async fn meta(redis: &Redis, field: &str) -> Option<String> {
    redis.command(&["HGET", &format!("tidings:{{{PROJECT}}}:meta"), field]).await
}

/// What was acknowledged: positions and events as a reader is told them.
#[derive(Default)]
struct Told(Vec<(u64, String)>);

impl Told {
    fn enter(&mut self, events: &[Value], results: &[tidings_tests::runner::Acknowledged]) {
        for (event, result) in events.iter().zip(results) {
            let mut event = event.clone();
            event["position"] = json!(result.position);
            self.0.push((result.position.parse::<Place>().expect("a position").n, event.to_string()));
        }
    }

    fn last_n(&self) -> u64 {
        self.0.last().map_or(0, |(n, _)| *n)
    }

    /// The state of those of them that `counts`.
    fn state(&self, counts: impl Fn(u64) -> bool) -> Value {
        fold(self.0.iter().filter(|(n, _)| counts(*n)).map(|(_, text)| text.as_str()))
    }
}

/// One that was filled, with the first ingest dead.
async fn filled(fold_fails: bool) -> (Cluster, Told) {
    let mut cluster = quick(Cluster::on_redis().ingests(2)).start().await;
    let mut told = Told::default();
    let mut swarm = Swarm::new("one", 7).padded(300);
    let mut say = async |cluster: &Cluster, told: &mut Told, events: usize| {
        for _ in 0..events / 100 {
            let batch = swarm.events(100);
            let results = posted(cluster.ingests[0].address(), &batch).await;
            told.enter(&batch, &results);
        }
    };
    if fold_fails {
        say(&cluster, &mut told, FOLDED).await;
        let redis = cluster.redis();
        eventually("all of it is folded", async || {
            (meta(redis, "checkpoint").await == meta(redis, "last").await).then_some(())
        })
        .await;
        let version = (FOLD_VERSION + 1).to_string();
        let key = format!("tidings:{{{PROJECT}}}:meta");
        let _: i64 = redis.command(&["HSET", &key, "version", &version]).await;
    }
    nobody_tends(cluster.redis(), true).await;
    // Those that hold a lease of before do not any more.
    for ingest in &mut cluster.ingests {
        ingest.kill_and_restart().await;
    }
    say(&cluster, &mut told, BEHIND).await;
    let checkpoint = meta(cluster.redis(), "checkpoint").await.expect("a checkpoint");
    let checkpoint_n = checkpoint.parse::<Place>().expect("a position").n;
    assert_eq!(checkpoint_n, if fold_fails { FOLDED as u64 } else { 0 }, "the checkpoint is behind");
    let used = cluster.redis().info("its memory", |info| {
        info.lines().find_map(|line| line.strip_prefix("used_memory:")?.trim().parse::<u64>().ok())
    });
    let used = used.await;
    cluster.ingests[0].process.kill();
    cluster.redis().configure("maxmemory", used - used / 10).await;
    let refused = eventually("the other ingest says that memory is short", async || {
        let event = json!({"type": "custom.refused"});
        let answer = http::post_json(cluster.ingests[1].address(), "/v1/projects/another/events", &event).await.ok()?;
        (answer.status == 503).then_some(answer)
    })
    .await;
    println!("{used} bytes were in use, a tenth less is allowed: {}", refused.code());
    (cluster, told)
}

/// The other ingest makes room, and takes events.
async fn goes_on(cluster: &mut Cluster, told: &mut Told) {
    nobody_tends(cluster.redis(), false).await;
    let mut swarm = Swarm::new("two", 8);
    for _ in 0..3 {
        let batch = swarm.events(50);
        let results = acknowledged(cluster.ingests[1].address(), &batch).await;
        told.enter(&batch, &results);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn another_ingest_makes_room_and_snapshots_are_right() {
    let (mut cluster, mut told) = filled(false).await;
    goes_on(&mut cluster, &mut told).await;
    let snapshot = snapshot(cluster.gateways[0].address(), told.last_n()).await;
    assert_eq!(snapshot["incomplete_before"], Value::Null, "everything was folded before it was trimmed");
    assert_eq!(snapshot["state"], told.state(|_| true));
    let trimmed = cluster.ingests[1].metric("tidings_ingest_trimmed_entries_total").await;
    println!("{trimmed} entries were trimmed");
    assert!(trimmed > 0.0);
}

#[tokio::test(flavor = "multi_thread")]
async fn another_ingest_makes_room_though_its_fold_fails_and_snapshots_say_what_they_lack() {
    let (mut cluster, mut told) = filled(true).await;
    goes_on(&mut cluster, &mut told).await;
    let snapshot = snapshot(cluster.gateways[0].address(), told.last_n()).await;
    let lacks = snapshot["incomplete_before"].as_str().unwrap_or_else(|| panic!("nothing is said to be lacking"));
    let lacks = lacks.parse::<Place>().expect("a position").n;
    println!("state lacks what stood between {FOLDED} and {lacks} of {}", told.last_n());
    assert!(lacks > FOLDED as u64 && lacks < told.last_n(), "{lacks}");
    assert_eq!(snapshot["state"], told.state(|n| n <= FOLDED as u64 || n > lacks));
}
