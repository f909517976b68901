//! Runners of a project that say that they are there, for those with the scope `work`.
//!
//! A runner is there for as long as it says, and says so again in time; one that does not is gone by itself. What it says
//! of itself is shown to whoever may read the project.

use std::collections::BTreeMap;
use std::sync::Arc;

use axum::Extension;
use axum::body::Body;
use axum::extract::{Path, State};
use axum::response::{IntoResponse as _, Response};
use http::StatusCode;
use serde::{Deserialize, Serialize};
use tidings_broker::inbox::Take;
use tidings_broker::presence::{PutRunner, RUNNER_TTL_MAX_MS, RUNNERS_MAX, RemoveRunner, Speaker};
use tidings_commands::OWN_PREFIX;
use tidings_presence::RunnerRecord;
use tidings_protocol::codes::ErrorCode;
use tidings_protocol::grant::{Grant, Scope};
use tidings_protocol::limits::NAME_BYTES_MAX;
use tidings_protocol::problem::{FieldProblem, Problem};
use tidings_protocol::project::Project;
use tidings_protocol::timestamp::rfc3339;
use tokio::time::Instant;

use crate::Inner;
use crate::admin::{answer, call_failed, full, invalid, ok, project_of, shaped};
use crate::answer::Rejected;
use crate::commands;
use crate::describe::ProblemBody;

/// Longest time for which a runner may say that it is there, in seconds.
const TTL_S_MAX: u64 = RUNNER_TTL_MAX_MS / 1_000;

/// Capabilities that one may name, and the bytes of each.
const CAPABILITIES_MAX: usize = 32;
const CAPABILITY_BYTES_MAX: usize = 64;

/// Labels that one may have; bytes of a label's name, and of its value.
const LABELS_MAX: usize = 16;
const LABEL_BYTES_MAX: usize = 64;
const VALUE_BYTES_MAX: usize = 128;

/// All that a runner says of itself, as JSON, in bytes. It is told to everybody who wants to know who is there.
const RECORD_BYTES_MAX: usize = 2_048;

/// What these routes may be refused with.
#[derive(utoipa::IntoResponses)]
#[allow(dead_code, reason = "describes bytes that are written elsewhere")]
pub(crate) enum Refusals {
    /// Not understood.
    #[response(status = 400, content_type = "application/problem+json")]
    Malformed(ProblemBody),
    /// There is no credential, or none that is good: `WWW-Authenticate` says why.
    #[response(status = 401, content_type = "application/problem+json")]
    Unauthenticated(ProblemBody),
    /// The credential does not have the scope `work` here; or it is not taken from here; or the runner is there by another
    /// credential, and this one does not have the scope `admin`.
    #[response(status = 403, content_type = "application/problem+json")]
    Forbidden(ProblemBody),
    /// The body took too long.
    #[response(status = 408, content_type = "application/problem+json")]
    Slow(ProblemBody),
    /// Over a limit: nothing was changed.
    #[response(status = 429, content_type = "application/problem+json")]
    Limited(ProblemBody),
    /// Not now: nothing was changed.
    #[response(status = 503, content_type = "application/problem+json")]
    Away(ProblemBody),
    /// It may have been changed.
    #[response(status = 504, content_type = "application/problem+json")]
    Unknown(ProblemBody),
}

/// What a runner says of itself.
#[derive(Debug, Deserialize, utoipa::ToSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct RunnerWish {
    /// Seconds from now for which it is there, unless it says so again: three times in that, say.
    #[schema(minimum = 1, maximum = 600, example = 30)]
    ttl: u64,
    /// For people.
    #[serde(default)]
    #[schema(min_length = 1, max_length = 128, example = "Runner 7")]
    name: Option<String>,
    /// Which commands it takes.
    #[serde(default)]
    #[schema(max_items = 32, example = json!(["chat", "session"]))]
    capabilities: Vec<String>,
    /// Anything that tells it from others.
    #[serde(default)]
    #[schema(example = json!({"region": "eu"}))]
    labels: BTreeMap<String, String>,
}

/// A runner that is there.
#[derive(Debug, Serialize, utoipa::ToSchema)]
pub(crate) struct RunnerThere {
    /// Its name.
    runner: String,
    /// Since when, RFC 3339.
    #[schema(format = DateTime)]
    since: String,
    /// When it is gone unless it says so again: seconds from now.
    ttl: u64,
}

