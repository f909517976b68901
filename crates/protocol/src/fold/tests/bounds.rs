//! Expiry and eviction, case by case; golden bytes.

use super::*;
use crate::entry::Body;
use crate::wire::{Effect, Event, effect::Op};
use history::branch;

/// Sets `path` of `session` at a position.
fn set(state: &mut State, ms: u64, session: &str, path: &[&str], value: &str) {
    let effect = Effect {
        op: Op::Set.into(),
        path: path.iter().map(|&name| name.into()).collect(),
        value: value.to_owned().into(),
        ..Effect::default()
    };
    event(state, ms, Event { session: session.into(), effects: vec![effect], ..Event::default() });
}

fn event(state: &mut State, ms: u64, event: Event) {
    let position = Position::new(ms, state.position().n() + 1, branch(0));
    state.apply(&Entry { position, prev: state.position(), total_bytes: 0, body: Body::Events(vec![event]) });
}

fn names(state: &State) -> Vec<&str> {
    state.session_names().collect()
}

fn gone(state: &State) -> Vec<&str> {
    state.gone.iter().map(|gone| &*gone.session).collect()
}

/// The state as the next process reads it, which knows nothing but the checkpoint.
fn reread(state: &mut State) -> State {
    let fields = state.touched().into_iter().filter_map(|(name, field)| Some((name, field?)));
    State::from_fields(state.position(), FOLD_VERSION, fields).expect("it was just written")
}

fn fork(state: &mut State, ms: u64, to: u8) {
    let note = ForkNote { closed: state.branch(), survived: state.position(), kind: ForkKind::Failover };
    let position = Position::new(ms, note.survived.n() + 1, branch(to));
    state.apply(&Entry { position, prev: note.survived, total_bytes: 0, body: Body::Fork(note) });
}

