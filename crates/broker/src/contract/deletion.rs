//! Deletion (docs/log.md L19): of a project, and of a session.

use bytes::Bytes;
use tidings_protocol::entry::{Body, ForkKind, ForkNote};
use tidings_protocol::head::{Fork, Located, TOMBSTONES_MAX, Tombstone};
use tidings_protocol::position::Position;

use super::Subject;
use super::writer::{Ear, Writer, fresh, named, plain, produced, project};
use crate::limits::{SEQUENCE_MAX, TOMBSTONE_MS};
use crate::{
    Answer, AppendBatch, AppendCall, CheckpointAnswer, CheckpointStep, Fields, Refusal, RefusalWhy, Retention,
    SessionDeletion, Span,
};

super::cases! {
    a_deleted_project_holds_nothing_of_before
    a_deletion_is_answered_again_under_its_number
    a_deletion_heals_before_it_deletes
    a_log_without_entries_is_deleted_too
    a_deletion_is_announced
    a_deletion_ends_a_refusal
    a_deleted_session_has_a_tombstone_until_its_events_are_trimmed
    a_tombstone_that_was_put_back_stays_longer
    tombstones_are_bounded
    a_projects_deletion_that_is_put_back_takes_what_was_before_it
    a_step_from_before_a_deletion_was_put_back_is_not_taken
}

fn deletion(writer: &Writer) -> AppendCall {
    AppendCall { number: writer.number + 1, delete: true, ..writer.call(None) }
}

/// Deletes the project: the position of the fork.
async fn delete(writer: &mut Writer) -> Position {
    let call = deletion(writer);
    let (number, branch) = (call.number, call.fresh);
    let Answer::Appended { last, count: 1, publish_error: None } = writer.send(call).await else {
        panic!("not deleted")
    };
    assert_eq!(last.branch, branch);
    (writer.number, writer.branch) = (number, branch);
    last
}

fn sessions(names: &[&str], was: &[Position]) -> AppendBatch {
    let count = u32::try_from(names.len()).expect("a few");
    let of = |(index, session): (u32, &&str)| SessionDeletion { index, session: (*session).into(), was: was.into() };
    AppendBatch { deletions: (0..count).zip(names).map(of).collect(), ..plain(count) }
}

fn step(writer_head: &tidings_protocol::head::Head, events: u64) -> CheckpointStep {
    CheckpointStep {
        incarnation: writer_head.incarnation.clone(),
        from: writer_head.checkpoint,
        to: writer_head.last,
        deletion: writer_head.newest_project_deletion(),
        version: 1,
        fields: vec![("p".into(), Some(Bytes::from_static(b"state")))],
        retention: Retention { events, bytes: u64::MAX, age_ms: u64::MAX },
        hard: false,
    }
}

