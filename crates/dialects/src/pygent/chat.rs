//! The conversation: answers, who is typing, and what became of a message that nobody could answer.

use serde_json::{Value, json};

use super::fields::{list, number, plain, text, time, with};
use super::heard;
use super::wrapping::Frames;
use crate::told::Told;

/// Who types, unless the runner says.
const TYPIST: &str = "ai_agent";

/// `typing` to `typing_indicator`.
pub(super) fn typing(told: &Told<'_>, frames: &mut Frames<'_>) {
    let typing = told.data()["typing"] == json!(true);
    frames.push("typing_indicator", &json!({ "user_id": text(told.data(), "user", TYPIST), "typing": typing }));
}

/// `message.completed` to `chat_response`. What people say is not told: their own page shows it already.
pub(super) fn message(told: &Told<'_>, frames: &mut Frames<'_>) {
    let role = told.text("role").unwrap_or_default();
    if role == "user" {
        return;
    }
    let data = told.data();
    let agent = agent_of(told);
    let given = &data["metadata"];
    let metadata = json!({
        "agent_type": text(given, "agent_type", &agent),
        "processing_time": number(given, "processing_time"),
        "confidence": number(given, "confidence"),
        "reasoning_path": list(given, "reasoning_path"),
    });
    let mut message = json!({
        "id": message_id(told.text("message_id").unwrap_or(&told.event.id)),
        "type": if role == "system" { "system" } else { "agent" },
        "content": text(data, "text", ""),
        "timestamp": time(told),
        "agentId": agent,
        "metadata": with(metadata, given),
    });
    if given["error"] == json!(true) {
        message["error"] = json!(true);
    }
    frames.push("chat_response", &json!({ "message": message }));
}

/// `command.failed` to the error of what was asked, by its `type`, or where a runner does not say that, by the session.
pub(super) fn failed(told: &Told<'_>, frames: &mut Frames<'_>) {
    let error = told.text("error").or_else(|| told.text("code")).unwrap_or("failed");
    let kind = told.text("type").unwrap_or_else(|| heard::kind_of_session(told.session()));
    match kind {
        "chat" => {
            let message = json!({
                "id": message_id(told.text("command_id").unwrap_or(&told.event.id)),
                "type": "agent",
                "content": error,
                "timestamp": time(told),
                "agentId": agent_of(told),
                "metadata": { "agent_type": agent_of(told), "processing_time": 0, "confidence": 0, "reasoning_path": [] },
                "error": true,
            });
            frames.push("chat_response", &json!({ "message": message }));
            frames.push("typing_indicator", &json!({ "user_id": TYPIST, "typing": false }));
        }
        "reasoning.start" | "reasoning.stop" => super::reasoning::failed(told, frames),
        "metrics.request" => frames.push("system_metrics_error", &json!({ "error": error })),
        "" => frames.push("error", &json!({ "message": format!("Error processing request: {error}") })),
        kind => {
            let kind = heard::client_type(kind);
            frames.push("error", &json!({ "message": format!("Error processing {kind}: {error}") }));
        }
    }
}

/// The agent that speaks: the kind of agent that the page chose, as a rule.
fn agent_of(told: &Told<'_>) -> String {
    let data = told.data();
    let named = [&data["metadata"]["agentId"], &data["metadata"]["agent"], &data["agent"]];
    let named = named.into_iter().find(|name| name.is_string());
    match named {
        Some(name) => plain(name),
        None if told.agent().is_empty() => "general".to_owned(),
        None => told.agent().to_owned(),
    }
}

/// Ids of messages begin alike.
fn message_id(id: &str) -> Value {
    if id.starts_with("msg_") { id.into() } else { format!("msg_{id}").into() }
}
