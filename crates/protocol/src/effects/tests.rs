use std::collections::BTreeSet;

use proptest::prelude::*;
use serde_json::{Value, json};

use super::*;
use crate::vocabulary;

const TIME: &str = "2026-11-20T09:00:00.123Z";

fn subject(kind: &str) -> Subject<'_> {
    Subject { kind, session: "s", agent: "a", parent: "p", id: "e1", time: TIME }
}

/// Effects as short lines: op, `/` for the project, path, and what is written.
fn lines(kind: &str, data: &Value) -> Vec<String> {
    let line = |effect: &Effect| {
        let value = String::from_utf8(effect.value.to_vec()).expect("values are text");
        let path = effect.path.join("/");
        let slash = if effect.project { "/" } else { "" };
        match effect.op() {
            Op::Set => format!("set {slash}{path} {value}"),
            Op::SetOnce => format!("once {slash}{path} {value}"),
            Op::Add => format!("add {slash}{path} {}", effect.number),
            Op::Push => format!("push {slash}{path} {value} of {}", effect.limit),
            Op::Delete => format!("delete {slash}{path}"),
        }
    };
    effects_of(&subject(kind), data).iter().map(line).collect()
}

#[track_caller]
fn check(kind: &str, data: &Value, expected: &[&str]) {
    assert_eq!(lines(kind, data), expected, "{kind}");
}

