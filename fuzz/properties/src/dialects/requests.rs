//! What clients of dialects ask for over HTTP.

use serde_json::Value;
use serde_json::value::RawValue;
use tidings_commands::command::Command as Asked;
use tidings_dialects::View;
use tidings_dialects::agent_swarm::build::Build;
use tidings_dialects::agent_swarm::lines::Line;
use tidings_dialects::agent_swarm::orchestrate::{BEGINS_WITHIN_MS, Orchestrate, is_awaited, session_id};
use tidings_dialects::agent_swarm::{Target, polling, rest as swarm};
use tidings_dialects::agentcraft::client::ClientIds;
use tidings_dialects::agentcraft::{Shape, rest as craft};
use tidings_protocol::position::Position;

use super::NOW_MS;
use crate::input::Input;

/// Longest client id, in bytes.
const CLIENT_ID_BYTES_MAX: usize = 128;

/// The validator of an answer.
const ETAG: &str = "\"1-1.abcdefghijkl\"";

/// Bodies, ids in paths and validators: a build that is taken is asked of runners whole, a refusal is JSON; an id names what
/// it was made of; a validator is found where it stands, and nowhere else.
pub(crate) fn requests(data: &[u8]) {
    let mut input = Input::new(data);
    let choice = input.byte();
    let body = input.rest();
    orchestrated(body);
    let Ok(text) = std::str::from_utf8(body) else { return };
    match choice % 3 {
        0 => ids(text),
        1 => validators(text),
        _ => lines(text),
    }
}

fn json(text: &str) -> Value {
    serde_json::from_str(text).unwrap_or_else(|error| panic!("{error}: {text}"))
}

fn orchestrated(body: &[u8]) {
    let wanted = match Orchestrate::parse(body) {
        Ok(wanted) => wanted,
        Err(refusal) => {
            assert!(
                refusal.status() == 422 && refusal.body()["detail"].as_array().is_some_and(|faults| !faults.is_empty())
            );
            return;
        }
    };
    let session = session_id("01JD0000000000000000000000");
    let command = wanted.command(&session);
    let whole: Value = serde_json::from_slice(body).expect("it was read");
    let whole = whole.as_object().expect("it is an object");
    let data = command.data.as_object().expect("its data is the body");
    assert!(whole.iter().all(|(name, value)| name == "session" || data.get(name) == Some(value)));
    assert!(data["session"] == session && data.len() == whole.len() + usize::from(!whole.contains_key("session")));
    let asked = Asked { id: command.id, session: command.session, ..Asked::new(command.kind) };
    assert_eq!(asked.check(), Ok(()));
    let target = Target { project: super::project(), session: Some(session.clone()) };
    let created = json(&wanted.created(&target, NOW_MS));
    assert_eq!(created["project_id"], target.id());
    assert_eq!((&created["project_type"], &created["description"]), (&whole["project_type"], &whole["description"]));
}

fn ids(text: &str) {
    if let Some(target) = Target::parse(text) {
        assert_eq!(target.id(), text);
    }
    if is_awaited(text, NOW_MS) {
        assert!(!is_awaited(text, NOW_MS + 2 * BEGINS_WITHIN_MS + 1), "nobody waits for ever");
    }
    let (relaxed, strict) = (ClientIds::Relaxed.admits(text), ClientIds::Seed.admits(text));
    assert!(relaxed || !strict, "the narrower rule admits no more");
    if relaxed {
        assert!((1..=CLIENT_ID_BYTES_MAX).contains(&text.len()) && text.is_ascii());
    }
}

fn validators(text: &str) {
    let is_named = polling::is_unchanged(text, ETAG);
    assert!(!is_named || text.trim() == "*" || text.contains(ETAG));
    assert!(polling::is_unchanged(&format!("{text}, W/{ETAG}"), ETAG));
}

/// A log as text and as a table: a line is a line whatever it says.
fn lines(text: &str) {
    let line = |message: &str| Line {
        id: Position::ZERO.to_string(),
        time_ms: NOW_MS,
        level: "info",
        message: message.to_owned(),
        emoji: "x".to_owned(),
        agent: "a".to_owned(),
    };
    let all = [line(text), line("behind")];
    let csv = swarm::logs_csv(&all);
    let rows = csv_rows(&csv);
    assert!(rows.len() == 3 && rows.iter().all(|row| row.len() == 5), "{csv}");
    let guard = if text.starts_with(['=', '+', '-', '@', '\t', '\r']) { "'" } else { "" };
    assert_eq!(rows[1][4], format!("{guard}{text}"));
    let begin = swarm::logs_txt(&all[..1]);
    assert_eq!(swarm::logs_txt(&all), begin.clone() + &swarm::logs_txt(&all[1..]));
    assert!(begin.split('\n').skip(1).all(|line| line.is_empty() || line.starts_with("    ")), "{begin}");
    for bare in [false, true] {
        json(&swarm::logs(&all, bare));
    }
}

/// Reads a table as spreadsheets do.
fn csv_rows(csv: &str) -> Vec<Vec<String>> {
    let (mut rows, mut row, mut cell, mut inside) = (Vec::new(), Vec::new(), String::new(), false);
    let mut chars = csv.chars().peekable();
    while let Some(c) = chars.next() {
        match c {
            '"' if inside && chars.peek() == Some(&'"') => cell.extend(chars.next()),
            '"' => inside = !inside,
            ',' if !inside => row.push(std::mem::take(&mut cell)),
            '\r' if !inside && chars.peek() == Some(&'\n') => {
                chars.next();
                row.push(std::mem::take(&mut cell));
                rows.push(std::mem::take(&mut row));
            }
            c => cell.push(c),
        }
    }
    assert!(!inside && row.is_empty() && cell.is_empty(), "{csv}");
    rows
}

/// Answers by state, whatever it came from, are JSON.
pub(super) fn read_state(shape: Shape, view: &View<'_>) {
    let answers = view.sessions().flat_map(|(session, _)| {
        let shown =
            Build::live(view, session).map(|build| swarm::Shown { id: session, build, updated_ms: view.now_ms });
        let shown = shown.expect("it lives");
        [
            craft::logs(shape, view, session),
            craft::state(view, session),
            swarm::project(&shown),
            swarm::status(&shown),
            swarm::agents(&shown.build, false),
            swarm::metrics([shown.build]),
        ]
    });
    let whole = [craft::stats(&craft::Stats::default(), view), craft::health(true, view)];
    for answer in answers.chain(whole) {
        serde_json::from_str::<&RawValue>(&answer).unwrap_or_else(|error| panic!("{error}: {answer}"));
    }
}
