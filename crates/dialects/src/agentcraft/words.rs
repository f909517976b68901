//! Words and numbers as this protocol writes them.

use serde_json::Value;

/// What an agent does. The document writes it in upper case, the code in lower case and partly in other words.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Status {
    Idle,
    Analyzing,
    Processing,
    Collaborating,
    Completed,
    Failed,
}

impl Status {
    /// The native word; what is not known works on something.
    pub(super) fn parse(word: &str) -> Status {
        match word {
            "idle" | "waiting" => Status::Idle,
            "analyzing" => Status::Analyzing,
            "collaborating" => Status::Collaborating,
            "completed" => Status::Completed,
            "failed" => Status::Failed,
            _ => Status::Processing,
        }
    }

    /// In flat messages.
    pub(super) fn upper(self) -> &'static str {
        match self {
            Status::Idle => "IDLE",
            Status::Analyzing => "ANALYZING",
            Status::Processing => "PROCESSING",
            Status::Collaborating => "COLLABORATING",
            Status::Completed => "COMPLETED",
            Status::Failed => "ERROR",
        }
    }

    /// In nested messages.
    pub(super) fn lower(self) -> &'static str {
        match self {
            Status::Idle => "idle",
            Status::Analyzing => "analyzing",
            Status::Processing => "processing",
            Status::Collaborating => "collaborating",
            Status::Completed => "finished",
            Status::Failed => "error",
        }
    }

    /// It works on something.
    pub(super) fn is_active(self) -> bool {
        matches!(self, Status::Analyzing | Status::Processing | Status::Collaborating)
    }

    /// It has done what it had to do, or cannot.
    pub(super) fn is_over(self) -> bool {
        matches!(self, Status::Completed | Status::Failed)
    }
}

/// Milliseconds as seconds, as its times are.
#[allow(clippy::cast_precision_loss)] // Exact far beyond any date that has a name.
pub(super) fn seconds(ms: u64) -> f64 {
    ms as f64 / 1_000.0
}

/// A progress as flat messages have it: a whole number from 0 to 100.
#[allow(clippy::cast_possible_truncation, clippy::cast_sign_loss)] // It is between 0 and 100.
pub(super) fn percent(progress: f64) -> u8 {
    progress.clamp(0.0, 100.0).round() as u8
}

/// A member of an object as text; absent, empty or of another kind: none.
pub(super) fn text<'a>(object: &'a Value, name: &str) -> Option<&'a str> {
    object.get(name).and_then(Value::as_str).filter(|text| !text.is_empty())
}

/// A progress, if the member is one.
pub(super) fn progress(object: &Value) -> Option<f64> {
    object.get("progress").and_then(Value::as_f64).map(|progress| progress.clamp(0.0, 100.0))
}

/// The first of members that is an object.
pub(super) fn details(value: Option<&Value>) -> Value {
    match value {
        Some(value @ Value::Object(_)) => value.clone(),
        None | Some(Value::Null) => Value::Object(serde_json::Map::new()),
        // The document has an object here, and a client may read members of it.
        Some(other) => serde_json::json!({ "value": other }),
    }
}
