//! The words of the protocol, and what of ours they stand for.

use serde_json::Value;
use tidings_protocol::timestamp;

use crate::Told;

/// Their agents, in the order in which they work.
pub const AGENTS: [&str; 5] =
    ["architect", "frontend_developer", "backend_developer", "qa_engineer", "devops_engineer"];

/// Their stages, in order.
pub const STAGES: [&str; 11] = [
    "initialization",
    "requirements_analysis",
    "architecture_design",
    "frontend_development",
    "backend_development",
    "integration",
    "security_scanning",
    "testing",
    "deployment_setup",
    "validation",
    "completion",
];

/// Where a word stands in a list of theirs; what they do not know comes behind all.
pub(super) fn rank(list: &[&str], word: &str) -> usize {
    list.iter().position(|known| *known == word).unwrap_or(list.len())
}

/// `idle`, `working`, `completed` or `failed`.
pub(super) fn agent_status(status: Option<&str>) -> &'static str {
    match status {
        Some("analyzing" | "processing" | "collaborating" | "working") => "working",
        Some("completed") => "completed",
        Some("failed") => "failed",
        _ => "idle",
    }
}

/// A number of percent: what was said, but all of it for who is done.
pub(super) fn progress(status: &str, said: &Value) -> Value {
    if status == "completed" {
        return 100.into();
    }
    if said.is_number() { said.clone() } else { 0.into() }
}

/// The status behind the end of an agent, as our state has it.
pub(super) fn agent_outcome(outcome: Option<&str>) -> &'static str {
    if matches!(outcome, Some("failed" | "failure" | "error")) { "failed" } else { "completed" }
}

/// `initializing`, `in_progress`, `completed`, `failed` or `paused`, by our session's status.
pub(super) fn project_status(status: Option<&str>) -> &'static str {
    match status {
        Some("completed") => "completed",
        Some("failed") => "failed",
        // A build that was stopped may be started again, and so may one whose runner went.
        Some("cancelled" | "lost") => "paused",
        Some(_) => "in_progress",
        None => "initializing",
    }
}

/// `info`, `success`, `error` or `warning`.
pub(super) fn level(level: Option<&str>) -> &'static str {
    match level {
        Some("success") => "success",
        Some("error" | "critical") => "error",
        Some("warning") => "warning",
        _ => "info",
    }
}

/// What stands before a line that brings no emoji of its own.
pub(super) fn emoji(level: &str) -> &'static str {
    match level {
        "success" => "✅",
        "error" => "❌",
        "warning" => "⚠️",
        _ => "ℹ️",
    }
}

/// What a command of theirs is called in the log of a build; none: it is not theirs.
pub(super) fn asked(kind: &str) -> Option<&'static str> {
    match kind {
        "session.create" => Some("Project start"),
        "session.restart" => Some("Project restart"),
        "session.stop" => Some("Project stop"),
        _ => None,
    }
}

/// Why a command failed, as far as its answer says.
pub(super) fn refusal<'a>(told: &Told<'a>) -> &'a str {
    let said = ["error", "code"].iter().filter_map(|name| told.text(name));
    { said }.find(|text| !text.is_empty()).unwrap_or("failed")
}

/// A name as people write it: `architecture_design` is `Architecture design`.
pub(super) fn title(name: &str) -> String {
    let mut chars = name.chars();
    let first = chars.next().map(|first| first.to_uppercase().to_string()).unwrap_or_default();
    first + &chars.as_str().replace('_', " ")
}

/// Seconds since the Unix epoch.
#[allow(clippy::cast_precision_loss)] // Milliseconds of dates are far below 2^52.
pub(super) fn seconds(ms: u64) -> f64 {
    ms as f64 / 1000.0
}

/// A time in our state, in milliseconds since the Unix epoch.
pub(super) fn time_ms(value: &Value) -> Option<u64> {
    value.as_str().and_then(timestamp::parse_rfc3339).and_then(|ms| u64::try_from(ms).ok())
}

/// Where a finished build is to be seen; empty: not said.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Addresses<'a> {
    pub(super) url: &'a str,
    pub(super) completion_url: &'a str,
    pub(super) deployment_url: &'a str,
}

/// Clients look at different ones of the three: what is not said is filled in from what is.
pub(super) fn addresses(outcome: &Value) -> Addresses<'_> {
    let of = |name: &str| outcome[name].as_str().filter(|text| !text.is_empty());
    let url = of("url").or(of("deployment_url")).or(of("completion_url")).unwrap_or_default();
    let completion_url = of("completion_url").unwrap_or(url);
    Addresses { url, completion_url, deployment_url: of("deployment_url").unwrap_or(url) }
}
