//! The topic's task: subscribe, read the tail, join; then take in what is heard and make good what is lost (docs/log.md L13).

use std::sync::Arc;
use std::time::Duration;

use tidings_broker::{Answer, AppendCall, DedupeWindow, Page, ReadError, Span};
use tidings_protocol::entry::{Entry, EntryError};
use tidings_protocol::position::Branch;
use tokio::time::Instant;

use super::Topic;
use super::inbox::Taken;
use super::link::Link;
use super::loads::Loads;
use super::machine::Todo;

/// Encoded bytes that one read of a topic asks for.
pub(super) const READ_BYTES: usize = 1024 * 1024;

/// Encoded bytes of the tail that a topic starts with: enough for viewers that reconnect after a moment.
const TAIL_BYTES: usize = 512 * 1024;

/// Waits between tries while the store is away.
pub(super) const RETRY: (Duration, Duration) = (Duration::from_millis(50), Duration::from_secs(1));

/// Feeds the topic's machine until the topic is stopped.
pub(super) async fn run(topic: Arc<Topic>) {
    let stop = topic.stop.clone();
    stop.run_until_cancelled(async {
        let mut link = Link::new(&topic);
        let mut loads = Loads::default();
        // Subscribed first, so that what follows the tail is heard. While the link is cut the log itself is there.
        link.confirmed_or_overdue().await;
        carry_out(&topic, Todo::Read(Span::Tail)).await;
        topic.started.send_replace(true);
        topic.readers.wake_all();
        loop {
            // ORDER: what is seldom ready first, so that a flood of messages starves nothing; the same in every run.
            tokio::select! {
                biased;
                () = link.news() => {
                    let todo = Todo::Read(topic.view().catch_up());
                    carry_out(&topic, todo).await;
                }
                () = loads.news() => topic.readers.wake_all(),
                () = topic.ask.notified() => {}
                () = topic.inbox.news() => {}
            }
            answer_wishes(&topic, &mut link, &mut loads).await;
            take_in(&topic, &mut link).await;
            // Readers were woken where something was learned. A mere wish wakes nobody: who is woken wishes again.
        }
    })
    .await;
}

/// What readers and timers asked for.
async fn answer_wishes(topic: &Arc<Topic>, link: &mut Link, loads: &mut Loads) {
    let asked = std::mem::take(&mut *topic.asked.lock());
    if asked.state {
        loads.want(topic);
    }
    let todo = {
        let mut machine = topic.machine.write();
        let checked = asked.head.map_or(Todo::Nothing, |head| machine.checked(&head));
        if checked != Todo::Nothing {
            link.found_behind();
        }
        if asked.read { Todo::Read(machine.catch_up()) } else { checked }
    };
    carry_out(topic, todo).await;
}

/// Takes in what was heard. Everything that is there already goes into the machine under one lock and wakes readers
/// once, so that load makes batches bigger.
async fn take_in(topic: &Arc<Topic>, link: &mut Link) {
    loop {
        let Taken { messages, since, lost } = topic.inbox.take();
        if messages.is_empty() && !lost {
            return;
        }
        if !messages.is_empty() {
            link.delivered();
        }
        *topic.heard_at.lock() = Instant::now();
        topic.metrics.messages.inc_by(messages.len() as u64);
        // Decoding happens here, outside of the lock that readers share.
        let entries: Vec<_> = messages.into_iter().map(Entry::from_message).collect();
        let mut entries = entries.into_iter();
        let mut todo = if lost { Todo::Read(topic.view().catch_up()) } else { Todo::Nothing };
        loop {
            if todo != Todo::Nothing {
                topic.metrics.repairs.inc();
                carry_out(topic, todo).await;
            }
            // What came with a message that did not link up is older than the page read since, or links up behind it.
            match feed(topic, &mut entries) {
                Todo::Nothing => break,
                more => todo = more,
            }
        }
        // Readers do not wait for what else there is to do, and a flood leaves room for others.
        topic.readers.wake_all();
        if let Some(since) = since {
            topic.metrics.fanout_seconds.observe(since.elapsed().as_secs_f64());
        }
        tokio::task::yield_now().await;
    }
}

/// Feeds entries to the machine under one lock, until they are used up or the machine wants something.
fn feed(topic: &Arc<Topic>, entries: &mut impl Iterator<Item = Result<Entry, EntryError>>) -> Todo {
    let mut machine = topic.machine.write();
    for entry in entries {
        let todo = match entry {
            Ok(entry) => machine.heard(entry),
            Err(error) => {
                tracing::warn!(%error, project = %topic.project, "malformed message on the channel");
                Todo::Read(machine.catch_up())
            }
        };
        if todo != Todo::Nothing {
            return todo;
        }
    }
    Todo::Nothing
}

/// Does what the machine wants until it wants nothing more. Waits while the store is away.
async fn carry_out(topic: &Arc<Topic>, mut todo: Todo) {
    let mut retry = RETRY.0;
    loop {
        let outcome = match todo {
            Todo::Nothing => return,
            Todo::Read(span) => read(topic, span).await.map(|page| (span, page)),
            Todo::SyncThenRead(span) => match sync(topic).await {
                Ok(()) => read(topic, span).await.map(|page| (span, page)),
                Err(error) => Err(error),
            },
        };
        match outcome {
            Ok((span, page)) => {
                retry = RETRY.0;
                let mut machine = topic.machine.write();
                let before = machine.head().branch;
                todo = machine.page(span, page);
                let crossed = before != machine.head().branch && !before.is_none();
                drop(machine);
                if crossed {
                    topic.metrics.forks.inc();
                    topic.pages.forget(&topic.project);
                    topic.snapshots.forget();
                }
                topic.readers.wake_all();
            }
            Err(error) => {
                tracing::debug!(%error, project = %topic.project, "topic read failed, will try again");
                tokio::time::sleep(retry).await;
                retry = (retry * 2).min(RETRY.1);
            }
        }
    }
}

async fn read(topic: &Arc<Topic>, span: Span) -> Result<Page, ReadError> {
    topic.machine.write().read_begun();
    let bytes = if span == Span::Tail { TAIL_BYTES } else { READ_BYTES };
    topic.broker.read(topic.project.clone(), span, bytes).await
}

/// Lets the log fork or be born where that is due; whoever calls sync is a writer (docs/log.md L5).
async fn sync(topic: &Arc<Topic>) -> Result<(), ReadError> {
    let branch = topic.view().head().branch;
    let call = AppendCall {
        writer: topic.writer.clone(),
        number: 0,
        branch,
        fresh: Branch::from_random(rand::random()),
        batch: None,
        delete: false,
        dedupe: DedupeWindow::default(),
        wait: None,
    };
    match topic.broker.append(topic.project.clone(), call).await {
        Ok(Answer::NewerFormat(format)) => Err(ReadError::NewerFormat(format)),
        Ok(_) => Ok(()),
        Err(error) => Err(ReadError::Away(error.to_string())),
    }
}
