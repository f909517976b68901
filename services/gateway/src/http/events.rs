//! `GET /v1/projects/{project}/events`: server-sent events, (long-)poll, or history, by the `Accept` header and parameters.

use std::sync::Arc;

use axum::Extension;
use axum::extract::{Path, RawQuery, State};
use axum::response::{IntoResponse, Response};
use http::{HeaderMap, HeaderName};
use tidings_protocol::codes::ErrorCode;
use tidings_protocol::frames::After;
use tidings_protocol::grant::Grant;
use tidings_runtime::http::problem::Refused;

use super::accept::Representation;
use super::{history, params, poll, sse};
use crate::limits::Caller;
use crate::openapi;
use crate::shared::Shared;

const LAST_EVENT_ID: HeaderName = HeaderName::from_static("last-event-id");

/// Read events
///
/// With `Accept: text/event-stream` a stream of server-sent events that resumes by `Last-Event-ID`; else the events behind
/// `after` (or before `before`) as one JSON answer, after a `wait` for the first one if there is none yet. A parameter that
/// belongs to another of these three is refused.
#[utoipa::path(
    get,
    path = "/v1/projects/{project}/events",
    tag = "gateway",
    params(
        ("project" = String, Path, description = "The project's name"),
        ("after" = Option<String>, Query, description = "A position, `start`, `now` (default), or a time back like `-10m`"),
        ("before" = Option<String>, Query, description = "JSON, not with `after`: history backwards from a position or `now`"),
        ("limit" = Option<u32>, Query, description = "JSON: events at most", minimum = 1, maximum = 1000),
        ("wait" = Option<u32>, Query, description = "JSON, not with `before`: seconds to wait for an event", minimum = 0, maximum = 25),
        ("types" = Option<String>, Query, description = "Only these types, by whole segments, with commas between"),
        ("sessions" = Option<String>, Query, description = "Only these sessions"),
        ("agents" = Option<String>, Query, description = "Only these agents"),
        ("lanes" = Option<String>, Query, description = "Only these lanes: control, delta, latest"),
        ("lag" = Option<String>, Query, description = "Streams: `full` (default) or `compact`"),
        ("snapshot" = Option<String>, Query, description = "Streams: `true`, `false` (default) or `after_gap`"),
        ("last-event-id" = Option<String>, Header, description = "Streams: go on behind this position"),
    ),
    responses(
        (status = 200, description = "Events", content(
            (openapi::Events = "application/json"),
            (String = "text/event-stream"),
        )),
        openapi::Refusals,
        (status = 406, description = "No such representation", body = openapi::Problem, content_type = "application/problem+json"),
    )
)]
pub(crate) async fn read(
    State(shared): State<Arc<Shared>>,
    Extension(grant): Extension<Grant>,
    Extension(caller): Extension<Caller>,
    Path(project): Path<String>,
    RawQuery(query): RawQuery,
    socket: sse::Socket,
    headers: HeaderMap,
) -> Result<Response, Refused> {
    let project = params::project(&project)?;
    let representation = Representation::negotiate(&headers)?;
    let mut read = params::read(query.as_deref(), representation)?;
    match representation {
        Representation::Stream => {
            if let Some(id) = headers.get(LAST_EVENT_ID).filter(|id| !id.is_empty()) {
                // A reconnect of the same stream: what the header says is newer than the address.
                let id = id.to_str().map_err(|_| Refused::new(ErrorCode::InvalidHeader, "last-event-id"))?;
                read.after = Some(params::place("last-event-id", id)?);
            }
            let place = shared.limits.open(&caller).await?;
            sse::stream(shared, project, read, grant, (place, socket)).await.map(IntoResponse::into_response)
        }
        Representation::Json => match read.before {
            Some(before) => history::before(&shared, &project, before, &read, &grant).await,
            // What waits stays open like a stream.
            None if !read.wait.is_zero() => {
                let _place = shared.limits.open(&caller).await?;
                poll::poll(&shared, &project, read.after.unwrap_or(After::Now), read, grant).await
            }
            None => poll::poll(&shared, &project, read.after.unwrap_or(After::Now), read, grant).await,
        },
    }
}
