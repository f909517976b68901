//! The lines of a build's log: one rule for the socket, the polls and the exports.

use serde_json::Value;

use super::words;
use crate::Told;

/// The types that may be lines: what is read from the log for polls and exports.
pub const TYPES: [&str; 6] = ["alert", "command.failed", "log", "session.cancelled", "session.lost", "session.stage"];

/// A line.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Line {
    /// Where it stood first: the same after a failover that made it stand elsewhere.
    pub id: String,
    /// In milliseconds since the Unix epoch.
    pub time_ms: u64,
    /// `info`, `success`, `error` or `warning`.
    pub level: &'static str,
    /// The text.
    pub message: String,
    /// Never empty.
    pub emoji: String,
    /// Who said it; `system`: nobody in particular.
    pub agent: String,
}

impl Line {
    /// The line that an event is, if it is one.
    pub fn of(told: &Told<'_>) -> Option<Line> {
        if told.session().is_empty() {
            return None;
        }
        let text = |name: &str| told.text(name).filter(|text| !text.is_empty());
        let (level, message) = match told.kind() {
            "log" => (words::level(text("level")), text("message").unwrap_or_default().to_owned()),
            "alert" => {
                let level = if told.data()["resolved"] == Value::Bool(true) { Some("success") } else { text("level") };
                let component = text("component").map(|component| format!("{component}: ")).unwrap_or_default();
                (words::level(level), component + text("message").unwrap_or_default())
            }
            "command.failed" => {
                ("error", said(&format!("{} failed", words::asked(text("type")?)?), Some(words::refusal(told))))
            }
            "session.stage" => {
                let (level, word) = match text("status")? {
                    "completed" => ("success", "completed"),
                    "failed" => ("error", "failed"),
                    _ => return None,
                };
                (level, said(&format!("{} {word}", words::title(text("stage")?)), text("message")))
            }
            "session.cancelled" => ("warning", said("Project stopped", text("reason"))),
            "session.lost" => ("warning", said("The runner is gone", text("runner"))),
            _ => return None,
        };
        let agent = [told.agent(), text("source").unwrap_or_default()].into_iter().find(|name| !name.is_empty());
        Some(Line {
            id: told.event.was.first().cloned().unwrap_or_else(|| told.position.to_string()),
            time_ms: told.time_ms(),
            level,
            message,
            emoji: text("emoji").unwrap_or(words::emoji(level)).to_owned(),
            agent: agent.unwrap_or("system").to_owned(),
        })
    }
}

fn said(what: &str, more: Option<&str>) -> String {
    more.map_or_else(|| what.to_owned(), |more| format!("{what}: {more}"))
}
