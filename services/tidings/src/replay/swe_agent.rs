//! SWE-agent trajectories: one agent that thinks, acts and observes, step by step.
//!
//! A run becomes a session, a thought a step of reasoning, an action a tool call with its observation as the output, the
//! submission an output. Only `execution_time` tells of time: it is how long a tool ran.

use std::time::Duration;

use serde_json::{Map, Value, json};
use tidings_protocol::effects::cut_text;

use super::cut::Cutter;
use super::recording::{Fault, Faults, Format, Pause, Place, Recording, Step};
use crate::client::draft::Draft;

/// Bytes of a title, or of a command in a status.
const TITLE_BYTES_MAX: usize = 160;

/// Bytes of a tool's name.
const TOOL_NAME_BYTES_MAX: usize = 64;

/// Who acts, where the file does not say.
const AGENT: &str = "agent";

/// One step of a trajectory.
struct Action<'a> {
    thought: &'a str,
    action: &'a str,
    observation: &'a str,
    took: Option<f64>,
}

/// Maps a file; `name` becomes its session's.
pub(super) fn map(file: &Map<String, Value>, name: &str) -> Result<Recording, Faults> {
    let list = file.get("trajectory").and_then(Value::as_array).map_or(&[][..], Vec::as_slice);
    let (mut actions, mut faults) = (Vec::new(), Vec::new());
    for (index, step) in list.iter().enumerate() {
        match action(step) {
            Ok(action) => actions.push(action),
            Err(what) => faults.push(Fault::new(place(index), what)),
        }
    }
    if !faults.is_empty() {
        return Err(Faults(faults));
    }
    let history = file.get("history").and_then(Value::as_array).map_or(&[][..], Vec::as_slice);
    let agent = history.iter().find_map(|entry| entry.get("agent")?.as_str()).unwrap_or(AGENT);
    let mut mapper = Mapper {
        recording: Recording::new(Format::SweAgent),
        cutter: Cutter::default(),
        session: name,
        agent,
        place: Place::Whole,
    };
    mapper.begin(file, task(history));
    for (index, action) in actions.iter().enumerate() {
        mapper.place = place(index);
        mapper.step(index, actions.len(), action);
    }
    mapper.place = Place::Whole;
    mapper.end(file.get("info").unwrap_or(&Value::Null));
    mapper.recording.cut = mapper.cutter.count;
    Ok(mapper.recording)
}

fn place(index: usize) -> Place {
    Place::Index(Some("trajectory".to_owned()), index)
}

fn action(step: &Value) -> Result<Action<'_>, String> {
    let step = step.as_object().ok_or("is no object")?;
    let text = |name: &str| match step.get(name) {
        None | Some(Value::Null) => Ok(""),
        Some(Value::String(text)) => Ok(text.as_str()),
        Some(_) => Err(format!("`{name}` is no string")),
    };
    if !step.contains_key("action") || !step.contains_key("observation") {
        return Err("has no `action` and `observation`".to_owned());
    }
    let (thought, response) = (text("thought")?, text("response")?);
    let thought = if thought.trim().is_empty() { response } else { thought };
    let took = step.get("execution_time").and_then(Value::as_f64).filter(|took| *took >= 0.0);
    Ok(Action { thought, action: text("action")?, observation: text("observation")?, took })
}

/// What the agent was asked: the first message of a user that is no demonstration.
fn task(history: &[Value]) -> Option<&str> {
    let is_task = |entry: &&Value| {
        entry.get("role").and_then(Value::as_str) == Some("user")
            && entry.get("is_demo").and_then(Value::as_bool) != Some(true)
    };
    history.iter().find(is_task)?.get("content")?.as_str()
}

/// One line for a task: the line behind `ISSUE:`, else the first one.
fn title(task: &str) -> String {
    let text = task.split_once("ISSUE:").map_or(task, |(_, issue)| issue);
    let line = text.lines().map(str::trim).find(|line| !line.is_empty()).unwrap_or_default();
    cut_text(line, TITLE_BYTES_MAX).into_owned()
}

struct Mapper<'a> {
    recording: Recording,
    cutter: Cutter,
    session: &'a str,
    agent: &'a str,
    place: Place,
}

