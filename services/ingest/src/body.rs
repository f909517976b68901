//! Whole bodies: read, unpacked, and bounded in bytes and time. What is held counts against the service's budget.

use std::time::{Duration, Instant};

use axum::body::{Body, HttpBody as _};
use http::header;
use http_body_util::BodyExt as _;
use tidings_log::writer::budget::Part;
use tidings_protocol::codes::ErrorCode;
use tidings_protocol::problem::{FieldProblem, Problem};

use crate::Inner;
use crate::answer::Rejected;
use crate::metrics::observe;
use crate::unpack::{Encoding, Malformed, Unpacker};

/// How long a whole body may take to arrive.
pub(crate) const BODY_TIME_MAX: Duration = Duration::from_secs(30);

/// How much of a refused body is read and thrown away, so that its sender gets to read the answer: a socket that is closed
/// with bytes unread resets the connection, and the answer is lost with it.
const DISCARD_BYTES_MAX: usize = 32 * 1024 * 1024;

/// For how long.
const DISCARD_TIME_MAX: Duration = Duration::from_secs(2);

/// A body and its share of the budget.
pub(crate) struct Whole {
    pub(crate) bytes: Vec<u8>,
    _part: Part,
}

/// Reads a body whole. `asked_first`: the client waits for a word before it sends (`Expect: 100-continue`).
pub(crate) async fn whole(
    mut body: Body,
    encoding: Encoding,
    asked_first: bool,
    inner: &Inner,
) -> Result<Whole, Rejected> {
    let began = Instant::now();
    let bytes_max = inner.limits.request_bytes_max;
    let announced = body.size_hint().lower();
    let result = if announced > bytes_max as u64 {
        // Packed or not: what is too large to read is too large.
        let actual = usize::try_from(announced).unwrap_or(usize::MAX);
        Err(too_large(bytes_max, Some(actual)))
    } else {
        match tokio::time::timeout(BODY_TIME_MAX, read(&mut body, encoding, inner)).await {
            Ok(result) => result,
            Err(_) => Err(Rejected::new(ErrorCode::RequestTimeout, "the body did not arrive in time")),
        }
    };
    observe(&inner.metrics.read_seconds, began);
    // Reading on would only now tell the client to send.
    if result.is_err() && !(asked_first && announced > bytes_max as u64) {
        discard(body).await;
    }
    result
}

async fn read(body: &mut Body, encoding: Encoding, inner: &Inner) -> Result<Whole, Rejected> {
    let busy = || Rejected::new(ErrorCode::Busy, "too many requests are in work");
    let bytes_max = inner.limits.request_bytes_max;
    let mut part = inner.budget.share(0).ok_or_else(busy)?;
    let _window = inner.windows.take(encoding).await.ok_or_else(busy)?;
    let mut unpacker = Unpacker::new(encoding);
    let mut bytes = Vec::new();
    while let Some(frame) = body.frame().await {
        let frame = frame.map_err(|_| Rejected::new(ErrorCode::MalformedJson, "the body ended too early"))?;
        let Ok(chunk) = frame.into_data() else { continue };
        let mut input = &chunk[..];
        loop {
            let before = bytes.len();
            let more = unpacker.step(&mut input, &mut bytes).map_err(malformed)?;
            if !part.grow(bytes.len() - before) {
                return Err(busy());
            }
            if bytes.len() > bytes_max {
                return Err(too_large(bytes_max, None));
            }
            if !more {
                break;
            }
        }
    }
    unpacker.finish().map_err(malformed)?;
    Ok(Whole { bytes, _part: part })
}

fn malformed(error: Malformed) -> Rejected {
    Rejected::new(ErrorCode::MalformedEncoding, error.to_string())
}

fn too_large(limit: usize, actual: Option<usize>) -> Rejected {
    let code = ErrorCode::RequestTooLarge;
    let fault = FieldProblem {
        limit: Some(limit as u64),
        actual: actual.map(|actual| actual as u64),
        ..FieldProblem::new(code)
    };
    Problem::new(code, format!("a request has at most {limit} bytes, unpacked")).with(fault).into()
}

/// Reads on for a while, and throws away what comes.
pub(crate) async fn discard(mut body: Body) {
    let all = async {
        let mut left = DISCARD_BYTES_MAX;
        while let Some(Ok(frame)) = body.frame().await {
            let bytes = frame.data_ref().map_or(0, bytes::Bytes::len);
            match left.checked_sub(bytes) {
                Some(rest) => left = rest,
                None => return,
            }
        }
    };
    // Whoever sends more than this may lose the answer.
    let _ = tokio::time::timeout(DISCARD_TIME_MAX, all).await;
}

/// Whether the client waits for a word before it sends its body.
pub(crate) fn asks_first(headers: &http::HeaderMap) -> bool {
    headers.get(header::EXPECT).is_some_and(|expect| expect.as_bytes().eq_ignore_ascii_case(b"100-continue"))
}