/// Say that a runner is there.
///
/// For `ttl` seconds from now; say so again in time. Whoever may read the project is shown what it says of itself.
#[utoipa::path(
    put,
    path = "/v1/projects/{project}/runners/{runner}",
    operation_id = "putRunner",
    tag = "ingest",
    params(("project" = String, Path, description = "The project's name.", min_length = 1, max_length = 128,
        pattern = "^[A-Za-z0-9][A-Za-z0-9._-]{0,127}$", example = "demo"),
        ("runner" = String, Path, description = "The runner: what its events name as `runner`.", min_length = 1,
            max_length = 128)),
    request_body = RunnerWish,
    responses(
        (status = 200, description = "It is there.", body = RunnerThere),
        Refusals,
        (status = 409, description = "As many others are there as may be.", body = ProblemBody,
            content_type = "application/problem+json"),
        (status = 413, description = "Too large.", body = ProblemBody, content_type = "application/problem+json"),
        (status = 422, description = "Something is not valid: nothing was changed.", body = ProblemBody,
            content_type = "application/problem+json"),
    ),
)]
pub(crate) async fn put(
    State(inner): State<Arc<Inner>>,
    Extension(grant): Extension<Grant>,
    Path((project, runner)): Path<(String, String)>,
    body: Body,
) -> Response {
    let answered = async {
        let project = project_of(&project)?;
        check_runner(&runner)?;
        let wish: RunnerWish = shaped(body).await?;
        let (ttl, capabilities) = (wish.ttl, wish.capabilities.clone());
        let record = wish.checked()?;
        let settings = inner.settings(&project).await.map_err(|away| Rejected::from(&away))?;
        inner.count(&project, &grant, &settings, (1, record.len())).await?;
        let by = speaker(&grant, &project);
        let there = inner.presences.put_runner(project.clone(), runner.clone(), by, ttl * 1_000, record.into());
        match there.await.map_err(|error| call_failed(&error))? {
            PutRunner::Joined { since_ms } | PutRunner::Renewed { since_ms } => {
                if !capabilities.is_empty() {
                    takes(&inner, &project, &runner, &grant, capabilities, ttl).await?;
                }
                Ok(ok(StatusCode::OK, &RunnerThere { runner, since: rfc3339(since_ms), ttl }))
            }
            PutRunner::Full => Err(full("runners", RUNNERS_MAX)),
            PutRunner::Anothers => Err(anothers()),
        }
    };
    answer(&inner, answered.await)
}

/// Say that a runner went.
#[utoipa::path(
    delete,
    path = "/v1/projects/{project}/runners/{runner}",
    operation_id = "removeRunner",
    tag = "ingest",
    params(("project" = String, Path, description = "The project's name.", min_length = 1, max_length = 128,
        pattern = "^[A-Za-z0-9][A-Za-z0-9._-]{0,127}$", example = "demo"),
        ("runner" = String, Path, description = "The runner.", min_length = 1, max_length = 128)),
    responses(
        (status = 204, description = "It is there no more."),
        Refusals,
        (status = 404, description = "It was not there.", body = ProblemBody, content_type = "application/problem+json"),
    ),
)]
pub(crate) async fn remove(
    State(inner): State<Arc<Inner>>,
    Extension(grant): Extension<Grant>,
    Path((project, runner)): Path<(String, String)>,
) -> Response {
    let answered = async {
        let project = project_of(&project)?;
        check_runner(&runner)?;
        let settings = inner.settings(&project).await.map_err(|away| Rejected::from(&away))?;
        inner.count(&project, &grant, &settings, (1, 0)).await?;
        let by = speaker(&grant, &project);
        let removed = inner.presences.remove_runner(project.clone(), runner.clone(), by).await;
        let was_there = match removed.map_err(|error| call_failed(&error))? {
            RemoveRunner::Gone => true,
            // It may have taken commands and said nothing else.
            RemoveRunner::Absent => false,
            RemoveRunner::Anothers => return Err(anothers()),
        };
        let took = inner.counter.leave(&project, &runner, &commands::subject(&inner, &grant)).await?;
        if !was_there && !took {
            return Err(Rejected::new(ErrorCode::NotFound, "the runner is not there"));
        }
        Ok(StatusCode::NO_CONTENT.into_response())
    };
    answer(&inner, answered.await)
}

