//! L9 for what has left memory, and for batches whose outcome another history knows.

use tidings_protocol::head::FORKS_MAX;

use super::*;

#[test]
fn l9_heal_adopts_the_open_branch() {
    let mut rig = Rig::forgetful();
    rig.push("x", 1);
    let first = rig.call();
    // Position 11 was acknowledged and survived: nothing is owed.
    rig.answer(heal(forked('a', 11, 'b', 12), 0, None));
    let second = rig.call();
    assert_eq!((second.branch, ids(&second)), (branch('b'), vec!["x".to_owned()]));
    assert!(second.number > first.number);
}

#[test]
fn l9_what_was_acknowledged_and_is_not_in_the_log_is_told_first() {
    let mut rig = Rig::forgetful();
    rig.push("x", 1);
    rig.call();
    let step = rig.answer(heal(forked('a', 9, 'b', 10), 0, None));
    let lost = Lost { after: position(9, 'a'), acknowledged: position(11, 'a'), certain: true };
    assert!(step.notes.contains(&Note::GapOwed(lost)));
    let call = rig.call();
    assert_eq!(ids(&call)[1..], ["x"]);
    let gap = events(&call)[0].gap.clone().expect("the gap comes first");
    let (after, before) = (position(9, 'a').to_string(), position(12, 'a').to_string());
    assert_eq!(gap, wire::Gap { after, before, cause: "failover".into(), lost: None, certain: true });
    rig.answer(appended(position(12, 'b'), 2));
    // Told once.
    rig.push("y", 2);
    rig.call();
    rig.answer(heal(forked('a', 9, 'b', 12), 0, None));
    assert_eq!(ids(&rig.call()), ["y"]);
}

#[test]
fn l9_a_duplicate_is_owed_too() {
    let mut rig = Rig::forgetful();
    rig.push("x", 1);
    rig.call();
    rig.answer(refused(&[(0, RefusalWhy::Duplicate(position(20, 'a')))]));
    rig.push("y", 2);
    rig.call();
    // 11, which it appended itself, survived; 20, which it acknowledged again, did not.
    let step = rig.answer(heal(forked('a', 15, 'b', 16), 0, None));
    assert!(step.notes.iter().any(|note| matches!(note, Note::GapOwed(lost) if lost.acknowledged.n() == 20)));
}

#[test]
fn l9_a_gap_that_was_lost_before_it_was_appended_is_still_owed() {
    let mut rig = Rig::forgetful();
    rig.push("x", 1);
    rig.call();
    rig.answer(heal(forked('a', 9, 'b', 10), 0, None));
    rig.call();
    let step = rig.answer(heal(forked('a', 8, 'c', 9), 0, None));
    assert_eq!(step.notes.iter().filter(|note| matches!(note, Note::GapOwed(_))).count(), 1);
    let call = rig.call();
    assert_eq!(ids(&call).len(), 2, "one gap and the event: {:?}", ids(&call));
}

#[test]
fn l9_a_loss_that_a_deletion_explains_is_not_told() {
    let mut rig = Rig::forgetful();
    rig.push("x", 1);
    rig.call();
    let mut head = forked('a', 9, 'b', 10);
    head.forks[0].kind = ForkKind::Deleted;
    rig.answer(heal(head, 0, None));
    assert_eq!(ids(&rig.call()), ["x"]);
}

#[test]
fn l9_a_loss_is_uncertain_when_the_forks_are_forgotten() {
    let mut rig = Rig::forgetful();
    rig.push("x", 1);
    rig.call();
    let mut head = forked('b', 9, 'c', 10);
    head.forks = vec![head.forks[0]; FORKS_MAX];
    let step = rig.answer(heal(head, 0, None));
    assert!(step.notes.iter().any(|note| matches!(note, Note::GapOwed(lost) if !lost.certain)));
}

#[test]
fn l9_a_freed_batch_whose_number_is_the_last_here_stands_here() {
    let mut rig = Rig::forgetful();
    rig.push("x", 1);
    rig.push("y", 2);
    let first = rig.call();
    rig.answer(unknown());
    rig.call();
    // Another history, without it: freed, and waits for a new number.
    rig.answer(heal(forked('a', 11, 'b', 12), 1, Some((position(11, 'a'), 1))));
    rig.push("z", 3);
    let second = rig.call();
    assert_eq!(ids(&second), ["x", "y", "z"]);
    // The first history is back, with the first number as this writer's last.
    let step = rig.answer(heal(forked('a', 13, 'c', 14), first.number, Some((position(13, 'a'), 2))));
    assert!(is_appended(&step, 1, position(12, 'a')) && is_appended(&step, 2, position(13, 'a')));
    assert_eq!(ids(&rig.call()), ["z"]);
}

#[test]
fn l9_a_batch_that_was_answered_is_not_taken_for_one_that_was_freed() {
    let mut rig = Rig::forgetful();
    rig.push("x", 1);
    let first = rig.call();
    // Refused at the first sending: no history can hold it.
    rig.answer(heal(forked('a', 11, 'b', 12), 1, Some((position(11, 'a'), 1))));
    rig.call();
    let step = rig.answer(heal(forked('a', 13, 'c', 14), first.number, Some((position(12, 'a'), 1))));
    assert!(step.done.is_empty());
    assert_eq!(ids(&rig.call()), ["x"]);
}

#[test]
fn l9_a_batch_refused_as_a_duplicate_after_an_unanswered_sending_may_stand_elsewhere() {
    let mut rig = Rig::forgetful();
    rig.push("x", 1);
    rig.push("y", 2);
    let first = rig.call();
    rig.answer(unknown());
    rig.call();
    rig.answer(refused(&[(0, RefusalWhy::Duplicate(position(5, 'a')))]));
    assert_eq!(ids(&rig.call()), ["y"]);
    let step = rig.answer(heal(forked('a', 13, 'c', 14), first.number, Some((position(13, 'a'), 2))));
    assert!(is_appended(&step, 2, position(13, 'a')) && step.done.len() == 1, "{:?}", step.done);
}
