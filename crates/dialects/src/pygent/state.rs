//! Present state: what of reasoning and evolution is open, and how the system is.
//!
//! State knows sessions: a runner that wants its reasoning or evolution to be shown to who comes later opens a session
//! whose `mode` is `reasoning` or `evolution`, with its particulars in `metadata`.

use serde_json::{Value, json};
use tidings_protocol::timestamp;

use super::fields::{number, number_of, text};
use super::wrapping::Frames;
use crate::told::View;

/// What `get_system_status` asks for.
pub(super) const SYSTEM_STATUS: &str = "system_status";

/// Tells open reasoning and evolution. Without `thoughts` and `fitnessHistory`: state does not have them, and the page
/// keeps the ones that it has.
pub(super) fn open(view: &View<'_>, frames: &mut Frames<'_>) {
    for (id, session) in view.sessions().filter(|(_, session)| session["status"] == "running") {
        let about = &session["metadata"];
        match session["mode"].as_str() {
            Some("reasoning") => {
                let state = json!({
                    "isActive": true,
                    "mode": text(about, "mode", "adaptive"),
                    "complexity": text(about, "complexity", "moderate"),
                });
                frames.push("reasoning_update", &json!({ "session_id": id, "state": state }));
            }
            Some("evolution") => {
                let generations = number_of(about, &["max_generations", "generations"]);
                let done = session["progress"].as_f64().unwrap_or_default() / 100.0;
                let state = json!({
                    "isRunning": true,
                    "currentGeneration": whole(done * generations.as_f64().unwrap_or_default()),
                    "maxGenerations": generations,
                    "populationSize": number(about, "population_size"),
                });
                frames.push("evolution_progress", &json!({ "session_id": id, "state": state }));
            }
            _ => {}
        }
    }
}

/// A count from a share of one.
#[allow(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "rounded, and casts saturate")]
fn whole(count: f64) -> Value {
    json!(count.round() as u64)
}

/// `system_status`: counts of what is there.
pub(super) fn system_status(view: &View<'_>, frames: &mut Frames<'_>) {
    let (mut sessions, mut running, mut agents) = (0, 0, 0);
    for (_, session) in view.sessions() {
        sessions += 1;
        running += u32::from(session["status"] == "running");
        agents += session["agents"].as_object().map_or(0, serde_json::Map::len);
    }
    frames.push(
        "system_status",
        &json!({
            "status": "healthy",
            "sessions": sessions,
            "active_sessions": running,
            "agents": agents,
            "approvals": view.state["approvals"].as_array().map_or(0, Vec::len),
            "timestamp": timestamp::rfc3339(view.now_ms),
        }),
    );
}
