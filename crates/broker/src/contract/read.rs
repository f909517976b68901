//! Reads: bounds inside entries, bytes, both directions (docs/log.md L2).

use tidings_protocol::position::{LogId, Position};

use super::Subject;
use super::writer::{Writer, plain, project, sized};
use crate::{ReadError, Span};

super::cases! {
    forward_reads_begin_inside_an_entry
    backward_reads_end_inside_an_entry
    pages_hold_at_least_one_entry_and_no_more_than_fits
    pages_of_many_sizes_link_up
    a_project_that_was_never_written_is_empty
    a_log_that_cannot_be_read_fails_alone
}

/// The numbers of the last events of the entries that a read returns.
async fn ends(writer: &Writer, span: Span, bytes_max: usize) -> Vec<u64> {
    let page = writer.broker.read(project("p"), span, bytes_max).await.expect("an answer");
    assert_eq!(page.head, writer.head().await);
    page.entries.iter().map(|entry| entry.position.n()).collect()
}

/// A log with entries ending at 3, 4, 9 and 10, the clock moving between them.
async fn log(subject: &mut dyn Subject) -> (Writer, Vec<Position>) {
    let mut writer = Writer::join(subject.broker(), "p").await;
    let mut last = Vec::new();
    for (count, later_ms) in [(3, 0), (1, 10), (5, 10), (1, 0)] {
        subject.clock().set(subject.clock().now_ms() + later_ms);
        last.push(writer.take(plain(count)).await);
    }
    (writer, last)
}

const ALL: usize = 1_000_000;

async fn forward_reads_begin_inside_an_entry(subject: &mut dyn Subject) {
    let (writer, last) = log(subject).await;
    let after = async |id: LogId| ends(&writer, Span::After(id), ALL).await;
    assert_eq!(after(LogId::ZERO).await, [3, 4, 9, 10]);
    assert_eq!(after(last[0].back(1).id).await, [3, 4, 9, 10], "inside the first");
    assert_eq!(after(last[0].id).await, [4, 9, 10], "exclusive");
    assert_eq!(after(last[2].back(4).id).await, [9, 10]);
    assert_eq!(after(last[3].id).await, [] as [u64; 0]);
    let between = LogId { ms: last[1].ms() - 1, n: 0 };
    assert_eq!(after(between).await, [4, 9, 10], "a time is a bound too");
}

async fn backward_reads_end_inside_an_entry(subject: &mut dyn Subject) {
    let (writer, last) = log(subject).await;
    let before = async |id: LogId| ends(&writer, Span::Before(id), ALL).await;
    assert_eq!(before(LogId { ms: last[3].ms() + 1, n: 0 }).await, [3, 4, 9, 10]);
    assert_eq!(before(last[3].id).await, [3, 4, 9]);
    assert_eq!(before(last[2].id).await, [3, 4, 9], "the event below the bound lies in the entry that it ends");
    assert_eq!(before(last[2].back(3).id).await, [3, 4, 9], "one event of it is below the bound");
    assert_eq!(before(last[2].back(4).id).await, [3, 4], "none is");
    assert_eq!(before(last[1].id).await, [3], "an entry of one event ends where it begins");
    assert_eq!(before(last[0].back(2).id).await, [] as [u64; 0]);
    assert_eq!(before(LogId::ZERO).await, [] as [u64; 0]);
    assert_eq!(ends(&writer, Span::Tail, ALL).await, [3, 4, 9, 10]);
}

async fn pages_hold_at_least_one_entry_and_no_more_than_fits(subject: &mut dyn Subject) {
    let mut writer = Writer::join(subject.broker(), "p").await;
    let bytes = sized(1_000).payload.len();
    for _ in 0..20 {
        writer.take(sized(1_000)).await;
    }
    assert_eq!(ends(&writer, Span::After(LogId::ZERO), 0).await, [1], "one, however little room there is");
    assert_eq!(ends(&writer, Span::After(LogId::ZERO), 3 * bytes).await, [1, 2, 3]);
    assert_eq!(ends(&writer, Span::After(LogId::ZERO), 3 * bytes - 1).await, [1, 2]);
    assert_eq!(ends(&writer, Span::Tail, 0).await, [20]);
    assert_eq!(ends(&writer, Span::Tail, 11 * bytes).await, (10..=20).collect::<Vec<_>>());
    let inside = writer.head().await.last.id;
    assert_eq!(ends(&writer, Span::Before(inside), 2 * bytes).await, [18, 19]);
}

async fn pages_of_many_sizes_link_up(subject: &mut dyn Subject) {
    let mut writer = Writer::join(subject.broker(), "p").await;
    for n in 0..150_usize {
        writer.take(sized([10, 3_000, 1, 60_000, 200][n % 5])).await;
    }
    let (mut position, mut pages) = (Position::ZERO, 0);
    while position.n() < 150 {
        let page = writer.broker.read(project("p"), Span::After(position.id), 100_000).await.expect("an answer");
        for entry in &page.entries {
            assert_eq!(entry.prev, position);
            position = entry.position;
        }
        pages += 1;
    }
    assert!((19..40).contains(&pages), "{pages} pages for about 1.9 MB");
    let (mut bound, mut seen) = (LogId { ms: u64::from(u32::MAX) * 1_000, n: 0 }, 0);
    loop {
        let page = writer.broker.read(project("p"), Span::Before(bound), 100_000).await.expect("an answer");
        let Some(first) = page.entries.first() else { break };
        bound = first.first_id();
        seen += page.entries.len();
    }
    assert_eq!(seen, 150);
}

async fn a_project_that_was_never_written_is_empty(subject: &mut dyn Subject) {
    let broker = subject.broker();
    for span in [Span::Tail, Span::After(LogId::ZERO), Span::Before(LogId { ms: 5, n: 5 })] {
        let page = broker.read(project("nobody"), span, 1_000).await.expect("an answer");
        assert_eq!((page.entries.len(), page.trimmed_to, page.head.is_born()), (0, Position::ZERO, false));
    }
    let heads = broker.heads(vec![project("x"), project("y")]).await;
    assert_eq!(heads.iter().filter(|head| head.is_ok()).count(), 2);
}

async fn a_log_that_cannot_be_read_fails_alone(subject: &mut dyn Subject) {
    for name in ["a", "b", "c"] {
        Writer::join(subject.broker(), name).await.take(plain(1)).await;
    }
    subject.set_format(&project("b"), 2).await;
    let heads = subject.broker().heads(vec![project("a"), project("b"), project("c")]).await;
    assert_eq!(heads[1], Err(ReadError::NewerFormat(2)));
    let others: Vec<_> = [&heads[0], &heads[2]].into_iter().flatten().map(|head| head.last.n()).collect();
    assert_eq!((heads.len(), others), (3, vec![1, 1]));
}
