//! What requests may hold, and for how long: beyond it somebody is told so, and nobody else notices.

mod support;

use std::sync::Arc;
use std::time::Duration;

use support::raw::Raw;
use support::store::Fate;
use support::{JSON, NDJSON, Rig, event, gzip, zstd};
use tidings_runtime::config::Config;
use tidings_runtime::service::Service as _;
use tokio::io::AsyncWriteExt as _;
use tokio::sync::Notify;

const GZIP: (&str, &str) = ("content-encoding", "gzip");
const ZSTD: (&str, &str) = ("content-encoding", "zstd");

#[tokio::test]
async fn a_bomb_is_found_out_before_it_has_grown() {
    let mut config = Config::default();
    config.ingest.memory_bytes_max = 16 * 1024 * 1024;
    let rig = Rig::start_with(config).await;
    // Unpacked it would not fit into the budget, and the answer would be another one.
    let bomb = vec![b' '; 64 * 1024 * 1024];
    for (encoding, packed) in [("gzip", gzip(&bomb)), ("zstd", zstd(&bomb))] {
        assert!(packed.len() < 1024 * 1024, "{encoding}: {}", packed.len());
        rig.post(&[JSON, ("content-encoding", encoding)], packed).await.assert_problem(413, "request_too_large");
    }
    assert!(rig.log().is_empty());
}

