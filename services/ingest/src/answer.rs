//! Answers: what became of events as JSON, and refusals as problems.

use axum::response::{IntoResponse, Response};
use http::{HeaderName, HeaderValue, header};
use serde::Serialize;
use tidings_log::writer::{Failure, Outcome, SubmitError};
use tidings_protocol::codes::ErrorCode;
use tidings_protocol::intake::Fault;
use tidings_protocol::position::Position;
use tidings_protocol::problem::{FieldProblem, Problem};
use tidings_runtime::http::problem::Refused;

use crate::rates::{self, OverLimit};

/// What became of an event that was taken.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, utoipa::ToSchema)]
pub struct EventResult {
    /// The event's id: the runner's, or the one that it was given.
    pub id: String,
    /// Where it stands in the project's log, for `after`. `null` for a duplicate of which only its producer's sequence
    /// number is remembered.
    #[schema(value_type = Option<String>, example = "1763630000123-48211.k3f9a7c2m4xq")]
    pub position: Option<Position>,
    /// Whether it was appended by this request, or stood there before.
    pub status: EventStatus,
}

/// How an event came to stand in the log.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, utoipa::ToSchema)]
#[serde(rename_all = "snake_case")]
pub enum EventStatus {
    /// This request appended it.
    Appended,
    /// It stood there before: it is acknowledged again, and not delivered again.
    Duplicate,
}

/// All events were taken.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, utoipa::ToSchema)]
pub struct Published {
    /// One for each event, in their order.
    pub results: Vec<EventResult>,
    /// The newest of their positions.
    #[schema(value_type = Option<String>, example = "1763630000123-48211.k3f9a7c2m4xq")]
    pub position: Option<Position>,
}

/// A refusal, with a header that helps to put it right.
#[derive(Debug)]
pub(crate) struct Rejected {
    refused: Refused,
    hint: Option<(HeaderName, HeaderValue)>,
}

impl Rejected {
    pub(crate) fn new(code: ErrorCode, detail: impl Into<String>) -> Rejected {
        Rejected::from(Problem::new(code, detail))
    }

    /// The same with a header.
    pub(crate) fn hint(mut self, name: HeaderName, value: &'static str) -> Rejected {
        self.hint = Some((name, HeaderValue::from_static(value)));
        self
    }

    pub(crate) fn code(&self) -> Option<ErrorCode> {
        self.refused.problem().error_code()
    }
}

impl From<Problem> for Rejected {
    fn from(problem: Problem) -> Rejected {
        let retry = problem.error_code().and_then(retry_after_seconds);
        let refused = Refused::from(problem);
        let refused = match retry {
            Some(seconds) => refused.retry_after(seconds),
            None => refused,
        };
        Rejected { refused, hint: None }
    }
}

impl From<Refused> for Rejected {
    fn from(refused: Refused) -> Rejected {
        Rejected { refused, hint: None }
    }
}

impl From<Fault> for Rejected {
    fn from(fault: Fault) -> Rejected {
        Rejected::from(Problem::from(fault))
    }
}

impl From<OverLimit> for Rejected {
    fn from(over: OverLimit) -> Rejected {
        let problem = Problem::new(ErrorCode::RateLimited, rates::DETAIL);
        Rejected { refused: Refused::from(problem).retry_after(over.seconds), hint: None }
    }
}

impl IntoResponse for Rejected {
    fn into_response(self) -> Response {
        let mut response = self.refused.into_response();
        if let Some((name, value)) = self.hint {
            response.headers_mut().insert(name, value);
        }
        response
    }
}

/// When to come back, where waiting helps.
fn retry_after_seconds(code: ErrorCode) -> Option<u32> {
    match code {
        ErrorCode::Busy | ErrorCode::RedisAway | ErrorCode::OutcomeUnknown => Some(1),
        // Another ingest takes over, or this one is back.
        ErrorCode::Draining => Some(2),
        ErrorCode::MemoryPressure | ErrorCode::OverShare => Some(5),
        ErrorCode::NewerFormat => Some(30),
        ErrorCode::DeletionsFull | ErrorCode::ProducersFull => Some(60),
        _ => None,
    }
}

/// Whether a refusal is definite, and of everything.
pub(crate) fn is_untouched(refused: &SubmitError) -> bool {
    !matches!(refused.why, Failure::OutcomeUnknown) && refused.results.iter().all(Option::is_none)
}

