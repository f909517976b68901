//! `POST .../commands/{id}/events`: what a runner says of a command that it has.

use std::borrow::Cow;
use std::sync::Arc;
use std::time::Instant;

use axum::Extension;
use axum::body::Body;
use axum::extract::{Path, RawQuery, State};
use axum::response::Response;
use http::{HeaderMap, StatusCode, header};
use serde_json::value::RawValue;
use tidings_broker::inbox::{Guarded, LeaseAct};
use tidings_commands::Refusal;
use tidings_commands::approval;
use tidings_commands::counter::{Lease, NoLease};
use tidings_commands::splice::{self, is_final};
use tidings_commands::told::Told;
use tidings_log::writer::{Jumps, Options, Outcome, SubmitError};
use tidings_protocol::codes::ErrorCode;
use tidings_protocol::echo;
use tidings_protocol::grant::Grant;
use tidings_protocol::intake::{self, BodyFormat, Fault, Intake};
use tidings_protocol::problem::FieldProblem;
use tidings_protocol::wire;
use tidings_registry::Effective;

use super::approvals::questions;
use super::params::Params;
use super::{Refusals, json, leased, subject};
use crate::Inner;
use crate::answer::{self, EventResult, EventStatus, Published, Rejected};
use crate::body::{self, asks_first};
use crate::clock::{Ids, unix_ms};
use crate::describe::{EventsBody, ProblemBody};
use crate::facts::Facts;
use crate::metrics::{Protocol, observe};
use crate::unpack::Encoding;

/// Post events of a command.
///
/// The first one accepts the command; `command.completed` or `command.failed` is its final answer, and the last that is taken.
/// Events get `command_id` into `data`, and the command's session and agent where they name none; they go to who asked, with
/// `to=everyone` to everybody.
#[utoipa::path(
    post,
    path = "/v1/projects/{project}/commands/{id}/events",
    operation_id = "publishCommandEvents",
    tag = "ingest",
    params(
        ("project" = String, Path, description = "The project's name.", min_length = 1, max_length = 128,
            pattern = "^[A-Za-z0-9][A-Za-z0-9._-]{0,127}$", example = "demo"),
        ("id" = String, Path, description = "The command.", min_length = 1, max_length = 128),
        ("runner" = String, Query, description = "The runner that took it."),
        ("lease" = u64, Query, minimum = 1, description = "The lease that it took it under."),
        ("to" = Option<String>, Query, description = "`asker` (if absent) or `everyone`."),
    ),
    request_body(description = "One event, an array of events, or lines of them.",
        content((EventsBody = "application/json"), (String = "application/x-ndjson"))),
    responses(
        (status = 200, description = "All events were taken.", body = Published),
        Refusals,
        (status = 413, description = "Too large.", body = ProblemBody, content_type = "application/problem+json"),
        (status = 415, description = "Another media type or encoding.", body = ProblemBody,
            content_type = "application/problem+json"),
        (status = 422, description = "Events are not valid: nothing was taken.", body = ProblemBody,
            content_type = "application/problem+json"),
    ),
)]
pub(crate) async fn publish(
    State(inner): State<Arc<Inner>>,
    Extension(grant): Extension<Grant>,
    Path(path): Path<(String, String)>,
    RawQuery(query): RawQuery,
    headers: HeaderMap,
    body: Body,
) -> Response {
    let answered = async {
        let params = Params::of(query.as_deref(), &["runner", "lease", "to"], &[])?;
        let lease = leased(path, &params, subject(&inner, &grant))?;
        let to_everyone = params.is("to", "everyone", "asker")?;
        let texts = texts(&inner, &headers, body).await?;
        taken(&inner, &grant, &lease, &texts, (to_everyone, None)).await
    };
    match answered.await {
        Ok(response) => {
            inner.metrics.on_ok(Protocol::Native);
            response
        }
        Err(rejected) => {
            inner.metrics.on_refused(Protocol::Native, rejected.code());
            axum::response::IntoResponse::into_response(rejected)
        }
    }
}

