//! Birth, positions, retries, order and ids (docs/log.md L1 to L5, L7).

use tidings_protocol::position::{Branch, Position};

use super::Subject;
use super::writer::{Writer, fresh, named, plain, project};
use crate::{Answer, AppendCall, DedupeWindow, Fields, ReadError, Refusal, RefusalWhy, Span};

super::cases! {
    birth_writes_no_entry
    an_append_that_names_no_branch_heals
    an_append_to_a_log_that_is_gone_births_it_and_heals
    positions_count_events_and_time_never_goes_back
    the_same_number_gets_the_same_answer
    a_lower_number_is_stale
    another_branch_heals_and_tells_what_the_writer_has_here
    duplicates_are_named_with_their_first_positions
    ids_leave_by_count
    ids_leave_by_time
    a_newer_format_is_refused
}

async fn birth_writes_no_entry(subject: &mut dyn Subject) {
    let broker = subject.broker();
    let unborn = broker.heads(vec![project("p")]).await.remove(0).expect("an answer");
    assert!(!unborn.is_born() && !unborn.incarnation.is_empty());

    let mut writer = Writer::join(broker.clone(), "p").await;
    let head = writer.head().await;
    assert_eq!((head.branch, head.last, head.total_bytes), (writer.branch, Position::ZERO, 0));
    assert_eq!(head.opened_under, head.incarnation);
    let page = broker.read(project("p"), Span::Tail, 1_000).await.expect("an answer");
    assert_eq!((page.entries.len(), page.trimmed_to, page.head), (0, Position::ZERO, head.clone()));

    assert_eq!(writer.sync().await, head, "a second sync births nothing");
    let again = writer.call(None);
    assert_eq!(writer.send(again).await, Answer::Synced(Box::new(head)), "nor does one that names the branch");
    assert_eq!(writer.take(plain(1)).await.n(), 1);
}

async fn an_append_that_names_no_branch_heals(subject: &mut dyn Subject) {
    let mut writer = Writer::join(subject.broker(), "p").await;
    let call = AppendCall { branch: Branch::NONE, ..writer.call(Some(plain(1))) };
    let Answer::Heal(heal) = writer.send(call).await else { panic!("no heal") };
    assert_eq!((heal.head.branch, heal.head.last), (writer.branch, Position::ZERO));
    assert_eq!((heal.number, heal.answer), (0, None));
    assert_eq!(writer.take(plain(1)).await.n(), 1, "nothing was appended, and the number is free");
}

async fn an_append_to_a_log_that_is_gone_births_it_and_heals(subject: &mut dyn Subject) {
    let mut writer = Writer::join(subject.broker(), "p").await;
    writer.project = project("gone");
    let call = writer.call(Some(plain(1)));
    let Answer::Heal(heal) = writer.send(call.clone()).await else { panic!("no heal") };
    assert_eq!((heal.head.branch, heal.head.last), (call.fresh, Position::ZERO));
}

async fn positions_count_events_and_time_never_goes_back(subject: &mut dyn Subject) {
    let mut writer = Writer::join(subject.broker(), "p").await;
    let start_ms = subject.clock().now_ms();
    let (a, b, c) = (plain(3), plain(2), plain(1));
    let bytes: usize = [&a, &b, &c].iter().map(|batch| batch.payload.len()).sum();

    let first = writer.take(a).await;
    assert_eq!(first, Position::new(start_ms, 3, writer.branch));
    subject.clock().set(start_ms - 5_000);
    let second = writer.take(b).await;
    assert_eq!(second, Position::new(start_ms, 5, writer.branch), "the clock went back, the log's time did not");
    subject.clock().set(start_ms + 7);
    let third = writer.take(c).await;
    assert_eq!(third, Position::new(start_ms + 7, 6, writer.branch));

    let page = writer.broker.read(project("p"), Span::Tail, 10_000).await.expect("an answer");
    let chain: Vec<_> = page.entries.iter().map(|entry| (entry.prev, entry.position)).collect();
    assert_eq!(chain, [(Position::ZERO, first), (first, second), (second, third)]);
    assert_eq!(page.entries[0].position_of(0), Position::new(start_ms, 1, writer.branch), "events count down");
    assert_eq!(page.head.total_bytes, bytes as u64);
    assert_eq!(page.entries[2].total_bytes, bytes as u64);
}

async fn the_same_number_gets_the_same_answer(subject: &mut dyn Subject) {
    let mut writer = Writer::join(subject.broker(), "p").await;
    let call = writer.call(Some(named(&["a", "b"])));
    writer.number = call.number;
    let answer = writer.send(call.clone()).await;
    let head = writer.head().await;

    let again = AppendCall { fresh: fresh(), ..call.clone() };
    assert_eq!(writer.send(again).await, answer, "although its ids are known now");
    let elsewhere = AppendCall { branch: fresh(), ..call };
    assert_eq!(writer.send(elsewhere).await, answer, "before the branch is looked at");
    assert_eq!(writer.head().await, head);
}