#[test]
fn sessions() {
    check(
        "session.started",
        &json!({"title": "T", "mode": "fast", "agents": 3, "metadata": {"k": 1}}),
        &[
            r#"set status "running""#,
            r#"set started "2026-11-20T09:00:00.123Z""#,
            r#"set title "T""#,
            r#"set mode "fast""#,
            "set planned_agents 3",
            r#"set metadata {"k":1}"#,
            "delete ended",
            "delete outcome",
            "delete lost",
        ],
    );
    check(
        "session.progress",
        &json!({"progress": 40, "phase": "plan"}),
        &["set progress 40", r#"set phase "plan""#, "delete lost"],
    );
    check(
        "session.stage",
        &json!({"stage": "plan", "status": "started"}),
        &[
            r#"set stages/plan {"status":"started","time":"2026-11-20T09:00:00.123Z"}"#,
            r#"set stage "plan""#,
            "delete lost",
        ],
    );
    check(
        "session.failed",
        &json!({"error": "E", "code": 7}),
        &[
            r#"set status "failed""#,
            r#"set ended "2026-11-20T09:00:00.123Z""#,
            r#"set outcome {"code":7,"error":"E"}"#,
            "delete approvals",
            "delete running",
            "delete lost",
        ],
    );
    check("session.lost", &json!({"runner": "r"}), &[r#"set lost "2026-11-20T09:00:00.123Z""#]);
}

#[test]
fn agents() {
    check(
        "agent.started",
        &json!({"name": "N", "role": "R"}),
        &[
            r#"set agents/a/status "idle""#,
            r#"set agents/a/started "2026-11-20T09:00:00.123Z""#,
            r#"set agents/a/name "N""#,
            r#"set agents/a/role "R""#,
            r#"set agents/a/parent "p""#,
            "delete agents/a/ended",
            "delete agents/a/outcome",
            "delete agents/a/summary",
        ],
    );
    check(
        "agent.status",
        &json!({"status": "working", "progress": 65.5, "message": "m", "details": [1]}),
        &[
            r#"set agents/a/updated "2026-11-20T09:00:00.123Z""#,
            r#"set agents/a/status "working""#,
            "set agents/a/progress 65.5",
            r#"set agents/a/message "m""#,
            "set agents/a/details [1]",
        ],
    );
    check(
        "agent.finished",
        &json!({"outcome": "failed"}),
        &[
            r#"set agents/a/status "failed""#,
            r#"set agents/a/ended "2026-11-20T09:00:00.123Z""#,
            r#"set agents/a/outcome "failed""#,
        ],
    );
    check("agent.removed", &json!({}), &["delete agents/a"]);
    check(
        "agent.collaboration",
        &json!({"primary": "a", "secondary": "b", "kind": "handoff"}),
        &["add collaborations/a/b/handoff 1"],
    );
}

#[test]
fn lists_tools_and_counters() {
    check(
        "log",
        &json!({"level": "info", "message": "m", "details": {"big": 1}}),
        &[r#"push logs {"agent":"a","id":"e1","level":"info","message":"m","time":"2026-11-20T09:00:00.123Z"} of 200"#],
    );
    check(
        "output",
        &json!({"content": "c"}),
        &[r#"push outputs {"agent":"a","content":"c","id":"e1","time":"2026-11-20T09:00:00.123Z"} of 20"#],
    );
    check(
        "message.completed",
        &json!({"message_id": "m1", "role": "user", "text": "hi"}),
        &[
            r#"set last_message {"agent":"a","id":"e1","message_id":"m1","role":"user","text":"hi","time":"2026-11-20T09:00:00.123Z"}"#,
        ],
    );
    check(
        "tool.started",
        &json!({"call_id": "c", "name": "grep"}),
        &[r#"set running/c {"agent":"a","id":"e1","name":"grep","time":"2026-11-20T09:00:00.123Z"}"#],
    );
    check(
        "tool.completed",
        &json!({"call_id": "c", "name": "grep", "duration_ms": 12.6}),
        &["delete running/c", "add tools/grep/calls 1", "add tools/grep/total_ms 13"],
    );
    check(
        "tool.failed",
        &json!({"call_id": "c", "name": "grep", "error": "E"}),
        &["delete running/c", "add tools/grep/calls 1", "add tools/grep/failures 1", "add tools/grep/total_ms 0"],
    );
    check(
        "usage",
        &json!({"model": "m", "input_tokens": 9_007_199_254_740_991_i64, "output_tokens": 2, "cost_usd": 0.012_345_6}),
        &[
            "add usage/input_tokens 9007199254740991",
            "add /usage/input_tokens 9007199254740991",
            "add /usage/models/m/input_tokens 9007199254740991",
            "add usage/output_tokens 2",
            "add /usage/output_tokens 2",
            "add /usage/models/m/output_tokens 2",
            "add usage/cost_micro_usd 12346",
            "add /usage/cost_micro_usd 12346",
            "add /usage/models/m/cost_micro_usd 12346",
        ],
    );
}

#[test]
fn approvals_and_the_fleet() {
    check(
        "approval.requested",
        &json!({"approval_id": "q", "question": "?", "options": ["y", "n"], "tool": "t", "input": {"x": 1}, "more": 1}),
        &[
            r#"set approvals/q {"agent":"a","approval_id":"q","id":"e1","input":{"x":1},"options":["y","n"],"question":"?","session":"s","time":"2026-11-20T09:00:00.123Z","tool":"t"}"#,
        ],
    );
    let long = json!({"approval_id": "q", "question": "?", "options": ["x".repeat(3_000), "y".repeat(3_000)]});
    assert!(
        lines("approval.requested", &long)[0].contains(r#""options_cut":true"#),
        "who answers may mean another one"
    );
    check("approval.resolved", &json!({"approval_id": "q", "decision": "y", "by": "u"}), &["delete approvals/q"]);
    check(
        "swarm.topology",
        &json!({"topology": "mesh", "agents": ["a"]}),
        &[
            r#"set /fleet/session "s""#,
            r#"set /fleet/time "2026-11-20T09:00:00.123Z""#,
            r#"set /fleet/topology "mesh""#,
            r#"set /fleet/agents ["a"]"#,
        ],
    );
}

#[test]
fn what_is_unknown_or_belongs_to_nobody_has_no_effects() {
    check("custom.thing", &json!({"status": "completed"}), &[]);
    check("message.delta", &json!({"message_id": "m", "text": "t"}), &[]);
    check("agent.unheard", &json!({}), &[]);
    check(
        "log",
        &json!("no object"),
        &[r#"push logs {"agent":"a","id":"e1","time":"2026-11-20T09:00:00.123Z"} of 200"#],
    );
    let homeless = Subject { session: "", ..subject("log") };
    assert!(effects_of(&homeless, &json!({"level": "info", "message": "m"})).is_empty());
    let nobody = Subject { agent: "", ..subject("agent.status") };
    assert!(effects_of(&nobody, &json!({"status": "working"})).is_empty());
}

#[test]
fn what_is_copied_is_cut() {
    let long = "ä".repeat(200_000);
    for kind in TYPES_WITH_STATE {
        let known = vocabulary::lookup(kind);
        let mut data = json!({"details": [long], "primary": long, "secondary": long, "model": long});
        for member in known.iter().flat_map(|known| known.data) {
            data[member.name] = json!(long);
        }
        for effect in effects_of(&subject(kind), &data) {
            assert!(effect.value.len() <= 2 * FLEET_BYTES_MAX, "{kind} {:?}: {}", effect.path, effect.value.len());
            assert!(effect.path.iter().all(|name| name.len() <= NAME_BYTES_MAX), "{kind} {:?}", effect.path);
        }
    }
    assert_eq!(cut_text("abcdef", 6), "abcdef");
    assert_eq!(cut_text("abcdefg", 6), "abc…");
    assert_eq!(cut_text("äöü!", 6), "ä…");
    assert_eq!(cut_text("abc", 2), "");
    assert_eq!(cut_value(&json!(["abc", "def"]), 9), json!(["abc"]));
    assert_eq!(name_of("a\u{0}b"), "a_b");
}

#[test]
fn types_with_state_are_those_of_the_vocabulary() {
    let stated = vocabulary::known_types().iter().filter(|known| !known.state.is_empty()).map(|known| known.name);
    let expected: BTreeSet<&str> = stated.chain(["session.lost"]).collect();
    assert_eq!(TYPES_WITH_STATE.into_iter().collect::<BTreeSet<_>>(), expected);
    assert!(TYPES_WITH_STATE.is_sorted());
}

/// Compaction drops an older `latest` event for a newer one that sets the same fields: only right if such events add
/// nothing up, and if what they touch follows from the names in `data` alone.
#[test]
fn latest_events_only_set_and_delete_and_by_names_alone() {
    let values = [json!(1), json!("text"), json!(null), json!({"a": [1]}), json!("failed")];
    let mut seen = 0;
    for known in vocabulary::known_types().iter().filter(|known| known.lane == crate::filter::Lane::Latest) {
        for count in 0..=known.data.len() {
            let cells = |value: &Value| {
                let names = known.data.iter().take(count).map(|member| (member.name.to_owned(), value.clone()));
                let effects = effects_of(&subject(known.name), &Value::Object(names.collect()));
                assert!(
                    effects.iter().all(|effect| matches!(effect.op(), Op::Set | Op::Delete)),
                    "{} does more than set and delete",
                    known.name
                );
                effects.into_iter().map(|effect| (effect.op, effect.project, effect.path)).collect::<Vec<_>>()
            };
            seen += cells(&values[0]).len();
            for value in &values {
                assert_eq!(cells(value), cells(&values[0]), "{} {value}", known.name);
            }
        }
    }
    assert!(seen > 20, "the vocabulary has latest types with state");
}

fn any_json() -> impl Strategy<Value = Value> {
    let leaf = prop_oneof![
        Just(Value::Null),
        any::<i64>().prop_map(|n| json!(n)),
        "[\\x00-\\x7fä€😀]{0,40}".prop_map(Value::String),
    ];
    leaf.prop_recursive(4, 40, 6, |inner| {
        prop_oneof![
            prop::collection::vec(inner.clone(), 0..6).prop_map(Value::Array),
            prop::collection::vec(("[a-z\"]{0,8}", inner), 0..6)
                .prop_map(|members| Value::Object(members.into_iter().collect())),
        ]
    })
}

proptest! {
    #[test]
    fn a_cut_value_fits_and_small_ones_stay(value in any_json(), bytes_max in 0_usize..200) {
        let cut = cut_value(&value, bytes_max);
        let encoded = cut.to_string();
        prop_assert!(encoded.len() <= bytes_max.max(4), "{encoded}");
        if value.to_string().len() * 6 + 100 <= bytes_max {
            prop_assert_eq!(&cut, &value);
        }
        prop_assert_eq!(&cut_value(&value, 100_000), &value);
    }
}
