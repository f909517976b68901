//! Changes and their faults.

mod hooks;
mod unknown;

use serde_json::{Value, json};

use super::*;

#[track_caller]
fn changed(settings: &Settings, patch: &Value) -> Settings {
    change(settings, patch).expect("a good change").0
}

#[test]
fn what_is_absent_stays_and_null_is_unset() {
    let all = json!({
        "retention": {"events": 1000, "bytes": 65536, "age_ms": 60_000},
        "redaction": {"builtin": true, "rules": [{"name": "ticket", "pattern": "T-[0-9]+"}]},
        "acknowledgement": {"replicas": 1},
        "limits": {"events_per_second": 500, "bytes_per_second": 1_000_000},
        "commands": {"answers": "everyone"},
    });
    let set = changed(&Settings::default(), &all);
    assert_eq!(serde_json::to_value(&set).expect("JSON"), all);
    assert_eq!(read(all.to_string().as_bytes()).expect("its own JSON"), set);
    assert_eq!(set.fields().len(), 9);
    assert_eq!(changed(&set, &json!({})), set);
    let less = changed(&set, &json!({"retention": {"events": null}, "limits": null, "redaction": {"builtin": false}}));
    assert_eq!((less.retention.events, less.retention.bytes, less.limits), (None, Some(65536), Limits::default()));
    assert_eq!((less.redaction.builtin, less.redaction.rules), (Some(false), set.redaction.rules.clone()));
    let (_, fields) = change(&set, &json!({"limits": null, "retention": {"age_ms": 1000}})).expect("a good change");
    assert_eq!(fields, ["limits.events_per_second", "limits.bytes_per_second", "retention.age_ms"]);
}

#[test]
fn all_faults_are_told_with_field_code_and_limit() {
    let patch = json!({
        "colour": 1,
        "retention": {"events": 0, "bytes": "many", "age": 5},
        "redaction": {"builtin": 1, "rules": [{"name": "A", "pattern": "x"}, {"name": "b", "pattern": "("}, {"name": "c", "pattern": "x"}]},
        "acknowledgement": [],
        "limits": {"events_per_second": 1_000_001, "bytes_per_second": -1},
        "commands": {"answers": "nobody"},
    });
    let faults = change(&Settings::default(), &patch).expect_err("a faulty change");
    let mut told: Vec<String> = faults
        .iter()
        .map(|fault| {
            let limit =
                fault.limit.map_or(String::new(), |limit| format!(" {limit}/{}", fault.actual.unwrap_or_default()));
            format!("{} {}{limit}", fault.field.as_deref().unwrap_or_default(), fault.code)
        })
        .collect();
    told.sort();
    let expected = [
        "acknowledgement invalid_field",
        "colour unknown_field",
        "commands.answers invalid_field",
        "limits.bytes_per_second invalid_field",
        "limits.events_per_second invalid_field 1000000/1000001",
        "redaction.builtin invalid_field",
        "redaction.rules[0].name invalid_field",
        "redaction.rules[1].pattern invalid_field",
        "retention.age unknown_field",
        "retention.bytes invalid_field",
        "retention.events invalid_field 1/0",
    ];
    assert_eq!(told, expected);
    assert!(change(&Settings::default(), &json!([])).is_err());
    let many: Vec<Value> = (0..17).map(|at| json!({"name": format!("r{at}"), "pattern": "x"})).collect();
    let faults = change(&Settings::default(), &json!({"redaction": {"rules": many}})).expect_err("too many");
    assert_eq!((faults[0].limit, faults[0].actual), (Some(16), Some(17)));
    for rule in [
        json!({"name": "a"}),
        json!({"name": "a", "pattern": 1}),
        json!({"name": "a", "pattern": "x", "flags": "i"}),
        json!("a"),
    ] {
        assert!(change(&Settings::default(), &json!({"redaction": {"rules": [rule]}})).is_err(), "{rule}");
    }
}

#[test]
fn what_a_newer_version_stored_is_read() {
    let stored = br#"{"retention":{"events":7,"sessions":3},"colours":{}}"#;
    assert_eq!(read(stored).expect("read").retention.events, Some(7));
    assert_eq!(read(b"").expect("none"), Settings::default());
}

#[test]
fn the_first_set_wins_field_by_field() {
    let declared = changed(&Settings::default(), &json!({"retention": {"events": 1}, "redaction": {"builtin": true}}));
    let stored = changed(
        &Settings::default(),
        &json!({"retention": {"events": 2, "bytes": 70_000}, "redaction": {"builtin": false}}),
    );
    let both = declared.or(&stored);
    assert_eq!(
        (both.retention.events, both.retention.bytes, both.redaction.builtin),
        (Some(1), Some(70_000), Some(true))
    );
}

#[test]
fn redaction_is_off_unless_it_is_set() {
    let idle = Redaction::default().redactor().expect("no rules");
    assert!(idle.is_none());
    let on = Redaction { builtin: Some(true), rules: None };
    assert!(on.redactor().expect("good rules").is_some());
}

#[test]
fn nothing_takes_effect_above_the_operators_ceilings() {
    let ceilings = Ceilings {
        retention_events: 1_000,
        retention_bytes: 100_000,
        retention_age_ms: 60_000,
        replicas: 1,
        events_per_second: 500,
        bytes_per_second: 5_000,
    };
    let beyond = json!({
        "retention": {"events": 1_001, "bytes": 100_001, "age_ms": 60_001},
        "acknowledgement": {"replicas": 2},
        "limits": {"events_per_second": 501, "bytes_per_second": 5_001},
    });
    let within = json!({
        "retention": {"events": 1_000, "bytes": 100_000, "age_ms": 60_000},
        "acknowledgement": {"replicas": 1},
        "limits": {"events_per_second": 500, "bytes_per_second": 5_000},
    });
    let (settings, fields) = change(&Settings::default(), &beyond).expect("sound by itself");
    assert_eq!(ceilings.clamp(settings.clone()), changed(&Settings::default(), &within));
    let faults = ceilings.faults(&settings, &fields);
    let told: Vec<&str> = faults.iter().filter_map(|fault| fault.field.as_deref()).collect();
    assert_eq!(told, settings.fields());
    assert!(
        faults.iter().all(|fault| fault.limit.zip(fault.actual).is_some_and(|(limit, actual)| actual == limit + 1))
    );
    let (settings, fields) = change(&settings, &json!({"retention": {"events": 7}})).expect("sound");
    assert_eq!(ceilings.faults(&settings, &fields), [], "the others are not its fault");
    let (settings, fields) = change(&Settings::default(), &within).expect("sound");
    assert_eq!((ceilings.faults(&settings, &fields), ceilings.clamp(settings.clone())), (vec![], settings));
    assert_eq!(ceilings.clamp(Settings::default()), Settings::default());
}
