//! The tables of fields with their JSON types, as clients of the protocol read them.

use serde_json::Value;

/// What a field must be.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(crate) enum Is {
    Text,
    /// A text that is not empty.
    Name,
    /// One of these texts.
    Word(&'static [&'static str]),
    /// A number from 0 to 100.
    Percent,
    /// A number with a fraction, of seconds since the Unix epoch.
    UnixFloat,
    /// RFC 3339.
    Iso,
    /// RFC 3339, or null.
    IsoOrNull,
    TextOrNull,
    Bool,
    Count,
    Number,
    List,
    Object,
    Messages,
}
use Is::{
    Bool, Count, Iso, IsoOrNull, List, Messages, Name, Number, Object, Percent, Text, TextOrNull, UnixFloat, Word,
};

type Fields = &'static [(&'static str, Is)];

const LEVEL: Is = Word(&["info", "success", "error", "warning"]);
const AGENT_STATUS: Is = Word(&["idle", "working", "completed", "failed"]);
const STATUS: Is = Word(&["initializing", "in_progress", "completed", "failed", "paused"]);

/// The messages of the socket.
pub(crate) const MESSAGES: &[(&str, Fields)] = &[
    ("connection_established", &[("project_id", Name), ("message", Name)]),
    ("project_started", &[("project_id", Name), ("timestamp", UnixFloat)]),
    ("project_progress", &[("project_id", Name), ("progress", Percent), ("message", Text), ("timestamp", UnixFloat)]),
    (
        "agent_status_update",
        &[
            ("project_id", Name),
            ("agent", Name),
            ("status", AGENT_STATUS),
            ("progress", Percent),
            ("task", Text),
            ("timestamp", UnixFloat),
        ],
    ),
    ("workflow_stage_update", &[("project_id", Name), ("stage", Name), ("message", Name), ("timestamp", UnixFloat)]),
    (
        "workflow_log",
        &[
            ("project_id", Name),
            ("id", Name),
            ("message", Text),
            ("level", LEVEL),
            ("emoji", Name),
            ("timestamp", UnixFloat),
        ],
    ),
    (
        "project_completed",
        &[
            ("project_id", Name),
            ("url", Text),
            ("completion_url", Text),
            ("deployment_url", Text),
            ("timestamp", UnixFloat),
        ],
    ),
    ("project_error", &[("project_id", Name), ("error", Text), ("timestamp", UnixFloat)]),
    ("batch", &[("messages", Messages)]),
];

pub(crate) const PROJECT: Fields = &[
    ("id", Name),
    ("project_id", Name),
    ("name", Name),
    ("project_name", Name),
    ("project_type", Text),
    ("description", Text),
    ("status", STATUS),
    ("progress", Percent),
    ("stage", Name),
    ("message", Text),
    ("agents", List),
    ("completion_url", TextOrNull),
    ("deployment_url", TextOrNull),
    ("error", TextOrNull),
    ("created_at", IsoOrNull),
    ("updated_at", IsoOrNull),
    ("completed_at", IsoOrNull),
];
pub(crate) const PROJECTS: Fields = &[("projects", List), ("total", Count), ("limit", Count), ("skip", Count)];
pub(crate) const PROJECT_STATUS: Fields = &[
    ("project_id", Name),
    ("status", STATUS),
    ("current_stage", Name),
    ("stage", Name),
    ("progress", Percent),
    ("message", Text),
    ("parallel_execution", Bool),
    ("active_agents", List),
    ("stages_completed", List),
    ("errors", List),
    ("warnings", List),
    ("metadata", Object),
    ("completion_url", TextOrNull),
    ("deployment_url", TextOrNull),
    ("updated_at", IsoOrNull),
];
pub(crate) const AGENT: Fields = &[("name", Name), ("status", AGENT_STATUS), ("progress", Percent)];
pub(crate) const ACTIVE_AGENT: Fields = &[("stage", Name), ("agent", Name), ("status", AGENT_STATUS)];
pub(crate) const LOG: Fields =
    &[("id", Name), ("timestamp", Iso), ("level", LEVEL), ("message", Text), ("agent", Name), ("emoji", Name)];
pub(crate) const METRICS: Fields = &[
    ("total_projects", Count),
    ("active_projects", Count),
    ("completed_projects", Count),
    ("failed_projects", Count),
    ("avg_completion_time", Number),
];
pub(crate) const HEALTH: Fields = &[("status", Word(&["healthy", "degraded"])), ("message", Name)];
pub(crate) const CREATED: Fields = &[
    ("project_id", Name),
    ("project_type", Name),
    ("description", Name),
    ("status", STATUS),
    ("agents_config", Object),
    ("created_at", Iso),
    ("updated_at", Iso),
    ("estimated_completion", Iso),
    ("message", Name),
];

/// Holds a message against its table: every field, and no other.
pub(crate) fn check_message(message: &Value) {
    let kind = message["type"].as_str().expect("a message has a type");
    let (_, fields) = MESSAGES.iter().find(|(name, _)| *name == kind).unwrap_or_else(|| panic!("{kind} is unknown"));
    let mut rest = message.clone();
    rest.as_object_mut().expect("a message is an object").remove("type");
    check_fields(&rest, fields, &[]);
}

/// Holds an object against its table: every field, and no other but those that `may` be there.
pub(crate) fn check_fields(object: &Value, fields: Fields, may: Fields) {
    for (name, is) in fields {
        let value = object.get(name).unwrap_or_else(|| panic!("{name} is missing in {object}"));
        check_type(name, value, *is);
    }
    for (name, value) in object.as_object().unwrap_or_else(|| panic!("{object} is no object")) {
        if !fields.iter().any(|(known, _)| known == name) {
            let (_, is) = may.iter().find(|(known, _)| known == name).unwrap_or_else(|| panic!("{name} is new"));
            check_type(name, value, *is);
        }
    }
}

fn check_type(name: &str, value: &Value, is: Is) {
    let text = value.as_str();
    let iso = || text.and_then(tidings_protocol::timestamp::parse_rfc3339).is_some();
    let good = match is {
        Text => text.is_some(),
        Name => text.is_some_and(|text| !text.is_empty()),
        Word(words) => text.is_some_and(|text| words.contains(&text)),
        Percent => value.as_f64().is_some_and(|percent| (0.0..=100.0).contains(&percent)),
        UnixFloat => value.is_f64() && value.as_f64().is_some_and(|seconds| (1.7e9..2e9).contains(&seconds)),
        Iso => iso(),
        IsoOrNull => value.is_null() || iso(),
        TextOrNull => value.is_null() || text.is_some(),
        Bool => value.is_boolean(),
        Count => value.is_u64(),
        Number => value.is_number(),
        List => value.is_array(),
        Object => value.is_object(),
        Messages => {
            let messages = value.as_array().expect("a batch has messages");
            messages.iter().for_each(check_message);
            messages.len() > 1
        }
    };
    assert!(good, "{name} is {value}, not {is:?}");
}
