//! Each rule of L5, L6 and L7 on scripted answers; L9 in the modules below.
#![allow(clippy::unnecessary_wraps, reason = "a script holds answers and failures alike")]

mod deletion;
mod forks;
mod guards;
mod healing;

use super::*;
use crate::writer::budget::Commons;
use crate::writer::draw::gap_event;
use crate::writer::item::Slot;
use prost::Message as _;
use tidings_broker::{Answer, Heal, Refusal};
use tidings_protocol::entry::ENTRY_BYTES_MAX;
use tidings_protocol::entry::ForkKind;
use tidings_protocol::head::{Fork, Head};

const NOW: Duration = Duration::ZERO;

/// Remembers everything.
pub(super) fn keep() -> Keep {
    Keep { time: Duration::from_mins(1), bytes_max: usize::MAX / 2, total: Commons::new(usize::MAX / 2) }
}

/// Remembers the highest positions alone.
pub(super) fn forget() -> Keep {
    Keep { bytes_max: 0, ..keep() }
}

/// Draws names in order, so that tests can foretell them.
#[derive(Default)]
pub(super) struct Counting(pub(super) u32);

impl Counting {
    fn count(&mut self) -> u32 {
        self.0 += 1;
        self.0
    }
}

impl Draw for Counting {
    fn branch(&mut self) -> Branch {
        let count = self.count();
        format!("f{count:011}").parse().expect("12 characters")
    }

    fn writer(&mut self) -> Arc<str> {
        format!("w{}", self.count()).into()
    }

    fn gap(&mut self, lost: &Lost) -> wire::Event {
        let id = format!("gap{}", self.count());
        gap_event(lost, &id, 0)
    }
}

fn branch(name: char) -> Branch {
    name.to_string().repeat(12).parse().expect("12 characters")
}

fn position(n: u64, name: char) -> Position {
    Position::new(1, n, branch(name))
}

fn head(name: char, last: u64) -> Head {
    Head { branch: branch(name), last: position(last, name), ..Head::default() }
}

/// Branch `closed` ended at `survived`; `open` came after it.
fn forked(closed: char, survived: u64, open: char, last: u64) -> Head {
    let fork = Fork {
        closed: branch(closed),
        survived: position(survived, closed),
        kind: ForkKind::Failover,
        from: position(survived + 1, open),
    };
    Head { forks: vec![fork], ..head(open, last) }
}

fn appended(last: Position, count: u32) -> Result<Answer, CallError> {
    Ok(Answer::Appended { last, count, publish_error: None })
}

fn heal(head: Head, number: u64, answer: Option<(Position, u32)>) -> Result<Answer, CallError> {
    Ok(Answer::Heal(Box::new(Heal { head, number, answer })))
}

fn refused(refusals: &[(u32, RefusalWhy)]) -> Result<Answer, CallError> {
    Ok(Answer::Refused(refusals.iter().map(|&(index, why)| Refusal { index, why }).collect()))
}

fn unknown() -> Result<Answer, CallError> {
    Err(CallError::Unknown("cut".into()))
}

fn read_only() -> Result<Answer, CallError> {
    Err(CallError::Nothing(NothingWhy::Refusing("READONLY".into())))
}

/// A machine and the names it draws.
struct Rig {
    machine: Machine,
    draw: Counting,
}

impl Rig {
    /// A writer that has synced with a log whose open branch is `a`, at position 10, and appended one event at 11.
    fn synced() -> Rig {
        Rig::keeping(keep())
    }

    /// The same, remembering the highest positions alone.
    fn forgetful() -> Rig {
        Rig::keeping(forget())
    }

    fn keeping(keep: Keep) -> Rig {
        let machine = Machine::new("w".into(), 0, DedupeWindow::default(), keep);
        let mut rig = Rig { machine, draw: Counting::default() };
        rig.push("first", 0);
        let sync = rig.call();
        assert!(sync.batch.is_none() && sync.branch.is_none());
        rig.answer(Ok(Answer::Synced(Box::new(head('a', 10)))));
        let call = rig.call();
        assert_eq!((call.number, call.branch), (1, branch('a')));
        rig.answer(appended(position(11, 'a'), 1));
        rig
    }

