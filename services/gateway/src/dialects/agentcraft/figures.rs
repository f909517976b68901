//! AgentCraft's connections over all gateways, as its statistics show them: the viewers of its project that have come under
//! a client id.

use std::sync::Arc;
use std::time::Duration;

use tidings_auth::limits::STORE_TIMEOUT;
use tidings_auth::{Cache, Terms};
use tidings_dialects::agentcraft::rest::{Connection, Stats, seconds};
use tidings_presence::Figure;
use tidings_protocol::project::Project;
use tidings_runtime::http::problem::Refused;

use super::VIEWER;
use crate::http::params;
use crate::shared::Shared;

/// How old figures may be.
const FRESH: Duration = Duration::from_secs(1);

/// Projects of which figures are held.
const PROJECTS_MAX: usize = 64;

/// The figures of projects, each held for a moment: however many ask, the store is asked once in that time.
pub(super) struct Figures(Cache<Arc<Stats>>);

impl Default for Figures {
    fn default() -> Figures {
        let terms = Terms { fresh: FRESH, stale: Duration::ZERO, timeout: STORE_TIMEOUT, entries_max: PROJECTS_MAX };
        Figures(Cache::new(terms))
    }
}

impl Figures {
    /// Who is connected, and how much it was told, as it was within the last second.
    ///
    /// # Errors
    /// The store is away.
    pub(super) async fn of(&self, shared: &Shared, project: &Project) -> Result<Arc<Stats>, Refused> {
        let asked = self.0.get(project.as_str(), async || figures(shared, project).await.map(Arc::new)).await;
        asked.map_err(|_| params::away())
    }
}

/// Who is connected, and how much it was told: here exactly, on other gateways some seconds ago. Beyond those that presence
/// lists, all viewers count.
///
/// # Errors
/// The store is away.
async fn figures(shared: &Shared, project: &Project) -> Result<Stats, Refused> {
    let figures = params::within(shared.presence.figures(project)).await?.map_err(|_| params::away())?;
    let connections: Vec<Connection> = figures.viewers.iter().filter_map(connection).collect();
    let active_connections = connections.len() as u64 + figures.others;
    let total_messages_sent = connections.iter().map(|connection| connection.message_count).sum();
    Ok(Stats { active_connections, total_messages_sent, connections })
}

fn connection(figure: &Figure) -> Option<Connection> {
    let client_id = figure.viewer.strip_prefix(VIEWER)?.to_owned();
    Some(Connection { client_id, connected_at: seconds(figure.since_ms), message_count: figure.told })
}
