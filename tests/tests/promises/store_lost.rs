//! Promise 1 when the one Redis freezes for long, or comes back with nothing.

use std::time::Duration;

use tidings_tests::audit::Audit;
use tidings_tests::audit::forks::Excuse;
use tidings_tests::cluster::{Cluster, PROJECT};
use tidings_tests::runner::Runner;
use tidings_tests::viewer::{Directory, Kind, Plan};

use crate::{BATCHES, fifty_roam};

/// One more event by each ingest: it puts back what it must before it appends this.
async fn last_words(cluster: &Cluster) -> u64 {
    for (index, ingest) in cluster.ingests.iter().enumerate() {
        let only = Directory::new(vec![ingest.address()]);
        Runner::new(&format!("last-{index}"), PROJECT, only, cluster.ledger.clone()).post(1, BATCHES).await;
    }
    cluster.ledger.last_n()
}

#[tokio::test(flavor = "multi_thread")]
async fn nothing_is_lost_when_redis_freezes_for_ten_seconds() {
    let mut cluster = Cluster::on_redis().gateways(2).ingests(2).start().await;
    let viewers = fifty_roam(&cluster);
    let (mut one, mut two) = (cluster.runner("one"), cluster.runner("two"));
    let posting = tokio::spawn(async move {
        tokio::join!(one.post(5_000, BATCHES), two.post(5_000, BATCHES));
        one.trouble.again + two.trouble.again
    });
    cluster.ledger.reaches(3_000).await;
    cluster.redis().pause();
    tokio::time::sleep(Duration::from_secs(10)).await;
    cluster.redis().resume();
    let again = posting.await.expect("runners do not panic");
    println!("{again} batches were sent again");
    let records = viewers.reach(cluster.ledger.last_n()).await;
    Audit::of(&records, &cluster.ledger).assert_flawless("Redis frozen for ten seconds");
    assert_eq!(cluster.ledger.len(), 10_000);
}

/// Within the minute that ingests keep, they put everything back into the empty Redis. Who was there before is told that
/// its position is of a log that is gone, and begins anew.
#[tokio::test(flavor = "multi_thread")]
async fn what_was_acknowledged_is_back_when_redis_comes_back_empty() {
    let mut cluster = Cluster::on_redis().gateways(2).ingests(2).start().await;
    let mut viewers = fifty_roam(&cluster);
    cluster.runner("one").post(2_000, BATCHES).await;
    viewers.have_reached(cluster.ledger.last_n()).await;
    cluster.redis().restart().await;
    cluster.runner("two").post(1_000, BATCHES).await;
    let end = last_words(&cluster).await;
    let mut late = cluster.viewers();
    for kind in Kind::ALL {
        late.add(Plan::new(kind, PROJECT));
    }
    let late = Audit::across_forks(&late.reach(end).await, &cluster.ledger, Excuse::None);
    late.assert_flawless("who comes when Redis came back empty");
    let records = viewers.reach(end).await;
    let gaps =
        |cause: &str| records.iter().filter(|record| record.gaps.iter().any(|(_, gap)| gap.cause == cause)).count();
    println!("of {} viewers, {} were told log_reset, {} failover", records.len(), gaps("log_reset"), gaps("failover"));
    assert_eq!(gaps("log_reset"), records.len(), "everybody's position was of a log that is gone");
}
