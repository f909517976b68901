//! Short texts with a grammar: positions, places to start, projects, patterns, scopes, times.

use std::fmt::{Debug, Display};
use std::str::FromStr;

use tidings_protocol::codes::{CloseCode, ErrorCode};
use tidings_protocol::entry::ForkNote;
use tidings_protocol::filter::Lane;
use tidings_protocol::frames::After;
use tidings_protocol::gap::GapCause;
use tidings_protocol::grant::{ProjectPattern, Scope, Scopes};
use tidings_protocol::intake::{check_idempotency_key, valid_traceparent};
use tidings_protocol::position::{Branch, LogId, Position};
use tidings_protocol::project::Project;
use tidings_protocol::timestamp::{UNIX_MS_MAX, parse_rfc3339, rfc3339};

/// What is read is written as it was read, whatever it is; ids order as their numbers do.
pub(crate) fn names(data: &[u8]) {
    let Ok(text) = std::str::from_utf8(data) else { return };
    is_canonical::<Position>(text);
    is_canonical::<LogId>(text);
    is_canonical::<Branch>(text);
    is_canonical::<Project>(text);
    is_canonical::<ProjectPattern>(text);
    is_canonical::<Scope>(text);
    if let Ok(scopes) = text.parse::<Scopes>() {
        assert_eq!(scopes.to_string().parse(), Ok(scopes));
    }
    if let Ok(After::Position(position)) = text.parse() {
        assert_eq!(position.to_string(), text);
    }
    if let Ok(note) = ForkNote::from_text(text) {
        assert_eq!(ForkNote::from_text(&note.to_text()), Ok(note));
    }
    if let Some((one, other)) = text.split_once(' ') {
        order(one, other);
        if let (Ok(pattern), Ok(project)) = (one.parse::<ProjectPattern>(), other.parse::<Project>()) {
            let matches = one.strip_suffix('*').map_or(one == other, |prefix| other.starts_with(prefix));
            assert_eq!(pattern.matches(&project), matches);
        }
    }
    if let Some(ms) = parse_rfc3339(text)
        && let Ok(ms) = u64::try_from(ms)
        && ms <= UNIX_MS_MAX
    {
        assert_eq!(parse_rfc3339(&rfc3339(ms)), i64::try_from(ms).ok());
    }
    if let Some(trace) = valid_traceparent(text) {
        assert_eq!(trace, text);
    }
    assert!(check_idempotency_key(text).is_err() || !text.chars().any(char::is_control));
    assert!(ErrorCode::parse(text).is_none_or(|code| code.as_str() == text));
    assert!(GapCause::parse(text).is_none_or(|cause| cause.as_str() == text));
    assert!(Lane::parse(text).is_none_or(|lane| serde_json::json!(lane) == text));
    if let Ok(number) = text.parse::<u16>() {
        assert!(CloseCode::from_number(number).is_none_or(|code| code.number() == number));
    }
}

fn is_canonical<T: FromStr + Display>(text: &str)
where
    T::Err: Debug + Display,
{
    match text.parse::<T>() {
        Ok(value) => assert_eq!(value.to_string(), text),
        Err(error) => assert!(error.to_string().len() <= 512, "{error}"),
    }
}

/// The order of ids is that of milliseconds, then of counts.
fn order(one: &str, other: &str) {
    let (Ok(one), Ok(other)) = (one.parse::<LogId>(), other.parse::<LogId>()) else { return };
    assert_eq!(one.cmp(&other), (one.ms, one.n).cmp(&(other.ms, other.n)));
    assert_eq!(one == other, one.to_string() == other.to_string());
}
