//! Keys, members and settings over HTTP, and what they do to events.

mod support;

use std::sync::Arc;
use std::time::Duration;

use serde_json::{Value, json};
use support::store::Store;
use support::{Rig, demo};
use tidings_auth::{Authenticator, Closed, Config as AuthConfig, limits::STORE_FRESH};
use tidings_broker::Index as _;
use tidings_protocol::grant::Scope;
use tidings_registry::{SETTINGS_FRESH, stores};
use tidings_runtime::config::Config;
use tidings_runtime::http::rights::Rights;

const KEYS: &str = "/v1/projects/demo/keys";
const SETTINGS: &str = "/v1/projects/demo/settings";

#[tokio::test]
async fn a_key_is_made_listed_and_revoked() {
    let rig = Rig::start().await;
    let wish =
        json!({"scopes": ["publish"], "note": "nightly", "expires": "2199-01-01T00:00:00Z", "events_per_second": 5});
    let made = rig.call("POST", KEYS, Some(wish)).await;
    assert_eq!((made.status, &made.headers["cache-control"]), (201, &"no-store".parse().expect("a value")));
    let made = made.json();
    let (key, id) = (made["key"].as_str().expect("a key"), made["id"].as_str().expect("an id"));
    assert!(key.starts_with(&format!("tdk_{id}_")), "{made}");
    let plain = rig.call("POST", KEYS, None).await.json();
    assert_eq!(plain["scopes"], json!(["publish", "work"]), "without a body");

    let listed = rig.call("GET", KEYS, None).await;
    assert!(!listed.body.contains(&key[21..]), "the secret is not kept");
    let mine = |listed: &Value| listed["keys"].as_array().expect("keys").iter().find(|key| key["id"] == id).cloned();
    let found = mine(&listed.json()).expect("listed");
    assert_eq!(
        (&found["note"], &found["events_per_second"], &found["revoked"]),
        (&json!("nightly"), &json!(5), &Value::Null)
    );

    assert_eq!(rig.call("DELETE", &format!("/v1/projects/other/keys/{id}"), None).await.status, 404);
    let revoked = rig.call("DELETE", &format!("{KEYS}/{id}"), None).await;
    assert_eq!(revoked.status, 200);
    let again = rig.call("DELETE", &format!("{KEYS}/{id}"), None).await.json();
    assert_eq!(again["revoked"], revoked.json()["revoked"], "the first time stays");
    assert!(mine(&rig.call("GET", KEYS, None).await.json()).expect("still listed")["revoked"].is_string());
    rig.call("DELETE", &format!("{KEYS}/nope"), None).await.assert_problem(404, "not_found");
}

#[tokio::test]
async fn faulty_keys_and_members_are_refused() {
    let rig = Rig::start().await;
    for wish in [
        json!({"scopes": ["root"]}),
        json!({"scopes": []}),
        json!({"colour": 1}),
        json!({"expires": "2001-01-01T00:00:00Z"}),
        json!({"note": "x".repeat(257)}),
        json!({"events_per_second": 0}),
        json!([]),
    ] {
        rig.call("POST", KEYS, Some(wish)).await.assert_problem(422, "invalid_field");
    }
    rig.call("POST", "/v1/projects/-/keys", None).await.assert_problem(400, "invalid_project");
    let member = |user: &str| format!("/v1/projects/demo/members/{user}");
    let read = || Some(json!({"scopes": ["read"]}));
    rig.call("PUT", &member("key:x"), read()).await.assert_problem(400, "invalid_parameter");
    rig.call("PUT", &member("alice"), Some(json!({"scopes": []}))).await.assert_problem(422, "invalid_field");
    rig.call("PUT", &member("alice"), Some(json!({}))).await.assert_problem(422, "invalid_field");
    let large = json!({"note": "x".repeat(40_000)});
    rig.call("POST", KEYS, Some(large)).await.assert_problem(413, "request_too_large");
}

#[tokio::test]
async fn members_are_put_listed_and_removed() {
    let rig = Rig::start().await;
    let member = "/v1/projects/demo/members/al%20ice%2Fb@example.com";
    let put = rig.call("PUT", member, Some(json!({"scopes": ["read", "approve"]}))).await.json();
    assert_eq!(put, json!({"user": "al ice/b@example.com", "scopes": ["read", "approve"]}));
    let listed = rig.call("GET", "/v1/projects/demo/members", None).await.json();
    assert_eq!(listed, json!({"members": [put]}));
    assert_eq!(rig.call("DELETE", member, None).await.status, 204);
    rig.call("DELETE", member, None).await.assert_problem(404, "not_found");
}

