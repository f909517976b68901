//! What clients are told of a run, by shape.

use serde_json::json;
use tidings_dialects::agentcraft::{AgentCraft, Shape};
use tidings_dialects::{Ask, Dialect as _};

use crate::stage::{SESSION, Stage, event, status, types, values};

#[test]
fn each_shape_has_its_own_messages() {
    let (flat, nested) = (["agent_status"].as_slice(), ["agent_status_update"].as_slice());
    let both = ["agent_status", "agent_status_update"].as_slice();
    let stage = Stage::crew();
    for (shape, expected) in [(Shape::Flat, flat), (Shape::Nested, nested), (Shape::Both, both)] {
        assert_eq!(types(&stage.says(shape)), expected, "{shape:?}");
    }
}

#[test]
fn sessions_are_told_whenever_they_change() {
    let mut stage = Stage::crew();
    let changes = [
        event("session.started", None, json!({ "title": "again" })),
        event("session.stage", None, json!({ "stage": "build", "status": "started" })),
        event("agent.started", Some("agent-new"), json!({ "name": "New" })),
        event("agent.status", Some("agent-new"), json!({ "status": "waiting", "name": "New", "progress": 1 })),
        event("agent.finished", Some("agent-new"), json!({ "outcome": "success" })),
        event("agent.removed", Some("agent-new"), json!({})),
        event("session.failed", None, json!({ "error": "no" })),
    ];
    for change in changes {
        stage.post(change.clone());
        for shape in Shape::ALL {
            assert_eq!(types(&stage.says(shape)).last(), Some(&"active_sessions"), "{shape:?} {change}");
        }
    }
    let said = stage.says(Shape::Flat);
    assert_eq!(said.last().expect("it is there")["data"], json!({ "total_sessions": 0, "sessions": [] }));
}

#[test]
fn who_may_have_missed_something_is_told_how_agents_stand() {
    let mut stage = Stage::crew();
    stage.post(json!({ "type": "session.started", "session": "over", "data": { "title": "x" } }));
    stage.post(json!({ "type": "agent.started", "session": "over", "agent": "a", "data": { "name": "A" } }));
    stage.post(json!({ "type": "session.completed", "session": "over", "data": {} }));
    let flat = ["active_sessions", "agent_status", "agent_status"].as_slice();
    let nested = ["active_sessions", "agent_status_update"].as_slice();
    let both = ["active_sessions", "agent_status", "agent_status", "agent_status_update"].as_slice();
    for (shape, expected) in [(Shape::Flat, flat), (Shape::Nested, nested), (Shape::Both, both)] {
        let dialect = AgentCraft::new(shape);
        assert_eq!(types(&values(&stage.greeting(dialect, true))), expected, "{shape:?}");
        assert_eq!(types(&values(&stage.greeting(dialect, false))), ["active_sessions"], "{shape:?}");
    }
    let said = values(&stage.greeting(AgentCraft::default(), true));
    assert_eq!((&said[1]["agent_id"], &said[2]["agent_id"]), (&json!("agent-guard"), &json!("agent-tech")));
    assert_eq!((&said[2]["status"], &said[2]["progress"]), (&json!("PROCESSING"), &json!(65)));
}

#[test]
fn a_status_that_says_less_is_told_by_state() {
    let mut stage = Stage::crew();
    stage.post(event("agent.status", Some("agent-tech"), json!({ "status": "collaborating" })));
    let said = stage.says(Shape::Flat);
    assert_eq!(types(&said), ["agent_status"]);
    assert_eq!(said[0]["agent_name"], "Technical Integration Specialist");
    assert_eq!((&said[0]["status"], &said[0]["progress"]), (&json!("COLLABORATING"), &json!(65)));
    stage.post(event("agent.finished", Some("agent-tech"), json!({ "outcome": "failure", "summary": "it broke" })));
    let said = stage.says(Shape::Flat);
    assert_eq!((&said[0]["status"], &said[0]["message"]), (&json!("ERROR"), &json!("it broke")));
}

