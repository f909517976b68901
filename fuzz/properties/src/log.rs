//! The log: messages on a project's channel, and checkpoints of its state.

use std::collections::BTreeMap;

use bytes::Bytes;
use tidings_protocol::compact::{JOINED_BYTES_MAX, compact};
use tidings_protocol::entry::{Body, ENTRY_BYTES_MAX, Entry, ForkNote};
use tidings_protocol::filter::Filter;
use tidings_protocol::fold::{FOLD_VERSION, State, StateLimits};
use tidings_protocol::frames::{Marks, write_event};
use tidings_protocol::position::{Branch, Position};
use tidings_protocol::wire;
use tidings_protocol::wire::effect::Op;

use crate::input::Input;

/// A message that is taken says the same when it is said again, its positions count up, and everything that a gateway does
/// with its events ends well: delivery, compaction, the fold and its checkpoint.
pub(crate) fn message(data: &[u8]) {
    let Ok(entry) = Entry::from_message(Bytes::copy_from_slice(data)) else { return };
    let again = Entry::from_message(entry.to_message()).expect("our own message is read");
    if again.body == Body::Elsewhere(u32::try_from(entry.count()).unwrap_or(u32::MAX)) {
        assert!(matches!(entry.body, Body::Elsewhere(_)) || data.len() > ENTRY_BYTES_MAX / 2);
    } else {
        assert_eq!(again, entry);
    }
    check_entry(&entry);
}

/// What holds for every entry, wherever it was read.
pub(crate) fn check_entry(entry: &Entry) {
    assert!(entry.count() > 0 && entry.position.n() >= entry.count());
    assert!(
        entry.first_id() <= entry.position.id && entry.first_id() > entry.position.back(entry.count() - 1).back(1).id
    );
    if let Body::Fork(note) = &entry.body {
        assert_eq!(ForkNote::from_text(&note.to_text()), Ok(*note));
    }
    if let Body::Events(events) = &entry.body {
        deliver(entry, events);
    }
    let mut state = State::new(StateLimits::default());
    state.apply(entry);
    check_state(&mut state);
}

fn deliver(entry: &Entry, events: &[wire::Event]) {
    let project = "p".parse().expect("a project's name");
    let filter = Filter { types: vec!["agent".into()], sessions: vec!["s".into()], ..Filter::default() };
    let placed = || events.iter().enumerate().map(|(index, event)| (entry.position_of(index), event));
    for (position, event) in placed() {
        let _ = filter.passes(event);
        let mut out = b"before".to_vec();
        write_event(&project, position, event, Marks { was: Some(&entry.prev), seen: true }, &mut out);
        assert!(out.starts_with(b"before") && out.ends_with(b",\"seen\":true}"));
    }
    let frames = compact(placed());
    let mut last = None;
    for frame in &frames {
        for item in &frame.items {
            assert!(Some(item.position.id) > last);
            last = Some(item.position.id);
            assert!(item.json.len() <= item.event.json.len().max(JOINED_BYTES_MAX));
        }
        assert_eq!(Some(frame.position.id), last);
    }
    assert_eq!(last, Some(entry.position.id), "compaction covers the whole stretch");
}

/// A checkpoint of the state is read as the same state.
fn check_state(state: &mut State) {
    let shown = shown(state);
    let fields: Vec<_> = state.touched().into_iter().filter_map(|(name, bytes)| Some((name, bytes?))).collect();
    let version = if fields.is_empty() && state.position().is_zero() { 0 } else { FOLD_VERSION };
    if version == FOLD_VERSION && !fields.iter().any(|(name, _)| name == "p") {
        return; // Nothing of it is kept in fields: a log that was passed without an event.
    }
    let restored = State::from_fields(state.position(), version, fields).expect("our own checkpoint is read");
    assert_eq!(self::shown(&restored), shown);
}

/// Everything that a state shows.
fn shown(state: &State) -> [String; 3] {
    let mut snapshot = Vec::new();
    state.snapshot_json(&mut snapshot);
    let sessions = state.sessions_json();
    let names = state.session_names().map(|name| {
        assert!(state.session_json(name).is_some() && state.logs(name).is_some());
        name.to_owned()
    });
    let names = names.collect::<Vec<_>>().join("\n");
    let summary = state.summary();
    assert!(summary.running <= summary.sessions);
    [snapshot, sessions, names.into_bytes()].map(|text| String::from_utf8_lossy(&text).into_owned())
}

/// Checkpoint fields that give a state: it has nothing to write that it was not told, and what it writes behind more events
/// completes the fields that it came from.
pub(crate) fn checkpoint(data: &[u8]) {
    let mut input = Input::new(data);
    let version = u32::from(input.byte() % 4);
    let position = Position::new(1_000, u64::from(input.byte()), "abcdefghijkl".parse().expect("a branch's name"));
    let mut fields = BTreeMap::new();
    while !input.is_empty() {
        let name = match input.byte() {
            b'p' => "p".to_owned(),
            b'g' => "g".to_owned(),
            other => format!("s:{}", char::from(other)),
        };
        let length = usize::from(input.byte()) << 8 | usize::from(input.byte());
        fields.insert(name, Bytes::copy_from_slice(input.take(length)));
    }
    check_fields(position, version, fields);
}

/// As [`checkpoint`] says.
pub(crate) fn check_fields(position: Position, version: u32, mut fields: BTreeMap<String, Bytes>) {
    let Ok(mut state) = State::from_fields(position, version, fields.clone()) else { return };
    // Before birth a log has no other position than zero.
    assert!(state.position() == position || position.is_zero());
    let before = shown(&state);
    for (name, bytes) in state.touched() {
        // Where there is no checkpoint yet, the project's field is written whatever happens.
        let first = version == 0 && name == "p";
        assert!(first || bytes.is_none() && fields.remove(&name).is_some(), "{name} was written without need");
    }
    assert_eq!(shown(&state), before);
    if version == 0 {
        return;
    }
    let names: Vec<String> = state.session_names().map(str::to_owned).chain(["new".to_owned()]).collect();
    for (name, n) in names.into_iter().zip(position.n() + 1..) {
        let effect = |op: Op, path: &[&str], value: &'static [u8]| wire::Effect {
            op: op.into(),
            path: path.iter().map(|&part| part.to_owned()).collect(),
            value: Bytes::from_static(value),
            limit: 2,
            ..wire::Effect::default()
        };
        let effects = vec![
            effect(Op::Set, &["title"], b"\"t\""),
            effect(Op::Push, &["logs"], b"1"),
            effect(Op::SetOnce, &["agents", "a", "name"], b"\"n\""),
            effect(Op::Delete, &["tools"], b""),
            wire::Effect { project: true, ..effect(Op::Add, &["usage", "tokens"], b"") },
        ];
        let event = wire::Event { session: name, effects, ..wire::Event::default() };
        let branch: Branch = position.branch;
        state.apply_event(Position::new(position.ms() + n, n, branch), &event);
    }
    for (name, bytes) in state.touched() {
        match bytes {
            Some(bytes) => fields.insert(name, bytes),
            None => fields.remove(&name),
        };
    }
    let restored = State::from_fields(state.position(), FOLD_VERSION, fields).expect("our own checkpoint is read");
    assert_eq!(shown(&restored), shown(&state));
}
