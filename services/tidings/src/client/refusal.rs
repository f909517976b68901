//! A server's no: the problem that it answers with, in words for people.

use std::fmt;
use std::time::Duration;

use bytes::Bytes;
use reqwest::{Response, StatusCode};
use tidings_protocol::codes::ErrorCode;
use tidings_protocol::problem::Problem;

use crate::terminal::plain::plain;

/// Bytes of a refusal's body that are read.
const BODY_BYTES_MAX: usize = 64 * 1024;

/// Faults that are shown; the number of the others is.
const FAULTS_SHOWN: usize = 5;

/// An answer that is not a success.
#[derive(Debug)]
pub(crate) struct Refusal {
    status: StatusCode,
    problem: Option<Problem>,
    retry_after: Option<Duration>,
}

impl Refusal {
    /// Reads it. Never fails: what cannot be read is left out.
    pub(crate) async fn read(mut response: Response) -> Refusal {
        let status = response.status();
        let seconds = response.headers().get(reqwest::header::RETRY_AFTER).and_then(|value| value.to_str().ok());
        let retry_after = seconds.and_then(|text| text.trim().parse().ok()).map(Duration::from_secs);
        let mut body = Vec::new();
        while let Ok(Some(chunk)) = response.chunk().await {
            let chunk: Bytes = chunk;
            body.extend_from_slice(&chunk);
            if body.len() > BODY_BYTES_MAX {
                break;
            }
        }
        Refusal { status, problem: serde_json::from_slice(&body).ok(), retry_after }
    }

    /// Whether the same request may succeed later.
    pub(crate) fn may_pass(&self) -> bool {
        let known = self.problem.as_ref().and_then(Problem::error_code);
        let by_status = self.status.is_server_error()
            || matches!(self.status, StatusCode::REQUEST_TIMEOUT | StatusCode::TOO_MANY_REQUESTS);
        known.map_or(by_status, ErrorCode::is_retryable)
    }

    /// When to come back, if the server says.
    pub(crate) fn retry_after(&self) -> Option<Duration> {
        self.retry_after
    }
}

impl fmt::Display for Refusal {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Some(problem) = &self.problem else {
            write!(f, "{}", self.status)?;
            return if self.status == StatusCode::NOT_FOUND {
                f.write_str("; does a Tidings server listen at this address?")
            } else {
                Ok(())
            };
        };
        let detail = if problem.detail.is_empty() { &*problem.title } else { &*problem.detail };
        write!(f, "{} ({}, {})", plain(detail), self.status.as_u16(), plain(&problem.code))?;
        // One fault is the detail already.
        if problem.errors.len() > 1 {
            for fault in problem.errors.iter().take(FAULTS_SHOWN) {
                let at = fault.index.map_or_else(String::new, |index| format!("event {index}: "));
                let field = fault.field.as_deref().unwrap_or_default();
                let what = fault.detail.as_deref().unwrap_or(&fault.code);
                write!(f, "\n  {at}{} {}", plain(field), plain(what))?;
            }
            let more = problem.errors.len().saturating_sub(FAULTS_SHOWN);
            if more > 0 {
                write!(f, "\n  and {more} more")?;
            }
        }
        Ok(())
    }
}
