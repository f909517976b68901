//! What projects' own settings do to their logs and to acknowledgements.

mod support;

use serde_json::{Value, json};
use support::{JSON, Rig};
use tidings_broker::{Span, Wait};
use tidings_protocol::position::LogId;
use tidings_protocol::project::Project;
use tidings_runtime::config::Config;

async fn set(rig: &Rig, project: &str, settings: Value) {
    let answer = rig.call("PATCH", &format!("/v1/projects/{project}/settings"), Some(settings)).await;
    assert_eq!(answer.status, 200, "{}", answer.body);
}

async fn publish(rig: &Rig, project: &str, body: String) {
    let answer = rig.post_to(&format!("/v1/projects/{project}/events"), &[JSON], body).await;
    assert_eq!(answer.status, 200, "{}", answer.body);
}

/// Events that a project's log holds, once the janitor has folded all of it.
async fn held(rig: &Rig, project: &str) -> u64 {
    let project: Project = project.parse().expect("a name");
    loop {
        let log = rig.store.memory.copy(&project);
        let head = log.head("");
        if head.is_born() && head.checkpoint == head.last {
            let page = log.read("", Span::After(LogId::ZERO), usize::MAX);
            return page.entries.iter().map(tidings_protocol::entry::Entry::count).sum();
        }
        tokio::task::yield_now().await;
    }
}

#[tokio::test]
async fn a_projects_own_retention_trims_its_log_and_no_other() {
    let mut config = Config::default();
    config.projects.retention_events = 500;
    let rig = Rig::start_with(config).await;
    set(&rig, "short", json!({"retention": {"events": 250}})).await;
    set(&rig, "long", json!({"retention": {"events": 750}})).await;
    // As many as make the janitor look at once.
    for _ in 0..4 {
        for project in ["short", "usual", "long"] {
            publish(&rig, project, json!(vec![json!({"type": "x"}); 250]).to_string()).await;
        }
    }
    let all = [held(&rig, "short").await, held(&rig, "usual").await, held(&rig, "long").await];
    assert_eq!(all, [250, 500, 750]);
}

#[tokio::test]
async fn a_projects_own_replicas_are_waited_for() {
    let mut config = Config::default();
    config.projects.wait_replicas = 1;
    let timeout_ms = u64::try_from(config.projects.wait_timeout.as_millis()).expect("a short time");
    let rig = Rig::start_with(config).await;
    set(&rig, "safe", json!({"acknowledgement": {"replicas": 3}})).await;
    set(&rig, "fast", json!({"acknowledgement": {"replicas": 0}})).await;
    for project in ["usual", "safe", "fast"] {
        publish(&rig, project, json!({"type": "x"}).to_string()).await;
    }
    let waits = [Some(Wait { replicas: 1, timeout_ms }), Some(Wait { replicas: 3, timeout_ms }), None];
    assert_eq!(*rig.store.waits.lock(), waits);
}

#[tokio::test]
async fn nobody_sets_more_than_the_operator_allows() {
    let mut config = Config::default();
    config.projects.retention_events_max = 200_000;
    config.projects.wait_replicas_max = 1;
    config.limits.project_events_per_second_max = 60_000;
    let rig = Rig::start_with(config).await;
    let beyond = json!({
        "retention": {"events": 200_001, "bytes": 70_000},
        "acknowledgement": {"replicas": 2},
        "limits": {"events_per_second": 60_001},
    });
    let refused = rig.call("PATCH", "/v1/projects/demo/settings", Some(beyond)).await;
    refused.assert_problem(422, "invalid_field");
    let told = refused.json()["errors"].as_array().expect("faults").clone();
    let told: Vec<_> = told.iter().map(|fault| (fault["field"].as_str(), fault["limit"].as_u64())).collect();
    let expected = [
        (Some("retention.events"), Some(200_000)),
        (Some("acknowledgement.replicas"), Some(1)),
        (Some("limits.events_per_second"), Some(60_000)),
    ];
    assert_eq!(told, expected);
    let shown = rig.call("GET", "/v1/projects/demo/settings", None).await.json();
    assert_eq!(shown["version"], 0, "nothing of it was set: {shown}");
    set(&rig, "demo", json!({"retention": {"events": 200_000}, "acknowledgement": {"replicas": 1}})).await;
}

/// Bodies large enough to be looked through elsewhere are redacted as small ones are, in their order.
#[tokio::test]
async fn secrets_in_large_bodies_are_hidden_too() {
    let rig = Rig::start().await;
    set(&rig, "demo", json!({"redaction": {"builtin": true}})).await;
    let events: Vec<Value> = (0..100)
        .map(|n| json!({"type": "x", "id": format!("e{n}"), "data": ["password=hunter2", "y".repeat(1_000)]}))
        .collect();
    publish(&rig, "demo", json!(events).to_string()).await;
    let log = rig.log();
    assert_eq!(rig.ids(), (0..100).map(|n| format!("e{n}")).collect::<Vec<_>>());
    for (_, event) in log {
        let text = String::from_utf8_lossy(&event.json);
        assert!(text.contains("[redacted:password]") && !text.contains("hunter2"), "{text}");
    }
}
