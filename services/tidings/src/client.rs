//! What the tools share to talk to a running server over HTTP or HTTPS: its address, what it refuses, and how to try again.

pub(crate) mod access;
pub(crate) mod backoff;
pub(crate) mod draft;
pub(crate) mod publisher;
pub(crate) mod refusal;

use std::fmt;
use std::str::FromStr;
use std::time::Duration;

use access::Access;
use anyhow::Context as _;
use reqwest::{Client, Url};
use tidings_protocol::project::Project;

/// How long a connection may take to stand.
const CONNECT_TIMEOUT: Duration = Duration::from_secs(5);

/// The address of a server, as in `https://tidings.example`. A path in it goes before the routes.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Address(Url);

/// A text that is no server's address.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub(crate) enum AddressError {
    /// It is no URL at all.
    #[error("expected an address like http://127.0.0.1:8000")]
    Malformed,
    /// Another scheme.
    #[error("expected an address that starts with http:// or https://, found {0}://")]
    Scheme(String),
    /// With a part that an address does not have.
    #[error("expected host, port and perhaps a path, and nothing else")]
    Parts,
}

impl FromStr for Address {
    type Err = AddressError;

    fn from_str(text: &str) -> Result<Address, AddressError> {
        let url = Url::parse(text).map_err(|_| AddressError::Malformed)?;
        if !matches!(url.scheme(), "http" | "https") {
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
    /// Whether connections are encrypted.
    pub(crate) fn is_tls(&self) -> bool {
        self.0.scheme() == "https"
    }

    /// The place at this path.
    pub(crate) fn at(&self, path: &[&str]) -> Url {
        let mut url = self.0.clone();
        if let Ok(mut segments) = url.path_segments_mut() {
            segments.pop_if_empty().extend(path);
        }
        url
    }

    /// Where a project's events are read and written.
    pub(crate) fn events(&self, project: &Project) -> Url {
        self.below(project, &["events"])
    }

    /// A place below a project: each part is one segment of the path.
    pub(crate) fn below(&self, project: &Project, parts: &[&str]) -> Url {
        self.at(&[&["v1", "projects", project.as_str()], parts].concat())
    }

    /// The page that shows a project.
    pub(crate) fn page(&self, project: &Project) -> String {
        format!("{self}/#{project}")
    }
}

/// A client that follows no redirects (whoever answers is the server that was asked for) and gives up on a connection
/// that does not stand. It shows the token with each request. `silence`: how long an answer may pause before it counts as cut.
///
/// # Errors
/// When the authorities that certificates are held against cannot be had.
pub(crate) fn http(address: &Address, silence: Duration, access: &Access) -> anyhow::Result<Client> {
    let builder = Client::builder()
        .user_agent(concat!("tidings/", env!("CARGO_PKG_VERSION")))
        .redirect(reqwest::redirect::Policy::none())
        .default_headers(access.headers())
        .connect_timeout(CONNECT_TIMEOUT)
        .read_timeout(silence)
        .tcp_nodelay(true);
    access.trusting(address, builder)?.build().context("cannot speak TLS")
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
    if let Some(why) = tls_cause(&text) {
        return why.to_owned();
    }
    // The system's number for it tells people nothing.
    let words = text.split_once(" (os error").map_or(text.as_str(), |(words, _)| words);
    let mut letters = words.chars();
    letters.next().map_or_else(String::new, |first| first.to_lowercase().chain(letters).collect())
}

/// What a failure of TLS means to who typed an address.
fn tls_cause(text: &str) -> Option<&'static str> {
    let causes = [
        ("UnknownIssuer", "nobody that we trust has signed its certificate; --ca names who did"),
        ("certificate required", "it wants a certificate of its clients, and the tools have none"),
        ("CertificateRequired", "it wants a certificate of its clients, and the tools have none"),
        ("InvalidContentType", "it does not speak TLS there; is it http://?"),
        ("invalid HTTP version parsed", "it does not speak HTTP there; is it https://?"),
    ];
    causes.into_iter().find(|(part, _)| text.contains(part)).map(|(_, why)| why)
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
        check("https://h", "https://h", "https://h/v1/projects/demo/events");
    }

    #[test]
    fn what_is_no_address_is_refused() {
        let check = |text: &str, why: AddressError| assert_eq!(text.parse::<Address>(), Err(why), "{text}");
        check("127.0.0.1:8000", AddressError::Malformed);
        check("localhost:8000", AddressError::Malformed);
        check("wss://127.0.0.1", AddressError::Scheme("wss".into()));
        check("http://h/?a=b", AddressError::Parts);
        check("http://user@h/", AddressError::Parts);
    }
}
