//! Servers of tools, tools, the runtime of local models, and memory.

use serde_json::{Value, json};

use super::fields::{list, number, number_of, object, plain, text, time, time_of, truth, with};
use super::wrapping::Frames;
use crate::told::Told;

/// `mcp.server` to `mcp_server_status`, and to `mcp_server_health` where it says how the server is.
pub(super) fn mcp_server(told: &Told<'_>, frames: &mut Frames<'_>) {
    let data = told.data();
    let id = text(data, "server_id", "");
    let status = match told.text("status").unwrap_or_default() {
        word @ ("running" | "stopped" | "error" | "starting" | "stopping") => word,
        "online" | "connected" | "ready" => "running",
        "failed" => "error",
        _ => "stopped",
    };
    let health = health_of(told);
    let server = json!({
        "id": id,
        "name": text(data, "name", id.as_str().unwrap_or_default()),
        "type": text(data, "type", "custom"),
        "status": status,
        "version": text(data, "version", ""),
        "description": text(data, "description", ""),
        "capabilities": list(data, "capabilities"),
        "health": health,
        "config": object(data, "config"),
        "stats": object(data, "stats"),
    });
    let more = json!({
        "server_id": id,
        "online": status == "running",
        "tools_count": number(data, "tools_count"),
        "timestamp": time(told),
        "server": server,
    });
    frames.push("mcp_server_status", &with(more, &server));
    if data["health"].is_object() || data["health"].is_string() {
        let more = json!({ "server_id": id, "health": health, "timestamp": time(told) });
        frames.push("mcp_server_health", &with(more, &health));
    }
}

fn health_of(told: &Told<'_>) -> Value {
    let given = &told.data()["health"];
    let word = given.as_str().or_else(|| given["status"].as_str());
    let mut health = json!({
        "status": word.filter(|word| matches!(*word, "healthy" | "unhealthy")).unwrap_or("unknown"),
        "last_check": time_of(given, "last_check", told),
        "response_time": number_of(given, &["response_time", "response_time_ms"]),
        "uptime": number(given, "uptime"),
    });
    if let Some(error) = given["error_message"].as_str() {
        health["error_message"] = error.into();
    }
    health
}

/// `mcp.tool` to `tool_discovered`, or, where it was called, to `tool_call_result`.
pub(super) fn mcp_tool(told: &Told<'_>, frames: &mut Frames<'_>) {
    let data = told.data();
    if told.text("event") == Some("called") {
        return result(told, &data["result"], truth(data, "success", data["error"].is_null()), frames);
    }
    let name = text(data, "name", "");
    let tool = json!({
        "tool_name": name,
        "name": name,
        "event": text(data, "event", "discovered"),
        "server_id": text(data, "server_id", ""),
        "description": text(data, "description", ""),
        "capabilities": list(data, "capabilities"),
        "timestamp": time(told),
    });
    frames.push("tool_discovered", &with(tool, data));
}

/// `tool.completed` and `tool.failed` to `tool_call_result`.
pub(super) fn tool(told: &Told<'_>, frames: &mut Frames<'_>) {
    result(told, &told.data()["output"], told.kind() == "tool.completed", frames);
}

fn result(told: &Told<'_>, output: &Value, success: bool, frames: &mut Frames<'_>) {
    let data = told.data();
    let name = text(data, "name", "");
    let mut call = json!({
        "call_id": text(data, "call_id", &told.event.id),
        "tool_name": name,
        "name": name,
        "server_id": text(data, "server_id", ""),
        "success": success,
        "result": output,
        "duration_ms": number(data, "duration_ms"),
        "timestamp": time(told),
    });
    if !success {
        call["error"] = plain(&data["error"]).into();
    }
    frames.push("tool_call_result", &call);
}

/// `memory.updated` to `memory_update`.
pub(super) fn memory(told: &Told<'_>, frames: &mut Frames<'_>) {
    let data = told.data();
    let update = json!({
        "store": text(data, "store", ""),
        "operation": text(data, "operation", ""),
        "count": number(data, "count"),
        "timestamp": time(told),
    });
    frames.push("memory_update", &with(update, data));
}

/// `model.status` to `ollama_status`; its members may stand in `status`, too.
pub(super) fn model_status(told: &Told<'_>, frames: &mut Frames<'_>) {
    let given = within(told.data(), "status");
    let path = given.get("executable_path").filter(|path| path.is_string()).cloned().unwrap_or_default();
    let ready = truth(given, "is_ready", false);
    let status = json!({
        "is_ready": ready,
        "url": text(given, "url", ""),
        "available_models": list(given, "available_models"),
        "process_running": truth(given, "process_running", ready),
        "executable_path": path,
    });
    frames.push("ollama_status", &json!({ "status": status }));
}

/// `model.list` to `ollama_model_update`.
pub(super) fn model_list(told: &Told<'_>, frames: &mut Frames<'_>) {
    let models = list(told.data(), "models");
    let models: Vec<Value> = models.as_array().into_iter().flatten().map(|model| model_of(told, model)).collect();
    frames.push("ollama_model_update", &json!({ "models": models }));
}

fn model_of(told: &Told<'_>, model: &Value) -> Value {
    let name = if model.is_string() { plain(model) } else { plain(&text(model, "name", "")) };
    let mut told_as = json!({
        "name": name,
        "size": number(model, "size"),
        "digest": text(model, "digest", ""),
        "modified_at": time_of(model, "modified_at", told),
    });
    let details = &model["details"];
    if details.is_object() {
        let known = json!({
            "format": text(details, "format", ""),
            "family": text(details, "family", ""),
            "families": list(details, "families"),
            "parameter_size": text(details, "parameter_size", ""),
            "quantization_level": text(details, "quantization_level", ""),
        });
        told_as["details"] = with(known, details);
    }
    told_as
}

/// `model.metrics` to `ollama_metrics`; its members may stand in `metrics`, too.
pub(super) fn model_metrics(told: &Told<'_>, frames: &mut Frames<'_>) {
    let given = within(told.data(), "metrics");
    let mut metrics = json!({
        "total_models": number(given, "total_models"),
        "total_size": number(given, "total_size"),
        "memory_usage": number(given, "memory_usage"),
        "active_models": list(given, "active_models"),
        "last_updated": time_of(given, "last_updated", told),
    });
    if given["gpu_utilization"].is_number() {
        metrics["gpu_utilization"] = given["gpu_utilization"].clone();
    }
    frames.push("ollama_metrics", &json!({ "metrics": metrics }));
}

/// `model.error` to `ollama_error`.
pub(super) fn model_error(told: &Told<'_>, frames: &mut Frames<'_>) {
    let data = told.data();
    let error = told.text("error").or_else(|| told.text("message")).unwrap_or("the model runtime failed");
    frames.push("ollama_error", &with(json!({ "error": error }), &json!({ "model": data["model"] })));
}

/// The member of this name where it is an object, else the whole.
fn within<'a>(data: &'a Value, name: &str) -> &'a Value {
    data.get(name).filter(|inner| inner.is_object()).unwrap_or(data)
}
