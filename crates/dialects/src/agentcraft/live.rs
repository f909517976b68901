//! Messages that an event says in full, without state.

use serde_json::Value;
use tidings_protocol::timestamp::rfc3339;

use super::message::{AgentInfo, AgentStatus, Collaboration, Log, Message, Metadata};
use super::words::{self, Status};
use crate::Told;

/// The type of an event whose `data` is told as it is: what `/api/ws/broadcast` was given.
pub const BROADCAST: &str = "agentcraft.broadcast";

/// The logger of a line that names no source.
const LOGGER: &str = "crewai";

/// What the line was said for, by words of it, the first that fits; as the original's front end shows it.
const EVENT_TYPES: [(&str, &[&str]); 6] = [
    ("task_start", &["starting", "begin"]),
    ("task_complete", &["completed", "finished"]),
    ("delegation", &["delegating", "asking"]),
    ("thinking", &["thinking", "analyzing"]),
    ("error", &["error", "failed"]),
    ("tool_use", &["tool"]),
];

/// A message for everybody, word for word.
pub(super) fn broadcast(told: &Told<'_>) -> Option<String> {
    (told.kind() == BROADCAST && told.data().is_object()).then(|| told.data().to_string())
}

/// Whether an `agent.status` says all that the flat message has to say, name and progress included; one that does not is told by
/// state.
pub(super) fn is_whole(told: &Told<'_>) -> bool {
    words::text(told.data(), "name").is_some() && words::progress(told.data()).is_some()
}

pub(super) fn agent_status<'a>(told: &Told<'a>) -> Option<Message<'a>> {
    let data = told.data();
    let (status, progress, message) = match told.kind() {
        "agent.started" => (Status::Idle, 0.0, words::text(data, "role")),
        "agent.status" if is_whole(told) => {
            let status = Status::parse(told.text("status").unwrap_or_default());
            let message = words::text(data, "message").or_else(|| words::text(data, "task"));
            (status, words::progress(data).unwrap_or_default(), message)
        }
        _ => return None,
    };
    Some(Message::AgentStatus(AgentStatus {
        agent_id: told.agent(),
        agent_name: words::text(data, "name").unwrap_or_else(|| told.agent()),
        status: status.upper(),
        progress: words::percent(progress),
        message: message.unwrap_or_default(),
        timestamp: rfc3339(told.time_ms()),
        metadata: Metadata {
            task_id: told.text("task_id"),
            estimated_completion: data.get("estimated_completion").unwrap_or(&Value::Null),
        },
    }))
}

pub(super) fn collaboration<'a>(told: &Told<'a>) -> Option<Message<'a>> {
    (told.kind() == "agent.collaboration").then(|| {
        Message::AgentCollaboration(Collaboration {
            primary_agent: told.text("primary").unwrap_or_default(),
            secondary_agent: told.text("secondary").unwrap_or_default(),
            collaboration_type: told.text("kind").unwrap_or("handoff"),
            reason: told.text("reason").unwrap_or_default(),
            timestamp: rfc3339(told.time_ms()),
        })
    })
}

/// A line of log streaming; `debug` is not streamed.
pub(super) fn crewai_log<'a>(told: &Told<'a>) -> Option<Message<'a>> {
    if told.kind() != "log" {
        return None;
    }
    let level = match told.text("level") {
        Some("debug") => return None,
        Some("warning") => "WARNING",
        Some("error") => "ERROR",
        _ => "INFO",
    };
    let details = &told.data()["details"];
    let logger = words::text(details, "logger").or_else(|| told.text("source")).unwrap_or(LOGGER);
    let raw_message = told.text("message").unwrap_or_default();
    let timestamp = words::seconds(told.time_ms());
    let agent = Some(told.agent()).filter(|agent| !agent.is_empty());
    let log = Log {
        timestamp,
        datetime: rfc3339(told.time_ms()),
        session_id: told.session(),
        level,
        logger,
        message: format!("{level} - {logger} - {raw_message}"),
        raw_message,
        source: "python_logger",
        module: words::text(details, "module").unwrap_or_default(),
        function: words::text(details, "function").unwrap_or_default(),
        line: details.get("line").and_then(Value::as_u64).unwrap_or_default(),
        event_type: words::text(details, "event_type").unwrap_or_else(|| event_type(raw_message)),
        agent_info: AgentInfo {
            agent_name: words::text(details, "agent_name").or(agent),
            task: words::text(details, "task"),
        },
    };
    Some(Message::CrewaiLog { timestamp, log: Box::new(log) })
}

fn event_type(message: &str) -> &'static str {
    let message = message.to_lowercase();
    let fits = |words: &[&str]| words.iter().any(|word| message.contains(word));
    EVENT_TYPES.iter().find(|(_, words)| fits(words)).map_or("general", |(name, _)| name)
}
