//! What waits, who takes it, and how it leaves.
#![allow(clippy::wildcard_imports, reason = "the words of the cases are the module above")]

use super::*;

pub(super) async fn a_command_waits_for_a_runner_that_can(subject: &mut dyn Subject) {
    let inbox = Inbox::of(subject);
    let start_ms = subject.clock().now_ms();
    inbox.come("r", &["chat", "run"]).await;
    inbox.queue(command("1", "chat")).await;
    assert_eq!(inbox.look("1").await, Standing::Queued);
    inbox.come("other", &["draw"]).await;
    assert_eq!(inbox.ids("other", &["draw"]).await, [""; 0]);
    let due = inbox.due().await;
    assert_eq!((due.open, due.waiting, due.runners, due.next_ms), (1, 1, 2, Some(TTL_MS)));

    pass(subject, 5);
    let expected = Leased {
        id: "1".into(),
        lease: 1,
        until_ms: start_ms + 5 + LEASE_MS,
        deadline_ms: start_ms + DEADLINE_MS,
        asker: "alice".into(),
        body: Bytes::from_static(b"\x001\n"),
    };
    let here = inbox.take(asks("r", &["run", "chat"], 5)).await;
    assert_eq!(here, Here::Taken { commands: vec![expected], in_hand: 0 });
    assert_eq!(inbox.look("1").await, Standing::Leased { runner: "r".into() });
    assert_eq!(inbox.take(asks("r", &["chat"], 5)).await, Here::Taken { commands: Vec::new(), in_hand: 1 });
    let due = inbox.due().await;
    assert_eq!((due.open, due.waiting, due.next_ms), (1, 0, Some(LEASE_MS)));
}

pub(super) async fn without_a_runner_nothing_is_put(subject: &mut dyn Subject) {
    let inbox = Inbox::of(subject);
    assert_eq!(inbox.put(command("1", "chat")).await, PutAnswer::NoRunner);
    inbox.come("r", &["draw"]).await;
    assert_eq!(inbox.put(command("1", "chat")).await, PutAnswer::NoRunner);
    assert_eq!(inbox.look("1").await, Standing::Unknown);
    inbox.queue(command("1", "draw")).await;
    inbox.come("r", &["chat"]).await;
    assert_eq!(inbox.put(command("2", "draw")).await, PutAnswer::NoRunner, "it can do what it said last");
    pass(subject, TTL_MS);
    assert_eq!(inbox.put(command("3", "chat")).await, PutAnswer::NoRunner, "its time is over");
}

pub(super) async fn a_known_id_changes_nothing(subject: &mut dyn Subject) {
    let inbox = Inbox::of(subject);
    inbox.come("r", &["chat"]).await;
    inbox.queue(command("1", "chat")).await;
    let known = |standing| PutAnswer::Known(standing);
    assert_eq!(inbox.put(command("1", "chat")).await, known(Standing::Queued));
    let others = Put { asker: "bob".into(), ..command("1", "chat") };
    assert_eq!(inbox.put(others).await, PutAnswer::Conflict);
    inbox.ids("r", &["chat"]).await;
    assert_eq!(inbox.put(command("1", "chat")).await, known(Standing::Leased { runner: "r".into() }));
    inbox.accept("r", "1").await;
    let different = Put { body: Bytes::new(), ..command("1", "draw") };
    assert_eq!(inbox.put(different).await, known(Standing::Accepted { runner: "r".into() }));
    let guarded = settle_in_log(subject, "c:1", "completed").await;
    assert_eq!(inbox.put(command("1", "chat")).await, known(Standing::Answered(guarded.clone())));
    assert_eq!(inbox.look("1").await, Standing::Answered(guarded.clone()));
    inbox.settle(&["1"]).await;
    assert_eq!(inbox.put(command("1", "chat")).await, known(Standing::Answered(guarded)), "the log knows it");
    assert_eq!(inbox.due().await.open, 0);
}

