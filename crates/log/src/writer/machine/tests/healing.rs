//! L9: what was acknowledged and is kept is put back.

use tidings_protocol::head::FORKS_MAX;

use super::*;

fn was(event: &wire::Event) -> Vec<Position> {
    event.was.iter().map(|text| text.parse().expect("a position")).collect()
}

fn incarnation(name: &str, head: Head) -> Head {
    Head { incarnation: name.into(), opened_under: name.into(), ..head }
}

#[test]
fn l9_what_is_missing_is_put_back_first_with_where_it_stood() {
    let mut rig = Rig::synced();
    rig.push("x", 1);
    rig.call();
    let step = rig.answer(heal(forked('a', 10, 'b', 11), 0, None));
    assert!(step.notes.contains(&Note::PuttingBack { events: 1 }));
    assert!(!step.notes.iter().any(|note| matches!(note, Note::GapOwed(_))), "nothing has left memory");
    let call = rig.call();
    assert_eq!(ids(&call), ["first", "x"]);
    assert_eq!(was(&events(&call)[0]), [position(11, 'a')]);
    assert!(was(&events(&call)[1]).is_empty());
    let step = rig.answer(appended(position(13, 'b'), 2));
    assert!(step.notes.contains(&Note::PutBack { events: 1 }));
    assert_eq!(step.done.len(), 1, "nobody waits for what was put back");
    // A second fork takes it again: it has stood at two places.
    rig.push("y", 2);
    rig.call();
    let mut head = forked('b', 11, 'c', 12);
    head.forks.insert(0, forked('a', 10, 'b', 11).forks[0]);
    rig.answer(heal(head, 0, None));
    let call = rig.call();
    assert_eq!(ids(&call), ["first", "x", "y"]);
    assert_eq!(was(&events(&call)[0]), [position(11, 'a'), position(12, 'b')]);
}

#[test]
fn l9_what_the_log_holds_is_not_put_back() {
    let mut rig = Rig::synced();
    rig.push("x", 1);
    rig.call();
    rig.answer(heal(forked('a', 11, 'b', 12), 0, None));
    assert_eq!(ids(&rig.call()), ["x"]);
}

#[test]
fn l9_an_idle_project_heals_when_the_store_has_changed() {
    let mut rig = Rig::synced();
    rig.machine.incarnation = "one".into();
    rig.machine.probed("one", NOW);
    assert!(rig.machine.is_idle());
    rig.machine.probed("two", NOW);
    assert!(!rig.machine.is_idle() && rig.machine.has_own_work());
    let sync = rig.call();
    assert!(sync.batch.is_none() && sync.branch == branch('a'), "asks by the branch that it takes for open");
    rig.answer(heal(incarnation("two", forked('a', 10, 'b', 11)), 0, None));
    assert_eq!(ids(&rig.call()), ["first"]);
    rig.answer(appended(position(12, 'b'), 1));
    rig.machine.probed("two", NOW);
    assert!(rig.machine.is_idle());
}

#[test]
fn l9_a_sync_that_finds_nothing_missing_ends_there() {
    let mut rig = Rig::synced();
    rig.machine.incarnation = "one".into();
    rig.machine.probed("two", NOW);
    rig.call();
    rig.answer(Ok(Answer::Synced(Box::new(incarnation("two", head('a', 11))))));
    assert!(rig.machine.is_idle());
}

#[test]
fn l9_memory_is_left_after_a_minute_in_which_the_known_store_answers() {
    let mut rig = Rig::synced();
    rig.machine.incarnation = "one".into();
    let minute = Duration::from_mins(1);
    // The time without the known store does not count.
    rig.machine.probed("one", minute);
    rig.push("x", 1);
    rig.call();
    let back = rig.answer_at(minute * 2, heal(incarnation("one", forked('a', 10, 'b', 11)), 0, None));
    assert!(back.notes.contains(&Note::PuttingBack { events: 1 }));
    // What waits to be put back does not leave.
    rig.machine.probed("one", minute * 9);
    assert_eq!(ids(&rig.call()), ["first", "x"]);
    rig.answer_at(minute * 9, appended(position(13, 'b'), 2));
    rig.machine.probed("one", minute * 10 + Duration::from_secs(1));
    rig.push("y", 2);
    rig.call();
    let mut head = forked('b', 11, 'c', 12);
    head.forks.insert(0, forked('a', 10, 'b', 11).forks[0]);
    let step = rig.answer_at(minute * 11, heal(incarnation("one", head), 0, None));
    let lost = Lost { after: position(11, 'b'), acknowledged: position(13, 'b'), certain: true };
    assert_eq!(step.notes, [Note::Healed, Note::GapOwed(lost)], "gone from memory, so it is told");
}

