use serde_json::{Value, json};
use tidings_protocol::position::Position;
use tidings_protocol::wire;

use super::*;

const NATIVE: PyGent = PyGent(Wrapping::Native);
const NOW_MS: u64 = 1_763_630_000_000;

fn hear(message: &Value) -> Vec<Action> {
    NATIVE.hear(&message.to_string(), NOW_MS)
}

/// The one command that a message leads to.
fn command(kind: &str, data: &Value) -> Command {
    match hear(&json!({ "type": kind, "data": data })).as_slice() {
        [Action::Command(command)] => command.clone(),
        other => panic!("{other:?}"),
    }
}

/// The one thing that is said back: its type and data.
fn said(actions: &[Action]) -> (String, Value) {
    let [Action::Say(text)] = actions else { panic!("{actions:?}") };
    let message: Value = serde_json::from_str(text).expect("it is JSON");
    (message["type"].as_str().expect("a type is a text").to_owned(), message["data"].clone())
}

fn error(message: &str) -> (String, Value) {
    ("error".to_owned(), json!({ "message": message }))
}

#[test]
fn the_three_shapes_of_a_chat_message_ask_the_same() {
    let shapes = [
        json!({ "message": { "content": "hello", "agentId": "coding" } }),
        json!({ "content": "hello", "agent": "coding" }),
        json!({ "message": "hello", "agentType": "coding" }),
    ];
    for shape in shapes {
        let command = command("chat_message", &shape);
        assert_eq!((command.kind.as_str(), &command.data), ("chat", &json!({ "text": "hello", "agent": "coding" })));
    }
}

#[test]
fn a_chat_message_keeps_what_the_page_says_of_it() {
    let message = json!({ "id": "msg-1", "type": "user", "content": "hi", "agentId": "", "timestamp": "t", "metadata": { "a": 1 } });
    let asked = command("chat_message", &json!({ "message": message, "timestamp": "later" }));
    let data =
        json!({ "text": "hi", "agent": "general", "client_id": "msg-1", "timestamp": "t", "metadata": { "a": 1 } });
    assert_eq!(asked.data, data);
    assert_eq!(asked.id, None, "two users may choose the same id");
}

#[test]
fn commands_have_the_data_of_their_messages() {
    let reasoning = command("start_reasoning", &json!({ "problem": "p", "timestamp": "t" }));
    assert_eq!(reasoning.kind, "reasoning.start");
    assert_eq!(reasoning.data, json!({ "problem": "p", "mode": "adaptive", "timestamp": "t" }));
    assert_eq!(command("start_reasoning", &json!({ "problem": "p", "mode": "tot_only" })).data["mode"], "tot_only");
    let evolution = command("start_evolution", &json!({ "population_size": 20, "own": [1] }));
    assert_eq!((evolution.kind.as_str(), &evolution.data["own"]), ("evolution.start", &json!([1])));
    let mcp = command("mcp_server_action", &json!({ "action": "restart", "server_id": "files" }));
    assert_eq!(mcp.kind, "mcp.manage");
    assert_eq!(mcp.data, json!({ "action": "restart", "server_id": "files" }));
    for (theirs, ours) in [
        ("stop_reasoning", "reasoning.stop"),
        ("stop_evolution", "evolution.stop"),
        ("request_system_metrics", "metrics.request"),
        ("restart_service", "startup.restart_service"),
    ] {
        assert_eq!(command(theirs, &Value::Null).kind, ours);
        assert_eq!(heard::client_type(ours), theirs);
    }
}

