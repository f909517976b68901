//! What is no longer there is said to be missing, with its count: trimmed logs, and logs that begin anew.

use std::collections::HashSet;

use serde_json::Value;
use tidings_tests::audit::Audit;
use tidings_tests::cluster::{Cluster, PROJECT};
use tidings_tests::http;
use tidings_tests::viewer::said::Gap;
use tidings_tests::viewer::websocket::{Connection, subscription};
use tidings_tests::viewer::{Kind, Plan, Said};
use tidings_tests::wait::eventually;

/// Events that a project keeps.
const KEPT: usize = 1_000;

/// Events that are posted.
const EVENTS: usize = 4_000;

/// The `lost` of the only gap among events, which must stand first; the ids of the others.
fn gap_and_ids(events: &[Value]) -> (usize, HashSet<String>) {
    let [gap, events @ ..] = events else { panic!("nothing at all") };
    assert_eq!((gap["type"].as_str(), gap["data"]["cause"].as_str()), (Some("gap"), Some("trimmed")), "{gap}");
    assert_eq!(gap["data"]["certain"], true);
    let ids = events.iter().map(|event| event["id"].as_str().expect("an event has an id").to_owned());
    let lost = gap["data"]["lost"].as_u64().expect("the count is known");
    (usize::try_from(lost).expect("a count"), ids.collect())
}

async fn what_was_trimmed_is_counted(cluster: Cluster) {
    let gateway = cluster.gateways[0].address();
    let mut runner = cluster.runner("one");
    runner.post(EVENTS, 1..200).await;
    let path = format!("/v1/projects/{PROJECT}");
    // Trimming is the janitor's, who comes round by and by. Nobody reads before that: readers share what they have read.
    let janitor = cluster.ingests.first().unwrap_or(&cluster.gateways[0]);
    eventually("something is trimmed", || async {
        (janitor.metric("tidings_ingest_trimmed_entries_total").await > 0.0).then_some(())
    })
    .await;
    let export = http::get(gateway, &format!("{path}/export?format=json")).await.expect("the gateway answers");
    let (lost, exported) = gap_and_ids(export.json().as_array().expect("an array"));
    assert!(lost > 0);
    assert_eq!(lost + exported.len(), EVENTS, "what is missing and what is there");
    let acknowledged = cluster.ledger.acknowledged().clone();
    assert!(acknowledged.iter().all(|(id, place)| (place.n > lost as u64) == exported.contains(&**id)));

    let poll = http::get(gateway, &format!("{path}/events?after=start&limit=1000&wait=5")).await;
    let (lost, polled) = gap_and_ids(poll.expect("the gateway answers").json()["events"].as_array().expect("an array"));
    let within = lost as u64 + 1..=(lost + polled.len()) as u64;
    assert!(acknowledged.iter().all(|(id, place)| within.contains(&place.n) == polled.contains(&**id)));

    let mut viewers = cluster.viewers();
    for kind in Kind::ALL {
        (0..3).for_each(|index| viewers.add(Plan::new(kind, PROJECT).roaming(100..400, index)));
    }
    let records = viewers.reach(cluster.ledger.last_n()).await;
    for record in &records {
        let [(0, gap)] = &record.gaps[..] else { panic!("not one gap before everything: {:?}", record.gaps) };
        assert_eq!((gap.cause.as_str(), gap.certain), ("trimmed", true));
        assert_eq!(gap.lost, Some((EVENTS - record.told.len()) as u64));
    }
    // Each gap accounts for exactly what it says, and nothing else is missing.
    Audit::of(&records, &cluster.ledger).assert_flawless("a trimmed log");
}

#[tokio::test(flavor = "multi_thread")]
async fn what_was_trimmed_is_told_with_its_exact_count() {
    let cluster = Cluster::on_redis().set("TIDINGS_PROJECTS__RETENTION_EVENTS", KEPT);
    what_was_trimmed_is_counted(cluster.start().await).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn what_was_trimmed_is_told_with_its_exact_count_in_dev_mode() {
    let cluster = Cluster::dev().set("TIDINGS_PROJECTS__RETENTION_EVENTS", KEPT);
    what_was_trimmed_is_counted(cluster.start().await).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_log_that_begins_anew_is_told_as_reset() {
    let mut cluster = Cluster::dev().start().await;
    let gateway = cluster.gateways[0].address();
    let mut runner = cluster.runner("before");
    runner.post(100, 1..20).await;
    let plan = Plan::new(Kind::WebSocket, PROJECT);
    let mut socket = Connection::open(gateway).await.expect("the server listens");
    socket.say(&subscription(&plan, None)).await.expect("it is open");
    let last_n = cluster.ledger.last_n();
    let last = |said| match said {
        Said::Event(event) if event.position.contains(&format!("-{last_n}.")) => Some(event.position),
        _ => None,
    };
    let position = socket.hear_until("everything so far", last).await;

    // Everything was in memory: the new process has another log, which holds nothing yet.
    cluster.gateways[0].kill_and_restart().await;
    let mut socket = Connection::open(gateway).await.expect("the server listens");
    socket.say(&subscription(&plan, Some(&position))).await.expect("it is open");
    let gap = socket.hear_until("the gap", first_gap).await;
    assert_eq!((gap.cause.as_str(), gap.after), ("log_reset", position.parse().expect("a position")));
    runner.post(100, 1..20).await;
    socket.hear_until("all of the new log", exactly(100)).await;

    // Who comes with an old position when the new log is on its way goes on at its head.
    let mut socket = Connection::open(gateway).await.expect("the server listens");
    socket.say(&subscription(&plan, Some(&position))).await.expect("it is open");
    let gap = socket.hear_until("the gap", first_gap).await;
    assert_eq!((gap.cause.as_str(), gap.after), ("log_reset", position.parse().expect("a position")));
    let path = format!("/v1/projects/{PROJECT}/snapshot");
    let snapshot = http::get(gateway, &path).await.expect("the gateway answers").json();
    assert_eq!(snapshot["position"].as_str(), Some(gap.position.as_str()), "a snapshot fetched now meets the stream");
    runner.post(10, 1..20).await;
    socket.hear_until("what came behind the gap", exactly(10)).await;
}

/// The gap, which must come before any event.
fn first_gap(said: Said) -> Option<Gap> {
    match said {
        Said::Gap(gap) => Some(gap),
        Said::Event(event) => panic!("{} came before the gap", event.id),
        _ => None,
    }
}

/// Ends when so many different events were told, and nothing else of the log.
fn exactly(count: usize) -> impl FnMut(Said) -> Option<()> {
    let mut ids = HashSet::new();
    move |said| {
        match said {
            Said::Event(event) => assert!(ids.insert(event.id), "told twice"),
            Said::Gap(gap) => panic!("another gap: {gap:?}"),
            _ => {}
        }
        (ids.len() == count).then_some(())
    }
}
