//! One hook, and the events that it becomes.

use serde_json::{Map, Value, json};
use tidings_protocol::effects::{cut_text, cut_value};

use super::{Approval, Decision, MAIN_AGENT};

/// What is told of a tool's input and output, in bytes of JSON: a transcript is not what dashboards show.
const TOOL_BYTES_MAX: usize = 16 * 1024;

/// A prompt, an answer, a reason, in bytes of text.
const TEXT_BYTES_MAX: usize = 32 * 1024;

/// What may be granted for good, in bytes of JSON: more is not offered.
const SUGGESTIONS_BYTES_MAX: usize = 16 * 1024;

/// A title, in bytes of text.
const TITLE_BYTES_MAX: usize = 200;

/// A name that the tool gives; ids of the envelope have at most as many bytes.
const NAME_BYTES_MAX: usize = 128;

/// The largest count: every reader of JSON holds it.
const COUNT_MAX: u64 = (1 << 53) - 1;

/// Collects the events of a hook.
pub(super) struct Events<'a> {
    hook: &'a Map<String, Value>,
    session: &'a str,
    kind: &'a str,
    fresh: &'a str,
    agent: String,
    pub(super) list: Vec<Value>,
}

impl<'a> Events<'a> {
    pub(super) fn new(hook: &'a Map<String, Value>, session: &'a str, kind: &'a str, fresh: &'a str) -> Events<'a> {
        let agent = hook.get("agent_id").and_then(Value::as_str).filter(|id| !id.is_empty()).unwrap_or(MAIN_AGENT);
        let agent = cut_text(agent, NAME_BYTES_MAX).into_owned();
        Events { hook, session, kind, fresh, agent, list: Vec::new() }
    }

    /// The hook's events. Some: it asks for a permission.
    pub(super) fn push(&mut self, deadline: &str) -> Option<Approval> {
        match self.kind {
            "SessionStart" => self.session_start(),
            "SessionEnd" => self.session_end(),
            "UserPromptSubmit" => self.prompt(),
            "PreToolUse" => self.tool_started(),
            "PostToolUse" => self.tool_completed(),
            "PostToolUseFailure" => self.tool_failed(),
            "PermissionRequest" => return Some(self.permission(deadline)),
            "Stop" => self.stop(),
            "StopFailure" => self.stop_failure(),
            "SubagentStart" => self.subagent_start(),
            "SubagentStop" => self.subagent_stop(),
            "Notification" => self.notification(),
            other => {
                let message = format!("hook {}", cut_text(other, NAME_BYTES_MAX));
                self.log("debug", &message);
            }
        }
        None
    }

    fn session_start(&mut self) {
        let source = self.text("source").unwrap_or("startup");
        if source == "compact" {
            // The same session goes on, with a shorter memory.
            return self.log("info", "the conversation was compacted");
        }
        let mut data = Map::new();
        data.insert("title".into(), json!(self.title()));
        data.insert("mode".into(), json!(cut_text(source, NAME_BYTES_MAX)));
        data.insert("metadata".into(), self.pick(&["cwd", "model", "permission_mode"]));
        self.event("session.started", data);
        let mut data = Map::new();
        data.insert("name".into(), json!("Claude Code"));
        if let Some(model) = self.text("model") {
            data.insert("role".into(), json!(cut_text(model, NAME_BYTES_MAX)));
        }
        self.agent_event("agent.started", data);
    }

    fn session_end(&mut self) {
        let reason = self.cut("reason", NAME_BYTES_MAX).unwrap_or_else(|| "other".into());
        self.event("session.completed", json!({"summary": reason}));
    }

    fn prompt(&mut self) {
        let Some(text) = self.cut("prompt", TEXT_BYTES_MAX) else { return };
        let line = cut_text(text.lines().next().unwrap_or_default(), TITLE_BYTES_MAX).into_owned();
        let message = json!({"message_id": format!("prompt-{}", self.fresh), "role": "user", "text": text});
        self.event("message.completed", message);
        self.agent_event("agent.status", json!({"status": "processing", "task": line}));
    }

    fn tool_started(&mut self) {
        let name = self.tool();
        self.agent_event("agent.status", json!({"status": "working", "task": name}));
        let mut data = self.call(&name);
        data.insert("input".into(), self.cut_json("tool_input"));
        self.agent_event("tool.started", data);
    }

    fn tool_completed(&mut self) {
        let name = self.tool();
        let mut data = self.call(&name);
        data.insert("output".into(), self.cut_json("tool_response"));
        self.duration(&mut data);
        self.agent_event("tool.completed", data);
        self.usage();
    }

    fn tool_failed(&mut self) {
        let name = self.tool();
        let mut data = self.call(&name);
        data.insert("error".into(), json!(self.cut("error", TEXT_BYTES_MAX).unwrap_or_else(|| "failed".into())));
        self.duration(&mut data);
        self.agent_event("tool.failed", data);
    }

    fn permission(&mut self, deadline: &str) -> Approval {
        let name = self.tool();
        let id = match self.text("tool_use_id") {
            Some(call) => format!("claude-code-{}", cut_text(call, NAME_BYTES_MAX - 16)),
            None => format!("claude-code-{}", self.fresh),
        };
        let suggestions = self
            .hook
            .get("permission_suggestions")
            .filter(|list| list.as_array().is_some_and(|suggestions| !suggestions.is_empty()))
            .filter(|list| list.to_string().len() <= SUGGESTIONS_BYTES_MAX);
        let options = if suggestions.is_some() { &Decision::OPTIONS[..] } else { &Decision::OPTIONS[..2] };
        self.agent_event("agent.status", json!({"status": "waiting", "task": name}));
        let input = self.cut_json("tool_input");
        let data = json!({
            "approval_id": id,
            "question": format!("May Claude Code use {name}?"),
            "options": options,
            "deadline": deadline,
            "tool": name,
            "input": input,
        });
        self.agent_event("approval.requested", data);
        Approval { id, suggestions: suggestions.cloned() }
    }

    fn stop(&mut self) {
        if let Some(text) = self.cut("last_assistant_message", TEXT_BYTES_MAX) {
            let message = json!({"message_id": format!("answer-{}", self.fresh), "role": "assistant", "text": text});
            self.agent_event("message.completed", message);
        }
        self.agent_event("agent.status", json!({"status": "idle"}));
    }

    fn stop_failure(&mut self) {
        let error = self.cut("error", TEXT_BYTES_MAX).unwrap_or_else(|| "the turn failed".into());
        self.log("error", &error);
        self.agent_event("agent.status", json!({"status": "failed", "message": error}));
    }

    fn subagent_start(&mut self) {
        let kind = self.cut("agent_type", NAME_BYTES_MAX).unwrap_or_else(|| "agent".into());
        self.agent_event("agent.started", json!({"name": kind, "role": kind}));
        if let (false, Some(event)) = (self.agent == MAIN_AGENT, self.list.last_mut()) {
            event["parent"] = json!(MAIN_AGENT);
        }
    }

    fn subagent_stop(&mut self) {
        let mut data = Map::new();
        data.insert("outcome".into(), json!("completed"));
        if let Some(text) = self.cut("last_assistant_message", TEXT_BYTES_MAX) {
            data.insert("summary".into(), json!(text));
        }
        self.agent_event("agent.finished", data);
    }

    fn notification(&mut self) {
        let message = self.cut("message", TEXT_BYTES_MAX).unwrap_or_else(|| "notification".into());
        self.log("info", &message);
        if self.text("notification_type") == Some("idle_prompt") {
            self.agent_event("agent.status", json!({"status": "waiting", "message": message}));
        }
    }

    /// Where a tool's answer says what it used: a sub-agent's does.
    fn usage(&mut self) {
        let Some(usage) = self.hook.get("tool_response").and_then(|response| response.get("usage")) else { return };
        let count = |name: &str| usage.get(name).and_then(Value::as_u64).filter(|count| *count <= COUNT_MAX);
        let cached = ["cache_read_input_tokens", "cache_creation_input_tokens"];
        let cached = cached.into_iter().filter_map(count).fold(0, u64::saturating_add);
        let (Some(input), Some(output)) = (count("input_tokens"), count("output_tokens")) else { return };
        let input = input.saturating_add(cached).min(COUNT_MAX);
        let data = json!({"input_tokens": input, "output_tokens": output});
        self.agent_event("usage", data);
    }

    fn call(&self, name: &str) -> Map<String, Value> {
        let call = self.cut("tool_use_id", NAME_BYTES_MAX).unwrap_or_else(|| format!("call-{}", self.fresh));
        let members = [("call_id", json!(call)), ("name", json!(name))];
        members.into_iter().map(|(name, value)| (name.to_owned(), value)).collect()
    }

    fn duration(&self, data: &mut Map<String, Value>) {
        let response = self.hook.get("tool_response").and_then(|response| response.get("totalDurationMs"));
        let ms = self.hook.get("duration_ms").or(response).and_then(Value::as_u64);
        if let Some(ms) = ms.filter(|ms| *ms <= COUNT_MAX) {
            data.insert("duration_ms".into(), json!(ms));
        }
    }

    fn log(&mut self, level: &str, message: &str) {
        let data = json!({"level": level, "message": message, "source": "claude-code"});
        self.event("log", data);
    }

    /// The directory's name: what people know a session by before it has said anything.
    fn title(&self) -> String {
        let directory = self.text("cwd").unwrap_or_default();
        let name = directory.rsplit(['/', '\\']).find(|part| !part.is_empty()).unwrap_or("Claude Code");
        cut_text(name, TITLE_BYTES_MAX).into_owned()
    }

    fn tool(&self) -> String {
        self.cut("tool_name", NAME_BYTES_MAX).unwrap_or_else(|| "tool".into())
    }

    fn pick(&self, names: &[&str]) -> Value {
        let members = names.iter().filter_map(|name| Some(((*name).to_owned(), json!(self.cut(name, 1_024)?))));
        members.collect::<Map<String, Value>>().into()
    }

    fn text(&self, name: &str) -> Option<&'a str> {
        self.hook.get(name).and_then(Value::as_str).filter(|text| !text.is_empty())
    }

    fn cut(&self, name: &str, bytes_max: usize) -> Option<String> {
        self.text(name).map(|text| cut_text(text, bytes_max).into_owned())
    }

    fn cut_json(&self, name: &str) -> Value {
        self.hook.get(name).map_or(Value::Null, |value| cut_value(value, TOOL_BYTES_MAX))
    }

    fn event(&mut self, kind: &str, data: impl Into<Value>) {
        let session = cut_text(self.session, NAME_BYTES_MAX);
        self.list.push(json!({"type": kind, "session": session, "data": data.into()}));
    }

    fn agent_event(&mut self, kind: &str, data: impl Into<Value>) {
        self.event(kind, data);
        if let Some(event) = self.list.last_mut() {
            event["agent"] = json!(self.agent);
        }
    }
}
