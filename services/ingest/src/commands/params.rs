//! Query parameters of these routes: unknown ones and bad values are refused by name.

use percent_encoding::percent_decode_str;
use tidings_protocol::codes::ErrorCode;
use tidings_protocol::echo;
use tidings_protocol::problem::{FieldProblem, Problem};

use crate::answer::Rejected;
use crate::runners;

/// The parameters of a request.
pub(crate) struct Params(Vec<(String, String)>);

impl Params {
    /// Those of a query, each one of `known`, and there once unless it is one of `many`.
    pub(crate) fn of(query: Option<&str>, known: &[&str], many: &[&str]) -> Result<Params, Rejected> {
        let mut pairs: Vec<(String, String)> = Vec::new();
        for pair in query.unwrap_or_default().split('&').filter(|pair| !pair.is_empty()) {
            let (name, value) = pair.split_once('=').unwrap_or((pair, ""));
            let (name, value) = (decoded(name)?, decoded(value)?);
            if !known.contains(&name.as_str()) {
                return Err(invalid(&name, &format!("not known here; known are {}", known.join(", "))));
            }
            if !many.contains(&name.as_str()) && pairs.iter().any(|(other, _)| *other == name) {
                return Err(invalid(&name, "given more than once"));
            }
            pairs.push((name, value));
        }
        Ok(Params(pairs))
    }

    /// All values of a parameter.
    pub(crate) fn all(&self, name: &str) -> impl Iterator<Item = &str> {
        self.0.iter().filter(move |(own, _)| own == name).map(|(_, value)| value.as_str())
    }

    /// A name that must be there.
    pub(crate) fn name(&self, name: &str, bytes_max: usize) -> Result<&str, Rejected> {
        let value = self.all(name).next().unwrap_or_default();
        if runners::is_sound(value, bytes_max) {
            return Ok(value);
        }
        Err(invalid(name, &format!("expected 1 to {bytes_max} bytes without control characters")))
    }

    /// A whole number within bounds, if it is there.
    pub(crate) fn number(&self, name: &str, (least, most): (u64, u64)) -> Result<Option<u64>, Rejected> {
        let Some(value) = self.all(name).next() else { return Ok(None) };
        let digits = !value.is_empty() && value.bytes().all(|b| b.is_ascii_digit());
        match value.parse::<u64>() {
            Ok(number) if digits && (least..=most).contains(&number) => Ok(Some(number)),
            _ => Err(invalid(name, &format!("expected a whole number from {least} to {most}"))),
        }
    }

    /// One of two words, if it is there.
    pub(crate) fn is(&self, name: &str, word: &str, other: &str) -> Result<bool, Rejected> {
        match self.all(name).next() {
            Some(value) if value == word => Ok(true),
            Some(value) if value != other => Err(invalid(name, &format!("expected {word} or {other}"))),
            Some(_) | None => Ok(false),
        }
    }
}

/// A parameter that cannot be understood.
pub(crate) fn invalid(name: &str, detail: &str) -> Rejected {
    let name = echo::text(name);
    let code = ErrorCode::InvalidParameter;
    let fault = FieldProblem::new(code).field(&name).expected(detail.to_owned());
    Problem::new(code, format!("{name}: {detail}")).with(fault).into()
}

fn decoded(text: &str) -> Result<String, Rejected> {
    let spaced = text.replace('+', " ");
    let text = percent_decode_str(&spaced).decode_utf8();
    text.map(String::from).map_err(|_| Rejected::new(ErrorCode::InvalidUtf8, "the query is not UTF-8"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn parameters_are_decoded_and_refused_by_name() {
        let known = ["runner", "capability", "limit"];
        let of = |query| Params::of(Some(query), &known, &["capability"]);
        let params = of("runner=a%20b&capability=x&capability=y+z&limit=7").unwrap_or_else(|_| panic!("good"));
        assert_eq!(params.name("runner", 10).ok(), Some("a b"));
        assert_eq!(params.all("capability").collect::<Vec<_>>(), ["x", "y z"]);
        assert_eq!(params.number("limit", (1, 7)).ok(), Some(Some(7)));
        assert!(params.number("limit", (1, 6)).is_err() && params.name("limits", 10).is_err());
        assert!(of("who=1").is_err() && of("limit=1&limit=2").is_err() && of("runner=%ff").is_err());
    }
}
