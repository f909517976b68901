//! Golden events: one hook per file, with what it becomes.

use std::path::Path;

use serde_json::{Value, json};
use tidings_protocol::intake::{Intake, parse_body};
use tidings_protocol::limits::EventLimits;

use super::*;

const FRESH: &str = "01JD0000000000000000000000";
const DEADLINE: &str = "2026-11-20T09:05:00.000Z";

fn goldens() -> Vec<(String, Value)> {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/golden/claude_code");
    let files = std::fs::read_dir(folder).expect("the folder of goldens");
    let mut goldens: Vec<_> = files
        .map(|file| {
            let path = file.expect("a file").path();
            let text = std::fs::read_to_string(&path).expect("a text");
            let name = path.file_stem().expect("a name").to_string_lossy().into_owned();
            (name, serde_json::from_str(&text).expect("JSON"))
        })
        .collect();
    goldens.sort_by(|a, b| a.0.cmp(&b.0));
    goldens
}

#[test]
fn each_hook_becomes_the_events_of_its_golden() {
    let goldens = goldens();
    assert!(goldens.len() >= 12, "{}", goldens.len());
    for (name, golden) in goldens {
        let mapped = map(&golden["hook"], FRESH, DEADLINE).expect(&name);
        assert_eq!(Value::Array(mapped.events), golden["events"], "{name}");
        assert_eq!(
            mapped.approval.map(|approval| approval.id),
            golden["approval"].as_str().map(str::to_owned),
            "{name}"
        );
    }
}

#[test]
fn what_hooks_become_is_valid() {
    for (name, golden) in goldens() {
        let body = golden["events"].to_string();
        let mut next_id = || FRESH.to_owned();
        let mut intake = Intake {
            limits: &EventLimits::default(),
            received_ms: 1_795_165_200_123,
            next_id: &mut next_id,
            default_runner: None,
            default_traceparent: None,
            idempotency_key: None,
        };
        let events = parse_body(body.as_bytes(), &mut intake);
        assert!(events.is_ok(), "{name}: {events:?}");
    }
}

#[test]
fn a_body_that_is_no_hook_is_refused_by_what_it_lacks() {
    assert_eq!(map(&json!([]), FRESH, DEADLINE), Err(NotAHook::NoObject));
    assert_eq!(map(&json!({"session_id": "s"}), FRESH, DEADLINE), Err(NotAHook::Missing("hook_event_name")));
    let empty = json!({"session_id": "", "hook_event_name": "Stop"});
    assert_eq!(map(&empty, FRESH, DEADLINE), Err(NotAHook::Missing("session_id")));
}

#[test]
fn long_texts_and_big_inputs_are_cut() {
    let input = json!({"content": "x".repeat(1_000_000)});
    let hook = json!({"session_id": "s".repeat(500), "hook_event_name": "PreToolUse", "tool_name": "n".repeat(500), "tool_input": input});
    let mapped = map(&hook, FRESH, DEADLINE).expect("a hook");
    let bytes: usize = mapped.events.iter().map(|event| event.to_string().len()).sum();
    assert!(bytes < 20_000, "{bytes}");
}

#[test]
fn a_decision_is_told_as_the_tool_understands_it() {
    let suggestions = json!([{"type": "addRules"}]);
    let told = |decision, suggestions| {
        answer(decision, Some("not today"), suggestions)["hookSpecificOutput"]["decision"].clone()
    };
    assert_eq!(told(Decision::Allow, None), json!({"behavior": "allow"}));
    assert_eq!(told(Decision::Deny, None), json!({"behavior": "deny", "message": "not today"}));
    let always = json!({"behavior": "allow", "updatedPermissions": suggestions});
    assert_eq!(told(Decision::AllowAlways, Some(&suggestions)), always);
    assert_eq!((Decision::parse("expired"), no_opinion()), (None, json!({})));
}

fn mapped(hook: &Value) -> Mapped {
    let mut whole = json!({"session_id": "s", "tool_name": "Bash"});
    whole.as_object_mut().expect("an object").extend(hook.as_object().expect("an object").clone());
    map(&whole, FRESH, DEADLINE).expect("a hook")
}

#[test]
fn what_may_be_granted_for_good_is_offered_within_a_bound() {
    let asked = |bytes: usize| {
        let hook = json!({"hook_event_name": "PermissionRequest", "permission_suggestions": ["x".repeat(bytes - 4)]});
        let mapped = mapped(&hook);
        let options = mapped.events[1]["data"]["options"].as_array().map(Vec::len);
        (options, mapped.approval.expect("it asks").suggestions.is_some())
    };
    assert_eq!(asked(16 * 1024), (Some(3), true));
    assert_eq!(asked(16 * 1024 + 1), (Some(2), false));
}

#[test]
fn an_approval_has_an_id_that_ingest_takes() {
    let hook = json!({"hook_event_name": "PermissionRequest", "tool_use_id": "t".repeat(500)});
    let approval = mapped(&hook).approval.expect("it asks");
    // Events of the approval are told apart by what is put behind it.
    assert!(approval.id.len() + ".1".len() <= 128, "{}", approval.id.len());
}

#[test]
fn the_main_agent_has_no_parent() {
    let parent = |agent: Value| {
        mapped(&json!({"hook_event_name": "SubagentStart", "agent_id": agent})).events[0]["parent"].take()
    };
    assert_eq!(parent(json!("a1")), MAIN_AGENT);
    assert_eq!((parent(json!("")), parent(Value::Null)), (Value::Null, Value::Null));
}

#[test]
fn all_words_of_dashboards_are_understood() {
    for (decision, words) in [
        (Decision::Allow, ["allow", "approve", "approved", "yes"].as_slice()),
        (Decision::AllowAlways, &["allow_always"]),
        (Decision::Deny, &["deny", "reject", "rejected", "no"]),
    ] {
        assert!(words.iter().all(|word| Decision::parse(word) == Some(decision)), "{decision:?}");
    }
    assert!(["", "Allow", "maybe", "expired"].iter().all(|word| Decision::parse(word).is_none()));
}

#[test]
fn counts_that_no_reader_holds_are_left_out() {
    const MOST: u64 = (1 << 53) - 1;
    let completed = |duration: u64, input: u64, cached: u64| {
        let usage = json!({"input_tokens": input, "output_tokens": 1, "cache_read_input_tokens": cached});
        mapped(&json!({"hook_event_name": "PostToolUse", "duration_ms": duration, "tool_response": {"usage": usage}}))
            .events
    };
    let told = completed(MOST, MOST, MOST);
    assert_eq!((&told[0]["data"]["duration_ms"], &told[1]["data"]["input_tokens"]), (&json!(MOST), &json!(MOST)));
    let told = completed(MOST + 1, MOST + 1, 0);
    assert_eq!((told.len(), told[0]["data"].get("duration_ms")), (1, None));
}

#[test]
fn who_waits_for_its_user_is_waiting() {
    let told = |kind: &str| {
        mapped(&json!({"hook_event_name": "Notification", "message": "m", "notification_type": kind})).events
    };
    let waiting = told("idle_prompt");
    assert_eq!((waiting.len(), &waiting[1]["data"]["status"]), (2, &json!("waiting")));
    assert_eq!(told("auth_success").len(), 1);
}