pub(super) async fn so_many_may_be_open_for_a_capability(subject: &mut dyn Subject) {
    let inbox = Inbox::of(subject);
    inbox.come("r", &["chat", "draw"]).await;
    let two = |item: Put| Put { open_max: 2, ..item };
    inbox.queue(two(command("1", "chat"))).await;
    inbox.queue(two(command("2", "chat"))).await;
    assert_eq!(inbox.put(two(command("3", "chat"))).await, PutAnswer::Full);
    assert_eq!(inbox.put(two(command("2", "chat"))).await, PutAnswer::Known(Standing::Queued));
    inbox.queue(two(command("4", "draw"))).await;
    assert_eq!(inbox.ids("r", &["chat"]).await, ["1", "2"]);
    assert_eq!(inbox.put(two(command("3", "chat"))).await, PutAnswer::Full, "open until it is answered");
    inbox.settle(&["1", "1", "unknown"]).await;
    inbox.queue(two(command("3", "chat"))).await;
    assert_eq!(inbox.put(two(command("5", "chat"))).await, PutAnswer::Full);
    inbox.queue(two(alarm("a", "a:1"))).await;
    inbox.queue(two(alarm("b", "a:2"))).await;
    assert_eq!(inbox.put(two(alarm("c", "a:3"))).await, PutAnswer::Full, "so it is with alarms");
}

pub(super) async fn so_many_may_be_open_that_are_bound_and_in_all(subject: &mut dyn Subject) {
    let inbox = Inbox::of(subject);
    inbox.come("r", &["c0", "c1", "c2", "c3", "c4"]).await;
    inbox.own(Some("r"), "s", "").await;
    let two = |item: Put| Put { open_max: 2, ..item };
    inbox.queue(two(command_for("b0", "x0", "s", ""))).await;
    inbox.queue(two(command_for("b1", "x1", "s", ""))).await;
    assert_eq!(inbox.put(two(command_for("b2", "x2", "s", ""))).await, PutAnswer::Full, "whatever their capability is");
    inbox.queue(notice(two(command_for("n", "x2", "s", "")))).await;
    for number in 2..2 * OPEN_IN_ALL {
        inbox.queue(two(command(&format!("{number}"), &format!("c{}", number / 2)))).await;
    }
    assert_eq!(inbox.put(two(command("more", "c0"))).await, PutAnswer::Full, "as many as there may be in all");
    inbox.queue(notice(two(command("m", "c0")))).await;
    inbox.queue(two(alarm("a", "a:1"))).await;
    inbox.settle(&["b1"]).await;
    inbox.queue(two(command_for("b2", "x2", "s", ""))).await;
    assert_eq!(inbox.put(two(command("more", "c0"))).await, PutAnswer::Full);
}

pub(super) async fn alarms_of_each_class_have_room_of_their_own(subject: &mut dyn Subject) {
    let inbox = Inbox::of(subject);
    let one = |id: &str, guard: &str| Put { open_max: 1, ..alarm(id, guard) };
    inbox.queue(one("1", "a:1")).await;
    assert_eq!(inbox.put(one("2", "a:2")).await, PutAnswer::Full);
    inbox.queue(one("3", "c:3")).await;
    assert_eq!(inbox.put(one("4", "c:4")).await, PutAnswer::Full);
    inbox.settle(&["1"]).await;
    assert_eq!(inbox.put(one("4", "c:4")).await, PutAnswer::Full);
    inbox.queue(one("2", "a:2")).await;
}

pub(super) async fn what_waits_is_taken_in_order_and_urgent_ones_first(subject: &mut dyn Subject) {
    let inbox = Inbox::of(subject);
    inbox.come("r", &["chat", "draw"]).await;
    for (id, capability) in [("z", "chat"), ("a", "draw"), ("y", "chat")] {
        inbox.queue(command(id, capability)).await;
    }
    inbox.queue(urgent(command("u2", "draw"))).await;
    inbox.queue(urgent(command("u1", "chat"))).await;
    assert_eq!(inbox.ids("r", &["chat", "draw", "chat"]).await, ["u2", "u1", "z", "a", "y"]);
}

pub(super) async fn a_runner_takes_what_it_has_room_for(subject: &mut dyn Subject) {
    let inbox = Inbox::of(subject);
    inbox.come("r", &["chat"]).await;
    for number in 0..150 {
        inbox.queue(command(&format!("{number:03}"), "chat")).await;
    }
    let few = Take { in_hand_max: 3, ..asks("r", &["chat"], 2) };
    assert_eq!(inbox.taken(few.clone()).await.len(), 2);
    inbox.accept("r", "000").await;
    let Here::Taken { commands, in_hand } = inbox.take(few.clone()).await else { panic!("it is there") };
    assert_eq!((commands.len(), in_hand), (1, 2), "what it has counts, accepted or not");
    assert_eq!(inbox.taken(few).await.len(), 0);
    assert_eq!(inbox.taken(asks("r", &["chat"], u32::MAX)).await.len(), TAKEN_MAX);
}