/// The events of a body, each as its text.
async fn texts(inner: &Inner, headers: &HeaderMap, body: Body) -> Result<Vec<String>, Rejected> {
    let text = |name| headers.get(name).and_then(|value: &http::HeaderValue| value.to_str().ok());
    let format = match intake::body_format(text(header::CONTENT_TYPE), false)? {
        format @ (BodyFormat::Json | BodyFormat::Ndjson) => format,
        BodyFormat::CloudEvent | BodyFormat::CloudEventBatch | BodyFormat::CloudEventBinary => {
            let detail = "expected application/json or application/x-ndjson";
            return Err(Rejected::new(ErrorCode::UnsupportedMediaType, detail));
        }
    };
    let encoding = Encoding::parse(text(header::CONTENT_ENCODING).unwrap_or_default())
        .ok_or_else(|| Rejected::new(ErrorCode::UnsupportedEncoding, "expected gzip or zstd, one layer"))?;
    let whole = body::whole(body, encoding, asks_first(headers), inner).await?;
    let body = std::str::from_utf8(&whole.bytes)
        .map_err(|_| Rejected::new(ErrorCode::InvalidUtf8, "the body is not valid UTF-8"))?;
    let own = |raw: &RawValue| raw.get().to_owned();
    let malformed = |error: serde_json::Error| Rejected::new(ErrorCode::MalformedJson, echo::parse_error(&error));
    let all: Vec<String> = if format == BodyFormat::Ndjson {
        let lines = body.lines().filter(|line| !line.trim_ascii().is_empty());
        lines.map(|line| serde_json::from_str(line).map(own)).collect::<Result<_, _>>().map_err(malformed)?
    } else if body.trim_ascii_start().starts_with('[') {
        serde_json::from_str::<Vec<&RawValue>>(body).map_err(malformed)?.into_iter().map(own).collect()
    } else {
        vec![serde_json::from_str(body).map(own).map_err(malformed)?]
    };
    Ok(all)
}

