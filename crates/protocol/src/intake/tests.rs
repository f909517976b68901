//! Intake, with small limits and ids that count; by idea in the modules below.

use std::fmt::Write as _;

use super::*;

mod envelope;
mod redaction;
mod refusals;
mod travels;

const RECEIVED_MS: u64 = 1_795_165_200_123;
const RECEIVED: &str = "2026-11-20T09:00:00.123Z";

/// Parses a body with small limits and ids that count: `new-1`, `new-2`, ...
fn parse(body: &[u8]) -> Result<Vec<wire::Event>, Fault> {
    with(|intake| parse_body(body, intake))
}

fn with<R>(run: impl FnOnce(&mut Intake<'_>) -> R) -> R {
    with_key(None, run)
}

/// The same, under an idempotency key.
fn with_key<R>(idempotency_key: Option<&str>, run: impl FnOnce(&mut Intake<'_>) -> R) -> R {
    let limits = EventLimits {
        data_bytes_max: 300,
        request_bytes_max: 2_000,
        batch_events_max: 4,
        line_bytes_max: 500,
        data_depth_max: 4,
    };
    let mut count = 0;
    let mut next_id = || {
        count += 1;
        format!("new-{count}")
    };
    run(&mut Intake {
        limits: &limits,
        received_ms: RECEIVED_MS,
        next_id: &mut next_id,
        default_runner: None,
        default_traceparent: None,
        idempotency_key,
    })
}

fn one(body: &str) -> wire::Event {
    let mut events = parse(body.as_bytes()).expect(body);
    assert_eq!(events.len(), 1);
    events.pop().expect("one event")
}

fn json(event: &wire::Event) -> &str {
    std::str::from_utf8(&event.json).expect("events are UTF-8")
}

/// `code field index limit/actual` of each fault, after the code of the whole.
fn summary(fault: &Fault) -> String {
    let mut out = fault.code.to_string();
    for error in &fault.errors {
        let _ = write!(out, " | {}", error.code);
        if let Some(field) = &error.field {
            let _ = write!(out, " {field}");
        }
        if let Some(index) = error.index {
            let _ = write!(out, " @{index}");
        }
        if let (Some(limit), Some(actual)) = (error.limit, error.actual) {
            let _ = write!(out, " {actual}>{limit}");
        }
    }
    out
}

#[track_caller]
fn check_fault(body: impl AsRef<[u8]>, expected: &str) {
    let body = body.as_ref();
    let fault = parse(body).map(|events| events.len()).expect_err(&String::from_utf8_lossy(body));
    assert_eq!(summary(&fault), expected, "{}", String::from_utf8_lossy(body));
    assert!(!fault.detail.is_empty());
}
