//! Slips: fields and waiting lines, for a while.

use std::collections::BTreeMap;
use std::sync::Arc;

use super::Subject;
use crate::slip::{LINES_MAX, Slip, Slips, Turn};

super::cases! {
    a_slip_is_made_once_and_lives_for_a_while
    fields_stay_until_they_are_set_anew
    lines_are_told_in_order_and_once
    a_slip_has_so_many_lines
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
    let lines = (0..LINES_MAX + 3).map(|n| n.to_string()).collect();
    let slip = turn(&slips, "s", Turn { makes: true, lines, ..Turn::default() }).await.expect("it is there");
    assert_eq!((slip.lines.len(), slip.lines.get(&1).map(String::as_str)), (LINES_MAX, Some("0")));
}