#[test]
fn the_last_ten_outputs_and_fifty_lines() {
    let mut stage = Stage::crew();
    for n in 0..60 {
        stage.post(event("log", None, json!({ "level": "info", "message": format!("line {n}") })));
        stage.post(event("output", None, json!({ "content": format!("output {n}") })));
    }
    let dialect = AgentCraft::default();
    let state = &values(&stage.present(dialect, &Ask::Session(SESSION.into())))[0]["state"];
    let outputs = state["crew_output"].as_array().expect("a list");
    assert_eq!((outputs.len(), &outputs[9]["content"]), (10, &json!("output 59")));
    let said = stage.says(Shape::Nested);
    assert_eq!(said[0]["state"]["crew_output"].as_array().map(Vec::len), Some(5));
    let ask = Ask::Logs { session: SESSION.into(), limit: 50 };
    let logs = &values(&stage.present(dialect, &ask))[0]["logs"];
    assert_eq!((logs.as_array().map(Vec::len), &logs[49]["message"]), (Some(50), &json!("line 59")));
}

#[test]
fn words_of_status_by_type() {
    let words = [
        ("idle", "IDLE", "idle"),
        ("analyzing", "ANALYZING", "analyzing"),
        ("processing", "PROCESSING", "processing"),
        ("working", "PROCESSING", "processing"),
        ("waiting", "IDLE", "idle"),
        ("collaborating", "COLLABORATING", "collaborating"),
        ("completed", "COMPLETED", "finished"),
        ("failed", "ERROR", "error"),
    ];
    for (native, upper, lower) in words {
        let mut stage = Stage::crew();
        let mut data = status();
        data["status"] = json!(native);
        stage.post(event("agent.status", Some("agent-tech"), data));
        let said = stage.says(Shape::Both);
        assert_eq!(said[0]["status"], upper);
        assert_eq!(said[1]["data"]["status"], lower);
        let state = &values(&stage.present(AgentCraft::new(Shape::Nested), &Ask::Session(SESSION.into())))[0];
        assert_eq!(state["state"]["active_agents"][1]["status"], upper, "the document's type");
    }
}

#[test]
fn the_end_of_a_session_ends_its_agents() {
    for (kind, data, word) in [
        ("session.completed", json!({}), "finished"),
        ("session.failed", json!({ "error": "no" }), "error"),
        ("session.cancelled", json!({ "reason": "enough" }), "error"),
    ] {
        let mut stage = Stage::crew();
        stage.post(event(kind, None, data));
        let said = stage.says(Shape::Nested);
        let agents = said[0]["state"]["active_agents"].as_array().expect("a list");
        assert!(agents.iter().all(|agent| agent["status"] == word), "{kind}: {agents:?}");
    }
}

#[test]
fn debug_lines_are_not_streamed_and_others_only_to_who_asked() {
    let mut stage = Stage::crew();
    let streaming = AgentCraft::default().streaming(true);
    stage.post(event("log", None, json!({ "level": "debug", "message": "x" })));
    assert_eq!(stage.newest(streaming), [""; 0]);
    stage.post(event("log", None, json!({ "level": "success", "message": "Tool is done" })));
    assert_eq!(stage.newest(AgentCraft::default()), [""; 0]);
    let said = values(&stage.newest(streaming));
    assert_eq!((&said[0]["log"]["level"], &said[0]["log"]["event_type"]), (&json!("INFO"), &json!("tool_use")));
    assert_eq!(said[0]["log"]["message"], "INFO - crewai - Tool is done");
}

#[test]
fn asks_of_one_batch_sort_as_a_session_lives() {
    let run = [
        event("session.started", None, json!({ "title": "x" })),
        event("session.progress", None, json!({ "progress": 1 })),
        event("agent.started", Some("a"), json!({ "name": "A" })),
        event("output", None, json!({ "content": "x" })),
        event("session.completed", None, json!({})),
    ];
    let mut stage = Stage::with(&[]);
    let mut asks = Vec::new();
    for event in run {
        stage.post(event);
        asks.push(stage.due(AgentCraft::new(Shape::Nested)).expect("something is due"));
    }
    let mut sorted = asks.clone();
    sorted.sort();
    assert_eq!(asks, sorted);
}

#[test]
fn an_ask_of_somebody_else_is_not_told() {
    let stage = Stage::crew();
    for text in ["", "x", "900\u{1f}s\u{1f}a", "000\u{1f}nobody\u{1f}"] {
        for shape in Shape::ALL {
            let said = stage.present(AgentCraft::new(shape), &Ask::Other(text.into()));
            assert_eq!(said, [""; 0], "{text:?}");
        }
    }
}

#[test]
fn variants_lead_to_themselves() {
    for variant in 0..=u8::MAX {
        let dialect = AgentCraft::of_variant(variant);
        assert_eq!(dialect.is_some(), variant < 6);
        assert!(dialect.is_none_or(|dialect| dialect.variant() == variant));
    }
}