async fn a_deleted_project_holds_nothing_of_before(subject: &mut dyn Subject) {
    let broker = subject.broker();
    let mut writer = Writer::join(broker.clone(), "p").await;
    writer.take(named(&["a", "b"])).await;
    writer.take(produced("x", 3, &[1, 2])).await;
    broker.checkpoint(project("p"), step(&writer.head().await, 2)).await.expect("an answer");
    let survived = writer.take(sessions(&["s"], &[])).await;
    let mut other = Writer::join(broker.clone(), "p").await;
    let before = writer.head().await;

    let last = delete(&mut writer).await;
    assert_eq!((last.n(), last.ms()), (survived.n() + 1, survived.ms()));
    let head = writer.head().await;
    let fork = Fork { closed: before.branch, survived, kind: ForkKind::Deleted, from: last };
    assert_eq!((head.branch, head.last, head.checkpoint, &head.forks), (last.branch, last, last, &vec![fork]));
    assert_eq!((head.tombstones.as_slice(), head.fork_is_due()), (&[][..], false));
    assert_eq!(head.locate(survived), Located::At(survived.id), "a cursor goes on behind it");

    let page = broker.read(project("p"), Span::Tail, 10_000).await.expect("an answer");
    assert_eq!((page.entries.len(), page.trimmed_to), (0, last));
    let state = broker.state(project("p"), Fields::All).await.expect("an answer");
    assert_eq!((state.position, state.version, state.fields.len()), (last, 0, 0));
    assert_eq!(broker.held_bytes(vec![project("p")]).await, [Ok(0)]);

    let Answer::Heal(heal) = other.append(plain(1)).await else { panic!("who does not know of it is told") };
    assert_eq!(heal.head, head);
    let again = writer.take(named(&["a", "b"])).await;
    assert_eq!(again.n(), last.n() + 2, "ids are forgotten");
    assert_eq!(writer.take(produced("x", 1, &[7])).await.n(), last.n() + 3, "producers too: it goes on where it is");
    let page = broker.read(project("p"), Span::After(Position::ZERO.id), 10_000).await.expect("an answer");
    assert_eq!((page.entries.len(), page.entries[0].prev), (2, last));
    let answer = broker.checkpoint(project("p"), step(&writer.head().await, 10)).await;
    assert_eq!(answer, Ok(CheckpointAnswer::Done { trimmed: 0, more: false }), "the fold goes on from the deletion");
}

async fn a_deletion_is_answered_again_under_its_number(subject: &mut dyn Subject) {
    let mut writer = Writer::join(subject.broker(), "p").await;
    writer.take(plain(2)).await;
    let call = deletion(&writer);
    let answer = writer.send(call.clone()).await;
    let head = writer.head().await;
    assert_eq!(writer.send(AppendCall { fresh: fresh(), ..call }).await, answer);
    assert_eq!(writer.head().await, head, "once");
    let late = deletion(&writer);
    (writer.number, writer.branch) = (7, head.branch);
    writer.take(plain(1)).await;
    let late = AppendCall { branch: head.branch, number: late.number + 1, ..late };
    assert_eq!(writer.send(late).await, Answer::Stale { last: 8 });
}

async fn a_deletion_heals_before_it_deletes(subject: &mut dyn Subject) {
    let mut writer = Writer::join(subject.broker(), "p").await;
    let last = writer.take(plain(2)).await;
    subject.change_incarnation().await;
    let call = deletion(&writer);
    let Answer::Heal(heal) = writer.send(call.clone()).await else { panic!("one call, one fork") };
    assert_eq!((heal.head.branch, heal.number, heal.answer), (call.fresh, 1, Some((last, 2))));
    writer.branch = heal.head.branch;
    let unknown = AppendCall { branch: fresh(), ..deletion(&writer) };
    assert!(matches!(writer.send(unknown).await, Answer::Heal(_)));
    assert_eq!(delete(&mut writer).await.n(), 4);
    let kinds: Vec<_> = writer.head().await.forks.iter().map(|fork| fork.kind).collect();
    assert_eq!(kinds, [ForkKind::Failover, ForkKind::Deleted]);
}

async fn a_log_without_entries_is_deleted_too(subject: &mut dyn Subject) {
    let mut writer = Writer::join(subject.broker(), "p").await;
    let last = delete(&mut writer).await;
    assert_eq!((last.n(), writer.head().await.forks[0].survived), (1, Position::ZERO));
    assert_eq!(writer.take(plain(1)).await.n(), 2);
}

async fn a_deletion_is_announced(subject: &mut dyn Subject) {
    let broker = subject.broker();
    let mut writer = Writer::join(broker.clone(), "p").await;
    let survived = writer.take(plain(2)).await;
    let ear = Ear::new();
    let _subscription = broker.subscribe(project("p"), ear.clone()).await.expect("confirmed");
    let last = delete(&mut writer).await;
    let heard = ear.until(|heard| !heard.entries.is_empty()).await;
    let note = ForkNote { closed: survived.branch, survived, kind: ForkKind::Deleted };
    let entry = &heard.entries[0];
    assert_eq!((entry.position, entry.prev, &entry.body), (last, survived, &Body::Fork(note)));
}

