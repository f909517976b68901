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
    assert!(rig.call().delete, "before anything else");
    rig.answer(appended(position(12, 'd'), 1));
    let call = rig.call();
    assert_eq!((ids(&call), call.branch), (vec!["x".to_owned()], branch('d')));
    rig.answer(appended(position(13, 'd'), 1));
    // It stands there: its own fork is no news.
    rig.push("y", 3);
    rig.call();
    let mut head = forked('d', 12, 'e', 13);
    head.forks.insert(0, Fork { kind: ForkKind::Deleted, ..forked('c', 11, 'd', 12).forks[0] });
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
    assert!(rig.call().delete);
    rig.answer(appended(position(13, 'd'), 1));
    assert_eq!(ids(&rig.call()), ["x"]);
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
    assert!(rig.call().delete, "done again");
    rig.answer(appended(position(12, 'd'), 1));
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
    let step = rig.answer(Ok(Answer::DeletionsFull));
    assert_eq!(step.done, [Done { slot: Slot { request: 1, index: 0 }, verdict: Err(Failure::DeletionsFull) }]);
    assert_eq!(ids(&rig.call()), ["x"]);
}
