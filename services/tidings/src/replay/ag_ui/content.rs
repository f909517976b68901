//! What a run says: messages, tool calls, reasoning. Each comes as a start, pieces and an end, or as chunks alone.

use std::collections::{BTreeMap, BTreeSet};

use serde_json::{Map, Value, json};

use super::{Mapper, role, text};

/// What has begun and not ended.
#[derive(Debug, Default)]
pub(super) struct Open {
    messages: BTreeMap<String, Message>,
    /// The message or call that chunks belong to, until something else comes.
    chunked_message: Option<String>,
    chunked_call: Option<String>,
    calls: BTreeMap<String, Call>,
    /// Messages that were told: snapshots repeat them.
    told: BTreeSet<(String, String)>,
    thoughts: u64,
    is_reasoning: bool,
}

#[derive(Debug, Default)]
struct Message {
    role: String,
    text: String,
}

#[derive(Debug, Default)]
struct Call {
    name: String,
    arguments: String,
    is_started: bool,
}

impl Mapper {
    /// Maps an event of a message, a call or reasoning; false: it is none.
    pub(super) fn content(&mut self, kind: &str, event: &Map<String, Value>) -> Result<bool, String> {
        match kind {
            "TEXT_MESSAGE_START" => {
                let role = optional(event, "role").unwrap_or("assistant");
                let message = Message { role: role.to_owned(), text: String::new() };
                self.open.messages.insert(text(event, "messageId")?.to_owned(), message);
            }
            "TEXT_MESSAGE_CONTENT" => self.message_grows(text(event, "messageId")?, text(event, "delta")?),
            "TEXT_MESSAGE_END" => self.message_ends(text(event, "messageId")?),
            "TEXT_MESSAGE_CHUNK" => self.message_chunk(event)?,
            "TOOL_CALL_START" => self.call_begins(text(event, "toolCallId")?, text(event, "toolCallName")?),
            "TOOL_CALL_ARGS" => {
                let call = self.open.calls.entry(text(event, "toolCallId")?.to_owned()).or_default();
                call.arguments.push_str(text(event, "delta")?);
            }
            "TOOL_CALL_END" => self.call_starts(text(event, "toolCallId")?),
            "TOOL_CALL_RESULT" => self.call_ends(text(event, "toolCallId")?, text(event, "content")?),
            "TOOL_CALL_CHUNK" => self.call_chunk(event)?,
            "REASONING_START" | "THINKING_START" => {
                let problem = optional(event, "title").unwrap_or(&self.title).to_owned();
                self.reasoning_begins(&problem);
            }
            "REASONING_MESSAGE_START" | "THINKING_TEXT_MESSAGE_START" => self.open.thoughts += 1,
            "REASONING_MESSAGE_CONTENT" | "THINKING_TEXT_MESSAGE_CONTENT" | "REASONING_MESSAGE_CHUNK" => {
                if let Some(delta) = optional(event, "delta") {
                    let delta = delta.to_owned();
                    self.thinks(&delta);
                }
            }
            "REASONING_END" | "THINKING_END" => self.open.is_reasoning = false,
            // Ends say nothing that the pieces have not said; what is encrypted is nobody's but the model's.
            "REASONING_MESSAGE_END" | "THINKING_TEXT_MESSAGE_END" | "REASONING_ENCRYPTED_VALUE" => {}
            _ => return Ok(false),
        }
        Ok(true)
    }

    /// Something else comes: what came in chunks is complete.
    pub(super) fn chunks_end(&mut self) {
        if let Some(message) = self.open.chunked_message.take() {
            self.message_ends(&message);
        }
        if let Some(call) = self.open.chunked_call.take() {
            self.call_starts(&call);
        }
    }

    /// Tells of the messages that were not told yet.
    pub(super) fn messages(&mut self, messages: &Value) {
        for message in messages.as_array().into_iter().flatten() {
            let (Some(id), Some(content)) = (
                message.get("id").and_then(Value::as_str),
                message.get("content").and_then(Value::as_str).filter(|text| !text.is_empty()),
            ) else {
                continue;
            };
            match role(message) {
                "tool" => {
                    // A tool of the page: its result comes back with the next run.
                    if let Some(call) = message.get("toolCallId").and_then(Value::as_str)
                        && self.open.calls.contains_key(call)
                    {
                        self.call_ends(call, content);
                    }
                }
                role @ ("user" | "assistant") => self.message_told(id, role, content),
                // What the application tells the model is no part of the conversation.
                _ => {}
            }
        }
    }

