//! How much a project may publish: who is over it is told when to come back, nothing of it is appended, and nobody else
//! notices.

mod support;

use std::time::Duration;

use serde_json::json;
use support::store::Store;
use support::{JSON, NDJSON, Rig, event};
use tidings_runtime::config::Config;
use tidings_runtime::http::rights::Rights;

/// Events in one request.
const BATCH: usize = 10;

/// What the project may publish in a second; four times as much at once.
const EVENTS_PER_SECOND: usize = 10;

/// A multiple of what may come at once.
const FLOOD: usize = 40;

fn batch(name: &str, index: usize) -> String {
    let events: Vec<String> = (0..BATCH).map(|n| event(&format!("{name}-{index}-{n}"))).collect();
    format!("[{}]", events.join(","))
}

async fn limit(rig: &Rig) {
    let patch = json!({"limits": {"events_per_second": EVENTS_PER_SECOND}});
    let answer = rig.call("PATCH", "/v1/projects/demo/settings", Some(patch)).await;
    assert_eq!(answer.status, 200, "{}", answer.body);
}

#[tokio::test]
async fn a_flood_is_refused_and_taken_later_and_others_do_not_notice() {
    let rig = Rig::start().await;
    limit(&rig).await;
    let mut taken = 0;
    let refused = loop {
        assert!(taken < FLOOD, "nothing is refused");
        let answer = rig.post(&[JSON], batch("a", taken)).await;
        if answer.status != 200 {
            break answer;
        }
        taken += 1;
    };
    refused.assert_problem(429, "rate_limited");
    assert!(taken * BATCH >= 4 * EVENTS_PER_SECOND, "so much may come at once: {taken}");
    assert_eq!(rig.log().len(), taken * BATCH, "what is refused is not appended");

    for index in 0..FLOOD {
        let answer = rig.post_to("/v1/projects/other/events", &[JSON], batch("b", index)).await;
        assert_eq!(answer.status, 200, "{}", answer.body);
    }

    let seconds: u64 = refused.headers["retry-after"].to_str().expect("text").parse().expect("seconds");
    tokio::time::sleep(Duration::from_secs(seconds)).await;
    let answer = rig.post(&[JSON], batch("a", taken)).await;
    assert_eq!(answer.status, 200, "{}", answer.body);
}

#[tokio::test]
async fn two_ingests_share_a_limit() {
    let store = Store::default();
    let one = Rig::start_on(Config::default(), store.clone(), Rights::open()).await;
    let other = Rig::start_on(Config::default(), store, Rights::open()).await;
    limit(&one).await;
    let mut taken = 0;
    for index in 0..FLOOD {
        let rig = if index % 2 == 0 { &one } else { &other };
        taken += usize::from(rig.post(&[JSON], batch("a", index)).await.status == 200) * BATCH;
    }
    assert!(taken >= 4 * EVENTS_PER_SECOND, "{taken}");
    assert!(taken < 2 * 4 * EVENTS_PER_SECOND, "each has a limit of its own: {taken}");
}

#[tokio::test]
async fn a_stream_waits_and_then_says_that_it_is_over_the_limit() {
    let mut config = Config::default();
    config.ingest.deadline = Duration::from_millis(200);
    let rig = Rig::start_with(config).await;
    limit(&rig).await;
    let lines = |name: &str| (0..100).map(|n| event(&format!("{name}{n}")) + "\n").collect::<String>();
    // More than may come at once is taken after a quiet time, and counted in full.
    let first = rig.post(&[NDJSON], lines("a")).await.lines();
    assert_eq!(first.last().expect("a line"), &json!({"done": true, "accepted": 100, "rejected": 0}));
    let second = rig.post(&[NDJSON], lines("b")).await.lines();
    let [done] = &second[..] else { panic!("{second:?}") };
    assert_eq!((&done["accepted"], &done["error"]["code"]), (&json!(0), &json!("rate_limited")));
    assert_eq!(rig.log().len(), 100);
}
