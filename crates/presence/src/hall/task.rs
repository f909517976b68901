//! The task of one board: calls the store when the board is due, and tells what came of it.

use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

use futures_util::future::join_all;
use tokio::time::sleep_until;

use super::{Inner, Kept, unix_ms};
use crate::board::Call;

/// Runs until nobody is there, or the gateway stops.
pub(super) async fn run(inner: Arc<Inner>, kept: Arc<Kept>) {
    loop {
        let due_ms = kept.board.lock().due_ms();
        if due_ms.is_none() && inner.forget(&kept) {
            return;
        }
        let due = async {
            match due_ms {
                Some(due_ms) => sleep_until(inner.since + Duration::from_millis(due_ms)).await,
                None => std::future::pending().await,
            }
        };
        tokio::select! {
            // ORDER: a gateway that stops reports nothing any more.
            biased;
            () = inner.stop.cancelled() => return inner.go(&kept).await,
            () = due => inner.call(&kept).await,
            () = kept.news.notified() => {}
        }
    }
}

impl Inner {
    /// Drops a board of which nothing is left. False: there is something.
    fn forget(&self, kept: &Arc<Kept>) -> bool {
        let mut boards = self.boards.lock();
        let board = kept.board.lock();
        if !board.is_idle() {
            return false;
        }
        boards.remove(&kept.project);
        true
    }

    /// One call, whatever it comes to.
    async fn call(&self, kept: &Kept) {
        let _turn = self.calls.acquire().await.expect("it is never closed");
        let call = kept.board.lock().begin(self.now_ms());
        self.metrics.store_calls.inc();
        let project = || kept.project.clone();
        let failure = match call {
            Call::Leave => match self.store.leave(project(), Arc::clone(&self.gateway)).await {
                Ok(()) => {
                    kept.board.lock().left(self.now_ms());
                    None
                }
                Err(error) => Some(error),
            },
            Call::Report(report) => match self.store.report(project(), report).await {
                Ok(reported) => {
                    let news = kept.board.lock().reported(self.now_ms(), &reported);
                    let reads = join_all(news.into_iter().map(|gateway| self.read(kept, gateway))).await;
                    kept.board.lock().learned(self.now_ms(), reported.roll, reads);
                    None
                }
                Err(error) => Some(error),
            },
        };
        if let Some(error) = failure {
            tracing::debug!(%error, project = %kept.project, "presence was not reported");
            self.metrics.store_errors.inc();
            kept.board.lock().failed();
        }
        self.tell(kept);
    }

    /// What another gateway has.
    async fn read(&self, kept: &Kept, gateway: Arc<str>) -> crate::board::Read {
        let read = self.store.members(kept.project.clone(), Arc::clone(&gateway)).await;
        if let Err(error) = &read {
            tracing::debug!(%error, project = %kept.project, "presence was not read");
            self.metrics.store_errors.inc();
        }
        (gateway, read)
    }

    fn tell(&self, kept: &Kept) {
        let news = {
            let mut board = kept.board.lock();
            self.metrics.on_told(self.counting(&mut board, |board| board.tell(self.now_ms(), unix_ms())));
            kept.said.swap(board.said(), Ordering::AcqRel) < board.said()
        };
        if news {
            kept.wake_all();
        }
    }

    /// The gateway stops: what it reported is taken back, once. If that fails its lease ends by itself.
    async fn go(&self, kept: &Kept) {
        if kept.board.lock().is_held()
            && let Err(error) = self.store.leave(kept.project.clone(), Arc::clone(&self.gateway)).await
        {
            tracing::debug!(%error, project = %kept.project, "presence was not taken back");
        }
    }
}
