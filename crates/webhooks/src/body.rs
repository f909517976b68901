//! What is sent. Events are told as on every other way of reading, spliced from the bytes of the log:
//!
//! ```json
//! {"webhook": "deploys", "project": "p", "events": [{"type": "...", "project": "p", "position": "..."}], "next": "..."}
//! ```
//!
//! with gaps among the events, and in `next` the position at which the next delivery begins. A command is the line that its
//! runner would take from `GET .../commands`:
//!
//! ```json
//! {"project": "p", "runner": "...", "command": {"type": "...", "id": "...", "lease": 1}}
//! ```

use bytes::Bytes;
use tidings_protocol::position::Position;
use tidings_protocol::project::Project;

/// A delivery of events, for the webhook of this name: `frames` hold events and gaps as
/// [`Json`](tidings_log::encoding::Json) tells them, `next` is the position behind which the next delivery begins.
pub fn events(webhook: &str, project: &Project, frames: &[Bytes], next: Position) -> Bytes {
    let mut out = format!("{{\"webhook\":{},\"project\":\"{project}\",\"events\":[", escaped(webhook)).into_bytes();
    for frame in frames {
        out.extend_from_slice(frame);
    }
    out.pop_if(|last| *last == b',');
    out.extend_from_slice(format!("],\"next\":\"{next}\"}}").as_bytes());
    out.into()
}

/// A delivery of a command: `line` is what its runner is told, a JSON object.
pub fn command(project: &Project, runner: &str, line: &[u8]) -> Bytes {
    let mut out = format!("{{\"project\":\"{project}\",\"runner\":{},\"command\":", escaped(runner)).into_bytes();
    out.extend_from_slice(line.trim_ascii());
    out.push(b'}');
    out.into()
}

/// A JSON string.
fn escaped(text: &str) -> String {
    serde_json::Value::from(text).to_string()
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};
    use tidings_log::encoding::{Encoding as _, Json};
    use tidings_protocol::frames::Marks;
    use tidings_protocol::gap::{Gap, GapCause};
    use tidings_protocol::wire;

    use super::*;

    fn project() -> Project {
        "demo".parse().expect("a name")
    }

    fn position(text: &str) -> Position {
        text.parse().expect("a position")
    }

    #[test]
    fn events_and_gaps_are_told_as_by_polling() {
        let stored = r#"{"type":"log","id":"e-1","data":{"n":1.00,"big":123456789012345678901234567890}}"#;
        let event = wire::Event { json: stored.into(), ..wire::Event::default() };
        let gap = Gap {
            after: position("5-0.k3f9a7c2m4xq"),
            before: position("9-0.k3f9a7c2m4xq"),
            cause: GapCause::Trimmed,
            lost: Some(3),
            certain: true,
            position: position("8-0.k3f9a7c2m4xq"),
        };
        let mut frames = [Vec::new(), Vec::new()];
        Json.event(&project(), position("5-0.k3f9a7c2m4xq"), &event, Marks::default(), &mut frames[0]);
        Json.gap(&project(), &gap, &mut frames[1]);
        let whole = events("deploys", &project(), &frames.map(Bytes::from), position("8-0.k3f9a7c2m4xq"));
        let text = str::from_utf8(&whole).expect("text");
        assert!(text.contains(r#""data":{"n":1.00,"big":123456789012345678901234567890}"#), "{text}");
        let mut told: Value = serde_json::from_slice(&whole).expect("JSON");
        told["events"][0]["data"] = Value::Null;
        let expected = json!({
            "webhook": "deploys", "project": "demo", "next": "8-0.k3f9a7c2m4xq",
            "events": [
                {"type": "log", "id": "e-1", "data": null, "project": "demo", "position": "5-0.k3f9a7c2m4xq"},
                {"type": "gap", "project": "demo", "position": "8-0.k3f9a7c2m4xq", "data": {
                    "after": "5-0.k3f9a7c2m4xq", "before": "9-0.k3f9a7c2m4xq", "cause": "trimmed", "lost": 3, "certain": true,
                }},
            ],
        });
        assert_eq!(told, expected);
    }

    #[test]
    fn a_command_is_its_line() {
        let line = b"{\"type\":\"chat\",\"id\":\"c-1\",\"data\":{\"n\":1.00},\"lease\":1}\n";
        let body = command(&project(), "a \"runner\"", line);
        let expected = r#"{"project":"demo","runner":"a \"runner\"","command":{"type":"chat","id":"c-1","data":{"n":1.00},"lease":1}}"#;
        assert_eq!(body, expected);
    }
}
