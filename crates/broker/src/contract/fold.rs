//! Checkpoints, trimming, index, leases and the sweep (docs/log.md L17, L18).

use bytes::Bytes;
use tidings_protocol::head::Head;
use tidings_protocol::position::Position;

use super::Subject;
use super::writer::{Writer, fresh, named, plain, project, sized};
use crate::{
    Answer, CallError, CheckpointAnswer, CheckpointStep, Fields, INDEX_SHARDS, NothingWhy, ReadError, Retention, Span,
    StateAt, index,
};

super::cases! {
    a_step_writes_what_it_names
    a_step_from_elsewhere_is_refused
    a_newer_version_is_not_overwritten
    trimming_is_by_events_bytes_and_age
    nothing_above_the_checkpoint_is_trimmed
    a_hard_step_trims_at_twice_the_retention
    one_step_trims_a_bounded_number
    a_trimmed_log_goes_on
    the_index_lists_projects_by_shard
    a_lease_is_one_owners_at_a_time
    a_project_over_its_share_is_refused_for_a_while
    what_a_log_holds_is_counted
    unused_writers_are_swept
}

const KEEP_ALL: Retention = Retention { events: u64::MAX, bytes: u64::MAX, age_ms: u64::MAX };

/// A step that keeps everything and moves the checkpoint to the head's last position.
pub(super) fn step(head: &Head, from: Position) -> CheckpointStep {
    CheckpointStep {
        incarnation: head.incarnation.clone(),
        from,
        to: head.last,
        deletion: head.newest_project_deletion(),
        version: 1,
        fields: Vec::new(),
        retention: KEEP_ALL,
        hard: false,
    }
}

fn field(name: &str, value: &'static str) -> (String, Option<Bytes>) {
    (name.to_owned(), (!value.is_empty()).then_some(Bytes::from_static(value.as_bytes())))
}

impl Writer {
    async fn checkpoint(&self, step: CheckpointStep) -> CheckpointAnswer {
        self.broker.checkpoint(self.project.clone(), step).await.expect("the store answers")
    }

    async fn state(&self, fields: Fields) -> StateAt {
        let mut state = self.broker.state(self.project.clone(), fields).await.expect("the store answers");
        state.fields.sort();
        state
    }

    /// What is left: the numbers of the last events of the entries, and where the log was trimmed.
    async fn left(&self) -> (Vec<u64>, u64) {
        let page = self.broker.read(self.project.clone(), Span::Tail, usize::MAX >> 12).await.expect("an answer");
        let first = page.entries.first().map_or(page.head.last, |entry| entry.prev);
        assert_eq!(page.trimmed_to, first);
        (page.entries.iter().map(|entry| entry.position.n()).collect(), first.n())
    }
}

async fn a_step_writes_what_it_names(subject: &mut dyn Subject) {
    let mut writer = Writer::join(subject.broker(), "p").await;
    let empty = writer.state(Fields::All).await;
    assert_eq!((empty.position, empty.version, empty.fields.len()), (Position::ZERO, 0, 0));

    writer.take(plain(3)).await;
    let head = writer.head().await;
    let fields = vec![field("a", "1"), field("b", "2"), field(".", "3"), field("gone", "")];
    let first = CheckpointStep { fields, ..step(&head, Position::ZERO) };
    assert_eq!(writer.checkpoint(first).await, CheckpointAnswer::Done { trimmed: 0, more: false });
    let state = writer.state(Fields::All).await;
    assert_eq!((state.position, state.version, state.head.checkpoint), (head.last, 1, head.last));
    let value = |text: &'static str| Bytes::from_static(text.as_bytes());
    assert_eq!(
        state.fields,
        [(".".to_owned(), value("3")), ("a".to_owned(), value("1")), ("b".to_owned(), value("2"))]
    );

    writer.take(plain(1)).await;
    let next = writer.head().await;
    let fields = vec![field("a", ""), field("b", "4")];
    let second = CheckpointStep { fields, version: 2, ..step(&next, head.last) };
    assert_eq!(writer.checkpoint(second).await, CheckpointAnswer::Done { trimmed: 0, more: false });
    let named = writer.state(Fields::Named(vec!["a".into(), "b".into(), "c".into()])).await;
    assert_eq!((named.fields, named.version), (vec![("b".to_owned(), value("4"))], 2));
}

