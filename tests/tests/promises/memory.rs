//! Promises 1 and 6 when the one Redis is full: what was acknowledged stays or is counted, viewers go on, and room is made.

use serde_json::json;
use tidings_tests::audit::Audit;
use tidings_tests::cluster::{Cluster, PROJECT};
use tidings_tests::http;
use tidings_tests::viewer::{Kind, Plan};
use tidings_tests::wait::eventually;

use crate::{BATCHES, fifty_roam};

#[tokio::test(flavor = "multi_thread")]
async fn a_full_redis_keeps_what_was_acknowledged_and_gets_room_again() {
    let mut cluster = Cluster::on_redis().gateways(2).ingests(2).start().await;
    let mut viewers = fifty_roam(&cluster);
    let mut runner = cluster.runner("one");
    runner.post(20_000, BATCHES).await;
    viewers.have_reached(cluster.ledger.last_n()).await;
    let used = cluster.redis().info("its memory", |info| {
        info.lines().find_map(|line| line.strip_prefix("used_memory:")?.trim().parse::<u64>().ok())
    });
    let used = used.await;
    // Less than is in use: nothing can be written until something goes.
    cluster.redis().configure("maxmemory", used - used / 10).await;
    let (ingest, gateway) = (cluster.ingests[0].address(), cluster.gateways[0].address());
    let path = format!("/v1/projects/{PROJECT}");
    let refused = eventually("ingest says that memory is short", || async {
        let event = json!({"type": "custom.refused"});
        let answer = http::post_json(ingest, "/v1/projects/another/events", &event).await.ok()?;
        (answer.status == 503).then_some(answer)
    })
    .await;
    assert!(matches!(refused.code().as_str(), "memory_pressure" | "over_share"), "{}", refused.text());
    assert!(!refused.header("retry-after").is_empty(), "it says when to try again");
    let snapshot = http::get(gateway, &format!("{path}/snapshot")).await.expect("the gateway answers");
    assert_eq!(snapshot.status, 200, "viewers go on: {}", snapshot.text());
    let mut late = cluster.viewers();
    for kind in Kind::ALL {
        late.add(Plan::new(kind, PROJECT));
    }
    late.have_reached(cluster.ledger.last_n()).await;
    // Nobody helps: ingests trim what is over the fair share, until appends pass again.
    runner.post(500, BATCHES).await;
    println!("{} then {} times; nine tenths of {used} bytes left", refused.code(), runner.trouble.again);
    let end = cluster.ledger.last_n();
    let records = viewers.reach(end).await;
    Audit::of(&records, &cluster.ledger).assert_flawless("Redis was full");
    Audit::of(&late.reach(end).await, &cluster.ledger).assert_flawless("who came while it was full");
}
