//! Who is there, as viewers are told: the list over HTTP, frames on a WebSocket.
//!
//! Presence is no part of the log: what is told of it has no position, and moves no cursor.

use std::sync::Arc;

use axum::extract::{Path, RawQuery, State};
use axum::response::Response;
use bytes::Bytes;
use serde_json::Value;
use std::collections::BTreeMap;
use tidings_presence::{Present, Said, Topic, Transport, Watching, Who};
use tidings_protocol::grant::{Grant, Holder};
use tidings_protocol::project::Project;
use tidings_runtime::http::problem::Refused;
use tokio::time::Instant;
use utoipa::ToSchema;

use crate::encodings::WebSocket;
use crate::http::params;
use crate::http::state::json;
use crate::openapi;
use crate::shared::Shared;

/// Who watches a project, and which runners are there.
#[derive(ToSchema)]
#[schema(as = Presence)]
#[allow(dead_code, reason = "describes bytes that are written elsewhere")]
pub(crate) struct List {
    /// The project.
    project: String,
    /// Those that are there for the longest, at most 200.
    viewers: Vec<Viewer>,
    /// How many more viewers there are.
    others: u64,
    /// By name, at most 200.
    runners: Vec<Runner>,
    /// How many more runners there are.
    runners_others: u64,
    /// Gateways that have viewers of the project.
    gateways: Vec<String>,
    /// The store is away, or was until a moment ago: the list may be old.
    stale: bool,
}

/// A viewer that is there.
#[derive(ToSchema)]
#[schema(as = PresentViewer)]
#[allow(dead_code, reason = "describes bytes that are written elsewhere")]
pub(crate) struct Viewer {
    /// Its id: the one that `hello` told it.
    viewer: String,
    /// The user, if that is one.
    user: Option<String>,
    /// Since when, RFC 3339.
    #[schema(format = DateTime)]
    since: String,
    /// How many it has in this project.
    connections: u32,
    /// By which it is connected: `websocket`, `sse`.
    transports: Vec<String>,
    /// Where.
    gateways: Vec<String>,
}

/// A runner that is there.
#[derive(ToSchema)]
#[schema(as = PresentRunner)]
#[allow(dead_code, reason = "describes bytes that are written elsewhere")]
pub(crate) struct Runner {
    /// Its name.
    runner: String,
    /// Since when, RFC 3339.
    #[schema(format = DateTime)]
    since: String,
    /// What it said of itself: `name`, `capabilities`, `labels`.
    #[schema(additional_properties)]
    #[serde(flatten)]
    rest: BTreeMap<String, Value>,
}

/// Who is there
///
/// Viewers with a WebSocket or a stream of server-sent events over all gateways, and runners that say that they are there.
/// A WebSocket that subscribes with `presence` is told the same, and who comes and goes.
#[utoipa::path(
    get,
    path = "/v1/projects/{project}/presence",
    tag = "gateway",
    params(("project" = String, Path, description = "The project's name")),
    responses((status = 200, description = "Who is there", body = List), openapi::Refusals)
)]
pub(crate) async fn list(
    State(shared): State<Arc<Shared>>,
    Path(project): Path<String>,
    RawQuery(query): RawQuery,
) -> Result<Response, Refused> {
    let project = params::project(&project)?;
    params::pairs(query.as_deref(), &[])?;
    let list = params::within(shared.presence.list(&project)).await?;
    list.map(json).map_err(|error| {
        tracing::debug!(%error, %project, "cannot tell who is there");
        params::away()
    })
}

impl Shared {
    /// Whoever has this grant reads this project from now on.
    pub(crate) fn enter(&self, project: &Project, grant: &Grant, transport: Transport) -> Present {
        enter(&self.presence, project, grant, transport)
    }
}

/// Whoever has this grant reads this project from now on.
pub(crate) fn enter(hall: &tidings_presence::Hall, project: &Project, grant: &Grant, transport: Transport) -> Present {
    let who = Who { viewer: grant.viewer().into(), is_user: *grant.holder() == Holder::User };
    hall.enter(project, &who, transport)
}

/// Adds the frames of what there is to say.
pub(crate) fn tell(watching: &mut Watching, encoding: WebSocket, out: &mut Vec<Bytes>) {
    let said = watching.take(Instant::now());
    // Each way of saying it is encoded once, for all.
    out.extend(said.iter().map(|said| said.encoded(usize::from(encoding.deflate), |said| frames(said, encoding))));
}

fn frames(said: &Said, encoding: WebSocket) -> Bytes {
    let mut out = Vec::new();
    for text in said.texts() {
        encoding.frame(&mut out, |payload| match said.topic() {
            Topic::Full => {
                payload.extend_from_slice(b"{\"op\":\"presence\",");
                payload.extend_from_slice(text.strip_prefix(b"{").unwrap_or(text));
            }
            Topic::Changes => {
                payload.extend_from_slice(b"{\"op\":\"event\",\"event\":");
                payload.extend_from_slice(text);
                payload.push(b'}');
            }
        });
    }
    out.into()
}
