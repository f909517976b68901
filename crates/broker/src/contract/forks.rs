//! Forks by a change of incarnation (docs/log.md L8), and what a restart leaves.

use tidings_protocol::entry::{Body, ForkKind, ForkNote};
use tidings_protocol::head::{FORKS_MAX, Fork, Located};
use tidings_protocol::position::Position;

use super::Subject;
use super::writer::{Writer, named, plain, project};
use crate::{Answer, AppendCall, Span};

super::cases! {
    a_change_of_incarnation_forks_with_the_next_call
    a_sync_that_names_no_branch_is_told_the_new_one
    the_same_number_is_answered_across_a_fork
    the_list_of_forks_is_bounded
    a_log_without_entries_forks_too
    reopened
}

async fn a_change_of_incarnation_forks_with_the_next_call(subject: &mut dyn Subject) {
    let mut writer = Writer::join(subject.broker(), "p").await;
    let last = writer.take(named(&["a", "b"])).await;
    let before = writer.head().await;
    subject.change_incarnation().await;
    let due = writer.head().await;
    assert!(due.fork_is_due() && due.opened_under == before.incarnation, "a read tells, and forks nothing");
    assert_eq!((due.branch, due.last), (before.branch, last));

    let call = writer.call(Some(plain(1)));
    writer.number = call.number;
    let Answer::Heal(heal) = writer.send(call.clone()).await else { panic!("no heal") };
    let from = Position::new(last.ms(), 3, call.fresh);
    let fork = Fork { closed: before.branch, survived: last, kind: ForkKind::Failover, from };
    assert_eq!((heal.head.branch, heal.head.last, &heal.head.forks), (call.fresh, from, &vec![fork]));
    assert_eq!((heal.number, heal.answer), (1, Some((last, 2))));
    assert!(!heal.head.fork_is_due());
    assert_eq!(heal.head.locate(last), Located::At(last.id));

    let page = writer.broker.read(project("p"), Span::Tail, 10_000).await.expect("an answer");
    let entry = &page.entries[1];
    let note = ForkNote { closed: before.branch, survived: last, kind: ForkKind::Failover };
    assert_eq!((entry.prev, entry.position, &entry.body), (last, from, &Body::Fork(note)));
    assert_eq!((entry.total_bytes, page.entries.len()), (before.total_bytes, 2));

    writer.branch = call.fresh;
    let Answer::Refused(refusals) = writer.append(named(&["b", "c"])).await else { panic!("ids outlive a fork") };
    assert_eq!(refusals.len(), 1);
    assert_eq!(writer.take(named(&["c"])).await, Position::new(last.ms(), 4, call.fresh));
}

async fn a_sync_that_names_no_branch_is_told_the_new_one(subject: &mut dyn Subject) {
    let mut writer = Writer::join(subject.broker(), "p").await;
    writer.take(plain(1)).await;
    subject.change_incarnation().await;
    let head = writer.sync().await;
    assert_eq!((head.forks.len(), head.last.n()), (1, 2));
    assert_eq!(writer.sync().await, head, "one change, one fork");
    let Answer::Heal(heal) = writer.send(writer.call(None)).await else { panic!("its branch is closed") };
    assert_eq!(heal.head, head);
}

async fn the_same_number_is_answered_across_a_fork(subject: &mut dyn Subject) {
    let writer = Writer::join(subject.broker(), "p").await;
    let call = writer.call(Some(plain(2)));
    let answer = writer.send(call.clone()).await;
    subject.change_incarnation().await;
    let again = AppendCall { fresh: super::writer::fresh(), ..call };
    assert_eq!(writer.send(again.clone()).await, answer);
    assert_eq!(writer.head().await.branch, again.fresh, "and yet the log forked");
}

async fn the_list_of_forks_is_bounded(subject: &mut dyn Subject) {
    let writer = Writer::join(subject.broker(), "p").await;
    let mut branches = vec![writer.branch];
    for _ in 0..FORKS_MAX + 2 {
        subject.change_incarnation().await;
        branches.push(writer.sync().await.branch);
    }
    let head = writer.head().await;
    let closed: Vec<_> = head.forks.iter().map(|fork| fork.closed).collect();
    assert_eq!(closed, branches[2..2 + FORKS_MAX], "the newest, oldest first");
    assert_eq!(head.last.n(), FORKS_MAX as u64 + 2);
    let far = Position::new(head.last.ms(), 1, branches[0]);
    assert_eq!(head.locate(far), Located::Unknown);
}

async fn a_log_without_entries_forks_too(subject: &mut dyn Subject) {
    let writer = Writer::join(subject.broker(), "p").await;
    subject.change_incarnation().await;
    let head = writer.sync().await;
    assert_eq!(head.forks[0].survived, Position::ZERO);
    let page = writer.broker.read(project("p"), Span::Tail, 1_000).await.expect("an answer");
    assert_eq!((page.entries.len(), page.entries[0].prev, page.trimmed_to), (1, Position::ZERO, Position::ZERO));
}

async fn reopened(subject: &mut dyn Subject) {
    let mut writer = Writer::join(subject.broker(), "p").await;
    let last = writer.take(plain(2)).await;
    let before = writer.head().await;
    let kept = subject.reopen().await;
    let head = writer.head().await;
    assert_ne!(head.incarnation, before.incarnation, "whoever reopens may have lost something");
    if kept {
        assert!(head.fork_is_due() && head.last == last);
        assert_eq!(writer.sync().await.forks[0].survived, last);
    } else {
        assert!(!head.is_born());
        assert_eq!(head.locate(last), Located::Unknown, "a viewer is told of a reset");
    }
    let call = writer.call(Some(plain(1)));
    let Answer::Heal(heal) = writer.send(call).await else { panic!("its branch is not open") };
    assert_eq!(heal.answer, kept.then_some((last, 2)));
}
