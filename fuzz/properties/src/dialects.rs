//! Dialects: what their clients say and ask for, and what is told of whatever runners post.

use std::sync::LazyLock;

use serde_json::{Value, json};
use tidings_commands::command::Command as Asked;
use tidings_dialects::agent_swarm::AgentSwarm;
use tidings_dialects::agentcraft::{AgentCraft, Shape};
use tidings_dialects::engine_io::packet::{self, Event, Packet, Said};
use tidings_dialects::pygent::{PyGent, Wrapping};
use tidings_dialects::{Action, Ask, Dialect, Told, VARIANTS_MAX, View};
use tidings_protocol::fold::{State, StateLimits};
use tidings_protocol::intake;
use tidings_protocol::position::{Branch, Position};
use tidings_protocol::project::Project;

use crate::input::Input;

#[path = "../../../services/gateway/src/dialects/asked.rs"]
mod asked;
mod requests;

pub(crate) use requests::requests;

const NOW_MS: u64 = 1_795_165_200_123;

/// What an answer may say beside what it repeats, in bytes.
const ANSWER_BYTES_MAX: usize = 512;

/// Names that Socket.IO has for itself: no event is called so.
const RESERVED: [&str; 6] =
    ["connect", "connect_error", "disconnect", "disconnecting", "newListener", "removeListener"];

/// A session with a little of everything that dialects look at.
static STATE: LazyLock<Value> = LazyLock::new(|| {
    let time = "2026-11-20T09:00:00.000Z";
    let agent = json!({"name": "A", "status": "working", "progress": 40, "started": time, "updated": time});
    let line = json!({"time": time, "agent": "a", "level": "error", "message": "m"});
    let session = json!({
        "status": "running", "title": "t", "started": time, "agents": {"a": agent}, "logs": [line],
        "outputs": [{"time": time, "content": "c"}], "stages": {"testing": {"status": "completed", "time": time}},
    });
    json!({"sessions": {"s": session}, "approvals": []})
});

fn project() -> Project {
    "p".parse().expect("a project's name")
}

fn branch() -> Branch {
    "abcdefghijkl".parse().expect("a branch's name")
}

/// Every dialect in every variant.
fn dialects() -> Vec<Box<dyn Dialect>> {
    let most = u8::try_from(VARIANTS_MAX).expect("it is small");
    let mut all: Vec<Box<dyn Dialect>> = Vec::new();
    all.extend((0..most).filter_map(AgentCraft::of_variant).map(|dialect| Box::new(dialect) as Box<dyn Dialect>));
    for session in [None, Some("s".to_owned())] {
        all.push(Box::new(AgentSwarm { session, batch: true, unbegun: None }));
    }
    all.push(Box::new(PyGent(Wrapping::Native)));
    all.push(Box::new(PyGent(Wrapping::SocketIo)));
    all
}

/// A message to a client, out of its wrapping.
fn message(dialect: &dyn Dialect, text: &str) -> Value {
    if dialect.name() == "pygent" && dialect.variant() == 1 {
        let event = packet::event(text).unwrap_or_else(|| panic!("no event: {text}"));
        let [data] = &event.arguments[..] else { panic!("it has one argument: {text}") };
        return json!({"type": event.name, "data": data});
    }
    let message: Value = serde_json::from_str(text).unwrap_or_else(|error| panic!("{error}: {text}"));
    assert!(message.is_object(), "{text}");
    message
}

/// Whatever a client says on its socket: its answers are messages of its protocol, no larger than what they repeat; what it
/// asks of state is told; what it asks of runners may be asked; and both wrappings of a protocol understand the same.
pub(crate) fn messages(data: &[u8]) {
    let Ok(text) = std::str::from_utf8(data) else { return };
    for dialect in dialects() {
        for action in dialect.hear(text, NOW_MS) {
            act(&*dialect, text, &action);
        }
    }
    wrapped(text);
}

fn act(dialect: &dyn Dialect, text: &str, action: &Action) {
    match action {
        Action::Say(answer) if dialect.name() == "agent_swarm" => assert_eq!(answer, "pong"),
        Action::Say(answer) => {
            assert!(answer.len() <= text.len() + ANSWER_BYTES_MAX, "{answer}");
            assert!(message(dialect, answer)["type"].is_string());
        }
        Action::Present(ask) => {
            assert_eq!(asked::ask(&asked::word(ask)), *ask, "an ask is the same behind its word");
            assert!(!presented(dialect, ask, &STATE).is_empty(), "whoever asks is told something: {ask:?}");
        }
        Action::Command(command) => {
            assert_eq!(dialect.name(), "pygent");
            let session = dialect.session_of(command, "alice");
            let mut wanted = Asked { session, ..Asked::new(&command.kind) };
            assert_eq!(wanted.check(), Ok(()), "only its data may be too much");
            wanted.data = Some(command.data.to_string());
            if let Err(refusal) = wanted.check() {
                assert_eq!(refusal.errors[0].field.as_deref(), Some("data"));
            }
            let refused = dialect.refused(command, "no_runner", "nobody is there").expect("a refusal is told");
            assert!(refused.len() <= ANSWER_BYTES_MAX && message(dialect, &refused)["data"].is_object());
        }
        Action::Become(variant) => {
            let shape = AgentCraft::of_variant(dialect.variant()).map(AgentCraft::shape);
            assert!(dialect.name() == "agentcraft" && shape.is_some());
            assert_eq!(AgentCraft::of_variant(*variant).map(AgentCraft::shape), shape);
        }
        Action::Close { .. } => {
            let read = serde_json::from_str::<Value>(text);
            assert!(dialect.name() == "agentcraft" && !read.is_ok_and(|message| message.is_object()));
        }
    }
}