    fn message_chunk(&mut self, event: &Map<String, Value>) -> Result<(), String> {
        let id = match optional(event, "messageId") {
            Some(id) => id.to_owned(),
            None => self.open.chunked_message.clone().ok_or("has no `messageId`")?,
        };
        if self.open.chunked_message.as_ref() != Some(&id) {
            self.chunks_end();
            let role = optional(event, "role").unwrap_or("assistant");
            self.open.messages.insert(id.clone(), Message { role: role.to_owned(), text: String::new() });
            self.open.chunked_message = Some(id.clone());
        }
        if let Some(delta) = optional(event, "delta") {
            self.message_grows(&id, delta);
        }
        Ok(())
    }

    fn message_grows(&mut self, id: &str, delta: &str) {
        let message = self.open.messages.entry(id.to_owned()).or_default();
        message.text.push_str(delta);
        let delta = self.cutter.text(delta);
        self.says("message.delta", &json!({ "message_id": id, "text": delta }));
    }

    fn message_ends(&mut self, id: &str) {
        let Message { role, text } = self.open.messages.remove(id).unwrap_or_default();
        let role = if role.is_empty() { "assistant" } else { &role };
        self.message_told(id, role, &text);
    }

    fn message_told(&mut self, id: &str, role: &str, text: &str) {
        if !self.open.told.insert((self.thread.clone(), id.to_owned())) {
            return;
        }
        let text = self.cutter.text(text);
        let data = json!({ "message_id": id, "role": role, "text": text });
        if role == "user" { self.happens("message.completed", &data) } else { self.says("message.completed", &data) }
    }

    fn call_chunk(&mut self, event: &Map<String, Value>) -> Result<(), String> {
        let id = match optional(event, "toolCallId") {
            Some(id) => id.to_owned(),
            None => self.open.chunked_call.clone().ok_or("has no `toolCallId`")?,
        };
        if self.open.chunked_call.as_ref() != Some(&id) {
            self.chunks_end();
            self.call_begins(&id, text(event, "toolCallName")?);
            self.open.chunked_call = Some(id.clone());
        }
        if let Some(delta) = optional(event, "delta") {
            self.open.calls.entry(id).or_default().arguments.push_str(delta);
        }
        Ok(())
    }

    fn call_begins(&mut self, id: &str, name: &str) {
        let call = Call { name: name.to_owned(), ..Call::default() };
        self.open.calls.insert(id.to_owned(), call);
    }

    /// The arguments are complete: now it runs.
    fn call_starts(&mut self, id: &str) {
        let Some(call) = self.open.calls.get_mut(id) else { return };
        if std::mem::replace(&mut call.is_started, true) {
            return;
        }
        let name = call.name.clone();
        let arguments = json_or_text(&call.arguments);
        let input = self.cutter.value(&arguments);
        self.says("tool.started", &json!({ "call_id": id, "name": name, "input": input }));
    }

    fn call_ends(&mut self, id: &str, content: &str) {
        self.call_starts(id);
        let name = self.open.calls.remove(id).map_or_else(|| "tool".to_owned(), |call| call.name);
        let output = self.cutter.value(&json_or_text(content));
        self.says("tool.completed", &json!({ "call_id": id, "name": name, "output": output }));
    }

    fn reasoning_begins(&mut self, problem: &str) {
        self.open.is_reasoning = true;
        let problem = self.cutter.text(problem);
        self.says("reasoning.started", &json!({ "problem": problem, "mode": "model" }));
    }

    fn thinks(&mut self, delta: &str) {
        if !self.open.is_reasoning {
            let problem = self.title.clone();
            self.reasoning_begins(&problem);
        }
        let step = self.open.thoughts.max(1);
        let content = self.cutter.text(delta);
        self.says("reasoning.step", &json!({ "step": step, "total_steps": step, "content": content }));
    }
}

fn optional<'a>(event: &'a Map<String, Value>, name: &str) -> Option<&'a str> {
    event.get(name).and_then(Value::as_str)
}

/// JSON in a string as what it says, other text as it is.
fn json_or_text(text: &str) -> Value {
    match serde_json::from_str(text) {
        Ok(Value::Null) | Err(_) => Value::String(text.to_owned()),
        Ok(value) => value,
    }
}
