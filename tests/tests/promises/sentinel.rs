//! Promise 1 while Redis Sentinel moves the primary: services are told sentinels instead of an address, and find the way
//! by themselves. Their accounts may do what docs/operations.md says and no more.

use std::time::Duration;

use fred::interfaces::HashesInterface as _;
use tidings_tests::audit::Audit;
use tidings_tests::audit::forks::Excuse;
use tidings_tests::cluster::{Cluster, PROJECT};
use tidings_tests::runner::Runner;
use tidings_tests::viewer::{Directory, Viewers};
use tidings_tests::wait::eventually;

use crate::{BATCHES, fifty_roam};

/// Events of each of two runners.
const EVENTS: usize = 5_000;

/// On a slow machine sentinels may need several elections: what was acknowledged is kept for longer than they take.
const HEALING_MS: u32 = 600_000;

async fn watched() -> Cluster {
    let cluster = Cluster::on_redis().gateways(2).ingests(2).sentinels();
    cluster.set("TIDINGS_INGEST__HEALING_MS", HEALING_MS).start().await
}

/// Two runners that post at the same time, until all is acknowledged.
fn two_runners_post(cluster: &Cluster) -> tokio::task::JoinHandle<()> {
    let (mut one, mut two) = (cluster.runner("one"), cluster.runner("two"));
    tokio::spawn(async move {
        tokio::join!(one.post(EVENTS, BATCHES), two.post(EVENTS, BATCHES));
    })
}

/// Everybody is told everything once, and of the fork.
async fn audited(cluster: &Cluster, viewers: Viewers, what: &str) {
    // One more event by each ingest: it puts back what it must before it appends this.
    for (index, ingest) in cluster.ingests.iter().enumerate() {
        let only = Directory::new(vec![ingest.address()]);
        Runner::new(&format!("last-{index}"), PROJECT, only, cluster.ledger.clone()).post(1, BATCHES).await;
    }
    let records = viewers.reach(cluster.ledger.last_n()).await;
    Audit::across_forks(&records, &cluster.ledger, Excuse::None).assert_flawless(what);
    assert_eq!(cluster.ledger.len(), 2 * EVENTS + cluster.ingests.len());
    assert!(
        records.iter().all(|record| record.gaps.iter().any(|(_, gap)| gap.cause == "failover")),
        "there was a fork"
    );
}

async fn put_back(cluster: &Cluster) -> f64 {
    let mut sum = 0.0;
    for ingest in &cluster.ingests {
        sum += ingest.metric("tidings_ingest_events_put_back_total").await;
    }
    println!("{sum} events were put back");
    sum
}

#[tokio::test(flavor = "multi_thread")]
async fn nothing_is_lost_when_sentinels_promote_a_replica_that_lacks_the_newest_entries() {
    let mut cluster = watched().await;
    let viewers = fifty_roam(&cluster);
    let posting = two_runners_post(&cluster);
    cluster.ledger.reaches(2_000).await;
    let sentinels = cluster.sentinels();
    let primary = sentinels.primary().await;
    sentinels.cut_replication(primary).await;
    cluster.ledger.reaches(6_000).await;
    cluster.sentinels().nodes[primary].kill();
    cluster.sentinels().moved_from(primary).await;
    posting.await.expect("runners do not panic");
    audited(&cluster, viewers, "sentinels promoted a replica that lacked the newest entries").await;
    let put_back = put_back(&cluster).await;
    assert!(put_back >= 1_000.0, "the failover took little: {put_back}");
}

#[tokio::test(flavor = "multi_thread")]
async fn nothing_is_lost_when_the_primary_freezes_and_comes_back_as_a_replica() {
    let mut cluster = watched().await;
    let viewers = fifty_roam(&cluster);
    let posting = two_runners_post(&cluster);
    cluster.ledger.reaches(3_000).await;
    let sentinels = cluster.sentinels();
    let frozen = sentinels.primary().await;
    let thaw_at = tokio::time::Instant::now() + Duration::from_secs(10);
    sentinels.nodes[frozen].pause();
    sentinels.moved_from(frozen).await;
    tokio::time::sleep_until(thaw_at).await;
    let sentinels = cluster.sentinels();
    sentinels.nodes[frozen].resume();
    eventually("it comes back as a replica", async || (sentinels.role(frozen).await == "slave").then_some(())).await;
    posting.await.expect("runners do not panic");
    audited(&cluster, viewers, "the primary was frozen for ten seconds").await;
    put_back(&cluster).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn nothing_is_lost_in_a_planned_failover_under_load() {
    let mut cluster = watched().await;
    let viewers = fifty_roam(&cluster);
    let posting = two_runners_post(&cluster);
    cluster.ledger.reaches(3_000).await;
    let sentinels = cluster.sentinels();
    let former = sentinels.primary().await;
    sentinels.fail_over().await;
    let now = sentinels.moved_from(former).await;
    eventually("the former primary follows", async || (sentinels.role(former).await == "slave").then_some(())).await;
    assert_eq!(sentinels.role(now).await, "master");
    posting.await.expect("runners do not panic");
    audited(&cluster, viewers, "a planned failover under load").await;
    put_back(&cluster).await;
}

/// The sentinels are cut off from the primary and promote another; services and runners are not, and nobody tells the old
/// one to stop.
#[tokio::test(flavor = "multi_thread")]
async fn nothing_is_lost_when_an_old_primary_goes_on_and_only_sentinels_know() {
    let mut cluster = watched().await;
    let viewers = fifty_roam(&cluster);
    let posting = two_runners_post(&cluster);
    cluster.ledger.reaches(2_000).await;
    let sentinels = cluster.sentinels();
    let old = sentinels.primary().await;
    sentinels.cut_replication(old).await;
    sentinels.cut_off_sentinels(old).await;
    let now = sentinels.moved_from(old).await;
    assert_eq!(sentinels.role(old).await, "master", "it was told nothing");
    posting.await.expect("runners do not panic");
    audited(&cluster, viewers, "an old primary went on").await;
    put_back(&cluster).await;
    let sentinels = cluster.sentinels();
    assert_eq!((sentinels.role(old).await, sentinels.role(now).await), ("master".into(), "master".into()));
    let before = [last(&cluster, old).await, last(&cluster, now).await];
    cluster.runner("late").post(200, BATCHES).await;
    let after = [last(&cluster, old).await, last(&cluster, now).await];
    println!(
        "the old primary stands at {} and then {}, the new one at {} and {}",
        before[0], after[0], before[1], after[1]
    );
    assert_eq!(before[0], after[0], "services went on with the old primary");
    assert_ne!(before[1], after[1]);
}

/// Where the project's log ends on a node.
async fn last(cluster: &Cluster, node: usize) -> String {
    let client = cluster.sentinels.as_ref().expect("it has them").nodes[node].client().await;
    let meta = format!("tidings:{{{PROJECT}}}:meta");
    client.hget(meta, "last").await.expect("it answers")
}
