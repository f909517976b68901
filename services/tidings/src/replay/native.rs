//! Our own events: NDJSON as `tail` writes it, an export's array, or the answer of a poll. What the server added goes, what
//! the runner said stays byte for byte.

use std::time::Duration;

use serde::Deserialize;
use serde_json::value::RawValue;
use tidings_protocol::timestamp::parse_rfc3339;
use tidings_protocol::vocabulary;

use super::recording::{Fault, Faults, Format, Pause, Place, Recording, Step};
use crate::client::draft::Draft;

/// An event as it was delivered, or as a runner would send it.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct Row {
    #[serde(rename = "type")]
    kind: String,
    id: Option<String>,
    time: Option<String>,
    session: Option<String>,
    agent: Option<String>,
    parent: Option<String>,
    runner: Option<String>,
    key: Option<String>,
    traceparent: Option<String>,
    data: Option<Box<RawValue>>,
    received: Option<String>,
    // The rest is the log's: it says where the event stood, and means nothing where it is posted again.
    #[serde(rename = "project")]
    _project: Option<String>,
    #[serde(rename = "position")]
    _position: Option<String>,
    #[serde(rename = "was")]
    _was: Option<String>,
    #[serde(rename = "seen")]
    _seen: Option<bool>,
    #[serde(rename = "producer")]
    _producer: Option<Box<RawValue>>,
}

#[derive(Deserialize)]
struct Answer<'a> {
    #[serde(borrow)]
    events: Vec<&'a RawValue>,
}

/// One event a line; blank lines are skipped.
pub(super) fn lines(text: &str) -> Result<Recording, Faults> {
    let lines = (1..).zip(text.lines()).filter(|(_, line)| !line.trim().is_empty());
    map(lines.map(|(line, text)| (Place::Line(line), text)))
}

/// A JSON array of events.
pub(super) fn list(text: &str) -> Result<Recording, Faults> {
    let list: Vec<&RawValue> = serde_json::from_str(text).map_err(|error| malformed(&error))?;
    map((0..).zip(list).map(|(index, event)| (Place::Index(None, index), event.get())))
}

/// An object whose `events` are a list.
pub(super) fn list_in_object(text: &str) -> Result<Recording, Faults> {
    let answer: Answer<'_> = serde_json::from_str(text).map_err(|error| malformed(&error))?;
    let named = |index| Place::Index(Some("events".to_owned()), index);
    map((0..).zip(answer.events).map(|(index, event)| (named(index), event.get())))
}

fn malformed(error: &serde_json::Error) -> Fault {
    Fault::new(Place::Whole, format!("is not a list of events: {error}"))
}

fn map<'a>(rows: impl Iterator<Item = (Place, &'a str)>) -> Result<Recording, Faults> {
    let mut recording = Recording::new(Format::Native);
    let mut faults = Vec::new();
    let mut before: Option<i64> = None;
    for (place, json) in rows {
        let row: Row = match serde_json::from_str(json) {
            Ok(row) => row,
            Err(error) => {
                faults.push(Fault::new(place, format!("is no event: {}", without_place(&error))));
                continue;
            }
        };
        // Also of a row that is left out: the time passed all the same.
        let at = row.received.as_deref().or(row.time.as_deref()).and_then(parse_rfc3339);
        if row.kind == "gap" {
            recording.gaps += 1;
            continue;
        }
        if vocabulary::is_reserved(&row.kind) || vocabulary::is_of_commands(&row.kind) {
            recording.reserved += 1;
            continue;
        }
        let pause = match (before, at) {
            (Some(before), Some(at)) => Pause::Known(Duration::from_millis(u64::try_from(at - before).unwrap_or(0))),
            _ if recording.steps.is_empty() => Pause::None,
            _ => Pause::Unknown,
        };
        // Clocks that go back are no pause, and the time until they catch up is none either.
        before = before.max(at);
        recording.steps.push(Step { pause, event: draft(row), place });
    }
    let is_something = !recording.steps.is_empty() || recording.gaps + recording.reserved > 0;
    match faults.first() {
        None => Ok(recording),
        Some(_) if is_something => Err(Faults(faults)),
        Some(first) => {
            let known = "native events as NDJSON or JSON, a SWE-agent trajectory, or AG-UI events";
            Err(Fault::new(Place::Whole, format!("is none of {known}; {} {}", first.place, first.what)).into())
        }
    }
}

fn draft(row: Row) -> Draft {
    let Row { kind, id, time, session, agent, parent, runner, key, traceparent, data, .. } = row;
    Draft { kind, id, time, session, agent, parent, runner, key, traceparent, data }
}

/// What serde says, without the line and column of a line that was cut out of its file.
fn without_place(error: &serde_json::Error) -> String {
    let text = error.to_string();
    text.rsplit_once(" at line ").map_or(text.clone(), |(what, _)| what.to_owned())
}
