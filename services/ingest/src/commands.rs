//! Commands for runners (docs/commands.md, "Working"): taking them, posting their events, giving them back; and asking how an
//! approval was decided. For those with the scope `work`.
//!
//! Who may take in a runner's name, leases and final answers are `tidings_commands`' and the store's; HTTP is here.

pub(crate) mod approvals;
pub(crate) mod decisions;
pub(crate) mod events;
pub(crate) mod params;
mod stream;
pub(crate) mod waits;

use std::sync::Arc;
use std::time::Duration;

use axum::Extension;
use axum::extract::{Path, RawQuery, State};
use axum::response::{IntoResponse as _, Response};
use http::{HeaderMap, StatusCode, header};
use tidings_broker::inbox::{CAPABILITIES_MAX, LeaseAct, TAKEN_MAX, Take};
use tidings_commands::command::CAPABILITY_BYTES_MAX;
use tidings_commands::counter::{Handed, Lease};
use tidings_commands::{OWN_PREFIX, Refusal};
use tidings_protocol::grant::Grant;
use tidings_protocol::limits::NAME_BYTES_MAX;
use tidings_protocol::problem::Problem;
use tidings_protocol::project::Project;
use tidings_webhooks::runner::RUNNER;
use tokio::time::Instant;

use crate::Inner;
use crate::admin::{answer, project_of};
use crate::answer::Rejected;
use crate::describe::ProblemBody;
use crate::runners;
use params::Params;

/// How long a runner is there behind its last asking, in milliseconds.
const THERE_MS: u64 = 30_000;

/// Commands that one asking takes, unless it says how many.
const LIMIT_DEFAULT: u64 = 10;

/// Commands that a runner has at a time, unless it says how many; and at most.
const IN_HAND_DEFAULT: u64 = 16;
const IN_HAND_MAX: u64 = 1_000;

/// Longest wait, in seconds: below what common proxies allow.
const WAIT_S_MAX: u64 = 25;

/// Longest time by which the time to accept a command is put off, in seconds.
const EXTEND_S_MAX: u64 = 600;

/// What is set for commands.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Settings {
    /// How long a runner has to accept what it took, in milliseconds.
    pub(crate) lease_ms: u64,
}

/// Commands that were taken.
#[derive(utoipa::ToSchema)]
#[allow(dead_code, reason = "describes bytes that are written elsewhere")]
pub(crate) struct TakenCommands {
    /// In the order in which the runner should work on them.
    commands: Vec<TakenCommand>,
    /// What the runner has now, with these.
    in_hand: u32,
}

/// A command as its runner is told it.
#[derive(utoipa::ToSchema)]
#[allow(dead_code, reason = "describes bytes that are written elsewhere")]
pub(crate) struct TakenCommand {
    /// What is asked.
    r#type: String,
    /// Its id.
    id: String,
    /// The session that it is bound to.
    session: Option<String>,
    /// The agent that it is bound to.
    agent: Option<String>,
    /// What it was put for.
    capability: String,
    /// Anything.
    data: Option<serde_json::Value>,
    /// Who asked.
    by: String,
    /// The viewer that its events go to; null: everybody.
    reply_to: Option<String>,
    /// When it was asked.
    #[schema(format = DateTime)]
    asked: String,
    /// True: nobody waits for an answer, and there is nothing to accept.
    notice: Option<bool>,
    /// When an answer is of no use any more.
    #[schema(format = DateTime)]
    deadline: String,
    /// The same in milliseconds from when it is told, for runners with another clock.
    deadline_in_ms: u64,
    /// Names this lease, for what is posted for the command.
    lease: u64,
    /// When it must be accepted, or another runner gets it.
    #[schema(format = DateTime)]
    accept_by: String,
    /// The same in milliseconds from when it is told.
    accept_in_ms: u64,
}

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
    /// The credential does not have the scope `work` here; or it is not taken from here.
    #[response(status = 403, content_type = "application/problem+json")]
    Forbidden(ProblemBody),
    /// `lease_lost`: another runner has the command. `already_answered`: its final answer stands. `runner_taken`: a runner of
    /// this name is there by another credential.
    #[response(status = 409, content_type = "application/problem+json")]
    Conflict(ProblemBody),
    /// The command is not known any more.
    #[response(status = 410, content_type = "application/problem+json")]
    Gone(ProblemBody),
    /// Over a limit.
    #[response(status = 429, content_type = "application/problem+json")]
    Limited(ProblemBody),
    /// Not now: nothing was changed.
    #[response(status = 503, content_type = "application/problem+json")]
    Away(ProblemBody),
    /// It may have been changed.
    #[response(status = 504, content_type = "application/problem+json")]
    Unknown(ProblemBody),
}

impl From<Refusal> for Rejected {
    fn from(refusal: Refusal) -> Rejected {
        Rejected::from(Problem::from(refusal))
    }
}

