//! Producers' sequences (docs/log.md L7).

use tidings_protocol::position::Position;

use super::Subject;
use super::writer::{Writer, jumping, named, plain, produced, refused};
use crate::limits::SEQUENCE_MAX;
use crate::{Answer, AppendBatch, PRODUCER_RANGES_MAX, PRODUCERS_MAX, ProducerStep, Refusal, RefusalWhy};

super::cases! {
    sequences_go_on_repeat_and_jump
    an_accepted_jump_leaves_a_hole_that_is_filled_later
    epochs_fence
    the_first_after_a_fork_may_jump_once
    ranges_are_bounded
    producers_are_bounded
    numbers_that_cannot_be_counted_are_refused
    an_id_that_is_a_duplicate_is_named_as_such
}

fn out(expected: u64) -> Answer {
    refused(RefusalWhy::OutOfSequence { expected })
}

async fn sequences_go_on_repeat_and_jump(subject: &mut dyn Subject) {
    let mut writer = Writer::join(subject.broker(), "p").await;
    assert_eq!(writer.append(produced("a", 1, &[2])).await, out(1), "1 is the first of an epoch");
    let last = writer.take(produced("a", 1, &[1, 2, 3])).await;
    assert_eq!(writer.append(produced("a", 1, &[2])).await, refused(RefusalWhy::DuplicateSequence(last)));
    assert_eq!(writer.append(produced("a", 1, &[5])).await, out(4));
    let mixed = [
        Refusal { index: 0, why: RefusalWhy::DuplicateSequence(last) },
        Refusal { index: 2, why: RefusalWhy::OutOfSequence { expected: 5 } },
    ];
    assert_eq!(writer.append(produced("a", 1, &[3, 4, 6])).await, Answer::Refused(mixed.into()));
    assert_eq!(writer.take(produced("a", 1, &[4])).await.n(), 4, "a refused batch left no trace");
    assert_eq!(writer.take(produced("b", 1, &[1])).await.n(), 5, "sequences are each producer's own");
}

async fn an_accepted_jump_leaves_a_hole_that_is_filled_later(subject: &mut dyn Subject) {
    let mut writer = Writer::join(subject.broker(), "p").await;
    writer.take(produced("a", 1, &[1])).await;
    writer.take(jumping(produced("a", 1, &[5]))).await;
    assert_eq!(writer.append(produced("a", 1, &[7])).await, out(6));
    writer.take(produced("a", 1, &[3])).await;
    let last = writer.take(produced("a", 1, &[2, 4])).await;
    for seq in 1..=5 {
        assert_eq!(
            writer.append(produced("a", 1, &[seq])).await,
            refused(RefusalWhy::DuplicateSequence(last)),
            "{seq} is in the set"
        );
    }
    writer.take(produced("a", 1, &[6])).await;
}

async fn epochs_fence(subject: &mut dyn Subject) {
    let mut writer = Writer::join(subject.broker(), "p").await;
    writer.take(produced("a", 3, &[1, 2])).await;
    assert_eq!(writer.append(produced("a", 2, &[3])).await, refused(RefusalWhy::Fenced { epoch: 3 }));
    assert_eq!(writer.append(produced("a", 4, &[3])).await, out(1), "a new epoch begins at 1");
    writer.take(produced("a", 3, &[3])).await;
    writer.take(produced("a", 4, &[1])).await;
    assert_eq!(writer.append(produced("a", 3, &[4])).await, refused(RefusalWhy::Fenced { epoch: 4 }));
}

async fn the_first_after_a_fork_may_jump_once(subject: &mut dyn Subject) {
    let mut writer = Writer::join(subject.broker(), "p").await;
    writer.take(produced("a", 1, &[1])).await;
    subject.change_incarnation().await;
    writer.branch = writer.sync().await.branch;

    writer.take(produced("a", 1, &[9])).await;
    assert_eq!(writer.append(produced("a", 1, &[11])).await, out(10), "once");
    writer.take(produced("a", 1, &[4])).await;
    writer.take(produced("new", 1, &[7])).await;
    assert_eq!(writer.append(produced("new", 1, &[9])).await, out(8), "once for one that the fork may have lost");

    subject.change_incarnation().await;
    writer.branch = writer.sync().await.branch;
    writer.take(produced("a", 1, &[11])).await;
}

