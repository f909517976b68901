//! Slips: fields and waiting lines, for a while.

use std::collections::BTreeMap;
use std::sync::Arc;

use super::Subject;
use crate::slip::{Done, LINES_BYTES_MAX, LINES_MAX, Slip, Slips, Turn};

super::cases! {
    a_slip_is_made_once_and_lives_for_a_while
    fields_stay_until_they_are_set_anew
    lines_are_told_in_order_and_once
    a_slip_has_so_many_lines
    a_slip_has_so_many_bytes_of_lines
    a_turn_may_ask_for_the_value_of_a_field
    who_only_looks_changes_nothing
}

const TTL_MS: u64 = 60_000;

async fn turn(slips: &Arc<dyn Slips>, name: &str, turn: Turn) -> Option<Slip> {
    slips.turn(name.into(), Turn { ttl_ms: TTL_MS, ..turn }).await.expect("an answer")
}

async fn made(slips: &Arc<dyn Slips>, name: &str) -> Slip {
    turn(slips, name, Turn { makes: true, ..Turn::default() }).await.expect("it is made")
}

fn pairs(slip: &Slip) -> BTreeMap<&str, &str> {
    slip.fields.iter().map(|(name, value)| (name.as_str(), value.as_str())).collect()
}

async fn a_slip_is_made_once_and_lives_for_a_while(subject: &mut dyn Subject) {
    let (slips, start_ms) = (subject.broker().slips(), subject.clock().now_ms());
    assert_eq!(turn(&slips, "a b:{c}", Turn::default()).await, None);
    assert_eq!(made(&slips, "a b:{c}").await, Slip::default());
    subject.clock().set(start_ms + TTL_MS - 1);
    assert_eq!(turn(&slips, "a b:{c}", Turn::default()).await, Some(Slip::default()), "touched, it lives on");
    subject.clock().set(start_ms + 2 * TTL_MS - 2);
    assert_eq!(
        turn(&slips, "a b:{c}", Turn { set: vec![("x".into(), "1".into())], ..Turn::default() })
            .await
            .map(|slip| slip.fields.len()),
        Some(1)
    );
    subject.clock().set(start_ms + 3 * TTL_MS - 2);
    assert_eq!(turn(&slips, "a b:{c}", Turn::default()).await, None, "its time is over");
    assert_eq!(made(&slips, "a b:{c}").await, Slip::default(), "a new one is empty");
}

async fn fields_stay_until_they_are_set_anew(subject: &mut dyn Subject) {
    let slips = subject.broker().slips();
    let set = |name: &str, value: &str| Turn { makes: true, set: vec![(name.into(), value.into())], ..Turn::default() };
    turn(&slips, "s", set("a", "1")).await;
    turn(&slips, "s", set("b", "\n2 é")).await;
    let slip = turn(&slips, "s", set("a", "")).await.expect("it is there");
    assert_eq!(pairs(&slip), BTreeMap::from([("a", ""), ("b", "\n2 é")]));
    assert_eq!(turn(&slips, "t", Turn::default()).await, None, "slips are apart");
}

async fn lines_are_told_in_order_and_once(subject: &mut dyn Subject) {
    let slips = subject.broker().slips();
    let lines = |told, lines: &[&str]| Turn {
        makes: true,
        told,
        lines: lines.iter().map(|line| (*line).to_owned()).collect(),
        ..Turn::default()
    };
    let slip = turn(&slips, "s", lines(0, &["one", "two"])).await.expect("it is there");
    assert_eq!(slip.lines, BTreeMap::from([(1, "one".into()), (2, "two".into())]));
    let slip = turn(&slips, "s", lines(1, &["three"])).await.expect("it is there");
    assert_eq!(slip.lines, BTreeMap::from([(2, "two".into()), (3, "three".into())]));
    let slip = turn(&slips, "s", lines(3, &[])).await.expect("it is there");
    assert_eq!(slip.lines, BTreeMap::new());
    let slip = turn(&slips, "s", lines(0, &["four"])).await.expect("it is there");
    assert_eq!(slip.lines, BTreeMap::from([(4, "four".into())]), "numbers only grow");
}