async fn a_lower_number_is_stale(subject: &mut dyn Subject) {
    let mut writer = Writer::join(subject.broker(), "p").await;
    let old = writer.call(Some(plain(1)));
    writer.take(plain(1)).await;
    writer.number = 6;
    writer.take(plain(1)).await;
    assert_eq!(writer.send(old.clone()).await, Answer::Stale { last: 7 });
    let wrong_branch = AppendCall { branch: fresh(), ..old };
    assert!(matches!(writer.send(wrong_branch).await, Answer::Heal(_)), "the branch comes first");
    let mut other = Writer::join(subject.broker(), "p").await;
    assert_eq!(other.take(plain(1)).await.n(), 3, "numbers are each writer's own");
}

async fn another_branch_heals_and_tells_what_the_writer_has_here(subject: &mut dyn Subject) {
    let mut writer = Writer::join(subject.broker(), "p").await;
    let last = writer.take(plain(2)).await;
    let call = AppendCall { branch: fresh(), ..writer.call(Some(plain(1))) };
    let sync = AppendCall { branch: fresh(), ..writer.call(None) };
    for call in [call, sync] {
        let Answer::Heal(heal) = writer.send(call).await else { panic!("no heal") };
        assert_eq!(heal.head, writer.head().await);
        assert_eq!((heal.number, heal.answer), (1, Some((last, 2))));
    }
    assert_eq!(writer.head().await.last, last);
}

async fn duplicates_are_named_with_their_first_positions(subject: &mut dyn Subject) {
    let mut writer = Writer::join(subject.broker(), "p").await;
    let last = writer.take(named(&["a", "b", "c"])).await;
    let answer = writer.append(named(&["x", "c", "y", "a"])).await;
    let expected = [(1, last), (3, last.back(2))];
    let expected = expected.map(|(index, first)| Refusal { index, why: RefusalWhy::Duplicate(first) });
    assert_eq!(answer, Answer::Refused(expected.into()));
    assert_eq!(writer.head().await.last, last, "nothing was appended");
    assert_eq!(writer.take(named(&["x", "y"])).await.n(), 5, "the others are not remembered by a refusal");
}

async fn ids_leave_by_count(subject: &mut dyn Subject) {
    let mut writer = Writer::join(subject.broker(), "p").await;
    writer.dedupe = DedupeWindow { ids: 4, ms: u64::MAX };
    for ids in [["a", "b"], ["c", "d"], ["e", "f"]] {
        writer.take(named(&ids)).await;
    }
    assert!(matches!(writer.append(named(&["c"])).await, Answer::Refused(_)), "four are remembered");
    assert_eq!(writer.take(named(&["a", "b"])).await.n(), 8, "the oldest append is forgotten as a whole");
}

async fn ids_leave_by_time(subject: &mut dyn Subject) {
    let mut writer = Writer::join(subject.broker(), "p").await;
    writer.dedupe = DedupeWindow { ids: 100, ms: 1_000 };
    let start_ms = subject.clock().now_ms();
    writer.take(named(&["a"])).await;
    subject.clock().set(start_ms + 500);
    writer.take(named(&["b"])).await;
    subject.clock().set(start_ms + 1_000);
    writer.take(plain(1)).await;
    assert!(matches!(writer.append(named(&["a"])).await, Answer::Refused(_)), "just within the window");
    subject.clock().set(start_ms + 1_001);
    assert!(matches!(writer.append(named(&["a"])).await, Answer::Refused(_)), "no append has looked since");
    writer.take(plain(1)).await;
    assert!(matches!(writer.append(named(&["b"])).await, Answer::Refused(_)));
    writer.take(named(&["a"])).await;
}

async fn a_newer_format_is_refused(subject: &mut dyn Subject) {
    let mut writer = Writer::join(subject.broker(), "p").await;
    let call = writer.call(Some(plain(1)));
    let last = writer.take(plain(1)).await;
    let step = super::fold::step(&writer.head().await, Position::ZERO);
    subject.set_format(&project("p"), 2).await;
    let broker = subject.broker();

    assert_eq!(writer.append(plain(1)).await, Answer::NewerFormat(2));
    let newer = ReadError::NewerFormat(2);
    assert_eq!(broker.read(project("p"), Span::Tail, 1).await, Err(newer.clone()));
    assert_eq!(broker.heads(vec![project("p")]).await, [Err(newer.clone())]);
    assert_eq!(broker.state(project("p"), Fields::All).await, Err(newer));
    assert!(broker.checkpoint(project("p"), step).await.is_err());
    subject.clock().set(subject.clock().now_ms() + 10);
    broker.sweep(project("p"), 0, 0).await.expect("it leaves the log alone");
    subject.set_format(&project("p"), 1).await;
    assert_eq!(writer.head().await.last, last, "nothing was written");
    let known = Answer::Appended { last, count: 1, publish_error: None };
    assert_eq!(writer.send(call).await, known, "and nothing swept");
}