impl Mapper<'_> {
    fn begin(&mut self, file: &Map<String, Value>, task: Option<&str>) {
        let title = task.map(title).filter(|title| !title.is_empty()).unwrap_or_else(|| self.session.to_owned());
        let environment = file.get("environment").and_then(Value::as_str);
        let started = json!({
            "title": title, "mode": "swe-agent", "agents": [self.agent], "metadata": { "environment": environment },
        });
        self.push(Pause::None, Draft::new("session.started", self.session, &started));
        self.says(Pause::None, "agent.started", &json!({ "name": self.agent, "role": "software engineer" }));
        if let Some(task) = task {
            let task = self.cutter.text(task);
            let data = json!({ "message_id": "task", "role": "user", "text": task });
            self.push(Pause::Unknown, Draft::new("message.completed", self.session, &data));
        }
    }

    fn step(&mut self, index: usize, count: usize, step: &Action<'_>) {
        let number = index + 1;
        let command = step.action.trim();
        let first_line = cut_text(command.lines().next().unwrap_or_default(), TITLE_BYTES_MAX);
        let thought = step.thought.trim();
        if !thought.is_empty() {
            let content = self.cutter.text(thought);
            let data = json!({ "step": number, "total_steps": count, "content": content });
            self.says(Pause::Unknown, "reasoning.step", &data);
        }
        let status = json!({ "status": "working", "progress": index * 100 / count, "message": first_line });
        self.says(Pause::Unknown, "agent.status", &status);
        let call_id = format!("call-{number}");
        let tool = tool_name(command);
        let input = self.cutter.text(command);
        let data = json!({ "call_id": call_id, "name": tool, "input": { "command": input } });
        self.says(Pause::None, "tool.started", &data);
        let output = self.cutter.text(step.observation);
        let mut data = json!({ "call_id": call_id, "name": tool, "output": output });
        let mut pause = Pause::Unknown;
        if let Some(took) = step.took.and_then(|took| Duration::try_from_secs_f64(took).ok()) {
            pause = Pause::Known(took);
            data["duration_ms"] = json!(u64::try_from(took.as_millis()).unwrap_or(u64::MAX));
        }
        self.says(pause, "tool.completed", &data);
        let message = format!("step {number} of {count}");
        let progress = json!({ "progress": number * 100 / count, "message": message });
        self.push(Pause::None, Draft::new("session.progress", self.session, &progress));
    }

    fn end(&mut self, info: &Value) {
        let stats = info.get("model_stats").unwrap_or(&Value::Null);
        let count = |name: &str| stats.get(name).and_then(Value::as_u64).unwrap_or(0);
        let (sent, received) = (count("tokens_sent"), count("tokens_received"));
        if sent + received > 0 {
            let mut data = json!({ "input_tokens": sent, "output_tokens": received });
            if let Some(cost) = stats.get("instance_cost").and_then(Value::as_f64) {
                data["cost_usd"] = json!(cost);
            }
            self.says(Pause::None, "usage", &data);
        }
        if let Some(submission) = info.get("submission").and_then(Value::as_str).filter(|text| !text.trim().is_empty())
        {
            let content = self.cutter.text(submission.trim_matches(['\r', '\n']));
            self.says(Pause::Unknown, "output", &json!({ "kind": "submission", "content": content }));
        }
        let status = info.get("exit_status").and_then(Value::as_str);
        let outcome = if status.is_some_and(is_success) { "completed" } else { "failed" };
        let summary = status.unwrap_or("no exit status");
        self.says(Pause::None, "agent.finished", &json!({ "outcome": outcome, "summary": summary }));
        let (kind, data) = match status {
            Some(status) if is_success(status) => ("session.completed", json!({ "summary": status })),
            Some(status) => ("session.failed", json!({ "error": status, "code": status })),
            None => ("session.cancelled", json!({ "reason": "the recording ends without an exit status" })),
        };
        self.push(Pause::None, Draft::new(kind, self.session, &data));
    }

    /// An event of the agent.
    fn says(&mut self, pause: Pause, kind: &str, data: &Value) {
        self.push(pause, Draft::new(kind, self.session, data).by(self.agent));
    }

    fn push(&mut self, pause: Pause, event: Draft) {
        self.recording.steps.push(Step { pause, event, place: self.place.clone() });
    }
}

/// Also `submitted (exit_cost)` and the like: it gave an answer.
fn is_success(status: &str) -> bool {
    status.starts_with("submitted")
}

/// The command's first word.
fn tool_name(command: &str) -> String {
    let word = command.split_whitespace().next().unwrap_or("none");
    let word: String = word.chars().filter(|c| !c.is_control()).collect();
    if word.is_empty() { "none".to_owned() } else { cut_text(&word, TOOL_NAME_BYTES_MAX).into_owned() }
}

#[cfg(test)]
mod tests;