#[tokio::test]
async fn settings_are_changed_field_by_field() {
    let rig = Rig::start().await;
    let shown = rig.call("GET", SETTINGS, None).await.json();
    assert_eq!(shown, json!({"version": 0, "settings": {}, "declared": {}}));
    let set = rig.call("PATCH", SETTINGS, Some(json!({"retention": {"events": 50, "bytes": 100_000}}))).await.json();
    assert_eq!((&set["version"], &set["settings"]["retention"]["events"]), (&json!(1), &json!(50)));
    let set = rig
        .call("PATCH", SETTINGS, Some(json!({"retention": {"events": null}, "limits": {"events_per_second": 9}})))
        .await;
    let expected = json!({"retention": {"bytes": 100_000}, "limits": {"events_per_second": 9}});
    assert_eq!((set.status, &set.json()["settings"]), (200, &expected));
    let faulty = rig.call("PATCH", SETTINGS, Some(json!({"retention": {"events": 0}, "colour": 1}))).await;
    faulty.assert_problem(422, "invalid_field");
    let errors = faulty.json()["errors"].clone();
    let events =
        errors.as_array().expect("faults").iter().find(|fault| fault["field"] == "retention.events").expect("told");
    assert_eq!((&events["limit"], &events["actual"]), (&json!(1), &json!(0)));
    assert_eq!(rig.call("GET", SETTINGS, None).await.json()["settings"], expected, "nothing of it was done");
}

/// Changes of settings take effect when what is held of them is too old. Nothing tells when that is.
async fn until_held_no_more() {
    tokio::time::sleep(SETTINGS_FRESH.max(STORE_FRESH) + Duration::from_millis(50)).await;
}

#[tokio::test]
async fn secrets_are_hidden_on_every_way_in_and_counted() {
    let rig = Rig::start().await;
    let rules = json!({"redaction": {"builtin": true, "rules": [{"name": "ticket", "pattern": "T-[0-9]+"}]}});
    assert_eq!(rig.call("PATCH", SETTINGS, Some(rules)).await.status, 200);
    let event = |id: &str| json!({"type": "log", "id": id, "session": "s", "data": {"level": "info", "message": "password=hunter2 for T-17"}});
    rig.publish(&json!([event("a")]).to_string()).await;
    let lines = format!("{}\n{}\n", event("b"), event("c"));
    let streamed = rig.post(&[("content-type", "application/x-ndjson")], lines).await;
    assert_eq!(streamed.lines().len(), 3, "{}", streamed.body);
    let cloud =
        json!({"specversion": "1.0", "id": "d", "source": "/x", "type": "my.own", "data": {"password": "hunter2"}});
    let posted = rig.post(&[("content-type", "application/cloudevents+json")], cloud.to_string()).await;
    assert_eq!(posted.status, 200, "{}", posted.body);

    let log = rig.log();
    assert_eq!(log.len(), 4);
    for (_, event) in &log {
        let stored = format!("{event:?}");
        assert!(!stored.contains("hunter2") && !stored.contains("T-17"), "{stored}");
        assert!(stored.contains("[redacted:password]"), "{stored}");
    }
    let count = |rule: &str| {
        let families = rig.registry.gather();
        let family =
            families.iter().find(|family| family.name() == "tidings_ingest_redactions_total").expect("registered");
        let metric = family.get_metric().iter().find(|metric| metric.get_label()[0].value() == rule).expect("a rule");
        metric.get_counter().get_value()
    };
    assert_eq!([count("password"), count("own"), count("jwt")].map(|finds| finds.to_string()), ["4", "3", "0"]);
}

#[tokio::test]
async fn a_line_without_room_for_its_marks_is_refused_in_its_place() {
    let config = Config::default();
    let limit = config.limits.events().data_bytes_max;
    let rig = Rig::start_with(config).await;
    let rules = json!({"redaction": {"rules": [{"name": "everything-that-is-an-a", "pattern": "a"}]}});
    assert_eq!(rig.call("PATCH", SETTINGS, Some(rules)).await.status, 200);
    let many = vec!["a"; limit / 8];
    let lines = [
        json!({"type": "x", "id": "1"}),
        json!({"type": "x", "id": "2", "data": many}),
        json!({"type": "x", "id": "3"}),
    ];
    let body = lines.each_ref().map(Value::to_string).join("\n");
    let answers = rig.post(&[("content-type", "application/x-ndjson")], body).await.lines();
    assert_eq!((&answers[0]["line"], &answers[2]["line"]), (&json!(1), &json!(3)));
    assert_eq!(answers[1]["error"]["code"], "event_too_large");
    assert_eq!(rig.ids(), ["1", "3"]);
    let whole = rig.post(&[("content-type", "application/json")], json!([lines[0], lines[1]]).to_string()).await;
    whole.assert_problem(413, "event_too_large");
    assert_eq!(whole.json()["errors"][0]["index"], 1);
}