async fn a_step_from_elsewhere_is_refused(subject: &mut dyn Subject) {
    let mut writer = Writer::join(subject.broker(), "p").await;
    let last = writer.take(plain(3)).await;
    let head = writer.head().await;
    let good = step(&head, Position::ZERO);
    let unborn = writer.broker.checkpoint(project("unborn"), good.clone()).await;
    assert_eq!(unborn, Ok(CheckpointAnswer::Moved));
    let bad = [
        CheckpointStep { incarnation: "another".into(), ..good.clone() },
        CheckpointStep { from: last.back(1), ..good.clone() },
        CheckpointStep { to: Position::new(last.ms(), 4, last.branch), ..good.clone() },
        CheckpointStep { to: Position { branch: fresh(), ..last }, ..good.clone() },
    ];
    for bad in bad {
        let hard = CheckpointStep { hard: true, ..bad.clone() };
        assert_eq!(writer.checkpoint(bad).await, CheckpointAnswer::Moved);
        assert_eq!(writer.checkpoint(hard).await, CheckpointAnswer::Moved);
    }
    subject.change_incarnation().await;
    assert_eq!(writer.checkpoint(good.clone()).await, CheckpointAnswer::Moved, "though meta has not noticed yet");
    let forked = writer.sync().await;
    let closed = CheckpointStep { incarnation: forked.incarnation.clone(), ..good };
    assert_eq!(
        writer.checkpoint(closed).await,
        CheckpointAnswer::Done { trimmed: 0, more: false },
        "what survived can be folded"
    );
    assert_eq!(writer.state(Fields::All).await.position, last);
}

async fn a_newer_version_is_not_overwritten(subject: &mut dyn Subject) {
    let mut writer = Writer::join(subject.broker(), "p").await;
    let last = writer.take(plain(3)).await;
    let head = writer.head().await;
    let newer = CheckpointStep { version: 3, fields: vec![field("a", "3")], ..step(&head, Position::ZERO) };
    writer.checkpoint(newer).await;
    let older = CheckpointStep { version: 2, fields: vec![field("a", "2")], ..step(&head, last) };
    assert_eq!(writer.checkpoint(older.clone()).await, CheckpointAnswer::NewerVersion(3));
    assert_eq!(writer.state(Fields::All).await.fields[0].1, "3");
    let hard = CheckpointStep { hard: true, ..older };
    assert_eq!(
        writer.checkpoint(hard).await,
        CheckpointAnswer::Done { trimmed: 0, more: false },
        "a log must stay bounded"
    );
}

/// A log with entries ending at 2, 4, .. 20, one per 10 ms, all of the same weight, and its checkpoint at 20.
async fn ten(subject: &mut dyn Subject) -> Writer {
    let mut writer = Writer::join(subject.broker(), "p").await;
    for _ in 0..10 {
        subject.clock().set(subject.clock().now_ms() + 10);
        writer.take(plain(2)).await;
    }
    writer.checkpoint(step(&writer.head().await, Position::ZERO)).await;
    writer
}

async fn trim(writer: &Writer, retention: Retention) -> CheckpointAnswer {
    let head = writer.head().await;
    writer.checkpoint(CheckpointStep { retention, ..step(&head, head.checkpoint) }).await
}

async fn trimming_is_by_events_bytes_and_age(subject: &mut dyn Subject) {
    let writer = ten(subject).await;
    let done = |trimmed| CheckpointAnswer::Done { trimmed, more: false };
    assert_eq!(trim(&writer, Retention { events: 17, ..KEEP_ALL }).await, done(2), "whole entries, at most 17 events");
    assert_eq!(writer.left().await, ((3..=10).map(|n| 2 * n).collect(), 4));
    let bytes = plain(2).payload.len() as u64;
    assert_eq!(trim(&writer, Retention { bytes: 6 * bytes, ..KEEP_ALL }).await, done(2));
    assert_eq!(trim(&writer, Retention { bytes: 6 * bytes - 1, ..KEEP_ALL }).await, done(1));
    assert_eq!(writer.left().await.1, 10);
    assert_eq!(trim(&writer, Retention { age_ms: 40, ..KEEP_ALL }).await, done(0), "exactly as old as may be");
    assert_eq!(trim(&writer, Retention { age_ms: 39, ..KEEP_ALL }).await, done(1));
    assert_eq!(trim(&writer, Retention { events: 0, ..KEEP_ALL }).await, done(4), "all of it");
    assert_eq!(writer.left().await, (vec![], 20));
}

