//! A group of lines: what arrived together is appended together, and answered line by line, in order.

use std::time::Instant;

use serde::Serialize;
use tidings_commands::approval;
use tidings_log::writer::{Failure, Item, Jumps, Options, SubmitError};
use tidings_protocol::codes::ErrorCode;
use tidings_protocol::grant::Grant;
use tidings_protocol::intake::{self, Fault, Intake};
use tidings_protocol::problem::FieldProblem;
use tidings_protocol::wire;
use tidings_registry::Effective;

use super::{BUSY_PAUSE, End, GROUP_BYTES, GROUP_LINES, GROUP_REFUSALS_BYTES};
use crate::Inner;
use crate::answer::{self, EventResult};
use crate::clock::{Ids, unix_ms};
use crate::commands::approvals::questions;
use crate::commands::decisions;
use crate::facts::Facts;
use crate::lines::Line;
use crate::metrics::observe;
use crate::publish::Head;
use crate::rates::Counted;
use crate::traced::Traced;

/// What the answer to an event takes at most, beside its id: a position, or what a producer's sequence expected.
const RESULT_BYTES_MAX: usize = 384;

/// Lines that arrived together.
pub(super) struct Group {
    next_line: u64,
    received_ms: u64,
    ids: Ids,
    events: Vec<wire::Event>,
    /// In their order: an event's line, or a faulty one's answer as it is written.
    lines: Vec<(u64, Option<Vec<u8>>)>,
    bytes: usize,
    /// Of all answers to faulty lines.
    refusals_bytes: usize,
    /// What answers to the others may take.
    results_bytes_max: usize,
}

/// What became of a group.
#[derive(Default)]
pub(super) struct Told {
    pub(super) accepted: u64,
    pub(super) rejected: u64,
    /// Why the stream ends here.
    pub(super) end: Option<End>,
}

/// Why a line was not taken.
#[derive(Debug, Serialize)]
pub(super) struct LineError {
    code: String,
    #[serde(skip_serializing_if = "String::is_empty")]
    detail: String,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    errors: Vec<FieldProblem>,
}

impl From<Fault> for LineError {
    fn from(mut fault: Fault) -> LineError {
        // The line's number says which event it is.
        for error in &mut fault.errors {
            error.index = None;
        }
        LineError { code: fault.code.to_string(), detail: fault.detail, errors: fault.errors }
    }
}

impl From<FieldProblem> for LineError {
    fn from(fault: FieldProblem) -> LineError {
        let (code, detail) = (fault.code.to_string(), fault.detail.clone().unwrap_or_default().into_owned());
        let errors = if fault.field.is_some() || fault.limit.is_some() { vec![fault] } else { Vec::new() };
        LineError { code, detail, errors }
    }
}

impl Group {
    /// An empty group whose first line has this number.
    pub(super) fn new(next_line: u64) -> Group {
        Group {
            next_line,
            received_ms: unix_ms(),
            ids: Ids::default(),
            events: Vec::new(),
            lines: Vec::new(),
            bytes: 0,
            refusals_bytes: 0,
            results_bytes_max: 0,
        }
    }

    pub(super) fn is_empty(&self) -> bool {
        self.lines.is_empty()
    }

    pub(super) fn is_full(&self) -> bool {
        self.bytes >= GROUP_BYTES || self.lines.len() >= GROUP_LINES || self.refusals_bytes >= GROUP_REFUSALS_BYTES
    }

    /// Bytes that the answers take at most.
    pub(super) fn answers_bytes_max(&self) -> usize {
        self.refusals_bytes + self.results_bytes_max
    }

    pub(super) fn next_line(&self) -> u64 {
        self.next_line
    }

