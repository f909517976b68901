//! Guards: of the events under one key only the first stands (docs/log.md L4).

use tidings_protocol::position::Position;

use super::Subject;
use super::writer::{Writer, fresh, named, plain, produced, project, refused};
use crate::limits::{GUARD_MS_MAX, GUARDS_MAX};
use crate::{Answer, AppendBatch, AppendCall, GuardStep, Refusal, RefusalWhy};

super::cases! {
    the_first_event_under_a_key_stands
    a_retry_under_its_number_is_answered_as_before
    of_two_in_one_batch_the_second_is_refused
    a_duplicate_id_says_more_than_its_guard
    nothing_is_kept_of_a_refused_batch
    a_guard_stands_until_its_time
    a_guard_stands_for_so_long_at_most
    so_many_guards_are_kept_and_final_answers_beyond_them
    guards_stay_across_forks
    guards_go_with_their_project
    a_deletion_that_is_put_back_takes_the_guards_of_before
    swept_are_guards_whose_time_is_over
}

const HOUR_MS: u64 = 3_600_000;

fn guarded_until(batch: AppendBatch, keys: &[&str], until_ms: u64) -> AppendBatch {
    let step = |(index, key): (u32, &&str)| GuardStep { index, key: (*key).into(), until_ms, note: "a note ".into() };
    AppendBatch { guards: (0..).zip(keys).map(step).collect(), ..batch }
}

fn guarded(subject: &dyn Subject, keys: &[&str]) -> AppendBatch {
    let count = u32::try_from(keys.len()).expect("few");
    guarded_until(plain(count), keys, subject.clock().now_ms() + HOUR_MS)
}

fn settled(first: Position) -> Answer {
    refused(RefusalWhy::Settled(first))
}

async fn the_first_event_under_a_key_stands(subject: &mut dyn Subject) {
    let mut writer = Writer::join(subject.broker(), "p").await;
    let mut other = Writer::join(subject.broker(), "p").await;
    let last = writer.take(guarded(subject, &["c:1", "c:2"])).await;
    assert_eq!(other.append(guarded(subject, &["c:1"])).await, settled(last.back(1)));
    let why = RefusalWhy::Settled(last);
    let batch = guarded(subject, &["c:3", "c:2"]);
    assert_eq!(other.append(batch).await, Answer::Refused(vec![Refusal { index: 1, why }]));
    assert_eq!(other.head().await.last, last, "nothing was appended");
    let mut elsewhere = Writer::join(subject.broker(), "q").await;
    assert_eq!(elsewhere.take(guarded(subject, &["c:1"])).await.n(), 1, "keys are each project's own");
}

async fn a_retry_under_its_number_is_answered_as_before(subject: &mut dyn Subject) {
    let writer = Writer::join(subject.broker(), "p").await;
    let call = writer.call(Some(guarded(subject, &["c:1"])));
    let answer = writer.send(call.clone()).await;
    assert!(matches!(answer, Answer::Appended { .. }));
    assert_eq!(writer.send(AppendCall { fresh: fresh(), ..call }).await, answer);
}

async fn of_two_in_one_batch_the_second_is_refused(subject: &mut dyn Subject) {
    let mut writer = Writer::join(subject.broker(), "p").await;
    let before = writer.take(plain(1)).await;
    let why = RefusalWhy::Settled(before);
    let batch = guarded(subject, &["c:1", "c:2", "c:1"]);
    assert_eq!(writer.append(batch).await, Answer::Refused(vec![Refusal { index: 2, why }]));
    let last = writer.take(guarded(subject, &["c:1", "c:2"])).await;
    assert_eq!(writer.append(guarded(subject, &["c:1"])).await, settled(last.back(1)));
}

async fn a_duplicate_id_says_more_than_its_guard(subject: &mut dyn Subject) {
    let mut writer = Writer::join(subject.broker(), "p").await;
    let until_ms = subject.clock().now_ms() + HOUR_MS;
    let first = writer.take(guarded_until(named(&["a"]), &["c:1"], until_ms)).await;
    let again = guarded_until(named(&["a"]), &["c:1"], until_ms);
    assert_eq!(writer.append(again).await, refused(RefusalWhy::Duplicate(first)));
    let batch = guarded_until(produced("x", 1, &[5]), &["c:1"], until_ms);
    assert_eq!(writer.append(batch).await, refused(RefusalWhy::OutOfSequence { expected: 1 }), "so does its producer");
    let batch = guarded_until(produced("x", 1, &[1]), &["c:1"], until_ms);
    assert_eq!(writer.append(batch).await, settled(first));
    assert_eq!(writer.take(produced("x", 1, &[1])).await.n(), 2, "a refused event takes no step");
}

async fn nothing_is_kept_of_a_refused_batch(subject: &mut dyn Subject) {
    let mut writer = Writer::join(subject.broker(), "p").await;
    writer.take(guarded(subject, &["c:1"])).await;
    assert!(matches!(writer.append(guarded(subject, &["c:2", "c:1"])).await, Answer::Refused(_)));
    assert_eq!(writer.take(guarded(subject, &["c:2"])).await.n(), 2);
}

