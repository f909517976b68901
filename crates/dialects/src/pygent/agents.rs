//! What agents are at: `agent_activity`.

use serde_json::{Value, json};

use super::fields::{object, text, time};
use super::wrapping::Frames;
use crate::told::Told;

/// The kinds that the page tells apart.
const KINDS: [&str; 5] = ["thinking", "status", "response", "task_created", "error"];

/// `agent.started`, `agent.status`, `agent.finished`.
pub(super) fn activity(told: &Told<'_>, frames: &mut Frames<'_>) {
    let data = told.data();
    let (kind, status, content) = match told.kind() {
        "agent.started" => ("status", "started", None),
        "agent.finished" => {
            let outcome = told.text("outcome").unwrap_or("completed");
            let failed = matches!(outcome, "failed" | "failure" | "error");
            (if failed { "error" } else { "response" }, outcome, told.text("summary"))
        }
        _ => {
            let status = told.text("status").unwrap_or("idle");
            let kind = match status {
                "analyzing" => "thinking",
                "failed" => "error",
                _ => "status",
            };
            (kind, status, told.text("message").or_else(|| told.text("task")))
        }
    };
    let details = object(data, "details");
    let asked = details["activity_type"].as_str().and_then(|asked| KINDS.into_iter().find(|kind| *kind == asked));
    let mut metadata = json!({ "status": status, "details": details, "timestamp": time(told) });
    for name in ["confidence", "reasoning_step", "task_id"] {
        let value = data.get(name).or_else(|| details.get(name)).unwrap_or(&Value::Null);
        if !value.is_null() {
            metadata[name] = value.clone();
        }
    }
    frames.push(
        "agent_activity",
        &json!({
            "id": format!("activity_{}", told.event.id),
            "timestamp": time(told),
            "activity_type": asked.unwrap_or(kind),
            "agent": text(data, "name", told.agent()),
            "content": content.map_or_else(|| format!("Agent {status}"), str::to_owned),
            "metadata": metadata,
        }),
    );
}
