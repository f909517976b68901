//! From outside bytes to events that may be stored: reading, validation, ids, and what travels beside the payload.
//!
//! Promises: a request is valid as a whole or refused as a whole, with every fault named (at most [`FAULTS_MAX`]);
//! strings and numbers of `data` pass byte for byte, only white space outside strings goes; nothing recurses, whatever the
//! nesting; any bytes are answered. Pure: the clock, ids and the caller's name are passed in. Does not know HTTP, and does
//! not deduplicate: it only gives each event an id that retries repeat.

mod check;
pub mod cloudevents;
mod data;
mod envelope;
mod event;
mod ident;
mod media;
mod redacted;

use crate::codes::ErrorCode;
use crate::echo;
use crate::limits::{EventLimits, FAULTS_MAX, IDEMPOTENCY_KEY_BYTES_MAX, TRACEPARENT_BYTES_MAX};
use crate::problem::{FieldProblem, Problem};
use crate::wire;

pub(crate) use data::string_end;
pub use event::envelope_value;
pub(crate) use event::without_half_pairs;
pub(crate) use ident::push_json;
pub use media::{BodyFormat, body_format};
pub use redacted::redact;

/// What the parser is told about a request, and takes from its surroundings.
pub struct Intake<'a> {
    /// The limits to keep.
    pub limits: &'a EventLimits,
    /// Now, by ingest's clock, in milliseconds since the Unix epoch: becomes `received`.
    pub received_ms: u64,
    /// Gives a new unique id (a ULID) to an event that has none.
    pub next_id: &'a mut dyn FnMut() -> String,
    /// The `runner` of events that name none: the credential's name.
    pub default_runner: Option<&'a str>,
    /// The `traceparent` of events that have none: the request's own, see [`valid_traceparent`].
    pub default_traceparent: Option<&'a str>,
    /// The request's `Idempotency-Key`, checked by [`check_idempotency_key`]: gives ids to events without one.
    pub idempotency_key: Option<&'a str>,
}

/// Why a request was refused, as a whole.
#[derive(Debug, Clone, PartialEq, thiserror::Error)]
#[error("{code}: {detail}")]
pub struct Fault {
    /// The code of all faults, or [`ErrorCode::InvalidEvent`] where they differ.
    pub code: ErrorCode,
    /// A sentence for people. Repeats no more of the client's text than a field's name.
    pub detail: String,
    /// Each fault with its event and field, in the order of the events; at most [`FAULTS_MAX`].
    pub errors: Vec<FieldProblem>,
}

impl Fault {
    /// A fault of the request as a whole.
    pub fn new(code: ErrorCode, detail: impl Into<String>) -> Fault {
        Fault { code, detail: detail.into(), errors: Vec::new() }
    }

    /// The same, in this event of the request.
    pub fn at(mut self, index: u64) -> Fault {
        self.detail = format!("event {index}: {}", self.detail);
        for error in &mut self.errors {
            error.index = Some(index);
        }
        self
    }

    /// A limit of the request as a whole that was passed.
    pub(crate) fn over(code: ErrorCode, detail: &str, limit: usize, actual: usize) -> Fault {
        let detail = format!("{detail}: {actual}, the limit is {limit}");
        Fault { code, detail, errors: vec![FieldProblem::new(code).limit(limit, actual)] }
    }
}

impl From<Fault> for Problem {
    fn from(fault: Fault) -> Problem {
        Problem { errors: fault.errors, ..Problem::new(fault.code, fault.detail) }
    }
}

/// Reads a body of one event or an array of events. Event `i` of an array has index `i`.
pub fn parse_body(body: &[u8], intake: &mut Intake<'_>) -> Result<Vec<wire::Event>, Fault> {
    envelope::read(whole(body, intake.limits)?, envelope::Form::Native, envelope::Shape::Either, 0, intake)
}

/// Reads one line of NDJSON, without its line break; the caller skips blank lines. `index` counts the lines of the whole
/// stream from 0 (a stream that is resumed goes on counting), so that an `Idempotency-Key` gives the same ids again.
pub fn parse_line(line: &[u8], index: u64, intake: &mut Intake<'_>) -> Result<wire::Event, Fault> {
    let limit = intake.limits.line_bytes_max;
    if line.len() > limit {
        return Err(Fault::over(ErrorCode::LineTooLarge, "bytes in the line", limit, line.len()));
    }
    let mut events = envelope::read(utf8(line)?, envelope::Form::Native, envelope::Shape::One, index, intake)?;
    Ok(events.pop().expect("one event was read, or a fault was returned"))
}

