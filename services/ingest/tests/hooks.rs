//! Claude Code's hooks over HTTP: what is refused, what is appended, and how long a request is held.

mod support;

use serde_json::{Value, json};
use support::store::Store;
use support::{JSON, NDJSON, Rig, demo};
use tidings_auth::{Authenticator, Closed, Config as AuthConfig, NewKey};
use tidings_broker::Index as _;
use tidings_protocol::grant::Scope;
use tidings_registry::stores;
use tidings_runtime::config::Config;
use tidings_runtime::http::rights::Rights;
use tidings_runtime::service::Service as _;

const HOOKS: &str = "/v1/projects/demo/hooks/claude-code";

fn hook(name: &str, more: &Value) -> Value {
    let mut hook = json!({"session_id": "s-1", "hook_event_name": name});
    let members = more.as_object().cloned().unwrap_or_default();
    hook.as_object_mut().expect("an object").extend(members);
    hook
}

fn permission(call: &str) -> Value {
    hook("PermissionRequest", &json!({"tool_name": "Bash", "tool_input": {"command": "ls"}, "tool_use_id": call}))
}

/// Asks for a permission: the answer.
async fn ask(rig: &Rig, call: &str) -> Value {
    let answer = rig.call("POST", HOOKS, Some(permission(call))).await;
    assert_eq!(answer.status, 200, "{}", answer.body);
    answer.json()
}

