//! Effects: what a known event does to the project's state (docs/log.md L16), as generic steps on named cells.
//!
//! Ingest calls [`effects_of`] once and stores the result beside the event; everything behind it folds effects and never
//! reads `data` again. Pure: the same event always gives the same effects. What is copied into state is cut to the
//! constants below (see `cut_value`), and names of cells to [`NAME_BYTES_MAX`]: the log keeps the whole, state a digest.
//!
//! Where a type lies in the lane `latest`, its effects only ever set and delete, and which cells they touch depends on
//! type, session, agent and the top-level names of `data` alone. Compaction (docs/log.md L15) rests on that.

mod cut;

#[cfg(test)]
mod tests;

use serde_json::{Map, Value, json};

pub use cut::{MARK, text as cut_text, value as cut_value};

use crate::wire::{Effect, effect::Op};

/// Names of cells (agents, stages, tools, ids), in bytes.
pub const NAME_BYTES_MAX: usize = 128;
/// A title, or another line shown in lists, in bytes of text.
pub const TITLE_BYTES_MAX: usize = 512;
/// A message of a log line or a status, an error, a task, in bytes of text.
pub const MESSAGE_BYTES_MAX: usize = 2 * 1024;
/// An output, a last message, a result, in bytes of text.
pub const CONTENT_BYTES_MAX: usize = 8 * 1024;
/// Free-form JSON (`details`, `metadata`, `options`), in bytes of JSON.
pub const DETAILS_BYTES_MAX: usize = 4 * 1024;
/// Each part of the fleet's picture (agents, edges, positions), in bytes of JSON.
pub const FLEET_BYTES_MAX: usize = 32 * 1024;
/// Newest log lines that a session keeps.
pub const LOGS_MAX: u32 = 200;
/// Newest outputs that a session keeps.
pub const OUTPUTS_MAX: u32 = 20;

/// The types that have effects; every other one leaves state as it is.
pub const TYPES_WITH_STATE: [&str; 22] = [
    "agent.collaboration",
    "agent.finished",
    "agent.removed",
    "agent.started",
    "agent.status",
    "approval.requested",
    "approval.resolved",
    "log",
    "message.completed",
    "output",
    "session.cancelled",
    "session.completed",
    "session.failed",
    "session.lost",
    "session.progress",
    "session.stage",
    "session.started",
    "swarm.topology",
    "tool.completed",
    "tool.failed",
    "tool.started",
    "usage",
];

/// What an event is about: its envelope, as far as state cares.
#[derive(Debug, Clone, Copy, Default)]
pub struct Subject<'a> {
    /// The event's `type`.
    pub kind: &'a str,
    /// Empty: none.
    pub session: &'a str,
    /// Empty: none.
    pub agent: &'a str,
    /// The agent that started this one; empty: none.
    pub parent: &'a str,
    /// The event's id.
    pub id: &'a str,
    /// The runner's time, RFC 3339, or ingest's where the runner gave none.
    pub time: &'a str,
}

/// The effects of an event. Unknown types, and known ones without the session (or agent) that their state needs, have
/// none: validation refuses those before. (The fleet is the project's, so a topology needs no session.) Parts of `data` that are absent or of another kind are skipped one by one.
pub fn effects_of(subject: &Subject<'_>, data: &Value) -> Vec<Effect> {
    if subject.session.is_empty() && subject.kind != "swarm.topology" {
        return Vec::new();
    }
    let mut out = Effects { subject, data, list: Vec::new() };
    match subject.kind {
        "session.started" => out.session_started(),
        "session.progress" => out.session_progress(),
        "session.stage" => out.session_stage(),
        "session.completed" => {
            out.session_ended("completed", &["result", "url", "completion_url", "deployment_url", "summary"]);
        }
        "session.failed" => out.session_ended("failed", &["error", "code", "retryable"]),
        "session.cancelled" => out.session_ended("cancelled", &["reason"]),
        "session.lost" => out.set(&["lost"], &json!(subject.time)),
        "log" => out.log(),
        "output" => out.output(),
        "message.completed" => out.message(),
        "tool.started" | "tool.completed" | "tool.failed" => out.tool(),
        "usage" => out.usage(),
        "swarm.topology" => out.topology(),
        "approval.requested" | "approval.resolved" => out.approval(),
        "agent.collaboration" => out.collaboration(),
        kind if kind.starts_with("agent.") && !subject.agent.is_empty() => out.agent(kind),
        _ => {}
    }
    out.list
}

