//! Runners that say that they are there.

mod support;

use serde_json::{Value, json};
use support::store::Store;
use support::{Rig, demo};
use tidings_auth::{Authenticator, Closed, Config as AuthConfig, NewKey};
use tidings_broker::Index as _;
use tidings_protocol::grant::Scope;
use tidings_registry::stores;
use tidings_runtime::config::Config;
use tidings_runtime::http::rights::Rights;

const RUNNER: &str = "/v1/projects/demo/runners/runner%207";

/// Names of runners with what they say of themselves.
async fn there(rig: &Rig) -> Vec<(String, Value)> {
    let roll = rig.store.presences().roll(demo(), 0).await.expect("memory answers");
    let all = roll.runners.unwrap_or_default().into_iter();
    all.map(|runner| (runner.name, serde_json::from_slice(&runner.record).expect("JSON"))).collect()
}

#[tokio::test]
async fn a_runner_is_put_renewed_and_removed() {
    let rig = Rig::start().await;
    let wish = json!({"ttl": 600, "name": "Seven", "capabilities": ["chat"], "labels": {"region": "eu", "none": ""}});
    let put = rig.call("PUT", RUNNER, Some(wish)).await;
    assert_eq!((put.status, &put.headers["cache-control"]), (200, &"no-store".parse().expect("a value")));
    let put = put.json();
    assert_eq!((&put["runner"], &put["ttl"]), (&json!("runner 7"), &json!(600)));
    let said = json!({"name": "Seven", "capabilities": ["chat"], "labels": {"region": "eu", "none": ""}});
    assert_eq!(there(&rig).await, [("runner 7".to_owned(), said)]);
    let renewed = rig.call("PUT", RUNNER, Some(json!({"ttl": 1}))).await.json();
    assert_eq!(renewed["since"], put["since"]);
    assert_eq!(there(&rig).await, [("runner 7".to_owned(), json!({}))], "it says nothing else any more");
    assert_eq!(rig.call("DELETE", RUNNER, None).await.status, 204);
    rig.call("DELETE", RUNNER, None).await.assert_problem(404, "not_found");
    assert_eq!(there(&rig).await, []);
}

#[tokio::test]
async fn what_a_runner_says_is_bounded() {
    let rig = Rig::start().await;
    let long = |bytes: usize| "x".repeat(bytes);
    let words = |count: usize| (0..count).map(|index| index.to_string()).collect::<Vec<_>>();
    let labels =
        |count: usize| words(count).into_iter().map(|name| (name, json!("x"))).collect::<serde_json::Map<_, _>>();
    for (wish, field) in [
        (json!({}), Value::Null),
        (json!([]), Value::Null),
        (json!({"ttl": 30, "colour": 1}), Value::Null),
        (json!({"ttl": -1}), Value::Null),
        (json!({"ttl": 0}), json!("ttl")),
        (json!({"ttl": 601}), json!("ttl")),
        (json!({"ttl": 30, "name": ""}), json!("name")),
        (json!({"ttl": 30, "name": long(129)}), json!("name")),
        (json!({"ttl": 30, "capabilities": words(33)}), json!("capabilities")),
        (json!({"ttl": 30, "capabilities": [long(65)]}), json!("capabilities")),
        (json!({"ttl": 30, "labels": labels(17)}), json!("labels")),
        (json!({"ttl": 30, "labels": {long(65): "x"}}), json!("labels")),
        (json!({"ttl": 30, "labels": {"x": "a\u{7}"}}), json!("labels")),
        (json!({"ttl": 30, "capabilities": vec!["\u{e4}".repeat(32); 31]}), Value::Null),
    ] {
        let refused = rig.call("PUT", RUNNER, Some(wish.clone())).await;
        refused.assert_problem(422, "invalid_field");
        assert_eq!(refused.json()["errors"][0]["field"], field, "{wish}");
    }
    let wish = || Some(json!({"ttl": 30, "capabilities": words(32), "labels": labels(16)}));
    rig.call("PUT", "/v1/projects/-/runners/r", wish()).await.assert_problem(400, "invalid_project");
    for name in [long(129), "a%07".into()] {
        let path = format!("/v1/projects/demo/runners/{name}");
        rig.call("PUT", &path, wish()).await.assert_problem(400, "invalid_parameter");
        rig.call("DELETE", &path, None).await.assert_problem(400, "invalid_parameter");
    }
    assert_eq!(there(&rig).await, []);
    assert_eq!(rig.call("PUT", RUNNER, wish()).await.status, 200);
}

#[tokio::test]
async fn who_works_may_say_so_and_who_publishes_alone_may_not() {
    let store = Store::default();
    let authenticator = Authenticator::new(AuthConfig::Closed(Closed::default()), stores(store.registry()));
    let authenticator = authenticator.unwrap_or_else(|faults| panic!("{faults:?}"));
    let rights = Rights::new(authenticator, &prometheus::Registry::new()).expect("a registry of its own");
    let rig = Rig::start_on(Config::default(), store.clone(), rights).await;
    let client = reqwest::Client::new();
    let url = format!("http://{}{RUNNER}", rig.address);
    for (scope, status) in [(Scope::Work, 200), (Scope::Publish, 403), (Scope::Admin, 403)] {
        let key = NewKey::make(vec![demo().into()], scope.into(), 1);
        let record = serde_json::to_vec(&key.record).expect("JSON").into();
        store.registry().add_key(demo(), key.record.id.to_string(), record).await.expect("an answer");
        let put = client.put(&url).bearer_auth(key.key.expose()).json(&json!({"ttl": 30}));
        assert_eq!(put.send().await.expect("an answer").status().as_u16(), status, "{scope}");
    }
}

#[tokio::test]
async fn a_runner_is_there_by_one_credential_or_an_administrators() {
    let store = Store::default();
    let authenticator = Authenticator::new(AuthConfig::Closed(Closed::default()), stores(store.registry()));
    let authenticator = authenticator.unwrap_or_else(|faults| panic!("{faults:?}"));
    let rights = Rights::new(authenticator, &prometheus::Registry::new()).expect("a registry of its own");
    let rig = Rig::start_on(Config::default(), store.clone(), rights).await;
    let key = async |scopes: &str| {
        let key = NewKey::make(vec![demo().into()], scopes.parse().expect("scopes"), 1);
        let record = serde_json::to_vec(&key.record).expect("JSON").into();
        store.registry().add_key(demo(), key.record.id.to_string(), record).await.expect("an answer");
        key.key.expose().to_owned()
    };
    let (own, other, admin) = (key("work").await, key("work").await, key("work admin").await);
    let client = reqwest::Client::new();
    let url = format!("http://{}{RUNNER}", rig.address);
    let call = async |method: &str, key: &str| {
        let request = client.request(method.parse().expect("a method"), &url).bearer_auth(key);
        let wish = json!({"ttl": 30, "name": key});
        request.json(&wish).send().await.expect("an answer").status().as_u16()
    };
    assert_eq!(call("PUT", &own).await, 200);
    assert_eq!((call("PUT", &other).await, call("DELETE", &other).await), (403, 403));
    assert_eq!(there(&rig).await, [("runner 7".to_owned(), json!({"name": own}))], "nothing changed");
    assert_eq!(call("PUT", &own).await, 200);
    assert_eq!(call("DELETE", &admin).await, 204);
    assert_eq!(call("PUT", &other).await, 200, "the place is free");
}