    /// Takes the next line. Blank ones count, and have no answer.
    pub(super) fn add(&mut self, line: Line<'_>, inner: &Inner, head: &Head) {
        let number = self.next_line;
        self.next_line += 1;
        let line = match line {
            Line::Whole(line) if line.iter().all(u8::is_ascii_whitespace) => return,
            Line::Whole(line) => line,
            Line::TooLong(bytes) => {
                let code = ErrorCode::LineTooLarge;
                let fault =
                    FieldProblem::new(code).limit(inner.limits.line_bytes_max, bytes).expected("too many bytes");
                return self.refuse(number, fault.into());
            }
        };
        self.bytes += line.len();
        let ids = &mut self.ids;
        let mut next_id = || ids.next();
        let mut intake = Intake {
            limits: &inner.limits,
            received_ms: self.received_ms,
            next_id: &mut next_id,
            default_runner: head.runner.as_deref(),
            default_traceparent: head.traceparent.as_deref(),
            idempotency_key: head.idempotency_key.as_deref(),
        };
        match intake::parse_line(line, number - 1, &mut intake) {
            Ok(event) => {
                if let Some(fault) = decisions::of_commands(&event) {
                    return self.refuse(number, fault.into());
                }
                let weight = Item::weight_of(&event);
                if weight > inner.weight_max {
                    // It would not fit if nothing else waited, so to wait would not help.
                    let fault = FieldProblem::new(ErrorCode::LineTooLarge).limit(inner.weight_max, weight);
                    return self.refuse(number, fault.expected("too many bytes as it is stored").into());
                }
                // An id is written with its quotes escaped.
                self.results_bytes_max += 2 * event.id.len() + RESULT_BYTES_MAX;
                self.events.push(event);
                self.lines.push((number, None));
            }
            Err(fault) => self.refuse(number, fault.into()),
        }
    }

    fn refuse(&mut self, line: u64, error: LineError) {
        let mut out = Vec::new();
        write(&mut out, &Refused { line, error });
        self.refusals_bytes += out.len();
        self.lines.push((line, Some(out)));
    }

    /// Takes a last line that has no break behind it.
    pub(super) fn add_last(&mut self, line: &[u8], inner: &Inner, head: &Head) {
        let line = line.strip_suffix(b"\r").unwrap_or(line);
        let limit = inner.limits.line_bytes_max;
        let line = if line.len() > limit { Line::TooLong(line.len()) } else { Line::Whole(line) };
        self.add(line, inner, head);
    }

    /// Redacts the events. One that has no room for the marks is refused, in its line's place.
    async fn redact(&mut self, inner: &Inner, settings: &Effective) {
        if settings.redactor.is_none() {
            return;
        }
        let redacted = inner.redact(settings, std::mem::take(&mut self.events)).await;
        self.keep(redacted);
    }

    /// Signs and guards decisions. One that is not the credential's to make is refused, in its line's place.
    async fn decide(&mut self, inner: &Inner, head: &Head, grant: &Grant) {
        if self.events.iter().any(approval::is_decision) {
            let decided = inner.decisions(&head.project, grant, std::mem::take(&mut self.events)).await;
            self.keep(decided);
        }
    }

    /// Goes on with what became of the events: those that are refused leave, their lines with an answer.
    fn keep(&mut self, events: Vec<Result<wire::Event, Fault>>) {
        let mut events = events.into_iter();
        for (line, answer) in self.lines.iter_mut().filter(|(_, answer)| answer.is_none()) {
            match events.next().expect("a line without a refusal has an event") {
                Ok(event) => self.events.push(event),
                Err(fault) => {
                    let mut out = Vec::new();
                    write(&mut out, &Refused { line: *line, error: fault.into() });
                    *answer = Some(out);
                }
            }
        }
    }

    /// Appends the events, and writes an answer for each line up to the first that the log did not take.
    pub(super) async fn append(
        mut self,
        inner: &Inner,
        head: &Head,
        grant: &Grant,
        jumps: &mut Jumps,
        deadline: tokio::time::Instant,
    ) -> (Vec<u8>, Told) {
        let Ok(settings) = inner.settings(&head.project).await else {
            return (Vec::new(), Told { end: Some(End::Failed(Failure::Away)), ..Told::default() });
        };
        self.redact(inner, &settings).await;
        self.decide(inner, head, grant).await;
        let facts = Facts::of(&self.events);
        inner.metrics.facts.on_arrival(&self.events);
        let size = (self.events.len(), facts.weight());
        let counted = match count(inner, head, grant, &settings, size, deadline).await {
            Ok(counted) => counted,
            Err(end) => return (Vec::new(), Told { end: Some(end), ..Told::default() }),
        };
        if inner.put_alarms(&head.project, &self.events).await.is_err() {
            counted.give_back();
            return (Vec::new(), Told { end: Some(End::Failed(Failure::Away)), ..Told::default() });
        }
        inner.counter.owners().note(&head.project, &self.events, grant.runner());
        let asked = questions(&self.events);
        let began = Instant::now();
        let options = Options { deadline, jumps: *jumps };
        for event in &self.events {
            jumps.allows(event);
        }
        let events = std::mem::take(&mut self.events);
        let (outcomes, failed) = match submit(inner, head, events, options).await {
            Ok(outcomes) => (outcomes, None),
            Err(refused) => {
                if answer::is_untouched(&refused) {
                    counted.give_back();
                }
                (refused.results, Some(refused.why))
            }
        };
        observe(&inner.metrics.append_seconds, began);
        let appended = facts.count(outcomes.iter().map(Option::as_ref), &inner.metrics.facts);
        inner.tenants.on_appended(&head.project, appended);
        let all: Vec<_> = outcomes.iter().map(Option::as_ref).collect();
        if inner.tell_decided(&head.project, asked, &all).await.is_err() {
            // Whoever comes again with the group hears of it then.
            return (Vec::new(), Told { end: Some(End::Failed(Failure::OutcomeUnknown)), ..Told::default() });
        }
        let mut outcomes = outcomes.into_iter();
        let mut told = Told { end: failed.map(End::Failed), ..Told::default() };
        let mut out = Vec::with_capacity(self.refusals_bytes + self.lines.len() * 112);
        for (line, refusal) in self.lines {
            if let Some(refusal) = refusal {
                told.rejected += 1;
                out.extend_from_slice(&refusal);
                continue;
            }
            // The stream ends here: what stands behind it is told nothing, so that the client comes again with it.
            let Some(outcome) = outcomes.next().flatten() else { break };
            match answer::result(outcome) {
                Ok(result) => {
                    told.accepted += 1;
                    write(&mut out, &Taken { line, result });
                }
                Err(fault) => {
                    told.rejected += 1;
                    write(&mut out, &Refused { line, error: fault.into() });
                }
            }
        }
        inner.tenants.on_refused(&head.project, told.rejected);
        (out, told)
    }
}