async fn a_slip_has_so_many_lines(subject: &mut dyn Subject) {
    let slips = subject.broker().slips();
    let put = |told, lines: usize| Turn {
        makes: true,
        told,
        set: vec![("put".into(), lines.to_string())],
        lines: (0..lines).map(|n| n.to_string()).collect(),
        ..Turn::default()
    };
    let slip = turn(&slips, "s", put(0, LINES_MAX)).await.expect("it is there");
    assert_eq!((slip.done, slip.lines.len()), (Done::All, LINES_MAX));
    let slip = turn(&slips, "s", put(2, 3)).await.expect("it is there");
    assert_eq!((slip.done, slip.lines.len()), (Done::NoRoom, LINES_MAX), "all of them or none, and nothing else then");
    assert_eq!(pairs(&slip), BTreeMap::from([("put", LINES_MAX.to_string().as_str())]));
    let slip = turn(&slips, "s", put(3, 3)).await.expect("it is there");
    assert_eq!((slip.done, slip.lines.len()), (Done::All, LINES_MAX), "what was told makes room");
    assert_eq!(slip.lines.keys().next(), Some(&4));
}

async fn a_slip_has_so_many_bytes_of_lines(subject: &mut dyn Subject) {
    let slips = subject.broker().slips();
    let put = |told, bytes: usize| Turn { makes: true, told, lines: vec!["x".repeat(bytes)], ..Turn::default() };
    let done = async |name: &str, put: Turn| turn(&slips, name, put).await.expect("it is there").done;
    assert_eq!(done("large", put(0, LINES_BYTES_MAX + 1)).await, Done::NoRoom);
    assert_eq!(done("s", put(0, LINES_BYTES_MAX - 10)).await, Done::All);
    assert_eq!(done("s", put(0, 11)).await, Done::NoRoom);
    assert_eq!(done("s", put(0, 10)).await, Done::All);
    assert_eq!(done("s", put(0, 1)).await, Done::NoRoom);
    assert_eq!(done("s", put(1, LINES_BYTES_MAX - 10)).await, Done::All, "what was told makes room");
    assert_eq!(done("s", put(0, 1)).await, Done::NoRoom);
}

async fn a_turn_may_ask_for_the_value_of_a_field(subject: &mut dyn Subject) {
    let slips = subject.broker().slips();
    let set = |only: Option<(&str, &str)>, value: &str| Turn {
        makes: true,
        only: only.map(|(name, value)| (name.into(), value.into())),
        set: vec![("a".into(), value.into())],
        lines: vec![value.into()],
        ..Turn::default()
    };
    turn(&slips, "s", set(None, "1")).await;
    for other in [("a", "2"), ("b", "1"), ("b", "")] {
        let slip = turn(&slips, "s", set(Some(other), "3")).await.expect("it is there");
        assert_eq!((slip.done, pairs(&slip)["a"], slip.lines.len()), (Done::NotSo, "1", 1), "{other:?}");
    }
    let slip = turn(&slips, "s", set(Some(("a", "1")), "3")).await.expect("it is there");
    assert_eq!((slip.done, pairs(&slip)["a"], slip.lines.len()), (Done::All, "3", 2));
    let slip = turn(&slips, "new", set(Some(("a", "1")), "3")).await.expect("it is made all the same");
    assert_eq!((slip.done, slip.fields.len(), slip.lines.len()), (Done::NotSo, 0, 0));
}

async fn who_only_looks_changes_nothing(subject: &mut dyn Subject) {
    let (slips, start_ms) = (subject.broker().slips(), subject.clock().now_ms());
    let put = Turn { makes: true, set: vec![("a".into(), "1".into())], lines: vec!["one".into()], ..Turn::default() };
    turn(&slips, "s", put).await;
    let look = async |fields_only| {
        let slip = slips.turn("s".into(), Turn { fields_only, ..Turn::default() }).await.expect("an answer");
        slip.map(|slip| (slip.fields.len(), slip.lines.len()))
    };
    subject.clock().set(start_ms + TTL_MS - 1);
    assert_eq!(look(true).await, Some((1, 0)));
    assert_eq!(look(false).await, Some((1, 1)));
    subject.clock().set(start_ms + TTL_MS);
    assert_eq!(look(false).await, None, "it lives no longer for that");
}
