//! An event in words: a sign, how loud it is, and a text. Unknown types are shown as they are.

use std::borrow::Cow;

use serde::Deserialize;
use serde_json::Value;

use crate::terminal::Style;

/// An event as far as people care.
#[derive(Debug, Default, Deserialize)]
pub(super) struct Event {
    #[serde(rename = "type")]
    pub(super) kind: String,
    #[serde(default)]
    pub(super) session: String,
    #[serde(default)]
    pub(super) agent: String,
    #[serde(default)]
    pub(super) received: String,
    #[serde(default)]
    pub(super) seen: bool,
    #[serde(default)]
    pub(super) data: Value,
}

/// What to show of an event.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Words {
    /// One character that tells what happened.
    pub(super) sign: &'static str,
    /// How loud.
    pub(super) style: Style,
    /// The text; may hold line breaks and anything else that came from outside.
    pub(super) text: String,
    /// Worth several lines; else it is cut to one.
    pub(super) whole: bool,
}

impl Event {
    /// A member of data as text: a string as it is, other JSON as JSON, nothing as nothing.
    pub(super) fn text(&self, name: &str) -> Cow<'_, str> {
        match self.data.get(name) {
            None | Some(Value::Null) => Cow::Borrowed(""),
            Some(Value::String(text)) => Cow::Borrowed(text),
            Some(other) => Cow::Owned(other.to_string()),
        }
    }

    fn number(&self, name: &str) -> Option<f64> {
        self.data.get(name)?.as_f64()
    }

    fn percent(&self) -> String {
        self.number("progress").map_or_else(String::new, |share| format!("{share:.0}%"))
    }

    fn took(&self) -> String {
        match self.number("duration_ms") {
            None => String::new(),
            Some(ms) if ms < 1_000.0 => format!("{ms:.0} ms"),
            Some(ms) => format!("{:.1} s", ms / 1_000.0),
        }
    }
}

/// Describes an event. Gaps and token deltas are the caller's.
pub(super) fn describe(event: &Event) -> Words {
    let text = |name: &str| event.text(name);
    let line = |sign, style, text: String| Words { sign, style, text, whole: false };
    let whole = |sign, style, text: String| Words { sign, style, text, whole: true };
    match event.kind.as_str() {
        "session.started" => whole("▶", Style::Bold, joined(&[&text("title"), &text("mode")])),
        "session.progress" => {
            let parts = [&*event.percent(), &text("phase"), &text("stage"), &text("message")];
            line("·", Style::Dim, joined(&parts))
        }
        "session.stage" => {
            let (sign, style) = match &*text("status") {
                "completed" => ("◆", Style::Plain),
                "failed" => ("◆", Style::Bad),
                _ => ("◇", Style::Plain),
            };
            let words = format!("stage {} {}", text("stage"), text("status"));
            line(sign, style, joined(&[&words, &text("message")]))
        }
        "session.completed" => {
            let (summary, result) = (text("summary"), text("result"));
            let what = if summary.is_empty() { result } else { summary };
            whole("✔", Style::Good, joined(&["completed", &what, &text("url")]))
        }
        "session.failed" => whole("✘", Style::Bad, joined(&["failed", &text("error")])),
        "session.cancelled" => whole("■", Style::Warn, joined(&["cancelled", &text("reason")])),
        "session.lost" => whole("■", Style::Warn, joined(&["the runner is gone", &text("runner")])),
        "agent.started" => line("+", Style::Plain, joined(&[&text("name"), &text("role")])),
        "agent.status" => {
            let style = if text("status") == "failed" { Style::Bad } else { Style::Dim };
            let (message, task) = (text("message"), text("task"));
            let what = if message.is_empty() { task } else { message };
            line("·", style, joined(&[&text("status"), &event.percent(), &what]))
        }
        "agent.finished" => {
            let failed = matches!(&*text("outcome"), "failed" | "failure" | "error");
            let (sign, style) = if failed { ("✗", Style::Bad) } else { ("✓", Style::Good) };
            line(sign, style, joined(&["finished", &text("outcome"), &text("summary")]))
        }
        "agent.removed" => line("-", Style::Plain, joined(&["left", &text("reason")])),
        "agent.collaboration" => {
            let words = format!("{}: {} → {}", text("kind"), text("primary"), text("secondary"));
            line("⇢", Style::Bold, joined(&[&words, &text("reason")]))
        }
        "log" => {
            let (sign, style) = match &*text("level") {
                "debug" => (" ", Style::Dim),
                "success" => ("✓", Style::Good),
                "warning" => ("!", Style::Warn),
                "error" => ("✗", Style::Bad),
                _ => ("i", Style::Plain),
            };
            whole(sign, style, text("message").into_owned())
        }
        "alert" => whole("!", Style::Bad, joined(&[&text("level"), &text("component"), &text("message")])),
        "output" => {
            let (kind, content) = (text("kind"), text("content"));
            // What has lines of its own begins on one.
            let is_block = content.trim().contains('\n') && !kind.is_empty();
            let shown = if is_block { format!("{kind}\n{content}") } else { joined(&[&kind, &content]) };
            whole("▤", Style::Plain, shown)
        }
        "message.completed" => {
            let role = text("role");
            let who = if role == "assistant" { "" } else { &*role };
            whole("❝", Style::Plain, joined(&[who, &text("text")]))
        }
        "memory.updated" => {
            let count = text("count");
            let count = if count.is_empty() { String::new() } else { format!("{count} entries") };
            line("·", Style::Dim, joined(&["memory", &text("store"), &text("operation"), &count]))
        }
        "reasoning.started" => whole("∴", Style::Dim, joined(&["reasons", &text("mode"), &text("problem")])),
        "reasoning.step" => {
            let step = format!("{}/{}", text("step"), text("total_steps"));
            whole("∴", Style::Dim, joined(&[&step, &text("content")]))
        }
        "reasoning.completed" => whole("∴", Style::Plain, joined(&["concludes", &text("result")])),
        "tool.started" => line("→", Style::Plain, joined(&[&text("name"), &text("input")])),
        "tool.completed" => line("✓", Style::Good, joined(&[&text("name"), &event.took(), &text("output")])),
        "tool.failed" => whole("✗", Style::Bad, joined(&[&text("name"), &event.took(), &text("error")])),
        "swarm.topology" => {
            let agents = event.data.get("agents").and_then(Value::as_array).map_or(0, Vec::len);
            line("·", Style::Dim, joined(&["topology", &text("topology"), &format!("{agents} agents")]))
        }
        "usage" => {
            let tokens = format!("{} tokens in, {} out", text("input_tokens"), text("output_tokens"));
            let cost = event.number("cost_usd").map_or_else(String::new, |cost| format!("${cost:.4}"));
            line("Σ", Style::Dim, joined(&[&text("model"), &tokens, &cost]))
        }
        "approval.requested" => {
            let options = event.data.get("options").and_then(Value::as_array);
            let options: Vec<&str> = options.into_iter().flatten().filter_map(Value::as_str).collect();
            whole("?", Style::Warn, joined(&["asks", &text("question"), &options.join(" / ")]))
        }
        "approval.resolved" => {
            let by = text("by");
            whole("!", Style::Good, joined(&[&format!("answered: {}", text("decision")), &format!("by {by}")]))
        }
        kind => {
            let failed = matches!(kind.rsplit('.').next(), Some("failed" | "error"));
            let data = match &event.data {
                Value::Null => String::new(),
                Value::Object(members) => {
                    let shown = members.iter().map(|(name, value)| match value {
                        Value::String(text) => format!("{name}: {text}"),
                        other => format!("{name}: {other}"),
                    });
                    shown.collect::<Vec<_>>().join(", ")
                }
                other => other.to_string(),
            };
            line("•", if failed { Style::Bad } else { Style::Plain }, joined(&[kind, &data]))
        }
    }
}