pub(super) async fn a_take_finds_its_own_behind_what_waits_for_others(subject: &mut dyn Subject) {
    let inbox = Inbox::of(subject);
    inbox.come("r", &["chat"]).await;
    inbox.come("s", &["draw"]).await;
    inbox.own(Some("s"), "of s", "").await;
    for number in 0..300 {
        inbox.queue(command(&format!("d{number}"), "draw")).await;
        inbox.queue(command_for(&format!("s{number}"), "chat", "of s", "")).await;
    }
    inbox.queue(command("mine", "chat")).await;
    assert_eq!(inbox.ids("r", &["chat"]).await, ["mine"]);
}

pub(super) async fn a_lease_that_ran_out_waits_again_in_its_old_place(subject: &mut dyn Subject) {
    let inbox = Inbox::of(subject);
    inbox.come("r", &["chat"]).await;
    for id in ["1", "2", "3"] {
        inbox.queue(command(id, "chat")).await;
    }
    assert_eq!(inbox.taken(asks("r", &["chat"], 2)).await.len(), 2);
    pass(subject, LEASE_MS - 1);
    inbox.accept("r", "2").await;
    assert_eq!(inbox.ids("s", &["chat"]).await, ["3"]);
    pass(subject, 1);
    assert_eq!(inbox.look("1").await, Standing::Queued);
    assert_eq!(inbox.step("r", "1", 1, LeaseAct::Accept).await, LeaseAnswer::Lost);
    inbox.queue(command("4", "chat")).await;
    let again = inbox.taken(asks("s", &["chat"], 10)).await;
    let again: Vec<_> = again.iter().map(|leased| (&*leased.id, leased.lease)).collect();
    assert_eq!(again, [("1", 2), ("4", 1)]);
    assert_eq!(inbox.step("r", "1", 1, LeaseAct::Check).await, LeaseAnswer::Lost);
    assert_eq!(inbox.step("r", "1", 2, LeaseAct::Check).await, LeaseAnswer::Lost, "another's");
    assert!(matches!(inbox.step("s", "1", 2, LeaseAct::Check).await, LeaseAnswer::Done { .. }));
    assert_eq!(inbox.look("2").await, Standing::Accepted { runner: "r".into() });
}

pub(super) async fn a_lease_is_accepted_extended_and_asked_for_by_its_own_runner(subject: &mut dyn Subject) {
    let inbox = Inbox::of(subject);
    let deadline_ms = subject.clock().now_ms() + DEADLINE_MS;
    inbox.come("r", &["chat"]).await;
    inbox.queue(command("1", "chat")).await;
    assert_eq!(inbox.step("r", "1", 0, LeaseAct::Check).await, LeaseAnswer::Lost, "nobody has it");
    inbox.ids("r", &["chat"]).await;
    let done = LeaseAnswer::Done { asker: "alice".into(), deadline_ms, body: Bytes::from_static(b"\x001\n") };
    pass(subject, LEASE_MS - 1);
    assert_eq!(inbox.step("r", "1", 1, LeaseAct::Extend(LEASE_MS)).await, done);
    pass(subject, LEASE_MS - 1);
    let accept = |act| LeaseStep { id: "1".into(), lease: 1, act };
    let steps = vec![
        accept(LeaseAct::Check),
        accept(LeaseAct::Accept),
        accept(LeaseAct::Accept),
        accept(LeaseAct::Extend(1)),
        LeaseStep { id: "unknown".into(), lease: 1, act: LeaseAct::Accept },
        LeaseStep { id: "1".into(), lease: 2, act: LeaseAct::Accept },
    ];
    let answers = inbox.0.answer(project("p"), "r".into(), "subject of r".into(), steps).await.expect("an answer");
    let again = || done.clone();
    assert_eq!(answers, [again(), again(), again(), again(), LeaseAnswer::Gone, LeaseAnswer::Lost]);
    inbox.come("r", &["chat"]).await;
    pass(subject, LEASE_MS + 1);
    assert_eq!(inbox.look("1").await, Standing::Accepted { runner: "r".into() }, "it stays with its runner");
}

