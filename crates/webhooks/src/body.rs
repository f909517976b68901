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
use tidings_protocol::frames::{self, Marks};
use tidings_protocol::gap::Gap;
use tidings_protocol::position::Position;
use tidings_protocol::project::Project;
use tidings_protocol::wire;

/// A delivery of events as it grows.
#[derive(Debug)]
pub struct EventsBody {
    project: Project,
    out: Vec<u8>,
    events: usize,
}

impl EventsBody {
    /// Of no events yet, for the webhook of this name.
    pub fn new(webhook: &str, project: &Project) -> EventsBody {
        let webhook = escaped(webhook);
        let out = format!("{{\"webhook\":{webhook},\"project\":\"{project}\",\"events\":[").into_bytes();
        EventsBody { project: project.clone(), out, events: 0 }
    }

    /// Adds an event.
    pub fn event(&mut self, position: Position, event: &wire::Event) {
        self.next();
        frames::write_event(&self.project, position, event, Marks::default(), &mut self.out);
    }

    /// Adds so many events and gaps by the bytes that they are told by, each with a comma behind it.
    pub fn told(&mut self, events: &[u8], count: usize) {
        self.next();
        self.out.extend_from_slice(events.strip_suffix(b",").unwrap_or(events));
        self.events += count.saturating_sub(1);
    }

    /// Adds a gap, which counts as an event.
    pub fn gap(&mut self, gap: &Gap) {
        self.next();
        frames::write_gap(&self.project, gap, &mut self.out);
    }

    fn next(&mut self) {
        if self.events > 0 {
            self.out.push(b',');
        }
        self.events += 1;
    }

    /// Events and gaps in it.
    pub fn events(&self) -> usize {
        self.events
    }

    /// Whether there is nothing to be told.
    pub fn is_empty(&self) -> bool {
        self.events == 0
    }

    /// Bytes so far.
    pub fn bytes(&self) -> usize {
        self.out.len()
    }

    /// The whole, with the position behind which the next delivery begins.
    pub fn finish(mut self, next: Position) -> Bytes {
        self.out.extend_from_slice(format!("],\"next\":\"{next}\"}}").as_bytes());
        self.out.into()
    }
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
    use tidings_protocol::gap::GapCause;

    use super::*;

    fn project() -> Project {
        "demo".parse().expect("a name")
    }

    fn position(text: &str) -> Position {
        text.parse().expect("a position")
    }

    #[test]
    fn events_and_gaps_are_told_as_by_polling() {
        let mut body = EventsBody::new("deploys", &project());
        assert!(body.is_empty());
        let stored = r#"{"type":"log","id":"e-1","data":{"n":1.00,"big":123456789012345678901234567890}}"#;
        let event = wire::Event { json: stored.into(), ..wire::Event::default() };
        body.event(position("5-0.k3f9a7c2m4xq"), &event);
        let gap = Gap {
            after: position("5-0.k3f9a7c2m4xq"),
            before: position("9-0.k3f9a7c2m4xq"),
            cause: GapCause::Trimmed,
            lost: Some(3),
            certain: true,
            position: position("8-0.k3f9a7c2m4xq"),
        };
        body.gap(&gap);
        assert_eq!((body.events(), body.is_empty()), (2, false));
        let bytes = body.bytes();
        let whole = body.finish(position("8-0.k3f9a7c2m4xq"));
        assert!(whole.len() > bytes);
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
