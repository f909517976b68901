//! Handshakes under way, a bounded number. When there are too many, the oldest makes room if it has had its time, so that
//! any number of silent clients cannot keep the door shut; else the newest is turned away.

use std::collections::VecDeque;
use std::sync::Arc;
use std::time::Duration;

use parking_lot::Mutex;
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;

#[derive(Debug)]
pub(super) struct Handshakes {
    most: usize,
    grace: Duration,
    /// Oldest first.
    open: Arc<Mutex<VecDeque<Open>>>,
}

#[derive(Debug)]
struct Open {
    id: u64,
    since: Instant,
    give_up: CancellationToken,
}

/// A handshake; it is over when this is dropped.
#[derive(Debug)]
pub(super) struct Handshake {
    id: u64,
    give_up: CancellationToken,
    open: Arc<Mutex<VecDeque<Open>>>,
}

impl Handshakes {
    pub(super) fn new(most: usize, grace: Duration) -> Handshakes {
        Handshakes { most, grace, open: Arc::default() }
    }

    /// One more; none: there are too many, all of them young.
    pub(super) fn begin(&self) -> Option<Handshake> {
        let now = Instant::now();
        let mut open = self.open.lock();
        if open.len() >= self.most {
            let oldest = open.pop_front_if(|oldest| now.duration_since(oldest.since) >= self.grace)?;
            oldest.give_up.cancel();
        }
        let (id, give_up) = (open.back().map_or(0, |newest| newest.id + 1), CancellationToken::new());
        open.push_back(Open { id, since: now, give_up: give_up.clone() });
        Some(Handshake { id, give_up, open: self.open.clone() })
    }
}

impl Handshake {
    /// Resolves when it must make room for another one.
    pub(super) async fn given_up(&self) {
        self.give_up.cancelled().await;
    }
}

impl Drop for Handshake {
    fn drop(&mut self) {
        let mut open = self.open.lock();
        // Ids only grow from front to back.
        if let Ok(index) = open.binary_search_by_key(&self.id, |open| open.id) {
            open.remove(index);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test(start_paused = true)]
    async fn the_oldest_makes_room_when_it_has_had_its_time() {
        let handshakes = Handshakes::new(2, Duration::from_secs(1));
        let first = handshakes.begin().expect("room");
        let second = handshakes.begin().expect("room");
        assert!(handshakes.begin().is_none(), "both are young");
        tokio::time::advance(Duration::from_secs(1)).await;
        let third = handshakes.begin().expect("the first makes room");
        first.given_up().await;
        assert!(!second.give_up.is_cancelled() && !third.give_up.is_cancelled());
        drop(first);
        assert_eq!(handshakes.open.lock().len(), 2, "it had left already");
        drop(second);
        let fourth = handshakes.begin().expect("room");
        assert!(handshakes.begin().is_none());
        drop((third, fourth));
        assert!(handshakes.open.lock().is_empty());
    }
}