/// A gap in words.
pub(super) fn describe_gap(event: &Event) -> String {
    let certain = event.data.get("certain").and_then(Value::as_bool).unwrap_or(true);
    let missing = match (event.data.get("lost").and_then(Value::as_u64), certain) {
        (Some(1), true) => "1 event is missing".to_owned(),
        (Some(lost), true) => format!("{lost} events are missing"),
        (Some(lost), false) => format!("up to {lost} events are missing"),
        (None, true) => "events are missing".to_owned(),
        (None, false) => "events may be missing".to_owned(),
    };
    let cause = match &*event.text("cause") {
        "deleted" => "deleted on request".to_owned(),
        "failover" => "the store changed over".to_owned(),
        "log_reset" => "the log started anew".to_owned(),
        "producer_dropped" => "dropped by the runner before sending".to_owned(),
        "trimmed" => "older than what the server keeps".to_owned(),
        other => other.to_owned(),
    };
    format!("{missing}: {cause}")
}

/// The parts that are there, with a dot between.
fn joined(parts: &[&str]) -> String {
    let parts: Vec<&str> = parts.iter().copied().filter(|part| !part.is_empty()).collect();
    parts.join(" · ")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn event(json: &str) -> Event {
        serde_json::from_str(json).expect("an event")
    }

    #[test]
    fn known_events_are_told_in_words() {
        let check = |json: &str, sign: &str, text: &str| {
            let words = describe(&event(json));
            assert_eq!((words.sign, words.text.as_str()), (sign, text));
        };
        check(r#"{"type":"session.started","data":{"title":"Fix it"}}"#, "▶", "Fix it");
        check(
            r#"{"type":"tool.completed","data":{"name":"grep","duration_ms":1234,"output":{"hits":2}}}"#,
            "✓",
            r#"grep · 1.2 s · {"hits":2}"#,
        );
        check(
            r#"{"type":"agent.status","data":{"status":"working","progress":65,"message":"reads"}}"#,
            "·",
            "working · 65% · reads",
        );
        check(
            r#"{"type":"approval.requested","data":{"question":"Deploy?","options":["yes","no"]}}"#,
            "?",
            "asks · Deploy? · yes / no",
        );
        check(r#"{"type":"my.own","data":{"a":"b","n":[1]}}"#, "•", "my.own · a: b, n: [1]");
        check(r#"{"type":"my.own","data":"just text"}"#, "•", "my.own · \"just text\"");
        check(r#"{"type":"log"}"#, "i", "");
    }

    #[test]
    fn gaps_say_how_many_as_far_as_that_is_known() {
        let check = |data: &str, text: &str| {
            assert_eq!(describe_gap(&event(&format!(r#"{{"type":"gap","data":{data}}}"#))), text);
        };
        check(r#"{"cause":"trimmed","lost":1,"certain":true}"#, "1 event is missing: older than what the server keeps");
        check(r#"{"cause":"failover","lost":9,"certain":false}"#, "up to 9 events are missing: the store changed over");
        check(r#"{"cause":"new_cause","certain":false}"#, "events may be missing: new_cause");
    }
}
