//! Why something was not done.

use tidings_broker::{CallError, NothingWhy, ReadError};
use tidings_log::writer::Failure;
use tidings_protocol::codes::ErrorCode;
use tidings_protocol::problem::{FieldProblem, Problem};

/// Why a command, or a step of a runner, was refused.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{code}: {detail}")]
pub struct Refusal {
    /// The stable code.
    pub code: ErrorCode,
    /// For people.
    pub detail: String,
    /// What is wrong in particular.
    pub errors: Vec<FieldProblem>,
}

impl Refusal {
    /// A refusal of this code.
    pub fn new(code: ErrorCode, detail: impl Into<String>) -> Refusal {
        Refusal { code, detail: detail.into(), errors: Vec::new() }
    }

    /// The refusal of a field.
    pub(crate) fn of_field(code: ErrorCode, field: &str, expected: &str) -> Refusal {
        let fault = FieldProblem::new(code).field(field).expected(expected.to_owned());
        Refusal { code, detail: format!("`{field}`: {expected}"), errors: vec![fault] }
    }

    /// The refusal of a field that is over its limit.
    pub(crate) fn over(field: &str, limit: usize, actual: usize) -> Refusal {
        let code = ErrorCode::InvalidField;
        let fault = FieldProblem::new(code).field(field).limit(limit, actual).expected("too many bytes");
        Refusal { code, detail: format!("`{field}`: {actual} bytes, the limit is {limit}"), errors: vec![fault] }
    }
}

impl From<Refusal> for Problem {
    fn from(refusal: Refusal) -> Problem {
        Problem { errors: refusal.errors, ..Problem::new(refusal.code, refusal.detail) }
    }
}

impl From<CallError> for Refusal {
    fn from(error: CallError) -> Refusal {
        match error {
            CallError::Nothing(NothingWhy::Memory) => {
                Refusal::new(ErrorCode::MemoryPressure, "the store is out of memory; nothing was changed")
            }
            CallError::Nothing(NothingWhy::OverShare) => {
                Refusal::new(ErrorCode::OverShare, "memory is short, and this project uses more than its share of it")
            }
            CallError::Nothing(NothingWhy::Away | NothingWhy::Busy | NothingWhy::Refusing(_)) => {
                Refusal::new(ErrorCode::RedisAway, "the store is away; nothing was changed")
            }
            CallError::Unknown(_) => Refusal::new(
                ErrorCode::OutcomeUnknown,
                "the store did not answer in time; to ask again under the same id is harmless",
            ),
        }
    }
}

impl From<ReadError> for Refusal {
    fn from(error: ReadError) -> Refusal {
        match error {
            ReadError::NewerFormat(_) => Refusal::new(ErrorCode::NewerFormat, "a newer version wrote the log"),
            ReadError::Away(_) | ReadError::Malformed(_) => Refusal::new(ErrorCode::RedisAway, "the store is away"),
        }
    }
}

impl From<Failure> for Refusal {
    fn from(why: Failure) -> Refusal {
        let code = match why {
            Failure::Away | Failure::Unsettled => ErrorCode::RedisAway,
            Failure::Busy => ErrorCode::Busy,
            Failure::DeletionsFull => ErrorCode::DeletionsFull,
            Failure::Draining => ErrorCode::Draining,
            Failure::Memory => ErrorCode::MemoryPressure,
            Failure::NewerFormat(_) => ErrorCode::NewerFormat,
            Failure::OverShare => ErrorCode::OverShare,
            Failure::OutcomeUnknown => ErrorCode::OutcomeUnknown,
            Failure::ProducersFull => ErrorCode::ProducersFull,
        };
        Refusal::new(code, why.to_string())
    }
}
