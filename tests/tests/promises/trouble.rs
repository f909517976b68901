//! Promises 1 to 3 while things break: gateways and ingests killed, links cut, Redis frozen and restarted.

use std::time::Duration;

use tidings_tests::audit::Audit;
use tidings_tests::cluster::{Cluster, PROJECT};
use tidings_tests::http;
use tidings_tests::proxy::Link;
use tidings_tests::runner::Runner;
use tidings_tests::viewer::{Directory, Plan, Viewers};

use crate::{BATCHES, FIFTY, fifty_roam};

/// Events of each of the two runners.
const EVENTS: usize = 10_000;

/// Two runners that post at the same time, until all is acknowledged.
fn two_runners_post(cluster: &Cluster) -> tokio::task::JoinHandle<[Runner; 2]> {
    let (mut one, mut two) = (cluster.runner("one"), cluster.runner("two"));
    tokio::spawn(async move {
        tokio::join!(one.post(EVENTS, BATCHES), two.post(EVENTS, BATCHES));
        [one, two]
    })
}

async fn audited(cluster: &Cluster, viewers: Viewers, what: &str) {
    let records = viewers.reach(cluster.ledger.last_n()).await;
    Audit::of(&records, &cluster.ledger).assert_flawless(what);
    assert_eq!(cluster.ledger.len(), 2 * EVENTS);
}

#[tokio::test(flavor = "multi_thread")]
async fn nothing_is_lost_when_gateways_are_killed_and_replaced() {
    let mut cluster = Cluster::on_redis().gateways(3).ingests(2).start().await;
    let viewers = fifty_roam(&cluster);
    let posting = two_runners_post(&cluster);
    for (index, acknowledged) in [(0, 2_000), (1, 6_000), (2, 10_000), (0, 15_000)] {
        cluster.ledger.reaches(acknowledged).await;
        cluster.gateways[index].kill_and_restart().await;
    }
    posting.await.expect("runners do not panic");
    audited(&cluster, viewers, "gateways killed and replaced").await;
}

/// Each time Redis has appended something of a batch, but the answer did not reach the ingest before it was killed.
#[tokio::test(flavor = "multi_thread")]
async fn acknowledged_means_there_when_ingests_are_killed_in_the_middle_of_batches() {
    let mut cluster = Cluster::on_redis().gateways(2).ingests(2).links_can_be_cut().start().await;
    let viewers = fifty_roam(&cluster);
    let posting = two_runners_post(&cluster);
    for (index, acknowledged) in [(0, 1_000), (1, 5_000), (0, 9_000), (1, 13_000), (0, 17_000)] {
        cluster.ledger.reaches(acknowledged).await;
        let link = &cluster.links[cluster.gateways.len() + index];
        link.commands(Link::Silent);
        link.holds_an_answer().await;
        cluster.ingests[index].process.kill();
        link.commands(Link::Open);
        cluster.ingests[index].kill_and_restart().await;
    }
    let runners = posting.await.expect("runners do not panic");
    let again: usize = runners.iter().map(|runner| runner.trouble.again).sum();
    let duplicates: usize = runners.iter().map(|runner| runner.trouble.duplicates).sum();
    println!("{again} batches sent again, {duplicates} events of them had been appended");
    assert!(duplicates > 0, "no batch was hit between Redis and its answer");
    audited(&cluster, viewers, "ingests killed in the middle of batches").await;
}

#[tokio::test(flavor = "multi_thread")]
async fn nothing_is_lost_when_the_pub_sub_link_of_a_gateway_is_cut() {
    let cluster = Cluster::on_redis().gateways(2).ingests(2).links_can_be_cut();
    let cluster = cluster.set("TIDINGS_GATEWAY__TAIL_CHECK_MS", 500).start().await;
    // As many as roam stay on the gateway whose link is cut.
    let mut viewers = fifty_roam(&cluster);
    let mut bound = Viewers::new(Directory::new(vec![cluster.gateways[0].address()]));
    for (kind, count) in FIFTY {
        (0..count).for_each(|_| bound.add(Plan::new(kind, PROJECT)));
    }
    let link = &cluster.links[0];
    let mut runner = cluster.runner("one");
    runner.post(EVENTS / 2, BATCHES).await;
    let heard = async || cluster.gateways[0].metric("tidings_gateway_messages_total").await;
    for broken in [Link::Silent, Link::Cut] {
        link.subscriptions(broken);
        let heard_before = heard().await;
        runner.post(EVENTS / 2, BATCHES).await;
        // While the link is broken everybody gets everything all the same, and commands work.
        bound.have_reached(cluster.ledger.last_n()).await;
        viewers.have_reached(cluster.ledger.last_n()).await;
        let snapshot = http::get(cluster.gateways[0].address(), &format!("/v1/projects/{PROJECT}/snapshot")).await;
        assert_eq!(snapshot.expect("the gateway answers").status, 200);
        let heard = heard().await - heard_before;
        assert!(heard < 1.0, "{heard} messages came over a link that is {broken:?}");
    }
    assert!(link.subscriptions_seen() > 1, "the gateway tried to subscribe again");
    link.subscriptions(Link::Open);
    runner.post(EVENTS / 2, BATCHES).await;
    let records = bound.reach(cluster.ledger.last_n()).await;
    Audit::of(&records, &cluster.ledger).assert_flawless("on the gateway whose pub/sub link was cut");
    audited(&cluster, viewers, "everywhere else").await;
}

#[tokio::test(flavor = "multi_thread")]
async fn nothing_is_lost_when_redis_freezes() {
    let mut cluster = Cluster::on_redis().gateways(2).ingests(2).start().await;
    let viewers = fifty_roam(&cluster);
    let posting = two_runners_post(&cluster);
    cluster.ledger.reaches(5_000).await;
    cluster.redis().pause();
    tokio::time::sleep(Duration::from_secs(3)).await;
    cluster.redis().resume();
    posting.await.expect("runners do not panic");
    audited(&cluster, viewers, "Redis frozen for three seconds").await;
}

#[tokio::test(flavor = "multi_thread")]
async fn nothing_is_lost_when_redis_is_killed_and_comes_back_with_its_file() {
    let mut cluster = Cluster::on_redis().durable().gateways(2).ingests(2).start().await;
    let viewers = fifty_roam(&cluster);
    let posting = two_runners_post(&cluster);
    for acknowledged in [3_000, 12_000] {
        cluster.ledger.reaches(acknowledged).await;
        cluster.redis().restart().await;
    }
    posting.await.expect("runners do not panic");
    let records = viewers.reach(cluster.ledger.last_n()).await;
    Audit::of(&records, &cluster.ledger).assert_flawless("Redis killed twice");
    for record in &records {
        // Redis cannot know whether it lost something, so everybody is told that it may have.
        assert!(record.gaps.iter().all(|(_, gap)| gap.cause == "failover" && !gap.certain), "{:?}", record.gaps);
    }
    assert!(records.iter().any(|record| !record.gaps.is_empty()), "nobody was told of the forks");
}
