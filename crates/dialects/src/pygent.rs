//! PyGent Factory: chat, reasoning and evolution over frames of `{type, data}`, and the same over Socket.IO.
//!
//! Owns the mapping of native events to its messages and of its clients' messages to commands (docs/dialects.md has both
//! as tables). Where the page that reads them and the server that used to send them disagreed, a message has the fields of
//! both. Socket.IO's own traffic (connecting, heartbeats) is [`crate::engine_io`]'s; here it is only another wrapping.

mod agents;
mod chat;
mod evolution;
mod fields;
mod heard;
mod metrics;
mod reasoning;
mod servers;
mod state;
#[cfg(test)]
mod tests;
mod wrapping;

use serde_json::{Value, json};

use crate::engine_io::packet;
use crate::told::{Told, View};
use crate::{Action, Ask, Command, Dialect};
use wrapping::Frames;

pub use wrapping::Wrapping;

/// The dialect, in one of its wrappings.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct PyGent(pub Wrapping);

impl PyGent {
    /// What a client says: a message's type and its data, whatever they were wrapped in.
    pub fn heard(&self, kind: &Value, data: &Value, now_ms: u64) -> Vec<Action> {
        heard::actions(self.0, kind, data, now_ms)
    }

    /// The message `error`, wrapped: what is said of anything that makes no sense.
    pub fn error(&self, message: &str) -> String {
        self.0.frame("error", &json!({ "message": message }))
    }
}

impl Dialect for PyGent {
    fn name(&self) -> &'static str {
        "pygent"
    }

    fn variant(&self) -> u8 {
        match self.0 {
            Wrapping::Native => 0,
            Wrapping::SocketIo => 1,
        }
    }

    fn event(&self, told: &Told<'_>, out: &mut Vec<String>) {
        let mut frames = Frames { wrapping: self.0, out };
        match told.kind() {
            "typing" => chat::typing(told, &mut frames),
            "message.completed" => chat::message(told, &mut frames),
            "command.failed" => chat::failed(told, &mut frames),
            "agent.started" | "agent.status" | "agent.finished" => agents::activity(told, &mut frames),
            "reasoning.started" => reasoning::started(told, &mut frames),
            "reasoning.step" => reasoning::step(told, &mut frames),
            "reasoning.completed" => reasoning::completed(told, &mut frames),
            "reasoning.failed" => reasoning::failed(told, &mut frames),
            "reasoning.stopped" => reasoning::stopped(told, &mut frames),
            "evolution.progress" => evolution::progress(told, &mut frames),
            "evolution.completed" => evolution::completed(told, &mut frames),
            "metrics.system" => metrics::system(told, &mut frames),
            "alert" => metrics::alert(told, &mut frames),
            "mcp.server" => servers::mcp_server(told, &mut frames),
            "mcp.tool" => servers::mcp_tool(told, &mut frames),
            "tool.completed" | "tool.failed" => servers::tool(told, &mut frames),
            "memory.updated" => servers::memory(told, &mut frames),
            "model.status" => servers::model_status(told, &mut frames),
            "model.list" => servers::model_list(told, &mut frames),
            "model.metrics" => servers::model_metrics(told, &mut frames),
            "model.error" => servers::model_error(told, &mut frames),
            kind => {
                // The page that starts services has messages of its own, which are nothing but their data.
                if let Some(rest) = kind.strip_prefix("startup.")
                    && told.data().is_object()
                {
                    frames.push(&format!("startup_{}", rest.replace('.', "_")), told.data());
                }
            }
        }
    }

    fn due(&self, _told: &Told<'_>) -> Option<Ask> {
        None
    }

    /// No greeting of its own: what of reasoning and evolution is open, and nothing else.
    fn greet(&self, view: &View<'_>, _resumed: bool, out: &mut Vec<String>) {
        state::open(view, &mut Frames { wrapping: self.0, out });
    }

    fn present(&self, ask: &Ask, view: &View<'_>, out: &mut Vec<String>) {
        if matches!(ask, Ask::Other(what) if what == state::SYSTEM_STATUS) {
            state::system_status(view, &mut Frames { wrapping: self.0, out });
        }
    }

    fn hear(&self, text: &str, now_ms: u64) -> Vec<Action> {
        let message = match self.0 {
            Wrapping::Native => {
                let message = serde_json::from_str(text).ok();
                message.map(|message: Value| (message["type"].clone(), message["data"].clone()))
            }
            Wrapping::SocketIo => packet::event(text).map(|event| {
                let data = event.arguments.into_iter().next().unwrap_or(Value::Null);
                (Value::String(event.name), data)
            }),
        };
        match message {
            Some((kind, data)) => self.heard(&kind, &data, now_ms),
            None => vec![Action::Say(self.error("Invalid message: expected JSON with type and data"))],
        }
    }

    /// The protocol has one conversation and one piece of reasoning for each user, and one evolution for all.
    fn session_of(&self, command: &Command, viewer: &str) -> Option<String> {
        match command.kind.split('.').next() {
            Some("chat") => Some(heard::session("chat", viewer)),
            Some("reasoning") => Some(heard::session("reasoning", viewer)),
            Some("evolution") => Some("evolution".to_owned()),
            _ => None,
        }
    }

    fn refused(&self, command: &Command, _code: &str, message: &str) -> Option<String> {
        let frame = match command.kind.as_str() {
            "reasoning.start" | "reasoning.stop" => {
                self.0.frame("reasoning_error", &json!({ "error": message, "message": message }))
            }
            "metrics.request" => self.0.frame("system_metrics_error", &json!({ "error": message })),
            kind => self.error(&format!("Error processing {}: {message}", heard::client_type(kind))),
        };
        Some(frame)
    }
}
