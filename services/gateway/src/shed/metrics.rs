//! What is counted of the fleet, and of who was sent on.

use prometheus::{IntCounter, IntGauge, Registry};
use tidings_broker::fleet::Reported;

/// Counters of shedding. Cheap to clone.
#[derive(Debug, Clone)]
pub(crate) struct Metrics {
    /// Viewers that were told to go elsewhere.
    pub shed: IntCounter,
    rounds: IntCounter,
    mean: IntGauge,
    gateways: IntGauge,
}

impl Metrics {
    /// Registers the family in `registry`.
    ///
    /// # Errors
    /// When the registry has it already.
    pub(crate) fn register(registry: &Registry) -> Result<Metrics, prometheus::Error> {
        let gauge = |name: &str, help: &str| {
            let made = IntGauge::new(name, help)?;
            registry.register(Box::new(made.clone())).map(|()| made)
        };
        let counter = |name: &str, help: &str| {
            let made = IntCounter::new(name, help)?;
            registry.register(Box::new(made.clone())).map(|()| made)
        };
        let help = "Viewers told to go elsewhere because this gateway held far more than the mean.";
        Ok(Metrics {
            shed: counter("tidings_gateway_shed_total", help)?,
            rounds: counter("tidings_gateway_fleet_rounds_total", "Times that it was told what all gateways carry.")?,
            mean: gauge("tidings_gateway_fleet_mean", "Mean of the viewers of all gateways, as last told here.")?,
            gateways: gauge("tidings_gateway_fleet_gateways", "Gateways that say what they carry, this one included.")?,
        })
    }

    /// What all carry is known.
    pub(super) fn on_told(&self, told: &Reported) {
        let number = |number: u128| i64::try_from(number).unwrap_or(i64::MAX);
        let (count, sum) = (told.gateways.len() as u128, super::policy::sum(told));
        self.rounds.inc();
        self.mean.set(number(sum.checked_div(count).unwrap_or(0)));
        self.gateways.set(number(count));
    }

    /// It is not known.
    pub(super) fn on_unknown(&self) {
        self.mean.set(0);
        self.gateways.set(0);
    }
}
