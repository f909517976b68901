//! What a topic has heard and not yet taken in: bounded in bytes. Full means lost, which the log makes good.

use std::sync::atomic::{AtomicBool, Ordering};

use bytes::Bytes;
use parking_lot::Mutex;
use tokio::sync::Notify;
use tokio::time::Instant;

/// Bytes of messages that wait while a topic reads a page (docs/log.md L12).
pub(super) const INBOX_BYTES_MAX: usize = 1024 * 1024;

/// A topic's inbox.
#[derive(Default)]
pub(super) struct Inbox {
    queue: Mutex<Queue>,
    lost: AtomicBool,
    news: Notify,
}

#[derive(Default)]
struct Queue {
    messages: Vec<Bytes>,
    bytes: usize,
    /// When the oldest of them came.
    since: Option<Instant>,
}

/// What came since the last look.
#[derive(Debug, PartialEq)]
pub(super) struct Taken {
    /// In the order in which they came.
    pub messages: Vec<Bytes>,
    /// When the first of them came.
    pub since: Option<Instant>,
    /// Messages may be missing.
    pub lost: bool,
}

impl Inbox {
    /// Takes a message; never blocks.
    pub(super) fn push(&self, bytes: Bytes) {
        let mut queue = self.queue.lock();
        if queue.bytes + bytes.len() > INBOX_BYTES_MAX && !queue.messages.is_empty() {
            // What waits is older than what is lost, and the read that makes it good covers both.
            queue.messages.clear();
            queue.bytes = 0;
            self.lost.store(true, Ordering::Release);
        } else {
            queue.bytes += bytes.len();
            queue.messages.push(bytes);
            queue.since.get_or_insert_with(Instant::now);
        }
        drop(queue);
        self.news.notify_one();
    }

    /// Messages may have been lost.
    pub(super) fn lose(&self) {
        self.lost.store(true, Ordering::Release);
        self.news.notify_one();
    }

    /// Waits for anything.
    pub(super) async fn news(&self) {
        self.news.notified().await;
    }

    /// What came, and whether something was lost.
    pub(super) fn take(&self) -> Taken {
        let mut queue = self.queue.lock();
        let lost = self.lost.swap(false, Ordering::AcqRel);
        let Queue { messages, since, .. } = std::mem::take(&mut *queue);
        Taken { messages, since, lost }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_full_inbox_forgets_and_says_so() {
        let inbox = Inbox::default();
        let big = Bytes::from(vec![0; INBOX_BYTES_MAX / 2]);
        inbox.push(big.clone());
        inbox.push(big.clone());
        let taken = inbox.take();
        assert_eq!((taken.messages, taken.lost), (vec![big.clone(), big.clone()], false));
        assert!(taken.since.is_some());
        for _ in 0..3 {
            inbox.push(big.clone());
        }
        let taken = inbox.take();
        assert_eq!((taken.messages, taken.lost), (vec![], true));
        assert_eq!(inbox.take(), Taken { messages: vec![], since: None, lost: false });
    }
}
