//! Steps that scenarios share.

use std::net::SocketAddr;

use serde_json::{Value, json};
use tidings_tests::cluster::{Cluster, PROJECT, Plan};
use tidings_tests::http::{self, Answer};
use tidings_tests::runner::{Acknowledged, Runner, results};
use tidings_tests::viewer::{self, Directory, Kind, Record, Viewers};
use tidings_tests::wait::eventually;

/// Services that soon notice when Redis does not answer.
pub(crate) fn quick(plan: Plan) -> Plan {
    plan.set("TIDINGS_REDIS__RESPONSE_TIMEOUT_MS", 500).set("TIDINGS_REDIS__PING_MS", 200)
}

pub(crate) fn path(rest: &str) -> String {
    format!("/v1/projects/{PROJECT}{rest}")
}

/// An event of this id.
pub(crate) fn log(id: &str) -> Value {
    json!({"type": "log", "id": id, "session": "s", "data": {"level": "info", "message": id}})
}

/// So many of them: `<name>-0` and so on.
pub(crate) fn logs(name: &str, count: usize) -> Vec<Value> {
    (0..count).map(|index| log(&format!("{name}-{index}"))).collect()
}

/// Posts once.
pub(crate) async fn post(ingest: SocketAddr, events: &[Value]) -> Answer {
    http::post_json(ingest, &path("/events"), &json!(events)).await.expect("ingest answers")
}

/// Posts once, which must do.
pub(crate) async fn posted(ingest: SocketAddr, events: &[Value]) -> Vec<Acknowledged> {
    let answer = post(ingest, events).await;
    assert_eq!(answer.status, 200, "{}", answer.text());
    results(&answer)
}

/// Posts as a runner does that knows this ingest alone: until it is acknowledged.
pub(crate) async fn acknowledged(ingest: SocketAddr, events: &[Value]) -> Vec<Acknowledged> {
    let post = async || {
        let answer = post(ingest, events).await;
        assert!(matches!(answer.status, 200 | 503 | 504), "{}", answer.text());
        (answer.status == 200).then(|| results(&answer))
    };
    eventually("it is acknowledged", post).await
}

/// Viewers of each kind, so many of each, who saw everything from the start and stay.
pub(crate) fn standing(cluster: &Cluster, each: usize) -> Viewers {
    let mut viewers = cluster.viewers();
    for kind in Kind::ALL {
        (0..each).for_each(|index| {
            viewers.add(viewer::Plan { seed: index as u64, ..viewer::Plan::new(kind, PROJECT) });
        });
    }
    viewers
}

/// What viewers of each kind are told who come now, up to this running count.
pub(crate) async fn latecomers(cluster: &Cluster, n: u64) -> Vec<Record> {
    standing(cluster, 1).reach(n).await
}

/// One more event by each ingest, entered into the ledger: it puts back what it must before it appends this. The
/// running count of the last.
pub(crate) async fn last_words(cluster: &Cluster) -> u64 {
    for (index, ingest) in cluster.ingests.iter().enumerate() {
        let only = Directory::new(vec![ingest.address()]);
        Runner::new(&format!("last-{index}"), PROJECT, only, cluster.ledger.clone()).post(1, 1..2).await;
    }
    cluster.ledger.last_n()
}

/// Everything that the log holds.
pub(crate) async fn export(gateway: SocketAddr) -> Vec<Value> {
    let export = async || {
        let answer = http::get(gateway, &path("/export?format=json")).await.ok()?;
        (answer.status == 200).then(|| answer.json())
    };
    match eventually("an export", export).await {
        Value::Array(rows) => rows,
        other => panic!("no array: {other}"),
    }
}

/// How often an event stands among those of an export.
pub(crate) fn times(rows: &[Value], id: &str) -> usize {
    rows.iter().filter(|row| row["id"] == id).count()
}

/// Whoever had a standing connection was told each event exactly once. Polls have none: each of them is a viewer that
/// comes back, and may be told again, marked, what was put back between two of them.
pub(crate) fn assert_told_once(records: &[Record], cluster: &Cluster) {
    for record in records.iter().filter(|record| record.kind != Kind::LongPoll) {
        assert_eq!(record.told.len(), cluster.ledger.len(), "{:?}: {:?}", record.kind, record.told.last());
    }
}

/// A snapshot as soon as its position has reached this running count.
pub(crate) async fn snapshot(gateway: SocketAddr, n: u64) -> Value {
    eventually("a snapshot of the head", async || {
        let answer = http::get(gateway, &path("/snapshot")).await.ok().filter(|answer| answer.status == 200)?;
        let snapshot = answer.json();
        let at = snapshot["position"].as_str()?.split(['-', '.']).nth(1)?.parse::<u64>().ok()?;
        (at >= n).then_some(snapshot)
    })
    .await
}

/// Waits until an ingest has put back so many events in all.
pub(crate) async fn has_put_back(cluster: &Cluster, ingest: usize, events: u32) {
    eventually(&format!("ingest {ingest} has put back {events} events"), async || {
        let put_back = cluster.ingests[ingest].metric("tidings_ingest_events_put_back_total").await;
        (put_back >= f64::from(events)).then_some(())
    })
    .await;
}
