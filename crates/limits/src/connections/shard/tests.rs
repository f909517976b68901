//! The machine alone. Who waits is a number.

use super::*;

const S: u64 = 1_000_000;

fn begin(shard: &mut Shard<u32>, now_us: u64) -> Option<Call<u32>> {
    shard.begin(now_us, &Settings::default())
}

/// The call's names with what is kept and wanted, sorted.
fn said(call: &Call<u32>) -> Vec<(String, u32, u32)> {
    let mut said: Vec<_> = call.holds().into_iter().map(|hold| (hold.name, hold.kept, hold.wanted)).collect();
    said.sort();
    said
}

fn one(name: &str, kept: u32, wanted: u32) -> Vec<(String, u32, u32)> {
    vec![(name.to_owned(), kept, wanted)]
}

fn held(granted: &[u32]) -> Held {
    Held { lapsed: false, granted: granted.to_vec() }
}

/// A shard with so many places of `u`, told.
fn opened(places: u32) -> Shard<u32> {
    let mut shard = Shard::default();
    (0..places).for_each(|waiter| shard.wait("u", 9, waiter));
    let call = begin(&mut shard, 0).expect("somebody waits");
    let (told, more) = shard.done(0, call, &held(&[places]));
    assert!(told.iter().all(|told| told.granted && &*told.user == "u") && !more);
    shard
}

#[test]
fn the_first_who_wait_are_served() {
    let mut shard = opened(1);
    (0..3).for_each(|waiter| shard.wait("u", 9, waiter));
    let call = begin(&mut shard, 0).expect("somebody waits");
    assert_eq!(said(&call), one("u", 1, 3));
    shard.wait("u", 9, 7);
    assert!(begin(&mut shard, 0).is_none(), "one call at a time");
    let (told, more) = shard.done(0, call, &held(&[2]));
    let told: Vec<_> = told.into_iter().map(|told| (told.waiter, told.granted)).collect();
    assert_eq!(told, [(0, true), (1, true), (2, false)]);
    assert!(more, "another one waits");
    assert_eq!(said(&begin(&mut shard, 0).expect("at once")), one("u", 3, 1));
}

#[test]
fn places_are_not_spare_while_the_store_is_told_otherwise() {
    let mut shard = opened(3);
    shard.close("u");
    shard.close("u");
    assert!(shard.open_spare("u", 9));
    assert!(!shard.open_spare("u", 2), "a lower limit");
    let call = begin(&mut shard, 0).expect("a place is given back");
    assert_eq!(said(&call), one("u", 2, 0));
    assert!(!shard.open_spare("u", 9), "others may have it by now");
    shard.close("u");
    shard.done(0, call, &held(&[0]));
    assert!(shard.open_spare("u", 9));
    assert!(!shard.open_spare("u", 9));
}

#[test]
fn what_a_failed_call_said_is_said_again() {
    let mut shard = opened(2);
    shard.close("u");
    shard.wait("u", 9, 1);
    let call = begin(&mut shard, 0).expect("something changed");
    shard.wait("v", 9, 2);
    let mut waited = shard.failed(call);
    waited.sort_unstable();
    assert_eq!(waited, [1, 2], "the next call would fail as well");
    assert!(shard.open_within("v", 4, 1));
    assert!(!shard.open_within("v", 4, 1), "no more than the share");
    let again = begin(&mut shard, 0).expect("unknown what it counts");
    assert_eq!(said(&again), [one("u", 1, 0), one("v", 1, 0)].concat());
}

#[test]
fn a_lease_is_renewed_without_names_and_all_is_told_now_and_then() {
    let mut shard = opened(1);
    assert!(begin(&mut shard, 5 * S - 1).is_none());
    let call = begin(&mut shard, 5 * S).expect("a third of the lease");
    assert_eq!(said(&call), []);
    assert!(!shard.done(5 * S, call, &held(&[])).1);
    let call = begin(&mut shard, 60 * S).expect("it is due");
    assert_eq!(said(&call), one("u", 1, 0));
    shard.done(60 * S, call, &held(&[0]));
    let call = begin(&mut shard, 70 * S).expect("it is due");
    assert_eq!(said(&call), []);
    shard.done(70 * S, call, &Held { lapsed: true, granted: Vec::new() });
    assert_eq!(said(&begin(&mut shard, 70 * S).expect("it lapsed")), one("u", 1, 0));
}

#[test]
fn a_call_has_a_bounded_number_of_names_and_nothing_is_remembered_of_who_left() {
    let mut shard = Shard::default();
    for user in 0..HOLDS_MAX + 500 {
        assert!(shard.open_within(&user.to_string(), 1, 1));
    }
    for (names, is_more) in [(HOLDS_MAX, true), (500, false)] {
        let call = begin(&mut shard, 0).expect("there is more");
        assert_eq!(call.holds().len(), names);
        assert_eq!(shard.done(0, call, &held(&vec![0; names])).1, is_more);
    }
    for user in 0..HOLDS_MAX + 500 {
        shard.close(&user.to_string());
    }
    while let Some(call) = begin(&mut shard, 0) {
        let names = call.holds().len();
        shard.done(0, call, &held(&vec![0; names]));
    }
    assert!(shard.users.is_empty());
    assert!(begin(&mut shard, 99 * S).is_none(), "nothing is held, nothing is renewed");
}
