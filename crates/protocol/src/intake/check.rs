//! Whether `data` of a known type holds what the vocabulary says.

use super::Faults;
use super::data::Data;
use super::ident::{name_fault, text_of};
use crate::codes::ErrorCode;
use crate::limits::NAME_BYTES_MAX;
use crate::problem::FieldProblem;
use crate::timestamp::parse_rfc3339;
use crate::vocabulary::{EventType, Kind};

/// Notes every member of `data` that is missing or not what it should be.
pub(super) fn check(known: &EventType, data: &Data, json: &str, index: u64, faults: &mut Faults) {
    let value = &json[data.range.clone()];
    if !data.is_object && !matches!(value, "" | "null") {
        return faults.add(index, ErrorCode::InvalidField, "data", |fault| fault.expected("expected an object"));
    }
    for member in known.data {
        match data.member(json, member.name) {
            None | Some("null") if member.required => {
                let code = ErrorCode::MissingField;
                faults.add(index, code, &path(member.name), |fault| fault.expected(expectation(member.kind)));
            }
            None | Some("null") => {}
            Some(value) => check_value(member.name, member.kind, value, index, faults),
        }
    }
}

fn check_value(name: &str, kind: Kind, value: &str, index: u64, faults: &mut Faults) {
    let good = match kind {
        Kind::Any => true,
        Kind::Array => value.starts_with('['),
        Kind::Bool => matches!(value, "true" | "false"),
        Kind::Count(max) => value.parse::<u64>().is_ok_and(|count| count <= max),
        Kind::Number(min, max) => number(value).is_some_and(|number| (min..=max).contains(&number)),
        Kind::Object => value.starts_with('{'),
        Kind::Text => value.starts_with('"'),
        Kind::Time => text_of(value).is_some_and(|text| parse_rfc3339(&text).is_some()),
        Kind::Word(words) => text_of(value).is_some_and(|word| words.contains(&&*word)),
        Kind::Name => match text_of(value) {
            None => false,
            Some(text) => {
                let Some(wrong) = name_fault(&text, NAME_BYTES_MAX) else { return };
                return faults.add(index, ErrorCode::InvalidField, &path(name), wrong);
            }
        },
    };
    if !good {
        let expected = |fault: FieldProblem| fault.expected(expectation(kind));
        faults.add(index, ErrorCode::InvalidField, &path(name), expected);
    }
}

/// A JSON number; other JSON is none.
fn number(value: &str) -> Option<f64> {
    value.starts_with(|c: char| c == '-' || c.is_ascii_digit()).then(|| value.parse().ok()).flatten()
}

fn path(name: &str) -> String {
    format!("data.{name}")
}

/// What a member should be, for people.
fn expectation(kind: Kind) -> String {
    match kind {
        Kind::Any => "expected a value".into(),
        Kind::Array => "expected an array".into(),
        Kind::Bool => "expected true or false".into(),
        Kind::Count(max) => format!("expected an integer from 0 to {max}"),
        Kind::Name => format!("expected a string of 1 to {NAME_BYTES_MAX} bytes without control characters"),
        Kind::Number(min, max) => format!("expected a number from {min} to {max}"),
        Kind::Object => "expected an object".into(),
        Kind::Text => "expected a string".into(),
        Kind::Time => "expected a time as RFC 3339 has it".into(),
        Kind::Word(words) => format!("expected one of {}", words.join(", ")),
    }
}
