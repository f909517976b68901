//! Streams of lines over real sockets.

mod support;

use std::sync::Arc;

use serde_json::Value;
use support::raw::Raw;
use support::store::Fate;
use support::{NDJSON, Rig, event, gzip, zstd};
use tidings_broker::NothingWhy;
use tidings_runtime::config::Config;
use tidings_runtime::service::Service as _;
use tokio::sync::Notify;

fn line(id: &str) -> Vec<u8> {
    (event(id) + "\n").into_bytes()
}

fn done(accepted: u64, rejected: u64) -> Value {
    serde_json::json!({"done": true, "accepted": accepted, "rejected": rejected})
}

#[tokio::test]
async fn a_line_is_answered_before_the_body_ends() {
    let rig = Rig::start().await;
    let mut raw = Raw::open(rig.address, "", "").await;
    for (number, id) in [(1, "a"), (2, "b")] {
        raw.send(&line(id)).await;
        let answer = raw.line().await.expect("an answer while the body is open");
        assert_eq!((answer["line"].as_u64(), answer["id"].as_str()), (Some(number), Some(id)), "{answer}");
        assert_eq!(answer["position"], rig.log().last().expect("it was appended").0.to_string());
    }
    raw.end().await;
    assert_eq!(raw.line().await, Some(done(2, 0)));
    assert_eq!(raw.line().await, None);
}

