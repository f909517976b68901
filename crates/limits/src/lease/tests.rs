//! The machine alone, and several of them on one bucket.

use proptest::prelude::*;

use super::*;

const VALID: Duration = Duration::from_secs(5);
const S: u64 = 1_000_000;

/// 1,000 a second: portions of 50 to 100.
fn rate() -> Rate {
    Rate::per_second(1_000, 1_000)
}

fn taken(granted: u64, retry_ms: u64) -> Taken {
    Taken { granted, retry_after: Duration::from_millis(retry_ms) }
}

/// A lease that has its first portion.
fn leased() -> Lease {
    let mut lease = Lease::new(rate(), 0);
    let (verdict, ask) = lease.check(0, 1, || true);
    let ask = ask.expect("nothing is leased");
    assert_eq!((verdict, ask.wanted, ask.least), (Verdict::Empty, 50, 50));
    lease.on_taken(0, &ask, &taken(50, 0), VALID);
    lease
}

#[test]
fn a_portion_is_used_up_locally_and_the_next_is_asked_for_before() {
    let mut lease = leased();
    for _ in 0..38 {
        assert_eq!(lease.check(S, 1, || true), (Verdict::Allowed, None));
    }
    let (verdict, ask) = lease.check(S, 1, || true);
    assert_eq!(verdict, Verdict::Allowed);
    assert_eq!(ask.expect("a quarter is left").wanted, 100, "it was used up quickly");
    assert_eq!(lease.check(S, 11, || true), (Verdict::Allowed, None));
    assert_eq!(lease.check(S, 1, || true), (Verdict::Empty, None), "one question at a time");
    lease.on_failed();
    assert_eq!(lease.check(S, 1, || false), (Verdict::Empty, None), "it may not ask");
    assert!(lease.check(S, 1, || true).1.is_some());
}

#[test]
fn a_refusal_holds_as_long_as_the_store_said() {
    let mut lease = leased();
    assert_eq!(lease.check(0, 45, || false), (Verdict::Allowed, None));
    let ask = lease.check(0, 100, || true).1.expect("too little");
    assert_eq!(ask.least, 95);
    lease.on_taken(0, &ask, &taken(0, 40), VALID);
    assert_eq!(lease.check(39_999, 100, || true), (Verdict::Refused(Duration::from_micros(1)), None));
    assert_eq!(lease.check(39_999, 5, || true).0, Verdict::Allowed, "what is left is good");
    assert!(lease.check(39_999, 5, || true).1.is_some(), "less may be there");
    assert_eq!(lease.check(40_000, 100, || true).0, Verdict::Empty);
}

#[test]
fn what_is_not_used_runs_out_and_makes_portions_smaller() {
    let mut lease = leased();
    lease.portion = 100;
    assert_eq!(lease.check(5 * S - 1, 0, || true), (Verdict::Allowed, None));
    assert_eq!(lease.check(5 * S, 1, || true).0, Verdict::Empty);
    assert_eq!(lease.portion, 100, "half of it was used");
    lease.on_taken(5 * S, &Ask { rate: rate(), wanted: 100, least: 50 }, &taken(100, 0), VALID);
    assert_eq!(lease.check(10 * S, 1, || true).0, Verdict::Empty);
    assert_eq!(lease.portion, 50);
}

#[test]
fn what_is_let_through_ahead_is_paid_first() {
    let mut lease = leased();
    assert_eq!(lease.check(0, 48, || true).0, Verdict::Allowed);
    let ask = Ask { rate: rate(), wanted: 100, least: 50 };
    assert!(!lease.overdraw(103), "more than a portion");
    assert!(lease.overdraw(60), "2 are left, 58 are owed");
    assert!(!lease.overdraw(43));
    lease.on_taken(0, &ask, &taken(100, 0), VALID);
    assert_eq!((lease.left, lease.owed), (42, 0));
    lease.give_back(8);
    assert_eq!(lease.left, 50);
}

