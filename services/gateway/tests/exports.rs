//! Exports end: at the head of their request, at what a failover left of the log, and when the gateway goes.

mod support;

use http_body_util::BodyExt as _;
use serde_json::Value;
use support::store::Reads;
use support::{EVENTS, Rig, told, within};
use tidings_runtime::service::Service as _;

const EXPORT: &str = "/v1/projects/demo/export";

fn rows(body: &[u8]) -> Vec<String> {
    let events: Vec<Value> = serde_json::from_slice(body).expect("a whole array");
    told(&events)
}

#[tokio::test(start_paused = true)]
async fn an_export_ends_at_the_head_of_its_request() {
    let mut rig = Rig::start_with_small_rings().await;
    rig.say(5).await;
    let export = rig.open(EXPORT, "*/*").await;
    rig.say(5).await;
    let body = within(export.into_body().collect()).await.expect("whole").to_bytes();
    assert_eq!(rows(&body), ["e1", "e2", "e3", "e4", "e5"]);
}

#[tokio::test(start_paused = true)]
async fn an_export_ends_when_a_failover_cut_the_log_below_its_end() {
    let mut rig = Rig::start().await;
    let demo = "demo".parse().expect("a name");
    rig.say(5).await;
    let copy = rig.store.memory.copy(&demo);
    let lost = rig.say(5).await;
    let export = rig.open(EXPORT, "*/*").await;
    rig.store.memory.restore(&demo, copy);
    rig.store.memory.set_incarnation("promoted");
    rig.store.memory.interrupt();
    // The gateway knows of it.
    let crossed = rig.get(&format!("{EVENTS}?after={lost}&wait=25")).await;
    assert_eq!(crossed.told(), ["failover"]);
    let body = within(export.into_body().collect()).await.expect("whole").to_bytes();
    assert_eq!(rows(&body), ["e1", "e2", "e3", "e4", "e5", "failover"]);
}

#[tokio::test(start_paused = true)]
async fn a_drain_lets_exports_finish_that_can() {
    let mut rig = Rig::start_with_small_rings().await;
    rig.say(5).await;
    let export = rig.open(EXPORT, "*/*").await;
    assert_eq!(rig.gateway.open(), 1);
    rig.gateway.drain().await;
    let body = within(export.into_body().collect()).await.expect("whole").to_bytes();
    assert_eq!(rows(&body).len(), 5);
    assert_eq!(rig.gateway.open(), 0);
}

#[tokio::test(start_paused = true)]
async fn a_drain_cuts_exports_that_cannot_finish_and_they_see_it() {
    let mut rig = Rig::start_with_small_rings().await;
    rig.say(5).await;
    let mut export = rig.open(EXPORT, "*/*").await.into_body();
    rig.store.reads.send_replace(Reads::Held);
    let opening = within(export.frame()).await.expect("a frame").expect("whole").into_data().expect("data");
    assert_eq!(&opening[..], b"[");
    let begun = tokio::time::Instant::now();
    rig.gateway.drain().await;
    let cut = within(export.frame()).await.expect("not the end of a whole body");
    assert!(cut.is_err(), "{cut:?}");
    // By the paused clock: well before a shutdown's own end.
    assert!(begun.elapsed() < std::time::Duration::from_secs(30), "{:?}", begun.elapsed());
    assert!(within(export.frame()).await.is_none());
}

#[tokio::test(start_paused = true)]
async fn what_nobody_reads_on_ends_with_the_gateway() {
    let mut rig = Rig::start_with_small_rings().await;
    rig.say(5).await;
    let mut export = rig.open(EXPORT, "*/*").await.into_body();
    let stream = rig.open(EVENTS, "text/event-stream").await;
    assert_eq!(rig.gateway.open(), 2);
    rig.gateway.drain().await;
    tokio::time::sleep(std::time::Duration::from_secs(15)).await;
    assert_eq!(rig.gateway.open(), 0, "readers that take nothing keep them");
    let cut = within(export.frame()).await.expect("not the end of a whole body");
    assert!(cut.is_err(), "{cut:?}");
    drop(stream);
}
