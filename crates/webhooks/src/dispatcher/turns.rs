//! Who may deliver now: so many at once, and those who fail or are slow only a part of these.
//!
//! A receiver that hangs holds a turn for as long as a call may take. Once it did, its webhook waits in a line of its own:
//! however many of them there are, they stand in each other's way alone.

use std::sync::Arc;

use tokio::sync::{OwnedSemaphorePermit, Semaphore};

/// Those who fail or are slow have this part of all turns.
const DOUBTFUL_PART: usize = 4;

/// Turns of a process. First come, first served.
#[derive(Debug)]
pub(crate) struct Turns {
    good: Arc<Semaphore>,
    doubtful: Arc<Semaphore>,
}

/// A turn; it ends when it is dropped.
#[derive(Debug)]
pub(crate) struct Turn(#[allow(dead_code, reason = "it is held")] OwnedSemaphorePermit);

impl Turns {
    /// So many at once, two at least.
    pub(crate) fn new(at_once: usize) -> Turns {
        let doubtful = (at_once / DOUBTFUL_PART).max(1);
        let good = at_once.saturating_sub(doubtful).max(1);
        Turns { good: Arc::new(Semaphore::new(good)), doubtful: Arc::new(Semaphore::new(doubtful)) }
    }

    /// Waits for a turn.
    pub(crate) async fn take(&self, is_doubtful: bool) -> Turn {
        let line = if is_doubtful { &self.doubtful } else { &self.good };
        Turn(line.clone().acquire_owned().await.expect("it is never closed"))
    }
}

#[cfg(test)]
mod tests {
    use futures_util::FutureExt as _;

    use super::*;

    #[tokio::test]
    async fn those_who_fail_are_in_nobodys_way() {
        let turns = Turns::new(8);
        let _held = (turns.take(true).await, turns.take(true).await);
        assert!(turns.take(true).now_or_never().is_none(), "a quarter of them");
        let good: Vec<Turn> = (0..6).map(|_| turns.take(false).now_or_never().expect("there are six")).collect();
        assert!(turns.take(false).now_or_never().is_none());
        drop(good);
        assert!(turns.take(false).now_or_never().is_some());
    }

    #[tokio::test]
    async fn there_is_one_of_each_at_least() {
        let turns = Turns::new(0);
        let _held = (turns.take(true).await, turns.take(false).await);
    }
}
