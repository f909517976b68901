//! Which representation of events a client is answered with, by its `Accept` header (RFC 9110, 12.5.1).
//!
//! Of the ranges that match a representation the most specific one gives it its weight. The heavier one wins; of two
//! equal ones that which is asked for more specifically, then that which is named first, then JSON.

use std::cmp::Reverse;

use http::{HeaderMap, header};
use tidings_protocol::codes::ErrorCode;
use tidings_runtime::http::problem::Refused;

/// How events are answered.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Representation {
    /// `text/event-stream`.
    Stream,
    /// `application/json`.
    Json,
}

/// One member of the list: `type/subtype;parameters;q=weight`.
struct Range<'a> {
    kind: &'a str,
    subtype: &'a str,
    /// In thousandths.
    weight: u16,
}

/// How specifically a range names a representation. The order is that of precedence.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
enum Specificity {
    /// `*/*`
    Anything,
    /// `text/*`
    Kind,
    /// `text/event-stream`
    Exact,
}

impl Representation {
    /// In the server's own order of preference.
    const ALL: [Representation; 2] = [Representation::Json, Representation::Stream];

    fn media_type(self) -> (&'static str, &'static str) {
        match self {
            Representation::Json => ("application", "json"),
            Representation::Stream => ("text", "event-stream"),
        }
    }

    /// The representation that suits the client best; JSON if it does not say.
    ///
    /// # Errors
    /// `not_acceptable` when it accepts none.
    pub(super) fn negotiate(headers: &HeaderMap) -> Result<Representation, Refused> {
        let text = |value| http::HeaderValue::to_str(value).unwrap_or_default();
        let members: Vec<&str> = headers
            .get_all(header::ACCEPT)
            .iter()
            .flat_map(|value| split(text(value), ','))
            .map(str::trim)
            .filter(|member| !member.is_empty())
            .collect();
        if members.is_empty() {
            return Ok(Representation::Json);
        }
        // What is not a range matches nothing.
        let ranges: Vec<Range<'_>> = members.into_iter().filter_map(Range::parse).collect();
        let suits = |representation: Representation| {
            let matching = ranges.iter().enumerate().filter_map(|(index, range)| {
                range.specificity(representation).map(|specificity| (specificity, Reverse(index), range.weight))
            });
            let (specificity, index, weight) = matching.max()?;
            (weight > 0).then_some((weight, specificity, index))
        };
        // Of equals the last is the maximum: the server's preference comes last.
        let acceptable = Representation::ALL.into_iter().rev().filter_map(|one| Some((suits(one)?, one)));
        acceptable.max_by_key(|(suits, _)| *suits).map(|(_, one)| one).ok_or_else(|| {
            Refused::new(ErrorCode::NotAcceptable, "events come as application/json or text/event-stream")
        })
    }
}

impl<'a> Range<'a> {
    fn parse(member: &'a str) -> Option<Range<'a>> {
        let mut parts = split(member, ';').map(str::trim);
        let (kind, subtype) = parts.next()?.split_once('/')?;
        let sound = !kind.is_empty() && !subtype.is_empty() && (kind != "*" || subtype == "*");
        // Other parameters name variants that are not told apart here.
        let weight = parts.find_map(|part| {
            let (name, value) = part.split_once('=')?;
            name.eq_ignore_ascii_case("q").then_some(value)
        });
        let weight = weight.map_or(Some(1_000), thousandths)?;
        sound.then_some(Range { kind, subtype, weight })
    }

    fn specificity(&self, representation: Representation) -> Option<Specificity> {
        let (kind, subtype) = representation.media_type();
        if self.kind == "*" {
            return Some(Specificity::Anything);
        }
        if !self.kind.eq_ignore_ascii_case(kind) {
            return None;
        }
        match self.subtype {
            "*" => Some(Specificity::Kind),
            other => other.eq_ignore_ascii_case(subtype).then_some(Specificity::Exact),
        }
    }
}

/// A weight: `0` or `1`, and at most three digits behind a point.
fn thousandths(weight: &str) -> Option<u16> {
    let (whole, digits) = weight.split_once('.').unwrap_or((weight, ""));
    if !matches!(whole, "0" | "1") || digits.len() > 3 || !digits.bytes().all(|digit| digit.is_ascii_digit()) {
        return None;
    }
    let thousandths: u16 = format!("{whole}{digits:0<3}").parse().ok()?;
    (thousandths <= 1_000).then_some(thousandths)
}

/// Splits at a separator that does not stand inside quotes.
fn split(text: &str, separator: char) -> impl Iterator<Item = &str> {
    let mut quoted = false;
    let mut escaped = false;
    text.split(move |c| {
        let was_escaped = escaped;
        escaped = quoted && c == '\\' && !was_escaped;
        quoted ^= c == '"' && !was_escaped;
        c == separator && !quoted
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(accept: &[&str], expected: Option<Representation>) {
        let mut headers = HeaderMap::new();
        for value in accept {
            headers.append(header::ACCEPT, value.parse().expect("a header's value"));
        }
        let found = Representation::negotiate(&headers);
        if let Err(refused) = &found {
            assert_eq!(refused.problem().code, "not_acceptable", "{accept:?}");
        }
        assert_eq!(found.ok(), expected, "{accept:?}");
    }

    #[test]
    fn the_heavier_and_then_the_more_specific_representation_is_taken() {
        use Representation::{Json, Stream};
        for (accept, expected) in [
            ("", Json),
            ("application/json", Json),
            ("text/event-stream", Stream),
            ("TEXT/Event-Stream", Stream),
            ("*/*", Json),
            ("text/*", Stream),
            ("application/*", Json),
            ("text/event-stream, application/json", Stream),
            ("application/json, text/event-stream", Json),
            ("*/*, text/event-stream", Stream),
            ("text/html, application/xhtml+xml, */*;q=0.8", Json),
            ("application/json;q=0.5, text/event-stream;q=0.6", Stream),
            ("text/event-stream;q=0.001, application/json", Json),
            ("text/event-stream;q=0, */*", Json),
            ("application/json;q=0, */*;q=0.1", Stream),
            ("text/*;q=0.9, text/event-stream;q=0.1, application/json;Q=0.5", Json),
            ("text/event-stream;charset=utf-8", Stream),
            (r#"text/x;a="\",text/event-stream,", application/json"#, Json),
            ("nonsense, text/event-stream;q=2, application/json;q=0.1", Json),
        ] {
            check(&[accept], Some(expected));
        }
        check(&[], Some(Json));
        check(&["text/html", "text/event-stream"], Some(Stream));
    }

    #[test]
    fn nothing_is_forced_on_a_client() {
        for accept in ["text/html", "*/*;q=0", "text/*;q=0.0, application/json;q=0.000", "json", "*/json", "/"] {
            check(&[accept], None);
        }
    }
}
