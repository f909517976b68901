//! What is stored and not understood: a newer version's, and webhooks that cannot be read.

use serde_json::{Value, json};

use super::super::*;
use super::changed;

const SECRET: &str = "hush-hush-hush-hush";

/// As a version to come may store it.
fn stored() -> Value {
    json!({
        "colours": {"sky": "blue"},
        "retention": {"events": 7, "sessions": 3},
        "redaction": {"rules": [{"name": "ticket", "pattern": "T-[0-9]+", "flags": "i"}]},
        "webhooks": {
            "good": {"url": "https://example.com/", "secret": SECRET, "previous_secret": SECRET, "retries": 3},
            "later": {"queue": "hush-queue", "secret": SECRET},
            "so.called": 7,
        },
        "commands": {"answers": "everyone", "order": "strict", "webhook": {"queue": "hush-queue"}},
    })
}

fn read_of(stored: &Value) -> Settings {
    read(stored.to_string().as_bytes()).expect("it is read")
}

/// What is stored after a change.
#[track_caller]
fn after(patch: &Value) -> Value {
    serde_json::from_slice(&changed(&read_of(&stored()), patch).stored()).expect("JSON")
}

/// What is stored at first, but for these members.
fn but(changes: &[(&str, Option<Value>)]) -> Value {
    let mut all = stored();
    for (path, value) in changes {
        let (parent, name) = path.rsplit_once('/').expect("a path");
        let members = all.pointer_mut(parent).and_then(Value::as_object_mut).expect("an object");
        match value {
            Some(value) => members.insert(name.to_owned(), value.clone()),
            None => members.remove(name),
        };
    }
    all
}

#[test]
fn a_change_leaves_what_it_does_not_understand() {
    assert_eq!(after(&json!({})), stored());
    assert_eq!(after(&json!({"retention": {"events": 8}})), but(&[("/retention/events", Some(json!(8)))]));
    assert_eq!(after(&json!({"retention": null})), but(&[("/retention/events", None)]));
    let types = json!({"webhooks": {"good": {"types": ["log"]}}});
    assert_eq!(after(&types), but(&[("/webhooks/good/types", Some(json!(["log"])))]));
    let rules = json!([{"name": "other", "pattern": "x"}]);
    assert_eq!(after(&json!({"redaction": {"rules": rules}})), but(&[("/redaction/rules", Some(rules))]));
    assert_eq!(after(&json!({"redaction": {"rules": null}})), but(&[("/redaction/rules", None)]));
}

#[test]
fn what_a_change_names_goes_whole() {
    assert_eq!(after(&json!({"webhooks": {"good": null}})), but(&[("/webhooks/good", None)]));
    assert_eq!(after(&json!({"webhooks": {"so.called": null}})), but(&[("/webhooks/so.called", None)]));
    assert_eq!(after(&json!({"webhooks": null})), but(&[("/webhooks", None)]));
    assert_eq!(after(&json!({"commands": {"webhook": null}})), but(&[("/commands/webhook", None)]));
    let hook = json!({"url": "https://example.com/", "secret": SECRET});
    let again = json!({"webhooks": {"later": hook}});
    assert_eq!(after(&again), but(&[("/webhooks/later", Some(hook))]));
    let hook = json!({"url": "https://example.com/", "secret": SECRET, "capabilities": ["chat"]});
    let again = json!({"commands": {"webhook": hook}});
    assert_eq!(after(&again), but(&[("/commands/webhook", Some(hook))]));
}

#[test]
fn a_webhook_that_cannot_be_read_is_left_out_alone() {
    let set = read_of(&stored());
    assert_eq!(set.webhooks.keys().collect::<Vec<_>>(), ["good"]);
    assert_eq!((set.retention.events, set.commands.answers), (Some(7), Some(Answers::Everyone)));
    assert_eq!(set.left_out(), ["webhooks.later", "webhooks.so.called", "commands.webhook"]);
    assert_eq!(read_of(&json!({"webhooks": [1]})).webhooks, Webhooks::default());
    assert!(read(br#"{"retention":{"events":"many"}}"#).is_err(), "nothing else is guessed");
    let partly = change(&set, &json!({"webhooks": {"later": {"secret": SECRET}}})).expect_err("it has no address");
    assert_eq!(partly[0].field.as_deref(), Some("webhooks.later.url"));
    let hook = json!({"url": "https://example.com/", "secret": SECRET});
    let more = |count: usize| {
        let named: serde_json::Map<_, _> = (0..count).map(|at| (format!("w{at}"), hook.clone())).collect();
        change(&set, &json!({"webhooks": named}))
    };
    assert!(more(5).is_ok() && more(6).is_err(), "they take their room");
}

#[test]
fn what_is_not_understood_is_shown_to_nobody() {
    let set = read_of(&stored());
    let shown = format!("{set:?} {}", serde_json::to_string(&set).expect("JSON"));
    assert!(!shown.contains("hush") && !shown.contains("sky") && !shown.contains("later"), "{shown}");
    assert_eq!(Ceilings::NONE.clamp(set.clone()), set);
}