/// Checks an `Idempotency-Key`: not empty, at most [`IDEMPOTENCY_KEY_BYTES_MAX`] bytes, no control characters.
pub fn check_idempotency_key(key: &str) -> Result<(), Fault> {
    let detail = if key.is_empty() {
        "Idempotency-Key is empty"
    } else if key.len() > IDEMPOTENCY_KEY_BYTES_MAX {
        let (limit, actual) = (IDEMPOTENCY_KEY_BYTES_MAX, key.len());
        return Err(Fault::over(ErrorCode::InvalidHeader, "bytes in Idempotency-Key", limit, actual));
    } else if key.chars().any(char::is_control) {
        "Idempotency-Key has control characters"
    } else {
        return Ok(());
    };
    Err(Fault::new(ErrorCode::InvalidHeader, detail))
}

/// A `traceparent` header as W3C Trace Context wants it to be taken: one that is not valid is as good as none.
pub fn valid_traceparent(text: &str) -> Option<&str> {
    (text.len() <= TRACEPARENT_BYTES_MAX && ident::is_traceparent(text)).then_some(text)
}

/// Whether a `traceparent` (empty: none) says that its trace is sampled: the lowest bit of the flags behind version, trace
/// and parent (W3C Trace Context, 3.2.2.5).
pub fn is_sampled(traceparent: &str) -> bool {
    let flags = traceparent.get(53..55).and_then(|flags| u8::from_str_radix(flags, 16).ok());
    flags.is_some_and(|flags| flags & 1 == 1)
}

/// A whole body as text, within the limits.
fn whole<'b>(body: &'b [u8], limits: &EventLimits) -> Result<&'b str, Fault> {
    let limit = limits.request_bytes_max;
    if body.len() > limit {
        return Err(Fault::over(ErrorCode::RequestTooLarge, "bytes in the request", limit, body.len()));
    }
    utf8(body)
}

fn utf8(bytes: &[u8]) -> Result<&str, Fault> {
    std::str::from_utf8(bytes)
        .map_err(|error| Fault::new(ErrorCode::InvalidUtf8, format!("invalid UTF-8 at byte {}", error.valid_up_to())))
}

fn malformed(error: &serde_json::Error) -> Fault {
    Fault::new(ErrorCode::MalformedJson, format!("malformed JSON: {}", echo::parse_error(error)))
}

/// Collects the faults of a request's events.
#[derive(Debug, Default)]
struct Faults {
    /// The first of them.
    list: Vec<FieldProblem>,
    /// All of them.
    count: usize,
    /// The code that all share so far.
    code: Option<ErrorCode>,
}

impl Faults {
    /// Notes a fault of event `index`.
    fn add(&mut self, index: u64, code: ErrorCode, field: &str, fault: impl FnOnce(FieldProblem) -> FieldProblem) {
        self.code = match self.code {
            None => Some(code),
            Some(same) if same == code => Some(code),
            Some(_) => Some(ErrorCode::InvalidEvent),
        };
        self.count += 1;
        if self.list.len() < FAULTS_MAX {
            let plain = FieldProblem::new(code).at(index);
            self.list.push(fault(if field.is_empty() { plain } else { plain.field(field) }));
        }
    }

    /// Ok if there is none.
    fn into_result(self) -> Result<(), Fault> {
        let (Some(code), Some(first)) = (self.code, self.list.first()) else { return Ok(()) };
        let place = first.field.as_ref().map_or_else(String::new, |field| format!("`{field}`: "));
        let what = match (&first.detail, first.limit, first.actual) {
            (Some(expected), ..) => expected.to_string(),
            (None, Some(limit), Some(actual)) => format!("{actual}, the limit is {limit}"),
            (None, ..) => ErrorCode::parse(&first.code).unwrap_or(code).title().to_lowercase(),
        };
        let more = if self.count > 1 { format!("; {} more", self.count - 1) } else { String::new() };
        let detail = format!("event {}: {place}{what}{more}", first.index.unwrap_or_default());
        Err(Fault { code, detail, errors: self.list })
    }
}

#[cfg(test)]
mod tests;
