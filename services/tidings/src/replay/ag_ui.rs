//! AG-UI event lists: a thread becomes a session, its runs and steps become stages, and what a run says becomes messages,
//! tool calls and reasoning.
//!
//! State that an agent shares with its page has no counterpart in the vocabulary: it becomes `memory.updated`, with the
//! snapshot or the patch in it. Types that are not known here become log lines, so that nothing is lost in silence.

mod content;

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use serde_json::{Map, Value, json};
use tidings_protocol::effects::cut_text;

use super::cut::Cutter;
use super::recording::{Fault, Faults, Format, Pause, Place, Recording, Step};
use crate::client::draft::Draft;
use content::Open;

/// Bytes of a title.
const TITLE_BYTES_MAX: usize = 160;

/// Who acts: the protocol has one agent to a thread.
const AGENT: &str = "agent";

/// The thread of events before any run.
const NO_THREAD: &str = "";

/// Whether a JSON value looks like such an event: an object whose type is in capitals.
pub(super) fn is_event(value: &Value) -> bool {
    let kind = value.get("type").and_then(Value::as_str).unwrap_or_default();
    !kind.is_empty() && kind.bytes().all(|byte| byte.is_ascii_uppercase() || byte == b'_')
}

/// Maps lists of events, each with its name if it has one; `name` is for sessions of lists without.
pub(super) fn map(lists: &[(Option<&str>, &[Value])], name: &str) -> Result<Recording, Faults> {
    let mut recording = Recording::new(Format::AgUi);
    let (mut faults, mut cut) = (Vec::new(), 0);
    for (list_name, list) in lists {
        let mut mapper = Mapper::new(list_name.unwrap_or(name), list);
        for (index, event) in list.iter().enumerate() {
            mapper.place = Place::Index(list_name.map(str::to_owned), index);
            if let Err(what) = mapper.event(index, event) {
                faults.push(Fault::new(mapper.place.clone(), what));
            }
        }
        mapper.end();
        recording.steps.append(&mut mapper.steps);
        cut += mapper.cutter.count;
    }
    recording.cut = cut;
    if faults.is_empty() { Ok(recording) } else { Err(Faults(faults)) }
}

/// Maps one list.
struct Mapper {
    name: String,
    steps: Vec<Step>,
    cutter: Cutter,
    place: Place,
    /// The pause before the next event that is made of the present one.
    pause: Pause,
    clock_ms: Option<f64>,
    /// Session names by thread.
    sessions: BTreeMap<String, String>,
    /// Where each thread's last run ends.
    ends: BTreeSet<usize>,
    thread: String,
    title: String,
    runs: usize,
    /// The present run has begun and not ended.
    is_running: bool,
    /// The present run's thread has ended, or waits for an answer.
    is_over: bool,
    open: Open,
}

impl Mapper {
    fn new(name: &str, list: &[Value]) -> Mapper {
        // A list's last run of each thread ends the session; the ones before only end a stage.
        let mut last: BTreeMap<&str, usize> = BTreeMap::new();
        let mut thread = NO_THREAD;
        for (index, event) in list.iter().enumerate() {
            match event.get("type").and_then(Value::as_str) {
                Some("RUN_STARTED") => {
                    thread = event.get("threadId").and_then(Value::as_str).unwrap_or(NO_THREAD);
                    last.remove(thread);
                }
                Some("RUN_FINISHED" | "RUN_ERROR") => drop(last.insert(thread, index)),
                _ => {}
            }
        }
        Mapper {
            name: name.to_owned(),
            steps: Vec::new(),
            cutter: Cutter::default(),
            place: Place::Whole,
            pause: Pause::None,
            clock_ms: None,
            sessions: BTreeMap::new(),
            ends: last.into_values().collect(),
            thread: NO_THREAD.to_owned(),
            title: String::new(),
            runs: 0,
            is_running: false,
            is_over: true,
            open: Open::default(),
        }
    }

