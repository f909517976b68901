//! How often callers may ask, and how much they may have open.

mod support;

use support::{EVENTS, Rig};
use tidings_runtime::config::Config;

const STREAM: &str = "text/event-stream";

#[tokio::test(start_paused = true)]
async fn a_user_has_so_many_streams_open_and_no_more() {
    let mut config = Config::default();
    config.limits.user_connections_max = 2;
    let rig = Rig::start_on(config).await;
    let first = rig.open(EVENTS, STREAM).await;
    let second = rig.open(EVENTS, STREAM).await;
    assert_eq!((first.status().as_u16(), second.status().as_u16()), (200, 200));
    let third = rig.get_as(EVENTS, STREAM).await;
    third.assert_problem(429, "rate_limited");
    assert!(third.headers.contains_key("retry-after"));
    assert_eq!(rig.get(EVENTS).await.status, 200, "a poll that does not wait holds no place");
    for open in ["/v1/projects/hive/events?wait=1", "/v1/projects/hive/export"] {
        rig.get(open).await.assert_problem(429, "rate_limited");
    }
    drop(first);
    assert_eq!(rig.open(EVENTS, STREAM).await.status().as_u16(), 200, "a place that was given back");
}

#[tokio::test(start_paused = true)]
async fn who_asks_too_often_is_told_when_to_come_back() {
    let mut config = Config::default();
    config.limits.requests_per_second = 10;
    let rig = Rig::start_on(config).await;
    let mut taken = 0;
    let refused = loop {
        assert!(taken < 1_000, "nothing is refused");
        let answer = rig.get(EVENTS).await;
        if answer.status != 200 {
            break answer;
        }
        taken += 1;
    };
    refused.assert_problem(429, "rate_limited");
    assert!(taken >= 40, "so much may come at once: {taken}");
    assert!(refused.headers.contains_key("retry-after"));
}