/// Collects the effects of one event.
struct Effects<'a> {
    subject: &'a Subject<'a>,
    data: &'a Value,
    list: Vec<Effect>,
}

impl Effects<'_> {
    fn session_started(&mut self) {
        self.set(&["status"], &json!("running"));
        self.set(&["started"], &json!(self.subject.time));
        self.copy(&[], "title", "title", Size::Text(TITLE_BYTES_MAX));
        self.copy(&[], "mode", "mode", Size::Text(NAME_BYTES_MAX));
        self.copy(&[], "agents", "planned_agents", Size::Json(DETAILS_BYTES_MAX));
        self.copy(&[], "metadata", "metadata", Size::Json(DETAILS_BYTES_MAX));
        // A session that is started again leaves its former end behind.
        for cell in ["ended", "outcome", "lost"] {
            self.delete(&[cell]);
        }
    }

    /// Sets no status: a straggler's progress must not reopen a session that has ended.
    fn session_progress(&mut self) {
        for name in ["progress", "phase", "stage", "message"] {
            self.copy(&[], name, name, Size::Text(MESSAGE_BYTES_MAX));
        }
        self.delete(&["lost"]);
    }

    fn session_stage(&mut self) {
        let Some(stage) = self.name("stage") else { return };
        let mut value = self.digest(&["status", "message"], MESSAGE_BYTES_MAX);
        value.insert("time".into(), json!(self.subject.time));
        self.set(&["stages", &stage], &Value::Object(value));
        if self.data.get("status").and_then(Value::as_str) == Some("started") {
            self.set(&["stage"], &json!(stage));
        }
        self.delete(&["lost"]);
    }

    /// One cell for all that the end says, so that two ends never mix.
    fn session_ended(&mut self, status: &str, names: &[&str]) {
        self.set(&["status"], &json!(status));
        self.set(&["ended"], &json!(self.subject.time));
        let outcome = self.digest(names, CONTENT_BYTES_MAX);
        self.set(&["outcome"], &Value::Object(outcome));
        // Nothing waits for an answer, or runs, in a session that is over.
        for cell in ["approvals", "running", "lost"] {
            self.delete(&[cell]);
        }
    }

    fn agent(&mut self, kind: &str) {
        let agent = name_of(self.subject.agent);
        let agent = ["agents", &agent];
        let time = json!(self.subject.time);
        match kind {
            "agent.started" => {
                self.set_in(&agent, "status", &json!("idle"));
                self.set_in(&agent, "started", &time);
                for name in ["name", "role"] {
                    self.copy(&agent, name, name, Size::Text(NAME_BYTES_MAX));
                }
                if !self.subject.parent.is_empty() {
                    self.set_in(&agent, "parent", &json!(name_of(self.subject.parent)));
                }
                for cell in ["ended", "outcome", "summary"] {
                    self.delete(&[agent[0], agent[1], cell]);
                }
            }
            "agent.status" => {
                self.set_in(&agent, "updated", &time);
                for name in ["name", "status", "progress", "task_id", "estimated_completion"] {
                    self.copy(&agent, name, name, Size::Text(NAME_BYTES_MAX));
                }
                for name in ["message", "task"] {
                    self.copy(&agent, name, name, Size::Text(MESSAGE_BYTES_MAX));
                }
                self.copy(&agent, "details", "details", Size::Json(DETAILS_BYTES_MAX));
            }
            "agent.finished" => {
                let failed =
                    matches!(self.data.get("outcome").and_then(Value::as_str), Some("failed" | "failure" | "error"));
                self.set_in(&agent, "status", &json!(if failed { "failed" } else { "completed" }));
                self.set_in(&agent, "ended", &time);
                self.copy(&agent, "outcome", "outcome", Size::Text(MESSAGE_BYTES_MAX));
                self.copy(&agent, "summary", "summary", Size::Text(CONTENT_BYTES_MAX));
            }
            "agent.removed" => self.delete(&agent),
            _ => {}
        }
    }

    fn collaboration(&mut self) {
        let (Some(primary), Some(secondary)) = (self.name("primary"), self.name("secondary")) else { return };
        let kind = self.name("kind").unwrap_or_else(|| "handoff".into());
        self.add(&["collaborations", &primary, &secondary, &kind], 1);
    }

    fn log(&mut self) {
        let mut line = self.digest(&["level", "message", "source", "emoji"], MESSAGE_BYTES_MAX);
        self.stamp(&mut line);
        self.push("logs", &Value::Object(line), LOGS_MAX);
    }

    fn output(&mut self) {
        let mut item = self.digest(&["kind", "content"], CONTENT_BYTES_MAX);
        self.stamp(&mut item);
        self.push("outputs", &Value::Object(item), OUTPUTS_MAX);
    }

    fn message(&mut self) {
        let mut message = self.digest(&["message_id", "role", "text", "by"], CONTENT_BYTES_MAX);
        self.stamp(&mut message);
        self.set(&["last_message"], &Value::Object(message));
    }

    /// Calls, failures and times count where a call ends.
    fn tool(&mut self) {
        if let Some(call) = self.name("call_id") {
            if self.subject.kind == "tool.started" {
                let mut value = Map::new();
                self.stamp(&mut value);
                if let Some(name) = self.name("name") {
                    value.insert("name".into(), json!(name));
                }
                self.set(&["running", &call], &Value::Object(value));
            } else {
                self.delete(&["running", &call]);
            }
        }
        let Some(tool) = self.name("name") else { return };
        if self.subject.kind == "tool.started" {
            return;
        }
        self.add(&["tools", &tool, "calls"], 1);
        if self.subject.kind == "tool.failed" {
            self.add(&["tools", &tool, "failures"], 1);
        }
        self.add(&["tools", &tool, "total_ms"], integer(self.data.get("duration_ms"), 1.0));
    }

    /// Counted for the session, for the project, and for the project per model.
    fn usage(&mut self) {
        let counts = [
            ("input_tokens", integer(self.data.get("input_tokens"), 1.0)),
            ("output_tokens", integer(self.data.get("output_tokens"), 1.0)),
            ("cost_micro_usd", integer(self.data.get("cost_usd"), 1e6)),
        ];
        let model = self.name("model");
        for (cell, count) in counts {
            self.add(&["usage", cell], count);
            self.add_project(&["usage", cell], count);
            if let Some(model) = &model {
                self.add_project(&["usage", "models", model, cell], count);
            }
        }
    }

    fn topology(&mut self) {
        if !self.subject.session.is_empty() {
            self.set_project(&["fleet", "session"], &json!(self.subject.session));
        }
        self.set_project(&["fleet", "time"], &json!(self.subject.time));
        for name in ["topology", "agents", "edges", "positions"] {
            if let Some(value) = self.data.get(name) {
                self.set_project(&["fleet", name], &cut::value(value, FLEET_BYTES_MAX));
            }
        }
    }

    fn approval(&mut self) {
        let Some(approval) = self.name("approval_id") else { return };
        if self.subject.kind == "approval.resolved" {
            return self.delete(&["approvals", &approval]);
        }
        let mut value = self.digest(&["question", "options", "deadline", "tool", "input"], DETAILS_BYTES_MAX);
        if value.get("options") != self.data.get("options") {
            value.insert("options_cut".into(), json!(true));
        }
        value.insert("approval_id".into(), json!(approval));
        value.insert("session".into(), json!(self.subject.session));
        self.stamp(&mut value);
        self.set(&["approvals", &approval], &Value::Object(value));
    }

    /// Who and when, on an item that is shown alone.
    fn stamp(&self, item: &mut Map<String, Value>) {
        item.insert("time".into(), json!(self.subject.time));
        item.insert("id".into(), json!(self.subject.id));
        if !self.subject.agent.is_empty() {
            item.insert("agent".into(), json!(self.subject.agent));
        }
    }

    /// The named parts of `data`, those that are there, together within `bytes_max` of JSON each.
    fn digest(&self, names: &[&str], bytes_max: usize) -> Map<String, Value> {
        let present = names.iter().filter_map(|name| Some((*name, self.data.get(name)?)));
        present.map(|(name, value)| (name.to_owned(), cut::value(value, bytes_max))).collect()
    }

    /// A part of `data` that names a cell.
    fn name(&self, part: &str) -> Option<String> {
        match self.data.get(part)? {
            Value::String(text) => Some(name_of(text)),
            Value::Number(number) => Some(number.to_string()),
            _ => None,
        }
    }

    /// Sets `cell` below `at` from the part `name` of `data`, if that is there.
    fn copy(&mut self, at: &[&str], name: &str, cell: &str, size: Size) {
        if let Some(value) = self.data.get(name) {
            let value = match (value, size) {
                (Value::String(text), Size::Text(max)) => Value::String(cut::text(text, max).into_owned()),
                (_, Size::Text(max) | Size::Json(max)) => cut::value(value, max),
            };
            self.set_in(at, cell, &value);
        }
    }

    fn set_in(&mut self, at: &[&str], cell: &str, value: &Value) {
        let path: Vec<&str> = at.iter().copied().chain([cell]).collect();
        self.set(&path, value);
    }

    fn set(&mut self, path: &[&str], value: &Value) {
        self.effect(Op::Set, false, path, Effect { value: value.to_string().into(), ..Effect::default() });
    }

    fn set_project(&mut self, path: &[&str], value: &Value) {
        self.effect(Op::Set, true, path, Effect { value: value.to_string().into(), ..Effect::default() });
    }

    fn add(&mut self, path: &[&str], number: i64) {
        self.effect(Op::Add, false, path, Effect { number, ..Effect::default() });
    }

    fn add_project(&mut self, path: &[&str], number: i64) {
        self.effect(Op::Add, true, path, Effect { number, ..Effect::default() });
    }

    fn push(&mut self, cell: &str, value: &Value, limit: u32) {
        self.effect(Op::Push, false, &[cell], Effect { value: value.to_string().into(), limit, ..Effect::default() });
    }

    fn delete(&mut self, path: &[&str]) {
        self.effect(Op::Delete, false, path, Effect::default());
    }

    fn effect(&mut self, op: Op, project: bool, path: &[&str], rest: Effect) {
        let path = path.iter().map(|&name| name.to_owned()).collect();
        self.list.push(Effect { op: op.into(), project, path, ..rest });
    }
}

/// How a copied part is cut.
#[derive(Clone, Copy)]
enum Size {
    /// Bytes of text.
    Text(usize),
    /// Bytes of JSON.
    Json(usize),
}

/// The name of a cell: without control characters (they would break paths apart) and at most [`NAME_BYTES_MAX`].
fn name_of(text: &str) -> String {
    let text = cut::text(text, NAME_BYTES_MAX);
    if text.chars().any(char::is_control) {
        return text.chars().map(|c| if c.is_control() { '_' } else { c }).collect();
    }
    text.into_owned()
}

/// A number times `scale`, rounded to the nearest integer; 0 for anything else. Integers stay exact at scale 1.
fn integer(value: Option<&Value>, scale: f64) -> i64 {
    let Some(value) = value else { return 0 };
    match (value.as_i64(), value.as_f64()) {
        #[allow(clippy::float_cmp)] // The literal 1.0 is passed through unchanged.
        (Some(number), _) if scale == 1.0 => number,
        // `as` saturates, and gives 0 for a number that is none.
        #[allow(clippy::cast_possible_truncation)]
        (_, Some(number)) => (number * scale).round() as i64,
        _ => 0,
    }
}
