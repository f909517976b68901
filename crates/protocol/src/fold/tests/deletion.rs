//! L19: what a deletion leaves of the state.

use super::*;
use crate::gap::{deletes_project, deletes_session, deletion};
use crate::head::Tombstone;
use crate::position::Position;

fn at(n: u64) -> Position {
    Position::new(1_000 + n, n, "aaaaaaaaaaaa".parse().expect("a branch"))
}

fn title(session: &str, ended: bool) -> wire::Event {
    let set = |name: &str, value: &'static str| wire::Effect {
        path: vec![name.into()],
        value: value.into(),
        ..wire::Effect::default()
    };
    let mut effects = vec![set("title", "\"t\"")];
    if ended {
        effects.push(set("status", "\"completed\""));
    }
    wire::Event { session: session.into(), effects, ..wire::Event::default() }
}

#[test]
fn a_deleted_session_is_gone_and_lives_again() {
    let mut state = State::new(StateLimits::default());
    state.apply_event(at(1), &title("s", false));
    state.apply_event(at(2), &title("t", false));
    let mut checkpoint = BTreeMap::new();
    write(&mut checkpoint, state.touched());
    state.apply_event(at(3), &deletion(Some("s"), "d", 0));
    assert_eq!(state.session_names().collect::<Vec<_>>(), ["t"]);
    write(&mut checkpoint, state.touched());
    assert_eq!(checkpoint.keys().collect::<Vec<_>>(), ["p", "s:t"]);
    state.apply_event(at(4), &title("s", false));
    assert_eq!(state.session_names().collect::<Vec<_>>(), ["s", "t"]);
}

#[test]
fn a_deleted_session_leaves_no_summary() {
    let mut state = State::new(StateLimits { ended_ms: 5, ..StateLimits::default() });
    state.apply_event(at(1), &title("s", true));
    state.apply_event(at(20), &title("t", false));
    assert!(String::from_utf8(state.sessions_json()).expect("text").contains(r#""session":"s""#));
    state.touched();
    state.apply_event(at(21), &deletion(Some("s"), "d", 0));
    assert!(!String::from_utf8(state.sessions_json()).expect("text").contains(r#""session":"s""#));
    let touched = state.touched();
    assert!(touched.iter().any(|(name, value)| name == "g" && value.is_none()), "{touched:?}");
}

#[test]
fn the_checkpoint_of_a_deleted_project_is_empty_where_it_stands() {
    let mut state = State::from_fields(at(7), 0, []).expect("an empty checkpoint");
    assert_eq!((state.position(), state.session_names().count()), (at(7), 0));
    state.apply_event(at(7), &title("s", false));
    assert_eq!(state.session_names().count(), 0, "it was deleted");
    let fields = state.touched().into_iter().filter_map(|(name, value)| Some((name, value?)));
    let again = State::from_fields(at(7), FOLD_VERSION, fields).expect("what the next step writes is read");
    assert_eq!(json(&again), json(&state));
}

#[test]
fn a_deletion_is_an_event_that_reads_as_a_gap() {
    let event = deletion(Some("my \"s\""), "d", 0);
    assert!(deletes_session(&event) && !deletes_project(&event));
    let json: serde_json::Value = serde_json::from_slice(&event.json).expect("JSON");
    assert_eq!((&json["type"], &json["session"]), (&"gap".into(), &"my \"s\"".into()));
    assert_eq!(json["data"], serde_json::json!({"after": "0-0", "cause": "deleted", "certain": true}));
    let event = deletion(None, "d", 0);
    assert!(deletes_project(&event) && !deletes_session(&event) && event.effects.is_empty());
}

#[test]
fn what_was_trimmed_before_it_was_folded_is_remembered_by_the_checkpoint() {
    let mut state = State::new(StateLimits::default());
    state.apply_event(at(1), &title("s", false));
    assert_eq!(state.incomplete_before(), None);
    state.skip_to(at(5));
    state.skip_to(at(4));
    state.apply_event(at(6), &title("s", false));
    let fields = state.touched().into_iter().filter_map(|(name, value)| Some((name, value?)));
    let mut again = State::from_fields(at(6), FOLD_VERSION, fields).expect("it was written so");
    assert_eq!((state.incomplete_before(), again.incomplete_before()), (Some(at(5)), Some(at(5))));
    // Of a project that was deleted nothing is missing.
    let note = ForkNote { closed: at(6).branch, survived: at(6), kind: ForkKind::Deleted };
    let position = Position::new(2_000, 7, "bbbbbbbbbbbb".parse().expect("a branch"));
    again.apply(&Entry { position, prev: at(6), total_bytes: 0, body: EntryBody::Fork(note) });
    assert_eq!(again.incomplete_before(), None);
}

#[test]
fn what_a_deletion_of_the_project_covers_is_not_folded() {
    let open = Position::new(2_000, 9, "bbbbbbbbbbbb".parse().expect("a branch"));
    let tombstone = Tombstone { session: String::new(), position: open, was: vec![at(8)] };
    let head = Head { branch: open.branch, last: open, tombstones: vec![tombstone], ..Head::default() };
    let put_back = wire::Event { was: vec![at(7).to_string()], ..title("old", false) };
    let events = vec![put_back, title("new", false)];
    let mut state = State::new(StateLimits::default());
    state.apply_visible(&Entry { position: open, prev: at(6), total_bytes: 0, body: EntryBody::Events(events) }, &head);
    assert_eq!((state.session_names().collect::<Vec<_>>(), state.position()), (vec!["new"], open));
}