#[test]
fn l9_what_has_no_room_in_memory_is_told() {
    let room = Keep { bytes_max: 300, ..keep() };
    let mut rig = Rig::keeping(room);
    for (n, id) in [(12, "b"), (13, "c"), (14, "d")] {
        rig.push(id, n);
        rig.call();
        rig.answer(appended(position(n, 'a'), 1));
    }
    rig.push("x", 1);
    rig.call();
    let step = rig.answer(heal(forked('a', 10, 'b', 11), 0, None));
    let owed = step.notes.iter().find_map(|note| match note {
        Note::GapOwed(lost) => Some(lost.acknowledged.n()),
        _ => None,
    });
    let back = step.notes.iter().find_map(|note| match note {
        Note::PuttingBack { events } => Some(*events as u64),
        _ => None,
    });
    assert_eq!(owed.map(|owed| owed + back.unwrap_or(0)), Some(14), "{:?}", step.notes);
    assert!(back.is_some_and(|back| back > 0), "{:?}", step.notes);
}

#[test]
fn l9_an_acknowledged_duplicate_is_put_back_too() {
    let mut rig = Rig::synced();
    rig.push("x", 1);
    rig.call();
    rig.answer(refused(&[(0, RefusalWhy::Duplicate(position(20, 'a')))]));
    rig.push("y", 2);
    rig.call();
    rig.answer(heal(forked('a', 15, 'b', 16), 0, None));
    let call = rig.call();
    assert_eq!(ids(&call), ["x", "y"]);
    assert_eq!(was(&events(&call)[0]), [position(20, 'a')]);
}

#[test]
fn l9_an_event_that_another_put_back_is_its_duplicate_there() {
    let mut rig = Rig::synced();
    rig.push("x", 1);
    rig.call();
    rig.answer(heal(forked('a', 10, 'b', 11), 0, None));
    assert_eq!(ids(&rig.call()), ["first", "x"]);
    rig.answer(refused(&[(0, RefusalWhy::Duplicate(position(12, 'b')))]));
    assert_eq!(ids(&rig.call()), ["x"]);
    rig.answer(appended(position(13, 'b'), 1));
    // It stands at 12 now: a fork above that takes nothing.
    rig.push("y", 2);
    rig.call();
    rig.answer(heal(forked('b', 13, 'c', 14), 0, None));
    assert_eq!(ids(&rig.call()), ["y"]);
}

#[test]
fn l9_an_event_kept_twice_is_put_back_once() {
    let mut rig = Rig::synced();
    rig.push("first", 1);
    rig.call();
    rig.answer(refused(&[(0, RefusalWhy::Duplicate(position(11, 'a')))]));
    rig.push("x", 1);
    rig.call();
    rig.answer(heal(incarnation("one", forked('a', 10, 'b', 11)), 0, None));
    assert_eq!(ids(&rig.call()), ["first", "x"]);
    rig.answer(appended(position(13, 'b'), 2));
    // Neither copy waits any more, so both leave in time.
    rig.machine.probed("one", Duration::from_mins(2));
    assert_eq!(rig.machine.memory.count(), 0);
}

#[test]
fn l9_a_batch_that_was_acknowledged_elsewhere_since_may_stand_here_too() {
    let mut rig = Rig::synced();
    rig.push("x", 1);
    let first = rig.call();
    rig.answer(unknown());
    rig.call();
    rig.answer(heal(forked('a', 11, 'b', 12), 1, Some((position(11, 'a'), 1))));
    rig.call();
    assert!(is_appended(&rig.answer(appended(position(13, 'b'), 1)), 1, position(13, 'b')));
    // Back in the first history, which got the batch under its first number: nothing is missing.
    rig.push("y", 2);
    rig.call();
    rig.answer(heal(forked('a', 12, 'c', 13), first.number, Some((position(12, 'a'), 1))));
    assert_eq!(ids(&rig.call()), ["y"]);
}

