//! The limits on header fields, answered with a problem. The HTTP parser has harder limits of its own behind these
//! ([`super::serve`]): what passes them is refused with a bare status, because it was never a request.

use axum::extract::Request;
use axum::middleware::Next;
use axum::response::{IntoResponse, Response};
use tidings_protocol::codes::ErrorCode;
use tidings_protocol::limits::{HEADER_BYTES_MAX, HEADERS_MAX};
use tidings_protocol::problem::{FieldProblem, Problem};

use super::problem::Refused;

/// Bytes that a field takes beside its name and value: `: ` and the line's end.
const FIELD_OVERHEAD_BYTES: usize = 4;

/// Lets requests within the limits pass, and answers 431 to the others.
pub(super) async fn limited(request: Request, next: Next) -> Response {
    let headers = request.headers();
    let bytes = headers.iter().map(|(name, value)| name.as_str().len() + value.len() + FIELD_OVERHEAD_BYTES).sum();
    let (limit, actual, what) = if headers.len() > HEADERS_MAX {
        (HEADERS_MAX, headers.len(), "fields")
    } else if bytes > HEADER_BYTES_MAX {
        (HEADER_BYTES_MAX, bytes, "bytes")
    } else {
        return next.run(request).await;
    };
    let code = ErrorCode::HeadersTooLarge;
    let problem = Problem::new(code, format!("{actual} {what} of headers; at most {limit} are taken"))
        .with(FieldProblem::new(code).limit(limit, actual));
    Refused::from(problem).into_response()
}