#[test]
fn a_share_is_let_through_without_a_lease() {
    let mut lease = Lease::new(rate(), 0);
    assert_eq!(lease.check_share(0, 500, 2), Ok(()), "half of the burst");
    assert_eq!(lease.check_share(0, 5, 2), Err(Duration::from_millis(10)));
    assert_eq!(lease.check_share(10_000, 5, 2), Ok(()), "half of the rate");
    assert_eq!(lease.owed, 100, "not all of it is owed");
}

#[test]
fn another_rate_forgets_the_refusal() {
    let mut lease = leased();
    let ask = lease.check(0, 100, || true).1.expect("too little");
    lease.on_taken(0, &ask, &taken(0, 5_000), VALID);
    lease.set_rate(rate());
    assert!(matches!(lease.check(0, 100, || true).0, Verdict::Refused(_)));
    lease.set_rate(Rate::per_second(10_000, 10_000));
    assert_eq!(lease.check(0, 100, || true).0, Verdict::Empty);
    assert!(!lease.is_idle(61 * S, Duration::from_mins(1)), "a question is in flight");
    lease.on_failed();
    assert!(lease.is_idle(61 * S, Duration::from_mins(1)));
}

/// One step of a history: time passes, a holder checks a cost, and some questions are answered.
#[derive(Debug, Clone)]
struct Turn {
    pause_us: u64,
    holder: usize,
    cost: u64,
    waits: bool,
    answers: bool,
}

fn turn() -> impl Strategy<Value = Turn> {
    let pause = prop_oneof![5 => 0_u64..2_000, 1 => 0_u64..3_000_000];
    let cost = prop_oneof![5 => 0_u64..4, 1 => 0_u64..400];
    (pause, 0_usize..3, cost, any::<bool>(), prop::bool::weighted(0.7))
        .prop_map(|(pause_us, holder, cost, waits, answers)| Turn { pause_us, holder, cost, waits, answers })
}

proptest! {
    /// Rate x time + burst + what was leased before, and one portion of each holder ahead of its answers.
    #[test]
    fn holders_together_stay_within_the_limit(
        units in 1_u64..5_000, burst in 1_u64..3_000, turns in prop::collection::vec(turn(), 1..300),
    ) {
        let rate = Rate::per_second(units, burst);
        let mut leases = [(); 3].map(|()| (Lease::new(rate, 0), None::<Ask>));
        let (mut store, mut now_us) = (Bucket::default(), 0);
        // When, how much was allowed, and what was leased before.
        let mut allowed: Vec<(u64, u64, u64)> = Vec::new();
        for turn in turns {
            now_us += turn.pause_us;
            let leased = leases.iter().map(|(lease, _)| lease.left).sum();
            let (lease, asked) = &mut leases[turn.holder];
            let (mut verdict, ask) = lease.check(now_us, turn.cost, || true);
            prop_assert!(ask.is_none() || asked.is_none(), "one question at a time");
            *asked = asked.or(ask);
            if let Some(ask) = asked.filter(|_| turn.answers) {
                let taken = store.take(now_us, &ask.rate, ask.wanted, ask.least);
                lease.on_taken(now_us, &ask, &taken, VALID);
                *asked = None;
                if verdict == Verdict::Empty {
                    let again = lease.check(now_us, turn.cost, || true);
                    (verdict, *asked) = (again.0, again.1);
                }
            }
            let is_allowed = verdict == Verdict::Allowed
                || (verdict == Verdict::Empty && !turn.waits && lease.overdraw(turn.cost));
            allowed.push((now_us, if is_allowed { turn.cost } else { 0 }, leased));
        }
        let ahead = 3 * largest(&rate);
        for from in 0..allowed.len() {
            let (from_us, _, leased) = allowed[from];
            let mut sum = 0;
            for (at_us, cost, _) in &allowed[from..] {
                sum += cost;
                let time = Duration::from_micros(at_us - from_us + 2);
                // A single cost may be above the burst; it is paid before the next.
                let bound = rate.within(time) + burst.max(400) + leased + ahead + 1;
                prop_assert!(sum <= bound, "{sum} in {time:?}, above {bound}");
            }
        }
    }
}