/// The code of a failure, and what people read.
pub(crate) fn failure(why: Failure) -> (ErrorCode, &'static str) {
    match why {
        Failure::Away => (ErrorCode::RedisAway, "the store is away; nothing of the rest was taken"),
        Failure::Busy => (ErrorCode::Busy, "too much waits to be written; nothing of the rest was taken"),
        Failure::DeletionsFull => (
            ErrorCode::DeletionsFull,
            "as many sessions as may be were deleted while the log holds their events; retention makes room",
        ),
        Failure::Draining => (ErrorCode::Draining, "this service is about to stop; nothing of the rest was taken"),
        Failure::Memory => (ErrorCode::MemoryPressure, "the store is out of memory; nothing of the rest was taken"),
        Failure::NewerFormat(_) => (ErrorCode::NewerFormat, "a newer version wrote the log; nothing was taken"),
        Failure::OverShare => (
            ErrorCode::OverShare,
            "memory is short, and this project uses more than its share of it; nothing of the rest was taken",
        ),
        Failure::OutcomeUnknown => (
            ErrorCode::OutcomeUnknown,
            "the store did not answer in time; send the events again under the same ids, which is harmless",
        ),
        Failure::ProducersFull => (ErrorCode::ProducersFull, "the project remembers as many producers as it may"),
        Failure::Unsettled => (
            ErrorCode::RedisAway,
            "the store holds nothing of the project, but changed or was met a moment ago; ask again in a minute",
        ),
    }
}

/// The result of an event, or why its producer was refused.
pub(crate) fn result(outcome: Outcome) -> Result<EventResult, FieldProblem> {
    match outcome {
        Outcome::Appended { id, position } => {
            Ok(EventResult { id, position: Some(position), status: EventStatus::Appended })
        }
        Outcome::Duplicate { id, position } => Ok(EventResult { id, position, status: EventStatus::Duplicate }),
        Outcome::OutOfSequence { expected } => Err(FieldProblem {
            limit: Some(expected),
            ..FieldProblem::new(ErrorCode::OutOfSequence)
                .field("producer.seq")
                .expected(format!("expected {expected}, or a gap event that says what was dropped"))
        }),
        Outcome::Fenced { epoch } => Err(FieldProblem {
            limit: Some(epoch),
            ..FieldProblem::new(ErrorCode::Fenced)
                .field("producer.epoch")
                .expected(format!("a producer of epoch {epoch} took over"))
        }),
        Outcome::Settled { first } => {
            Err(FieldProblem::new(ErrorCode::AlreadyAnswered).expected(format!("it was answered at {first}")))
        }
    }
}

/// The answer to a whole request.
pub(crate) fn whole(outcomes: Result<Vec<Outcome>, SubmitError>) -> Result<Response, Rejected> {
    let (outcomes, why) = match outcomes {
        Ok(outcomes) => (outcomes.into_iter().map(Some).collect(), None),
        Err(SubmitError { why, results }) => (results, Some(why)),
    };
    let mut results: Vec<Option<EventResult>> = Vec::with_capacity(outcomes.len());
    let mut errors = Vec::new();
    for (index, outcome) in (0..).zip(outcomes) {
        match outcome.map(result) {
            Some(Err(fault)) => {
                errors.push(fault.at(index));
                results.push(None);
            }
            Some(Ok(result)) => results.push(Some(result)),
            None => results.push(None),
        }
    }
    let conflict = errors.first().and_then(|fault: &FieldProblem| ErrorCode::parse(&fault.code));
    let (code, detail) = match (why, conflict) {
        (Some(why), _) => failure(why),
        (None, Some(code)) => (code, "events of a producer were refused; results tell of the others"),
        (None, None) => return Ok(published(results.into_iter().flatten().collect())),
    };
    errors.truncate(tidings_protocol::limits::FAULTS_MAX);
    let mut problem = Problem { errors, ..Problem::new(code, detail) };
    if results.iter().any(Option::is_some) {
        let known = serde_json::to_value(&results).expect("results have string keys only");
        problem.results = Some(known);
    }
    Err(problem.into())
}

fn published(results: Vec<EventResult>) -> Response {
    // Running counts go on over forks, so the highest is the newest.
    let position =
        results.iter().filter_map(|result| result.position).max_by_key(tidings_protocol::position::Position::n);
    let json = serde_json::to_vec(&Published { results, position }).expect("results have string keys only");
    ([(header::CONTENT_TYPE, HeaderValue::from_static("application/json"))], json).into_response()
}