/// Counts events; while they are over a limit they wait, as they do for the writer, until their deadline or a drain.
async fn count(
    inner: &Inner,
    head: &Head,
    grant: &Grant,
    settings: &Effective,
    size: (usize, usize),
    deadline: tokio::time::Instant,
) -> Result<Counted, End> {
    loop {
        let over = match inner.count(&head.project, grant, settings, size).await {
            Ok(counted) => return Ok(counted),
            Err(over) => over,
        };
        let wake = tokio::time::Instant::now() + over.retry_after.max(BUSY_PAUSE);
        if wake >= deadline {
            return Err(End::Limited);
        }
        tokio::select! {
            () = tokio::time::sleep_until(wake) => {}
            () = inner.stop.cancelled() => return Err(End::Failed(Failure::Draining)),
        }
    }
}

/// Submits events; while the writer is busy they wait, which is what backpressure means here.
async fn submit(
    inner: &Inner,
    head: &Head,
    events: Vec<wire::Event>,
    options: Options,
) -> Result<Vec<Option<tidings_log::writer::Outcome>>, SubmitError> {
    loop {
        let traced = Traced::begin(&inner.traces, &events);
        let called = traced.as_ref().map(Traced::called);
        let outcomes = inner.writers.submit_timed(&head.project, &events, options, called).await;
        if let Some(traced) = traced {
            traced.end(&inner.traces, outcomes.is_err());
        }
        match outcomes {
            Ok(outcomes) => return Ok(outcomes.into_iter().map(Some).collect()),
            Err(SubmitError { why: Failure::Busy, results })
                if results.iter().all(Option::is_none)
                    && tokio::time::Instant::now() + BUSY_PAUSE < options.deadline =>
            {
                tokio::time::sleep(BUSY_PAUSE).await;
            }
            Err(refused) => return Err(refused),
        }
    }
}

#[derive(Serialize)]
struct Taken {
    line: u64,
    #[serde(flatten)]
    result: EventResult,
}

#[derive(Serialize)]
struct Refused {
    line: u64,
    error: LineError,
}

#[derive(Serialize)]
struct Done {
    done: bool,
    accepted: u64,
    rejected: u64,
    #[serde(skip_serializing_if = "Option::is_none")]
    error: Option<LineError>,
}

/// A line that was refused outside of any group.
pub(super) fn write_error(out: &mut Vec<u8>, line: u64, fault: &FieldProblem) {
    write(out, &Refused { line, error: fault.clone().into() });
}

/// The last line: `error` says what ended the stream early.
pub(super) fn write_done(out: &mut Vec<u8>, accepted: u64, rejected: u64, error: Option<(ErrorCode, &str)>) {
    let error =
        error.map(|(code, detail)| LineError { code: code.to_string(), detail: detail.to_owned(), errors: Vec::new() });
    write(out, &Done { done: true, accepted, rejected, error });
}

fn write(out: &mut Vec<u8>, line: &impl Serialize) {
    serde_json::to_writer(&mut *out, line).expect("answers have string keys only");
    out.push(b'\n');
}