    /// An event of request `request` with a remembered id.
    fn push(&mut self, id: &str, request: u64) {
        self.push_event(&event(id), request);
    }

    fn push_event(&mut self, event: &wire::Event, request: u64) {
        self.machine.push(Item::new(event, Slot { request, index: 0 }, false));
    }

    fn call(&mut self) -> AppendCall {
        self.machine.next(&mut self.draw).expect("there is something to send")
    }

    fn answer(&mut self, answer: Result<Answer, CallError>) -> Step {
        self.answer_at(NOW, answer)
    }

    fn answer_at(&mut self, now: Duration, answer: Result<Answer, CallError>) -> Step {
        self.machine.answered(now, answer, &mut self.draw)
    }
}

fn event(id: &str) -> wire::Event {
    wire::Event { id: id.into(), id_from_runner: true, json: "{}".into(), ..wire::Event::default() }
}

fn events(call: &AppendCall) -> Vec<wire::Event> {
    let batch = call.batch.as_ref().expect("a batch");
    wire::Batch::decode(batch.payload.clone()).expect("encoded events").events
}

fn ids(call: &AppendCall) -> Vec<String> {
    events(call).into_iter().map(|event| event.id).collect()
}

fn is_appended(step: &Step, request: u64, at: Position) -> bool {
    step.done.iter().any(|done| {
        done.slot.request == request
            && matches!(&done.verdict, Ok(Outcome::Appended { position, .. }) if *position == at)
    })
}

#[test]
fn l4_a_writer_that_knows_no_branch_syncs_first() {
    Rig::synced();
}

#[test]
fn l5_one_call_is_in_flight() {
    let mut rig = Rig::synced();
    rig.push("x", 1);
    rig.call();
    rig.push("y", 2);
    assert_eq!(rig.machine.next(&mut rig.draw), None);
}

#[test]
fn l5_an_unknown_outcome_is_sent_again_as_it_was_but_for_the_fresh_branch() {
    let mut rig = Rig::synced();
    rig.push("x", 1);
    let first = rig.call();
    assert!(rig.answer(unknown()).done.is_empty());
    rig.push("y", 2);
    let again = rig.call();
    assert_ne!(again.fresh, first.fresh);
    assert_eq!(AppendCall { fresh: first.fresh, ..again }, first);
    assert!(is_appended(&rig.answer(appended(position(12, 'a'), 1)), 1, position(12, 'a')));
}

#[test]
fn l5_after_an_unanswered_sending_only_an_answer_frees_number_and_bytes() {
    let mut rig = Rig::synced();
    rig.push("x", 1);
    let first = rig.call();
    rig.answer(unknown());
    rig.call();
    rig.answer(read_only());
    let third = rig.call();
    assert_eq!((third.number, third.batch), (first.number, first.batch));
}

#[test]
fn l5_a_sending_that_changed_nothing_frees_its_bytes_for_a_new_number() {
    let mut rig = Rig::synced();
    rig.push("x", 1);
    let first = rig.call();
    rig.answer(read_only());
    rig.push("y", 2);
    let second = rig.call();
    assert!(second.number > first.number);
    assert_eq!(ids(&second), ["x", "y"]);
}

#[test]
fn l5_bytes_are_given_up_after_ten_minutes_without_an_answer() {
    let mut rig = Rig::synced();
    rig.push("x", 1);
    let first = rig.call();
    rig.answer(unknown());
    rig.call();
    let step = rig.machine.answered(UNKNOWN_MAX, unknown(), &mut rig.draw);
    assert_eq!(step.done[0].verdict, Err(Failure::OutcomeUnknown));
    rig.push("y", 2);
    let next = rig.call();
    assert!(next.number > first.number);
    assert_eq!(ids(&next), ["y"]);
}

