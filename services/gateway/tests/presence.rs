//! Who is there, over HTTP: streams count, polls do not; a store that is away is said so.

mod support;

use std::time::Duration;

use bytes::Bytes;
use serde_json::{Value, json};
use support::{EVENTS, Rig};
use tidings_broker::Index as _;
use tidings_protocol::project::Project;

const PRESENCE: &str = "/v1/projects/demo/presence";
const STREAM: &str = "text/event-stream";

/// What changes is reported a moment later, and a list may be a second old.
async fn a_moment() {
    tokio::time::sleep(Duration::from_secs(1)).await;
}

async fn list(rig: &Rig) -> Value {
    let answer = rig.get(PRESENCE).await;
    assert_eq!((answer.status, &answer.headers["cache-control"]), (200, &"no-store".parse().expect("a value")));
    answer.json()
}

#[tokio::test(start_paused = true)]
async fn whoever_holds_a_stream_is_there_until_it_ends() {
    let rig = Rig::start().await;
    let nobody = json!({
        "project": "demo", "viewers": [], "others": 0, "runners": [], "runners_others": 0, "gateways": [], "stale": false,
    });
    assert_eq!(list(&rig).await, nobody);
    assert_eq!(rig.get(EVENTS).await.status, 200);
    a_moment().await;
    assert_eq!(list(&rig).await, nobody, "a poll is over when it is answered");
    let streams = [rig.open(EVENTS, STREAM).await, rig.open(EVENTS, STREAM).await];
    a_moment().await;
    let there = list(&rig).await;
    let viewers = there["viewers"].as_array().expect("a list");
    assert_eq!(viewers.len(), 2, "{there}");
    assert_eq!((&viewers[0]["connections"], &viewers[0]["transports"]), (&json!(1), &json!(["sse"])));
    assert!(viewers[0]["user"].is_null(), "nobody showed a credential");
    assert_eq!(there["gateways"].as_array().map(Vec::len), Some(1));
    a_moment().await;
    drop(streams);
    a_moment().await;
    assert_eq!(list(&rig).await, nobody);
}

#[tokio::test(start_paused = true)]
async fn runners_are_listed_with_what_they_say() {
    let rig = Rig::start().await;
    let project: Project = "demo".parse().expect("a name");
    let record = Bytes::from_static(br#"{"name":"Seven","capabilities":["chat"],"labels":{"region":"eu"},"later":1}"#);
    let by = tidings_broker::presence::Speaker { subject: "s".into(), overrules: false };
    let presences = rig.store.presences();
    presences.put_runner(project, "r-7".into(), by, 30_000, record).await.expect("memory answers");
    let mut there = list(&rig).await;
    let runner = &mut there["runners"][0];
    assert!(runner.as_object_mut().expect("a runner").remove("since").is_some_and(|since| since.is_string()));
    let expected = json!({"runner": "r-7", "name": "Seven", "capabilities": ["chat"], "labels": {"region": "eu"}});
    assert_eq!(*runner, expected);
}

#[tokio::test(start_paused = true)]
async fn what_cannot_be_understood_is_refused() {
    let rig = Rig::start().await;
    assert_eq!(rig.get(&format!("{PRESENCE}?limit=3")).await.assert_problem(400, "invalid_parameter"), "limit");
    rig.get("/v1/projects/-/presence").await.assert_problem(400, "invalid_project");
}