#[test]
fn what_makes_no_sense_is_answered_in_the_shapes_of_the_protocol() {
    assert_eq!(said(&hear(&json!({ "type": "dance" }))), error("Unknown message type: dance"));
    assert_eq!(said(&hear(&json!({ "data": {} }))), error("Unknown message type: None"));
    assert_eq!(said(&hear(&json!({ "type": 7 }))), error("Unknown message type: 7"));
    assert_eq!(said(&hear(&json!([]))), error("Unknown message type: None"));
    let nonsense = error("Invalid message: expected JSON with type and data");
    assert_eq!(said(&NATIVE.hear("nonsense", NOW_MS)), nonsense);
    let chat = json!({ "type": "chat_message", "data": { "message": { "content": 7 } } });
    assert_eq!(said(&hear(&chat)), error("Error processing chat_message: content must be a text"));
    let mcp = json!({ "type": "mcp_server_action", "data": { "action": "explode", "server_id": "x" } });
    let fault = "Error processing mcp_server_action: action must be start, stop, restart or status";
    assert_eq!(said(&hear(&mcp)), error(fault));
    let mcp = json!({ "type": "mcp_server_action", "data": { "action": "stop" } });
    assert_eq!(said(&hear(&mcp)), error("Error processing mcp_server_action: server_id must be a text"));
    let reasoning = json!({ "type": "start_reasoning", "data": {} });
    assert_eq!(said(&hear(&reasoning)), error("Error processing start_reasoning: problem must be a text"));
    let long = json!({ "type": "x".repeat(100_000) });
    assert!(said(&hear(&long)).1.to_string().len() < 200);
}

#[test]
fn a_ping_is_answered_and_what_needs_no_answer_is_not() {
    let pong = ("pong".to_owned(), json!({ "timestamp": "2025-11-20T09:13:20.000Z" }));
    assert_eq!(said(&hear(&json!({ "type": "ping", "data": {} }))), pong);
    assert_eq!(said(&hear(&json!({ "type": "ping" }))), pong);
    for kind in ["select_agent", "subscribe_startup_events", "unsubscribe_startup_events"] {
        assert_eq!(hear(&json!({ "type": kind })), [], "{kind}");
    }
}

