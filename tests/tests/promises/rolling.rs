//! Promises 1 to 3 and 7 while everything is replaced, one service after the other, as an update of a fleet does it.

use tidings_tests::audit::Audit;
use tidings_tests::cluster::{Cluster, PROJECT};
use tidings_tests::service::Service;
use tidings_tests::viewer::{Kind, Plan};

use crate::{BATCHES, fifty_roam};

/// The code with which a gateway that goes closes a WebSocket.
const DRAINING: u16 = 4200;

/// Events of each of the two runners, at the least.
const EVENTS: usize = 10_000;

/// Told to go, it ends well; then its successor stands at the same place.
async fn replace(service: &mut Service) {
    service.process.signal("TERM");
    let status = service.process.ended().await;
    assert_eq!(status.code(), Some(0), "{}", service.process.output());
    *service = service.launch().start().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn nothing_is_lost_in_a_rolling_restart_of_three_gateways_and_two_ingests_under_load() {
    let mut cluster = Cluster::on_redis().gateways(3).ingests(2).start().await;
    let viewers = fifty_roam(&cluster);
    let mut staying = cluster.viewers();
    for kind in Kind::ALL {
        (0..3).for_each(|seed| staying.add(Plan { seed, ..Plan::new(kind, PROJECT) }));
    }
    let (mut one, mut two) = (cluster.runner("one"), cluster.runner("two"));
    let posting = tokio::spawn(async move {
        tokio::join!(one.post(EVENTS, BATCHES), two.post(EVENTS, BATCHES));
        [one, two]
    });
    cluster.ledger.reaches(1_000).await;
    for index in 0..3 {
        replace(&mut cluster.gateways[index]).await;
        // Each step goes on under load, and not behind it.
        cluster.ledger.reaches((index + 2) * 2_000).await;
        if let Some(ingest) = cluster.ingests.get_mut(index) {
            replace(ingest).await;
        }
    }
    let [one, two] = posting.await.expect("runners do not panic");
    println!("{} batches were sent again", one.trouble.again + two.trouble.again);
    let end = cluster.ledger.last_n();
    let records = staying.reach(end).await;
    Audit::of(&records, &cluster.ledger).assert_flawless("who goes only when the gateway goes");
    for record in records.iter().filter(|record| record.kind != Kind::LongPoll) {
        // Each of their gateways went, and whoever was sent away had been told when to come back.
        assert!(!record.draining.is_empty(), "{:?} was not told", record.kind);
        assert!(record.closes.iter().all(|(code, _)| *code == DRAINING), "{:?}", record.closes);
        assert!(record.draining.len() >= record.closes.len(), "{:?}", record.closes);
    }
    Audit::of(&viewers.reach(end).await, &cluster.ledger).assert_flawless("a rolling restart under load");
    assert_eq!(cluster.ledger.len(), 2 * EVENTS);
}