async fn a_deletion_ends_a_refusal(subject: &mut dyn Subject) {
    let broker = subject.broker();
    let mut writer = Writer::join(broker.clone(), "p").await;
    writer.take(plain(1)).await;
    broker.refuse(project("p"), 60_000).await.expect("an answer");
    delete(&mut writer).await;
    writer.take(plain(1)).await;
}

async fn a_deleted_session_has_a_tombstone_until_its_events_are_trimmed(subject: &mut dyn Subject) {
    let broker = subject.broker();
    let mut writer = Writer::join(broker.clone(), "p").await;
    writer.take(plain(3)).await;
    let first = writer.take(sessions(&["my session", "t"], &[])).await;
    let tombstone = |session: &str, position| Tombstone { session: session.into(), position, was: Vec::new() };
    let expected = [tombstone("my session", first.back(1)), tombstone("t", first)];
    assert_eq!(writer.head().await.tombstones, expected);
    let page = broker.read(project("p"), Span::Tail, 10_000).await.expect("an answer");
    assert_eq!(page.head.tombstones, expected);

    let second = writer.take(sessions(&["my session"], &[])).await;
    assert_eq!(writer.head().await.tombstones, [tombstone("t", first), tombstone("my session", second)], "once each");
    subject.change_incarnation().await;
    assert_eq!(writer.sync().await.tombstones.len(), 2, "a fork leaves them");
    writer.branch = writer.head().await.branch;
    writer.take(plain(1)).await;
    let head = writer.head().await;
    broker.checkpoint(project("p"), step(&head, 3)).await.expect("an answer");
    assert_eq!(writer.head().await.tombstones, [tombstone("my session", second)]);
    let head = writer.head().await;
    broker
        .checkpoint(project("p"), CheckpointStep { from: head.checkpoint, ..step(&head, 0) })
        .await
        .expect("an answer");
    assert_eq!(writer.head().await.tombstones, []);
}

async fn a_tombstone_that_was_put_back_stays_longer(subject: &mut dyn Subject) {
    let broker = subject.broker();
    let mut writer = Writer::join(broker.clone(), "p").await;
    let start_ms = subject.clock().now_ms();
    let was = [Position::new(start_ms, 9, fresh()), Position::new(start_ms, 12, fresh())];
    let position = writer.take(sessions(&["s"], &was)).await;
    let expected = Tombstone { session: "s".into(), position, was: was.into() };
    assert_eq!(writer.head().await.tombstones, [expected]);
    for (passed_ms, kept) in [(TOMBSTONE_MS, 1), (TOMBSTONE_MS + 1, 0)] {
        subject.clock().set(start_ms + passed_ms);
        writer.take(plain(1)).await;
        broker.checkpoint(project("p"), step(&writer.head().await, 0)).await.expect("an answer");
        assert_eq!(writer.head().await.tombstones.len(), kept);
    }
}

async fn tombstones_are_bounded(subject: &mut dyn Subject) {
    let mut writer = Writer::join(subject.broker(), "p").await;
    let names: Vec<String> = (0..TOMBSTONES_MAX).map(|n| format!("s{n}")).collect();
    let names: Vec<&str> = names.iter().map(String::as_str).collect();
    let last = writer.take(sessions(&names, &[])).await;
    assert_eq!(writer.append(sessions(&["one more"], &[])).await, full(0));
    let mixed = sessions(&["s1", "one more"], &[]);
    assert_eq!(writer.append(mixed).await, full(1), "that one alone");
    assert_eq!(writer.head().await.last, last, "nothing was appended");
    writer.take(sessions(&["s0"], &[])).await;
    assert_eq!(writer.head().await.tombstones.len(), TOMBSTONES_MAX);
    writer.take(sessions(&["put back"], &[last])).await;
    assert_eq!(writer.head().await.tombstones.len(), TOMBSTONES_MAX + 1, "it was acknowledged before");
    writer.take(plain(1)).await;
}

