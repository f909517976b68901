//! A store for tests: a memory store on tokio's clock, that can fail, hang and be counted.

use std::sync::Arc;
use std::sync::atomic::{AtomicU8, AtomicU64, Ordering};
use std::time::Duration;

use futures_util::future::{BoxFuture, FutureExt as _};
use tidings_broker::clock::ManualClock;
use tidings_broker::memory::MemoryBroker;
use tidings_broker::quota::{Held, HoldCall, Quotas, Take, Taken};
use tidings_broker::{CallError, NothingWhy};
use tokio::time::Instant;

const START_MS: u64 = 1_763_630_000_000;

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[repr(u8)]
pub(crate) enum Mode {
    Answers,
    Fails,
    Hangs,
}

/// Must be made with tokio's clock paused.
pub(crate) struct Double {
    memory: MemoryBroker,
    clock: ManualClock,
    since: Instant,
    mode: AtomicU8,
    latency_ms: AtomicU64,
    calls: AtomicU64,
}

impl Double {
    pub(crate) fn new() -> Arc<Double> {
        let clock = ManualClock::at(START_MS);
        Arc::new(Double {
            memory: MemoryBroker::with_clock(clock.clone()),
            clock,
            since: Instant::now(),
            mode: AtomicU8::new(Mode::Answers as u8),
            latency_ms: AtomicU64::new(1),
            calls: AtomicU64::new(0),
        })
    }

    pub(crate) fn set(&self, mode: Mode) {
        self.mode.store(mode as u8, Ordering::SeqCst);
    }

    pub(crate) fn set_latency_ms(&self, latency_ms: u64) {
        self.latency_ms.store(latency_ms, Ordering::SeqCst);
    }

    /// Calls since this was last asked.
    pub(crate) fn calls(&self) -> u64 {
        self.calls.swap(0, Ordering::SeqCst)
    }

    /// As a restart leaves it.
    pub(crate) fn forget(&self) {
        self.memory.reopen();
    }

    async fn answer(&self) -> Result<(), CallError> {
        self.calls.fetch_add(1, Ordering::SeqCst);
        tokio::time::sleep(Duration::from_millis(self.latency_ms.load(Ordering::SeqCst))).await;
        let now_ms = u64::try_from(self.since.elapsed().as_millis()).expect("short");
        self.clock.set(START_MS + now_ms);
        match self.mode.load(Ordering::SeqCst) {
            mode if mode == Mode::Answers as u8 => Ok(()),
            mode if mode == Mode::Fails as u8 => Err(CallError::Nothing(NothingWhy::Away)),
            _ => std::future::pending().await,
        }
    }
}

impl Quotas for Double {
    fn take(&self, takes: Vec<Take>) -> BoxFuture<'_, Vec<Result<Taken, CallError>>> {
        async move {
            match self.answer().await {
                Ok(()) => self.memory.take(takes).await,
                Err(error) => takes.iter().map(|_| Err(error.clone())).collect(),
            }
        }
        .boxed()
    }

    fn hold(&self, shard: u16, call: HoldCall) -> BoxFuture<'_, Result<Held, CallError>> {
        async move {
            self.answer().await?;
            self.memory.hold(shard, call).await
        }
        .boxed()
    }
}