fn kinds(rig: &Rig) -> Vec<String> {
    rig.log().into_iter().map(|(_, event)| event.r#type).collect()
}

#[tokio::test]
async fn a_hook_is_appended_and_answered_at_once() {
    let rig = Rig::start().await;
    for (name, more) in [
        ("SessionStart", json!({"source": "startup", "cwd": "/src/shop"})),
        ("UserPromptSubmit", json!({})),
        ("PreToolUse", json!({"tool_name": "Bash", "tool_use_id": "t-1", "tool_input": {"a": 1}})),
    ] {
        let answer = rig.call("POST", HOOKS, Some(hook(name, &more))).await;
        assert_eq!((answer.status, answer.json()), (200, json!({})), "{name}");
    }
    assert_eq!(kinds(&rig), ["session.started", "agent.started", "agent.status", "tool.started"]);
    // Half a character, as the tool leaves it where it cuts a text.
    let cut = r#"{"session_id":"s-1","hook_event_name":"Stop","last_assistant_message":"all \ud83d"}"#;
    assert_eq!(rig.post_to(HOOKS, &[JSON], cut).await.status, 200);
    assert!(String::from_utf8_lossy(&rig.log()[4].1.json).contains("all \u{fffd}"));
}

#[tokio::test]
async fn what_is_no_hook_is_refused_by_what_is_wrong() {
    let rig = Rig::start().await;
    let post = async |path: &str, body: &str| rig.post_to(path, &[JSON], body.to_owned()).await;
    post(HOOKS, "{").await.assert_problem(400, "malformed_json");
    post(HOOKS, "[]").await.assert_problem(422, "invalid_field");
    let nameless = post(HOOKS, r#"{"session_id":"s"}"#).await;
    nameless.assert_problem(422, "missing_field");
    assert_eq!(nameless.json()["errors"][0]["field"], "hook_event_name");
    post(HOOKS, r#"{"session_id":"a\u0000b","hook_event_name":"Stop"}"#).await.assert_problem(422, "invalid_field");
    let stop = hook("Stop", &json!({})).to_string();
    for query in ["?hold=0", "?hold=601", "?hold=x", "?hold=1&hold=2", "?holds=1"] {
        post(&format!("{HOOKS}{query}"), &stop).await.assert_problem(400, "invalid_parameter");
    }
    post("/v1/projects/-/hooks/claude-code", &stop).await.assert_problem(400, "invalid_project");
    let lines = rig.post_to(HOOKS, &[support::NDJSON], stop.clone()).await;
    lines.assert_problem(415, "unsupported_media_type");
    post(HOOKS, &"x".repeat(5 * 1024 * 1024)).await.assert_problem(413, "request_too_large");
    assert_eq!(kinds(&rig), [""; 0]);
}

#[tokio::test]
async fn a_permission_waits_for_its_decision_however_often_it_is_asked() {
    let rig = Rig::start().await;
    let decide = async |approval: &str, decision: Value, reason: &str| {
        rig.store.arrived.notified().await;
        let data = json!({"approval_id": approval, "decision": decision, "by": "bob", "reason": reason});
        rig.publish(&json!({"type": "approval.resolved", "session": "s-1", "data": data}).to_string()).await;
    };
    let told = |answer: &Value| answer["hookSpecificOutput"]["decision"].clone();
    let (one, two, ()) =
        tokio::join!(ask(&rig, "t-1"), ask(&rig, "t-1"), decide("claude-code-t-1", json!("deny"), "no"));
    assert_eq!((told(&one), &one), (json!({"behavior": "deny", "message": "no"}), &two));
    assert_eq!(kinds(&rig), ["agent.status", "approval.requested", "approval.resolved"], "it was asked once");
    for (decision, behavior) in [(json!(true), "allow"), (json!("rejected"), "deny")] {
        let call = format!("t-{decision}");
        let approval = format!("claude-code-{call}");
        let (answer, ()) = tokio::join!(ask(&rig, &call), decide(&approval, decision.clone(), ""));
        assert_eq!(told(&answer)["behavior"], behavior);
    }
    // Words that mean nothing to the tool leave it to its user.
    let (answer, ()) = tokio::join!(ask(&rig, "t-2"), decide("claude-code-t-2", json!("perhaps"), ""));
    assert_eq!(answer, json!({}));
}

#[tokio::test]
async fn a_held_request_is_answered_when_the_service_drains() {
    let rig = Rig::start().await;
    let drain = async {
        rig.store.arrived.notified().await;
        rig.ingest.drain().await;
    };
    let (answer, ()) = tokio::join!(ask(&rig, "t-1"), drain);
    assert_eq!(answer, json!({}));
}

/// An ingest that asks for credentials.
async fn closed() -> (Store, Rig) {
    let store = Store::default();
    let authenticator = Authenticator::new(AuthConfig::Closed(Closed::default()), stores(store.registry()));
    let authenticator = authenticator.unwrap_or_else(|faults| panic!("{faults:?}"));
    let rights = Rights::new(authenticator, &prometheus::Registry::new()).expect("a registry of its own");
    let rig = Rig::start_on(Config::default(), store.clone(), rights).await;
    (store, rig)
}

#[tokio::test]
async fn what_names_no_runner_is_its_keys() {
    let (store, rig) = closed().await;
    let key = NewKey::make(vec![demo().into()], Scope::Publish.into(), 1);
    let record = serde_json::to_vec(&key.record).expect("JSON").into();
    store.registry().add_key(demo(), key.record.id.to_string(), record).await.expect("an answer");
    let rig = rig.shown(key.key.expose());
    let bearer = format!("Bearer {}", key.key.expose());
    let shown = ("authorization", bearer.as_str());
    let events = r#"[{"type":"x"},{"type":"x","runner":"r"},{"type":"x","data":{"runner":"r"}}]"#;
    let line = "{\"type\":\"x\"}\n";
    let event = r#"{"specversion":"1.0","id":"1","source":"here","type":"x"}"#;
    for (kind, body) in [(JSON, events), (NDJSON, line), (("content-type", "application/cloudevents+json"), event)] {
        let answer = rig.post(&[kind, shown], body).await;
        assert_eq!(answer.status, 200, "{}", answer.body);
    }
    assert_eq!(rig.call("POST", HOOKS, Some(hook("SomethingNew", &json!({})))).await.status, 200);
    let own = format!("key:{}", key.record.id);
    let runners: Vec<Value> = rig.log().iter().map(|(_, event)| runner(&event.json)).collect();
    assert_eq!(runners, [&own, "r", &own, &own, &own, &own]);
}

#[tokio::test]
async fn where_nobody_shows_who_he_is_nobody_runs_what_names_no_runner() {
    let rig = Rig::start().await;
    rig.publish(r#"{"type":"x"}"#).await;
    assert_eq!(rig.log().iter().map(|(_, event)| runner(&event.json)).collect::<Vec<_>>(), [Value::Null]);
}

fn runner(event: &[u8]) -> Value {
    serde_json::from_slice::<Value>(event).expect("JSON")["runner"].clone()
}

#[tokio::test]
async fn a_hook_needs_the_right_to_publish() {
    let (store, mut rig) = closed().await;
    let stop = hook("Stop", &json!({}));
    assert_eq!(rig.call("POST", HOOKS, Some(stop.clone())).await.status, 401);
    for (scope, status) in [(Scope::Publish, 200), (Scope::Work, 403), (Scope::Approve, 403)] {
        let key = NewKey::make(vec![demo().into()], scope.into(), 1);
        let record = serde_json::to_vec(&key.record).expect("JSON").into();
        store.registry().add_key(demo(), key.record.id.to_string(), record).await.expect("an answer");
        rig = rig.shown(key.key.expose());
        assert_eq!(rig.call("POST", HOOKS, Some(stop.clone())).await.status, status, "{scope}");
    }
}
