//! Members of a project: users, and what they may do in it.

use std::sync::Arc;

use axum::body::Body;
use axum::extract::{Path, State};
use axum::response::IntoResponse as _;
use axum::response::Response;
use http::StatusCode;
use serde::{Deserialize, Serialize};
use tidings_auth::is_user;
use tidings_broker::registry::MEMBERS_MAX;
use tidings_protocol::codes::ErrorCode;
use tidings_protocol::grant::Scopes;
use tidings_protocol::problem::FieldProblem;

use super::audit::told;
use super::{Refusals, answer, call_failed, full, invalid, ok, project_of, read_failed, shaped};
use crate::Inner;
use crate::answer::Rejected;
use crate::describe::ProblemBody;

/// What a user may do.
#[derive(Debug, Deserialize, utoipa::ToSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct MemberWish {
    /// At least one of `read`, `publish`, `work`, `command`, `approve`, `admin`.
    #[schema(value_type = Vec<String>, min_items = 1, example = json!(["read", "approve"]))]
    scopes: Scopes,
}

/// A member.
#[derive(Debug, Serialize, utoipa::ToSchema)]
pub(crate) struct Member {
    /// The user, as tokens name it.
    user: String,
    /// What it may do in this project, beside what its token says.
    scopes: Vec<&'static str>,
}

/// The members of a project.
#[derive(Debug, Serialize, utoipa::ToSchema)]
pub(crate) struct MemberList {
    /// By name.
    members: Vec<Member>,
}

/// List the members of a project.
///
/// Those that are kept with it; what tokens, declared files and authorizers say is not known here.
#[utoipa::path(
    get,
    path = "/v1/projects/{project}/members",
    operation_id = "listMembers",
    tag = "admin",
    params(("project" = String, Path, description = "The project's name.", min_length = 1, max_length = 128,
        pattern = "^[A-Za-z0-9][A-Za-z0-9._-]{0,127}$", example = "demo")),
    responses(
        (status = 200, description = "The members.", body = MemberList),
        Refusals,
    ),
)]
pub(crate) async fn list(State(inner): State<Arc<Inner>>, Path(project): Path<String>) -> Response {
    let answered = async {
        let kept = inner.registry.members(project_of(&project)?).await.map_err(|error| read_failed(&error))?;
        let members = kept.into_iter().map(|(user, scopes)| Member { user, scopes: scopes.into() }).collect();
        Ok(ok(StatusCode::OK, &MemberList { members }))
    };
    answer(&inner, answered.await)
}

/// Add a member, or change what it may do.
#[utoipa::path(
    put,
    path = "/v1/projects/{project}/members/{user}",
    operation_id = "putMember",
    tag = "admin",
    params(("project" = String, Path, description = "The project's name.", min_length = 1, max_length = 128,
        pattern = "^[A-Za-z0-9][A-Za-z0-9._-]{0,127}$", example = "demo"),
        ("user" = String, Path, description = "The user, as tokens name it.", min_length = 1, max_length = 256)),
    request_body = MemberWish,
    responses(
        (status = 200, description = "It is a member.", body = Member),
        Refusals,
        (status = 409, description = "The project has as many members as it may.", body = ProblemBody,
            content_type = "application/problem+json"),
        (status = 413, description = "Too large.", body = ProblemBody, content_type = "application/problem+json"),
        (status = 422, description = "Something is not valid: nothing was changed.", body = ProblemBody,
            content_type = "application/problem+json"),
        (status = 504, description = "It may have been changed.", body = ProblemBody,
            content_type = "application/problem+json"),
    ),
)]
pub(crate) async fn put(
    State(inner): State<Arc<Inner>>,
    Path((project, user)): Path<(String, String)>,
    body: Body,
) -> Response {
    let answered = async {
        let (project, user) = (project_of(&project)?, user_of(user)?);
        let MemberWish { scopes } = shaped(body).await?;
        if scopes == Scopes::NONE {
            let fault = FieldProblem::new(ErrorCode::InvalidField).field("scopes");
            return Err(invalid(fault, "`scopes`: expected at least one; remove the member instead"));
        }
        let set = inner.registry.set_member(project.clone(), user.clone(), scopes).await;
        if !set.map_err(|error| call_failed(&error))? {
            return Err(full("members", MEMBERS_MAX));
        }
        Ok(told(ok(StatusCode::OK, &Member { user, scopes: scopes.into() }), format!("scopes {scopes}")))
    };
    answer(&inner, answered.await)
}

/// Remove a member.
///
/// Takes effect within two seconds. Rights that the user's token has by itself stay.
#[utoipa::path(
    delete,
    path = "/v1/projects/{project}/members/{user}",
    operation_id = "removeMember",
    tag = "admin",
    params(("project" = String, Path, description = "The project's name.", min_length = 1, max_length = 128,
        pattern = "^[A-Za-z0-9][A-Za-z0-9._-]{0,127}$", example = "demo"),
        ("user" = String, Path, description = "The user, as tokens name it.", min_length = 1, max_length = 256)),
    responses(
        (status = 204, description = "It is no member any more."),
        Refusals,
        (status = 404, description = "The project has no such member.", body = ProblemBody,
            content_type = "application/problem+json"),
        (status = 504, description = "It may have been changed.", body = ProblemBody,
            content_type = "application/problem+json"),
    ),
)]
pub(crate) async fn remove(State(inner): State<Arc<Inner>>, Path((project, user)): Path<(String, String)>) -> Response {
    let answered = async {
        let (project, user) = (project_of(&project)?, user_of(user)?);
        let removed = inner.registry.remove_member(project.clone(), user).await;
        if !removed.map_err(|error| call_failed(&error))? {
            return Err(Rejected::new(ErrorCode::NotFound, "the project has no such member"));
        }
        Ok(StatusCode::NO_CONTENT.into_response())
    };
    answer(&inner, answered.await)
}

fn user_of(user: String) -> Result<String, Rejected> {
    if is_user(&user) {
        return Ok(user);
    }
    let fault = FieldProblem::new(ErrorCode::InvalidParameter).field("user");
    let detail = "no user may be called so: empty, too long, with control characters, or reserved";
    Err(tidings_protocol::problem::Problem::new(ErrorCode::InvalidParameter, detail).with(fault).into())
}
