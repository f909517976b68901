//! `POST /v1/projects/{project}/hooks/claude-code`: what Claude Code says of itself by its HTTP hooks (docs/claude-code.md).
//!
//! What a hook means is `tidings_dialects::claude_code`'s; its events go the way of all published ones. A permission that is
//! asked for is an approval, and the request stays open until somebody decided, or its time is over.

use std::sync::Arc;
use std::time::{Duration, Instant as Began};

use axum::Extension;
use axum::extract::{Path, RawQuery, Request, State};
use axum::response::{IntoResponse as _, Response};
use http::StatusCode;
use serde_json::Value;
use tidings_commands::approval::{self, Decision as Decided};
use tidings_dialects::claude_code::{self, Approval, Decision, Mapped, NotAHook};
use tidings_log::writer::budget::Part;
use tidings_protocol::codes::ErrorCode;
use tidings_protocol::echo;
use tidings_protocol::grant::Grant;
use tidings_protocol::intake::{self, BodyFormat, Intake};
use tidings_protocol::problem::{FieldProblem, Problem};
use tidings_protocol::project::Project;
use tidings_protocol::timestamp::rfc3339;
use tidings_protocol::wire;
use tidings_runtime::telemetry::traces::Request as Span;
use tokio::time::Instant;
use tracing::Instrument as _;

use crate::Inner;
use crate::answer::{self, Rejected};
use crate::body::{self, asks_first};
use crate::clock::{Ids, unix_ms};
use crate::commands::json;
use crate::commands::params::Params;
use crate::describe::ProblemBody;
use crate::metrics::{Protocol, observe};
use crate::publish::{self, Head};

/// How long a permission is waited for, in seconds, unless the request says so; and at most.
const HOLD_S: u64 = 55;
const HOLD_S_MAX: u64 = 600;

/// How long behind its deadline an approval is waited for. It expires at the deadline by an event of its own, about a second
/// late; who decided a moment before that is heard.
const EXPIRES_WITHIN: Duration = Duration::from_secs(3);

/// Pause before a store that failed is asked again.
const RETRY: Duration = Duration::from_secs(1);

/// A hook as the tool sends it; it has other members by its kind.
#[derive(utoipa::ToSchema)]
#[allow(dead_code, reason = "it is only described")]
pub(crate) struct ClaudeCodeHook {
    /// The run of the tool.
    session_id: String,
    /// What happened: `SessionStart`, `UserPromptSubmit`, `PreToolUse`, and so on. One that is not known becomes a log line.
    hook_event_name: String,
}

/// What the tool is to do.
#[derive(utoipa::ToSchema)]
#[allow(dead_code, reason = "it is only described")]
pub(crate) struct ClaudeCodeAnswer {
    /// The decision on a permission; absent: the tool goes on as if nobody had been asked.
    #[schema(rename = "hookSpecificOutput")]
    hook_specific_output: Option<Value>,
}

