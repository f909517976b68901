//! Scenario 3: a proxy holds call n on one connection and lets n and n+1 pass on another, then releases it, also after
//! the ingest was started anew. No event is appended twice.

use std::net::SocketAddr;

use tidings_tests::audit::Audit;
use tidings_tests::cluster::{Cluster, Plan};
use tidings_tests::http;
use tidings_tests::viewer::Viewers;
use tokio::task::JoinHandle;

use crate::steps::{acknowledged, export, log, logs, path, posted, quick, standing, times};

/// Services that wait long for an answer, and so send nothing a second time before they are killed.
fn patient(plan: Plan) -> Plan {
    plan.set("TIDINGS_REDIS__RESPONSE_TIMEOUT_MS", 60_000).set("TIDINGS_REDIS__PING_MS", 60_000)
}

/// Posts what will be held, to an ingest that dies under it.
fn posting_in_vain(ingest: SocketAddr) -> JoinHandle<()> {
    tokio::spawn(async move {
        let request = http::post_json(ingest, &path("/events"), &log("held")).await;
        assert!(request.is_err(), "it was answered: {request:?}");
    })
}

/// Nobody was told anything twice, and each event stands once.
async fn assert_once(cluster: &Cluster, viewers: Viewers, what: &str) {
    cluster.ledger.enter(&acknowledged(cluster.ingests[0].address(), &[log("end")]).await);
    let records = viewers.reach(cluster.ledger.last_n()).await;
    Audit::of(&records, &cluster.ledger).assert_flawless(what);
    let rows = export(cluster.gateways[0].address()).await;
    assert_eq!(rows.len(), cluster.ledger.len(), "{rows:?}");
    assert!(cluster.ledger.acknowledged().keys().all(|id| times(&rows, id) == 1), "{rows:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_call_that_was_overtaken_by_its_own_retry_appends_nothing() {
    let cluster = quick(Cluster::on_redis().links_can_be_cut()).start().await;
    let viewers = standing(&cluster, 1);
    let ingest = cluster.ingests[0].address();
    cluster.ledger.enter(&posted(ingest, &logs("before", 5)).await);

    // Its retry under the same number overtakes it, and so does the number behind it.
    let trap = cluster.ingest_link(0).hold(|call| call.appends("held"));
    let posting = tokio::spawn(async move { posted(ingest, &[log("held")]).await });
    let held = trap.caught().await;
    let taken = posting.await.expect("no panic");
    assert_eq!(taken[0].status, "appended", "by another connection");
    cluster.ledger.enter(&taken);
    cluster.ledger.enter(&posted(ingest, &[log("next")]).await);
    let answer = held.release().await;
    assert!(answer.contains("stale"), "{answer}");

    let again = cluster.ingest_link(0).hold(|call| call.appends("other"));
    let posting = tokio::spawn(async move { posted(ingest, &[log("other")]).await });
    let held = again.caught().await;
    cluster.ledger.enter(&posting.await.expect("no panic"));
    let answer = held.release().await;
    assert!(answer.contains("appended"), "the same answer again: {answer}");
    assert_once(&cluster, viewers, "a call came late").await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_call_that_was_held_until_its_ingest_had_been_started_anew_appends_nothing() {
    let mut cluster = patient(Cluster::on_redis().links_can_be_cut()).start().await;
    let viewers = standing(&cluster, 1);
    let ingest = cluster.ingests[0].address();
    cluster.ledger.enter(&posted(ingest, &logs("before", 5)).await);

    let trap = cluster.ingest_link(0).hold(|call| call.appends("held"));
    let posting = posting_in_vain(ingest);
    let held = trap.caught().await;
    cluster.ingests[0].process.kill();
    posting.await.expect("no panic");
    cluster.ingests[0].kill_and_restart().await;
    let taken = posted(ingest, &[log("held")]).await;
    cluster.ledger.enter(&taken);
    cluster.ledger.enter(&posted(ingest, &[log("next")]).await);
    let answer = held.release().await;
    assert_eq!(taken[0].status, "appended");
    assert!(answer.contains("refused"), "{answer}");
    assert_once(&cluster, viewers, "a dead process's call came late").await;
}

/// The call of the dead process comes first: then the retry is the one that finds it there.
#[tokio::test(flavor = "multi_thread")]
async fn a_retry_behind_a_dead_process_late_call_appends_nothing() {
    let mut cluster = patient(Cluster::on_redis().ingests(2).links_can_be_cut()).start().await;
    let viewers = standing(&cluster, 1);
    let [one, two] = [cluster.ingests[0].address(), cluster.ingests[1].address()];
    cluster.ledger.enter(&posted(one, &logs("before", 5)).await);
    cluster.ledger.enter(&posted(two, &logs("beside", 5)).await);
    let trap = cluster.ingest_link(0).hold(|call| call.appends("held"));
    let posting = posting_in_vain(one);
    let held = trap.caught().await;
    cluster.ingests[0].process.kill();
    posting.await.expect("no panic");
    let answer = held.release().await;
    assert!(answer.contains("appended"), "{answer}");
    let taken = posted(two, &[log("held")]).await;
    assert_eq!(taken[0].status, "duplicate");
    cluster.ledger.enter(&taken);
    cluster.ingests[0].kill_and_restart().await;
    assert_once(&cluster, viewers, "a retry came behind a late call").await;
}
