//! What clients say.
//!
//! Messages that the protocol's own server knew are checked as it did; those that only other pages of the system send are
//! handed to runners under `startup.*`, since only they know what they mean.

use serde_json::{Map, Value, json};
use tidings_protocol::timestamp;

use super::state::SYSTEM_STATUS;
use super::wrapping::Wrapping;
use crate::{Action, Ask, Command};

/// Longest session, in bytes.
const SESSION_BYTES_MAX: usize = 128;
/// As much of an unknown type is said back, in characters.
const TYPE_CHARS_MAX: usize = 128;

/// Messages whose data goes to a runner as it is: (the client's type, the command's).
const PASSED: [(&str, &str); 10] = [
    ("stop_reasoning", "reasoning.stop"),
    ("start_evolution", "evolution.start"),
    ("stop_evolution", "evolution.stop"),
    ("request_system_metrics", "metrics.request"),
    ("request_startup_status", "startup.status"),
    ("start_service", "startup.start_service"),
    ("stop_service", "startup.stop_service"),
    ("restart_service", "startup.restart_service"),
    ("start_sequence", "startup.start_sequence"),
    ("stop_sequence", "startup.stop_sequence"),
];

/// What to do about a message of this type.
pub(super) fn actions(wrapping: Wrapping, kind: &Value, data: &Value, now_ms: u64) -> Vec<Action> {
    let Some(kind) = kind.as_str() else {
        let kind = if kind.is_null() { "None".to_owned() } else { kind.to_string() };
        return say(wrapping, &format!("Unknown message type: {}", cut(&kind)));
    };
    let heard = match kind {
        "ping" => {
            let pong = json!({ "timestamp": timestamp::rfc3339(now_ms) });
            return vec![Action::Say(wrapping.frame("pong", &pong))];
        }
        "chat_message" => chat(data),
        "start_reasoning" => reasoning(data),
        "mcp_server_action" => mcp(data),
        "get_system_status" => return vec![Action::Present(Ask::Other(SYSTEM_STATUS.to_owned()))],
        // Every message of a conversation names its agent, and everybody is told of starting services.
        "select_agent" | "subscribe_startup_events" | "unsubscribe_startup_events" => return Vec::new(),
        kind => match PASSED.iter().find(|(theirs, _)| *theirs == kind) {
            Some((_, ours)) => Ok(command(ours, Value::Object(members(data)))),
            None => return say(wrapping, &format!("Unknown message type: {}", cut(kind))),
        },
    };
    match heard {
        Ok(command) => vec![Action::Command(command)],
        Err(fault) => say(wrapping, &format!("Error processing {kind}: {fault}")),
    }
}

/// The three shapes of a chat message: `{message: {content, agentId}}`, `{content, agent}`, `{message: text, agentType}`.
fn chat(data: &Value) -> Result<Command, &'static str> {
    let (of, content, agent) = match &data["message"] {
        Value::Object(_) => (&data["message"], &data["message"]["content"], &data["message"]["agentId"]),
        text @ Value::String(_) => (data, text, &data["agentType"]),
        _ => (data, &data["content"], &data["agent"]),
    };
    let text = content.as_str().ok_or("content must be a text")?;
    let agent = agent.as_str().filter(|agent| !agent.is_empty()).unwrap_or("general");
    let mut said = Map::from_iter([("text".to_owned(), json!(text)), ("agent".to_owned(), json!(agent))]);
    for name in ["metadata", "timestamp"] {
        if let Some(value) = of.get(name).or_else(|| data.get(name)) {
            said.insert(name.to_owned(), value.clone());
        }
    }
    if let Some(id) = of["id"].as_str() {
        said.insert("client_id".to_owned(), id.into());
    }
    Ok(command("chat", said.into()))
}

fn reasoning(data: &Value) -> Result<Command, &'static str> {
    let mut asked = members(data);
    match asked.get("problem") {
        Some(Value::String(_)) => {}
        _ => return Err("problem must be a text"),
    }
    if !asked.get("mode").is_some_and(Value::is_string) {
        asked.insert("mode".to_owned(), json!("adaptive"));
    }
    Ok(command("reasoning.start", asked.into()))
}

fn mcp(data: &Value) -> Result<Command, &'static str> {
    match data["action"].as_str() {
        Some("start" | "stop" | "restart" | "status") => {}
        _ => return Err("action must be start, stop, restart or status"),
    }
    match data["server_id"].as_str() {
        Some(id) if !id.is_empty() => Ok(command("mcp.manage", members(data).into())),
        _ => Err("server_id must be a text"),
    }
}

/// The client's type for a command: what messages about it name.
pub(super) fn client_type(kind: &str) -> &str {
    match kind {
        "chat" => "chat_message",
        "reasoning.start" => "start_reasoning",
        "mcp.manage" => "mcp_server_action",
        _ => PASSED.iter().find(|(_, ours)| *ours == kind).map_or(kind, |(theirs, _)| theirs),
    }
}

/// The session of a viewer for this purpose. Distinct viewers have distinct ones, also where the viewer's id leaves no room.
pub(super) fn session(purpose: &str, viewer: &str) -> String {
    let whole = format!("{purpose}-{viewer}");
    if whole.len() <= SESSION_BYTES_MAX {
        return whole;
    }
    // FNV-1a: what is cut off still tells them apart.
    let hash = viewer
        .bytes()
        .fold(0xcbf2_9ce4_8422_2325_u64, |hash, byte| (hash ^ u64::from(byte)).wrapping_mul(0x0000_0100_0000_01b3));
    let end = whole.floor_char_boundary(SESSION_BYTES_MAX - 17);
    format!("{}-{hash:016x}", &whole[..end])
}

/// What a command of this session most likely was; empty: anything.
pub(super) fn kind_of_session(session: &str) -> &'static str {
    match session.split_once('-') {
        Some(("chat", _)) => "chat",
        Some(("reasoning", _)) => "reasoning.start",
        _ => "",
    }
}

fn command(kind: &str, data: Value) -> Command {
    Command { kind: kind.to_owned(), id: None, session: None, agent: None, data }
}

fn members(data: &Value) -> Map<String, Value> {
    data.as_object().cloned().unwrap_or_default()
}

fn say(wrapping: Wrapping, message: &str) -> Vec<Action> {
    vec![Action::Say(wrapping.frame("error", &json!({ "message": message })))]
}

fn cut(text: &str) -> String {
    text.chars().take(TYPE_CHARS_MAX).collect()
}
