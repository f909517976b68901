//! The state of a project, of its sessions, and of one: folds of the log, exact at the position that they name.

use std::sync::Arc;

use axum::extract::{Path, RawQuery, State};
use axum::response::{IntoResponse, Response};
use http::header::{CACHE_CONTROL, CONTENT_TYPE};
use tidings_protocol::codes::ErrorCode;
use tidings_protocol::position::Position;
use tidings_protocol::project::Project;
use tidings_runtime::http::problem::Refused;

use super::params;
use crate::encodings::write_snapshot_members;
use crate::openapi;
use crate::shared::Shared;

/// A JSON answer that no cache may keep.
pub(super) fn json(body: Vec<u8>) -> Response {
    ([(CONTENT_TYPE, "application/json"), (CACHE_CONTROL, "no-store")], body).into_response()
}

/// `{"project":..,"position":..,NAME:VALUE}`.
fn at(project: &Project, position: Position, name: &str, value: &[u8]) -> Response {
    let mut body = format!("{{\"project\":\"{project}\",\"position\":\"{position}\",\"{name}\":").into_bytes();
    body.extend_from_slice(value);
    body.push(b'}');
    json(body)
}

/// The state of a project
///
/// Exact at `position`: a stream with `after` that position goes on without a missing or doubled event.
#[utoipa::path(
    get,
    path = "/v1/projects/{project}/snapshot",
    tag = "gateway",
    params(("project" = String, Path, description = "The project's name")),
    responses(
        (status = 200, description = "The state", body = openapi::Snapshot),
        (status = 400, description = "Refused", body = openapi::Problem, content_type = "application/problem+json"),
        (status = 503, description = "The store is away", body = openapi::Problem, content_type = "application/problem+json"),
    )
)]
pub(crate) async fn snapshot(
    State(shared): State<Arc<Shared>>,
    Path(project): Path<String>,
    RawQuery(query): RawQuery,
) -> Result<Response, Refused> {
    let project = params::project(&project)?;
    params::pairs(query.as_deref(), &[])?;
    let topic = shared.hub.topic(&project);
    let snapshot = params::within(topic.snapshot_at_head()).await?;
    let mut body = Vec::with_capacity(snapshot.state.len() + 256);
    body.push(b'{');
    write_snapshot_members(&project, &snapshot, &mut body);
    body.push(b'}');
    Ok(json(body))
}

/// The sessions of a project
///
/// Live ones first, then summaries of those that are gone.
#[utoipa::path(
    get,
    path = "/v1/projects/{project}/sessions",
    tag = "gateway",
    params(("project" = String, Path, description = "The project's name")),
    responses(
        (status = 200, description = "The sessions", body = openapi::Sessions),
        (status = 400, description = "Refused", body = openapi::Problem, content_type = "application/problem+json"),
        (status = 503, description = "The store is away", body = openapi::Problem, content_type = "application/problem+json"),
    )
)]
pub(crate) async fn sessions(
    State(shared): State<Arc<Shared>>,
    Path(project): Path<String>,
    RawQuery(query): RawQuery,
) -> Result<Response, Refused> {
    let project = params::project(&project)?;
    params::pairs(query.as_deref(), &[])?;
    let topic = shared.hub.topic(&project);
    let state = params::within(topic.state_at_head()).await?;
    Ok(at(&project, state.position(), "sessions", &state.sessions_json()))
}

/// One session
#[utoipa::path(
    get,
    path = "/v1/projects/{project}/sessions/{session}",
    tag = "gateway",
    params(
        ("project" = String, Path, description = "The project's name"),
        ("session" = String, Path, description = "The session's id"),
    ),
    responses(
        (status = 200, description = "The session", body = openapi::Session),
        (status = 400, description = "Refused", body = openapi::Problem, content_type = "application/problem+json"),
        (status = 404, description = "Not known (any more)", body = openapi::Problem, content_type = "application/problem+json"),
        (status = 503, description = "The store is away", body = openapi::Problem, content_type = "application/problem+json"),
    )
)]
pub(crate) async fn session(
    State(shared): State<Arc<Shared>>,
    Path((project, session)): Path<(String, String)>,
    RawQuery(query): RawQuery,
) -> Result<Response, Refused> {
    let project = params::project(&project)?;
    params::pairs(query.as_deref(), &[])?;
    let topic = shared.hub.topic(&project);
    let state = params::within(topic.state_at_head()).await?;
    let found = state.session_json(&session).ok_or_else(unknown_session)?;
    Ok(at(&project, state.position(), "session", &found))
}

/// The newest log lines of a session
#[utoipa::path(
    get,
    path = "/v1/projects/{project}/sessions/{session}/logs",
    tag = "gateway",
    params(
        ("project" = String, Path, description = "The project's name"),
        ("session" = String, Path, description = "The session's id"),
    ),
    responses(
        (status = 200, description = "The lines, oldest first", body = openapi::Logs),
        (status = 400, description = "Refused", body = openapi::Problem, content_type = "application/problem+json"),
        (status = 404, description = "Not known (any more)", body = openapi::Problem, content_type = "application/problem+json"),
        (status = 503, description = "The store is away", body = openapi::Problem, content_type = "application/problem+json"),
    )
)]
pub(crate) async fn logs(
    State(shared): State<Arc<Shared>>,
    Path((project, session)): Path<(String, String)>,
    RawQuery(query): RawQuery,
) -> Result<Response, Refused> {
    let project = params::project(&project)?;
    params::pairs(query.as_deref(), &[])?;
    let topic = shared.hub.topic(&project);
    let state = params::within(topic.state_at_head()).await?;
    let found = state.logs(&session).ok_or_else(unknown_session)?;
    Ok(at(&project, state.position(), "logs", &found))
}

fn unknown_session() -> Refused {
    Refused::new(ErrorCode::NotFound, "the session is not known, or gone")
}