fn full(index: u32) -> Answer {
    Answer::Refused(vec![Refusal { index, why: RefusalWhy::DeletionsFull }])
}

/// The fork took the deletion, whoever wrote since then did not know of it.
async fn a_projects_deletion_that_is_put_back_takes_what_was_before_it(subject: &mut dyn Subject) {
    let broker = subject.broker();
    let mut writer = Writer::join(broker.clone(), "p").await;
    writer.take(named(&["a", "b"])).await;
    let survived = writer.take(plain(3)).await;
    broker.checkpoint(project("p"), step(&writer.head().await, 10)).await.expect("an answer");
    let behind = [Position::new(0, SEQUENCE_MAX, writer.branch)];
    subject.change_incarnation().await;
    let head = writer.sync().await;
    writer.branch = head.branch;
    let since = writer.take(named(&["c"])).await;
    broker.checkpoint(project("p"), step(&writer.head().await, 10)).await.expect("an answer");

    let at = writer.take(sessions(&[""], &behind)).await;
    let head = writer.head().await;
    let expected = Tombstone { session: String::new(), position: at, was: behind.into() };
    assert_eq!((head.branch, head.last, head.forks.len(), &head.tombstones), (since.branch, at, 1, &vec![expected]));
    let page = broker.read(project("p"), Span::After(Position::ZERO.id), 10_000).await.expect("an answer");
    assert_eq!((page.trimmed_to, page.entries[0].prev), (survived, survived));
    assert_eq!(page.entries.iter().map(|entry| entry.position).collect::<Vec<_>>(), [head.forks[0].from, since, at]);
    let state = broker.state(project("p"), Fields::All).await.expect("an answer");
    assert_eq!((state.position, state.version, state.fields.len()), (survived, 0, 0), "to be folded anew from there");
    assert!(matches!(broker.held_bytes(vec![project("p")]).await[..], [Ok(1..)]));

    let seen = vec![Refusal { index: 0, why: RefusalWhy::Duplicate(since) }];
    assert_eq!(writer.append(named(&["c"])).await, Answer::Refused(seen), "what lives is recognised");
    writer.take(named(&["a"])).await;
    let answer = broker.checkpoint(project("p"), step(&writer.head().await, 10)).await;
    assert_eq!(answer, Ok(CheckpointAnswer::Done { trimmed: 0, more: false }));
}

/// The deletion leaves the checkpoint where it stood, and empties it: what was folded before must not fill it again.
async fn a_step_from_before_a_deletion_was_put_back_is_not_taken(subject: &mut dyn Subject) {
    let broker = subject.broker();
    let mut writer = Writer::join(broker.clone(), "p").await;
    let survived = writer.take(plain(3)).await;
    broker.checkpoint(project("p"), step(&writer.head().await, 10)).await.expect("an answer");
    let behind = [Position::new(0, SEQUENCE_MAX, writer.branch)];
    subject.change_incarnation().await;
    writer.branch = writer.sync().await.branch;
    writer.take(plain(1)).await;
    let (folded, hard) = (step(&writer.head().await, 10), step(&writer.head().await, 0));
    writer.take(sessions(&[""], &behind)).await;
    let head = writer.head().await;
    assert_eq!((head.checkpoint, folded.from), (survived, survived));
    for step in [folded, CheckpointStep { hard: true, to: survived, ..hard }] {
        assert_eq!(broker.checkpoint(project("p"), step).await, Ok(CheckpointAnswer::Moved));
    }
    let again = broker.checkpoint(project("p"), step(&head, 10)).await;
    assert_eq!(again, Ok(CheckpointAnswer::Done { trimmed: 0, more: false }));
}
