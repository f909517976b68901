//! What runners are asked: to begin a build, to stop one, to do it again.

use std::sync::Arc;
use std::time::Duration;

use axum::Extension;
use axum::body::{Bytes, to_bytes};
use axum::extract::{Path, Request, State};
use axum::response::{IntoResponse as _, Response};
use http::StatusCode;
use tidings_dialects::Command;
use tidings_dialects::agent_swarm::orchestrate::{self, Orchestrate};
use tidings_dialects::agent_swarm::refusals::Refusal;
use tidings_dialects::agent_swarm::{Target, rest};
use tidings_protocol::codes::ErrorCode;
use tidings_protocol::grant::{Grant, Scope};
use tidings_protocol::project::Project;
use tidings_runtime::http::problem::Refused;

use super::super::{desk, now_ms};
use super::Swarm;
use super::answers::{Failure, json as json_answer};
use super::lookup::{Found, find};
use crate::limits::Caller;
use crate::shared::Shared;

/// How long a body may take.
const BODY_WAIT: Duration = Duration::from_secs(30);

/// Largest body, in bytes: what becomes of it is a command's data.
const BODY_BYTES_MAX: usize = 64 * 1024;

/// `POST /projects/{id}/stop`.
pub(super) async fn stop(
    State(swarm): State<Arc<Swarm>>,
    Extension(grant): Extension<Grant>,
    Extension(caller): Extension<Caller>,
    Path(id): Path<String>,
) -> Result<Response, Failure> {
    let (found, session) = build(&swarm.shared, &grant, &id).await?;
    ask(&swarm.shared, (&found, &caller), &orchestrate::control("session.stop", &session)).await.map_err(refusal)?;
    Ok(json_answer(rest::message("Project stop requested")))
}

/// `POST /projects/{id}/restart`: by the runner that has it if it is there, else by any.
pub(super) async fn restart(
    State(swarm): State<Arc<Swarm>>,
    Extension(grant): Extension<Grant>,
    Extension(caller): Extension<Caller>,
    Path(id): Path<String>,
) -> Result<Response, Failure> {
    let (found, session) = build(&swarm.shared, &grant, &id).await?;
    ask(&swarm.shared, (&found, &caller), &orchestrate::control("session.restart", &session)).await.map_err(refusal)?;
    Ok(json_answer(rest::message("Project restart requested")))
}

/// `POST /orchestrate`.
pub(super) async fn orchestrate(
    State(swarm): State<Arc<Swarm>>,
    Extension(grant): Extension<Grant>,
    Extension(caller): Extension<Caller>,
    request: Request,
) -> Result<Response, Failure> {
    let wanted = Orchestrate::parse(&whole(request).await?)?;
    let project = home(&swarm, &grant)?;
    let session = orchestrate::session_id(&ulid::Ulid::new().to_string());
    let target = Target { project, session: Some(session.clone()) };
    let found = find(&swarm.shared, &grant, &target.id(), Scope::Command).await?;
    ask(&swarm.shared, (&found, &caller), &wanted.command(&session)).await.map_err(refusal)?;
    Ok((StatusCode::CREATED, json_answer(wanted.created(&target, now_ms()))).into_response())
}

/// The body of a request.
async fn whole(request: Request) -> Result<Bytes, Failure> {
    let slow = |_| Refused::new(ErrorCode::RequestTimeout, "the body took too long");
    let large = |_| Refused::new(ErrorCode::RequestTooLarge, format!("the body has more than {BODY_BYTES_MAX} bytes"));
    let read = tokio::time::timeout(BODY_WAIT, to_bytes(request.into_body(), BODY_BYTES_MAX)).await.map_err(slow)?;
    Ok(read.map_err(large)?)
}

/// The project that new builds belong to: the one of the settings, else the one that the credential is for.
fn home(swarm: &Swarm, grant: &Grant) -> Result<Project, Failure> {
    let only = || match grant.named(Scope::Command).as_deref() {
        Some([project]) => Some(project.clone()),
        _ => None,
    };
    let detail = "No project is set for new builds, and the credential is not for one alone";
    let nowhere = || Refusal::Other { status: 503, detail: detail.into() }.into();
    swarm.home.clone().or_else(only).ok_or_else(nowhere)
}

/// A build and its session.
async fn build(shared: &Shared, grant: &Grant, id: &str) -> Result<(Found, String), Failure> {
    let found = find(shared, grant, id, Scope::Command).await?.born()?;
    let session = found.see(shared).await?.build().session.to_owned();
    if session.is_empty() { Err(Refusal::not_found("Build").into()) } else { Ok((found, session)) }
}

/// Puts a command; what becomes of it comes as events.
async fn ask(shared: &Shared, (found, caller): (&Found, &Caller), command: &Command) -> Result<(), desk::Refusal> {
    shared.desk.ask(&found.target.project, &found.grant, caller, command).await.map(drop)
}

fn refusal(refusal: desk::Refusal) -> Failure {
    let code = ErrorCode::parse(refusal.code).unwrap_or(ErrorCode::Internal);
    Refusal::from_code(code, refusal.message, None).into()
}