#[tokio::test]
async fn what_a_file_declares_wins_and_cannot_be_changed() {
    let folder = tempfile::tempdir().expect("a folder");
    let path = folder.path().join("declared.toml");
    std::fs::write(&path, "[[settings]]\nprojects = [\"*\"]\nredaction = { builtin = true }\n").expect("written");
    let mut config = Config::default();
    config.auth.declared_file = Some(path);
    let rig = Rig::start_with(config).await;
    let refused = rig.call("PATCH", SETTINGS, Some(json!({"redaction": {"builtin": false}}))).await;
    refused.assert_problem(422, "reserved");
    let shown = rig.call("GET", SETTINGS, None).await.json();
    assert_eq!(shown["settings"], json!({"redaction": {"builtin": true}}));
    rig.publish(r#"{"type":"x","data":"password=hunter2"}"#).await;
    assert!(!format!("{:?}", rig.log()).contains("hunter2"));
}

#[tokio::test]
async fn a_revoked_key_is_refused_within_seconds_and_no_scope_is_not_enough() {
    let store = Store::default();
    let authenticator = Authenticator::new(AuthConfig::Closed(Closed::default()), stores(store.registry()));
    let authenticator = authenticator.unwrap_or_else(|faults| panic!("{faults:?}"));
    let rights = Rights::new(authenticator, &prometheus::Registry::new()).expect("a registry of its own");
    let rig = Rig::start_on(Config::default(), store.clone(), rights).await;
    rig.call("GET", KEYS, None).await.assert_problem(401, "unauthenticated");
    rig.call("PATCH", SETTINGS, Some(json!({}))).await.assert_problem(401, "unauthenticated");

    let made = |scope: Scope| tidings_auth::NewKey::make(vec![demo().into()], scope.into(), 1);
    let (admin, runner) = (made(Scope::Admin), made(Scope::Publish));
    for key in [&admin, &runner] {
        let record = serde_json::to_vec(&key.record).expect("JSON").into();
        store.registry().add_key(demo(), key.record.id.to_string(), record).await.expect("an answer");
    }
    let bearer = |key: &tidings_auth::NewKey| format!("Bearer {}", key.key.expose());
    let publish = async |key: &tidings_auth::NewKey| {
        let headers = [("content-type", "application/json"), ("authorization", &bearer(key))];
        rig.post(&headers, r#"{"type":"x"}"#).await.status
    };
    assert_eq!((publish(&runner).await, publish(&admin).await), (200, 403));
    let administrate =
        async |key: &tidings_auth::NewKey| rig.post_to(KEYS, &[("authorization", &bearer(key))], "").await.status;
    assert_eq!((administrate(&runner).await, administrate(&admin).await), (403, 201));

    let mut record = runner.record.clone();
    record.revoked_at = Some(2);
    let json = Arc::new(serde_json::to_vec(&record).expect("JSON"));
    store.registry().set_key(demo(), record.id.to_string(), json.to_vec().into()).await.expect("an answer");
    until_held_no_more().await;
    assert_eq!(publish(&runner).await, 401);
}

#[tokio::test]
async fn who_administrates_too_often_is_told_when_to_come_back() {
    let mut config = Config::default();
    config.limits.requests_per_second = 1;
    let rig = Rig::start_with(config).await;
    let mut taken = 0;
    let refused = loop {
        assert!(taken < 1_000, "nothing is refused");
        let answer = rig.call("PATCH", SETTINGS, Some(json!({}))).await;
        if answer.status != 200 {
            break answer;
        }
        taken += 1;
    };
    refused.assert_problem(429, "rate_limited");
    assert!(refused.headers.contains_key("retry-after"));
    assert_eq!(rig.publish(&support::event("e1")).await["results"][0]["status"], "appended", "runners have their own");
}
