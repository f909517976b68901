//! Whether traffic should come here: a set of named conditions that must all hold, and the task that keeps the one that
//! matters most, that the store delivers.
//!
//! Readiness closes nothing by itself. It is what load balancers ask; connections stay open while it is off.

use std::borrow::Cow;
use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use parking_lot::Mutex;
use serde::Serialize;
use tidings_broker::Broker;
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;

/// How often the store is probed.
const PROBE_EVERY: Duration = Duration::from_secs(1);

/// How long one probe may take.
const PROBE_TIMEOUT: Duration = Duration::from_secs(2);

/// How long the last success counts.
const PROBE_GRACE: Duration = Duration::from_secs(10);

/// The conditions of one process. Cheap to clone; all clones are one.
#[derive(Debug, Clone, Default)]
pub struct Readiness(Arc<Mutex<BTreeMap<&'static str, State>>>);

/// One condition.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
struct State {
    ready: bool,
    /// Why not, or a word on why.
    #[serde(skip_serializing_if = "str::is_empty")]
    detail: Cow<'static, str>,
}

/// The answer of `/readyz`: `{"ready": bool, "conditions": {name: {"ready": bool, "detail": text}}}`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Report {
    /// Whether every condition holds.
    pub ready: bool,
    conditions: BTreeMap<&'static str, State>,
}

impl Readiness {
    /// Sets a condition, adding it when it is new.
    pub fn set(&self, name: &'static str, ready: bool, detail: impl Into<Cow<'static, str>>) {
        let state = State { ready, detail: detail.into() };
        let before = self.0.lock().insert(name, state.clone());
        if before.as_ref().is_none_or(|before| before.ready != ready) {
            tracing::info!(condition = name, ready, detail = %state.detail, "readiness changed");
        }
    }

    /// All conditions now. Without any, nothing is known to be ready.
    pub fn report(&self) -> Report {
        let conditions = self.0.lock().clone();
        Report { ready: !conditions.is_empty() && conditions.values().all(|state| state.ready), conditions }
    }

    /// The name of each condition, and whether it holds now.
    pub fn conditions(&self) -> Vec<(&'static str, bool)> {
        self.0.lock().iter().map(|(name, state)| (*name, state.ready)).collect()
    }
}

/// The condition that holds from the first accept until the shutdown begins.
pub const SERVING: &str = "serving";

/// The condition that follows the store.
const BROKER: &str = "broker";

/// Probes the store until `stop`: ready with the first success, off when none came for ten seconds. The condition is there,
/// and off, when this returns; the future does the probing. `stop` also ends a probe that is on its way.
pub fn follow(
    broker: Arc<dyn Broker>,
    readiness: Readiness,
    stop: CancellationToken,
) -> impl Future<Output = ()> + Send + 'static {
    readiness.set(BROKER, false, "not reached yet");
    async move {
        stop.run_until_cancelled(probe_always(broker, readiness)).await;
    }
}

async fn probe_always(broker: Arc<dyn Broker>, readiness: Readiness) {
    let mut connected = broker.connected();
    let mut last_success = None;
    let mut ticks = tokio::time::interval(PROBE_EVERY);
    ticks.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
    loop {
        tokio::select! {
            _ = ticks.tick() => {}
            // Found again, or lost: the answer should not be a second old.
            Ok(()) = connected.changed() => {}
        }
        match tokio::time::timeout(PROBE_TIMEOUT, broker.probe()).await {
            Ok(Ok(())) => {
                last_success = Some(Instant::now());
                readiness.set(BROKER, true, "");
            }
            failure => {
                let detail = match failure {
                    Ok(Err(error)) => Cow::Owned(error.to_string()),
                    _ => Cow::Borrowed("a probe did not come back in time"),
                };
                tracing::debug!(%detail, "the store does not deliver");
                if last_success.is_none_or(|at: Instant| at.elapsed() >= PROBE_GRACE) {
                    readiness.set(BROKER, false, detail);
                }
            }
        }
    }
}

#[cfg(test)]
mod tests;
