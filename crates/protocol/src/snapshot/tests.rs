use serde_json::{Value, json};

use super::*;
use crate::effects::{Subject, effects_of};
use crate::fold::StateLimits;
use crate::position::{Branch, Position};
use crate::wire::Event;

const TIME: &str = "2026-11-20T09:00:00.123Z";

/// The state after events given as (type, session, agent, data), told one second apart.
fn after(events: &[(&str, &str, &str, Value)]) -> State {
    let mut state = State::new(StateLimits::default());
    for (index, (kind, session, agent, data)) in events.iter().enumerate() {
        let subject = Subject { kind, session, agent, parent: "", id: "e", time: TIME };
        let event = Event { session: (*session).into(), effects: effects_of(&subject, data), ..Event::default() };
        let n = index as u64 + 1;
        state.apply_event(Position::new(n * 1_000, n, Branch::from_random([0; 12])), &event);
    }
    state
}

fn snapshot(state: &State) -> Value {
    let mut out = Vec::new();
    state.snapshot_json(&mut out);
    serde_json::from_slice(&out).expect("a snapshot is JSON")
}

#[test]
fn a_project_without_events_is_empty() {
    let state = State::new(StateLimits::default());
    assert_eq!(snapshot(&state), json!({"sessions": {}, "approvals": [], "usage": {}, "fleet": {}}));
    assert_eq!(state.sessions_json(), b"[]");
    assert_eq!(state.session_json("s"), None);
    assert_eq!(state.logs("s"), None);
    assert_eq!(state.summary(), Summary::default());
}

#[test]
fn a_project_in_full() {
    let events = [
        ("session.started", "s", "", json!({"title": "Say \"hi\""})),
        ("agent.started", "s", "a", json!({"name": "A"})),
        ("agent.status", "s", "a", json!({"status": "working", "progress": 65})),
        ("agent.collaboration", "s", "", json!({"primary": "a", "secondary": "b", "kind": "review"})),
        ("session.stage", "s", "", json!({"stage": "plan", "status": "completed"})),
        ("log", "s", "a", json!({"level": "info", "message": "<b>"})),
        ("tool.started", "s", "a", json!({"call_id": "c1", "name": "grep"})),
        ("tool.started", "s", "a", json!({"call_id": "c2", "name": "grep"})),
        ("tool.failed", "s", "a", json!({"call_id": "c2", "name": "grep", "error": "E", "duration_ms": 20})),
        ("usage", "s", "a", json!({"model": "m", "input_tokens": 3, "output_tokens": 4, "cost_usd": 0.5})),
        ("approval.requested", "s", "a", json!({"approval_id": "q", "question": "?", "options": ["y"]})),
        ("approval.requested", "r", "", json!({"approval_id": "q", "question": "!", "options": []})),
        ("swarm.topology", "", "", json!({"topology": "mesh", "agents": ["a"]})),
    ];
    let state = after(&events);
    let approval = json!({"approval_id": "q", "session": "s", "agent": "a", "id": "e", "time": TIME, "question": "?", "options": ["y"]});
    let other = json!({"approval_id": "q", "session": "r", "id": "e", "time": TIME, "question": "!", "options": []});
    let empty = json!({"agents": {}, "logs": [], "outputs": [], "stages": {}, "tools": {}});
    let counters = json!({"input_tokens": 3, "output_tokens": 4, "cost_micro_usd": 500_000});
    let session = json!({
        "status": "running",
        "started": TIME,
        "title": "Say \"hi\"",
        "agents": {"a": {"name": "A", "started": TIME, "status": "working", "updated": TIME, "progress": 65}},
        "collaborations": {"a": {"b": {"review": 1}}},
        "logs": [{"time": TIME, "id": "e", "agent": "a", "level": "info", "message": "<b>"}],
        "outputs": [],
        "running": {"c1": {"agent": "a", "id": "e", "name": "grep", "time": TIME}},
        "stages": {"plan": {"status": "completed", "time": TIME}},
        "tools": {"grep": {"calls": 1, "failures": 1, "total_ms": 20}},
        "usage": counters,
    });
    let mut usage = counters.clone();
    usage["models"] = json!({"m": counters});
    let expected = json!({
        "sessions": {"r": empty, "s": session},
        "approvals": [other, approval],
        "usage": usage,
        "fleet": {"time": TIME, "topology": "mesh", "agents": ["a"]},
    });
    assert_eq!(snapshot(&state), expected);

    let alone: Value = serde_json::from_slice(&state.session_json("s").expect("it lives")).expect("JSON");
    let mut whole = session;
    whole["approvals"] = json!({"q": approval});
    assert_eq!(alone, whole);
    let logs: Value = serde_json::from_slice(&state.logs("s").expect("it lives")).expect("JSON");
    assert_eq!(logs, whole["logs"]);
    assert_eq!(state.logs("r").as_deref(), Some(&b"[]"[..]));
    assert_eq!(state.session_names().collect::<Vec<_>>(), ["r", "s"]);
    let counts =
        Summary { sessions: 2, running: 2, agents: 1, approvals: 2, last_activity_ms: 13_000, ..Summary::default() };
    assert_eq!(state.summary(), counts);
}