async fn nothing_above_the_checkpoint_is_trimmed(subject: &mut dyn Subject) {
    let mut writer = Writer::join(subject.broker(), "p").await;
    let mut last = Vec::new();
    for _ in 0..5 {
        last.push(writer.take(plain(2)).await);
    }
    let keep_none = Retention { events: 0, bytes: 0, age_ms: 0 };
    let inside = last[2].back(1);
    let to = CheckpointStep { to: inside, retention: keep_none, ..step(&writer.head().await, Position::ZERO) };
    assert_eq!(writer.checkpoint(to).await, CheckpointAnswer::Done { trimmed: 2, more: false });
    assert_eq!(writer.left().await, (vec![6, 8, 10], 4));
}

async fn a_hard_step_trims_at_twice_the_retention(subject: &mut dyn Subject) {
    let mut writer = Writer::join(subject.broker(), "p").await;
    for _ in 0..10 {
        writer.take(plain(1)).await;
    }
    let retention = Retention { events: 3, ..KEEP_ALL };
    let head = writer.head().await;
    let hard = CheckpointStep {
        hard: true,
        retention,
        to: Position::ZERO,
        fields: vec![field("a", "1")],
        ..step(&head, Position::ZERO)
    };
    assert_eq!(writer.checkpoint(hard).await, CheckpointAnswer::Done { trimmed: 4, more: false });
    assert_eq!(writer.left().await, (vec![5, 6, 7, 8, 9, 10], 4));
    let state = writer.state(Fields::All).await;
    assert_eq!((state.position, state.version, state.fields.len()), (Position::ZERO, 0, 0), "the checkpoint stays");
}

async fn one_step_trims_a_bounded_number(subject: &mut dyn Subject) {
    let mut writer = Writer::join(subject.broker(), "p").await;
    for _ in 0..crate::limits::TRIM_ENTRIES_MAX + 5 {
        writer.take(plain(1)).await;
    }
    let done = |trimmed, more| CheckpointAnswer::Done { trimmed, more };
    writer.checkpoint(step(&writer.head().await, Position::ZERO)).await;
    let none = Retention { events: 0, ..KEEP_ALL };
    assert_eq!(trim(&writer, none).await, done(crate::limits::TRIM_ENTRIES_MAX, true));
    assert_eq!(trim(&writer, none).await, done(5, false));
    let quarter = usize::try_from(crate::limits::TRIM_BYTES_MAX / 4).expect("small");
    for _ in 0..6 {
        writer.take(sized(quarter)).await;
    }
    let head = writer.head().await;
    writer.checkpoint(step(&head, head.checkpoint)).await;
    assert_eq!(trim(&writer, none).await, done(4, true), "nor more bytes than a step may look at");
    assert_eq!(trim(&writer, none).await, done(2, false));
}

async fn a_trimmed_log_goes_on(subject: &mut dyn Subject) {
    let mut writer = ten(subject).await;
    trim(&writer, Retention { events: 0, ..KEEP_ALL }).await;
    assert_eq!(writer.take(plain(1)).await.n(), 21);
    subject.change_incarnation().await;
    writer.branch = writer.sync().await.branch;
    assert_eq!(writer.take(plain(1)).await.n(), 23);
    assert_eq!(writer.left().await, (vec![21, 22, 23], 20));
    let trimmed = trim(&writer, Retention { events: 1, bytes: 1_000, age_ms: u64::MAX }).await;
    assert_eq!(trimmed, CheckpointAnswer::Done { trimmed: 2, more: false });
    assert_eq!(writer.left().await, (vec![23], 22));
}

async fn the_index_lists_projects_by_shard(subject: &mut dyn Subject) {
    let broker = subject.broker();
    let names: Vec<_> = (0..200).map(|n| project(&format!("p{n}"))).collect();
    for name in names.iter().chain(&names[..3]) {
        broker.enter(name.clone()).await.expect("an answer");
    }
    let mut all = Vec::new();
    for shard in 0..INDEX_SHARDS {
        let listed = broker.projects(shard).await.expect("an answer");
        assert!(listed.iter().all(|name| index::shard_of(name) == shard));
        all.extend(listed);
    }
    all.sort();
    let mut expected = names;
    expected.sort();
    assert_eq!(all, expected);
}