/// Take a hook of Claude Code.
///
/// What the hook says becomes events of the session. It is answered at once, but for `PermissionRequest`: that becomes an
/// approval, and the answer is its decision, or nothing when there is none in time. A hook that is sent again with the same
/// `tool_use_id` waits for the same approval.
#[utoipa::path(
    post,
    path = "/v1/projects/{project}/hooks/claude-code",
    operation_id = "takeClaudeCodeHook",
    tag = "ingest",
    params(
        ("project" = String, Path, description = "The project's name.", min_length = 1, max_length = 128,
            pattern = "^[A-Za-z0-9][A-Za-z0-9._-]{0,127}$", example = "demo"),
        ("hold" = Option<u64>, Query, minimum = 1, maximum = 600,
            description = "Seconds for which a permission is waited for; 55 if absent. The hook's own timeout must be longer."),
    ),
    request_body(content = ClaudeCodeHook, content_type = "application/json"),
    responses(
        (status = 200, description = "It was taken: `{}`, or the decision on a permission.", body = ClaudeCodeAnswer),
        (status = 400, description = "Not understood.", body = ProblemBody,
            content_type = "application/problem+json"),
        (status = 401, description = "There is no credential, or none that is good: `WWW-Authenticate` says why.", body = ProblemBody,
            content_type = "application/problem+json"),
        (status = 403, description = "The credential does not have the scope `publish` here; or it is not taken from here.", body = ProblemBody,
            content_type = "application/problem+json"),
        (status = 408, description = "The body took too long.", body = ProblemBody,
            content_type = "application/problem+json"),
        (status = 409, description = "A decision that stands, or a deletion, is in its way.", body = ProblemBody,
            content_type = "application/problem+json"),
        (status = 413, description = "Too large.", body = ProblemBody,
            content_type = "application/problem+json"),
        (status = 415, description = "Another media type or encoding.", body = ProblemBody,
            content_type = "application/problem+json"),
        (status = 422, description = "It is no hook: nothing was taken.", body = ProblemBody,
            content_type = "application/problem+json"),
        (status = 429, description = "Over a limit of the project or of the API key: nothing was taken.", body = ProblemBody,
            content_type = "application/problem+json",
            headers(("Retry-After" = u32, description = "Seconds."))),
        (status = 431, description = "Header fields are too large.", body = ProblemBody,
            content_type = "application/problem+json"),
        (status = 500, description = "The service failed.", body = ProblemBody,
            content_type = "application/problem+json"),
        (status = 503, description = "Not now: nothing was taken.", body = ProblemBody,
            content_type = "application/problem+json",
            headers(("Retry-After" = u32, description = "Seconds."))),
        (status = 504, description = "It may have been taken.", body = ProblemBody,
            content_type = "application/problem+json"),
    ),
)]
pub(crate) async fn claude_code(
    State(inner): State<Arc<Inner>>,
    Extension(grant): Extension<Grant>,
    Path(project): Path<String>,
    RawQuery(query): RawQuery,
    request: Request,
) -> Response {
    let span = inner.traces.request("hook", publish::traceparent(request.headers()).as_deref());
    let within = span.as_ref().map_or_else(tracing::Span::none, |span| span.span().clone());
    let answered = async {
        let taken = taken(&inner, &project, query.as_deref(), &grant, request, span.as_ref()).await;
        let asked = taken.inspect_err(|_| {
            if let Ok(project) = project.parse() {
                inner.tenants.on_refused(&project, 1);
            }
        })?;
        let Some(asked) = asked else { return Ok::<_, Rejected>(claude_code::no_opinion()) };
        Ok(inner.decision(&asked).await)
    };
    match answered.instrument(within).await {
        Ok(body) => {
            inner.metrics.on_ok(Protocol::ClaudeCode);
            json(StatusCode::OK, body.to_string().into())
        }
        Err(rejected) => {
            inner.metrics.on_refused(Protocol::ClaudeCode, rejected.code());
            span.iter().for_each(Span::fail);
            rejected.into_response()
        }
    }
}

/// A permission that was asked for.
struct Asked {
    project: Project,
    approval: Approval,
    /// The guard of its decision.
    key: String,
    /// Until when it is waited for.
    until: Instant,
    /// What is kept of the request meanwhile.
    _part: Part,
}

/// Takes the events of a hook. Some: it asks for a permission.
async fn taken(
    inner: &Inner,
    project: &str,
    query: Option<&str>,
    grant: &Grant,
    request: Request,
    span: Option<&Span>,
) -> Result<Option<Asked>, Rejected> {
    let (parts, body) = request.into_parts();
    let asked_first = asks_first(&parts.headers);
    let (head, hold) = match head(project, query, &parts) {
        Ok((head, hold)) => (Head { runner: grant.runner().map(str::to_owned), ..head }, hold),
        Err(rejected) => {
            if !asked_first {
                body::discard(body).await;
            }
            return Err(rejected);
        }
    };
    let whole = body::whole(body, head.encoding, asked_first, inner).await?;
    let settings = inner.settings(&head.project).await.map_err(|away| Rejected::from(&away))?;
    let began = Began::now();
    let traceparent = span.map(Span::traceparent).or(head.traceparent.as_deref());
    let (events, approval) = read(inner, &whole.bytes, hold, &head, traceparent)?;
    observe(&inner.metrics.parse_seconds, began);
    let redacted = inner.redact(&settings, events).await;
    let events = redacted.into_iter().collect::<Result<Vec<wire::Event>, _>>()?;
    drop(whole);
    if events.is_empty() {
        return Ok(None);
    }
    let asked = approval.map(|approval| {
        let kept = approval.suggestions.as_ref().map_or(0, |suggestions| suggestions.to_string().len());
        let part = inner.budget.share(approval.id.len() + kept);
        let part = part.ok_or_else(|| Rejected::new(ErrorCode::Busy, "too many requests are in work"))?;
        let until = Instant::now() + hold + EXPIRES_WITHIN;
        let session = events.first().map_or("", |event| event.session.as_str());
        let (project, key) = (head.project.clone(), approval::guard_key(session, &approval.id));
        Ok::<Asked, Rejected>(Asked { project, approval, key, until, _part: part })
    });
    let asked = asked.transpose()?;
    let outcomes = inner.append(&head.project, grant, &settings, events).await?;
    // Only its refusals are for the tool.
    answer::whole(outcomes)?;
    Ok(asked)
}

