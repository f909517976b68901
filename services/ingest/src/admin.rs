//! Keys, members and settings of projects over HTTP, for those with the scope `admin`.
//!
//! Whoever may administrate a project may give any right in it, to others and to itself, and in no other project. What is
//! changed here takes effect within two seconds on every service: it is read through short-lived caches. Each change leaves a
//! line in the log ([`audit`]).

pub(crate) mod audit;
pub(crate) mod keys;
pub(crate) mod members;
pub(crate) mod settings;

use axum::Json;
use axum::body::{Body, Bytes};
use axum::response::{IntoResponse, Response};
use http_body_util::{BodyExt as _, LengthLimitError, Limited};
use serde::Serialize;
use serde::de::DeserializeOwned;
use serde_json::Value;
use tidings_broker::{CallError, NothingWhy, ReadError};
use tidings_protocol::codes::ErrorCode;
use tidings_protocol::echo;
use tidings_protocol::problem::{FieldProblem, Problem};
use tidings_protocol::project::{Project, ProjectError};
use tidings_protocol::settings::SETTINGS_BYTES_MAX;

use crate::answer::Rejected;
use crate::body::{BODY_TIME_MAX, discard};
use crate::describe::ProblemBody;
use crate::metrics::Protocol;

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
    /// Too many requests from this address or of this subject were refused.
    #[response(status = 429, content_type = "application/problem+json")]
    Limited(ProblemBody),
    /// Not now: nothing was changed.
    #[response(status = 503, content_type = "application/problem+json")]
    Away(ProblemBody),
}

/// Largest body of these routes, in bytes.
const BODY_BYTES_MAX: usize = SETTINGS_BYTES_MAX;

pub(crate) fn project_of(name: &str) -> Result<Project, Rejected> {
    name.parse().map_err(|error: ProjectError| Rejected::new(ErrorCode::InvalidProject, error.to_string()))
}

/// A body of JSON.
async fn json_of(body: Body) -> Result<Value, Rejected> {
    json(&bytes_of(body).await?)
}

fn json(bytes: &[u8]) -> Result<Value, Rejected> {
    serde_json::from_slice(bytes).map_err(|error| {
        Rejected::new(ErrorCode::MalformedJson, format!("malformed JSON: {}", echo::parse_error(&error)))
    })
}

async fn bytes_of(mut body: Body) -> Result<Bytes, Rejected> {
    let read = tokio::time::timeout(BODY_TIME_MAX, Limited::new(&mut body, BODY_BYTES_MAX).collect()).await;
    let refused = match read {
        Ok(Ok(whole)) => return Ok(whole.to_bytes()),
        Ok(Err(error)) if error.is::<LengthLimitError>() => {
            let detail = format!("the body is larger than {BODY_BYTES_MAX} bytes");
            Rejected::new(ErrorCode::RequestTooLarge, detail)
        }
        Ok(Err(_)) => Rejected::new(ErrorCode::MalformedJson, "the body ended too early"),
        Err(_) => Rejected::new(ErrorCode::RequestTimeout, "the body did not arrive in time"),
    };
    discard(body).await;
    Err(refused)
}

/// A body that must have this shape; an empty one is an empty object.
pub(crate) async fn shaped<T: DeserializeOwned>(body: Body) -> Result<T, Rejected> {
    let bytes = bytes_of(body).await?;
    let json = if bytes.trim_ascii().is_empty() { Value::Object(serde_json::Map::new()) } else { json(&bytes)? };
    if !json.is_object() {
        return Err(invalid(FieldProblem::new(ErrorCode::InvalidField), "expected an object"));
    }
    serde_json::from_value(json)
        .map_err(|error| invalid(FieldProblem::new(ErrorCode::InvalidField), &echo::parse_error(&error)))
}

pub(crate) fn invalid(fault: FieldProblem, detail: &str) -> Rejected {
    Problem::new(ErrorCode::InvalidField, detail).with(fault).into()
}

/// Something else than events was asked of the store, and failed.
pub(crate) fn call_failed(error: &CallError) -> Rejected {
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

pub(crate) fn full(what: &str, limit: usize) -> Rejected {
    let code = ErrorCode::RegistryFull;
    let problem = Problem::new(code, format!("the project has {limit} {what}; remove some first"));
    problem.with(FieldProblem::new(code).limit(limit, limit)).into()
}

/// An answer that no cache keeps: it may hold a secret, and is true for a moment.
pub(crate) fn ok(status: http::StatusCode, body: &impl Serialize) -> Response {
    let no_store = http::HeaderValue::from_static("no-store");
    let mut response = (status, Json(body)).into_response();
    response.headers_mut().insert(http::header::CACHE_CONTROL, no_store);
    response
}

pub(crate) fn answer(inner: &crate::Inner, answered: Result<Response, Rejected>) -> Response {
    match answered {
        Ok(response) => {
            inner.metrics.on_ok(Protocol::Admin);
            response
        }
        Err(rejected) => {
            inner.metrics.on_refused(Protocol::Admin, rejected.code());
            rejected.into_response()
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test(start_paused = true)]
    async fn a_body_is_bounded_in_bytes_and_time() {
        let code = async |body: Body| bytes_of(body).await.err().and_then(|rejected| rejected.code());
        assert_eq!(code(Body::from("{}")).await, None);
        assert_eq!(code(Body::from(vec![b' '; BODY_BYTES_MAX + 1])).await, Some(ErrorCode::RequestTooLarge));
        let silent = futures_util::stream::pending::<Result<Bytes, std::io::Error>>();
        let began = tokio::time::Instant::now();
        assert_eq!(code(Body::from_stream(silent)).await, Some(ErrorCode::RequestTimeout));
        assert!(began.elapsed() < 2 * BODY_TIME_MAX);
        let cut = futures_util::stream::iter([Err::<Bytes, _>(std::io::Error::other("cut"))]);
        assert_eq!(code(Body::from_stream(cut)).await, Some(ErrorCode::MalformedJson));
    }
}