#[test]
fn l9_a_retry_meets_its_event_on_the_way_back() {
    let mut rig = Rig::synced();
    rig.push("x", 1);
    rig.call();
    rig.answer(heal(forked('a', 10, 'b', 11), 0, None));
    rig.push("first", 2);
    assert_eq!(ids(&rig.call()), ["first", "x"]);
    // Another fork in between: the retry still waits, and is not lost with the way back.
    rig.answer(heal(forked('a', 10, 'c', 11), 0, None));
    assert_eq!(ids(&rig.call()), ["first", "x"]);
    let step = rig.answer(appended(position(13, 'c'), 2));
    assert!(step.done.iter().any(|done| done.slot.request == 2 && done.verdict.is_ok()), "{:?}", step.done);
}

#[test]
fn l9_an_event_whose_producer_was_fenced_meanwhile_is_told_as_lost() {
    let mut rig = Rig::synced();
    let producer = Some(wire::Producer { id: "p".into(), epoch: 1, seq: 1 });
    rig.push_event(&wire::Event { id_from_runner: false, producer, ..event("made") }, 1);
    rig.call();
    rig.answer(appended(position(12, 'a'), 1));
    rig.push("x", 2);
    rig.call();
    rig.answer(heal(forked('a', 11, 'b', 12), 0, None));
    let call = rig.call();
    assert!(call.batch.as_ref().is_some_and(|batch| batch.producers[0].may_jump), "it may fill a hole");
    let step = rig.answer(refused(&[(0, RefusalWhy::Fenced { epoch: 2 })]));
    assert!(
        step.notes.iter().any(|note| matches!(note, Note::GapOwed(lost) if lost.acknowledged == position(12, 'a')))
    );
    assert_eq!(ids(&rig.call()).len(), 2, "the gap, and the event that waited");
}

#[test]
fn l9_what_a_deletion_took_is_not_put_back() {
    let mut rig = Rig::synced();
    rig.push("x", 1);
    rig.call();
    let mut head = forked('a', 9, 'b', 10);
    head.forks[0].kind = ForkKind::Deleted;
    rig.answer(heal(head.clone(), 0, None));
    assert_eq!(ids(&rig.call()), ["x"]);
    // What was acknowledged since is kept: the deletion is no news any more.
    rig.answer(appended(position(11, 'b'), 1));
    rig.push("y", 2);
    rig.call();
    head.forks.push(forked('b', 10, 'c', 11).forks[0]);
    rig.answer(heal(Head { forks: head.forks, ..forked('b', 10, 'c', 11) }, 0, None));
    assert_eq!(ids(&rig.call()), ["x", "y"]);
}

#[test]
fn l9_on_a_branch_that_is_not_listed_any_more_it_is_told_and_not_put_back() {
    let mut rig = Rig::synced();
    rig.push("x", 1);
    rig.call();
    let mut head = forked('b', 9, 'c', 10);
    head.forks = vec![head.forks[0]; FORKS_MAX];
    let step = rig.answer(heal(head, 0, None));
    assert!(step.notes.iter().any(|note| matches!(note, Note::GapOwed(lost) if !lost.certain)));
    assert_eq!(ids(&rig.call())[1..], ["x"]);
}

#[test]
fn l9_a_refused_healing_is_tried_again_at_the_next_probe() {
    let mut rig = Rig::synced();
    rig.machine.incarnation = "one".into();
    rig.machine.probed("two", NOW);
    rig.call();
    rig.answer(read_only());
    assert!(rig.machine.is_idle(), "it does not go on trying by itself");
    rig.machine.probed("two", NOW);
    assert!(!rig.machine.is_idle());
    rig.call();
    rig.answer(heal(incarnation("two", forked('a', 10, 'b', 11)), 0, None));
    rig.call();
    rig.answer(read_only());
    assert!(rig.machine.is_idle());
    rig.machine.probed("two", NOW);
    assert!(!rig.machine.is_idle());
    assert_eq!(ids(&rig.call()), ["first"]);
}

