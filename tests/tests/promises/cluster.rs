//! Promise 1 on a Redis Cluster: a primary dies under load, and slots move while they are used (docs/log.md, scenario 6).
//! The services' account may do what docs/operations.md says and no more.

use tidings_tests::audit::Audit;
use tidings_tests::audit::forks::Excuse;
use tidings_tests::cluster::{Cluster, PROJECT};
use tidings_tests::redis_cluster::RedisCluster;
use tidings_tests::runner::Runner;
use tidings_tests::viewer::{Directory, Record, Viewers};

use crate::{BATCHES, fifty_roam};

/// Events of each of two runners.
const EVENTS: usize = 5_000;

/// Moves of the project's slot.
const MOVES: usize = 3;

/// Events that pass between two moves. An ingest vouches for a node only once that has answered it as the slot's own: of one that
/// had the slot for a blink nobody can say that nothing was lost (docs/log.md L8).
const STAYS: usize = 1_000;

async fn start() -> (RedisCluster, Cluster) {
    let redis = RedisCluster::start().await;
    let cluster = Cluster::on_redis().gateways(2).ingests(2).on(redis.url()).start().await;
    (redis, cluster)
}

fn two_runners_post(cluster: &Cluster) -> tokio::task::JoinHandle<()> {
    let (mut one, mut two) = (cluster.runner("one"), cluster.runner("two"));
    tokio::spawn(async move {
        tokio::join!(one.post(EVENTS, BATCHES), two.post(EVENTS, BATCHES));
    })
}

/// What everybody was told, in the end.
async fn ended(cluster: &Cluster, viewers: Viewers) -> Vec<Record> {
    // One more event by each ingest: it puts back what it must before it appends this.
    for (index, ingest) in cluster.ingests.iter().enumerate() {
        let only = Directory::new(vec![ingest.address()]);
        Runner::new(&format!("last-{index}"), PROJECT, only, cluster.ledger.clone()).post(1, BATCHES).await;
    }
    let records = viewers.reach(cluster.ledger.last_n()).await;
    assert_eq!(cluster.ledger.len(), 2 * EVENTS + cluster.ingests.len());
    records
}

#[tokio::test(flavor = "multi_thread")]
async fn nothing_is_lost_when_a_primary_of_a_cluster_is_killed() {
    let (mut redis, cluster) = start().await;
    let slot = redis.slot(PROJECT).await;
    let primary = redis.primary_of(slot, 0).await;
    let other = (primary + 1) % 3;
    let viewers = fifty_roam(&cluster);
    let posting = two_runners_post(&cluster);
    cluster.ledger.reaches(2_000).await;
    // So that it is certain that its replica lacks the newest entries.
    redis.cut_replication(primary).await;
    cluster.ledger.reaches(6_000).await;
    redis.nodes[primary].kill();
    redis.moved_from(primary, slot, other).await;
    posting.await.expect("runners do not panic");
    let records = ended(&cluster, viewers).await;
    let audit = Audit::across_forks(&records, &cluster.ledger, Excuse::None);
    audit.assert_flawless("a primary of a cluster was killed");
    let told = |record: &Record| record.gaps.iter().any(|(_, gap)| gap.cause == "failover");
    assert!(records.iter().all(told), "there was a fork");
    let mut put_back = 0.0;
    for ingest in &cluster.ingests {
        put_back += ingest.metric("tidings_ingest_events_put_back_total").await;
    }
    println!("{put_back} events were put back");
    assert!(put_back >= 1_000.0, "the failover took little: {put_back}");
}

#[tokio::test(flavor = "multi_thread")]
async fn nobody_notices_that_a_slot_moves_under_load() {
    let (redis, cluster) = start().await;
    let slot = redis.slot(PROJECT).await;
    let mut from = redis.primary_of(slot, 0).await;
    let viewers = fifty_roam(&cluster);
    let posting = two_runners_post(&cluster);
    for _ in 0..MOVES {
        cluster.ledger.reaches((cluster.ledger.len() + STAYS).min(2 * EVENTS)).await;
        let to = (from + 1) % 3;
        redis.move_slot(slot, from, to).await;
        from = redis.moved_from(from, slot, to).await;
    }
    posting.await.expect("runners do not panic");
    let records = ended(&cluster, viewers).await;
    // As if nothing had been: everything once, in order, where it was acknowledged.
    Audit::of(&records, &cluster.ledger).assert_flawless("a slot moved under load");
    for record in &records {
        assert!(record.gaps.is_empty(), "{:?} was told of a loss: {:?}", record.kind, record.gaps);
    }
    // Each move took one position.
    assert_eq!(cluster.ledger.last_n(), (cluster.ledger.len() + MOVES) as u64);
}