/// Take commands.
///
/// Says that the runner is there, and takes what waits for it, at most `limit`; waits for some up to `wait` seconds. What is
/// taken must be accepted in time by an event, or another runner gets it. With `Accept: text/event-stream` or
/// `application/x-ndjson` commands come as a stream, for as long as it is open. At most 1,000 requests of one credential wait at
/// one ingest.
#[utoipa::path(
    get,
    path = "/v1/projects/{project}/commands",
    operation_id = "takeCommands",
    tag = "ingest",
    params(
        ("project" = String, Path, description = "The project's name.", min_length = 1, max_length = 128,
            pattern = "^[A-Za-z0-9][A-Za-z0-9._-]{0,127}$", example = "demo"),
        ("runner" = String, Query, description = "The runner's name.", min_length = 1, max_length = 128),
        ("capability" = Vec<String>, Query, description = "What it can do: once for each, at most 32."),
        ("limit" = Option<u64>, Query, minimum = 1, maximum = 100, description = "10 if absent; not for streams."),
        ("wait" = Option<u64>, Query, minimum = 0, maximum = 25, description = "Seconds; 0 if absent; not for streams."),
        ("in_hand" = Option<u64>, Query, minimum = 1, maximum = 1000,
            description = "Commands that it has at a time; 16 if absent."),
    ),
    responses(
        (status = 200, description = "What was taken; or a stream of commands.", content(
            (TakenCommands = "application/json"), (String = "application/x-ndjson"), (String = "text/event-stream"))),
        Refusals,
    ),
)]
pub(crate) async fn take(
    State(inner): State<Arc<Inner>>,
    Extension(grant): Extension<Grant>,
    Path(project): Path<String>,
    RawQuery(query): RawQuery,
    headers: HeaderMap,
) -> Response {
    let answered = async {
        let project = project_of(&project)?;
        let wish = Wish::of(query.as_deref(), stream::Form::of(&headers))?;
        let settings = inner.settings(&project).await.map_err(|away| Rejected::from(&away))?;
        inner.count(&project, &grant, &settings, (1, 0)).await?;
        let take = wish.take(&inner, &grant);
        // Streams, and what waits; who only looks is answered at once.
        let waits = wish.form.is_some() || !wish.wait.is_zero();
        let waiting = waits.then(|| inner.waits.enter(take.subject.clone())).transpose()?;
        if let Some(form) = wish.form {
            return stream::open(&inner, project, take, (grant, waiting), form).await;
        }
        let until = Instant::now() + wish.wait;
        let handed = inner.counter.take(&project, take, until, &inner.stop).await?;
        Ok(json(StatusCode::OK, handed_json(&handed)))
    };
    answer(&inner, answered.await)
}

/// What a runner asks for.
struct Wish {
    runner: String,
    capabilities: Vec<String>,
    limit: u32,
    wait: Duration,
    in_hand: u32,
    form: Option<stream::Form>,
}

impl Wish {
    fn of(query: Option<&str>, form: Option<stream::Form>) -> Result<Wish, Rejected> {
        let known: &[&str] = match form {
            Some(_) => &["runner", "capability", "in_hand"],
            None => &["runner", "capability", "in_hand", "limit", "wait"],
        };
        let params = Params::of(query, known, &["capability"])?;
        let capabilities: Vec<String> = params.all("capability").map(str::to_owned).collect();
        let bytes_max = CAPABILITY_BYTES_MAX;
        let sound = |word: &String| runners::is_sound(word, bytes_max) && !word.starts_with(OWN_PREFIX);
        if capabilities.is_empty() || capabilities.len() > CAPABILITIES_MAX || !capabilities.iter().all(sound) {
            let detail = format!(
                "expected 1 to {CAPABILITIES_MAX} of them, each of 1 to {bytes_max} bytes without control characters"
            );
            return Err(params::invalid("capability", &detail));
        }
        let number = |name, default, bounds| params.number(name, bounds).map(|given| given.unwrap_or(default));
        let count = |number: u64| u32::try_from(number).unwrap_or(u32::MAX);
        let runner = params.name("runner", NAME_BYTES_MAX)?;
        if runner.starts_with(OWN_PREFIX) {
            return Err(params::invalid("runner", "names that begin like this are the service's own"));
        }
        Ok(Wish {
            runner: runner.to_owned(),
            capabilities,
            limit: count(number("limit", LIMIT_DEFAULT, (1, TAKEN_MAX as u64))?),
            wait: Duration::from_secs(number("wait", 0, (0, WAIT_S_MAX))?),
            in_hand: count(number("in_hand", IN_HAND_DEFAULT, (1, IN_HAND_MAX))?),
            form,
        })
    }

    fn take(&self, inner: &Inner, grant: &Grant) -> Take {
        Take {
            runner: self.runner.clone(),
            subject: subject(inner, grant),
            capabilities: self.capabilities.clone(),
            ttl_ms: THERE_MS,
            max: self.limit,
            in_hand_max: self.in_hand,
            lease_ms: inner.commands.lease_ms,
            goes_on: false,
        }
    }
}