#[test]
fn over_socket_io_the_same_is_said_in_its_wrapping() {
    let socket_io = PyGent(Wrapping::SocketIo);
    let heard = socket_io.hear(r#"42["ping",{"timestamp":1}]"#, NOW_MS);
    assert_eq!(heard, [Action::Say(r#"42["pong",{"timestamp":"2025-11-20T09:13:20.000Z"}]"#.to_owned())]);
    let heard = socket_io.hear(r#"427["chat_message",{"content":"hi"}]"#, NOW_MS);
    assert!(matches!(&heard[..], [Action::Command(command)] if command.data["text"] == "hi"), "{heard:?}");
    let heard = socket_io.hear(r#"42["stop_reasoning"]"#, NOW_MS);
    assert!(matches!(&heard[..], [Action::Command(command)] if command.kind == "reasoning.stop"), "{heard:?}");
    let nonsense = [Action::Say(socket_io.error("Invalid message: expected JSON with type and data"))];
    assert_eq!(socket_io.hear("nonsense", NOW_MS), nonsense);
}

#[test]
fn a_refusal_has_the_shape_that_the_asker_listens_for() {
    let refused = |kind: &str| {
        let command = Command { kind: kind.to_owned(), id: None, session: None, agent: None, data: Value::Null };
        NATIVE.refused(&command, "no_runner", "nobody is there").expect("refusals are told")
    };
    let message = |kind: &str, data: Value| Wrapping::Native.frame(kind, &data);
    let both = json!({ "error": "nobody is there", "message": "nobody is there" });
    assert_eq!(refused("reasoning.start"), message("reasoning_error", both));
    assert_eq!(refused("metrics.request"), message("system_metrics_error", json!({ "error": "nobody is there" })));
    for (ours, theirs) in [("chat", "chat_message"), ("mcp.manage", "mcp_server_action"), ("x.y", "x.y")] {
        let text = format!("Error processing {theirs}: nobody is there");
        assert_eq!(refused(ours), message("error", json!({ "message": text })));
    }
}

#[test]
fn each_viewer_has_a_session_of_its_own_and_evolution_is_for_all() {
    let session = |kind: &str, viewer: &str| {
        let command = Command { kind: kind.to_owned(), id: None, session: None, agent: None, data: Value::Null };
        NATIVE.session_of(&command, viewer)
    };
    assert_eq!(session("chat", "alice").as_deref(), Some("chat-alice"));
    assert_eq!(session("reasoning.start", "alice"), session("reasoning.stop", "alice"));
    assert_ne!(session("reasoning.start", "alice"), session("reasoning.start", "bob"));
    assert_eq!(session("evolution.start", "alice"), session("evolution.stop", "bob"));
    assert_eq!(session("mcp.manage", "alice"), None);
    let long = ["é".repeat(64), format!("{}e", "é".repeat(63))]
        .map(|viewer| session("reasoning.start", &viewer).expect("each viewer has one"));
    assert!(long.iter().all(|session| session.len() <= 128), "{long:?}");
    assert_ne!(long[0], long[1]);
}

fn greeted(state: &Value) -> Vec<Value> {
    let project = "p".parse().expect("a name of a project");
    let view = View { project: &project, position: Position::ZERO, state, now_ms: NOW_MS };
    let mut out = Vec::new();
    NATIVE.greet(&view, false, &mut out);
    out.iter().map(|text| serde_json::from_str(text).expect("it is JSON")).collect()
}

#[test]
fn who_comes_is_told_what_is_open_and_nothing_else() {
    let state = json!({ "sessions": {
        "chat-a": { "status": "running", "mode": "chat" },
        "evolution": { "status": "running", "mode": "evolution", "progress": 25, "metadata": { "max_generations": 40, "population_size": 20 } },
        "old": { "status": "completed", "mode": "reasoning" },
        "reasoning-a": { "status": "running", "mode": "reasoning", "metadata": { "mode": "tot_only" } },
    } });
    let evolution = json!({ "isRunning": true, "currentGeneration": 10, "maxGenerations": 40, "populationSize": 20 });
    let reasoning = json!({ "isActive": true, "mode": "tot_only", "complexity": "moderate" });
    assert_eq!(
        greeted(&state),
        [
            json!({ "type": "evolution_progress", "data": { "session_id": "evolution", "state": evolution } }),
            json!({ "type": "reasoning_update", "data": { "session_id": "reasoning-a", "state": reasoning } }),
        ]
    );
    assert_eq!(greeted(&json!({ "sessions": {} })), [] as [Value; 0], "the protocol has no hello");
}

#[test]
fn the_system_status_counts_what_is_there() {
    let [Action::Present(ask)] = &hear(&json!({ "type": "get_system_status" }))[..] else { panic!() };
    let state = json!({ "approvals": [{}], "sessions": {
        "a": { "status": "running", "agents": { "x": {}, "y": {} } },
        "b": { "status": "failed", "agents": { "z": {} } },
    } });
    let project = "p".parse().expect("a name of a project");
    let view = View { project: &project, position: Position::ZERO, state: &state, now_ms: NOW_MS };
    let mut out = Vec::new();
    NATIVE.present(ask, &view, &mut out);
    let told: Value = serde_json::from_str(&out.concat()).expect("it is JSON");
    let status = json!({ "status": "healthy", "sessions": 2, "active_sessions": 1, "agents": 3, "approvals": 1, "timestamp": "2025-11-20T09:13:20.000Z" });
    assert_eq!(told, json!({ "type": "system_status", "data": status }));
    NATIVE.present(&Ask::Sessions, &view, &mut out);
    assert_eq!(out.len(), 1, "it never asked for that");
}

#[test]
fn a_failure_that_does_not_say_what_failed_is_told_by_its_session() {
    let types = |session: &str| {
        let event = wire::Event { r#type: "command.failed".into(), session: session.into(), ..wire::Event::default() };
        let envelope = json!({ "data": { "command_id": "c", "code": "model_error", "error": "gone" } });
        let project = "p".parse().expect("a name of a project");
        let told = Told { project: &project, position: Position::ZERO, event: &event, envelope: &envelope };
        let mut out = Vec::new();
        NATIVE.event(&told, &mut out);
        out.iter().map(|text| said(&[Action::Say(text.clone())]).0).collect::<Vec<_>>()
    };
    assert_eq!(types(&heard::session("chat", "alice")), ["chat_response", "typing_indicator"]);
    assert_eq!(types(&heard::session("reasoning", "alice")), ["reasoning_error"]);
    assert_eq!(types("evolution"), ["error"]);
    assert_eq!(types(""), ["error"]);
}
