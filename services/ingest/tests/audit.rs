//! The audit trail: a line for each change, with who and what, and without secrets.

mod support;

use std::io::Write;
use std::sync::Arc;

use parking_lot::Mutex;
use serde_json::{Value, json};
use support::store::Store;
use support::{Rig, demo};
use tidings_auth::{Authenticator, Closed, Config as AuthConfig, NewKey};
use tidings_broker::Index as _;
use tidings_protocol::grant::Scope;
use tidings_runtime::config::Config;
use tidings_runtime::http::rights::Rights;
use tracing::subscriber::DefaultGuard;

/// What was logged, as lines of JSON.
#[derive(Clone, Default)]
struct Log(Arc<Mutex<Vec<u8>>>);

impl Write for Log {
    fn write(&mut self, bytes: &[u8]) -> std::io::Result<usize> {
        self.0.lock().write(bytes)
    }

    fn flush(&mut self) -> std::io::Result<()> {
        Ok(())
    }
}

impl Log {
    /// Everything that this thread logs from now on.
    fn start() -> (Log, DefaultGuard) {
        let log = Log::default();
        let written = log.clone();
        let subscriber = tracing_subscriber::fmt().json().with_writer(move || written.clone()).finish();
        (log, tracing::subscriber::set_default(subscriber))
    }

    fn text(&self) -> String {
        String::from_utf8(self.0.lock().clone()).expect("text")
    }

    /// The fields of the trail's lines.
    fn trail(&self) -> Vec<Value> {
        let text = self.text();
        let lines = text.lines().map(|line| serde_json::from_str::<Value>(line).expect("JSON"));
        lines.filter(|line| line["target"] == "audit").map(|line| line["fields"].clone()).collect()
    }
}

/// An ingest that asks for credentials, and the API key of an administrator.
async fn closed() -> (Rig, NewKey) {
    let store = Store::default();
    let stores = tidings_registry::stores(store.registry());
    let authenticator = Authenticator::new(AuthConfig::Closed(Closed::default()), stores);
    let authenticator = authenticator.unwrap_or_else(|faults| panic!("{faults:?}"));
    let rights = Rights::new(authenticator, &prometheus::Registry::new()).expect("a registry of its own");
    let rig = Rig::start_on(Config::default(), store.clone(), rights).await;
    let admin = NewKey::make(vec![demo().into()], Scope::Admin.into(), 1);
    let record = serde_json::to_vec(&admin.record).expect("JSON").into();
    store.registry().add_key(demo(), admin.record.id.to_string(), record).await.expect("an answer");
    (rig, admin)
}

#[tokio::test]
async fn each_change_says_who_did_what_and_no_secret() {
    let (log, _logged) = Log::start();
    let (rig, admin) = closed().await;
    let rig = rig.shown(admin.key.expose());
    let made = rig.call("POST", "/v1/projects/demo/keys", Some(json!({"note": "hush"}))).await.json();
    let id = made["id"].as_str().expect("an id");
    assert_eq!(rig.call("GET", "/v1/projects/demo/keys", None).await.status, 200);
    rig.call("DELETE", &format!("/v1/projects/demo/keys/{id}"), None).await;
    rig.call("PUT", "/v1/projects/demo/members/al%0Aice", Some(json!({"scopes": ["read"]}))).await;
    rig.call("PUT", "/v1/projects/demo/members/alice", Some(json!({"scopes": ["read"]}))).await;
    rig.call("DELETE", "/v1/projects/demo/members/alice", None).await;
    let rules =
        json!({"redaction": {"rules": [{"name": "hush", "pattern": "hush"}]}, "limits": {"events_per_second": 9}});
    assert_eq!(rig.call("PATCH", "/v1/projects/demo/settings", Some(rules)).await.status, 200);
    rig.call("DELETE", "/v1/projects/demo/sessions/s-1", None).await;
    rig.call("DELETE", "/v1/projects/demo", None).await;
    assert_eq!(rig.call("DELETE", "/v1/projects/other", None).await.status, 403, "who may not leaves no line");

    let trail = log.trail();
    let told: Vec<[&str; 4]> = trail
        .iter()
        .map(|line| ["action", "outcome", "of", "told"].map(|field| line[field].as_str().unwrap_or_default()))
        .collect();
    let (made, revoked) = (format!("key {id}, scopes publish work"), format!("\"{id}\""));
    let expected = [
        ["key.make", "done", "\"\"", made.as_str()],
        ["key.revoke", "done", &revoked, ""],
        ["member.set", "refused", "\"al\\nice\"", ""],
        ["member.set", "done", "\"alice\"", "scopes read"],
        ["member.remove", "done", "\"alice\"", ""],
        ["settings.change", "done", "\"\"", "version 1, fields limits.events_per_second redaction.rules"],
        // Nothing is known of the project yet: its log may have been lost a moment ago.
        ["session.delete", "failed", "\"s-1\"", ""],
        ["project.delete", "done", "\"\"", ""],
    ];
    assert_eq!(told, expected);
    let key = admin.record.id.as_str();
    for line in &trail {
        assert_eq!(
            (&line["key"], &line["client"], &line["project"]),
            (&json!(key), &json!("127.0.0.1"), &json!("\"demo\""))
        );
        assert_eq!(line["subject"], format!("\"key:{key}\""));
    }
    let text = log.text();
    assert!(!text.contains("hush") && !text.contains(&admin.key.expose()[21..]), "{text}");
}