async fn a_guard_stands_until_its_time(subject: &mut dyn Subject) {
    let mut writer = Writer::join(subject.broker(), "p").await;
    let start_ms = subject.clock().now_ms();
    let first = writer.take(guarded_until(plain(1), &["c:1"], start_ms + 100)).await;
    subject.clock().set(start_ms + 99);
    let later = || guarded_until(plain(1), &["c:1"], start_ms + 200);
    assert_eq!(writer.append(later()).await, settled(first));
    subject.clock().set(start_ms + 100);
    let second = writer.take(later()).await;
    assert_eq!(writer.append(later()).await, settled(second), "it is overwritten");
    let late = || guarded_until(plain(1), &["c:2"], start_ms + 100);
    writer.take(late()).await;
    writer.take(late()).await;
}

async fn a_guard_stands_for_so_long_at_most(subject: &mut dyn Subject) {
    let mut writer = Writer::join(subject.broker(), "p").await;
    let start_ms = subject.clock().now_ms();
    let batch = || guarded_until(plain(1), &["c:1"], u64::MAX);
    let first = writer.take(batch()).await;
    subject.clock().set(start_ms + GUARD_MS_MAX - 1);
    assert_eq!(writer.append(batch()).await, settled(first));
    subject.clock().set(start_ms + GUARD_MS_MAX);
    writer.take(batch()).await;
}

async fn so_many_guards_are_kept_and_final_answers_beyond_them(subject: &mut dyn Subject) {
    const STEP: u64 = 5_000;
    let mut writer = Writer::join(subject.broker(), "p").await;
    let start_ms = subject.clock().now_ms();
    for part in 0..GUARDS_MAX / STEP {
        let keys: Vec<String> = (0..STEP).map(|number| format!("a:{part}:{number}")).collect();
        let keys: Vec<&str> = keys.iter().map(String::as_str).collect();
        writer.take(guarded(subject, &keys)).await;
    }
    let full = |index| Refusal { index, why: RefusalWhy::GuardsFull };
    assert_eq!(writer.append(guarded(subject, &["a:x", "c:1", "a:y"])).await, Answer::Refused(vec![full(0), full(2)]));
    let last = writer.take(guarded(subject, &["c:1"])).await;
    assert_eq!(writer.append(guarded(subject, &["c:1"])).await, settled(last));
    subject.clock().set(start_ms + HOUR_MS);
    writer.take(guarded(subject, &["a:0:0"])).await;
    assert_eq!(writer.append(guarded(subject, &["a:x"])).await, Answer::Refused(vec![full(0)]), "until they are swept");
    writer.broker.sweep(project("p"), u64::MAX / 4, u64::MAX / 4).await.expect("an answer");
    writer.take(guarded(subject, &["a:x"])).await;
}

async fn guards_stay_across_forks(subject: &mut dyn Subject) {
    let mut writer = Writer::join(subject.broker(), "p").await;
    let first = writer.take(guarded(subject, &["c:1"])).await;
    subject.change_incarnation().await;
    writer.branch = writer.sync().await.branch;
    assert_ne!(writer.branch, first.branch);
    assert_eq!(writer.append(guarded(subject, &["c:1"])).await, settled(first));
}

async fn guards_go_with_their_project(subject: &mut dyn Subject) {
    let mut writer = Writer::join(subject.broker(), "p").await;
    writer.take(guarded(subject, &["c:1"])).await;
    let call = AppendCall { number: writer.number + 1, delete: true, ..writer.call(None) };
    (writer.number, writer.branch) = (call.number, call.fresh);
    assert!(matches!(writer.send(call).await, Answer::Appended { .. }));
    writer.take(guarded(subject, &["c:1"])).await;
}

async fn a_deletion_that_is_put_back_takes_the_guards_of_before(subject: &mut dyn Subject) {
    let mut writer = Writer::join(subject.broker(), "p").await;
    let before = writer.take(guarded(subject, &["c:1"])).await;
    let behind = writer.take(guarded(subject, &["c:2"])).await;
    let deletion = crate::SessionDeletion { index: 0, session: String::new(), was: vec![before] };
    let last = writer.take(AppendBatch { deletions: vec![deletion], ..plain(1) }).await;
    assert!(writer.head().await.is_deleted(before), "{last}");
    writer.take(guarded(subject, &["c:1"])).await;
    let answer = writer.append(guarded(subject, &["c:2"])).await;
    assert_eq!(answer, settled(behind), "it was not before the deletion");
}

async fn swept_are_guards_whose_time_is_over(subject: &mut dyn Subject) {
    let mut writer = Writer::join(subject.broker(), "p").await;
    let start_ms = subject.clock().now_ms();
    let first = writer.take(guarded_until(plain(1), &["c:1"], start_ms + HOUR_MS)).await;
    writer.take(guarded_until(plain(1), &["c:2"], start_ms + 100)).await;
    subject.clock().set(start_ms + 100);
    writer.broker.sweep(project("p"), u64::MAX / 4, u64::MAX / 4).await.expect("an answer");
    assert_eq!(writer.append(guarded(subject, &["c:1"])).await, settled(first));
    writer.take(guarded(subject, &["c:2"])).await;
}