    fn event(&mut self, index: usize, event: &Value) -> Result<(), String> {
        let event = event.as_object().ok_or("is no object")?;
        let kind = text(event, "type")?;
        self.pause = self.pause_before(event);
        if !matches!(kind, "TEXT_MESSAGE_CHUNK" | "TOOL_CALL_CHUNK") {
            self.chunks_end();
        }
        match kind {
            "RUN_STARTED" => self.run_started(event)?,
            "RUN_FINISHED" => self.run_finished(event, self.ends.contains(&index))?,
            "RUN_ERROR" => self.run_failed(event, self.ends.contains(&index))?,
            "STEP_STARTED" => self.stage(text(event, "stepName")?, "started"),
            "STEP_FINISHED" => self.stage(text(event, "stepName")?, "completed"),
            "STATE_SNAPSHOT" => self.memory("state", "snapshot", member(event, "snapshot")?),
            "STATE_DELTA" => self.memory("state", "delta", member(event, "delta")?),
            "ACTIVITY_SNAPSHOT" => self.memory("activity", "snapshot", member(event, "content")?),
            "ACTIVITY_DELTA" => self.memory("activity", "delta", member(event, "patch")?),
            "MESSAGES_SNAPSHOT" => {
                let messages = member(event, "messages")?;
                self.messages(messages);
                let count = messages.as_array().map_or(0, Vec::len);
                self.says("memory.updated", &json!({ "store": "messages", "operation": "snapshot", "count": count }));
            }
            kind => {
                if !self.content(kind, event)? {
                    self.unknown(kind, event);
                }
            }
        }
        Ok(())
    }

    /// The list is over. A run that did not end was cut with it.
    fn end(&mut self) {
        self.pause = Pause::None;
        self.chunks_end();
        if self.is_running && !self.is_over {
            self.happens("session.cancelled", &json!({ "reason": "the recording ends in the middle of a run" }));
        }
    }

    fn pause_before(&mut self, event: &Map<String, Value>) -> Pause {
        let clock_ms = event.get("timestamp").and_then(Value::as_f64);
        let pause = match (self.clock_ms, clock_ms) {
            (Some(before), Some(now)) => {
                Pause::Known(Duration::try_from_secs_f64((now - before) / 1e3).unwrap_or(Duration::ZERO))
            }
            _ if self.steps.is_empty() => Pause::None,
            _ => Pause::Unknown,
        };
        self.clock_ms = clock_ms.or(self.clock_ms);
        pause
    }

    fn run_started(&mut self, event: &Map<String, Value>) -> Result<(), String> {
        let (thread, run) = (text(event, "threadId")?, text(event, "runId")?);
        let messages = event.get("input").and_then(|input| input.get("messages")).unwrap_or(&Value::Null);
        let is_new = !self.sessions.contains_key(thread);
        thread.clone_into(&mut self.thread);
        if is_new {
            let session = if self.sessions.is_empty() { self.name.clone() } else { format!("{}-{thread}", self.name) };
            self.sessions.insert(thread.to_owned(), session);
            self.runs = 0;
            let asked = messages.as_array().into_iter().flatten().rev().find(|message| role(message) == "user");
            let asked = asked.and_then(|message| message.get("content")?.as_str()).unwrap_or(&self.name);
            self.title = cut_text(asked.lines().next().unwrap_or_default(), TITLE_BYTES_MAX).into_owned();
            let started = json!({
                "title": self.title, "mode": "ag-ui", "agents": [AGENT], "metadata": { "thread": thread, "run": run },
            });
            self.happens("session.started", &started);
            self.says("agent.started", &json!({ "name": "Agent" }));
        }
        self.is_over = false;
        self.is_running = true;
        self.runs += 1;
        self.messages(messages);
        self.says("agent.status", &json!({ "status": "working", "message": format!("run {}", self.runs) }));
        Ok(())
    }