async fn a_lease_is_one_owners_at_a_time(subject: &mut dyn Subject) {
    let broker = subject.broker();
    let lease = async |shard, owner: &str| broker.lease(shard, owner.into(), 15_000).await.expect("an answer");
    let start_ms = subject.clock().now_ms();
    assert!(lease(7, "a").await);
    assert!(!lease(7, "b").await);
    assert!(lease(8, "b").await, "another shard");
    subject.clock().set(start_ms + 14_999);
    assert!(!lease(7, "b").await);
    assert!(lease(7, "a").await, "renewed");
    subject.clock().set(start_ms + 15_000);
    assert!(!lease(7, "b").await);
    subject.clock().set(start_ms + 14_999 + 15_000);
    assert!(lease(7, "b").await, "run out");
    assert!(!lease(7, "a").await);
}

async fn unused_writers_are_swept(subject: &mut dyn Subject) {
    let broker = subject.broker();
    let mut old = Writer::join(broker.clone(), "p").await;
    let mut young = Writer::join(broker.clone(), "p").await;
    let (old_call, young_call) = (old.call(Some(plain(1))), young.call(Some(plain(1))));
    old.take(plain(1)).await;
    subject.clock().set(subject.clock().now_ms() + 100);
    let last = young.take(plain(1)).await;
    broker.sweep(project("p"), 99, 99).await.expect("an answer");
    let answer = Answer::Appended { last, count: 1, publish_error: None };
    assert_eq!(young.send(young_call).await, answer, "used since, so known");
    let Answer::Appended { last: again, .. } = old.send(old_call).await else { panic!("its number is free again") };
    assert_eq!(again.n(), 3);
    broker.sweep(project("never-written"), 0, 0).await.expect("an answer");
}

async fn a_project_over_its_share_is_refused_for_a_while(subject: &mut dyn Subject) {
    let broker = subject.broker();
    let refused = Err(CallError::Nothing(NothingWhy::OverShare));
    broker.refuse(project("nobody"), 1_000).await.expect("it leaves alone what was never born");
    let mut writer = Writer::join(subject.broker(), "p").await;
    let first = writer.call(Some(named(&["a"])));
    let appended = writer.send(first.clone()).await;
    writer.number = first.number;

    broker.refuse(project("p"), 1_000).await.expect("an answer");
    let next = writer.call(Some(plain(1)));
    assert_eq!(broker.append(project("p"), next.clone()).await, refused);
    assert_eq!(writer.send(first).await, appended, "a retry is acknowledged");
    let again = writer.call(Some(named(&["a"])));
    assert!(matches!(broker.append(project("p"), again).await, Ok(Answer::Refused(_))), "and so is a duplicate");
    assert_eq!(writer.sync().await.last.n(), 1);
    Writer::join(subject.broker(), "q").await.take(plain(1)).await;
    subject.clock().set(subject.clock().now_ms() + 999);
    assert_eq!(broker.append(project("p"), next.clone()).await, refused);
    subject.clock().set(subject.clock().now_ms() + 1);
    assert!(matches!(broker.append(project("p"), next).await, Ok(Answer::Appended { .. })), "it ends by itself");

    broker.refuse(project("p"), 1_000).await.expect("an answer");
    broker.refuse(project("p"), 0).await.expect("an answer");
    writer.number += 2;
    writer.take(plain(1)).await;
}

async fn what_a_log_holds_is_counted(subject: &mut dyn Subject) {
    let mut writer = Writer::join(subject.broker(), "p").await;
    for bytes in [1_000, 2_000, 3_000] {
        writer.take(sized(bytes)).await;
    }
    let held = async || subject.broker().held_bytes(vec![project("p"), project("nobody")]).await;
    let weight = |bytes| sized(bytes).payload.len() as u64;
    assert_eq!(held().await, [Ok(weight(1_000) + weight(2_000) + weight(3_000)), Ok(0)]);
    writer.checkpoint(step(&writer.head().await, Position::ZERO)).await;
    trim(&writer, Retention { events: 2, ..KEEP_ALL }).await;
    assert_eq!(held().await, [Ok(weight(2_000) + weight(3_000)), Ok(0)]);
    trim(&writer, Retention { events: 0, ..KEEP_ALL }).await;
    assert_eq!(held().await, [Ok(0), Ok(0)]);
    subject.set_format(&project("p"), 2).await;
    let held = subject.broker().held_bytes(vec![project("nobody"), project("p")]).await;
    assert_eq!(held, [Ok(0), Err(ReadError::NewerFormat(2))]);
}
