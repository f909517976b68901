//! How answers look to this system's clients: JSON always, refusals in their shapes, hints for those who poll.

use axum::body::{Body, to_bytes};
use axum::extract::Request;
use axum::middleware::Next;
use axum::response::{IntoResponse, Response};
use http::header::{CACHE_CONTROL, CONTENT_LENGTH, CONTENT_TYPE, ETAG, IF_NONE_MATCH, RETRY_AFTER};
use http::{HeaderMap, HeaderValue, StatusCode, response};
use serde::Deserialize;
use tidings_dialects::agent_swarm::polling::{self, POLL_INTERVAL};
use tidings_dialects::agent_swarm::refusals::{Fault, Refusal};
use tidings_protocol::codes::ErrorCode;
use tidings_protocol::echo;
use tidings_protocol::position::Position;
use tidings_protocol::problem::PROBLEM_MEDIA_TYPE;
use tidings_runtime::http::problem::Refused;

use super::super::now_ms;
use crate::http::params;

/// Largest problem body that is read to be said in other words.
const PROBLEM_BYTES_MAX: usize = 64 * 1024;

/// Why a request is not answered.
pub(super) enum Failure {
    /// In our words, which [`in_their_words`] translates.
    Ours(Refused),
    /// In theirs.
    Theirs(Refusal),
}

impl From<Refused> for Failure {
    fn from(refused: Refused) -> Failure {
        Failure::Ours(refused)
    }
}

impl From<Refusal> for Failure {
    fn from(refusal: Refusal) -> Failure {
        Failure::Theirs(refusal)
    }
}

impl IntoResponse for Failure {
    fn into_response(self) -> Response {
        match self {
            Failure::Ours(refused) => refused.into_response(),
            Failure::Theirs(refusal) => refusing(&refusal),
        }
    }
}

fn refusing(refusal: &Refusal) -> Response {
    let status = StatusCode::from_u16(refusal.status()).unwrap_or(StatusCode::INTERNAL_SERVER_ERROR);
    let mut response = (status, json(refusal.body().to_string())).into_response();
    if let Refusal::RateLimited { retry_after_s } = refusal {
        response.headers_mut().insert(RETRY_AFTER, (*retry_after_s).into());
    }
    response
}

/// A JSON answer that no cache may keep.
pub(super) fn json(body: String) -> Response {
    ([(CONTENT_TYPE, "application/json"), (CACHE_CONTROL, "no-store")], body).into_response()
}

/// Middleware: says our refusals in their words, whoever made them. No refusal goes out that is no JSON.
pub(super) async fn in_their_words(request: Request, next: Next) -> Response {
    let response = next.run(request).await;
    let status = response.status();
    let kind = response.headers().get(CONTENT_TYPE);
    let is_problem = kind.is_some_and(|kind| kind == PROBLEM_MEDIA_TYPE);
    let is_other =
        (status.is_client_error() || status.is_server_error()) && kind.is_none_or(|kind| kind != "application/json");
    if !is_problem && !is_other {
        return response;
    }
    let (mut head, body) = response.into_parts();
    let refusal = if is_problem {
        translated(&head, body).await
    } else {
        let detail = status.canonical_reason().unwrap_or("Refused").to_owned();
        Refusal::Other { status: status.as_u16(), detail }
    };
    head.status = StatusCode::from_u16(refusal.status()).unwrap_or(status);
    head.headers.insert(CONTENT_TYPE, HeaderValue::from_static("application/json"));
    head.headers.remove(CONTENT_LENGTH);
    Response::from_parts(head, Body::from(refusal.body().to_string()))
}

/// What a problem is in their words.
async fn translated(head: &response::Parts, body: Body) -> Refusal {
    #[derive(Deserialize)]
    struct Problem {
        code: String,
        detail: String,
    }
    let read = to_bytes(body, PROBLEM_BYTES_MAX).await.ok();
    let problem = read.and_then(|bytes| serde_json::from_slice::<Problem>(&bytes).ok());
    let (code, detail) = problem.map_or((ErrorCode::Internal, String::new()), |problem| {
        (ErrorCode::parse(&problem.code).unwrap_or(ErrorCode::Internal), problem.detail)
    });
    let retry_after_s = head.headers.get(RETRY_AFTER).and_then(|seconds| seconds.to_str().ok()?.parse().ok());
    Refusal::from_code(code, detail, retry_after_s)
}

/// The answer to a path that this system does not have.
pub(super) async fn no_route() -> Failure {
    Refusal::Other { status: 404, detail: "Not Found".into() }.into()
}

/// The answer to a method that a path does not have.
pub(super) async fn no_method() -> Failure {
    Refusal::Other { status: 405, detail: "Method Not Allowed".into() }.into()
}

/// What an answer depends on.
#[derive(Debug, Clone, Copy)]
pub(super) struct Basis {
    /// The head of the log.
    pub position: Position,
}

impl Basis {
    /// Whether the client has the answer already; then this is what it gets.
    pub(super) fn unchanged(self, headers: &HeaderMap) -> Option<Response> {
        let tag = polling::etag(self.position);
        let known = headers.get_all(IF_NONE_MATCH).iter().filter_map(|value| value.to_str().ok());
        let is_known = { known }.any(|known| polling::is_unchanged(known, &tag));
        is_known.then(|| self.with_hints(StatusCode::NOT_MODIFIED.into_response()))
    }

    /// An answer that is good for as long as nothing is written.
    pub(super) fn json(self, body: String) -> Response {
        self.with_hints(([(CONTENT_TYPE, "application/json")], body).into_response())
    }

    fn with_hints(self, mut response: Response) -> Response {
        let headers = response.headers_mut();
        let text = |text: String| HeaderValue::from_str(&text).expect("positions and numbers are ASCII");
        headers.insert(ETAG, text(polling::etag(self.position)));
        // Kept by its client alone, and shown again only when the server says that it is still so.
        headers.insert(CACHE_CONTROL, HeaderValue::from_static("private, no-cache"));
        let interval_s = polling::interval_s(self.position.ms(), now_ms());
        headers.insert(POLL_INTERVAL, interval_s.into());
        response
    }
}

/// The whole numbers of a query, each with its least, its most and what it is otherwise. Other parameters are not looked at.
///
/// # Errors
/// Every one that is none, or out of bounds.
pub(super) fn numbers<const N: usize>(
    query: Option<&str>,
    wanted: [(&str, u32, u32, u32); N],
) -> Result<[u32; N], Refusal> {
    let pairs = params::all_pairs(query);
    let mut faults = Vec::new();
    let numbers = wanted.map(|(name, least, most, default)| {
        let Some((_, value)) = pairs.iter().rev().find(|(other, _)| other == name) else { return default };
        let mut fault = |kind, msg: String| {
            faults.push(Fault::of("query", name, kind, msg));
            default
        };
        match value.parse::<i64>() {
            Err(_) => {
                let msg = "Input should be a valid integer, unable to parse string as an integer";
                fault("int_parsing", format!("{msg}: {}", echo::text(value)))
            }
            Ok(number) if number < least.into() => {
                fault("greater_than_equal", format!("Input should be greater than or equal to {least}"))
            }
            Ok(number) => match u32::try_from(number) {
                Ok(number) if number <= most => number,
                _ => fault("less_than_equal", format!("Input should be less than or equal to {most}")),
            },
        }
    });
    if faults.is_empty() { Ok(numbers) } else { Err(Refusal::Invalid(faults)) }
}
