//! L19: deletions are kept and put back like events; what was deleted is not.

use tidings_protocol::gap::deletion;

use super::*;

/// Branch `a` ended at 11 by a deletion, which opened `b` at 12.
fn deleted() -> Head {
    let mut head = forked('a', 11, 'b', 12);
    head.forks[0].kind = ForkKind::Deleted;
    head
}

impl Rig {
    /// One that deleted the project: the deletion opened `b` at 12.
    fn that_deleted() -> Rig {
        let mut rig = Rig::synced();
        rig.push_event(&deletion(None, "d", 0), 1);
        assert!(rig.call().delete);
        rig.answer(appended(position(12, 'b'), 1));
        rig
    }

    /// The next call puts the project's deletion back, alone, behind the ends of these branches.
    fn deletes_again(&mut self, branches: &[&str]) -> Vec<Position> {
        let call = self.call();
        let batch = call.batch.as_ref().expect("it is appended");
        assert!(!call.delete && ids(&call) == ["d"], "{call:?}");
        assert_eq!((batch.deletions.len(), batch.deletions[0].session.as_str()), (1, ""));
        let ends = batch.deletions[0].was.clone();
        let names: Vec<String> = ends.iter().map(|end| end.branch.as_str()[..1].to_owned()).collect();
        assert_eq!(names, branches);
        ends
    }
}

#[test]
fn l19_a_project_is_deleted_by_a_call_of_its_own_in_its_order() {
    let mut rig = Rig::synced();
    rig.push("before", 1);
    rig.push_event(&deletion(None, "d", 0), 2);
    rig.push("after", 3);
    assert_eq!(ids(&rig.call()), ["before"]);
    rig.answer(appended(position(12, 'a'), 1));
    let call = rig.call();
    assert_eq!((call.delete, call.batch.as_ref(), call.number, call.branch), (true, None, 3, branch('a')));
    let step = rig.answer(appended(position(13, 'b'), 1));
    let outcome = Outcome::Appended { id: "d".into(), position: position(13, 'b') };
    assert_eq!(step.done, [Done { slot: Slot { request: 2, index: 0 }, verdict: Ok(outcome) }]);
    assert_eq!(step.notes, [Note::Deleted]);
    let call = rig.call();
    assert_eq!((ids(&call), call.branch), (vec!["after".to_owned()], branch('b')), "on the branch that it opened");
}

#[test]
fn l19_an_unanswered_deletion_is_sent_again_under_its_number() {
    let mut rig = Rig::synced();
    rig.push_event(&deletion(None, "d", 0), 1);
    let first = rig.call();
    rig.answer(unknown());
    let again = rig.call();
    assert!(again.delete && again.number == first.number && again.fresh != first.fresh);
    rig.answer(appended(Position::new(1, 12, first.fresh), 1));
    rig.push("x", 2);
    assert_eq!(rig.call().branch, first.fresh, "the branch that the first sending opened");
}

#[test]
fn l19_who_deletes_keeps_the_deletion_alone() {
    let mut rig = Rig::that_deleted();
    // The fork took the deletion, and the history behind it has what was deleted, but for the newest.
    rig.push("x", 2);
    rig.call();
    let step = rig.answer(heal(forked('a', 10, 'c', 11), 0, None));
    assert_eq!(step.notes, [Note::Healed, Note::PuttingBack { events: 1 }], "no word of what was deleted");
    rig.deletes_again(&["a"]);
    rig.answer(appended(position(12, 'c'), 1));
    let call = rig.call();
    assert_eq!((ids(&call), call.branch), (vec!["x".to_owned()], branch('c')));
    rig.answer(appended(position(13, 'c'), 1));
    // It stands there.
    rig.push("y", 3);
    rig.call();
    let mut head = forked('c', 12, 'e', 13);
    head.forks.insert(0, forked('a', 10, 'c', 11).forks[0]);
    rig.answer(heal(head, 0, None));
    assert_eq!(ids(&rig.call()), ["x", "y"]);
}

#[test]
fn l19_what_came_after_a_lost_deletion_comes_back_behind_it() {
    let mut rig = Rig::that_deleted();
    rig.push("x", 2);
    rig.call();
    rig.answer(appended(position(13, 'b'), 1));
    rig.machine.probed("another store", NOW);
    rig.call();
    rig.answer(heal(forked('a', 11, 'c', 12), 0, None));
    rig.deletes_again(&["a"]);
    rig.answer(appended(position(13, 'c'), 1));
    assert_eq!(ids(&rig.call()), ["x"]);
}

