//! What a topic has heard and not yet taken in: bounded in bytes. Full means lost, which the log makes good.

use std::sync::atomic::{AtomicBool, Ordering};

use bytes::Bytes;
use parking_lot::Mutex;
use tokio::sync::Notify;

/// Bytes of messages that wait while a topic reads a page (docs/log.md L12).
pub(super) const INBOX_BYTES_MAX: usize = 1024 * 1024;

/// A topic's inbox.
#[derive(Default)]
pub(super) struct Inbox {
    queue: Mutex<(Vec<Bytes>, usize)>,
    lost: AtomicBool,
    news: Notify,
}

impl Inbox {
    /// Takes a message; never blocks.
    pub(super) fn push(&self, bytes: Bytes) {
        let mut queue = self.queue.lock();
        if queue.1 + bytes.len() > INBOX_BYTES_MAX && !queue.0.is_empty() {
            // What waits is older than what is lost, and the read that makes it good covers both.
            queue.0.clear();
            queue.1 = 0;
            self.lost.store(true, Ordering::Release);
        } else {
            queue.1 += bytes.len();
            queue.0.push(bytes);
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
    pub(super) fn take(&self) -> (Vec<Bytes>, bool) {
        let mut queue = self.queue.lock();
        queue.1 = 0;
        let lost = self.lost.swap(false, Ordering::AcqRel);
        (std::mem::take(&mut queue.0), lost)
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
        assert_eq!(inbox.take(), (vec![big.clone(), big.clone()], false));
        for _ in 0..3 {
            inbox.push(big.clone());
        }
        assert_eq!(inbox.take(), (vec![], true));
        assert_eq!(inbox.take(), (vec![], false));
    }
}
