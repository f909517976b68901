//! The REST routes: what clients fall back to, and what the admin monitor polls.

use std::sync::Arc;

use axum::extract::{Path, RawQuery, State};
use axum::middleware::{from_fn, from_fn_with_state};
use axum::response::Response;
use axum::routing::{get, post};
use axum::{Extension, Router};
use http::HeaderMap;
use tidings_dialects::agent_swarm::refusals::Refusal;
use tidings_dialects::agent_swarm::rest::{
    self, ADMIN_PREFIXES, LINES_DEFAULT, LINES_MAX, PREFIXES, PROJECTS_DEFAULT, PROJECTS_MAX,
};
use tidings_protocol::grant::{Grant, Scope};
use tidings_runtime::http::rights;

use super::answers::{self, Failure, numbers};
use super::lookup::{Found, find};
use super::{Swarm, allowance, asking, download, listing, recent};
use crate::limits::Caller;
use crate::shared::Shared;

/// Reads of the log for one poll: more, where few of its events are lines.
const READS_MAX: usize = 16;

/// Whether lists are bare arrays, as the admin monitor wants them.
#[derive(Debug, Clone, Copy)]
struct Bare(bool);

/// All routes, with whatever stands around them.
pub(super) fn router(swarm: &Arc<Swarm>) -> Router {
    let mut router = Router::new();
    for (prefixes, bare) in [(PREFIXES, Bare(false)), (ADMIN_PREFIXES, Bare(true))] {
        for prefix in prefixes {
            router = router.nest(prefix, of_prefix(swarm, bare));
        }
    }
    router.layer(from_fn(answers::in_their_words))
}

fn of_prefix(swarm: &Arc<Swarm>, bare: Bare) -> Router {
    let needs = swarm.shared.rights.needing(None).counting(swarm.shared.clone());
    Router::new()
        .route("/projects", get(projects))
        .route("/projects/{id}", get(project))
        .route("/projects/{id}/status", get(status))
        .route("/projects/{id}/agents", get(agents))
        .route("/projects/{id}/logs", get(logs))
        .route("/projects/{id}/logs/export", get(download::logs))
        .route("/projects/{id}/download", get(download::archive))
        .route("/projects/{id}/github", get(github))
        .route("/projects/{id}/stop", post(asking::stop))
        .route("/projects/{id}/restart", post(asking::restart))
        .route("/orchestrate", post(asking::orchestrate))
        .route("/metrics", get(metrics))
        .route_layer(from_fn_with_state(swarm.clone(), allowance::counted))
        .route_layer(from_fn_with_state(needs, rights::check))
        .route("/health", get(health))
        .fallback(answers::no_route)
        .method_not_allowed_fallback(answers::no_method)
        .layer(Extension(bare))
        .with_state(swarm.clone())
}

async fn projects(
    State(swarm): State<Arc<Swarm>>,
    Extension(grant): Extension<Grant>,
    Extension(caller): Extension<Caller>,
    RawQuery(query): RawQuery,
) -> Result<Response, Failure> {
    let wanted = [("limit", 1, PROJECTS_MAX, PROJECTS_DEFAULT), ("skip", 0, u32::MAX, 0)];
    let [limit, skip] = numbers(query.as_deref(), wanted)?;
    listing::page(&swarm, (&grant, &caller), limit, skip).await
}

async fn metrics(
    State(swarm): State<Arc<Swarm>>,
    Extension(grant): Extension<Grant>,
    Extension(caller): Extension<Caller>,
) -> Result<Response, Failure> {
    listing::metrics(&swarm, (&grant, &caller)).await
}

/// A project that is there, or that the client has the present answer about.
async fn looked_up(shared: &Shared, grant: &Grant, id: &str, headers: &HeaderMap) -> Result<Found, Answered> {
    let found = find(shared, grant, id, Scope::Read).await.map_err(Answered::Refused)?;
    match found.unchanged(headers) {
        Some(unchanged) => Err(Answered::Unchanged(unchanged)),
        None => found.born().map_err(Answered::Refused),
    }
}

/// A request that is answered already.
enum Answered {
    Unchanged(Response),
    Refused(Failure),
}

impl From<Failure> for Answered {
    fn from(failure: Failure) -> Answered {
        Answered::Refused(failure)
    }
}

impl From<Refusal> for Answered {
    fn from(refusal: Refusal) -> Answered {
        Answered::Refused(refusal.into())
    }
}

impl axum::response::IntoResponse for Answered {
    fn into_response(self) -> Response {
        match self {
            Answered::Unchanged(response) => response,
            Answered::Refused(failure) => failure.into_response(),
        }
    }
}

async fn project(
    State(swarm): State<Arc<Swarm>>,
    Extension(grant): Extension<Grant>,
    Path(id): Path<String>,
    headers: HeaderMap,
) -> Result<Response, Answered> {
    let seen = looked_up(&swarm.shared, &grant, &id, &headers).await?.see(&swarm.shared).await?;
    Ok(seen.basis.json(rest::project(&seen.shown())))
}

async fn status(
    State(swarm): State<Arc<Swarm>>,
    Extension(grant): Extension<Grant>,
    Path(id): Path<String>,
    headers: HeaderMap,
) -> Result<Response, Answered> {
    let found = looked_up(&swarm.shared, &grant, &id, &headers).await?;
    let seen = found.see(&swarm.shared).await?.with_refusals(&swarm.shared, &found).await?;
    Ok(seen.basis.json(rest::status(&seen.shown())))
}

async fn agents(
    State(swarm): State<Arc<Swarm>>,
    Extension(grant): Extension<Grant>,
    Extension(bare): Extension<Bare>,
    Path(id): Path<String>,
    headers: HeaderMap,
) -> Result<Response, Answered> {
    let seen = looked_up(&swarm.shared, &grant, &id, &headers).await?.see(&swarm.shared).await?;
    Ok(seen.basis.json(rest::agents(&seen.build(), bare.0)))
}

async fn logs(
    State(swarm): State<Arc<Swarm>>,
    Extension(grant): Extension<Grant>,
    Extension(bare): Extension<Bare>,
    Path(id): Path<String>,
    RawQuery(query): RawQuery,
    headers: HeaderMap,
) -> Result<Response, Answered> {
    let [limit] = numbers(query.as_deref(), [("limit", 1, LINES_MAX, LINES_DEFAULT)])?;
    let found = looked_up(&swarm.shared, &grant, &id, &headers).await?;
    let (lines, basis) = recent::lines(&swarm.shared, &found, limit as usize, READS_MAX).await?;
    Ok(basis.json(rest::logs(&lines, bare.0)))
}

/// No build is bound to a repository here.
async fn github(
    State(swarm): State<Arc<Swarm>>,
    Extension(grant): Extension<Grant>,
    Path(id): Path<String>,
) -> Failure {
    match find(&swarm.shared, &grant, &id, Scope::Read).await {
        Ok(_) => Refusal::not_found("GitHub repository").into(),
        Err(failure) => failure,
    }
}

async fn health(State(swarm): State<Arc<Swarm>>) -> Response {
    answers::json(rest::health(*swarm.shared.hub.broker().connected().borrow()))
}