#[test]
fn l5_a_writer_found_stale_goes_on_under_a_new_name() {
    let mut rig = Rig::synced();
    rig.push("x", 1);
    let first = rig.call();
    let step = rig.answer(Ok(Answer::Stale { last: 99 }));
    assert!(step.notes.contains(&Note::Stale { last: 99 }));
    let second = rig.call();
    assert_ne!(second.writer, first.writer);
    assert_eq!((second.number, ids(&second)), (1, vec!["x".to_owned()]));
}

#[test]
fn l5_stale_behind_an_unanswered_sending_leaves_the_outcome_unknown() {
    let mut rig = Rig::synced();
    rig.push("x", 1);
    rig.call();
    rig.answer(unknown());
    rig.call();
    let step = rig.answer(Ok(Answer::Stale { last: 99 }));
    assert_eq!(step.done[0].verdict, Err(Failure::OutcomeUnknown));
    assert!(rig.machine.is_idle());
}

#[test]
fn l6_what_arrives_during_a_call_is_gathered_and_doubles_hear_of_the_first() {
    let mut rig = Rig::synced();
    rig.push("x", 1);
    rig.call();
    rig.push("y", 2);
    rig.push("z", 3);
    rig.push("y", 4);
    rig.answer(appended(position(12, 'a'), 1));
    assert_eq!(ids(&rig.call()), ["y", "z"]);
    let step = rig.answer(appended(position(14, 'a'), 2));
    assert!(is_appended(&step, 2, position(13, 'a')) && is_appended(&step, 3, position(14, 'a')));
    let double = step.done.iter().find(|done| done.slot.request == 4).expect("an answer for the double");
    let expected = Outcome::Duplicate { id: "y".into(), position: Some(position(13, 'a')) };
    assert_eq!(double.verdict, Ok(expected));
}

#[test]
fn l2_entries_are_cut_at_64_kib_and_a_bigger_event_stands_alone() {
    let mut rig = Rig::synced();
    let sized = |id: &str, bytes: usize| wire::Event { json: vec![b' '; bytes].into(), ..event(id) };
    for (id, bytes) in [("a", 30_000), ("b", 30_000), ("c", 30_000), ("big", 200_000), ("d", 1)] {
        rig.push_event(&sized(id, bytes), 1);
    }
    let mut entries = Vec::new();
    while !rig.machine.is_idle() {
        let call = rig.call();
        entries.push(ids(&call));
        let batch = call.batch.expect("a batch");
        assert!(batch.count == 1 || batch.payload.len() <= ENTRY_BYTES_MAX);
        rig.answer(appended(position(100, 'a'), batch.count));
    }
    assert_eq!(entries, [vec!["a", "b"], vec!["c"], vec!["big"], vec!["d"]]);
}

#[test]
fn l7_refused_events_are_answered_and_the_others_sent_under_a_new_number() {
    let mut rig = Rig::synced();
    for (id, request) in [("dup", 1), ("new", 2), ("jump", 3), ("old", 4)] {
        rig.push(id, request);
    }
    let first = rig.call();
    let step = rig.answer(refused(&[
        (0, RefusalWhy::Duplicate(position(5, 'a'))),
        (2, RefusalWhy::OutOfSequence { expected: 7 }),
        (3, RefusalWhy::Fenced { epoch: 9 }),
    ]));
    let verdicts: Vec<_> = step.done.iter().map(|done| (done.slot.request, done.verdict.clone())).collect();
    let duplicate = Outcome::Duplicate { id: "dup".into(), position: Some(position(5, 'a')) };
    assert_eq!(
        verdicts,
        [(1, Ok(duplicate)), (3, Ok(Outcome::OutOfSequence { expected: 7 })), (4, Ok(Outcome::Fenced { epoch: 9 })),]
    );
    let second = rig.call();
    assert!(second.number > first.number);
    assert_eq!(ids(&second), ["new"]);
}

#[test]
fn l7_a_producers_duplicate_has_no_position() {
    let mut rig = Rig::synced();
    rig.push("x", 1);
    rig.call();
    let step = rig.answer(refused(&[(0, RefusalWhy::DuplicateSequence(position(11, 'a')))]));
    assert_eq!(step.done[0].verdict, Ok(Outcome::Duplicate { id: "x".into(), position: None }));
}

