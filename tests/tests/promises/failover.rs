//! Promise 1 across failovers: the replica that takes over misses the newest entries, for certain, since its link to the
//! primary is cut before.

use std::collections::HashSet;

use tidings_tests::audit::Audit;
use tidings_tests::audit::forks::Excuse;
use tidings_tests::cluster::{Cluster, PROJECT};
use tidings_tests::runner::Runner;
use tidings_tests::viewer::{Directory, Kind, Plan, Record};

use crate::{BATCHES, fifty_roam};

/// Events of each of two runners.
const EVENTS: usize = 5_000;

/// One more event by each ingest: it puts back what it must before it appends this.
async fn last_words(cluster: &Cluster) -> u64 {
    for (index, ingest) in cluster.ingests.iter().enumerate() {
        let only = Directory::new(vec![ingest.address()]);
        Runner::new(&format!("last-{index}"), PROJECT, only, cluster.ledger.clone()).post(1, BATCHES).await;
    }
    cluster.ledger.last_n()
}

/// What viewers of each kind are told who come now, up to this running count.
async fn latecomers(cluster: &Cluster, n: u64) -> Vec<Record> {
    let mut viewers = cluster.viewers();
    for kind in Kind::ALL {
        viewers.add(Plan::new(kind, PROJECT));
    }
    viewers.reach(n).await
}

#[tokio::test(flavor = "multi_thread")]
async fn acknowledged_means_there_after_a_failover_that_lost_the_newest_entries() {
    let mut cluster = Cluster::on_redis().gateways(2).ingests(2).replicated().start().await;
    let viewers = fifty_roam(&cluster);
    let (mut one, mut two) = (cluster.runner("one"), cluster.runner("two"));
    let posting = tokio::spawn(async move {
        tokio::join!(one.post(EVENTS, BATCHES), two.post(EVENTS, BATCHES));
    });
    cluster.ledger.reaches(2_000).await;
    cluster.cut_replication();
    cluster.ledger.reaches(6_000).await;
    cluster.redis().kill();
    cluster.fail_over().await;
    posting.await.expect("runners do not panic");
    let end = last_words(&cluster).await;
    let records = viewers.reach(end).await;
    let audit = Audit::across_forks(&records, &cluster.ledger, Excuse::None);
    audit.assert_flawless("a failover lost at least 4,000 entries' worth, and both ingests live");
    let late = Audit::across_forks(&latecomers(&cluster, end).await, &cluster.ledger, Excuse::None);
    late.assert_flawless("who comes later");
    let put_back: f64 = {
        let mut sum = 0.0;
        for ingest in &cluster.ingests {
            sum += ingest.metric("tidings_ingest_events_put_back_total").await;
        }
        sum
    };
    println!("{put_back} events were put back");
    assert!(put_back >= 1_000.0, "the failover took little: {put_back}");
}

#[tokio::test(flavor = "multi_thread")]
async fn everyone_is_told_when_an_ingest_dies_with_the_primary() {
    let mut cluster = Cluster::on_redis().gateways(2).ingests(2).replicated().start().await;
    let viewers = fifty_roam(&cluster);
    cluster.runner("one").post(1_000, BATCHES).await;
    cluster.cut_replication();
    let doomed = Directory::new(vec![cluster.ingests[0].address()]);
    Runner::new("doomed", PROJECT, doomed, cluster.ledger.clone()).post(500, BATCHES).await;
    let live = Directory::new(vec![cluster.ingests[1].address()]);
    Runner::new("live", PROJECT, live, cluster.ledger.clone()).post(500, BATCHES).await;
    cluster.redis().kill();
    cluster.ingests[0].process.kill();
    cluster.fail_over().await;
    cluster.ingests[0].kill_and_restart().await;
    cluster.runner("two").post(2_000, BATCHES).await;
    let end = last_words(&cluster).await;
    let mut records = viewers.reach(end).await;
    records.extend(latecomers(&cluster, end).await);
    Audit::across_forks(&records, &cluster.ledger, Excuse::Failover).assert_flawless("an ingest died with the primary");
    for record in &records {
        let failovers = record.gaps.iter().filter(|(_, gap)| gap.cause == "failover").count();
        assert!(failovers >= 1, "{:?} was told nothing", record.kind);
        // What the other ingest had acknowledged is there all the same.
        let live = record.told.iter().map(|event| &*event.id).filter(|id| id.contains("live")).collect::<HashSet<_>>();
        assert_eq!(live.len(), 500, "{:?}", record.kind);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn what_an_old_primary_goes_on_accepting_is_put_back() {
    let mut cluster = Cluster::on_redis().gateways(2).ingests(2).replicated().start().await;
    let viewers = fifty_roam(&cluster);
    cluster.runner("one").post(1_000, BATCHES).await;
    // The second ingest stays behind with the old primary, everybody else goes on with the new one.
    let mut left_behind = vec![cluster.links.pop().expect("a link for each service")];
    let mut old = cluster.redis.take();
    cluster.fail_over().await;
    let on = |index: usize| Directory::new(vec![cluster.ingests[index].address()]);
    let mut new_side = Runner::new("new", PROJECT, on(0), cluster.ledger.clone());
    let mut old_side = Runner::new("old", PROJECT, on(1), cluster.ledger.clone());
    tokio::join!(new_side.post(1_000, BATCHES), old_side.post(1_000, BATCHES));
    if let Some(old) = &mut old {
        old.kill();
    }
    left_behind[0].leads_to(cluster.redis().port());
    cluster.links.append(&mut left_behind);
    let end = last_words(&cluster).await;
    let mut records = viewers.reach(end).await;
    records.extend(latecomers(&cluster, end).await);
    Audit::across_forks(&records, &cluster.ledger, Excuse::None).assert_flawless("an old primary went on for a while");
}
