//! AgentCraft's connections over all gateways, as its statistics show them.

use serde_json::Value;
use tidings_dialects::agentcraft::rest::{Connection, Stats, seconds};
use tidings_protocol::project::Project;
use tidings_protocol::timestamp::parse_rfc3339;
use tidings_runtime::http::problem::Refused;

use super::VIEWER;
use crate::http::params;
use crate::shared::Shared;

/// Who is connected.
///
/// # Errors
/// The store is away, and nothing is known here.
pub(super) async fn figures(shared: &Shared, project: &Project) -> Result<Stats, Refused> {
    let list = params::within(shared.presence.list(project)).await?.map_err(|_| params::away())?;
    let list: Value = serde_json::from_slice(&list).unwrap_or_default();
    let connections: Vec<Connection> =
        list["viewers"].as_array().into_iter().flatten().filter_map(connection).collect();
    let active_connections = connections.len() as u64 + list["others"].as_u64().unwrap_or_default();
    let total_messages_sent = connections.iter().map(|connection| connection.message_count).sum();
    Ok(Stats { active_connections, total_messages_sent, connections })
}

fn connection(viewer: &Value) -> Option<Connection> {
    let client_id = viewer["viewer"].as_str()?.strip_prefix(VIEWER)?.to_owned();
    let since = viewer["since"].as_str().and_then(parse_rfc3339).and_then(|ms| u64::try_from(ms).ok());
    Some(Connection { client_id, connected_at: seconds(since.unwrap_or_default()), message_count: 0 })
}
