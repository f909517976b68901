//! The snapshot that a topic shares with those who join about the same time.
//!
//! There is one lock order by construction. Whoever makes a snapshot holds `turn` (so that a storm of joiners costs one
//! encoding) and looks at the topic meanwhile; `turn` is locked in [`Snapshots::get_or_make`] alone. `kept` is a leaf: it
//! is locked for a copy or a replacement, and nothing is called while it is. So whoever holds the topic's lock may ask for
//! the bytes or have the snapshot forgotten, in any order.

use std::sync::Arc;
use std::time::Duration;

use parking_lot::Mutex;
use tidings_protocol::position::Position;
use tokio::time::Instant;

use crate::snapshot::Snapshot;

/// How long newcomers share one snapshot.
pub(super) const SHARED_FOR: Duration = Duration::from_millis(250);

/// A topic's newest snapshot.
#[derive(Debug, Default)]
pub(super) struct Snapshots {
    turn: Mutex<()>,
    kept: Mutex<Option<Kept>>,
}

/// A snapshot and when it was made.
#[derive(Debug, Clone)]
pub(super) struct Kept {
    pub snapshot: Arc<Snapshot>,
    made: Instant,
}

impl Kept {
    /// Whether a newcomer may still have it.
    pub(super) fn is_recent(&self) -> bool {
        self.made.elapsed() < SHARED_FOR
    }

    /// When it is not recent any more.
    pub(super) fn free_in(&self) -> Duration {
        SHARED_FOR.saturating_sub(self.made.elapsed())
    }
}

impl Snapshots {
    /// Calls `make` with the snapshot that is kept, one caller at a time, and keeps what it makes.
    ///
    /// # Errors
    /// Those of `make`; the kept one stays then.
    pub(super) fn get_or_make<E>(
        &self,
        make: impl FnOnce(Option<Kept>) -> Result<Made, E>,
    ) -> Result<Arc<Snapshot>, E> {
        let _turn = self.turn.lock();
        let kept = self.kept.lock().clone();
        match make(kept)? {
            Made::Kept(snapshot) => Ok(snapshot),
            Made::New(snapshot) => {
                *self.kept.lock() = Some(Kept { snapshot: snapshot.clone(), made: Instant::now() });
                Ok(snapshot)
            }
        }
    }

    /// Lets the snapshot go.
    pub(super) fn forget(&self) {
        let kept = self.kept.lock().take();
        // ORDER: it goes after the lock does.
        drop(kept);
    }

    /// Where the kept one is true, if a newcomer may still have it.
    pub(super) fn recent(&self) -> Option<Position> {
        self.kept.lock().as_ref().filter(|kept| kept.is_recent()).map(|kept| kept.snapshot.position)
    }

    /// Bytes held.
    pub(super) fn bytes(&self) -> usize {
        self.kept.lock().as_ref().map_or(0, |kept| kept.snapshot.bytes())
    }
}

/// Where a snapshot came from.
pub(super) enum Made {
    /// The kept one will do.
    Kept(Arc<Snapshot>),
    /// Encoded just now.
    New(Arc<Snapshot>),
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The upkeep counts and forgets under the topic's lock, while somebody who makes a snapshot waits for that lock.
    #[test]
    fn counting_and_forgetting_never_wait_for_who_makes_one() {
        let snapshots = Arc::new(Snapshots::default());
        let new = || Made::New(Snapshot::new(Position::ZERO, None, "{}".into()));
        let first = snapshots.get_or_make(|_| Ok::<_, ()>(new()));
        assert!(first.is_ok());
        let (done, finished) = std::sync::mpsc::channel();
        let making = snapshots.clone();
        std::thread::spawn(move || {
            let _ = making.get_or_make(|kept| {
                assert!(kept.is_some());
                let bytes = making.bytes();
                making.forget();
                done.send((bytes, making.bytes())).expect("the test waits");
                Err(())
            });
        });
        let waited = finished.recv_timeout(Duration::from_secs(10));
        assert_eq!(waited, Ok((2, 0)), "a lock is held while a snapshot is made");
    }
}
