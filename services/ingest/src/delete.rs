//! `DELETE /v1/projects/{project}` and `.../sessions/{session}`: deletion (docs/log.md L19).

mod belongings;

use std::sync::Arc;

use axum::extract::{Path, State};
use axum::response::{IntoResponse, Response};
use axum::{Extension, Json};
use serde::Serialize;
use tidings_log::writer::{Failure, Jumps, Options};
use tidings_protocol::codes::ErrorCode;
use tidings_protocol::grant::Grant;
use tidings_protocol::limits::NAME_BYTES_MAX;
use tidings_protocol::position::Position;
use tidings_protocol::problem::{FieldProblem, Problem};
use tidings_protocol::project::{Project, ProjectError};

use crate::Inner;
use crate::answer::{self, Rejected};
use crate::describe::ProblemBody;
use crate::metrics::Protocol;
use belongings::{Belongings, Gone};

/// A project is deleted.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, utoipa::ToSchema)]
pub(crate) struct ProjectDeleted {
    /// Where the deletion stands in the project's log; `0-0`: there was nothing to delete.
    #[schema(value_type = String, example = "1763630000123-48211.k3f9a7c2m4xq")]
    position: Position,
    #[serde(flatten)]
    gone: Gone,
    /// Whether a file of the service declares settings of the project: they stay, as do keys and members that it declares.
    settings_declared: bool,
}

/// A session is deleted.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, utoipa::ToSchema)]
pub(crate) struct Deleted {
    /// Where the deletion stands in the project's log; `0-0`: there was nothing to delete.
    #[schema(value_type = String, example = "1763630000123-48211.k3f9a7c2m4xq")]
    position: Position,
}

/// Delete a project.
///
/// Everything that the project holds is gone: events, state, what is remembered to recognise retries; and its API keys,
/// members and settings. Viewers get one `gap` of cause `deleted`, and what comes after. What is appended after lives: for
/// two seconds that may be by a key which is gone. What a file of the service declares stays. Asking again is harmless,
/// but for what came in between, which goes as well; whoever asks by a key or a membership of the project loses it last,
/// so that a deletion which failed midway can be asked for again.
#[utoipa::path(
    delete,
    path = "/v1/projects/{project}",
    operation_id = "deleteProject",
    tag = "ingest",
    params(("project" = String, Path, description = "The project's name.", min_length = 1, max_length = 128,
        pattern = "^[A-Za-z0-9][A-Za-z0-9._-]{0,127}$", example = "demo")),
    responses(
        (status = 200, description = "It is deleted.", body = ProjectDeleted),
        (status = 400, description = "Not understood.", body = ProblemBody, content_type = "application/problem+json"),
        (status = 401, description = "There is no credential, or none that is good: `WWW-Authenticate` says why.",
            body = ProblemBody, content_type = "application/problem+json"),
        (status = 403, description = "The credential does not have the scope `admin` here; or it is not taken from here.",
            body = ProblemBody, content_type = "application/problem+json"),
        (status = 503, description = "Not all of it is deleted: ask again.", body = ProblemBody,
            content_type = "application/problem+json",
            headers(("Retry-After" = u32, description = "Seconds."))),
        (status = 504, description = "It may be deleted, or will be in a moment.", body = ProblemBody,
            content_type = "application/problem+json"),
    ),
)]
pub(crate) async fn project(
    State(inner): State<Arc<Inner>>,
    Extension(grant): Extension<Grant>,
    Path(project): Path<String>,
) -> Response {
    let answered = async {
        let project = project_of(&project)?;
        let belongings = Belongings { inner: &inner, project: &project, grant: &grant };
        let gone = belongings.before().await?;
        let position = inner.writers.delete_project(&project, options(&inner)).await.map_err(rejected)?;
        let gone = belongings.behind(gone).await?;
        let settings_declared = !inner.settings.declared(&project).fields().is_empty();
        Ok(ProjectDeleted { position, gone, settings_declared })
    };
    answer(&inner, answered.await)
}

/// Delete a session.
///
/// What the session said until now is not read any more, and its state is gone; sums over the project stay. Viewers get an
/// event of type `gap` and cause `deleted` that names the session. Events of the session that come after live.
#[utoipa::path(
    delete,
    path = "/v1/projects/{project}/sessions/{session}",
    operation_id = "deleteSession",
    tag = "ingest",
    params(
        ("project" = String, Path, description = "The project's name.", min_length = 1, max_length = 128,
            pattern = "^[A-Za-z0-9][A-Za-z0-9._-]{0,127}$", example = "demo"),
        ("session" = String, Path, description = "The session's id.", min_length = 1, max_length = 128),
    ),
    responses(
        (status = 200, description = "It is deleted.", body = Deleted),
        (status = 400, description = "Not understood.", body = ProblemBody, content_type = "application/problem+json"),
        (status = 401, description = "There is no credential, or none that is good: `WWW-Authenticate` says why.",
            body = ProblemBody, content_type = "application/problem+json"),
        (status = 403, description = "The credential does not have the scope `admin` here; or it is not taken from here.",
            body = ProblemBody, content_type = "application/problem+json"),
        (status = 409, description = "`deletions_full`: the project has as many deleted sessions as may be; retention makes \
            room.", body = ProblemBody, content_type = "application/problem+json",
            headers(("Retry-After" = u32, description = "Seconds."))),
        (status = 503, description = "Not now: nothing was deleted.", body = ProblemBody,
            content_type = "application/problem+json",
            headers(("Retry-After" = u32, description = "Seconds."))),
        (status = 504, description = "It may be deleted, or will be in a moment.", body = ProblemBody,
            content_type = "application/problem+json"),
    ),
)]
pub(crate) async fn session(
    State(inner): State<Arc<Inner>>,
    Path((project, session)): Path<(String, String)>,
) -> Response {
    let answered = async {
        let project = project_of(&project)?;
        check_session(&session)?;
        let position = inner.writers.delete_session(&project, &session, options(&inner)).await.map_err(rejected)?;
        Ok(Deleted { position })
    };
    answer(&inner, answered.await)
}

fn project_of(name: &str) -> Result<Project, Rejected> {
    name.parse().map_err(|error: ProjectError| Rejected::new(ErrorCode::InvalidProject, error.to_string()))
}

fn check_session(session: &str) -> Result<(), Rejected> {
    if session.is_empty() || session.len() > NAME_BYTES_MAX || session.chars().any(char::is_control) {
        let code = ErrorCode::InvalidParameter;
        let fault = FieldProblem::new(code).field("session");
        let detail = format!("a session's id has 1 to {NAME_BYTES_MAX} bytes and no control characters");
        return Err(Problem::new(code, detail).with(fault).into());
    }
    Ok(())
}

fn options(inner: &Inner) -> Options {
    Options { deadline: tokio::time::Instant::now() + inner.deadline, jumps: Jumps::default() }
}

fn rejected(why: Failure) -> Rejected {
    let (code, detail) = answer::failure(why);
    Rejected::new(code, if why == Failure::OutcomeUnknown { "the store did not answer in time" } else { detail })
}

fn answer(inner: &Inner, answered: Result<impl Serialize, Rejected>) -> Response {
    match answered {
        Ok(deleted) => {
            inner.metrics.on_ok(Protocol::Admin);
            Json(deleted).into_response()
        }
        Err(rejected) => {
            inner.metrics.on_refused(Protocol::Admin, rejected.code());
            rejected.into_response()
        }
    }
}
