//! Bounds, and what is told where a run says little.

use serde_json::{Value, json};
use tidings_dialects::agentcraft::{AgentCraft, Shape};
use tidings_dialects::{Ask, Dialect as _, View};

use crate::stage::{NOW_MS, Stage, event, values};

/// What a client of this shape is told of such state.
fn presented(shape: Shape, ask: &Ask, state: &Value) -> Vec<Value> {
    let project = "craft".parse().expect("a name");
    let position = tidings_protocol::position::Position::ZERO;
    let mut out = Vec::new();
    AgentCraft::new(shape).present(ask, &View { project: &project, position, state, now_ms: NOW_MS }, &mut out);
    values(&out)
}

fn session_state(cells: &Value) -> Value {
    let ask = Ask::Session("s".into());
    presented(Shape::Flat, &ask, &json!({ "sessions": { "s": cells } }))[0]["state"].take()
}

#[test]
fn who_missed_something_is_told_of_the_thousand_agents_heard_last() {
    let agents = |n: u32| {
        let updated = format!("2026-11-20T09:{:02}:{:02}.000Z", n / 60, n % 60);
        (format!("agent-{n}"), json!({ "status": "working", "updated": updated }))
    };
    let agents: serde_json::Map<String, Value> = (0..1_100).map(agents).collect();
    let state = json!({ "sessions": { "s": { "status": "running", "agents": agents } } });
    let project = "craft".parse().expect("a name");
    let position = tidings_protocol::position::Position::ZERO;
    let view = View { project: &project, position, state: &state, now_ms: NOW_MS };
    let mut out = Vec::new();
    AgentCraft::default().greet(&view, true, &mut out);
    let said = values(&out);
    assert_eq!((said.len(), &said[0]["type"]), (1_001, &json!("active_sessions")));
    assert_eq!((&said[1]["agent_id"], &said[1_000]["agent_id"]), (&json!("agent-100"), &json!("agent-1099")));
}

#[test]
fn progress_is_told_as_the_nearest_whole_number() {
    let of =
        |progress: f64| session_state(&json!({ "status": "running", "progress": progress }))["overall_progress"].take();
    assert_eq!([of(12.4), of(12.5), of(99.7), of(140.0), of(-3.0)], [12, 13, 100, 100, 0].map(Value::from));
}

#[test]
fn a_run_goes_on_at_the_pace_that_it_had_so_far() {
    let completes = |started: &str, progress: u32| {
        let cells = json!({ "status": "running", "started": started, "progress": progress });
        let state = json!({ "sessions": { "s": cells } });
        let ask = Ask::Other("100\u{1f}s\u{1f}".into());
        presented(Shape::Nested, &ask, &state)[0]["state"]["estimated_completion"].take()
    };
    let now_s = f64::from(u32::try_from(NOW_MS / 1_000).expect("it is this century"));
    assert_eq!(completes("2026-11-20T09:00:00.000Z", 25), json!(now_s + 180.0));
    assert_eq!(completes("2026-11-20T09:00:00.000Z", 0), Value::Null, "it has no pace");
    // The runner's clock is ahead.
    assert_eq!(completes("2026-11-20T09:02:00.000Z", 50), json!(now_s + 60.0));
}

#[test]
fn the_summary_of_an_agent_counts_once_it_has_ended() {
    let message = |cells: Value| {
        let state = json!({ "sessions": { "s": { "status": "running", "agents": { "a": cells } } } });
        presented(Shape::Flat, &Ask::Other("210\u{1f}s\u{1f}a".into()), &state)[0]["message"].take()
    };
    let time = "2026-11-20T09:00:00.000Z";
    assert_eq!(message(json!({ "summary": "done", "message": "at it", "ended": time })), "done");
    assert_eq!(message(json!({ "summary": "done before", "message": "at it again" })), "at it again");
    assert_eq!(message(json!({ "task": "the task" })), "the task");
}

#[test]
fn a_run_that_is_over_has_the_phase_of_its_end() {
    for (status, phase) in [
        ("completed", "completed"),
        ("cancelled", "cancelled"),
        ("failed", "error"),
        ("lost", "error"),
        ("running", "build"),
    ] {
        let state = session_state(&json!({ "status": status, "phase": "build", "stage": "other" }));
        assert_eq!(state["current_phase"], phase, "{status}");
    }
    assert_eq!(session_state(&json!({ "stage": "build" }))["current_phase"], "build");
    assert_eq!(session_state(&json!({}))["current_phase"], "initialization");
}

#[test]
fn the_result_of_a_run_is_told_before_its_summary() {
    let result = |outcome: Value| {
        let mut stage = Stage::crew();
        stage.post(event("session.completed", None, outcome));
        stage.says(Shape::Nested)[0]["data"]["result"].take()
    };
    assert_eq!(result(json!({ "summary": "short", "result": { "answer": 42 } })), json!({ "answer": 42 }));
    assert_eq!(result(json!({ "summary": "short" })), "short");
    assert_eq!(result(json!({})), Value::Null);
}
