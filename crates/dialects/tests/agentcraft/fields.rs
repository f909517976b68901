//! Every field of every message, with its JSON type, in the golden files.

use std::path::PathBuf;

use serde_json::Value;

/// The kinds of JSON values that matter here: Python's clients tell integers from floats.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Kind {
    Text,
    Iso,
    Int,
    Float,
    /// A number, or null.
    Maybe,
    /// A text, or null.
    MaybeText,
    Bool,
    List,
    Object,
    Any,
}

use Kind::{Any, Bool, Float, Int, Iso, List, Maybe, MaybeText, Object, Text};

impl Kind {
    fn fits(self, value: &Value) -> bool {
        match self {
            Text => value.is_string(),
            Iso => value.as_str().is_some_and(|text| tidings_protocol::timestamp::parse_rfc3339(text).is_some()),
            Int => value.is_u64(),
            Float => value.is_f64(),
            Maybe => value.is_null() || value.is_number(),
            MaybeText => value.is_null() || value.is_string(),
            Bool => value.is_boolean(),
            List => value.is_array(),
            Object => value.is_object(),
            Any => true,
        }
    }
}

type Fields = &'static [(&'static str, Kind)];

const NESTED: Fields = &[
    ("/session_id", Text),
    ("/timestamp", Float),
    ("/data", Object),
    ("/data/agent_name", Text),
    ("/data/status", Text),
    ("/data/progress", Float),
    ("/state", Object),
    ("/state/session_id", Text),
    ("/state/query", Text),
    ("/state/total_agents", Int),
    ("/state/active_agents", List),
    ("/state/active_agents/0/agent_id", Text),
    ("/state/active_agents/0/agent_name", Text),
    ("/state/active_agents/0/status", Text),
    ("/state/active_agents/0/current_task", MaybeText),
    ("/state/active_agents/0/progress", Float),
    ("/state/active_agents/0/details", MaybeText),
    ("/state/active_agents/0/started_at", Maybe),
    ("/state/active_agents/0/updated_at", Float),
    ("/state/completed_agents", List),
    ("/state/current_phase", Text),
    ("/state/overall_progress", Float),
    ("/state/started_at", Float),
    ("/state/estimated_completion", Maybe),
    ("/state/crew_output", List),
    ("/state/crew_output/0/timestamp", Float),
    ("/state/crew_output/0/type", Text),
    ("/state/crew_output/0/content", Text),
    ("/state/crew_output/0/agent", MaybeText),
];

const ACTIVE_SESSIONS: Fields = &[
    ("/timestamp", Float),
    ("/data/total_sessions", Int),
    ("/data/sessions", List),
    ("/data/sessions/0/session_id", Text),
    ("/data/sessions/0/query", Text),
    ("/data/sessions/0/status", Text),
    ("/data/sessions/0/agents_active", Int),
    ("/data/sessions/0/phase", Text),
    ("/data/sessions/0/progress", Float),
    ("/data/sessions/0/agents", Int),
    ("/data/sessions/0/started_at", Float),
];

const AGENT_STATUS: Fields = &[
    ("/agent_id", Text),
    ("/agent_name", Text),
    ("/status", Text),
    ("/progress", Int),
    ("/message", Text),
    ("/timestamp", Iso),
    ("/metadata/task_id", MaybeText),
    ("/metadata/estimated_completion", Maybe),
];

const COLLABORATION: Fields = &[
    ("/primary_agent", Text),
    ("/secondary_agent", Text),
    ("/collaboration_type", Text),
    ("/reason", Text),
    ("/timestamp", Iso),
];

const SESSION_STATE: Fields = &[
    ("/session_id", Text),
    ("/timestamp", Float),
    ("/state/session_id", Text),
    ("/state/query", Text),
    ("/state/current_phase", Text),
    ("/state/overall_progress", Int),
    ("/state/active_agents/0/agent_name", Text),
    ("/state/active_agents/0/status", Text),
    ("/state/active_agents/0/progress", Int),
    ("/state/active_agents/0/current_task", Text),
    ("/state/active_agents/0/details", Object),
    ("/state/crew_output", List),
];

const SESSION_LOGS: Fields = &[
    ("/session_id", Text),
    ("/timestamp", Float),
    ("/logs/0/timestamp", Iso),
    ("/logs/0/level", Text),
    ("/logs/0/agent", Text),
    ("/logs/0/message", Text),
    ("/logs/0/details", Object),
];

const SESSION_LOGS_NESTED: Fields = &[
    ("/logs/0/timestamp", Float),
    ("/logs/0/type", Text),
    ("/logs/0/agent", Text),
    ("/logs/0/status", Text),
    ("/logs/0/task", MaybeText),
    ("/logs/0/details", MaybeText),
    ("/logs/1/timestamp", Float),
    ("/logs/1/type", Text),
    ("/logs/1/message", Text),
    ("/logs/1/details", MaybeText),
];