async fn ranges_are_bounded(subject: &mut dyn Subject) {
    let mut writer = Writer::join(subject.broker(), "p").await;
    let odd: Vec<u64> = (0..PRODUCER_RANGES_MAX as u64).map(|n| 2 * n + 1).collect();
    writer.take(jumping(produced("a", 1, &odd))).await;
    let last = odd[odd.len() - 1];
    assert_eq!(writer.append(jumping(produced("a", 1, &[last + 2]))).await, out(last + 1), "one range too many");
    writer.take(produced("a", 1, &[2])).await;
    writer.take(jumping(produced("a", 1, &[last + 2]))).await;
}

async fn producers_are_bounded(subject: &mut dyn Subject) {
    let mut writer = Writer::join(subject.broker(), "p").await;
    let many = |from: u64| {
        let steps = (0..1_000_u32).map(|index| ProducerStep {
            index,
            id: format!("producer-{}", from + u64::from(index)),
            epoch: 1,
            seq: 1,
            may_jump: false,
        });
        AppendBatch { producers: steps.collect(), ..plain(1_000) }
    };
    for from in (0..PRODUCERS_MAX).step_by(1_000) {
        writer.take(many(from)).await;
    }
    assert_eq!(writer.append(produced("one-more", 1, &[1])).await, Answer::ProducersFull);
    writer.take(produced("producer-7", 1, &[2])).await;

    let now_ms = subject.clock().now_ms();
    subject.clock().set(now_ms + 10);
    writer.take(produced("producer-8", 1, &[2])).await;
    writer.broker.sweep(writer.project.clone(), 1_000, 9).await.expect("an answer");
    let last = writer.take(produced("one-more", 1, &[1])).await;
    assert_eq!(writer.append(produced("producer-7", 1, &[3])).await, out(1), "unused, so forgotten");
    let known = refused(RefusalWhy::DuplicateSequence(last));
    assert_eq!(writer.append(produced("producer-8", 1, &[1])).await, known, "used since, so kept");
}

async fn numbers_that_cannot_be_counted_are_refused(subject: &mut dyn Subject) {
    let mut writer = Writer::join(subject.broker(), "p").await;
    assert_eq!(writer.append(produced("a", 1, &[0])).await, out(1));
    writer.take(jumping(produced("a", 1, &[SEQUENCE_MAX]))).await;
    for seq in [SEQUENCE_MAX + 1, SEQUENCE_MAX + 2, u64::MAX] {
        assert_eq!(writer.append(jumping(produced("a", 1, &[seq]))).await, out(SEQUENCE_MAX + 1));
    }
    assert_eq!(writer.append(produced("a", SEQUENCE_MAX + 1, &[1])).await, out(1));
    assert_eq!(writer.append(produced("b", u64::MAX, &[1])).await, out(1));
    writer.take(produced("a", SEQUENCE_MAX, &[1])).await;
}

async fn an_id_that_is_a_duplicate_is_named_as_such(subject: &mut dyn Subject) {
    let mut writer = Writer::join(subject.broker(), "p").await;
    let both = AppendBatch { ids: named(&["a", "b"]).ids, ..produced("x", 1, &[1, 2]) };
    let last: Position = writer.take(both.clone()).await;
    let ids = AppendBatch { ids: vec![(1, "b".into())], ..both };
    let expected = [
        Refusal { index: 0, why: RefusalWhy::DuplicateSequence(last) },
        Refusal { index: 1, why: RefusalWhy::Duplicate(last) },
    ];
    assert_eq!(writer.append(ids).await, Answer::Refused(expected.into()), "with its first position");
}
