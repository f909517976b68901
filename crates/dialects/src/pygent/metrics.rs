//! The machine: measures and alerts.

use serde_json::{Value, json};

use super::fields::{number, object, plain, text, time, truth, with};
use super::wrapping::Frames;
use crate::told::Told;

/// `metrics.system` to `system_metrics`, and to `gpu_metrics` where there is a GPU.
///
/// The page keeps all of `data` as the measures, the server used to put them under `metrics`: they stand at both places.
pub(super) fn system(told: &Told<'_>, frames: &mut Frames<'_>) {
    let data = told.data();
    let (cpu, memory, network) = (object(data, "cpu"), object(data, "memory"), object(data, "network"));
    let mut components = object(data, "components");
    if components.as_object().is_none_or(serde_json::Map::is_empty) {
        components = object(data, "ai_components");
    }
    let gpu = &data["gpu"];
    let gpu = if gpu.is_object() { gpu_of(gpu) } else { Value::Null };
    let mut told_as = json!({
        "timestamp": time(told),
        "cpu": with(numbers(&cpu, &["usage_percent", "cores", "frequency", "temperature"]), &cpu),
        "memory": with(numbers(&memory, &["total_gb", "used_gb", "available_gb", "usage_percent"]), &memory),
        "gpu": gpu,
        "network": with(
            numbers(&network, &["bytes_sent", "bytes_received", "packets_sent", "packets_received", "connections"]),
            &network,
        ),
        "ai_components": with(
            numbers(
                &components,
                &[
                    "reasoning_requests",
                    "evolution_requests",
                    "search_requests",
                    "average_response_time",
                    "success_rate",
                    "error_count",
                ],
            ),
            &components,
        ),
    });
    told_as["metrics"] = told_as.clone();
    frames.push("system_metrics", &told_as);
    if gpu.is_object() {
        let mut gpu = gpu;
        gpu["timestamp"] = time(told);
        frames.push("gpu_metrics", &gpu);
    }
}

/// `alert` to `system_alert`.
pub(super) fn alert(told: &Told<'_>, frames: &mut Frames<'_>) {
    let data = told.data();
    let level = match told.text("level").unwrap_or_default() {
        "critical" | "fatal" => "critical",
        "error" => "error",
        "warning" | "warn" => "warning",
        _ => "info",
    };
    let alert = json!({
        "id": told.event.id,
        "level": level,
        "component": text(data, "component", ""),
        "message": text(data, "message", ""),
        "timestamp": time(told),
        "resolved": truth(data, "resolved", false),
        "metadata": object(data, "metadata"),
    });
    frames.push("system_alert", &json!({ "alert": alert }));
}

fn gpu_of(gpu: &Value) -> Value {
    let mut known = numbers(
        gpu,
        &["usage_percent", "memory_total_gb", "memory_used_gb", "memory_free_gb", "temperature", "power_usage"],
    );
    known["name"] = plain(&text(gpu, "name", "gpu")).into();
    with(known, gpu)
}

fn numbers(data: &Value, names: &[&str]) -> Value {
    names.iter().map(|name| ((*name).to_owned(), number(data, name))).collect::<serde_json::Map<_, _>>().into()
}
