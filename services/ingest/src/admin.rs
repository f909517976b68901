//! Keys, members and settings of projects over HTTP, for those with the scope `admin`.
//!
//! Whoever may administrate a project may give any right in it, to others and to itself, and in no other project. What is
//! changed here takes effect within two seconds on every service: it is read through short-lived caches.

pub(crate) mod keys;
pub(crate) mod members;
pub(crate) mod settings;

use axum::Json;
use axum::body::{Body, Bytes};
use axum::response::{IntoResponse, Response};
use serde::Serialize;
use serde::de::DeserializeOwned;
use serde_json::Value;
use tidings_broker::{CallError, NothingWhy, ReadError};
use tidings_protocol::codes::ErrorCode;
use tidings_protocol::problem::{FieldProblem, Problem};
use tidings_protocol::project::{Project, ProjectError};
use tidings_protocol::settings::SETTINGS_BYTES_MAX;

use crate::answer::Rejected;
use crate::describe::ProblemBody;

/// What each of these routes may be refused with.
#[derive(utoipa::IntoResponses)]
#[allow(dead_code, reason = "describes bytes that are written elsewhere")]
pub(crate) enum Refusals {
    /// Not understood.
    #[response(status = 400, content_type = "application/problem+json")]
    Malformed(ProblemBody),
    /// There is no credential, or none that is good: `WWW-Authenticate` says why.
    #[response(status = 401, content_type = "application/problem+json")]
    Unauthenticated(ProblemBody),
    /// The credential does not have the scope `admin` here; or it is not taken from here.
    #[response(status = 403, content_type = "application/problem+json")]
    Forbidden(ProblemBody),
    /// Not now: nothing was changed.
    #[response(status = 503, content_type = "application/problem+json")]
    Away(ProblemBody),
}

/// Largest body of these routes, in bytes.
const BODY_BYTES_MAX: usize = SETTINGS_BYTES_MAX;

fn project_of(name: &str) -> Result<Project, Rejected> {
    name.parse().map_err(|error: ProjectError| Rejected::new(ErrorCode::InvalidProject, error.to_string()))
}

fn not_text() -> Rejected {
    Rejected::new(ErrorCode::InvalidUtf8, "the path is not UTF-8")
}

/// A body of JSON.
async fn json_of(body: Body) -> Result<Value, Rejected> {
    json(&bytes_of(body).await?)
}

fn json(bytes: &[u8]) -> Result<Value, Rejected> {
    serde_json::from_slice(bytes)
        .map_err(|error| Rejected::new(ErrorCode::MalformedJson, format!("malformed JSON: {error}")))
}

async fn bytes_of(body: Body) -> Result<Bytes, Rejected> {
    axum::body::to_bytes(body, BODY_BYTES_MAX).await.map_err(|_| {
        let detail = format!("the body is cut, or larger than {BODY_BYTES_MAX} bytes");
        Rejected::new(ErrorCode::RequestTooLarge, detail)
    })
}

/// A body that must have this shape; an empty one is an empty object.
async fn shaped<T: DeserializeOwned>(body: Body) -> Result<T, Rejected> {
    let bytes = bytes_of(body).await?;
    let json = if bytes.trim_ascii().is_empty() { Value::Object(serde_json::Map::new()) } else { json(&bytes)? };
    if !json.is_object() {
        return Err(invalid(FieldProblem::new(ErrorCode::InvalidField), "expected an object"));
    }
    serde_json::from_value(json)
        .map_err(|error| invalid(FieldProblem::new(ErrorCode::InvalidField), &error.to_string()))
}

fn invalid(fault: FieldProblem, detail: &str) -> Rejected {
    Problem::new(ErrorCode::InvalidField, detail).with(fault).into()
}

/// Something else than events was asked of the store, and failed.
fn call_failed(error: &CallError) -> Rejected {
    let (code, detail) = match error {
        CallError::Nothing(NothingWhy::Memory | NothingWhy::OverShare) => {
            (ErrorCode::MemoryPressure, "the store is out of memory; nothing was changed")
        }
        CallError::Nothing(_) => (ErrorCode::RedisAway, "the store is away; nothing was changed"),
        CallError::Unknown(_) => (ErrorCode::OutcomeUnknown, "the store did not answer; it may have been changed"),
    };
    Rejected::new(code, detail)
}

fn read_failed(_: &ReadError) -> Rejected {
    Rejected::new(ErrorCode::RedisAway, "the store is away")
}

fn full(what: &str, limit: usize) -> Rejected {
    let code = ErrorCode::RegistryFull;
    let problem = Problem::new(code, format!("the project has {limit} {what}; remove some first"));
    problem.with(FieldProblem::new(code).limit(limit, limit)).into()
}

/// An answer that no cache keeps: it may hold a secret, and is true for a moment.
fn ok(status: http::StatusCode, body: &impl Serialize) -> Response {
    let no_store = http::HeaderValue::from_static("no-store");
    let mut response = (status, Json(body)).into_response();
    response.headers_mut().insert(http::header::CACHE_CONTROL, no_store);
    response
}

fn answer(inner: &crate::Inner, answered: Result<Response, Rejected>) -> Response {
    match answered {
        Ok(response) => {
            inner.metrics.on_ok();
            response
        }
        Err(rejected) => {
            inner.metrics.on_refused(rejected.code());
            rejected.into_response()
        }
    }
}
