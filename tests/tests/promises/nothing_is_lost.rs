//! Promises 1 to 3: nothing lost silently, one order for all, retries are harmless; on the embedded broker and on Redis.

use tidings_tests::audit::Audit;
use tidings_tests::cluster::{Cluster, PROJECT};
use tidings_tests::viewer::{Kind, Plan};

/// Events of the big audit.
const EVENTS: usize = 20_000;

/// Viewers of the big audit: 20 over WebSocket, 15 over server-sent events, 15 that long-poll.
const VIEWERS: [(Kind, usize); 3] = [(Kind::WebSocket, 20), (Kind::Sse, 15), (Kind::LongPoll, 15)];

/// A viewer hangs up after so many events.
const HANG_UP_AFTER: std::ops::Range<usize> = 50..2_000;

/// Sizes of the large batches; four of five are of 20.
const BATCHES: std::ops::Range<usize> = 1..1_000;

fn everybody(cluster: &Cluster) -> tidings_tests::viewer::Viewers {
    let mut viewers = cluster.viewers();
    for (kind, count) in VIEWERS {
        for index in 0..count {
            viewers.add(Plan::new(kind, PROJECT).roaming(HANG_UP_AFTER, index as u64));
        }
    }
    viewers
}

#[tokio::test(flavor = "multi_thread")]
async fn nothing_is_lost_silently_while_viewers_roam_over_three_gateways() {
    let cluster = Cluster::on_redis().gateways(3).ingests(2).start().await;
    let viewers = everybody(&cluster);
    let (mut one, mut two) = (cluster.runner("one"), cluster.runner("two"));
    tokio::join!(one.post(EVENTS / 2, BATCHES), two.post(EVENTS / 2, BATCHES));
    let records = viewers.reach(cluster.ledger.last_n()).await;
    Audit::of(&records, &cluster.ledger).assert_flawless("three gateways, two ingests, Redis");
    assert_eq!(cluster.ledger.len(), EVENTS);
}

#[tokio::test(flavor = "multi_thread")]
async fn nothing_is_lost_silently_while_viewers_roam_in_dev_mode() {
    let cluster = Cluster::dev().start().await;
    let viewers = everybody(&cluster);
    let (mut one, mut two) = (cluster.runner("one"), cluster.runner("two"));
    tokio::join!(one.post(EVENTS / 2, BATCHES), two.post(EVENTS / 2, BATCHES));
    let records = viewers.reach(cluster.ledger.last_n()).await;
    Audit::of(&records, &cluster.ledger).assert_flawless("dev mode");
    assert_eq!(cluster.ledger.len(), EVENTS);
}
