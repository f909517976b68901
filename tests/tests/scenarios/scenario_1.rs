//! Scenario 1: the last event of a project is acknowledged and lost by failover, and no append ever follows.

use tidings_tests::audit::Audit;
use tidings_tests::audit::forks::Excuse;
use tidings_tests::cluster::{Cluster, PROJECT};
use tidings_tests::http;
use tidings_tests::viewer::said::Gap;
use tidings_tests::viewer::sse::Stream;
use tidings_tests::viewer::websocket::{Connection, subscription};
use tidings_tests::viewer::{Kind, Plan, Said};
use tidings_tests::wait::within;

use crate::steps::{assert_told_once, export, latecomers, log, path, posted, snapshot, standing, times};

/// With its ingest alive everybody has it: who was there, who comes later, and the snapshot.
#[tokio::test(flavor = "multi_thread")]
async fn the_last_event_of_a_project_comes_back_though_nobody_writes_again() {
    let mut cluster = Cluster::on_redis().gateways(2).ingests(1).replicated().start().await;
    let mut viewers = standing(&cluster, 1);
    cluster.runner("one").post(100, 1..20).await;
    viewers.have_reached(cluster.ledger.last_n()).await;
    cluster.replicated().await;
    cluster.cut_replication();
    cluster.runner("last").post(1, 1..2).await;
    let lost_n = cluster.ledger.last_n();
    viewers.have_reached(lost_n).await;
    cluster.redis().kill();
    cluster.fail_over().await;
    // The fork takes one position, the event comes behind it.
    let late = latecomers(&cluster, lost_n + 1).await;
    Audit::across_forks(&late, &cluster.ledger, Excuse::None).assert_flawless("who comes after the failover");
    let records = viewers.reach(lost_n + 1).await;
    Audit::across_forks(&records, &cluster.ledger, Excuse::None).assert_flawless("who was there");
    assert_told_once(&records, &cluster);
    for record in &records {
        let failovers = record.gaps.iter().filter(|(_, gap)| gap.cause == "failover" && !gap.certain).count();
        assert_eq!((failovers, record.gaps.len()), (1, 1), "{:?}", record.gaps);
    }
    let state = snapshot(cluster.gateways[0].address(), lost_n + 1).await;
    assert!(state["state"]["sessions"]["last-s0"].is_object(), "{state}");
}

/// Its ingest died with the primary: all that can be done is to tell everybody, and nobody who writes is there to do
/// it.
#[tokio::test(flavor = "multi_thread")]
async fn everybody_is_told_the_gap_though_the_ingest_is_dead_and_nobody_writes_again() {
    let mut cluster = Cluster::on_redis().gateways(1).ingests(1).replicated().start().await;
    let (gateway, ingest) = (cluster.gateways[0].address(), cluster.ingests[0].address());
    let mut socket = Connection::open(gateway).await.expect("the gateway listens");
    socket.say(&subscription(&Plan::new(Kind::WebSocket, PROJECT), None)).await.expect("it is open");
    let url = format!("http://{gateway}{}", path("/events?after=start"));
    let mut stream = Stream::open(&http::client(), &url, None).await.expect("the gateway answers");
    let kept = posted(ingest, &[log("kept")]).await;
    cluster.replicated().await;
    cluster.cut_replication();
    let lost = posted(ingest, &[log("lost")]).await.remove(0).position;
    let is_last = |said: &Said| matches!(said, Said::Event(event) if &*event.id == "lost");
    socket.hear_until("the last event", |said| is_last(&said).then_some(())).await;
    within("the last event", async { while !is_last(&stream.hear().await.expect("it goes on")) {} }).await;
    let poll = format!("/events?after={lost}&wait=25");
    let poll = tokio::spawn(async move { http::get(gateway, &path(&poll)).await });

    cluster.redis().kill();
    cluster.ingests[0].process.kill();
    cluster.fail_over().await;
    let place = lost.parse().expect("a position");
    let check = |gap: Gap| {
        let Gap { after, cause, certain, lost, .. } = gap;
        assert_eq!((after, cause.as_str(), certain, lost), (place, "failover", false, None));
    };
    let gap = |said| if let Said::Gap(gap) = said { Some(gap) } else { None };
    check(socket.hear_until("the gap", gap).await);
    check(
        within("the gap", async {
            loop {
                if let Said::Gap(gap) = stream.hear().await.expect("it goes on") {
                    return gap;
                }
            }
        })
        .await,
    );
    let polled = poll.await.expect("no panic").expect("the gateway answers").json();
    assert_eq!(polled["events"][0]["data"]["cause"], "failover", "{polled}");
    assert_eq!(polled["events"][0]["data"]["after"], lost.as_str(), "{polled}");
    // Who comes later is told all that is left, and that something may be missing.
    let rows = export(gateway).await;
    assert_eq!((times(&rows, "kept"), times(&rows, "lost"), rows.len()), (1, 0, 2), "{rows:?}");
    assert_eq!(rows[1]["data"]["cause"], "failover");
    assert_eq!(rows[1]["data"]["after"], kept[0].position.as_str());
}