/// Whose a runner is. Where nobody shows a credential, all are everybody's.
pub(crate) fn subject(inner: &Inner, grant: &Grant) -> String {
    if inner.rights.is_open() { String::new() } else { grant.subject().to_owned() }
}

/// `{"commands":[...],"in_hand":N}`.
fn handed_json(handed: &Handed) -> Vec<u8> {
    let mut out = b"{\"commands\":[".to_vec();
    for (at, command) in handed.commands.iter().enumerate() {
        if at > 0 {
            out.push(b',');
        }
        out.extend_from_slice(&command.json);
    }
    out.extend_from_slice(format!("],\"in_hand\":{}}}", handed.in_hand).as_bytes());
    out
}

/// An answer that no cache keeps.
pub(crate) fn json(status: StatusCode, body: Vec<u8>) -> Response {
    (status, [(header::CONTENT_TYPE, "application/json"), (header::CACHE_CONTROL, "no-store")], body).into_response()
}

/// Give a command back.
///
/// It waits again, for other runners first.
#[utoipa::path(
    post,
    path = "/v1/projects/{project}/commands/{id}/release",
    operation_id = "releaseCommand",
    tag = "ingest",
    params(
        ("project" = String, Path, description = "The project's name.", min_length = 1, max_length = 128,
            pattern = "^[A-Za-z0-9][A-Za-z0-9._-]{0,127}$", example = "demo"),
        ("id" = String, Path, description = "The command.", min_length = 1, max_length = 128),
        ("runner" = String, Query, description = "The runner that took it."),
        ("lease" = u64, Query, minimum = 1, description = "The lease that it took it under."),
    ),
    responses((status = 204, description = "It waits again."), Refusals),
)]
pub(crate) async fn release(
    State(inner): State<Arc<Inner>>,
    Extension(grant): Extension<Grant>,
    Path(path): Path<(String, String)>,
    RawQuery(query): RawQuery,
) -> Response {
    let answered = async {
        let params = Params::of(query.as_deref(), &["runner", "lease"], &[])?;
        let lease = leased(path, &params, subject(&inner, &grant))?;
        step(&inner, &grant, &lease, LeaseAct::Release).await
    };
    answer(&inner, answered.await)
}

/// Put off the time by which a command must be accepted.
///
/// To `for` seconds from now.
#[utoipa::path(
    post,
    path = "/v1/projects/{project}/commands/{id}/extend",
    operation_id = "extendCommand",
    tag = "ingest",
    params(
        ("project" = String, Path, description = "The project's name.", min_length = 1, max_length = 128,
            pattern = "^[A-Za-z0-9][A-Za-z0-9._-]{0,127}$", example = "demo"),
        ("id" = String, Path, description = "The command.", min_length = 1, max_length = 128),
        ("runner" = String, Query, description = "The runner that took it."),
        ("lease" = u64, Query, minimum = 1, description = "The lease that it took it under."),
        ("for" = u64, Query, minimum = 1, maximum = 600, description = "Seconds."),
    ),
    responses((status = 204, description = "It has time."), Refusals),
)]
pub(crate) async fn extend(
    State(inner): State<Arc<Inner>>,
    Extension(grant): Extension<Grant>,
    Path(path): Path<(String, String)>,
    RawQuery(query): RawQuery,
) -> Response {
    let answered = async {
        let params = Params::of(query.as_deref(), &["runner", "lease", "for"], &[])?;
        let lease = leased(path, &params, subject(&inner, &grant))?;
        let seconds =
            params.number("for", (1, EXTEND_S_MAX))?.ok_or_else(|| params::invalid("for", "it is missing"))?;
        step(&inner, &grant, &lease, LeaseAct::Extend(seconds * 1_000)).await
    };
    answer(&inner, answered.await)
}

async fn step(inner: &Inner, grant: &Grant, lease: &Lease, act: LeaseAct) -> Result<Response, Rejected> {
    let settings = inner.settings(&lease.project).await.map_err(|away| Rejected::from(&away))?;
    inner.count(&lease.project, grant, &settings, (1, 0)).await?;
    inner.counter.step(lease, act).await.map_err(Refusal::from)?;
    Ok(StatusCode::NO_CONTENT.into_response())
}

/// The lease that a request of this subject is about.
fn leased((project, id): (String, String), params: &Params, subject: String) -> Result<Lease, Rejected> {
    let project: Project = project_of(&project)?;
    if !runners::is_sound(&id, NAME_BYTES_MAX) {
        let detail = format!("expected 1 to {NAME_BYTES_MAX} bytes without control characters");
        return Err(params::invalid("id", &detail));
    }
    let lease = params.number("lease", (1, tidings_protocol::limits::SAFE_INTEGER_MAX))?;
    let lease = lease.ok_or_else(|| params::invalid("lease", "it is missing"))?;
    let runner = params.name("runner", NAME_BYTES_MAX)?.to_owned();
    // What was brought to a webhook its receiver answers by whatever credential it has.
    let subject = if runner == RUNNER { RUNNER.to_owned() } else { subject };
    Ok(Lease { project, runner, subject, id, lease })
}