/// Takes events for the command of a lease, each as its JSON. Under an idempotency key those without an id get the same one
/// each time.
///
/// # Errors
/// Whatever a request with them is refused with.
pub(crate) async fn taken(
    inner: &Inner,
    grant: &Grant,
    lease: &Lease,
    texts: &[String],
    (to_everyone, key): (bool, Option<&str>),
) -> Result<Response, Rejected> {
    let told = match inner.counter.told(lease).await {
        Ok(told) => told,
        Err(none) => return again(texts, none),
    };
    let settings = inner.settings(&lease.project).await.map_err(|away| Rejected::from(&away))?;
    let to_everyone = to_everyone || tidings_commands::answers_are_for_everyone(&settings.settings);
    let events = events(inner, (lease, grant), (texts, key), &told, &settings, to_everyone).await?;
    let facts = Facts::of(&events);
    let weight = facts.weight();
    if weight > inner.weight_max {
        let detail = "as they are stored, the events take more than can wait to be written";
        return Err(Rejected::new(ErrorCode::RequestTooLarge, detail));
    }
    let counted = inner.count(&lease.project, grant, &settings, (events.len(), weight)).await?;
    // Whatever it says, it works on it from here on.
    if let Err(none) = inner.counter.step(lease, LeaseAct::Accept).await {
        counted.give_back();
        return again(texts, none);
    }
    if let Err(rejected) = inner.put_alarms(&lease.project, &events).await {
        counted.give_back();
        return Err(rejected);
    }
    inner.counter.owners().note_answers(&lease.project, &events);
    let asked = questions(&events);
    let last = events.last().filter(|event| is_final(&event.r#type));
    let last = last.map(|event| (event.r#type.clone(), event.id.clone()));
    let options = Options { deadline: tokio::time::Instant::now() + inner.deadline, jumps: Jumps::default() };
    let began = Instant::now();
    let outcomes = inner.writers.submit(&lease.project, events, options).await;
    observe(&inner.metrics.append_seconds, began);
    if outcomes.as_ref().is_err_and(answer::is_untouched) {
        counted.give_back();
    }
    let all: Vec<Option<&Outcome>> = match &outcomes {
        Ok(outcomes) => outcomes.iter().map(Some).collect(),
        Err(SubmitError { results, .. }) => results.iter().map(Option::as_ref).collect(),
    };
    inner.tenants.on_appended(&lease.project, facts.count(all.iter().copied(), &inner.metrics.facts));
    inner.tell_decided(&lease.project, asked, &all).await?;
    if let (Some((kind, id)), Some(Some(outcome))) = (last, all.last()) {
        stands(inner, lease, (&kind, &id), outcome, all.len()).await?;
    }
    answer::whole(outcomes)
}

/// Settles the command if its final answer stands.
///
/// # Errors
/// The event was known already, so that nothing was written, and what stands is no answer to this command, or another one.
async fn stands(
    inner: &Inner,
    lease: &Lease,
    (kind, id): (&str, &str),
    outcome: &Outcome,
    of: usize,
) -> Result<(), Rejected> {
    let guarded = match outcome {
        Outcome::Appended { .. } => {
            inner.counter.metrics().on_answered(kind);
            None
        }
        Outcome::Settled { .. } => None,
        Outcome::Duplicate { .. } => {
            let Some(first) = inner.counter.answer_of(lease).await? else {
                let expected = "another event has this id, and the command has no answer by it";
                let fault = FieldProblem::new(ErrorCode::InvalidEvent).field("id").expected(expected);
                let fault = Fault { errors: vec![fault], ..Fault::new(ErrorCode::InvalidEvent, expected) };
                return Err(fault.at(of.saturating_sub(1) as u64).into());
            };
            Some(first)
        }
        Outcome::OutOfSequence { .. } | Outcome::Fenced { .. } => return Ok(()),
    };
    inner.counter.settle(&lease.project, vec![lease.id.clone()]).await;
    match guarded {
        Some(first) if !splice::is_same(&first.note, id) => Err(Refusal::from(NoLease::Answered(first)).into()),
        Some(_) | None => Ok(()),
    }
}

/// The events as they are to be stored.
async fn events(
    inner: &Inner,
    (lease, grant): (&Lease, &Grant),
    (texts, key): (&[String], Option<&str>),
    told: &Told,
    settings: &Effective,
    to_everyone: bool,
) -> Result<Vec<wire::Event>, Rejected> {
    let filled = texts
        .iter()
        .zip(0..)
        .map(|(text, index)| splice::fill(text, told, &lease.runner).map_err(|fault| fault.at(index)));
    let filled: Vec<String> = filled.collect::<Result<_, Fault>>()?;
    let events = parsed(inner, lease, &format!("[{}]", filled.join(",")), key)?;
    // Redaction makes state and text anew: what an event is for, and what its guard says, comes behind it.
    let redacted = inner.redact(settings, events).await.into_iter().zip(0..);
    let redacted = redacted.map(|(event, index)| event.map_err(|fault| fault.at(index)));
    let mut events: Vec<wire::Event> = redacted.collect::<Result<_, Fault>>()?;
    if !inner.rights.is_open() {
        for event in &mut events {
            approval::sign(event, grant.subject());
        }
    }
    splice::address(&mut events, told, to_everyone)?;
    Ok(events)
}

fn parsed(inner: &Inner, lease: &Lease, json: &str, key: Option<&str>) -> Result<Vec<wire::Event>, Fault> {
    let mut ids = Ids::default();
    let mut next_id = || ids.next();
    let mut intake = Intake {
        limits: &inner.limits,
        received_ms: unix_ms(),
        next_id: &mut next_id,
        default_runner: Some(&lease.runner),
        default_traceparent: None,
        idempotency_key: key,
    };
    intake::parse_body(json.as_bytes(), &mut intake)
}

/// There is no lease. Where the final answer that stands is the one that is posted, it was taken before: the runner did not
/// hear so.
fn again(texts: &[String], none: NoLease) -> Result<Response, Rejected> {
    if let NoLease::Answered(Guarded { position, note }) = &none {
        let ids: Option<Vec<Cow<'_, str>>> = texts.iter().map(|text| id_of(text)).collect();
        if let Some(ids) = ids.filter(|ids| ids.last().is_some_and(|last| splice::is_same(note, last))) {
            let last = ids.len() - 1;
            let result = |(at, id): (usize, Cow<'_, str>)| EventResult {
                id: id.into_owned(),
                position: (at == last).then_some(*position),
                status: EventStatus::Duplicate,
            };
            let results = ids.into_iter().enumerate().map(result).collect();
            let published = Published { results, position: Some(*position) };
            let body = serde_json::to_vec(&published).expect("results have string keys only");
            return Ok(json(StatusCode::OK, body));
        }
    }
    Err(Refusal::from(none).into())
}

fn id_of(event: &str) -> Option<Cow<'_, str>> {
    #[derive(serde::Deserialize)]
    struct Outline<'a> {
        #[serde(borrow)]
        id: Cow<'a, str>,
    }
    serde_json::from_str::<Outline<'_>>(event).ok().map(|outline| outline.id)
}
