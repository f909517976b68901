//! `POST /v1/projects/{project}/events`: what a request's head says, and the way of a whole body.

use std::sync::Arc;
use std::time::Instant;

use axum::Extension;
use axum::extract::{Path, Request, State};
use axum::response::{IntoResponse, Response};
use http::{HeaderMap, HeaderName, Uri, header};
use tidings_protocol::codes::ErrorCode;
use tidings_protocol::grant::Grant;
use tidings_protocol::intake::{self, BodyFormat, Intake, cloudevents};
use tidings_protocol::problem::{FieldProblem, Problem};
use tidings_protocol::project::Project;
use tidings_protocol::wire;
use tidings_runtime::telemetry::traces::Request as Span;
use tracing::Instrument as _;

use crate::Inner;
use crate::answer::{self, Rejected};
use crate::body::{self, asks_first};
use crate::clock::{Ids, unix_ms};
use crate::describe::{CloudEventBody, CloudEventList, EventsBody, ProblemBody};
use crate::metrics::{Protocol, observe};
use crate::stream;
use crate::unpack::Encoding;

/// The header that makes a request's retries harmless.
const IDEMPOTENCY_KEY: HeaderName = HeaderName::from_static("idempotency-key");

/// The caller's span, as W3C Trace Context has it.
const TRACEPARENT: HeaderName = HeaderName::from_static("traceparent");

/// The query parameter that says at which line a resumed stream begins.
const FIRST_LINE: &str = "first_line";

/// What is taken, for `Accept` in a refusal.
const MEDIA_TYPES: &str =
    "application/json, application/x-ndjson, application/cloudevents+json, application/cloudevents-batch+json";

/// The encodings that are taken, for `Accept-Encoding` in a refusal.
const ENCODINGS: &str = "gzip, zstd";

/// Publish events.
///
/// Appends events to the project's log, each once however often it is sent under the same id, and answers with the
/// position of each. A project exists from its first event on. One event or an array is validated as a whole before
/// anything is appended; NDJSON is a stream: lines are appended as they arrive, and answered line by line.
#[utoipa::path(
    post,
    path = "/v1/projects/{project}/events",
    operation_id = "publishEvents",
    tag = "ingest",
    params(
        ("project" = String, Path, description = "The project's name.", min_length = 1, max_length = 128,
            pattern = "^[A-Za-z0-9][A-Za-z0-9._-]{0,127}$", example = "demo"),
        ("first_line" = Option<u64>, Query, minimum = 1, maximum = 9_007_199_254_740_991_u64,
            description = "NDJSON only: the number of the first line sent, when a stream is resumed. Lines count from 1."),
        ("Idempotency-Key" = Option<String>, Header, min_length = 1, max_length = 256,
            pattern = "^[!-~]([ -~]*[!-~])?$",
            description = "Gives ids to events without one, from the key, their place and their content, so that sending the \
                request again appends nothing twice."),
        ("traceparent" = Option<String>, Header,
            description = "W3C trace context of events that bring none of their own. One that is not valid is ignored."),
    ),
    request_body(
        description = "One event, an array of events, a stream of events (NDJSON), or CloudEvents 1.0. CloudEvents in binary \
            mode are told by a `ce-specversion` header. Any of them may be packed: `Content-Encoding: gzip` or `zstd`, one \
            layer; the limits hold for the unpacked body.",
        content(
            (EventsBody = "application/json"),
            (String = "application/x-ndjson"),
            (CloudEventBody = "application/cloudevents+json"),
            (CloudEventList = "application/cloudevents-batch+json"),
        ),
    ),
    responses(
        (status = 200, description = "All events were taken; or, for NDJSON, the stream of answers: a line for each line sent \
            (`{line, id, position, status}` or `{line, error}`), then `{done, accepted, rejected}`.",
            content((answer::Published = "application/json"), (String = "application/x-ndjson"))),
        (status = 400, description = "Not understood.", body = ProblemBody, content_type = "application/problem+json"),
        (status = 401, description = "There is no credential, or none that is good: `WWW-Authenticate` says why.",
            body = ProblemBody, content_type = "application/problem+json"),
        (status = 403, description = "The credential does not have the scope `publish` here; or it is not taken from here.",
            body = ProblemBody, content_type = "application/problem+json"),
        (status = 408, description = "The body took too long.", body = ProblemBody,
            content_type = "application/problem+json"),
        (status = 409, description = "A producer's sequence jumps, or it was replaced. `results` tell of the other events.",
            body = ProblemBody, content_type = "application/problem+json"),
        (status = 413, description = "Too large.", body = ProblemBody, content_type = "application/problem+json"),
        (status = 415, description = "Another media type or encoding.", body = ProblemBody,
            content_type = "application/problem+json"),
        (status = 422, description = "Events are not valid: nothing was appended.", body = ProblemBody,
            content_type = "application/problem+json"),
        (status = 429, description = "Over a limit of the project or of the API key: nothing was appended.",
            body = ProblemBody, content_type = "application/problem+json",
            headers(("Retry-After" = u32, description = "Seconds."))),
        (status = 431, description = "Header fields are too large.", body = ProblemBody,
            content_type = "application/problem+json"),
        (status = 500, description = "The service failed.", body = ProblemBody, content_type = "application/problem+json"),
        (status = 503, description = "Not now: nothing of what has no result was taken.", body = ProblemBody,
            content_type = "application/problem+json",
            headers(("Retry-After" = u32, description = "Seconds."))),
        (status = 504, description = "What has no result may have been appended; sending it again under the same ids is \
            harmless.", body = ProblemBody, content_type = "application/problem+json"),
    ),
)]
pub(crate) async fn publish(
    State(inner): State<Arc<Inner>>,
    Extension(grant): Extension<Grant>,
    Path(project): Path<String>,
    request: Request,
) -> Response {
    let protocol = protocol(request.headers());
    let span = inner.traces.request("publish", traceparent(request.headers()).as_deref());
    let within = span.as_ref().map_or_else(tracing::Span::none, |span| span.span().clone());
    let answered = async {
        taken(&inner, &project, grant, request, span.as_ref()).await.inspect_err(|_| {
            if let Ok(project) = project.parse() {
                inner.tenants.on_refused(&project, 1);
            }
        })
    };
    match answered.instrument(within).await {
        Ok(response) => {
            inner.metrics.on_ok(protocol);
            response
        }
        Err(rejected) => {
            inner.metrics.on_refused(protocol, rejected.code());
            span.iter().for_each(Span::fail);
            rejected.into_response()
        }
    }
}

