//! `GET /v1/projects`: the projects that the caller may see, a page at a time, by name.

use std::sync::Arc;

use axum::extract::{RawQuery, State};
use axum::response::Response;
use serde::Serialize;
use tidings_broker::INDEX_SHARDS;
use tidings_protocol::grant::Grant;
use tidings_protocol::position::Position;
use tidings_protocol::project::Project;
use tidings_protocol::snapshot::Summary;
use tidings_runtime::http::problem::Refused;

use super::params;
use super::state::json;
use crate::openapi;
use crate::shared::Shared;

const PARAMETERS: params::Allowed = &["after", "limit"];

#[derive(Serialize)]
struct Row<'a> {
    project: &'a str,
    position: Position,
    summary: Summary,
}

#[derive(Serialize)]
struct Rows<'a> {
    projects: Vec<Row<'a>>,
    next: Option<&'a str>,
}

/// List projects
#[utoipa::path(
    get,
    path = "/v1/projects",
    tag = "gateway",
    params(
        ("after" = Option<String>, Query, description = "Only projects whose name sorts behind this one"),
        ("limit" = Option<u32>, Query, description = "Projects at most", minimum = 1, maximum = 1000),
    ),
    responses(
        (status = 200, description = "Projects by name", body = openapi::Projects),
        (status = 400, description = "A parameter is refused", body = openapi::Problem, content_type = "application/problem+json"),
        (status = 503, description = "The store is away", body = openapi::Problem, content_type = "application/problem+json"),
    )
)]
pub(crate) async fn list(State(shared): State<Arc<Shared>>, RawQuery(query): RawQuery) -> Result<Response, Refused> {
    let mut after = String::new();
    let mut limit = params::LIMIT_DEFAULT;
    for (name, value) in params::pairs(query.as_deref(), PARAMETERS)? {
        match name.as_str() {
            "limit" => limit = params::number(&name, &value, 1, params::LIMIT_MAX)?,
            _ => after = value,
        }
    }
    let grant = Grant::open(shared.viewer_id());
    params::within(page(&shared, &grant, &after, limit)).await?.map_err(|error| {
        tracing::debug!(%error, "cannot list projects");
        params::away()
    })
}

async fn page(
    shared: &Shared,
    grant: &Grant,
    after: &str,
    limit: usize,
) -> Result<Response, tidings_broker::ReadError> {
    let broker = shared.hub.broker();
    let shards = futures_util::future::try_join_all((0..INDEX_SHARDS).map(|shard| broker.projects(shard))).await?;
    let mut names: Vec<Project> =
        shards.into_iter().flatten().filter(|project| project.as_str() > after && grant.may_read(project)).collect();
    names.sort_unstable();
    let more = names.len() > limit;
    names.truncate(limit);
    let heads = broker.heads(names.clone()).await?;
    let mut projects = Vec::with_capacity(names.len());
    for (name, head) in names.iter().zip(heads) {
        let summary = shared.summaries.of(&shared.hub, name).await?;
        projects.push(Row { project: name.as_str(), position: head.last, summary });
    }
    let next = names.last().filter(|_| more).map(Project::as_str);
    Ok(json(serde_json::to_vec(&Rows { projects, next }).expect("rows have string keys only")))
}
