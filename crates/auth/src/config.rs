//! The settings, as the code uses them. Reading them from files and environment is the services' part.

use std::fmt;
use std::path::PathBuf;
use std::time::Duration;

use crate::claims::ClaimPaths;
use crate::credential::Secret;
use crate::jwks::JwksTerms;
use crate::limits::{FILE_POLL, WEBHOOK_FRESH, WEBHOOK_STALE, WEBHOOK_TIMEOUT};

/// How callers are told apart.
#[derive(Debug, Clone)]
pub enum Config {
    /// Not at all: everybody may do everything. For development.
    Open,
    /// By their credentials.
    Closed(Closed),
}

/// Settings of a service that asks for credentials.
#[derive(Debug, Clone)]
pub struct Closed {
    /// Whose tokens are taken. May be empty: then there are API keys alone.
    pub issuers: Vec<IssuerConfig>,
    /// A file that declares keys and members.
    pub declared: Option<PathBuf>,
    /// Who is asked about memberships beside the claims and the stores.
    pub webhook: Option<WebhookConfig>,
    /// How often files are looked at for changes.
    pub file_poll: Duration,
}

impl Default for Closed {
    fn default() -> Closed {
        Closed { issuers: Vec::new(), declared: None, webhook: None, file_poll: FILE_POLL }
    }
}

/// Whose tokens are taken, and on what terms. Several may share a name, or have none: to change a secret without a break,
/// two stand beside each other for a time.
#[derive(Debug, Clone)]
pub struct IssuerConfig {
    /// What `iss` must be. `None`: any, but for those that another issuer of the list has. Keys at a URL need a name.
    pub issuer: Option<String>,
    /// Whom tokens must be for. Keys at a URL need one, since their issuer makes tokens for others too.
    pub audience: Audience,
    /// What verifies them.
    pub keys: KeySource,
    /// Where the claims stand.
    pub claims: ClaimPaths,
    /// Longest time from `iat` to `exp`; tokens that are good for longer are refused.
    pub lifetime_max: Option<Duration>,
    /// What stands before the names of its users, wherever they are named. Issuers of different names have different ones: a
    /// name is good for one issuer's users alone.
    pub subject_prefix: String,
}

impl IssuerConfig {
    /// The smallest set-up: one shared secret.
    pub fn from_secret(secret: Secret) -> IssuerConfig {
        IssuerConfig {
            issuer: None,
            audience: Audience::Any,
            keys: KeySource::Secret(secret),
            claims: ClaimPaths::default(),
            lifetime_max: None,
            subject_prefix: String::new(),
        }
    }
}

/// Whom a token must be for (`aud`).
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Audience {
    /// It does not matter.
    Any,
    /// One of these.
    OneOf(Vec<String>),
}

/// Where the keys of an issuer are. Printed without what may be secret.
#[derive(Clone)]
pub enum KeySource {
    /// A shared secret (HS256), at least 32 bytes.
    Secret(Secret),
    /// A public key in PEM; its kind fixes the algorithm.
    Pem(String),
    /// A file with a JSON Web Key Set or one public key in PEM, read again when it changes.
    File(PathBuf),
    /// The address of a JSON Web Key Set: `https`, or `http` to a loopback address.
    Url {
        /// The address.
        url: String,
        /// When it is fetched.
        terms: JwksTerms,
    },
}

impl fmt::Debug for KeySource {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            KeySource::Secret(secret) => f.debug_tuple("Secret").field(secret).finish(),
            KeySource::Pem(_) => f.write_str("Pem"),
            KeySource::File(path) => f.debug_tuple("File").field(path).finish(),
            KeySource::Url { url, terms } => {
                f.debug_struct("Url").field("url", &shown_url(url)).field("terms", terms).finish()
            }
        }
    }
}

/// An authorizer: a service that is asked what a user may do in a project. Printed without what may be secret.
#[derive(Clone)]
pub struct WebhookConfig {
    /// Where it is: `https`, or `http` to a loopback address.
    pub url: String,
    /// Sent as a bearer token, so that it knows who asks.
    pub secret: Option<Secret>,
    /// How long an answer is held.
    pub fresh: Duration,
    /// How long an answer is good while it cannot be asked again.
    pub stale: Duration,
    /// How long it may take to answer.
    pub timeout: Duration,
}

