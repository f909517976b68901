//! Reasoning: each step as the server used to send it (flat), and as the page reads it (`thought` and `state`).
//!
//! The page merges `state` into its own, so what is not known is left out of it or has its type's zero; `thoughts`, where
//! it stands, is a list.

use serde_json::{Value, json};

use super::fields::{list, number, number_of, object, plain, text, time, with};
use super::wrapping::Frames;
use crate::told::Told;

/// `reasoning.started` to `reasoning_started`.
pub(super) fn started(told: &Told<'_>, frames: &mut Frames<'_>) {
    let data = told.data();
    let config = object(data, "config");
    let known = json!({
        "generation_strategy": text(&config, "generation_strategy", "propose"),
        "search_method": text(&config, "search_method", "dfs"),
        "max_depth": number(&config, "max_depth"),
        "n_generate": number(&config, "n_generate"),
    });
    frames.push(
        "reasoning_started",
        &json!({
            "session_id": session(told),
            "problem": text(data, "problem", ""),
            "mode": text(data, "mode", "adaptive"),
            "config": with(known, &config),
        }),
    );
}

/// `reasoning.step` to `reasoning_update`.
pub(super) fn step(told: &Told<'_>, frames: &mut Frames<'_>) {
    let data = told.data();
    let step = data["step"].as_u64().unwrap_or_default();
    let mut thought = json!({
        "id": thought_id(data.get("thought_id"), told, step),
        "content": text(data, "content", ""),
        "depth": data.get("depth").filter(|depth| depth.is_u64()).cloned().unwrap_or_else(|| json!(step.saturating_sub(1))),
        "children": list(data, "children"),
        "value_score": number_of(data, &["value_score", "confidence"]),
        "confidence": number(data, "confidence"),
        "reasoning_step": text(data, "step_type", "reasoning"),
        "timestamp": time(told),
    });
    match &data["parent"] {
        Value::Null => {}
        Value::Number(parent) => thought["parent_id"] = format!("{}_{parent}", thoughts_of(told)).into(),
        parent => thought["parent_id"] = plain(parent).into(),
    }
    let mut state = state_of(told, true, step);
    state["currentNode"] = thought.clone();
    state["thoughts"] = json!([thought]);
    frames.push(
        "reasoning_update",
        &json!({
            "session_id": session(told),
            "step": step,
            "total_steps": number(data, "total_steps"),
            "content": text(data, "content", ""),
            "confidence": number(data, "confidence"),
            "step_type": text(data, "step_type", "reasoning"),
            "timestamp": time(told),
            "agent": agent(told),
            "thought": thought,
            "state": state,
        }),
    );
}

/// `reasoning.completed` to `reasoning_complete`, and to `reasoning_result` unless it was but the thinking before an answer
/// (`result` empty).
pub(super) fn completed(told: &Told<'_>, frames: &mut Frames<'_>) {
    let data = told.data();
    let steps = number_of(data, &["total_steps", "paths_explored"]);
    let tree = if data["thoughts"].is_array() { list(data, "thoughts") } else { list(data, "reasoning_tree") };
    let mut state = state_of(told, false, steps.as_u64().unwrap_or_default());
    // The page has the thoughts already: an empty list would take them away.
    if tree.as_array().is_some_and(|tree| !tree.is_empty()) {
        state["thoughts"] = tree.clone();
    }
    frames.push(
        "reasoning_complete",
        &json!({
            "session_id": session(told),
            "total_steps": steps,
            "processing_time": number(data, "processing_time"),
            "paths_explored": number_of(data, &["paths_explored", "total_steps"]),
            "agent": agent(told),
            "timestamp": time(told),
            "state": state,
        }),
    );
    let result = plain(&data["result"]);
    if !result.is_empty() {
        frames.push(
            "reasoning_result",
            &json!({
                "session_id": session(told),
                "result": result,
                "confidence": number(data, "confidence"),
                "metadata": object(data, "metadata"),
                "reasoning_tree": tree,
            }),
        );
    }
}

/// `reasoning.failed`, and what became of the command, to `reasoning_error`.
pub(super) fn failed(told: &Told<'_>, frames: &mut Frames<'_>) {
    let error = text(told.data(), "error", "failed");
    let message = text(told.data(), "message", error.as_str().unwrap_or_default());
    frames.push("reasoning_error", &json!({ "session_id": session(told), "error": error, "message": message }));
}

/// `reasoning.stopped` to `reasoning_stopped`.
pub(super) fn stopped(told: &Told<'_>, frames: &mut Frames<'_>) {
    let reason = text(told.data(), "reason", "user_requested");
    frames.push("reasoning_stopped", &json!({ "session_id": session(told), "reason": reason }));
}

/// What the page merges, but for the thoughts: what the runner does not say is left out.
fn state_of(told: &Told<'_>, active: bool, paths: u64) -> Value {
    let data = told.data();
    let paths = data.get("paths_explored").filter(|paths| paths.is_u64()).cloned().unwrap_or_else(|| json!(paths));
    let mut state = json!({ "isActive": active, "pathsExplored": paths });
    for (name, ours) in [("processingTime", "processing_time"), ("confidence", "confidence")] {
        if data[ours].is_number() {
            state[name] = data[ours].clone();
        }
    }
    for name in ["mode", "complexity"] {
        if data[name].is_string() {
            state[name] = data[name].clone();
        }
    }
    state
}

fn session(told: &Told<'_>) -> Value {
    text(told.data(), "session_id", told.session())
}

fn agent(told: &Told<'_>) -> Value {
    text(told.data(), "agent", if told.agent().is_empty() { "reasoning" } else { told.agent() })
}

fn thought_id(given: Option<&Value>, told: &Told<'_>, step: u64) -> Value {
    match given {
        Some(Value::String(id)) => id.clone().into(),
        _ => format!("{}_{step}", thoughts_of(told)).into(),
    }
}

/// Thoughts without an id are numbered within their session.
fn thoughts_of(told: &Told<'_>) -> String {
    format!("thought_{}", plain(&session(told)))
}
