//! The memory that unpackers hold beside input and output. A zstd frame may ask for 8 MiB, and a stream keeps it for as long
//! as it is open, so zstd has a bounded number of windows of its own: when all are taken, whoever sends zstd waits for one
//! and is then refused, and nobody else notices. gzip's windows are small and count like all else that a request holds.

use std::sync::Arc;
use std::time::Duration;

use tidings_log::writer::budget::{Budget, Part};
use tokio::sync::{OwnedSemaphorePermit, Semaphore};

use crate::unpack::Encoding;

/// All windows of a process.
#[derive(Debug)]
pub(crate) struct Windows {
    zstd: Arc<Semaphore>,
    others: Arc<Budget>,
    wait_max: Duration,
}

/// One body's window; dropping it gives it back.
#[derive(Debug)]
pub(crate) struct Window {
    _zstd: Option<OwnedSemaphorePermit>,
    _other: Part,
}

impl Windows {
    /// Windows of zstd within so many bytes, but at least one; others are taken from `others`. Whoever finds none waits
    /// for `wait_max`, first come, first served.
    pub(crate) fn new(zstd_bytes_max: usize, others: Arc<Budget>, wait_max: Duration) -> Windows {
        let count = (zstd_bytes_max / Encoding::Zstd.window_bytes()).clamp(1, Semaphore::MAX_PERMITS);
        Windows { zstd: Arc::new(Semaphore::new(count)), others, wait_max }
    }

    /// A window for a body of this encoding. None: there is none, and none came free in time.
    pub(crate) async fn take(&self, encoding: Encoding) -> Option<Window> {
        let (zstd, other_bytes) = match encoding {
            Encoding::Zstd => {
                let one = tokio::time::timeout(self.wait_max, self.zstd.clone().acquire_owned());
                (Some(one.await.ok()?.expect("it is never closed")), 0)
            }
            Encoding::Gzip | Encoding::Identity => (None, encoding.window_bytes()),
        };
        Some(Window { _zstd: zstd, _other: self.others.share(other_bytes)? })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test(start_paused = true)]
    async fn zstd_waits_for_zstd_alone() {
        let budget = Budget::new(1 << 20);
        let windows = Windows::new(20 << 20, budget.clone(), Duration::from_secs(10));
        let first = windows.take(Encoding::Zstd).await.expect("the first of two");
        let _second = windows.take(Encoding::Zstd).await.expect("the second of two");
        assert_eq!(budget.used(), 0, "zstd takes nothing from the others");
        let began = tokio::time::Instant::now();
        assert!(windows.take(Encoding::Zstd).await.is_none(), "all are taken");
        assert_eq!(began.elapsed(), Duration::from_secs(10));
        let gzip = windows.take(Encoding::Gzip).await.expect("small enough");
        assert_eq!(budget.used(), 1 << 15);
        drop(gzip);
        let (third, ()) = tokio::join!(windows.take(Encoding::Zstd), async { drop(first) });
        assert!(third.is_some(), "it came free");
    }
}
