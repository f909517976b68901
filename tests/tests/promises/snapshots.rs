//! Promise 4: a snapshot and the stream meet exactly.

use serde_json::Value;
use tidings_tests::cluster::{Cluster, PROJECT};
use tidings_tests::fold::fold;
use tidings_tests::http;
use tidings_tests::viewer::{Kind, Plan, Record};

/// Events of each of the two runners.
const EVENTS: usize = 2_000;

/// Viewers that join late, at each moment.
const LATE: [Kind; 4] = [Kind::WebSocket, Kind::WebSocket, Kind::Sse, Kind::Sse];

/// What was told above a position.
fn told_above(record: &Record, n: u64) -> Vec<(&str, u64)> {
    let above = record.told.iter().filter(|told| told.place.n > n);
    above.map(|told| (&*told.id, told.place.n)).collect()
}

/// The fold of what this viewer was told up to a position.
fn state_at(record: &Record, n: u64) -> Value {
    let up_to = record.told.iter().zip(&record.texts).filter(|(told, _)| told.place.n <= n);
    fold(up_to.map(|(_, text)| &**text))
}

async fn late_joiners_end_like_those_who_saw_everything(cluster: Cluster) {
    let mut everything = cluster.viewers();
    everything.add(Plan { keeps_events: true, ..Plan::new(Kind::WebSocket, PROJECT) });
    let mut late = cluster.viewers();
    let (mut one, mut two) = (cluster.runner("one"), cluster.runner("two"));
    let posting = tokio::spawn(async move { tokio::join!(one.post(EVENTS, 1..200), two.post(EVENTS, 1..200)) });
    for acknowledged in [500, 1_500, 2_500] {
        cluster.ledger.reaches(acknowledged).await;
        for kind in LATE {
            late.add(Plan { snapshot: true, ..Plan::new(kind, PROJECT).after("now") });
        }
    }
    posting.await.expect("runners do not panic");
    let last_n = cluster.ledger.last_n();
    let everything = everything.reach(last_n).await.pop().expect("one viewer");
    assert_eq!(everything.told.len(), 2 * EVENTS);

    let mut at = Vec::new();
    for record in late.reach(last_n).await {
        let [(place, state)] = &record.snapshots[..] else {
            panic!("{} snapshots instead of one, then the stream", record.snapshots.len())
        };
        assert_eq!(*state, state_at(&everything, place.n), "the snapshot at {place} is the fold up to there");
        assert_eq!(told_above(&record, 0), told_above(&everything, place.n), "the stream goes on right behind {place}");
        at.push(place.n);
    }
    println!("late joiners took their snapshots at {at:?} of {last_n}");
    assert!(at.iter().any(|n| *n < last_n), "nobody joined in the middle");

    for gateway in &cluster.gateways {
        let path = format!("/v1/projects/{PROJECT}/snapshot");
        let answer = http::get(gateway.address(), &path).await.expect("the gateway answers").json();
        assert_eq!(answer["position"].as_str(), everything.position(), "all is quiet");
        assert_eq!(answer["state"], state_at(&everything, last_n));
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_snapshot_and_the_stream_meet_exactly() {
    let cluster = Cluster::on_redis().gateways(2).ingests(2).start().await;
    late_joiners_end_like_those_who_saw_everything(cluster).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_snapshot_and_the_stream_meet_exactly_in_dev_mode() {
    late_joiners_end_like_those_who_saw_everything(Cluster::dev().start().await).await;
}