/// What stands before the body, and how long a permission is waited for.
fn head(project: &str, query: Option<&str>, parts: &http::request::Parts) -> Result<(Head, Duration), Rejected> {
    let params = Params::of(query, &["hold"], &[])?;
    let hold = params.number("hold", (1, HOLD_S_MAX))?.unwrap_or(HOLD_S);
    let head = publish::head(project, &parts.uri, &parts.headers)?;
    if head.format != BodyFormat::Json {
        let refusal = Rejected::new(ErrorCode::UnsupportedMediaType, "a hook is application/json");
        return Err(refusal.hint(http::header::ACCEPT, "application/json"));
    }
    Ok((head, Duration::from_secs(hold)))
}

/// The events of a hook, checked like any others.
fn read(
    inner: &Inner,
    body: &[u8],
    hold: Duration,
    head: &Head,
    traceparent: Option<&str>,
) -> Result<(Vec<wire::Event>, Option<Approval>), Rejected> {
    let malformed = |error| Rejected::new(ErrorCode::MalformedJson, echo::parse_error(&error));
    let hook = claude_code::read(body).map_err(malformed)?;
    let mut ids = Ids::default();
    let now_ms = unix_ms();
    let deadline = rfc3339(now_ms.saturating_add(u64::try_from(hold.as_millis()).unwrap_or(u64::MAX)));
    let Mapped { mut events, approval } = claude_code::map(&hook, &ids.next(), &deadline).map_err(no_hook)?;
    drop(hook);
    // The same question is the same events: sent again they are known.
    if let Some(approval) = &approval {
        for (at, event) in events.iter_mut().enumerate() {
            event["id"] = format!("{}.{at}", approval.id).into();
        }
    }
    if events.is_empty() {
        return Ok((Vec::new(), approval));
    }
    let mut next_id = || ids.next();
    let mut intake = Intake {
        limits: &inner.limits,
        received_ms: now_ms,
        next_id: &mut next_id,
        default_runner: head.runner.as_deref(),
        default_traceparent: traceparent,
        idempotency_key: head.idempotency_key.as_deref(),
    };
    let events = intake::parse_body(Value::Array(events).to_string().as_bytes(), &mut intake)?;
    Ok((events, approval))
}

fn no_hook(fault: NotAHook) -> Rejected {
    let code = if fault.field().is_some() { ErrorCode::MissingField } else { ErrorCode::InvalidField };
    let problem = Problem::new(code, fault.to_string());
    match fault.field() {
        Some(field) => problem.with(FieldProblem::new(code).field(field)).into(),
        None => problem.into(),
    }
}

impl Inner {
    /// What was decided, as the tool understands it; that nobody did, once its time is over or this service drains.
    ///
    /// Cancel safe: an approval stays open until its deadline, whoever waits for it.
    async fn decision(&self, asked: &Asked) -> Value {
        let guarded = loop {
            match self.counter.guarded(&asked.project, &asked.key, asked.until, &self.stop).await {
                Ok(guarded) => break guarded,
                Err(refusal) if refusal.code.is_retryable() && Instant::now() + RETRY < asked.until => {
                    let pause = tokio::time::sleep(RETRY);
                    if self.stop.run_until_cancelled(pause).await.is_none() {
                        break None;
                    }
                }
                Err(_) => break None,
            }
        };
        let Some(guarded) = guarded else { return claude_code::no_opinion() };
        let decided = Decided::of_note(&guarded.note);
        let word = serde_json::from_str(&decided.decision).unwrap_or_default();
        match meant(&word) {
            Some(decision) => {
                claude_code::answer(decision, decided.reason.as_deref(), asked.approval.suggestions.as_ref())
            }
            None => claude_code::no_opinion(),
        }
    }
}

/// What a dashboard's decision means: a word, or whether it may.
fn meant(decision: &Value) -> Option<Decision> {
    match decision {
        Value::Bool(true) => Some(Decision::Allow),
        Value::Bool(false) => Some(Decision::Deny),
        Value::String(word) => Decision::parse(word),
        _ => None,
    }
}
