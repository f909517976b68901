//! Promises 1 to 3: nothing lost silently, one order for all, retries are harmless; on the embedded broker and on Redis.

use tidings_tests::audit::Audit;
use tidings_tests::cluster::Cluster;

use crate::{BATCHES, fifty_roam};

/// Events of each of the two runners.
const EVENTS: usize = 10_000;

#[tokio::test(flavor = "multi_thread")]
async fn nothing_is_lost_silently_while_viewers_roam_over_three_gateways() {
    let cluster = Cluster::on_redis().gateways(3).ingests(2).start().await;
    let viewers = fifty_roam(&cluster);
    let (mut one, mut two) = (cluster.runner("one"), cluster.runner("two"));
    tokio::join!(one.post(EVENTS, BATCHES), two.post(EVENTS, BATCHES));
    let records = viewers.reach(cluster.ledger.last_n()).await;
    Audit::of(&records, &cluster.ledger).assert_flawless("three gateways, two ingests, Redis");
    assert_eq!(cluster.ledger.len(), 2 * EVENTS);
}

#[tokio::test(flavor = "multi_thread")]
async fn nothing_is_lost_silently_while_viewers_roam_in_dev_mode() {
    let cluster = Cluster::dev().start().await;
    let viewers = fifty_roam(&cluster);
    let (mut one, mut two) = (cluster.runner("one"), cluster.runner("two"));
    tokio::join!(one.post(EVENTS, BATCHES), two.post(EVENTS, BATCHES));
    let records = viewers.reach(cluster.ledger.last_n()).await;
    Audit::of(&records, &cluster.ledger).assert_flawless("dev mode");
    assert_eq!(cluster.ledger.len(), 2 * EVENTS);
}