#[tokio::test]
async fn a_faulty_line_costs_nothing_but_itself() {
    let mut config = Config::default();
    config.limits.line_bytes_max = 300_000;
    let rig = Rig::start_with(config).await;
    let long = format!(r#"{{"type":"note","data":"{}"}}"#, "x".repeat(400_000));
    let wide = format!(r#"{{"type":"note","data":"{}"}}"#, "x".repeat(270_000));
    let lines = [
        event("a"),
        r#"{"type":"note","nope":1}"#.into(),
        String::new(),
        "{".into(),
        long,
        wide,
        r#"{"type":"presence.joined"}"#.into(),
        event("b"),
    ];
    let answer = rig.post(&[NDJSON], lines.join("\r\n")).await;
    let answers = answer.lines();
    let codes: Vec<_> = answers
        .iter()
        .map(|answer| (answer["line"].as_u64().unwrap_or(0), answer["error"]["code"].as_str().unwrap_or("ok")))
        .collect();
    assert_eq!(
        codes,
        [
            (1, "ok"),
            (2, "unknown_field"),
            (4, "malformed_json"),
            (5, "line_too_large"),
            (6, "event_too_large"),
            (7, "reserved"),
            (8, "ok"),
            (0, "ok"),
        ]
    );
    assert_eq!(answers[7], done(2, 5));
    assert_eq!(rig.ids(), ["a", "b"]);
}

#[tokio::test]
async fn a_cut_in_the_middle_of_a_line_loses_only_that_line() {
    let rig = Rig::start().await;
    let mut raw = Raw::open(rig.address, "", "").await;
    raw.send(&line("a")).await;
    assert_eq!(raw.line().await.expect("an answer")["id"], "a");
    raw.send(&line("b")).await;
    raw.send(&event("c").as_bytes()[..10]).await;
    assert_eq!(raw.line().await.expect("an answer")["id"], "b");
    // The sender is gone in the middle of a line; its connection is.
    drop(raw);
    rig.ingest.drain().await;
    rig.ingest.finished().await;
    assert_eq!(rig.ids(), ["a", "b"]);
}

#[tokio::test]
async fn a_packed_stream_that_is_cut_says_so() {
    for (encoding, packed) in [
        ("gzip", gzip(&[line("a"), line("b"), line("c")].concat())),
        ("zstd", zstd(&[line("a"), line("b"), line("c")].concat())),
    ] {
        let rig = Rig::start().await;
        let whole = rig.post(&[NDJSON, ("content-encoding", encoding)], packed.clone()).await;
        assert_eq!(whole.lines()[3], done(3, 0), "{encoding}");
        let cut = packed[..packed.len() - 2].to_vec();
        let answers = rig.post(&[NDJSON, ("content-encoding", encoding)], cut).await.lines();
        let last = answers.last().expect("a last line");
        assert_eq!((&last["done"], last["error"]["code"].as_str()), (&Value::Bool(true), Some("line_cut")), "{last}");
    }
}

#[tokio::test]
async fn a_last_line_needs_no_break() {
    let rig = Rig::start().await;
    let answers = rig.post(&[NDJSON], [line("a"), event("b").into_bytes()].concat()).await.lines();
    assert_eq!(answers[2], done(2, 0));
    assert_eq!(rig.ids(), ["a", "b"]);
}

#[tokio::test]
async fn a_stream_goes_on_at_a_line_under_the_same_key() {
    let rig = Rig::start().await;
    let key = ("idempotency-key", "run-7");
    let lines: Vec<String> = (1..=60).map(|n| format!(r#"{{"type":"note","data":{{"n":{n}}}}}"#)).collect();
    let first = rig.post(&[NDJSON, key], lines[..55].join("\n")).await.lines();
    // The answers behind line 50 were lost on the way: lines 51 to 55 come again.
    let path = "/v1/projects/demo/events?first_line=51";
    let second = rig.post_to(path, &[NDJSON, key], lines[50..].join("\n")).await.lines();
    assert_eq!(second[0]["line"], 51);
    assert_eq!(second[0]["position"], first[50]["position"]);
    let statuses: Vec<_> = second[..10].iter().map(|answer| answer["status"].as_str().expect("a status")).collect();
    assert_eq!(statuses, [["duplicate"; 5], ["appended"; 5]].concat());
    assert_eq!(rig.log().len(), 60);
}

#[tokio::test]
async fn packed_lines_are_answered_while_the_stream_is_open() {
    let rig = Rig::start().await;
    let mut raw = Raw::open(rig.address, "", "content-encoding: zstd\r\n").await;
    for id in ["a", "b"] {
        raw.send(&zstd(&line(id))).await;
        assert_eq!(raw.line().await.expect("an answer")["id"], id);
    }
    raw.end().await;
    assert_eq!(raw.line().await, Some(done(2, 0)));
}

#[tokio::test]
async fn a_stream_ends_where_the_store_takes_no_more() {
    let rig = Rig::start().await;
    let mut raw = Raw::open(rig.address, "", "").await;
    raw.send(&line("a")).await;
    assert_eq!(raw.line().await.expect("an answer")["id"], "a");
    rig.store.always(Fate::Nothing(NothingWhy::Memory));
    raw.send(&[line("b"), b"{\n".to_vec(), line("c")].concat()).await;
    let last = raw.line().await.expect("the last line");
    assert_eq!(
        (last["accepted"].as_u64(), last["error"]["code"].as_str()),
        (Some(1), Some("memory_pressure")),
        "{last}"
    );
    assert_eq!(raw.line().await, None);
    assert_eq!(rig.ids(), ["a"]);
}

#[tokio::test]
async fn a_stream_is_not_read_while_the_log_is_slow() {
    let rig = Rig::start().await;
    let go = Arc::new(Notify::new());
    rig.store.next([Fate::Held(go.clone())]);
    let mut raw = Raw::open(rig.address, "", "").await;
    raw.send(&line("first")).await;
    rig.store.arrived.notified().await;
    // The first group is on its way and unanswered: what else is sent stays in the sockets until they are full.
    let writer = raw.writer.as_mut().expect("open");
    let chunk = [b"10000\r\n".as_slice(), &vec![b'\n'; 0x10000], b"\r\n"].concat();
    let (mut sent, mut refused) = (0_usize, 0);
    let full = loop {
        match writer.try_write(&chunk[sent % chunk.len()..]) {
            Ok(bytes) => (sent, refused) = (sent + bytes, 0),
            Err(error) => {
                assert_eq!(error.kind(), std::io::ErrorKind::WouldBlock);
                refused += 1;
                // The service has had many turns, and took nothing.
                if refused == 10_000 {
                    break true;
                }
                tokio::task::yield_now().await;
            }
        }
        if sent > 256 * 1024 * 1024 {
            break false;
        }
    };
    assert!(full, "{sent} bytes were read while nothing was appended");
    go.notify_one();
    assert_eq!(raw.line().await.expect("an answer")["id"], "first");
}

#[tokio::test]
async fn a_draining_service_ends_its_streams() {
    let rig = Rig::start().await;
    let mut raw = Raw::open(rig.address, "", "").await;
    raw.send(&line("a")).await;
    assert_eq!(raw.line().await.expect("an answer")["id"], "a");
    rig.ingest.drain().await;
    let last = raw.line().await.expect("the last line");
    assert_eq!((last["accepted"].as_u64(), last["error"]["code"].as_str()), (Some(1), Some("draining")), "{last}");
    rig.post(&[NDJSON], line("b")).await.assert_problem(503, "draining");
    assert_eq!(rig.ids(), ["a"]);
}

#[tokio::test]
async fn a_producers_refusals_stand_in_their_lines() {
    let rig = Rig::start().await;
    let of = |seq: u64| format!(r#"{{"type":"note","producer":{{"id":"p","epoch":1,"seq":{seq}}}}}"#);
    let gap = r#"{"type":"gap","data":{"cause":"producer_dropped","lost":3,"certain":true}}"#;
    let answers = rig.post(&[NDJSON], [of(1), of(3), of(2), gap.into(), of(6)].join("\n")).await.lines();
    assert_eq!(answers[1]["error"]["code"], "out_of_sequence", "{}", answers[1]);
    assert_eq!(answers[1]["error"]["errors"][0]["limit"], 2);
    assert_eq!(answers[4]["status"], "appended", "the gap says what was dropped: {}", answers[4]);
    assert_eq!(answers[5], done(4, 1));
}

#[tokio::test]
async fn a_gap_speaks_of_the_next_step_whenever_it_comes() {
    let rig = Rig::start().await;
    let of = |seq: u64| format!("{{\"type\":\"note\",\"producer\":{{\"id\":\"p\",\"epoch\":1,\"seq\":{seq}}}}}\n");
    let gap = "{\"type\":\"gap\",\"data\":{\"cause\":\"producer_dropped\",\"lost\":3,\"certain\":true}}\n";
    let mut raw = Raw::open(rig.address, "", "").await;
    for line in [&of(1), gap, &of(5), &of(6)] {
        raw.send(line.as_bytes()).await;
        assert_eq!(raw.line().await.expect("an answer")["status"], "appended", "{line}");
    }
    raw.send(of(9).as_bytes()).await;
    assert_eq!(raw.line().await.expect("an answer")["error"]["code"], "out_of_sequence");
}
