//! One file for each message type, compared byte for byte. `UPDATE_GOLDEN=1` writes them.

use std::path::PathBuf;

use serde_json::{Value, json};
use tidings_dialects::agentcraft::{AgentCraft, BROADCAST, LOGS_MAX, Shape, rest};
use tidings_dialects::{Action, Ask, Dialect as _};

use crate::stage::{NOW_MS, SESSION, Stage, event, status};

/// A message as its file has it, made from a crew at work and then this.
fn check(name: &str, messages: &[String]) {
    let path = PathBuf::from(env!("CARGO_MANIFEST_DIR")).join(format!("tests/golden/agentcraft/{name}.json"));
    let text = messages.join("\n") + "\n";
    if std::env::var_os("UPDATE_GOLDEN").is_some() {
        std::fs::write(&path, &text).expect("the golden file can be written");
    }
    let golden = std::fs::read_to_string(&path).expect("there is a golden file");
    assert_eq!(text, golden, "{name}");
}

/// What a client of this shape is told when this is posted, but for the messages of other types.
fn told(shape: Shape, kind: &str, posted: Value) -> Vec<String> {
    let mut stage = Stage::crew();
    stage.post(posted);
    let of_kind = |message: &String| serde_json::from_str::<Value>(message).is_ok_and(|value| value["type"] == kind);
    stage.newest(AgentCraft::new(shape)).into_iter().filter(of_kind).collect()
}

fn said(text: &str) -> Vec<String> {
    let actions = AgentCraft::default().hear(text, NOW_MS);
    let said = |action| if let Action::Say(message) = action { Some(message) } else { None };
    actions.into_iter().filter_map(said).collect()
}

#[test]
fn flat_messages() {
    let dialect = AgentCraft::default();
    check("active_sessions", &Stage::crew().greeting(dialect, false));
    check("agent_status", &told(Shape::Flat, "agent_status", event("agent.status", Some("agent-tech"), status())));
    let handoff = json!({
        "primary": "Technical Integration Specialist", "secondary": "Security Specialist", "kind": "handoff",
        "reason": "Requires security expertise",
    });
    check(
        "agent_collaboration",
        &told(Shape::Flat, "agent_collaboration", event("agent.collaboration", None, handoff)),
    );
    check("session_state", &Stage::crew().present(dialect, &Ask::Session(SESSION.into())));
    check("session_not_found", &Stage::crew().present(dialect, &Ask::Session("nobody".into())));
    check("ping", &dialect.ping(NOW_MS).into_iter().collect::<Vec<_>>());
}

#[test]
fn session_logs() {
    let ask = Ask::Logs { session: SESSION.into(), limit: LOGS_MAX };
    check("session_logs", &Stage::crew().present(AgentCraft::new(Shape::Flat), &ask));
    check("session_logs.nested", &Stage::crew().present(AgentCraft::new(Shape::Nested), &ask));
    check("session_logs.both", &Stage::crew().present(AgentCraft::new(Shape::Both), &ask));
}

#[test]
fn nested_messages() {
    let check = |kind: &str, posted| check(kind, &told(Shape::Nested, kind, posted));
    check("session_started", event("session.started", None, json!({ "title": "How do I fix webhook errors?" })));
    check("agent_status_update", event("agent.status", Some("agent-tech"), status()));
    check("phase_update", event("session.progress", None, json!({ "progress": 70, "phase": "synthesis" })));
    check("crew_output", event("output", Some("agent-guard"), json!({ "content": "The secret is old." })));
    check("session_completed", event("session.completed", None, json!({ "result": "Rotate the secret." })));
    check("session_error", event("session.failed", None, json!({ "error": "no more tokens" })));
}

#[test]
fn log_streaming() {
    check("log_streaming_started", &said(r#"{"type":"start_log_streaming","session_id":"session_abc123"}"#));
    check("log_streaming_stopped", &said(r#"{"type":"stop_log_streaming"}"#));
    let mut stage = Stage::crew();
    let details = json!({ "logger": "crewai.agent", "module": "agent", "function": "execute_task", "line": 217,
        "agent_name": "Specialist", "task": "webhooks" });
    let line = json!({ "level": "info", "message": "Agent is thinking about webhooks", "details": details });
    stage.post(event("log", Some("agent-tech"), line));
    check("crewai_log", &stage.newest(AgentCraft::default().streaming(true)));
}

#[test]
fn rest_answers() {
    let connection = rest::Connection { client_id: "client_1".into(), connected_at: 1_795_165_201.5, message_count: 7 };
    let stats = rest::Stats { active_connections: 1, total_messages_sent: 7, connections: vec![connection] };
    let stage = Stage::crew();
    let check = |name: &str, body: String| check(&format!("rest.{name}"), &[body]);
    check("stats", stage.view(|view| rest::stats(&stats, view)));
    check("logs", stage.view(|view| rest::logs(Shape::Flat, view, SESSION)));
    check("state", stage.view(|view| rest::state(view, SESSION)));
    check("state_unknown", stage.view(|view| rest::state(view, "nobody")));
    check("health", stage.view(|view| rest::health(true, view)));
    check("broadcast", rest::broadcast_sent());
    check("error", rest::error(404, "NotFound", "Not Found", NOW_MS));
}

#[test]
fn a_broadcast_is_told_as_it_is_in_every_variant() {
    let message = json!({ "type": "maintenance", "in_minutes": 5 });
    let mut stage = Stage::crew();
    let posted = rest::broadcast_event(&message);
    assert_eq!(posted["type"], BROADCAST);
    stage.post(posted);
    for variant in 0..6 {
        let dialect = AgentCraft::of_variant(variant).expect("a variant");
        assert_eq!(stage.newest(dialect), [message.to_string()], "variant {variant}");
    }
}