/// What a client of `PyGent` says is understood alike in both wrappings, where both can say it.
fn wrapped(text: &str) {
    let Ok(said) = serde_json::from_str::<Value>(text) else { return };
    let Some(kind) = said["type"].as_str().filter(|kind| !RESERVED.contains(kind)) else { return };
    let event =
        Event { namespace: "/".to_owned(), id: None, name: kind.to_owned(), arguments: vec![said["data"].clone()] };
    let frame = Packet::Message(Said::Event(event).text()).text();
    let [native, socket_io] = [PyGent(Wrapping::Native), PyGent(Wrapping::SocketIo)];
    // Numbers may be written otherwise than they were read, once.
    let normal = |dialect: PyGent, text: &str| -> Vec<Value> {
        let actions = dialect.hear(text, NOW_MS).into_iter().map(|action| match action {
            Action::Say(text) => message(&dialect, &text),
            Action::Command(command) => {
                json!([command.kind, command.data.as_object().map(|data| data.keys().collect::<Vec<_>>())])
            }
            other => json!(format!("{other:?}")),
        });
        actions.collect()
    };
    assert_eq!(normal(native, text), normal(socket_io, &frame));
}

/// Whether there may be a number that no reader holds: ingest passes such, where no state is made of it.
fn has_big_number(json: &[u8]) -> bool {
    let has_exponent = json.windows(2).any(|pair| pair[0].is_ascii_digit() && matches!(pair[1], b'e' | b'E'));
    has_exponent || json.split(|byte| !byte.is_ascii_digit()).any(|digits| digits.len() > 300)
}

fn presented(dialect: &dyn Dialect, ask: &Ask, state: &Value) -> Vec<String> {
    let project = project();
    let view = View { project: &project, position: Position::ZERO, state, now_ms: NOW_MS };
    let mut out = Vec::new();
    dialect.present(ask, &view, &mut out);
    for text in &out {
        drop(message(dialect, text));
    }
    out
}

/// Whatever runners post and ingest takes: every dialect can read it and the state that it leads to, and tells it in messages
/// of its protocol; what it makes due can be told; and an ask that nobody made is told to nobody.
pub(crate) fn events(data: &[u8]) {
    let mut input = Input::new(data);
    let shift = u64::from(input.byte());
    let body = input.rest();
    for dialect in dialects() {
        if let Ok(text) = std::str::from_utf8(body) {
            presented(&*dialect, &Ask::Other(text.to_owned()), &STATE);
        }
    }
    let Some(events) = crate::intake::taken(body) else { return };
    let mut state = State::new(StateLimits::default());
    let project = project();
    let mut dues = Vec::new();
    for (event, n) in events.iter().zip(1..) {
        let position = Position::new(event.received_ms, n, branch());
        state.apply_event(position, event);
        let Some(envelope) = intake::envelope_value(&event.json) else {
            assert!(has_big_number(&event.json), "what was taken can be read");
            continue;
        };
        let told = Told { project: &project, position, event, envelope: &envelope };
        for dialect in dialects() {
            let mut out = Vec::new();
            dialect.event(&told, &mut out);
            for text in &out {
                drop(message(&*dialect, text));
            }
            let texts: Vec<&str> = out.iter().map(String::as_str).collect();
            if let Some(bundle) = dialect.bundle(&texts) {
                assert_eq!(message(&*dialect, &bundle)["messages"].as_array().map(Vec::len), Some(texts.len()));
            }
            dues.extend(dialect.due(&told));
        }
    }
    let mut snapshot = Vec::new();
    state.snapshot_json(&mut snapshot);
    let snapshot: Value = serde_json::from_slice(&snapshot).expect("what was taken folds to what can be read");
    serde_json::from_slice::<Value>(&state.sessions_json()).expect("and so do its sessions");
    let view = View { project: &project, position: state.position(), state: &snapshot, now_ms: NOW_MS + shift };
    for dialect in dialects() {
        for due in &dues {
            assert_eq!(asked::ask(&asked::word(due)), *due);
            presented(&*dialect, due, &snapshot);
        }
        for resumed in [false, true] {
            let mut out = Vec::new();
            dialect.greet(&view, resumed, &mut out);
            for text in &out {
                drop(message(&*dialect, text));
            }
        }
    }
    for shape in Shape::ALL {
        requests::read_state(shape, &view);
    }
}
