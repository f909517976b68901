//! The web sites whose pages may use a service, as browsers name them in `Origin`.

use std::fmt;
use std::str::FromStr;

use http::uri::Authority;
use toml::Value;

use super::{Setting, list, shown_list};

/// Sites whose pages may ask and read.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Origins(Vec<Pattern>);

/// How a list answers a page.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum OriginVerdict {
    /// The page's site is on the list.
    Listed,
    /// The list takes any site.
    Any,
    /// It is not on the list.
    Refused,
}

#[derive(Debug, Clone, PartialEq, Eq)]
enum Pattern {
    Any,
    /// The text of the header, in lower case.
    Exact(String),
    /// Whatever begins and ends so, with labels between.
    Below {
        scheme: String,
        suffix: String,
    },
}

/// A text that names no site.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct NoOrigin;

impl Origins {
    /// What the list says of a page by the text of its `Origin`.
    pub fn judge(&self, origin: &str) -> OriginVerdict {
        let origin = origin.to_ascii_lowercase();
        let matches = |pattern: &Pattern| match pattern {
            Pattern::Any => false,
            Pattern::Exact(text) => *text == origin,
            Pattern::Below { scheme, suffix } => origin
                .strip_prefix(scheme.as_str())
                .and_then(|rest| rest.strip_suffix(suffix.as_str()))
                .is_some_and(|labels| !labels.is_empty() && labels.bytes().all(is_of_a_name)),
        };
        if self.0.iter().any(matches) {
            OriginVerdict::Listed
        } else if self.0.contains(&Pattern::Any) {
            OriginVerdict::Any
        } else {
            OriginVerdict::Refused
        }
    }
}

fn is_of_a_name(byte: u8) -> bool {
    byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'.' | b'_')
}

impl FromStr for Pattern {
    type Err = NoOrigin;

    fn from_str(text: &str) -> Result<Pattern, NoOrigin> {
        if text == "*" {
            return Ok(Pattern::Any);
        }
        let text = text.to_ascii_lowercase();
        let (scheme, place) = text.split_once("://").ok_or(NoOrigin)?;
        let (below, place) = place.strip_prefix("*.").map_or((false, place), |place| (true, place));
        let authority: Authority = place.parse().map_err(|_| NoOrigin)?;
        let (host, port) = (authority.host(), &place[authority.host().len().min(place.len())..]);
        let scheme_is_sound = scheme.starts_with(|c: char| c.is_ascii_alphabetic())
            && scheme.bytes().all(|byte| byte.is_ascii_alphanumeric() || matches!(byte, b'+' | b'-' | b'.'));
        let port_is_sound = port.is_empty() || authority.port_u16().is_some();
        let host_is_faulty = host.is_empty() || place.contains(['@', '*']) || (below && host.starts_with('['));
        if !scheme_is_sound || !port_is_sound || host_is_faulty {
            return Err(NoOrigin);
        }
        // Browsers leave out the port that the scheme has anyway.
        let usual = matches!((scheme, port), ("https", ":443") | ("http", ":80"));
        let place = if usual { host } else { place };
        Ok(if below {
            Pattern::Below { scheme: format!("{scheme}://"), suffix: format!(".{place}") }
        } else {
            Pattern::Exact(format!("{scheme}://{place}"))
        })
    }
}

impl fmt::Display for Pattern {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Pattern::Any => f.write_str("*"),
            Pattern::Exact(text) => f.write_str(text),
            Pattern::Below { scheme, suffix } => write!(f, "{scheme}*{suffix}"),
        }
    }
}

impl Setting for Origins {
    fn read(value: &Value) -> Result<Origins, String> {
        list("an origin as in https://example.com, https://*.example.com or *, without a path", value).map(Origins)
    }

    fn show(&self) -> Value {
        shown_list(&self.0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn origins(texts: &[&str]) -> Result<Origins, String> {
        Origins::read(&Value::Array(texts.iter().map(|text| Value::String((*text).into())).collect()))
    }

    fn check(list: &[&str], good: &[&str], bad: &[&str]) {
        let origins = origins(list).expect("origins");
        for origin in good {
            assert_eq!(origins.judge(origin), OriginVerdict::Listed, "{list:?} {origin}");
        }
        for origin in bad {
            assert_eq!(origins.judge(origin), OriginVerdict::Refused, "{list:?} {origin}");
        }
    }

    #[test]
    fn origins_match_as_a_whole() {
        let elsewhere = ["http://a.example", "https://a.example:8443", "https://a.example.evil", "https://xa.example"];
        check(&["https://a.example"], &["https://a.example", "HTTPS://A.example"], &elsewhere);
        check(&["https://a.example"], &[], &["null", "", "https://a.example/", "https://b.a.example"]);
        check(&["https://A.example:443"], &["https://a.example"], &["https://a.example:80"]);
        check(&["http://localhost:3000"], &["http://localhost:3000"], &["http://localhost", "http://localhost:30000"]);
        check(&[], &[], &["https://a.example", "null", "http://localhost"]);
    }

    #[test]
    fn a_star_stands_for_labels_below() {
        let bad = ["https://example.com", "https://.example.com", "https://evilexample.com", "http://a.example.com"];
        check(&["https://*.example.com"], &["https://a.example.com", "https://b.a.example.com"], &bad);
        let tricks = ["https://evil.org/.example.com", "https://evil.org:80.example.com", "https://u@x.example.com"];
        check(&["https://*.example.com"], &[], &tricks);
        check(&["https://*.example.com:8443"], &["https://a.example.com:8443"], &["https://a.example.com"]);
    }

    #[test]
    fn a_star_alone_takes_any_site_but_says_so() {
        let origins = origins(&["*", "https://a.example"]).expect("origins");
        assert_eq!(origins.judge("https://b.example"), OriginVerdict::Any);
        assert_eq!(origins.judge("null"), OriginVerdict::Any);
        assert_eq!(origins.judge("https://a.example"), OriginVerdict::Listed);
    }

    #[test]
    fn what_is_no_origin_is_refused() {
        for text in [
            "example.com",
            "https://",
            "https://a.example/",
            "https://a.example/path",
            "https://*",
            "https://a.*.example",
            "https://*.*.example",
            "https://u@a.example",
            "https://a.example:x",
            "https://a.example:99999",
            "null",
            "",
        ] {
            assert!(origins(&[text]).is_err(), "{text}");
        }
    }
}
