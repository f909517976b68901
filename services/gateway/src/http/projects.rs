//! `GET /v1/projects`: the projects that the caller may see, a page at a time, by name.
//!
//! What it costs the store. *Names:* nothing for a credential that names its projects one by one and no user; else one read
//! of the index's shards for all requests of two seconds. *Rights:* nothing for what the credential itself says; a user is
//! looked up, four projects at a time, in those that its token does not open, until the page is full: answers are held for
//! two seconds, each that is not counts as a request, and four such walks go on at a time in a gateway, one of each user.
//! *Heads:* one small read for each project of the page, once a second for all who list. *Summaries:* nothing for projects with viewers and for those whose checkpoint did not move; else its
//! checkpoint, sixteen at a time, every five seconds at most. An answer has at most 1,000 rows.

use std::sync::Arc;

use axum::Extension;
use axum::extract::{RawQuery, State};
use axum::response::Response;
use futures_util::{StreamExt as _, TryStreamExt as _, stream};
use serde::Serialize;
use tidings_broker::ReadError;
use tidings_protocol::codes::ErrorCode;
use tidings_protocol::grant::{Grant, Scope};
use tidings_protocol::head::Head;
use tidings_protocol::position::Position;
use tidings_protocol::project::Project;
use tidings_protocol::snapshot::Summary;
use tidings_runtime::http::problem::Refused;

use super::params;
use super::state::json;
use crate::limits::Caller;
use crate::openapi;
use crate::shared::Shared;

const PARAMETERS: &[&str] = &["after", "limit"];

/// Names whose rights one request looks up at a time.
const NAMES_AT_ONCE: usize = 256;

/// Heads that one request reads from the store at the same time.
const HEADS_AT_ONCE: usize = 32;

/// When to come back to a list that is on its way already, in seconds.
const WALK_RETRY_S: u32 = 1;

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
    Extension(caller): Extension<Caller>,
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
    params::within(page(&shared, (&grant, &caller), &after, limit)).await?
}

async fn page(shared: &Shared, who: (&Grant, &Caller), after: &str, limit: usize) -> Result<Response, Refused> {
    let (names, is_index) = candidates(shared, who.0).await.map_err(|error| away(&error))?;
    let first = names.partition_point(|project| project.as_str() <= after);
    let mut names = readable(shared, who, &names[first..], limit + 1).await?;
    let more = names.len() > limit;
    names.truncate(limit);
    let next = names.last().filter(|_| more).cloned();
    let headed = stream::iter(names).map(async |name: Project| {
        let head = shared.heads.of(shared.hub.broker(), &name).await?;
        Ok::<_, ReadError>((name, head))
    });
    let rows = headed.buffered(HEADS_AT_ONCE).map_ok(|(name, head)| row(shared, name, head, is_index));
    let rows = rows.try_buffered(SUMMARIES_AT_ONCE).try_filter_map(|row| std::future::ready(Ok(row)));
    let projects = rows.try_collect().await.map_err(|error| away(&error))?;
    let rows = Rows { projects, next: next.as_ref().map(Project::as_str) };
    Ok(json(serde_json::to_vec(&rows).expect("rows have string keys only")))
}

fn away(error: &ReadError) -> Refused {
    tracing::debug!(%error, "cannot list projects");
    params::away()
}

/// The projects that it may be about, sorted: those that the credential names, if no others can come to them; else all of
/// the index, and true.
async fn candidates(shared: &Shared, grant: &Grant) -> Result<(Arc<[Project]>, bool), ReadError> {
    let named = grant.named(Scope::Read).filter(|_| !shared.rights.authenticator().may_be_member(grant));
    match named {
        Some(mut named) => {
            named.sort_unstable();
            named.dedup();
            Ok((named.into(), false))
        }
        None => Ok((shared.names.all(shared.hub.broker()).await?, true)),
    }
}

/// The first projects by name that the caller may read, so many at most.
///
/// # Errors
/// The store is away; another list of this user is on its way.
pub(crate) async fn all_readable(
    shared: &Shared,
    who: (&Grant, &Caller),
    most: usize,
) -> Result<Vec<Project>, Refused> {
    let listing = async {
        let (names, _) = candidates(shared, who.0).await.map_err(|error| away(&error))?;
        readable(shared, who, &names, most).await
    };
    params::within(listing).await?
}

/// The first of these projects that the caller may read, so many at most.
async fn readable(
    shared: &Shared,
    (grant, caller): (&Grant, &Caller),
    names: &[Project],
    most: usize,
) -> Result<Vec<Project>, Refused> {
    let authenticator = shared.rights.authenticator();
    // The token may open all that is asked for, and then nobody is looked up.
    let looks_up = authenticator.may_be_member(grant) && !names.iter().all(|project| grant.may_read(project));
    if !looks_up {
        return Ok(names.iter().filter(|project| grant.may_read(project)).take(most).cloned().collect());
    }
    let Some(walk) = shared.names.walk(caller.id()) else {
        let refused = Refused::new(ErrorCode::RateLimited, "another list of this user is on its way");
        return Err(refused.retry_after(WALK_RETRY_S));
    };
    let _turn = walk.turn().await;
    let mut readable = Vec::new();
    for some in names.chunks(NAMES_AT_ONCE) {
        let unknown = authenticator.unknown(grant, some);
        if unknown > 0 {
            shared.limits.charge(caller, unknown).await?;
        }
        let granted = authenticator.with_memberships(grant, some).await;
        readable.extend(some.iter().filter(|project| granted.may_read(project)).cloned());
        if readable.len() >= most {
            break;
        }
    }
    readable.truncate(most);
    Ok(readable)
}

/// What the list says of a project; none: nobody `knows` it and it was never written to, or this version cannot read it,
/// which does not hide the others.
async fn row(shared: &Shared, name: Project, head: Option<Arc<Head>>, knows: bool) -> Result<Option<Row>, ReadError> {
    let Some(head) = head.filter(|head| knows || head.is_born()) else { return Ok(None) };
    let summary = shared.summaries.of(&shared.hub, &name, &head).await?;
    Ok(summary.map(|summary| Row { project: name.as_str().to_owned(), position: head.last, summary }))
}
