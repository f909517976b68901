//! Answers of its REST routes, as pure functions: the body of each; whose status is 200 unless it says otherwise.

use serde::Serialize;
use serde_json::{Value, json};
use tidings_protocol::timestamp::rfc3339;

use super::session::Session;
use super::{Shape, nested, present, words};
use crate::View;

/// Connections of the dialect, over all gateways.
#[derive(Debug, Clone, Default, PartialEq, Serialize)]
pub struct Stats {
    /// How many there are; more perhaps than are listed.
    pub active_connections: u64,
    /// Messages that were sent to them.
    pub total_messages_sent: u64,
    /// The connections.
    pub connections: Vec<Connection>,
}

/// A client's connection.
#[derive(Debug, Clone, Default, PartialEq, Serialize)]
pub struct Connection {
    /// What it calls itself.
    pub client_id: String,
    /// Since when, in seconds since the Unix epoch.
    pub connected_at: f64,
    /// Messages that were sent to it.
    pub message_count: u64,
}

/// `GET /api/ws/stats`.
pub fn stats(stats: &Stats, view: &View<'_>) -> String {
    let sessions = present::sessions(view);
    let active_agents: usize = sessions.sessions.iter().map(|session| session.agents_active).sum();
    let realtime = json!({
        "total_sessions": sessions.total_sessions, "active_agents": active_agents, "sessions": sessions.sessions,
    });
    json!({ "success": true, "stats": stats, "realtime_sessions": realtime }).to_string()
}

/// `GET /api/ws/sessions/{id}/logs`: every line that state has; of a session that is not known: none.
pub fn logs(shape: Shape, view: &View<'_>, session_id: &str) -> String {
    let logs = present::logs(shape, view, session_id, u32::MAX);
    json!({ "success": true, "session_id": session_id, "logs": logs, "total_logs": logs.len() }).to_string()
}

/// `GET /api/ws/sessions/{id}/state`: a session that is not known is a 200, too.
pub fn state(view: &View<'_>, session_id: &str) -> String {
    let answer = match Session::of(view, session_id) {
        Some(session) => {
            let state = nested::state(session, view.now_ms, usize::MAX);
            json!({ "success": true, "session_id": session_id, "state": state })
        }
        None => json!({ "success": false, "error": "Session not found", "session_id": session_id }),
    };
    answer.to_string()
}

/// `POST /api/ws/broadcast`, once it is in the log.
pub fn broadcast_sent() -> String {
    json!({ "success": true, "message": "Broadcast sent" }).to_string()
}

/// `GET /api/efficiency/health-check`. `is_healthy`: the store answers, and events are delivered; that is all that can be
/// said of what the original checks one by one. Crews run elsewhere: theirs says that what they post is taken.
pub fn health(is_healthy: bool, view: &View<'_>) -> String {
    let status = if is_healthy { "healthy" } else { "degraded" };
    let sessions = present::sessions(view);
    let agents: usize = sessions.sessions.iter().map(|session| session.agents).sum();
    let checks = json!({
        "database": { "status": status },
        "agent_cache": { "status": status, "stats": { "total_agents": agents } },
        "websockets": { "status": status, "active_sessions": sessions.total_sessions },
        "crewai": { "status": status },
    });
    json!({ "overall_status": status, "timestamp": rfc3339(view.now_ms), "checks": checks }).to_string()
}

/// The body of a refusal.
pub fn error(status_code: u16, error_type: &str, detail: &str, now_ms: u64) -> String {
    json!({
        "detail": detail, "status_code": status_code, "error_type": error_type, "timestamp": rfc3339(now_ms),
    })
    .to_string()
}

/// The event that a broadcast is in the log: what a runner would post. `message`: the request's body, an object.
pub fn broadcast_event(message: &Value) -> Value {
    json!({ "type": super::BROADCAST, "data": message })
}

/// Seconds since the Unix epoch, as times of connections are.
pub fn seconds(ms: u64) -> f64 {
    words::seconds(ms)
}