#[test]
fn equal_states_give_equal_text() {
    let one = ("usage", "s", "", json!({"input_tokens": 1, "output_tokens": 1}));
    let two = ("session.started", "s", "", json!({"title": "T"}));
    let text = |state: &State| {
        let mut out = Vec::new();
        state.snapshot_json(&mut out);
        String::from_utf8(out).expect("text")
    };
    let expected = concat!(
        r#"{"sessions":{"s":{"status":"running","agents":{},"logs":[],"outputs":[],"stages":{},"started":"2026-11-20T09:00:00.123Z","#,
        r#""title":"T","tools":{},"usage":{"cost_micro_usd":0,"input_tokens":1,"output_tokens":1}}},"approvals":[],"#,
        r#""fleet":{},"usage":{"cost_micro_usd":0,"input_tokens":1,"output_tokens":1}}"#
    );
    assert_eq!(text(&after(&[one.clone(), two.clone()])), expected);
    assert_eq!(text(&after(&[two, one])), expected);
}

#[test]
fn a_session_is_lost_until_it_is_heard_again() {
    let started = ("session.started", "s", "", json!({"title": "T"}));
    let lost = ("session.lost", "s", "", json!({"runner": "r"}));
    let status = |state: &State| snapshot(state)["sessions"]["s"]["status"].clone();
    let state = after(&[started.clone(), lost.clone()]);
    assert_eq!((status(&state), state.summary().lost), (json!("lost"), 1));
    let state = after(&[started.clone(), lost.clone(), ("session.progress", "s", "", json!({"progress": 1}))]);
    assert_eq!((status(&state), state.summary().running), (json!("running"), 1));
    let state = after(&[started.clone(), lost.clone(), ("session.cancelled", "s", "", json!({}))]);
    assert_eq!((status(&state), state.summary().cancelled), (json!("cancelled"), 1));
    let over = after(&[started, ("session.completed", "s", "", json!({"result": 1})), lost]);
    assert_eq!((status(&over), over.summary().completed), (json!("completed"), 1), "said too late");
}

#[test]
fn what_a_session_waits_for_goes_with_its_end_and_its_end_with_a_new_start() {
    let events = [
        ("session.started", "s", "", json!({"title": "T"})),
        ("approval.requested", "s", "", json!({"approval_id": "q", "question": "?", "options": []})),
        ("tool.started", "s", "", json!({"call_id": "c", "name": "grep"})),
        ("session.failed", "s", "", json!({"error": "E"})),
        ("session.started", "s", "", json!({"title": "again"})),
    ];
    let over = snapshot(&after(&events[..4]));
    assert_eq!(over["approvals"], json!([]));
    assert_eq!(over["sessions"]["s"].get("running"), None);
    assert_eq!(over["sessions"]["s"]["outcome"], json!({"error": "E"}));
    let again = &snapshot(&after(&events))["sessions"]["s"];
    assert_eq!((&again["status"], again.get("outcome"), again.get("ended")), (&json!("running"), None, None));
}

#[test]
fn names_are_escaped_and_trees_are_built() {
    let json = |text: &str| Content::Json(text.as_bytes().into());
    let cells = [("a\0", json("1")), ("a\0b\0", json("2")), ("a!\0", json("3")), ("q\"\0\0", json("4"))];
    let mut out = Vec::new();
    write_level(cells.iter().map(|(path, content)| (*path, content)), &mut out);
    assert_eq!(String::from_utf8(out).expect("text"), r#"{"a":{"b":2},"a!":3,"q\"":{"":4}}"#);
}
