//! Problem bodies (RFC 9457) as answers, and the ones that no service gives: no such route, no such method, a panic.

use std::any::Any;
use std::panic::AssertUnwindSafe;

use axum::extract::Request;
use axum::middleware::Next;
use axum::response::{IntoResponse, Response};
use futures_util::FutureExt;
use http::{HeaderName, HeaderValue, Method, StatusCode, Uri, header};
use tidings_protocol::codes::ErrorCode;
use tidings_protocol::echo;
use tidings_protocol::problem::{PROBLEM_MEDIA_TYPE, Problem};

/// A refusal: the error side of every handler. `?` turns a [`Problem`] into it.
#[derive(Debug, Clone)]
pub struct Refused {
    problem: Box<Problem>,
    retry_after_seconds: Option<u32>,
    header: Option<Box<(HeaderName, HeaderValue)>>,
}

impl Refused {
    /// A refusal of this code with a sentence about this occurrence.
    pub fn new(code: ErrorCode, detail: impl Into<String>) -> Refused {
        Refused::from(Problem::new(code, detail))
    }

    /// The same with a `Retry-After` header, in whole seconds.
    pub fn retry_after(mut self, seconds: u32) -> Refused {
        self.retry_after_seconds = Some(seconds);
        self
    }

    /// The same with this header, in place of another that was given so.
    pub fn with_header(mut self, name: HeaderName, value: HeaderValue) -> Refused {
        self.header = Some(Box::new((name, value)));
        self
    }

    /// What is answered.
    pub fn problem(&self) -> &Problem {
        &self.problem
    }
}

impl From<Problem> for Refused {
    fn from(problem: Problem) -> Refused {
        Refused { problem: Box::new(problem), retry_after_seconds: None, header: None }
    }
}

impl IntoResponse for Refused {
    fn into_response(self) -> Response {
        let status = StatusCode::from_u16(self.problem.status).unwrap_or(StatusCode::INTERNAL_SERVER_ERROR);
        let mut response = (status, self.problem.to_json()).into_response();
        let headers = response.headers_mut();
        headers.insert(header::CONTENT_TYPE, HeaderValue::from_static(PROBLEM_MEDIA_TYPE));
        // A refusal is about this moment; no cache may give it to a later request.
        headers.insert(header::CACHE_CONTROL, HeaderValue::from_static("no-store"));
        if let Some(seconds) = self.retry_after_seconds {
            headers.insert(header::RETRY_AFTER, seconds.into());
        }
        if let Some((name, value)) = self.header.map(|header| *header) {
            headers.insert(name, value);
        }
        response
    }
}

/// The answer to a path that no service has.
pub(super) async fn no_route(uri: Uri) -> Refused {
    Refused::new(ErrorCode::NotFound, format!("there is nothing at {}", echo::text(uri.path())))
}

/// The answer to a method that a path does not have; `Allow` is added by the router.
pub(super) async fn no_method(method: Method, uri: Uri) -> Refused {
    let detail = format!("{} does not take {}", echo::text(uri.path()), echo::text(method.as_str()));
    Refused::new(ErrorCode::MethodNotAllowed, detail)
}

/// Answers 500 where a handler panics, so that a fault costs one request and not its connection. What the panic said is
/// in the log, never in the answer.
pub(super) async fn in_place_of_panics(request: Request, next: Next) -> Response {
    match AssertUnwindSafe(next.run(request)).catch_unwind().await {
        Ok(response) => response,
        Err(panic) => {
            tracing::error!(panic = panic_message(panic.as_ref()), "a handler panicked");
            Refused::new(ErrorCode::Internal, "the service failed; its log says more").into_response()
        }
    }
}

fn panic_message(panic: &(dyn Any + Send)) -> &str {
    panic.downcast_ref::<&str>().copied().or_else(|| panic.downcast_ref::<String>().map(String::as_str)).unwrap_or("?")
}