pub(super) async fn a_lease_is_its_runners_and_its_subjects(subject: &mut dyn Subject) {
    let inbox = Inbox::of(subject);
    inbox.come("r", &["chat"]).await;
    inbox.queue(command("1", "chat")).await;
    inbox.ids("r", &["chat"]).await;
    for act in [LeaseAct::Check, LeaseAct::Accept, LeaseAct::Extend(1), LeaseAct::Release] {
        assert_eq!(inbox.step_as("somebody else", "r", "1", 1, act).await, LeaseAnswer::Lost, "{act:?}");
    }
    assert_eq!(inbox.look("1").await, Standing::Leased { runner: "r".into() });
    inbox.accept("r", "1").await;
}

pub(super) async fn what_is_given_back_is_for_others_first(subject: &mut dyn Subject) {
    let inbox = Inbox::of(subject);
    inbox.come("r", &["chat"]).await;
    inbox.queue(command("1", "chat")).await;
    inbox.queue(command("2", "chat")).await;
    inbox.ids("r", &["chat"]).await;
    inbox.accept("r", "2").await;
    for id in ["1", "2"] {
        assert!(matches!(inbox.step("r", id, 1, LeaseAct::Release).await, LeaseAnswer::Done { .. }));
        assert_eq!(inbox.look(id).await, Standing::Queued);
        assert_eq!(inbox.step("r", id, 1, LeaseAct::Release).await, LeaseAnswer::Lost);
    }
    assert_eq!(inbox.ids("r", &["chat"]).await, [""; 0]);
    let others = inbox.taken(asks("s", &["chat"], 1)).await;
    assert_eq!((&*others[0].id, others[0].lease), ("1", 2));
    pass(subject, REST_MS);
    assert_eq!(inbox.ids("r", &["chat"]).await, ["2"], "nobody else wanted it");
}

pub(super) async fn what_is_answered_is_told_to_no_runner(subject: &mut dyn Subject) {
    let inbox = Inbox::of(subject);
    inbox.come("r", &["chat"]).await;
    for id in ["1", "2", "3", "4"] {
        inbox.queue(command(id, "chat")).await;
    }
    let guarded = settle_in_log(subject, "c:1", "cancelled").await;
    assert_eq!(inbox.0.guard(project("p"), "c:1".into()).await, Ok(Some(guarded)));
    assert_eq!(inbox.0.guard(project("p"), "c:2".into()).await, Ok(None));
    assert_eq!(inbox.0.guard(project("unknown"), "c:1".into()).await, Ok(None));
    assert_eq!(inbox.ids("r", &["chat"]).await, ["2", "3", "4"]);
    assert_eq!(inbox.due().await.open, 3, "it left");
    settle_in_log(subject, "c:2", "").await;
    assert_eq!(inbox.step("r", "2", 1, LeaseAct::Accept).await, LeaseAnswer::Gone);
    let guarded = settle_in_log(subject, "c:3", "a note with spaces ").await;
    assert_eq!(inbox.look("3").await, Standing::Answered(guarded));
    settle_in_log(subject, "c:4", "").await;
    pass(subject, DEADLINE_MS);
    let due = inbox.due().await;
    assert_eq!((due.expired.len(), due.open), (0, 0));
}

pub(super) async fn what_is_settled_is_gone(subject: &mut dyn Subject) {
    let inbox = Inbox::of(subject);
    inbox.come("r", &["chat"]).await;
    for id in ["waits", "leased", "accepted"] {
        inbox.queue(command(id, "chat")).await;
    }
    inbox.own(Some("r"), "s", "").await;
    inbox.queue(command_for("bound", "chat", "s", "")).await;
    inbox.queue(alarm("alarm", "a:1")).await;
    let leased = [inbox.taken(asks("r", &[], 10)).await, inbox.taken(asks("r", &["chat"], 2)).await];
    assert_eq!(leased.iter().flatten().map(|leased| &*leased.id).collect::<Vec<_>>(), ["bound", "waits", "leased"]);
    inbox.settle(&["waits", "leased", "accepted", "bound", "alarm"]).await;
    let due = inbox.due().await;
    assert_eq!((due.open, due.waiting), (0, 0));
    assert_eq!(inbox.take(asks("r", &["chat"], 5)).await, Here::Taken { commands: Vec::new(), in_hand: 0 });
    assert_eq!(inbox.step("r", "leased", 1, LeaseAct::Accept).await, LeaseAnswer::Gone);
    assert_eq!(inbox.look("leased").await, Standing::Unknown);
    inbox.queue(command("leased", "chat")).await;
    pass(subject, LEASE_MS);
    assert_eq!(inbox.due().await.waiting, 1, "the old lease has no say in it");
}

