//! Problem bodies (RFC 9457), as both services send them and as clients and tests read them.

use std::borrow::Cow;

use serde::{Deserialize, Serialize};
use serde_json::Value;

use crate::codes::ErrorCode;

/// The media type of a problem body.
pub const PROBLEM_MEDIA_TYPE: &str = "application/problem+json";

/// Problem types are this, and the code.
const TYPE_PREFIX: &str = "urn:tidings:problem:";

/// A problem body: `{type, title, status, detail, code, errors?, results?}`.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Problem {
    /// A stable URI of the kind of problem; made from the code.
    #[serde(rename = "type")]
    pub kind: Cow<'static, str>,
    /// The kind in a few words.
    pub title: Cow<'static, str>,
    /// The HTTP status, again.
    pub status: u16,
    /// This occurrence in a sentence, for people.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub detail: String,
    /// The stable code ([`ErrorCode`]); a word, so that a client can read those of a newer server.
    pub code: Cow<'static, str>,
    /// What is wrong in particular, at most `FAULTS_MAX` of it.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub errors: Vec<FieldProblem>,
    /// With 503 and 504 after some entries: what became of the events before, shaped as in the answer with 200.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub results: Option<Value>,
}

/// One fault of a request: where it is, and what was expected.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct FieldProblem {
    /// Which event of the request, from 0.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub index: Option<u64>,
    /// Which field, with dots (`data.status`); a header or parameter by its name.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub field: Option<String>,
    /// The stable code.
    pub code: Cow<'static, str>,
    /// The limit that was passed.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub limit: Option<u64>,
    /// What was there instead, in the limit's unit.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub actual: Option<u64>,
    /// What was expected, for people.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub detail: Option<Cow<'static, str>>,
}

impl Problem {
    /// A problem of this code with a sentence about this occurrence.
    pub fn new(code: ErrorCode, detail: impl Into<String>) -> Problem {
        Problem {
            kind: Cow::Owned(format!("{TYPE_PREFIX}{code}")),
            title: code.title().into(),
            status: code.http_status(),
            detail: detail.into(),
            code: code.as_str().into(),
            errors: Vec::new(),
            results: None,
        }
    }

    /// The same with a particular fault added.
    pub fn with(mut self, fault: FieldProblem) -> Problem {
        self.errors.push(fault);
        self
    }

    /// The code, if this version knows it.
    pub fn error_code(&self) -> Option<ErrorCode> {
        ErrorCode::parse(&self.code)
    }

    /// The body's bytes.
    pub fn to_json(&self) -> Vec<u8> {
        serde_json::to_vec(self).expect("a problem has string keys only")
    }
}

impl FieldProblem {
    /// A fault without a place.
    pub fn new(code: ErrorCode) -> FieldProblem {
        FieldProblem { index: None, field: None, code: code.as_str().into(), limit: None, actual: None, detail: None }
    }

    /// The same, in this event of the request.
    pub fn at(mut self, index: u64) -> FieldProblem {
        self.index = Some(index);
        self
    }

    /// The same, in this field.
    pub fn field(mut self, field: impl Into<String>) -> FieldProblem {
        self.field = Some(field.into());
        self
    }

    /// The same, with the limit and what was there instead.
    pub fn limit(mut self, limit: usize, actual: usize) -> FieldProblem {
        self.limit = Some(limit as u64);
        self.actual = Some(actual as u64);
        self
    }

    /// The same, with what was expected.
    pub fn expected(mut self, detail: impl Into<Cow<'static, str>>) -> FieldProblem {
        self.detail = Some(detail.into());
        self
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_problem_has_the_documented_shape_and_is_read_again() {
        let problem = Problem::new(ErrorCode::EventTooLarge, "event 3 is too large")
            .with(FieldProblem::new(ErrorCode::EventTooLarge).at(3).field("data").limit(10, 11));
        let json = String::from_utf8(problem.to_json()).expect("JSON is UTF-8");
        assert_eq!(
            json,
            r#"{"type":"urn:tidings:problem:event_too_large","title":"An event is too large","status":413,"detail":"event 3 is too large","code":"event_too_large","errors":[{"index":3,"field":"data","code":"event_too_large","limit":10,"actual":11}]}"#
        );
        let read: Problem = serde_json::from_str(&json).expect("its own JSON");
        assert_eq!(read, problem);
        assert_eq!(read.error_code(), Some(ErrorCode::EventTooLarge));
    }

    #[test]
    fn a_newer_servers_problem_is_read() {
        let json = r#"{"type":"about:blank","title":"New","status":499,"code":"new_code","extra":1}"#;
        let read: Problem = serde_json::from_str(json).expect("a problem of a newer server");
        assert_eq!((read.status, read.error_code()), (499, None));
    }
}
