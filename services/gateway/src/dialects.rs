//! Dialects, as connections speak them: what is the same for all of them. What a system's messages look like is
//! `tidings_dialects`'s; which paths it has, and who may ask there, is each dialect's own module here.

mod agent_swarm;
mod agentcraft;
mod alarm;
mod asked;
mod asker;
mod bundle;
mod choice;
mod coming;
mod desk;
mod encoding;
mod keeping;
mod owed;
mod pygent;
mod served;
mod socket_io;
mod speaker;
#[cfg(test)]
mod tests;

pub(crate) use coming::{Coming, accept};
pub(crate) use desk::{Desk, Refusal};
pub(crate) use served::{Excess, Farewell, Profile, Served};

use std::sync::Arc;

use axum::Router;
use tidings_runtime::config::{DialectName, DialectsConfig};

use crate::metrics::Metrics;
use crate::shared::Shared;

/// The routes of the dialects that are served. To be made once for a process: their figures and shared frames are found
/// there.
pub(crate) fn router(config: &DialectsConfig, shared: &Arc<Shared>, metrics: &Metrics) -> Router {
    let mut router = Router::new();
    for (index, name) in (0..).zip(DialectName::ALL).filter(|(_, name)| config.serve.contains(*name)) {
        let routes = match name {
            DialectName::AgentCraft => agentcraft::router(index, config, shared, metrics),
            DialectName::AgentSwarm => Some(agent_swarm::router(index, config, shared, metrics)),
            DialectName::PyGent => pygent::router(index, config, shared, metrics),
        };
        router = router.merge(routes.unwrap_or_default());
    }
    router
}

/// Now, in milliseconds since the Unix epoch.
pub(crate) fn now_ms() -> u64 {
    let since = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH).unwrap_or_default();
    u64::try_from(since.as_millis()).unwrap_or(u64::MAX)
}