/// Says that commands may be put for it, and takes none.
async fn takes(
    inner: &Inner,
    project: &Project,
    runner: &str,
    grant: &Grant,
    capabilities: Vec<String>,
    ttl: u64,
) -> Result<(), Rejected> {
    // Those of the services are nobody's.
    let capabilities = capabilities.into_iter().filter(|word| !word.starts_with(OWN_PREFIX)).collect();
    let take = Take {
        runner: runner.to_owned(),
        subject: commands::subject(inner, grant),
        capabilities,
        ttl_ms: ttl * 1_000,
        max: 0,
        in_hand_max: 1,
        lease_ms: inner.commands.lease_ms,
        goes_on: false,
    };
    match inner.counter.take(project, take, Instant::now(), &inner.stop).await {
        // It is there all the same, and says so again.
        Err(refusal) if refusal.code.is_retryable() => {
            tracing::debug!(%project, %refusal, "a runner's capabilities are not noted yet");
            Ok(())
        }
        taken => Ok(taken.map(drop)?),
    }
}

/// A runner is its own who says that it is there, and an administrator's.
fn speaker(grant: &Grant, project: &Project) -> Speaker {
    Speaker { subject: grant.subject().to_owned(), overrules: grant.allows(project, Scope::Admin) }
}

fn anothers() -> Rejected {
    Rejected::new(ErrorCode::Forbidden, "the runner is there by another credential")
}

impl RunnerWish {
    /// What is kept of it, as JSON.
    fn checked(self) -> Result<Vec<u8>, Rejected> {
        let RunnerWish { ttl, name, capabilities, labels } = self;
        if !(1..=TTL_S_MAX).contains(&ttl) {
            let limit = if ttl == 0 { 1 } else { TTL_S_MAX };
            let fault = FieldProblem { limit: Some(limit), actual: Some(ttl), ..field("ttl") };
            return Err(invalid(fault, &format!("`ttl`: expected 1 to {TTL_S_MAX} seconds")));
        }
        if let Some(name) = &name {
            check(name, "name", NAME_BYTES_MAX)?;
        }
        bounded("capabilities", CAPABILITIES_MAX, capabilities.len())?;
        capabilities.iter().try_for_each(|word| check(word, "capabilities", CAPABILITY_BYTES_MAX))?;
        bounded("labels", LABELS_MAX, labels.len())?;
        for (label, value) in &labels {
            check(label, "labels", LABEL_BYTES_MAX)?;
            if !value.is_empty() {
                check(value, "labels", VALUE_BYTES_MAX)?;
            }
        }
        let record = RunnerRecord { name, capabilities, labels };
        let json = serde_json::to_vec(&record).expect("a record has string keys only");
        if json.len() > RECORD_BYTES_MAX {
            let fault = FieldProblem::new(ErrorCode::InvalidField).limit(RECORD_BYTES_MAX, json.len());
            return Err(invalid(fault, &format!("all of it takes more than {RECORD_BYTES_MAX} bytes")));
        }
        Ok(json)
    }
}

fn check_runner(runner: &str) -> Result<(), Rejected> {
    if is_sound(runner, NAME_BYTES_MAX) {
        return Ok(());
    }
    let code = ErrorCode::InvalidParameter;
    let detail = format!("a runner's name has 1 to {NAME_BYTES_MAX} bytes and no control characters");
    Err(Problem::new(code, detail).with(FieldProblem::new(code).field("runner")).into())
}

pub(crate) fn is_sound(text: &str, bytes_max: usize) -> bool {
    !text.is_empty() && text.len() <= bytes_max && !text.chars().any(char::is_control)
}

fn check(text: &str, name: &'static str, bytes_max: usize) -> Result<(), Rejected> {
    if is_sound(text, bytes_max) {
        return Ok(());
    }
    let fault = field(name).limit(bytes_max, text.len());
    Err(invalid(fault, &format!("`{name}`: expected 1 to {bytes_max} bytes without control characters")))
}

fn bounded(name: &'static str, limit: usize, actual: usize) -> Result<(), Rejected> {
    if actual <= limit {
        return Ok(());
    }
    Err(invalid(field(name).limit(limit, actual), &format!("`{name}`: more than {limit}")))
}

fn field(name: &'static str) -> FieldProblem {
    FieldProblem::new(ErrorCode::InvalidField).field(name)
}
