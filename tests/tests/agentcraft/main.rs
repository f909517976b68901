//! AgentCraft's clients against real gateways: a front end in a browser that meets every message and loses its gateway; wrong
//! ids, projects and messages; the steps of docs/migrate/agentcraft.md.

mod client;
mod edges;
mod front_end;
mod migrate;
mod refusals;
mod rights;
mod statistics;
mod streaming;

use std::net::SocketAddr;

use serde_json::{Value, json};
use tidings_tests::cluster::{Cluster, Plan};
use tidings_tests::http;

/// The dialect's project.
const PROJECT: &str = "craft";

/// Services that serve the dialect for everybody.
fn open() -> Plan {
    let plan = Cluster::on_redis().set("TIDINGS_DIALECTS__SERVE", "agentcraft");
    let plan = plan.set("TIDINGS_DIALECTS__AGENTCRAFT_PROJECT", PROJECT);
    plan.set("TIDINGS_DIALECTS__AGENTCRAFT_SCOPES", "read,admin")
}

/// Publishes events.
async fn post(ingest: SocketAddr, project: &str, events: &Value) {
    let answer = http::post_json(ingest, &format!("/v1/projects/{project}/events"), events).await.expect("an answer");
    assert_eq!(answer.status, 200, "{}", answer.text());
}

/// A session that begins.
fn begins(session: &str) -> Value {
    json!([{ "type": "session.started", "session": session, "data": { "title": "How do I fix webhook errors?" } }])
}