#[test]
fn l7_a_producer_without_room_fails_alone() {
    let mut rig = Rig::synced();
    let of = |producer: &str, id: &str| wire::Event {
        producer: Some(wire::Producer { id: producer.into(), epoch: 1, seq: 1 }),
        ..event(id)
    };
    rig.push_event(&of("known", "k"), 1);
    rig.push("plain", 2);
    rig.push_event(&of("new", "n"), 3);
    rig.call();
    assert!(rig.answer(Ok(Answer::ProducersFull)).done.is_empty());
    assert_eq!(ids(&rig.call()), ["k", "plain"]);
    rig.answer(appended(position(13, 'a'), 2));
    assert_eq!(ids(&rig.call()), ["n"]);
    assert_eq!(rig.answer(Ok(Answer::ProducersFull)).done[0].verdict, Err(Failure::ProducersFull));
}

#[test]
fn waiting_events_that_went_unanswered_once_fail_as_unknown() {
    let mut rig = Rig::synced();
    rig.push("x", 1);
    rig.call();
    rig.answer(unknown());
    rig.call();
    rig.answer(heal(forked('a', 11, 'b', 12), 0, None));
    rig.push("y", 2);
    let verdicts: Vec<_> = rig.machine.fail_waiting(Failure::Memory).into_iter().map(|done| done.verdict).collect();
    assert_eq!(verdicts, [Err(Failure::OutcomeUnknown), Err(Failure::Memory)]);
}

#[test]
fn a_request_that_was_never_sent_is_forgotten_whole() {
    let mut rig = Rig::synced();
    rig.push("x", 1);
    rig.call();
    rig.push("y", 2);
    assert!(!rig.machine.forget(2), "nothing of it was sent");
    assert!(rig.machine.forget(1), "it is in the air");
    assert!(rig.answer(appended(position(12, 'a'), 1)).done.is_empty(), "nobody waits any more");
    assert!(rig.machine.is_idle());
}

#[test]
fn a_request_whose_only_sending_was_unanswered_stays_unknown_after_heal() {
    let mut rig = Rig::synced();
    rig.push("x", 1);
    rig.call();
    rig.answer(unknown());
    rig.call();
    rig.answer(heal(forked('a', 11, 'b', 12), 0, None));
    assert!(rig.machine.forget(1));
}

#[test]
fn waiting_events_fail_and_a_gap_that_is_owed_stays() {
    let mut rig = Rig::forgetful();
    rig.push("x", 1);
    rig.call();
    rig.answer(heal(forked('a', 9, 'b', 10), 0, None));
    rig.call();
    rig.answer(read_only());
    assert_eq!(rig.machine.fail_waiting(Failure::Memory)[0].verdict, Err(Failure::Memory));
    assert!(rig.machine.is_idle(), "a gap alone does not keep a writer trying");
    rig.push("y", 2);
    assert_eq!(ids(&rig.call()).len(), 2);
}

#[test]
fn l5_a_newer_format_behind_an_unanswered_sending_leaves_the_outcome_unknown() {
    let mut rig = Rig::synced();
    rig.push("x", 1);
    rig.call();
    rig.answer(unknown());
    rig.push("y", 2);
    rig.call();
    let step = rig.answer(Ok(Answer::NewerFormat(2)));
    let verdicts: Vec<_> = step.done.iter().map(|done| (done.slot.request, done.verdict.clone())).collect();
    assert_eq!(verdicts, [(1, Err(Failure::OutcomeUnknown)), (2, Err(Failure::NewerFormat(2)))]);
}

#[test]
fn a_newer_format_fails_everything_that_waits() {
    let mut rig = Rig::synced();
    rig.push("x", 1);
    rig.call();
    rig.push("y", 2);
    let step = rig.answer(Ok(Answer::NewerFormat(2)));
    assert!(step.done.iter().all(|done| done.verdict == Err(Failure::NewerFormat(2))));
    assert_eq!(step.done.len(), 2);
}