#[tokio::test]
async fn bodies_that_are_being_read_count() {
    let mut config = Config::default();
    config.ingest.memory_bytes_max = 2 * 1024 * 1024;
    config.limits.request_bytes_max = 1024 * 1024;
    let rig = Rig::start_with(config).await;
    let unfinished = support::raw::send_nearly(rig.address, &[JSON], 700_000).await;
    let body = format!(r#"{{"type":"note","id":"a","data":"{}"}}{}"#, "x".repeat(200_000), " ".repeat(400_000));
    // As soon as it has been read there is no room beside it.
    let refused = loop {
        let answer = rig.post(&[JSON], body.clone()).await;
        if answer.status != 200 {
            break answer;
        }
    };
    refused.assert_problem(503, "busy");
    drop(unfinished);
    while rig.post(&[JSON], body.clone()).await.status != 200 {}
}

#[tokio::test]
async fn more_than_may_wait_is_refused() {
    let mut config = Config::default();
    config.ingest.memory_bytes_max = 2 * 1024 * 1024;
    config.limits.request_bytes_max = 1024 * 1024;
    let rig = Arc::new(Rig::start_with(config).await);
    let big = |id: &str| format!(r#"{{"type":"note","id":"{id}","data":"{}"}}"#, "x".repeat(250_000));
    let body = format!("[{},{},{}]", big("a"), big("b"), big("c"));
    let go = Arc::new(Notify::new());
    rig.store.next([Fate::Held(go.clone())]);
    let first = tokio::spawn({
        let (rig, body) = (rig.clone(), body.clone());
        async move { rig.publish(&body).await }
    });
    rig.store.arrived.notified().await;
    // Most of the budget waits for the log; another body does not fit into the rest.
    let answer = rig.post(&[JSON], format!("[{},{}]", big("d"), big("e"))).await;
    answer.assert_problem(503, "busy");
    assert!(answer.headers.contains_key("retry-after"));
    go.notify_one();
    first.await.expect("it was taken");
    rig.publish(&body.replace("note", "other")).await;
    assert_eq!(rig.ids(), ["a", "b", "c"], "what waited is gone, and its retry was taken");
}

#[tokio::test]
async fn an_idle_zstd_stream_is_in_the_way_of_zstd_alone() {
    let mut config = Config::default();
    // One window.
    config.ingest.memory_bytes_max = 16 * 1024 * 1024;
    config.ingest.deadline = Duration::from_millis(150);
    let rig = Rig::start_with(config).await;
    let mut idle = Raw::open(rig.address, "", "content-encoding: zstd\r\n").await;
    idle.send(&zstd((event("a") + "\n").as_bytes())).await;
    assert_eq!(idle.line().await.expect("an answer")["id"], "a");
    for media_type in [JSON, NDJSON] {
        rig.post(&[media_type, ZSTD], zstd(event("b").as_bytes())).await.assert_problem(503, "busy");
        for (encoding, body) in [(GZIP, gzip(event("c").as_bytes())), (("accept", "*/*"), event("d").into_bytes())] {
            assert_eq!(rig.post(&[media_type, encoding], body).await.status, 200, "{media_type:?} {encoding:?}");
        }
    }
    idle.end().await;
    while idle.line().await.is_some() {}
    assert_eq!(rig.post(&[JSON, ZSTD], zstd(event("b").as_bytes())).await.status, 200, "the window is free again");
}

#[tokio::test]
async fn the_beginning_of_a_line_counts() {
    let mut config = Config::default();
    config.ingest.memory_bytes_max = 2 * 1024 * 1024;
    config.limits.request_bytes_max = 1024 * 1024;
    let rig = Rig::start_with(config).await;
    let mut stream = Raw::open(rig.address, "", "").await;
    stream.send(&vec![b' '; 700_000]).await;
    let body = event("a") + &" ".repeat(600_000);
    // As soon as the beginning has been read there is no room beside it.
    let refused = async {
        loop {
            let answer = rig.post(&[JSON], body.clone()).await;
            if answer.status != 200 {
                break answer;
            }
        }
    };
    let refused = tokio::time::timeout(Duration::from_secs(20), refused).await.expect("it never counts");
    refused.assert_problem(503, "busy");
    stream.send(b"\n").await;
    while rig.post(&[JSON], body.clone()).await.status != 200 {}
}

#[tokio::test]
async fn what_could_never_be_written_is_too_large() {
    let mut config = Config::default();
    config.ingest.memory_bytes_max = 2 * 1024 * 1024;
    config.limits.request_bytes_max = 512 * 1024;
    config.limits.batch_events_max = 10_000;
    let rig = Rig::start_with(config).await;
    // Small as they are sent; each has an id, times and its overhead as it is stored.
    let body = format!("[{}]", vec![r#"{"type":"note"}"#; 10_000].join(","));
    rig.post(&[JSON], body).await.assert_problem(413, "request_too_large");
    assert!(rig.log().is_empty());
}

#[tokio::test]
async fn a_project_has_room_for_the_largest_request() {
    let mut config = Config::default();
    config.limits.request_bytes_max = 20 * 1024 * 1024;
    config.limits.event_data_bytes_max = 16 * 1024 * 1024;
    let rig = Rig::start_with(config).await;
    let big = |id: &str| format!(r#"{{"type":"note","id":"{id}","data":"{}"}}"#, "x".repeat(9 * 1024 * 1024));
    let answer = rig.post(&[JSON], format!("[{},{}]", big("a"), big("b"))).await;
    assert_eq!(answer.status, 200, "{}", answer.body);
}

#[tokio::test]
async fn a_client_that_reads_no_answers_does_not_hold_up_a_drain() {
    let rig = Rig::start().await;
    let mut deaf = Raw::open(rig.address, "", "").await;
    let writer = deaf.writer.as_mut().expect("open");
    // Each of these lines is refused in many times its length; nobody reads that, so in the end nobody reads these.
    let lines = "{\n".repeat(16 * 1024);
    let chunk = [format!("{:x}\r\n", lines.len()).as_bytes(), lines.as_bytes(), b"\r\n"].concat();
    while tokio::time::timeout(Duration::from_millis(500), writer.write_all(&chunk)).await.is_ok() {}
    let drained = async {
        rig.ingest.drain().await;
        rig.ingest.finished().await;
    };
    tokio::time::timeout(Duration::from_secs(20), drained).await.expect("it waits for a client that reads nothing");
}

/// As `nc -N` and simple streamers do.
#[tokio::test]
async fn whoever_closes_its_sending_side_still_gets_the_answer() {
    let rig = Rig::start().await;
    let go = Arc::new(Notify::new());
    rig.store.next([Fate::Held(go.clone())]);
    let mut raw = Raw::open(rig.address, "", "").await;
    raw.send(event("a").as_bytes()).await;
    raw.end().await;
    raw.cut();
    rig.store.arrived.notified().await;
    for _ in 0..100 {
        tokio::task::yield_now().await;
    }
    go.notify_one();
    assert_eq!(raw.line().await.expect("an answer")["id"], "a");
    assert_eq!(raw.line().await.expect("the last line")["done"], true);
}
