//! Agent Swarm at this gateway: its paths, who may ask there, and its ways of refusing. What its messages and bodies look
//! like is `tidings_dialects::agent_swarm`'s.

mod allowance;
mod answers;
mod asking;
mod download;
mod listing;
mod lookup;
mod recent;
mod rest;
mod socket;
mod zip;

use std::sync::Arc;

use axum::Router;
use tidings_dialects::Dialect;
use tidings_dialects::agent_swarm::AgentSwarm;
use tidings_protocol::project::Project;
use tidings_runtime::config::DialectsConfig;
use tokio::sync::Semaphore;

use super::Served;
use crate::metrics::Metrics;
use crate::shared::Shared;

/// What all of its routes share.
struct Swarm {
    shared: Arc<Shared>,
    served: Arc<Served>,
    /// The project that new builds belong to; none: the one that the credential is for.
    home: Option<Project>,
    /// Requests of a user in an hour, over all gateways.
    requests_per_hour: u64,
    /// WebSockets of a user, over all gateways.
    connections_max: u32,
    /// Downloads that may be on their way.
    downloads: Arc<Semaphore>,
}

/// The routes of Agent Swarm, as the `index`th dialect of the process.
pub(super) fn router(index: u16, config: &DialectsConfig, shared: &Arc<Shared>, metrics: &Metrics) -> Router {
    // Ids of projects, and of sessions of them. Connections of the latter have an instance of their own, of that variant.
    let variants = [None, Some(String::new())].map(|session| AgentSwarm { session, ..AgentSwarm::default() });
    let variants = variants.map(|variant| Arc::new(variant) as Arc<dyn Dialect>).into();
    let swarm = Arc::new(Swarm {
        shared: shared.clone(),
        served: Arc::new(Served::new(index, variants, socket::profile(), metrics)),
        home: config.agent_swarm_project.clone(),
        requests_per_hour: config.agent_swarm_requests_per_hour,
        connections_max: u32::try_from(config.agent_swarm_connections_max).unwrap_or(u32::MAX),
        downloads: Arc::new(Semaphore::new(download::DOWNLOADS_MAX)),
    });
    rest::router(&swarm).merge(socket::router(&swarm))
}