pub(super) async fn what_is_past_its_deadline_is_due_until_it_is_settled(subject: &mut dyn Subject) {
    let inbox = Inbox::of(subject);
    inbox.come("r", &["chat"]).await;
    for (id, deadline_ms) in [("2", 2_000), ("1", 1_000), ("0", 1_000), ("3", 3_000)] {
        inbox.queue(Put { deadline_ms, ..command(id, "chat") }).await;
    }
    assert_eq!(inbox.taken(asks("r", &["chat"], 1)).await[0].id, "2");
    assert_eq!(inbox.due().await.next_ms, Some(1_000));
    pass(subject, 2_000);
    assert_eq!(inbox.ids("r", &["chat"]).await, ["3"], "what is past its deadline is told to nobody");
    for _ in 0..2 {
        let due = inbox.due().await;
        assert_eq!(told(&due.expired), [("0", ""), ("1", ""), ("2", "r")]);
        let first = &due.expired[0];
        assert_eq!((&*first.asker, first.alarm, &first.body[..]), ("alice", false, &b"\x000\n"[..]));
        assert_eq!((due.open, due.waiting, due.next_ms), (4, 0, Some(1_000)));
    }
    assert_eq!(
        inbox.put(command("0", "chat")).await,
        PutAnswer::Known(Standing::Queued),
        "it has still to be answered"
    );
    pass(subject, LEASE_MS);
    assert_eq!(inbox.ids("r", &["chat"]).await, [""; 0], "nor again");
    inbox.settle(&["0", "1", "2", "3"]).await;
    let due = inbox.due().await;
    assert_eq!((due.expired.len(), due.open, due.next_ms), (0, 0, Some(TTL_MS)));
}

pub(super) async fn a_notice_leaves_without_an_answer(subject: &mut dyn Subject) {
    let inbox = Inbox::of(subject);
    inbox.queue(notice(command("1", "chat"))).await;
    inbox.queue(notice(Put { deadline_ms: 1_000, ..command("2", "chat") })).await;
    assert_eq!(inbox.ids("r", &["chat"]).await, ["1", "2"], "put before a runner was there");
    inbox.accept("r", "1").await;
    assert_eq!(inbox.look("1").await, Standing::Unknown);
    pass(subject, 1_000);
    let due = inbox.due().await;
    assert_eq!((due.expired.len(), due.open), (0, 0), "silently gone");
    assert_eq!(inbox.step("r", "2", 1, LeaseAct::Accept).await, LeaseAnswer::Gone);
}

pub(super) async fn notices_come_to_full_hands(subject: &mut dyn Subject) {
    let inbox = Inbox::of(subject);
    inbox.come("r", &["chat"]).await;
    inbox.own(Some("r"), "session", "").await;
    for id in ["1", "2"] {
        inbox.queue(command_for(id, "chat", "session", "")).await;
    }
    let one = Take { in_hand_max: 1, ..asks("r", &["chat"], 5) };
    let ids = |taken: Vec<Leased>| taken.into_iter().map(|leased| leased.id).collect::<Vec<_>>();
    assert_eq!(ids(inbox.taken(one.clone()).await), ["1"]);
    inbox.queue(command("3", "chat")).await;
    inbox.queue(notice(command_for("cancel", "chat", "session", ""))).await;
    inbox.queue(notice(command("anybody", "chat"))).await;
    assert_eq!(ids(inbox.taken(one.clone()).await), ["cancel"], "what is bound to it");
    inbox.accept("r", "cancel").await;
    inbox.settle(&["1"]).await;
    inbox.queue(notice(command_for("more", "chat", "session", ""))).await;
    assert_eq!(ids(inbox.taken(one.clone()).await), ["2", "anybody", "more"], "notices take no room");
    assert_eq!(inbox.taken(Take { max: 0, ..one }).await.len(), 0);
}