/// What the head of a request says.
pub(crate) struct Head {
    pub(crate) project: Project,
    pub(crate) format: BodyFormat,
    pub(crate) encoding: Encoding,
    pub(crate) idempotency_key: Option<String>,
    /// The trace of events that bring none of their own.
    pub(crate) traceparent: Option<String>,
    /// Who publishes what names no runner: the credential, if it has a name that is a runner's.
    pub(crate) runner: Option<String>,
    /// Of a stream; 1 unless it is resumed.
    pub(crate) first_line: u64,
}

async fn taken(
    inner: &Arc<Inner>,
    project: &str,
    grant: Grant,
    request: Request,
    span: Option<&Span>,
) -> Result<Response, Rejected> {
    let (parts, body) = request.into_parts();
    let head = match head(project, &parts.uri, &parts.headers) {
        // What follows from the request follows from its span.
        Ok(head) => Head {
            traceparent: span.map(|span| span.traceparent().to_owned()).or(head.traceparent),
            runner: grant.runner().map(str::to_owned),
            ..head
        },
        Err(rejected) => {
            if !asks_first(&parts.headers) {
                body::discard(body).await;
            }
            return Err(rejected);
        }
    };
    if head.format == BodyFormat::Ndjson {
        return stream::open(inner, head, grant, body).await;
    }
    let asked_first = asks_first(&parts.headers);
    let whole = body::whole(body, head.encoding, asked_first, inner).await?;
    let settings = inner.settings(&head.project).await.map_err(|away| Rejected::from(&away))?;
    let began = Instant::now();
    let parsed = parse(inner, &head, &parts.headers, &whole.bytes);
    observe(&inner.metrics.parse_seconds, began);
    let redacted = inner.redact(&settings, parsed?).await.into_iter().enumerate();
    let events: Result<Vec<wire::Event>, _> =
        redacted.map(|(index, event)| event.map_err(|fault| fault.at(index as u64))).collect();
    // Events are held as they are stored from here on.
    let events = events?;
    drop(whole);
    let outcomes = inner.append(&head.project, &grant, &settings, events).await?;
    answer::whole(outcomes)
}

/// By what is said of the body, sound or not.
fn protocol(headers: &HeaderMap) -> Protocol {
    let content_type = headers.get(header::CONTENT_TYPE).and_then(|value| value.to_str().ok());
    match intake::body_format(content_type, headers.contains_key(cloudevents::SPECVERSION_HEADER)) {
        Ok(BodyFormat::CloudEvent | BodyFormat::CloudEventBatch | BodyFormat::CloudEventBinary) => {
            Protocol::CloudEvents
        }
        Ok(BodyFormat::Ndjson) => Protocol::Ndjson,
        Ok(BodyFormat::Json) | Err(_) => Protocol::Native,
    }
}

