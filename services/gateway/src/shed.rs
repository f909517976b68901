//! Shedding: a gateway that holds far more viewers than the mean of its fleet sends some of them on, so that gateways which
//! were added get their part.
//!
//! Each gateway tells the others what it carries ([`tidings_broker::fleet`]), once a round and under a lease, and is told
//! what they carry. [`policy`] decides from that, alone: no gateway gives another one an order, and none has to be right
//! about more than itself. Viewers are told as in a drain, and come back to whatever gateway their balancer picks.
//!
//! It never closes anything else than viewers' streams (no export, no poll), and does nothing while it is in doubt. Without
//! the store it does nothing at all.

mod metrics;
mod policy;

use std::sync::Arc;
use std::time::Duration;

use tidings_broker::fleet::{Fleet, Report};
use tidings_runtime::config::GatewayConfig;
use tokio::time::{Instant, MissedTickBehavior, interval};
use tokio_util::sync::CancellationToken;

use crate::connections::Connections;
use policy::{Policy, Step};

pub(crate) use metrics::Metrics;

/// How often viewers are sent on. They are told to come back within this time, so that they come evenly.
const TICK: Duration = Duration::from_secs(1);

/// How a gateway sheds.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Settings {
    /// Viewers that are sent on in a second, at most; 0: none ever.
    pub per_second: u64,
    /// By how much of the mean a gateway may be above it, in percent.
    pub tolerance_percent: u64,
    /// How many viewers a gateway may be above the mean, whatever part of it they are.
    pub excess_min: u64,
    /// How long a gateway's word holds.
    pub lease: Duration,
    /// How often it is said; at least three times in a lease.
    pub round: Duration,
}

impl Settings {
    /// Those of a gateway.
    pub(crate) fn of(config: &GatewayConfig) -> Settings {
        Settings {
            per_second: config.shed_per_second,
            tolerance_percent: config.shed_tolerance_percent,
            excess_min: config.shed_excess_min,
            lease: config.presence_lease,
            round: config.presence_round,
        }
    }
}

/// One gateway in its fleet.
pub(crate) struct Shedder {
    store: Arc<dyn Fleet>,
    gateway: Arc<str>,
    settings: Settings,
    connections: Connections,
    metrics: Metrics,
    policy: Policy,
    since: Instant,
}

impl Shedder {
    /// The gateway of this name (drawn by each process at its start), which has these connections.
    pub(crate) fn new(
        store: Arc<dyn Fleet>,
        gateway: Arc<str>,
        settings: Settings,
        connections: Connections,
        metrics: Metrics,
    ) -> Shedder {
        let (policy, since) = (Policy::new(&settings, Arc::clone(&gateway)), Instant::now());
        Shedder { store, gateway, settings, connections, metrics, policy, since }
    }

    /// Reports and sheds until `stop`; then takes its word back. To be stopped when the gateway drains: whoever it sends
    /// away then is no measure for others.
    pub(crate) async fn run(mut self, stop: CancellationToken) {
        let mut rounds = interval(self.settings.round);
        let mut ticks = interval(TICK);
        for timer in [&mut rounds, &mut ticks] {
            timer.set_missed_tick_behavior(MissedTickBehavior::Delay);
        }
        loop {
            tokio::select! {
                // ORDER: a gateway that drains sheds nobody any more.
                biased;
                () = stop.cancelled() => break,
                _ = rounds.tick() => if stop.run_until_cancelled(self.report()).await.is_none() { break },
                _ = ticks.tick() => self.shed(),
            }
        }
        self.metrics.on_unknown();
        if let Err(error) = self.store.leave(self.gateway).await {
            tracing::debug!(%error, "what this gateway carries was not taken back");
        }
    }

    async fn report(&mut self) {
        let viewers = self.connections.viewers() as u64;
        let lease_ms = millis(self.settings.lease);
        let report = Report { gateway: Arc::clone(&self.gateway), lease_ms, viewers };
        match self.store.report(report).await {
            Ok(told) => {
                self.policy.on_told(self.now_ms(), viewers, &told);
                self.metrics.on_told(&told);
            }
            Err(error) => {
                tracing::debug!(%error, "what gateways carry is not known");
                self.policy.on_failed(self.now_ms());
                self.metrics.on_unknown();
            }
        }
    }

    fn shed(&mut self) {
        let now_ms = self.now_ms();
        let (viewers, next) = (self.connections.viewers() as u64, self.connections.next());
        match self.policy.step(now_ms, viewers, next) {
            Step::Rest => {}
            Step::Even { mean } => tracing::info!(viewers, mean, "as even as it should be: nobody is sent on any more"),
            Step::Shed { count, before, mean, begins } => {
                if begins {
                    tracing::info!(viewers, mean, "far more viewers than the mean of all gateways: some are sent on");
                }
                let told = self.connections.shed(count, before, TICK);
                self.metrics.shed.inc_by(told);
                if told < count {
                    self.policy.on_exhausted(now_ms);
                    tracing::info!(viewers, mean, "all were sent on once, and too many came back: some rest");
                }
            }
        }
    }

    fn now_ms(&self) -> u64 {
        millis(self.since.elapsed())
    }
}

fn millis(time: Duration) -> u64 {
    u64::try_from(time.as_millis()).unwrap_or(u64::MAX)
}

#[cfg(test)]
mod tests;