#[test]
fn l19_a_deletion_stands_behind_the_branches_that_its_writer_knew() {
    let mut rig = Rig::synced();
    rig.push("x", 1);
    rig.call();
    rig.answer(heal(forked('a', 11, 'b', 12), 0, None));
    rig.call();
    rig.answer(appended(position(13, 'b'), 1));
    rig.push_event(&deletion(None, "d", 0), 2);
    assert!(rig.call().delete);
    rig.answer(appended(position(14, 'c'), 1));
    rig.machine.probed("another store", NOW);
    rig.call();
    rig.answer(heal(forked('a', 9, 'z', 10), 0, None));
    let ends = rig.deletes_again(&["b", "a"]);
    assert_eq!(ends[1], position(11, 'a'), "where it was cut then");
    rig.answer(appended(position(11, 'z'), 1));
    // Lost once more, it stands where it first stood.
    rig.push("y", 3);
    rig.call();
    rig.answer(heal(forked('a', 9, 'y', 10), 0, None));
    assert_eq!(rig.deletes_again(&["b", "a"]), ends);
}

#[test]
fn l19_a_deletion_that_stands_after_all_is_done_again_from_there() {
    let mut rig = Rig::synced();
    rig.push_event(&deletion(None, "d", 0), 1);
    let first = rig.call();
    rig.answer(unknown());
    rig.call();
    rig.answer(heal(forked('a', 11, 'c', 12), 0, None));
    assert!(rig.call().delete, "of this history nobody knows it");
    rig.answer(unknown());
    // The first history is back, and has it.
    let fork = Fork { kind: ForkKind::Deleted, ..forked('a', 11, 'b', 12).forks[0] };
    let head_of_first = Head { forks: vec![fork], ..head('b', 12) };
    rig.call();
    let step = rig.answer(heal(head_of_first, first.number, Some((position(12, 'b'), 1))));
    assert_eq!(step.done.len(), 1);
    rig.push("x", 2);
    rig.call();
    rig.answer(heal(forked('a', 11, 'z', 12), 0, None));
    rig.deletes_again(&["a"]);
}

#[test]
fn l19_a_deletion_that_is_news_empties_memory() {
    let mut rig = Rig::synced();
    rig.push("x", 1);
    rig.call();
    let step = rig.answer(heal(deleted(), 0, None));
    assert_eq!(step.notes, [Note::Healed], "nothing is put back, no loss is told");
    assert_eq!(ids(&rig.call()), ["x"]);
}

#[test]
fn l19_a_deletion_that_is_news_leaves_the_own_one() {
    let mut rig = Rig::that_deleted();
    rig.push("kept", 2);
    rig.call();
    rig.answer(appended(position(13, 'b'), 1));
    rig.push("x", 3);
    rig.call();
    // The own deletion is lost, another ingest deleted since.
    let fork = Fork { kind: ForkKind::Deleted, ..forked('a', 10, 'c', 11).forks[0] };
    rig.answer(heal(Head { forks: vec![fork], ..head('c', 11) }, 0, None));
    rig.deletes_again(&["a"]);
    rig.answer(appended(position(12, 'c'), 1));
    assert_eq!(ids(&rig.call()), ["x"]);
}

#[test]
fn l19_a_sessions_deletion_is_an_event_that_is_put_back() {
    let mut rig = Rig::synced();
    rig.push_event(&deletion(Some("s"), "d", 0), 1);
    let call = rig.call();
    let batch = call.batch.as_ref().expect("a batch");
    assert_eq!((batch.deletions.len(), batch.deletions[0].session.as_str()), (1, "s"));
    assert!(!call.delete && batch.deletions[0].was.is_empty());
    rig.answer(appended(position(12, 'a'), 1));
    rig.push("x", 2);
    rig.call();
    rig.answer(heal(forked('a', 11, 'b', 12), 0, None));
    let call = rig.call();
    assert_eq!(ids(&call), ["d", "x"]);
    let deletions = &call.batch.as_ref().expect("a batch").deletions;
    assert_eq!((deletions[0].index, deletions[0].was.as_slice()), (0, &[position(12, 'a')][..]));
}

#[test]
fn l19_too_many_deleted_sessions_refuse_those_alone() {
    let mut rig = Rig::synced();
    rig.push_event(&deletion(Some("s"), "d", 0), 1);
    rig.push("x", 2);
    rig.call();
    let step = rig.answer(refused(&[(0, RefusalWhy::DeletionsFull)]));
    assert_eq!(step.done, [Done { slot: Slot { request: 1, index: 0 }, verdict: Err(Failure::DeletionsFull) }]);
    assert_eq!(ids(&rig.call()), ["x"]);
}