impl WebhookConfig {
    /// The authorizer at this address, with the times of [`limits`](crate::limits).
    pub fn new(url: impl Into<String>) -> WebhookConfig {
        let (fresh, stale, timeout) = (WEBHOOK_FRESH, WEBHOOK_STALE, WEBHOOK_TIMEOUT);
        WebhookConfig { url: url.into(), secret: None, fresh, stale, timeout }
    }
}

impl fmt::Debug for WebhookConfig {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let WebhookConfig { url, secret, fresh, stale, timeout } = self;
        let mut shown = f.debug_struct("WebhookConfig");
        shown.field("url", &shown_url(url)).field("secret", secret);
        shown.field("fresh", fresh).field("stale", stale).field("timeout", timeout).finish()
    }
}

/// An address without what may be secret in it: user and password, the query, and what is behind `#`. What is no address is
/// not shown at all.
///
/// ```
/// use tidings_auth::shown_url;
///
/// assert_eq!(shown_url("https://id.example.com/keys"), "https://id.example.com/keys");
/// assert_eq!(shown_url("https://u:p@id.example.com/keys?token=t"), "https://[redacted]@id.example.com/keys?[redacted]");
/// ```
pub fn shown_url(text: &str) -> String {
    const REDACTED: &str = "[redacted]";
    let Ok(url) = reqwest::Url::parse(text) else { return REDACTED.to_owned() };
    let is_plain =
        url.username().is_empty() && url.password().is_none() && url.query().is_none() && url.fragment().is_none();
    if is_plain {
        return text.to_owned();
    }
    let Some(host) = url.host_str() else { return REDACTED.to_owned() };
    let user = if url.username().is_empty() && url.password().is_none() { "" } else { "[redacted]@" };
    let port = url.port().map_or(String::new(), |port| format!(":{port}"));
    let rest = if url.query().is_none() && url.fragment().is_none() { "" } else { "?[redacted]" };
    format!("{}://{user}{host}{port}{}{rest}", url.scheme(), url.path())
}

/// What is wrong with a setting.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{field}: {message}")]
pub struct ConfigFault {
    /// Which one, with dots (`issuers[0].keys`).
    pub field: String,
    /// What is wrong.
    pub message: String,
}

impl ConfigFault {
    pub(crate) fn new(field: impl Into<String>, message: impl Into<String>) -> ConfigFault {
        ConfigFault { field: field.into(), message: message.into() }
    }
}

/// The address of a service that is trusted. Over plain `http` anybody on the way could answer in its place.
pub(crate) fn trusted_url(text: &str) -> Result<reqwest::Url, &'static str> {
    let url = reqwest::Url::parse(text).map_err(|_| "not a URL")?;
    let host = url.host_str().ok_or("not a URL with a host")?;
    let address = host.trim_matches(['[', ']']).parse::<std::net::IpAddr>();
    let loopback = host == "localhost" || address.is_ok_and(|address| address.is_loopback());
    match url.scheme() {
        "https" => Ok(url),
        "http" if loopback => Ok(url),
        _ => Err("must be https, or http to a loopback address"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn plain_http_is_for_loopback_alone() {
        for good in ["https://id.example.com/jwks", "http://localhost:80/", "http://127.0.0.9/x", "http://[::1]:8080/"]
        {
            assert!(trusted_url(good).is_ok(), "{good}");
        }
        for bad in
            ["http://id.example.com/", "http://127.0.0.1.example.com/", "file:///etc/keys", "id", "http://10.0.0.1/"]
        {
            assert!(trusted_url(bad).is_err(), "{bad}");
        }
    }

    #[test]
    fn addresses_are_printed_without_what_may_be_secret() {
        let url = "https://hush:hush@id.example.com:8443/keys?key=hush#hush".to_owned();
        let webhook = WebhookConfig { secret: Some(Secret::new("hush")), ..WebhookConfig::new(&url) };
        let keys = KeySource::Url { url, terms: JwksTerms::default() };
        let printed = format!("{webhook:?} {keys:?} {:?}", WebhookConfig::new("hush"));
        assert!(!printed.contains("hush"), "{printed}");
        assert!(printed.contains("https://[redacted]@id.example.com:8443/keys?[redacted]"), "{printed}");
    }
}
