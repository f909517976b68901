//! Guards: the first event under a key stands, and one that comes back too late stands beside it (L9).

use super::*;

const JSON: &[u8] = br#"{"data":{"n":1}}"#;

fn guarded(id: &str, key: &str) -> wire::Event {
    let guard = wire::Guard { key: key.into(), until_ms: 9_000, note: format!("{id} was first") };
    wire::Event {
        json: JSON.into(),
        effects: vec![wire::Effect::default()],
        guard: Some(guard),
        id_from_runner: false,
        ..event(id)
    }
}

fn guards(call: &AppendCall) -> Vec<(u32, &str, u64, &str)> {
    let batch = call.batch.as_ref().expect("a batch");
    batch.guards.iter().map(|step| (step.index, &*step.key, step.until_ms, &*step.note)).collect()
}

fn settled(index: u32, n: u64, name: char) -> Result<Answer, CallError> {
    refused(&[(index, RefusalWhy::Settled(position(n, name)))])
}

/// A writer that had `one` acknowledged at 12, and finds a log that ends at 11 on another branch.
fn behind_a_fork() -> Rig {
    let mut rig = Rig::synced();
    rig.push_event(&guarded("one", "c:1"), 1);
    assert_eq!(guards(&rig.call()), [(0, "c:1", 9_000, "one was first")]);
    rig.answer(appended(position(12, 'a'), 1));
    rig.push("x", 2);
    rig.call();
    rig.answer(heal(forked('a', 11, 'b', 13), 0, None));
    rig
}

#[test]
fn who_comes_later_is_told_where_the_first_stands() {
    let mut rig = Rig::synced();
    rig.push_event(&guarded("one", "c:1"), 1);
    rig.push("x", 2);
    rig.call();
    let step = rig.answer(settled(0, 5, 'a'));
    let verdict = Ok(Outcome::Settled { first: position(5, 'a') });
    assert_eq!(step.done, [Done { slot: Slot { request: 1, index: 0 }, verdict }]);
    assert_eq!(ids(&rig.call()), ["x"], "the others go on");
}

#[test]
fn of_two_under_one_key_the_second_waits_for_the_firsts_answer() {
    let mut rig = Rig::synced();
    for (id, key, request) in [("one", "c:1", 1), ("other", "c:2", 2), ("two", "c:1", 3), ("x", "c:3", 4)] {
        rig.push_event(&guarded(id, key), request);
    }
    assert_eq!(ids(&rig.call()), ["one", "other"]);
    rig.answer(appended(position(13, 'a'), 2));
    assert_eq!(ids(&rig.call()), ["two", "x"]);
}

#[test]
fn l9_who_comes_back_too_late_stands_beside_the_first_and_says_so() {
    let mut rig = behind_a_fork();
    let call = rig.call();
    assert_eq!(
        (ids(&call), guards(&call).len()),
        (vec!["one".to_owned(), "x".to_owned()], 1),
        "it asks for its place first"
    );
    let step = rig.answer(settled(0, 12, 'b'));
    assert!(step.done.is_empty() && !step.notes.iter().any(|note| matches!(note, Note::GapOwed(_))));
    let call = rig.call();
    assert_eq!((ids(&call), guards(&call).len()), (vec!["one".to_owned(), "x".to_owned()], 0));
    let event = &events(&call)[0];
    assert_eq!(&event.json[..], br#"{"data":{"n":1,"superseded":true}}"#);
    assert_eq!((event.guard.clone(), event.effects.len()), (None, 0));
    assert_eq!(event.was, [position(12, 'a').to_string()]);
    let step = rig.answer(appended(position(15, 'b'), 2));
    assert!(step.notes.contains(&Note::PutBack { events: 1 }));
    assert!(rig.machine.is_idle());
}

#[test]
fn l9_who_comes_back_where_no_guard_has_room_stands_without_one() {
    let mut rig = behind_a_fork();
    rig.call();
    let step = rig.answer(refused(&[(0, RefusalWhy::GuardsFull)]));
    assert!(step.done.is_empty() && !step.notes.iter().any(|note| matches!(note, Note::GapOwed(_))));
    let call = rig.call();
    assert_eq!((ids(&call), guards(&call).len()), (vec!["one".to_owned(), "x".to_owned()], 0));
    assert_eq!(events(&call)[0].json, b"{\"data\":{\"n\":1}}"[..], "it says what it said");
    let step = rig.answer(appended(position(15, 'b'), 2));
    assert!(step.notes.contains(&Note::PutBack { events: 1 }));
}

#[test]
fn l9_who_stood_beside_the_first_asks_for_its_place_again_behind_the_next_fork() {
    let mut rig = behind_a_fork();
    rig.call();
    rig.answer(settled(0, 12, 'b'));
    rig.call();
    rig.answer(appended(position(15, 'b'), 2));
    rig.push("y", 3);
    rig.call();
    let mut head = forked('b', 13, 'c', 14);
    head.forks.insert(0, forked('a', 11, 'b', 13).forks[0]);
    rig.answer(heal(head, 0, None));
    let call = rig.call();
    assert_eq!(ids(&call)[0], "one");
    assert_eq!(guards(&call), [(0, "c:1", 9_000, "one was first")]);
    assert_eq!(&events(&call)[0].json[..], JSON);
    assert_eq!(events(&call)[0].was, [position(12, 'a').to_string(), position(14, 'b').to_string()]);
}

#[test]
fn l9_who_comes_back_and_is_there_already_is_a_duplicate() {
    let mut rig = behind_a_fork();
    rig.call();
    rig.answer(refused(&[(0, RefusalWhy::Duplicate(position(12, 'b')))]));
    assert_eq!(ids(&rig.call()), ["x"]);
}
