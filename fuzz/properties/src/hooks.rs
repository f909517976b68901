//! Hooks of Claude Code, as the tool posts them.

use serde_json::Value;
use tidings_dialects::claude_code::{self, Decision};
use tidings_protocol::limits::NAME_BYTES_MAX;

const FRESH: &str = "01JD0000000000000000000000";
const DEADLINE: &str = "2026-11-20T09:05:00.000Z";

/// What the events of one hook may take, in bytes of JSON: texts are cut, and escapes take six bytes for one.
const EVENTS_BYTES_MAX: usize = 512 * 1024;

/// Members that are names, which ingest refuses where they hold control characters.
const NAMES: [&str; 5] = ["session_id", "agent_id", "agent_type", "tool_name", "tool_use_id"];

/// What is JSON is read, so far as there is room; a hook that is read becomes events that ingest takes, within bounds; a
/// permission is one approval, the last event's, and every decision on it has an answer.
pub(crate) fn claude_code(data: &[u8]) {
    let whole = serde_json::from_slice::<Value>(data);
    let Ok(hook) = claude_code::read(data) else {
        assert!(whole.is_err(), "it is JSON");
        return;
    };
    if let Ok(whole) = whole {
        assert!(hook.to_string().len() <= whole.to_string().len(), "no more than was sent");
    }
    let mapped = match claude_code::map(&hook, FRESH, DEADLINE) {
        Ok(mapped) => mapped,
        Err(fault) => {
            let text = |name: &str| hook.get(name).and_then(Value::as_str).is_some_and(|text| !text.is_empty());
            assert!(!(text("session_id") && text("hook_event_name")), "{fault}");
            return;
        }
    };
    let session = hook["session_id"].as_str().unwrap_or_default();
    for event in &mapped.events {
        let name = event["session"].as_str().unwrap_or_default();
        assert!(!name.is_empty() && name.len() <= NAME_BYTES_MAX && name.chars().next() == session.chars().next());
    }
    taken(&hook, &mapped.events);
    if let Some(approval) = &mapped.approval {
        let last = mapped.events.last().expect("it is asked");
        assert_eq!(
            (&last["type"], &last["data"]["approval_id"]),
            (&"approval.requested".into(), &approval.id.as_str().into())
        );
        for option in last["data"]["options"].as_array().into_iter().flatten() {
            let decision = option.as_str().and_then(Decision::parse).expect("what is offered is understood");
            assert!(decision != Decision::AllowAlways || approval.suggestions.is_some());
            let answer = claude_code::answer(decision, None, approval.suggestions.as_ref());
            let granted = &answer["hookSpecificOutput"]["decision"]["updatedPermissions"];
            assert!(granted.is_null() || Some(granted) == hook.get("permission_suggestions"), "as the tool said");
        }
    }
}

/// Ingest takes what a hook becomes.
fn taken(hook: &Value, events: &[Value]) {
    if events.is_empty() {
        return;
    }
    let body = Value::from(events.to_vec()).to_string();
    assert!(body.len() <= EVENTS_BYTES_MAX, "{} bytes", body.len());
    let taken = crate::intake::judged(body.as_bytes());
    let is_unsound = |name: &str| hook[name].as_str().is_some_and(|text| text.chars().any(char::is_control));
    assert!(taken.is_ok() || NAMES.into_iter().any(is_unsound), "{taken:?}");
}