pub(super) async fn an_alarm_goes_off_unless_its_guard_stands(subject: &mut dyn Subject) {
    let inbox = Inbox::of(subject);
    inbox.come("r", &["chat"]).await;
    for (id, deadline_ms) in [("1", 1_000), ("2", 1_000), ("3", 1_000)] {
        inbox.queue(Put { deadline_ms, ..alarm(id, &format!("a:{id}")) }).await;
    }
    assert_eq!(inbox.look("1").await, Standing::Queued);
    assert_eq!(inbox.ids("r", &["chat"]).await, [""; 0], "it is for nobody");
    assert_eq!(inbox.due().await.waiting, 0);
    let guarded = settle_in_log(subject, "a:2", "yes").await;
    inbox.settle(&["3"]).await;
    pass(subject, 1_000);
    let due = inbox.due().await;
    assert_eq!((told(&due.expired), due.expired[0].alarm), (vec![("1", "")], true));
    assert_eq!(inbox.put(alarm("4", "a:2")).await, PutAnswer::Known(Standing::Answered(guarded)));
}

pub(super) async fn more_that_is_due_than_one_call_tells(subject: &mut dyn Subject) {
    let inbox = Inbox::of(subject);
    inbox.come("r", &["chat"]).await;
    for number in 0..250 {
        inbox.queue(Put { deadline_ms: 1_000, ..command(&format!("{number:03}"), "chat") }).await;
    }
    pass(subject, 1_000);
    for expected in [100, 100, 50] {
        let due = inbox.due().await;
        assert_eq!((due.expired.len(), due.next_ms == Some(0)), (expected, expected == TAKEN_MAX));
        let ids: Vec<&str> = due.expired.iter().map(|item| &*item.id).collect();
        inbox.settle(&ids).await;
    }
    assert_eq!(inbox.due().await.open, 0);
}

pub(super) async fn names_and_bodies_are_bounded(subject: &mut dyn Subject) {
    let inbox = subject.inboxes();
    inbox.take(project("p"), asks("r", &["chat"], 0)).await.expect("an answer");
    let large = |bytes| Put { body: vec![b'x'; bytes].into(), ..command("large", "chat") };
    for item in
        [large(BODY_BYTES_MAX + 1), command("a\0b", "chat"), command("", "chat"), command("1", ""), alarm("1", "")]
    {
        assert!(inbox.put(project("p"), item).await.is_err());
    }
    let placed = inbox.put(project("p"), large(BODY_BYTES_MAX)).await.expect("an answer");
    assert_eq!(placed.answer, PutAnswer::Queued);
    let many: Vec<String> = (0..33).map(|number| format!("c{number}")).collect();
    let many: Vec<&str> = many.iter().map(String::as_str).collect();
    for take in [asks("r\n", &["chat"], 1), asks("", &["chat"], 1), asks("r", &["c\0"], 1), asks("r", &many, 1)] {
        assert!(inbox.take(project("p"), take).await.is_err());
    }
}

pub(super) async fn what_is_open_is_found_with_who_asked(subject: &mut dyn Subject) {
    let inbox = Inbox::of(subject);
    let find = async |id: &str| inbox.0.find(project("p"), id.into()).await.expect("an answer");
    assert_eq!(find("1").await, None);
    inbox.come("r", &["chat"]).await;
    inbox.queue(command("1", "chat")).await;
    inbox.queue(alarm("2", "a:2")).await;
    let of = |id: &str, standing| Some(Found { standing, asker: "alice".into(), body: command(id, "").body });
    assert_eq!(find("1").await, of("1", Standing::Queued));
    assert_eq!(find("2").await, of("2", Standing::Queued));
    assert_eq!(inbox.ids("r", &["chat"]).await, ["1"]);
    inbox.accept("r", "1").await;
    assert_eq!(find("1").await, of("1", Standing::Accepted { runner: "r".into() }));
    settle_in_log(subject, "c:1", "done").await;
    assert_eq!((find("1").await, inbox.due().await.open), (None, 1), "it is answered, and leaves");
}