const CREWAI_LOG: Fields = &[
    ("/timestamp", Float),
    ("/log/timestamp", Float),
    ("/log/datetime", Iso),
    ("/log/session_id", Text),
    ("/log/level", Text),
    ("/log/logger", Text),
    ("/log/message", Text),
    ("/log/raw_message", Text),
    ("/log/source", Text),
    ("/log/module", Text),
    ("/log/function", Text),
    ("/log/line", Int),
    ("/log/event_type", Text),
    ("/log/agent_info", Object),
];

const STATS: Fields = &[
    ("/success", Bool),
    ("/stats/active_connections", Int),
    ("/stats/total_messages_sent", Int),
    ("/stats/connections/0/client_id", Text),
    ("/stats/connections/0/connected_at", Float),
    ("/stats/connections/0/message_count", Int),
    ("/realtime_sessions/total_sessions", Int),
    ("/realtime_sessions/active_agents", Int),
    ("/realtime_sessions/sessions", List),
];

const HEALTH: Fields = &[
    ("/overall_status", Text),
    ("/timestamp", Iso),
    ("/checks/database/status", Text),
    ("/checks/agent_cache/status", Text),
    ("/checks/websockets/status", Text),
    ("/checks/websockets/active_sessions", Int),
    ("/checks/crewai/status", Text),
];

/// File, type, fields.
const TABLE: [(&str, Option<&str>, Fields); 26] = [
    ("active_sessions", Some("active_sessions"), ACTIVE_SESSIONS),
    ("agent_status", Some("agent_status"), AGENT_STATUS),
    ("agent_collaboration", Some("agent_collaboration"), COLLABORATION),
    ("session_state", Some("session_state"), SESSION_STATE),
    ("session_logs", Some("session_logs"), SESSION_LOGS),
    ("session_logs.both", Some("session_logs"), SESSION_LOGS),
    ("session_logs.nested", Some("session_logs"), SESSION_LOGS_NESTED),
    ("ping", Some("ping"), &[("/timestamp", Float)]),
    ("session_not_found", Some("session_not_found"), &[("/session_id", Text), ("/timestamp", Float)]),
    ("session_started", Some("session_started"), NESTED),
    ("agent_status_update", Some("agent_status_update"), NESTED),
    ("phase_update", Some("phase_update"), NESTED),
    ("crew_output", Some("crew_output"), NESTED),
    ("session_completed", Some("session_completed"), NESTED),
    ("session_error", Some("session_error"), NESTED),
    (
        "log_streaming_started",
        Some("log_streaming_started"),
        &[("/session_id", Text), ("/timestamp", Float), ("/message", Text)],
    ),
    ("log_streaming_stopped", Some("log_streaming_stopped"), &[("/timestamp", Float), ("/message", Text)]),
    ("crewai_log", Some("crewai_log"), CREWAI_LOG),
    ("rest.stats", None, STATS),
    ("rest.health", None, HEALTH),
    ("rest.logs", None, &[("/success", Bool), ("/session_id", Text), ("/logs", List), ("/total_logs", Int)]),
    ("rest.state", None, &[("/success", Bool), ("/session_id", Text), ("/state", Object), ("/state/query", Text)]),
    ("rest.state_unknown", None, &[("/success", Bool), ("/error", Text), ("/session_id", Text)]),
    ("rest.broadcast", None, &[("/success", Bool), ("/message", Text)]),
    ("rest.error", None, &[("/detail", Text), ("/status_code", Int), ("/error_type", Text), ("/timestamp", Iso)]),
    ("session_logs.both", None, &[("/logs/0/type", Text), ("/logs/0/status", Text), ("/logs/0/task", Any)]),
];

#[test]
fn every_field_is_there_with_its_json_type() {
    let folder = PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("tests/golden/agentcraft");
    for (file, kind, fields) in TABLE {
        let text = std::fs::read_to_string(folder.join(format!("{file}.json"))).expect("there is a golden file");
        let message: Value = serde_json::from_str(&text).expect("one message");
        assert_eq!(message["type"].as_str(), kind.or(message["type"].as_str()), "{file}");
        for (path, kind) in fields {
            let value = message.pointer(path).unwrap_or_else(|| panic!("{file} has no {path}"));
            assert!(kind.fits(value), "{file}{path} is {value}, not {kind:?}");
        }
    }
    let files = std::fs::read_dir(folder).expect("the golden folder").filter_map(Result::ok);
    for file in files {
        let name = file.file_name().to_string_lossy().trim_end_matches(".json").to_owned();
        assert!(TABLE.iter().any(|(known, ..)| *known == name), "{name} is in no table");
    }
}
