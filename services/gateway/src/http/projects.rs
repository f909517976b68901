//! `GET /v1/projects`: the projects that the caller may see, a page at a time, by name.

use std::sync::Arc;

use axum::Extension;
use axum::extract::{RawQuery, State};
use axum::response::Response;
use futures_util::{StreamExt as _, TryStreamExt as _, stream};
use serde::Serialize;
use tidings_broker::{INDEX_SHARDS, ReadError};
use tidings_protocol::grant::Grant;
use tidings_protocol::head::Head;
use tidings_protocol::position::Position;
use tidings_protocol::project::Project;
use tidings_protocol::snapshot::Summary;
use tidings_runtime::http::problem::Refused;

use super::params;
use super::state::json;
use crate::openapi;
use crate::shared::Shared;

const PARAMETERS: &[&str] = &["after", "limit"];

/// Names whose rights one request looks up at a time.
const NAMES_AT_ONCE: usize = 256;

/// Summaries that one request reads from the store at the same time.
const SUMMARIES_AT_ONCE: usize = 16;

#[derive(Serialize)]
struct Row {
    project: String,
    position: Position,
    summary: Summary,
}

#[derive(Serialize)]
struct Rows<'a> {
    projects: Vec<Row>,
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
        openapi::Refusals,
    )
)]
pub(crate) async fn list(
    State(shared): State<Arc<Shared>>,
    Extension(grant): Extension<Grant>,
    RawQuery(query): RawQuery,
) -> Result<Response, Refused> {
    let mut after = String::new();
    let mut limit = params::LIMIT_DEFAULT;
    for (name, value) in params::pairs(query.as_deref(), PARAMETERS)? {
        match name.as_str() {
            "limit" => limit = params::number(&name, &value, 1, params::LIMIT_MAX)?,
            _ => after = value,
        }
    }
    params::within(page(&shared, &grant, &after, limit)).await?.map_err(|error| {
        tracing::debug!(%error, "cannot list projects");
        params::away()
    })
}

async fn page(shared: &Shared, grant: &Grant, after: &str, limit: usize) -> Result<Response, ReadError> {
    let broker = shared.hub.broker();
    let shards = futures_util::future::try_join_all((0..INDEX_SHARDS).map(|shard| broker.projects(shard))).await?;
    let mut all: Vec<Project> = shards.into_iter().flatten().filter(|project| project.as_str() > after).collect();
    all.sort_unstable();
    let mut names = readable(shared, grant, &all, limit + 1).await;
    let more = names.len() > limit;
    names.truncate(limit);
    let heads = broker.heads(names.clone()).await;
    let next = names.last().filter(|_| more).cloned();
    let rows = stream::iter(names.into_iter().zip(heads)).map(|(name, head)| row(shared, name, head));
    let rows = rows.buffered(SUMMARIES_AT_ONCE).try_filter_map(|row| std::future::ready(Ok(row)));
    let rows = Rows { projects: rows.try_collect().await?, next: next.as_ref().map(Project::as_str) };
    Ok(json(serde_json::to_vec(&rows).expect("rows have string keys only")))
}

/// The first of these projects that the caller may read, so many at most.
async fn readable(shared: &Shared, grant: &Grant, names: &[Project], most: usize) -> Vec<Project> {
    let mut readable = Vec::new();
    for some in names.chunks(NAMES_AT_ONCE) {
        let granted = shared.rights.authenticator().with_memberships(grant, some).await;
        readable.extend(some.iter().filter(|project| granted.may_read(project)).cloned());
        if readable.len() >= most {
            break;
        }
    }
    readable.truncate(most);
    readable
}

/// What the list says of a project; none: this version cannot read it, which does not hide the others.
async fn row(shared: &Shared, name: Project, head: Result<Head, ReadError>) -> Result<Option<Row>, ReadError> {
    let read = async { Ok((head?.last, shared.summaries.of(&shared.hub, &name).await?)) };
    match read.await {
        Ok((position, summary)) => Ok(Some(Row { project: name.as_str().to_owned(), position, summary })),
        Err(error @ ReadError::Away(_)) => Err(error),
        Err(error) => {
            tracing::warn!(project = %name, %error, "a project is left out of the list");
            Ok(None)
        }
    }
}
