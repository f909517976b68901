//! The shutdown, written as the list that it is, and the signals that start it.
//!
//! The order is the promise: load balancers hear of it before the port closes, the port closes before connections are
//! told to go, and whatever was told has until the deadline. A second signal ends the waiting at once.

use std::sync::Arc;
use std::time::Duration;

use futures_util::future::join_all;
use tokio::signal::unix::{Signal, SignalKind, signal};
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;

use crate::http::Server;
use crate::readiness::{Readiness, SERVING};
use crate::service::Service;

/// How long each part may take.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct DrainTimes {
    /// From the signal until the port closes.
    pub notice: Duration,
    /// From the signal until what is left is cut.
    pub total: Duration,
}

/// What is shut down.
pub struct Drained<'a> {
    /// Goes off first.
    pub readiness: &'a Readiness,
    /// Stops accepting, then closes its connections.
    pub server: &'a Server,
    /// Told and waited for together.
    pub services: &'a [Arc<dyn Service>],
    /// Ends the process's own tasks (probe, heartbeat), last.
    pub background: &'a CancellationToken,
}

/// How a shutdown ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Outcome {
    /// Everything was told and ended by itself.
    Complete,
    /// Time ran out, or a second signal came: this many connections and pieces of work were cut.
    Cut(usize),
}

/// Runs the shutdown. It begins when this is called, and is over within `times.total`; `force` ends the waiting early.
pub async fn drain(what: Drained<'_>, times: DrainTimes, force: impl Future<Output = ()>) -> Outcome {
    let begun = Instant::now();
    let in_order = async {
        // 1. The signal has come; say so.
        tracing::info!(total_ms = millis(times.total), "shutdown begins");
        // 2. Readiness off; liveness stays on.
        what.readiness.set(SERVING, false, "shutting down");
        // 3. Load balancers notice. Requests still come and are answered.
        step("notice", tokio::time::sleep(times.notice)).await;
        // 4. Nothing new is accepted.
        step("stop accepting", what.server.stop_accepting()).await;
        // 5. Connections are told to go, with a place and a time to come back to.
        what.server.finish_connections();
        step("tell connections", join_all(what.services.iter().map(|service| service.drain()))).await;
        // 6. They go.
        step("wait for work", join_all(what.services.iter().map(|service| service.finished()))).await;
        step("wait for connections", what.server.finished()).await;
    };
    let complete = tokio::select! {
        outcome = tokio::time::timeout(times.total, in_order) => outcome.is_ok(),
        () = force => {
            tracing::warn!("shutdown forced by a second signal");
            false
        }
    };
    // 7. The process's own tasks end; the caller drops the store and the admin port, and exits.
    what.background.cancel();
    let duration_ms = millis(begun.elapsed());
    if complete {
        tracing::info!(duration_ms, "shutdown complete");
        return Outcome::Complete;
    }
    let cut = what.server.open() + what.services.iter().map(|service| service.open()).sum::<usize>();
    tracing::warn!(duration_ms, cut, "shutdown cut connections");
    Outcome::Cut(cut)
}

/// Runs one step and logs how long it took.
async fn step<T>(name: &'static str, work: impl Future<Output = T>) -> T {
    let begun = Instant::now();
    let done = work.await;
    tracing::info!(step = name, duration_ms = millis(begun.elapsed()), "shutdown step done");
    done
}

fn millis(duration: Duration) -> u64 {
    u64::try_from(duration.as_millis()).unwrap_or(u64::MAX)
}

/// SIGTERM and SIGINT, heard from the moment that this is made.
#[derive(Debug)]
pub struct Signals {
    terminate: Signal,
    interrupt: Signal,
}

impl Signals {
    /// Takes both signals over from the system. Needs a runtime.
    pub fn listen() -> std::io::Result<Signals> {
        Ok(Signals { terminate: signal(SignalKind::terminate())?, interrupt: signal(SignalKind::interrupt())? })
    }

    /// Resolves with the next one's name.
    pub async fn next(&mut self) -> &'static str {
        tokio::select! {
            _ = self.terminate.recv() => "SIGTERM",
            _ = self.interrupt.recv() => "SIGINT",
        }
    }
}

#[cfg(test)]
mod tests;
