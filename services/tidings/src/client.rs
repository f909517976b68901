//! What the tools share to talk to a running server over HTTP: its address, what it refuses, and how to try again.
//!
//! Plain `http` only: until the services serve TLS there is nothing else to speak to.

pub(crate) mod backoff;
pub(crate) mod draft;
pub(crate) mod publisher;
pub(crate) mod refusal;
pub(crate) mod token;

use std::fmt;
use std::str::FromStr;
use std::time::Duration;

use reqwest::{Client, Url};
use tidings_protocol::project::Project;
use token::Token;

/// How long a connection may take to stand.
const CONNECT_TIMEOUT: Duration = Duration::from_secs(5);

/// The address of a server, as in `http://127.0.0.1:8000`. A path in it goes before the routes.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Address(Url);

/// A text that is no server's address.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub(crate) enum AddressError {
    /// It is no URL at all.
    #[error("expected an address like http://127.0.0.1:8000")]
    Malformed,
    /// Another scheme.
    #[error("expected an address that starts with http://, found {0}://")]
    Scheme(String),
    /// With a part that an address does not have.
    #[error("expected host, port and perhaps a path, and nothing else")]
    Parts,
}

impl FromStr for Address {
    type Err = AddressError;

    fn from_str(text: &str) -> Result<Address, AddressError> {
        let url = Url::parse(text).map_err(|_| AddressError::Malformed)?;
        if url.scheme() != "http" {
            // `127.0.0.1:8000` and `localhost:8000` lack a scheme, and should not be told of one called `localhost`.
            let found = text.contains("://").then(|| url.scheme().to_owned());
            return Err(found.map_or(AddressError::Malformed, AddressError::Scheme));
        }
        let is_plain = url.query().is_none() && url.fragment().is_none() && url.username().is_empty();
        if is_plain && url.password().is_none() { Ok(Address(url)) } else { Err(AddressError::Parts) }
    }
}

impl fmt::Display for Address {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.0.as_str().trim_end_matches('/'))
    }
}

impl Address {
    /// Where a project's events are read and written.
    pub(crate) fn events(&self, project: &Project) -> Url {
        let mut url = self.0.clone();
        if let Ok(mut path) = url.path_segments_mut() {
            path.pop_if_empty().extend(["v1", "projects", project.as_str(), "events"]);
        }
        url
    }

    /// A place below a project: each part is one segment of the path.
    pub(crate) fn below(&self, project: &Project, parts: &[&str]) -> Url {
        let mut url = self.0.clone();
        if let Ok(mut path) = url.path_segments_mut() {
            path.pop_if_empty().extend(["v1", "projects", project.as_str()]).extend(parts);
        }
        url
    }

    /// The page that shows a project.
    pub(crate) fn page(&self, project: &Project) -> String {
        format!("{self}/#{project}")
    }
}

/// A client that follows no redirects (whoever answers is the server that was asked for) and gives up on a connection
/// that does not stand. It shows the token with each request. `silence`: how long an answer may pause before it counts as cut.
pub(crate) fn http(silence: Duration, token: &Token) -> Result<Client, reqwest::Error> {
    Client::builder()
        .user_agent(concat!("tidings/", env!("CARGO_PKG_VERSION")))
        .redirect(reqwest::redirect::Policy::none())
        .default_headers(token.headers())
        .connect_timeout(CONNECT_TIMEOUT)
        .read_timeout(silence)
        .tcp_nodelay(true)
        .build()
}

/// Why there was no answer, in a few words: the innermost cause, which names it ("connection refused").
pub(crate) fn cause(error: &reqwest::Error) -> String {
    if error.is_timeout() {
        return "no answer in time".to_owned();
    }
    let mut innermost: &dyn std::error::Error = error;
    while let Some(source) = innermost.source() {
        innermost = source;
    }
    let text = innermost.to_string();
    if ["end of file before message length reached", "connection closed before message completed"].contains(&&*text) {
        return "the connection was cut".to_owned();
    }
    // The system's number for it tells people nothing.
    let words = text.split_once(" (os error").map_or(text.as_str(), |(words, _)| words);
    let mut letters = words.chars();
    letters.next().map_or_else(String::new, |first| first.to_lowercase().chain(letters).collect())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn addresses_are_read_and_joined() {
        let check = |text: &str, shown: &str, events: &str| {
            let address: Address = text.parse().expect(text);
            let project = "demo".parse().expect("a name");
            assert_eq!(address.to_string(), shown);
            assert_eq!(address.events(&project).as_str(), events);
        };
        check("http://127.0.0.1:8000", "http://127.0.0.1:8000", "http://127.0.0.1:8000/v1/projects/demo/events");
        check("http://h/tidings/", "http://h/tidings", "http://h/tidings/v1/projects/demo/events");
    }

    #[test]
    fn what_is_no_address_is_refused() {
        let check = |text: &str, why: AddressError| assert_eq!(text.parse::<Address>(), Err(why), "{text}");
        check("127.0.0.1:8000", AddressError::Malformed);
        check("localhost:8000", AddressError::Malformed);
        check("https://127.0.0.1", AddressError::Scheme("https".into()));
        check("http://h/?a=b", AddressError::Parts);
        check("http://user@h/", AddressError::Parts);
    }
}