#[test]
fn an_ended_session_goes_an_hour_after_its_end_and_its_summary_a_week_later() {
    const HOUR: u64 = 3_600_000;
    let mut state = State::new(StateLimits::default());
    set(&mut state, 1_000, "old", &["title"], r#""T""#);
    set(&mut state, 2_000, "old", &["status"], r#""failed""#);
    set(&mut state, 3_000, "old", &["agents", "a", "name"], r#""A""#);
    set(&mut state, 3_000, "open", &["status"], r#""running""#);
    set(&mut state, 2_000 + HOUR - 1, "open", &["progress"], "1");
    assert_eq!(names(&state), ["old", "open"]);
    let mut state = reread(&mut state);
    set(&mut state, 2_000 + HOUR, "open", &["progress"], "2");
    assert_eq!((names(&state), gone(&state)), (vec!["open"], vec!["old"]));
    assert_eq!(
        String::from_utf8(state.sessions_json()).expect("text"),
        concat!(
            r#"[{"session":"open","live":true,"agents":0,"first_ms":3000,"last_ms":3602000,"status":"running"},"#,
            r#"{"session":"old","live":false,"agents":1,"first_ms":1000,"last_ms":3000,"ended_ms":2000,"title":"T","status":"failed"}]"#
        )
    );
    set(&mut state, 2_000 + HOUR + 7 * 24 * HOUR - 1, "open", &["progress"], "3");
    assert_eq!(gone(&state), ["old"]);
    set(&mut state, 2_000 + HOUR + 7 * 24 * HOUR, "open", &["progress"], "4");
    assert!(gone(&state).is_empty());
}

#[test]
fn a_session_that_goes_on_does_not_expire() {
    let mut state = State::new(TINY);
    set(&mut state, 100, "s", &["status"], r#""completed""#);
    set(&mut state, 110, "s", &["status"], r#""running""#);
    set(&mut state, 500, "other", &["a"], "1");
    assert_eq!((names(&state), gone(&state)), (vec!["other", "s"], vec![]));
    set(&mut state, 600, "s", &["lost"], r#""t""#);
    set(&mut state, 640, "other", &["a"], "1");
    assert_eq!((names(&state), gone(&state)), (vec!["other"], vec!["s"]));
    set(&mut state, 641, "s", &["status"], r#""running""#);
    assert_eq!((names(&state), gone(&state)), (vec!["other", "s"], vec![]), "one that comes back is no summary");
}

#[test]
fn of_too_many_sessions_the_longest_ended_goes_else_the_least_recently_active() {
    let mut state = State::new(TINY);
    set(&mut state, 1, "a", &["status"], r#""running""#);
    set(&mut state, 2, "b", &["status"], r#""running""#);
    // An event without effects is activity as well.
    event(&mut state, 3, Event { session: "a".into(), ..Event::default() });
    set(&mut state, 4, "c", &["status"], r#""completed""#);
    assert_eq!((names(&state), gone(&state)), (vec!["a", "c"], vec!["b"]));
    set(&mut state, 5, "d", &["status"], r#""running""#);
    assert_eq!((names(&state), gone(&state)), (vec!["a", "d"], vec!["b", "c"]), "c has ended, a has not");
}

#[test]
fn of_too_many_members_the_least_recently_written_goes() {
    let mut state = State::new(TINY);
    for (ms, agent) in [(1, "x"), (2, "y"), (3, "x"), (4, "z")] {
        set(&mut state, ms, "s", &["agents", agent, "m"], "1");
    }
    let agents: Vec<_> = state.sessions["s"].body.sections["agents"].keys().map(ToString::to_string).collect();
    assert_eq!(agents, ["x", "z"]);
}

/// One more fork than meta lists, and then some: the oldest branches are forgotten, ranks go on.
#[test]
fn ranks_go_on_over_more_forks_than_are_listed() {
    let mut state = State::new(StateLimits::default());
    set(&mut state, 1, "s", &["a"], "0");
    for name in 1..=40 {
        fork(&mut state, 1, name);
    }
    set_at(&mut state, 40, "1", &[]);
    assert_eq!(state.branches.names.len(), crate::head::FORKS_MAX + 1);
    let mut state = reread(&mut state);
    let lost = Position::new(1, state.position().n() + 5, branch(40));
    fork(&mut state, 1, 41);
    let json = |state: &State| String::from_utf8(state.session_json("s").expect("it lives")).expect("text");
    set_at(&mut state, 41, "2", &[lost]);
    assert!(json(&state).contains(r#""a":2"#), "it stood above what is there: {}", json(&state));
    set_at(&mut state, 41, "3", &[Position::new(1, 5, branch(20))]);
    assert!(json(&state).contains(r#""a":2"#), "it stood below what is there: {}", json(&state));
    set_at(&mut state, 41, "4", &[Position::new(1, 5, branch(2))]);
    assert!(json(&state).contains(r#""a":4"#), "its branch is forgotten, so it stands where it stands");
}

/// Sets cell `a` of session `s` on a branch, at the next position.
fn set_at(state: &mut State, on: u8, value: &str, was: &[Position]) {
    let effect = Effect { path: vec!["a".into()], value: value.to_owned().into(), ..Effect::default() };
    let was = was.iter().map(ToString::to_string).collect();
    let event = Event { session: "s".into(), effects: vec![effect], was, ..Event::default() };
    state.apply_event(Position::new(1, state.position().n() + 1, branch(on)), &event);
}

#[test]
fn a_deleted_session_is_remembered_but_not_shown() {
    let delete = Event {
        session: "s".into(),
        effects: vec![Effect { op: Op::Delete.into(), ..Effect::default() }],
        ..Event::default()
    };
    let mut state = State::new(StateLimits::default());
    set(&mut state, 1, "s", &["a"], "0");
    event(&mut state, 1, delete.clone());
    assert!(state.sessions.is_empty(), "without a fork there is nothing to remember");
    fork(&mut state, 1, 1);
    state.apply_event(Position::new(2, 4, branch(1)), &delete);
    assert_eq!((state.sessions.len(), names(&state).len(), state.summary().sessions), (1, 0, 0));
    assert_eq!((state.session_json("s"), state.sessions_json()), (None, b"[]".to_vec()));
    let hour = StateLimits::default().ended_ms;
    state.apply_event(Position::new(2 + hour, 5, branch(1)), &Event::default());
    assert_eq!((state.sessions.len(), gone(&state).len()), (0, 0));
}

#[test]
fn what_is_for_one_viewer_leaves_no_trace() {
    let mut state = State::new(TINY);
    let effect = Effect { path: vec!["a".into()], value: "1".into(), ..Effect::default() };
    event(&mut state, 1, Event { session: "s".into(), to: "v".into(), effects: vec![effect], ..Event::default() });
    assert_eq!((names(&state).len(), state.position().n()), (0, 1));
}

#[test]
fn malformed_effects_change_nothing() {
    let mut state = State::new(StateLimits::default());
    set(&mut state, 1, "s", &["a"], "1");
    let before = json(&state);
    set(&mut state, 1, "s", &[], "2");
    set(&mut state, 1, "s", &["x\0y"], "2");
    set(&mut state, 1, "s", &["p"; 9], "2");
    set(&mut state, 1, "s", &["big"], &"9".repeat(70_000));
    let unknown = Effect { op: 77, path: vec!["a".into()], ..Effect::default() };
    event(&mut state, 1, Event { session: "s".into(), effects: vec![unknown], ..Event::default() });
    assert_eq!(json(&state), before);
}

#[test]
fn an_entry_without_its_events_is_not_passed() {
    let mut state = State::new(TINY);
    let position = Position::new(5, 3, branch(0));
    state.apply(&Entry { position, prev: Position::ZERO, total_bytes: 0, body: Body::Elsewhere(3) });
    assert_eq!(state.position(), Position::ZERO);
}

/// A state with one of everything that a checkpoint can hold.
fn one_of_everything() -> State {
    let mut state = State::new(StateLimits { sessions: 1, ..StateLimits::default() });
    set(&mut state, 1_000, "gone", &["title"], r#""T""#);
    let effect = |op: Op, path: &[&str]| Effect {
        op: op.into(),
        path: path.iter().map(|&name| name.into()).collect(),
        value: if op == Op::Add { "".into() } else { "[1]".into() },
        number: if op == Op::Add { -5 } else { 0 },
        limit: 2,
        ..Effect::default()
    };
    fork(&mut state, 2_000, 1);
    let effects = vec![
        effect(Op::Set, &["agents", "a", "name"]),
        effect(Op::Add, &["agents", "a", "n", "m"]),
        effect(Op::Set, &["stages", "one"]),
        effect(Op::Push, &["logs"]),
        effect(Op::Delete, &["approvals", "q"]),
        Effect { project: true, ..effect(Op::Add, &["usage", "input_tokens"]) },
    ];
    let event = Event { session: "s".into(), effects, ..Event::default() };
    let position = Position::new(3_000, 3, branch(1));
    state.apply(&Entry { position, prev: state.position(), total_bytes: 0, body: Body::Events(vec![event]) });
    state
}

/// These bytes lie in stores: they may never read as anything else.
#[test]
fn golden_checkpoint() {
    let mut state = one_of_everything();
    let fields = state.touched();
    let hex = |bytes: &Bytes| bytes.iter().fold(String::new(), |text, byte| text + &format!("{byte:02x}"));
    let lines: Vec<String> =
        fields.iter().map(|(name, field)| format!("{name} {}", field.as_ref().map(hex).unwrap_or_default())).collect();
    assert_eq!(lines, GOLDEN);
    let stored = fields.into_iter().filter_map(|(name, field)| Some((name, field?)));
    let read = State::from_fields(state.position(), 1, stored).expect("golden bytes are a state");
    assert_eq!(json(&read), json(&state));
}

const GOLDEN: [&str; 3] = [
    "g 0a220a04676f6e65120808e80710e807180118b8172a0d7b227469746c65223a2254227d",
    "p 0a2512230a057573616765121a0a0c696e7075745f746f6b656e7310031a0818092a0408021003120c616161616161616161616161120c62\
     6262626262626262626262220d0a0173120808b81710b8171803",
    "s:s 0a130a046c6f677322050a035b315d2a040802100312330a066167656e747312290a016110031a0e0a046e006d0018092a04080210\
     031a120a056e616d650012035b315d2a0408021003121e0a0673746167657312140a036f6e6510031a0b12035b315d2a0408021003\
     1a140a0c617070726f76616c73007100120408021003",
];

#[test]
fn what_is_no_checkpoint_is_refused() {
    let mut state = one_of_everything();
    let fields: Vec<(String, Bytes)> =
        state.touched().into_iter().filter_map(|(name, field)| Some((name, field?))).collect();
    let read = |version, fields: Vec<_>| State::from_fields(state.position(), version, fields).map(|_| ());
    assert_eq!(read(FOLD_VERSION + 1, fields.clone()), Ok(()), "the next version is readable");
    assert_eq!(read(FOLD_VERSION + 2, fields.clone()), Err(StateError::Version(3)));
    assert_eq!(read(0, fields.clone()), Err(StateError::Version(0)));
    let without = |name: &str| fields.iter().filter(|field| field.0 != name).cloned().collect::<Vec<_>>();
    assert_eq!(read(1, without("p")), Err(StateError::Missing("p".into())));
    assert_eq!(read(1, without("s:s")), Err(StateError::Missing("s:s".into())));
    let none = State::of_sessions(state.position(), 1, without("s:s")).expect("some may be missing");
    assert_eq!(none.session_json("s"), None);
    let named = State::fields_of(["s"]);
    let named = fields.iter().filter(|(name, _)| named.contains(name)).cloned();
    let one = State::of_sessions(state.position(), 1, named).expect("the rest need not be there");
    assert_eq!(one.session_json("s"), state.session_json("s"));
    let mut broken = without("s:s");
    broken.push(("s:s".into(), Bytes::from_static(b"\xff")));
    assert_eq!(read(1, broken), Err(StateError::Malformed("s:s".into())));
    assert!(State::from_fields(Position::ZERO, 0, vec![]).is_ok(), "a log without a checkpoint");
}
