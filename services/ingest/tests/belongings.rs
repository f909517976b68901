//! What goes with a project when it is deleted, and what is left when its deletion is cut off in the middle.

mod support;

use serde_json::json;
use support::store::Store;
use support::{Rig, demo};
use tidings_auth::{Authenticator, Closed, Config as AuthConfig, NewKey};
use tidings_broker::Index as _;
use tidings_protocol::grant::{Scope, Scopes};
use tidings_registry::stores;
use tidings_runtime::config::Config;
use tidings_runtime::http::rights::Rights;

const PROJECT: &str = "/v1/projects/demo";

/// A key of the project, kept.
async fn kept(store: &Store, scopes: Scopes) -> NewKey {
    let made = NewKey::make(vec![demo().into()], scopes, 1);
    let record = serde_json::to_vec(&made.record).expect("JSON").into();
    store.registry().add_key(demo(), made.record.id.to_string(), record).await.expect("an answer");
    made
}

/// An ingest that is asked by a key which may administrate and publish, with another key, a member and settings.
async fn rig() -> Rig {
    let store = Store::default();
    let authenticator = Authenticator::new(AuthConfig::Closed(Closed::default()), stores(store.registry()));
    let authenticator = authenticator.unwrap_or_else(|faults| panic!("{faults:?}"));
    let rights = Rights::new(authenticator, &prometheus::Registry::new()).expect("a registry of its own");
    let asking = kept(&store, Scopes::from(Scope::Admin).union(Scope::Publish.into())).await;
    kept(&store, Scope::Publish.into()).await;
    store.registry().set_member(demo(), "alice".into(), Scope::Read.into()).await.expect("an answer");
    let rig = Rig::start_on(Config::default(), store, rights).await.shown(asking.key.expose());
    let settings = json!({"redaction": {"builtin": true}});
    assert_eq!(rig.call("PATCH", &format!("{PROJECT}/settings"), Some(settings)).await.status, 200);
    assert_eq!(rig.call("POST", &format!("{PROJECT}/events"), Some(json!({"type": "x"}))).await.status, 200);
    rig
}

/// How many keys and members there are, and whether something is set.
async fn left(rig: &Rig) -> (usize, usize, bool) {
    let registry = rig.store.registry();
    let keys = registry.keys(demo()).await.expect("an answer").len();
    let members = registry.members(demo()).await.expect("an answer").len();
    (keys, members, !registry.settings(demo()).await.expect("an answer").value.is_empty())
}

#[tokio::test]
async fn a_project_goes_with_its_keys_members_and_settings() {
    let rig = rig().await;
    assert_eq!(left(&rig).await, (2, 1, true));
    let by = tidings_broker::presence::Speaker { subject: "key:1".into(), overrules: false };
    let presences = rig.store.presences();
    presences.put_runner(demo(), "r".into(), by, 600_000, "{}".into()).await.expect("memory answers");
    let deleted = rig.call("DELETE", PROJECT, None).await;
    assert_eq!(deleted.status, 200, "{}", deleted.body);
    let roll = presences.roll(demo(), 0).await.expect("memory answers");
    assert_eq!(roll.runners.unwrap_or_default(), [], "its runners are forgotten");
    let told = deleted.json();
    let counts = json!({"keys": 2, "members": 1, "settings": true, "settings_declared": false});
    for (name, count) in counts.as_object().expect("an object") {
        assert_eq!(&told[name], count, "{told}");
    }
    assert!(told["position"].as_str().is_some_and(|position| position != "0-0"), "{told}");
    assert_eq!(left(&rig).await, (0, 0, false));
    assert!(rig.ids().is_empty());
    let version = rig.store.registry().settings(demo()).await.expect("an answer").version;
    assert_eq!(version, 2, "a change that was begun before finds another version");
}

#[tokio::test]
async fn a_deletion_that_was_cut_off_can_be_asked_for_again() {
    let rig = rig().await;
    rig.store.connect(false);
    let refused = rig.call("DELETE", PROJECT, None).await;
    refused.assert_problem(503, "redis_away");
    assert_eq!(left(&rig).await, (1, 1, true), "runners are stopped; who asks may ask again, and redaction goes on");
    assert_eq!(rig.ids().len(), 1);
    rig.store.connect(true);
    let again = rig.call("DELETE", PROJECT, None).await;
    assert_eq!((again.status, &again.json()["keys"]), (200, &json!(1)), "{}", again.body);
    assert_eq!((left(&rig).await, rig.ids().len()), ((0, 0, false), 0));
}