#[test]
fn l9_the_second_copy_of_an_event_owes_no_gap_when_it_is_old() {
    let mut rig = Rig::synced();
    rig.push("first", 1);
    rig.call();
    rig.answer(refused(&[(0, RefusalWhy::Duplicate(position(11, 'a')))]));
    rig.push("x", 1);
    rig.call();
    rig.answer(heal(incarnation("one", forked('a', 10, 'b', 11)), 0, None));
    rig.call();
    rig.answer(appended(position(13, 'b'), 2));
    rig.machine.probed("one", Duration::from_mins(2));
    rig.push("y", 2);
    rig.call();
    let mut head = forked('b', 13, 'c', 14);
    head.forks.insert(0, forked('a', 10, 'b', 11).forks[0]);
    let step = rig.answer(heal(incarnation("one", head), 0, None));
    assert_eq!(step.notes, [Note::Healed], "all of it is there");
}

#[test]
fn l9_a_retry_that_went_on_alone_is_kept_apart_from_its_event() {
    let mut rig = Rig::synced();
    rig.push("x", 1);
    rig.call();
    rig.answer(heal(incarnation("one", forked('a', 10, 'b', 11)), 0, None));
    rig.push("first", 2);
    rig.call();
    rig.answer(heal(incarnation("one", forked('a', 10, 'c', 11)), 0, None));
    assert_eq!(ids(&rig.call()), ["first", "x"]);
    rig.answer(appended(position(13, 'c'), 2));
    assert_eq!(rig.machine.memory.count(), 2);
    rig.machine.probed("one", Duration::from_mins(2));
    assert_eq!(rig.machine.memory.count(), 0, "nothing waits for ever");
}

#[test]
fn l9_where_an_event_on_its_way_back_is_found_is_not_where_it_first_stood() {
    let mut rig = Rig::synced();
    rig.push("x", 1);
    rig.call();
    rig.answer(heal(forked('a', 10, 'b', 11), 0, None));
    // Put back under this number, unanswered, and freed by another history, where it is put back again.
    let lost = rig.call();
    rig.answer(unknown());
    rig.call();
    rig.answer(heal(forked('a', 10, 'c', 11), 0, None));
    rig.call();
    rig.answer(appended(position(13, 'c'), 2));
    // The second history is back, and holds it; then that is lost too.
    rig.push("y", 2);
    rig.call();
    rig.answer(heal(forked('a', 10, 'b', 13), lost.number, Some((position(13, 'b'), 2))));
    assert_eq!(ids(&rig.call()), ["y"]);
    rig.answer(heal(forked('a', 10, 'd', 11), 0, None));
    let call = rig.call();
    assert_eq!(ids(&call), ["first", "x", "y"]);
    assert_eq!(was(&events(&call)[0])[0], position(11, 'a'));
}

#[test]
fn l9_loud_projects_leave_a_quiet_one_its_part_of_the_memory() {
    let total = Commons::new(64 * 1024);
    let keep = || Keep { bytes_max: 48 * 1024, total: total.clone(), ..keep() };
    let mut loud = [Rig::keeping(keep()), Rig::keeping(keep())];
    let mut quiet = Rig::keeping(keep());
    for n in 12..600 {
        for rig in &mut loud {
            rig.push(&format!("loud {n} {}", "x".repeat(200)), n);
            rig.call();
            rig.answer(appended(position(n, 'a'), 1));
        }
        if n % 100 == 0 {
            quiet.push(&format!("quiet {n}"), n);
            quiet.call();
            quiet.answer(appended(position(11 + n / 100, 'a'), 1));
        }
    }
    // All of the quiet one's last minute is there.
    quiet.push("x", 1_000);
    quiet.call();
    quiet.answer(heal(forked('a', 10, 'b', 11), 0, None));
    assert_eq!(ids(&quiet.call()).len(), 7, "what it kept, and the new one");
    // Who is loud no more gives way, too.
    loud[1].machine.probed("", NOW);
    drop(loud);
    assert!(!total.presses(1));
}