fn parse(inner: &Inner, head: &Head, headers: &HeaderMap, bytes: &[u8]) -> Result<Vec<wire::Event>, Rejected> {
    let mut ids = Ids::default();
    let mut next_id = || ids.next();
    let mut intake = Intake {
        limits: &inner.limits,
        received_ms: unix_ms(),
        next_id: &mut next_id,
        default_runner: head.runner.as_deref(),
        default_traceparent: head.traceparent.as_deref(),
        idempotency_key: head.idempotency_key.as_deref(),
    };
    let events = match head.format {
        BodyFormat::Json => intake::parse_body(bytes, &mut intake),
        BodyFormat::CloudEvent => cloudevents::parse_structured(bytes, &mut intake).map(|event| vec![event]),
        BodyFormat::CloudEventBatch => cloudevents::parse_batch(bytes, &mut intake),
        BodyFormat::CloudEventBinary => {
            let fields = headers.iter().map(|(name, value)| (name.as_str(), value.as_bytes()));
            let content_type = headers.get(header::CONTENT_TYPE).and_then(|value| value.to_str().ok());
            cloudevents::parse_binary(fields, content_type, bytes, &mut intake).map(|event| vec![event])
        }
        BodyFormat::Ndjson => unreachable!("streams are not read whole"),
    };
    Ok(events?)
}

/// Reads what stands before the body, and refuses what cannot be meant.
pub(crate) fn head(project: &str, uri: &Uri, headers: &HeaderMap) -> Result<Head, Rejected> {
    let project: Project = project.parse().map_err(|error: tidings_protocol::project::ProjectError| {
        Rejected::new(ErrorCode::InvalidProject, error.to_string())
    })?;
    let content_type = single(headers, &header::CONTENT_TYPE)?;
    let format = intake::body_format(content_type, headers.contains_key(cloudevents::SPECVERSION_HEADER))
        .map_err(|fault| Rejected::from(fault).hint(header::ACCEPT, MEDIA_TYPES))?;
    let encoding = single(headers, &header::CONTENT_ENCODING)?.unwrap_or_default();
    let encoding = Encoding::parse(encoding).ok_or_else(|| {
        let detail = "expected gzip or zstd, one layer";
        Rejected::new(ErrorCode::UnsupportedEncoding, detail).hint(header::ACCEPT_ENCODING, ENCODINGS)
    })?;
    let idempotency_key = single(headers, &IDEMPOTENCY_KEY)?;
    if let Some(key) = idempotency_key {
        intake::check_idempotency_key(key)?;
    }
    let first_line = first_line(uri.query().unwrap_or_default())?;
    if first_line.is_some() && format != BodyFormat::Ndjson {
        return Err(parameter("only a stream of lines (application/x-ndjson) has a first line"));
    }
    Ok(Head {
        project,
        format,
        encoding,
        idempotency_key: idempotency_key.map(str::to_owned),
        traceparent: traceparent(headers),
        runner: None,
        first_line: first_line.unwrap_or(1),
    })
}

/// A header's value, if there is exactly one, and it is text.
fn single<'h>(headers: &'h HeaderMap, name: &HeaderName) -> Result<Option<&'h str>, Rejected> {
    let mut values = headers.get_all(name).iter();
    let refuse = |what: &str| {
        let fault = FieldProblem::new(ErrorCode::InvalidHeader).field(name.as_str());
        let problem = Problem::new(ErrorCode::InvalidHeader, format!("`{name}`: {what}"));
        Err(problem.with(fault).into())
    };
    let Some(value) = values.next() else { return Ok(None) };
    if values.next().is_some() {
        return refuse("there is more than one");
    }
    match value.to_str() {
        Ok(text) => Ok(Some(text)),
        Err(_) => refuse("expected visible ASCII"),
    }
}

/// The request's trace. One that is not valid, or given twice, is as good as none: tracing never costs an event.
pub(crate) fn traceparent(headers: &HeaderMap) -> Option<String> {
    let text = single(headers, &TRACEPARENT).ok()??;
    intake::valid_traceparent(text.trim()).map(str::to_owned)
}

fn first_line(query: &str) -> Result<Option<u64>, Rejected> {
    let mut values = query.split('&').filter_map(|pair| {
        let (name, value) = pair.split_once('=').unwrap_or((pair, ""));
        (name == FIRST_LINE).then_some(value)
    });
    let Some(value) = values.next() else { return Ok(None) };
    if values.next().is_some() {
        return Err(parameter("first_line is given more than once"));
    }
    let digits = !value.is_empty() && value.bytes().all(|b| b.is_ascii_digit());
    match value.parse::<u64>() {
        Ok(line) if digits && (1..=tidings_protocol::limits::SAFE_INTEGER_MAX).contains(&line) => Ok(Some(line)),
        _ => Err(parameter("first_line is a whole number from 1 on")),
    }
}

fn parameter(detail: &str) -> Rejected {
    let fault = FieldProblem::new(ErrorCode::InvalidParameter).field(FIRST_LINE);
    Problem::new(ErrorCode::InvalidParameter, detail).with(fault).into()
}
