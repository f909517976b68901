//! The state of a project, of its sessions, and of one: folds of the log, exact at the position that they name.

use axum::extract::{Path, RawQuery, State};
use axum::response::{IntoResponse, Response};
use http::header::{CACHE_CONTROL, CONTENT_TYPE};
use std::sync::Arc;
use tidings_log::hub::TopicHandle;
use tidings_protocol::codes::ErrorCode;
use tidings_protocol::fold;
use tidings_protocol::project::Project;
use tidings_runtime::http::problem::Refused;

use super::params;
use crate::encodings::write_snapshot_members;
use crate::openapi;
use crate::shared::Shared;

/// A JSON answer that no cache may keep.
pub(crate) fn json(body: impl Into<axum::body::Body>) -> Response {
    let body = body.into();
    ([(CONTENT_TYPE, "application/json"), (CACHE_CONTROL, "no-store")], body).into_response()
}

/// The topic of a project whose state is asked for. None of these routes has parameters.
fn topic(shared: &Shared, project: &str, query: Option<&str>) -> Result<(Project, TopicHandle), Refused> {
    let project = params::project(project)?;
    params::pairs(query, &[])?;
    let topic = shared.topic(&project)?;
    Ok((project, topic))
}

/// The answer to a question about a project's fold at its head: `{"project":..,"position":..,NAME:VALUE}`, where `find`
/// finds the value. None: there is no such session.
async fn answer(
    shared: &Shared,
    project: &str,
    query: Option<&str>,
    name: &str,
    find: impl FnOnce(&fold::State) -> Option<Vec<u8>>,
) -> Result<Response, Refused> {
    let (project, topic) = topic(shared, project, query)?;
    let state = params::within(topic.state_at_head()).await?;
    let unknown = || Refused::new(ErrorCode::NotFound, "the session is not known, or gone");
    let value = find(&state).ok_or_else(unknown)?;
    let position = state.position();
    let mut body = format!("{{\"project\":\"{project}\",\"position\":\"{position}\",\"{name}\":").into_bytes();
    body.extend_from_slice(&value);
    body.push(b'}');
    Ok(json(body))
}

/// The state of a project
///
/// Exact at `position`: a stream with `after` that position goes on without a missing or doubled event.
#[utoipa::path(
    get,
    path = "/v1/projects/{project}/snapshot",
    tag = "gateway",
    params(("project" = String, Path, description = "The project's name")),
    responses((status = 200, description = "The state", body = openapi::Snapshot), openapi::Refusals)
)]
pub(crate) async fn snapshot(
    State(shared): State<Arc<Shared>>,
    Path(project): Path<String>,
    RawQuery(query): RawQuery,
) -> Result<Response, Refused> {
    let (project, topic) = topic(&shared, &project, query.as_deref())?;
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
    responses((status = 200, description = "The sessions", body = openapi::Sessions), openapi::Refusals)
)]
pub(crate) async fn sessions(
    State(shared): State<Arc<Shared>>,
    Path(project): Path<String>,
    RawQuery(query): RawQuery,
) -> Result<Response, Refused> {
    answer(&shared, &project, query.as_deref(), "sessions", |state| Some(state.sessions_json())).await
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
        openapi::Refusals,
        openapi::NoSession,
    )
)]
pub(crate) async fn session(
    State(shared): State<Arc<Shared>>,
    Path((project, session)): Path<(String, String)>,
    RawQuery(query): RawQuery,
) -> Result<Response, Refused> {
    answer(&shared, &project, query.as_deref(), "session", |state| state.session_json(&session)).await
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
        openapi::Refusals,
        openapi::NoSession,
    )
)]
pub(crate) async fn logs(
    State(shared): State<Arc<Shared>>,
    Path((project, session)): Path<(String, String)>,
    RawQuery(query): RawQuery,
) -> Result<Response, Refused> {
    answer(&shared, &project, query.as_deref(), "logs", |state| state.logs(&session)).await
}