    fn run_finished(&mut self, event: &Map<String, Value>, is_last: bool) -> Result<(), String> {
        self.is_running = false;
        for usage in event.get("usage").and_then(Value::as_array).into_iter().flatten() {
            let count = |name: &str| usage.get(name).and_then(Value::as_u64).unwrap_or(0);
            let mut data = json!({ "input_tokens": count("inputTokens"), "output_tokens": count("outputTokens") });
            if let Some(model) = usage.get("model").and_then(Value::as_str).filter(|model| !model.is_empty()) {
                data["model"] = json!(model);
            }
            self.says("usage", &data);
        }
        let interrupts = event.get("outcome").and_then(|outcome| outcome.get("interrupts")?.as_array());
        let interrupts = interrupts.map_or(&[][..], Vec::as_slice);
        for interrupt in interrupts {
            let interrupt = interrupt.as_object().ok_or("has an interrupt that is no object")?;
            let question = interrupt.get("message").or(interrupt.get("reason")).and_then(Value::as_str);
            let data = json!({
                "approval_id": text(interrupt, "id")?,
                "question": question.unwrap_or("The agent waits for an answer"),
                "options": ["approve", "reject"],
            });
            self.says("approval.requested", &data);
        }
        if !interrupts.is_empty() {
            // The answer is another run's, perhaps in another recording: the session stays open, as it was.
            self.is_over = true;
            self.says("agent.status", &json!({ "status": "waiting", "message": "waits for a person" }));
        } else if is_last {
            self.is_over = true;
            self.says("agent.finished", &json!({ "outcome": "completed" }));
            let result = event.get("result").map(|result| self.cutter.value(result));
            let summary = format!("{} {}", self.runs, if self.runs == 1 { "run" } else { "runs" });
            self.happens("session.completed", &json!({ "summary": summary, "result": result }));
        } else {
            self.says("agent.status", &json!({ "status": "idle", "message": "waits for the next message" }));
        }
        Ok(())
    }

    fn run_failed(&mut self, event: &Map<String, Value>, is_last: bool) -> Result<(), String> {
        self.is_running = false;
        let error = self.cutter.text(text(event, "message")?);
        self.says("agent.status", &json!({ "status": "failed", "message": error }));
        if is_last {
            self.is_over = true;
            self.happens("session.failed", &json!({ "error": error, "code": event.get("code") }));
        }
        Ok(())
    }

    fn stage(&mut self, stage: &str, status: &str) {
        self.happens("session.stage", &json!({ "stage": stage, "status": status }));
    }

    fn memory(&mut self, store: &str, operation: &str, value: &Value) {
        let count = value.as_array().map(Vec::len).or(value.as_object().map(Map::len)).unwrap_or(1);
        let value = self.cutter.value(value);
        let data = json!({ "store": store, "operation": operation, "count": count, "value": value });
        self.says("memory.updated", &data);
    }

    /// A type of a newer protocol, or one for another purpose (`RAW`, `CUSTOM`).
    fn unknown(&mut self, kind: &str, event: &Map<String, Value>) {
        let name = event.get("name").and_then(Value::as_str).unwrap_or(kind);
        let details = event.get("value").or(event.get("event")).cloned().unwrap_or_else(|| {
            let known = |name: &&String| !matches!(name.as_str(), "type" | "rawEvent" | "timestamp");
            event.iter().filter(|(name, _)| known(name)).map(|(name, value)| (name.clone(), value.clone())).collect()
        });
        let details = self.cutter.value(&details);
        let level = if kind == "CUSTOM" { "info" } else { "debug" };
        self.says("log", &json!({ "level": level, "message": name, "source": "ag-ui", "details": details }));
    }

    /// An event of the agent.
    fn says(&mut self, kind: &str, data: &Value) {
        let event = Draft::new(kind, self.session(), data).by(AGENT);
        self.push(event);
    }

    /// An event of the session.
    fn happens(&mut self, kind: &str, data: &Value) {
        let event = Draft::new(kind, self.session(), data);
        self.push(event);
    }

    fn session(&self) -> &str {
        self.sessions.get(&self.thread).unwrap_or(&self.name)
    }

    fn push(&mut self, event: Draft) {
        // What else is made of the same recorded event happens with it.
        let pause = std::mem::replace(&mut self.pause, Pause::None);
        self.steps.push(Step { pause, event, place: self.place.clone() });
    }
}

fn member<'a>(event: &'a Map<String, Value>, name: &str) -> Result<&'a Value, String> {
    event.get(name).ok_or_else(|| format!("has no `{name}`"))
}

fn text<'a>(event: &'a Map<String, Value>, name: &str) -> Result<&'a str, String> {
    member(event, name)?.as_str().ok_or_else(|| format!("`{name}` is no string"))
}

fn role(message: &Value) -> &str {
    message.get("role").and_then(Value::as_str).unwrap_or_default()
}

#[cfg(test)]
mod tests;
