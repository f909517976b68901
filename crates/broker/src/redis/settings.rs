//! How to reach Redis.

use std::fmt;
use std::time::Duration;

use ::redis::io::tcp::TcpSettings;
use ::redis::{ClientTlsConfig, ConnectionInfo, IntoConnectionInfo as _, ProtocolVersion, TlsCertificates};

use crate::clock::ManualClock;

/// How to reach Redis, and what its keys are called. [`Debug`](fmt::Debug) leaves the URL out: it may hold a password.
#[derive(Clone)]
pub struct RedisSettings {
    /// `redis://[user:password@]host:port/db`, or `redis+sentinel://[user:password@]host:port,host:port/name/db` with the
    /// addresses of sentinels and the name by which they know the primary. `rediss` instead of `redis`: by TLS.
    pub url: String,
    /// The account at the sentinels; none: they want none.
    pub sentinel: Account,
    /// By whom the server's certificate is signed and who we are; empty: the system's authorities, and nobody.
    pub tls: Certificates,
    /// What every key and channel begins with.
    pub prefix: String,
    /// How long a sending waits for its answer before its outcome is unknown.
    pub response_timeout: Duration,
    /// How long opening a connection may take.
    pub connect_timeout: Duration,
    /// How often each connection is asked whether it still is one.
    pub ping_interval: Duration,
    /// For tests: the time that scripts use in place of the server's.
    pub clock: Option<ManualClock>,
}

/// A name and a password.
#[derive(Clone, Default)]
pub struct Account {
    /// None: the default user.
    pub username: Option<String>,
    /// None: it has none.
    pub password: Option<String>,
}

/// Certificates for connections to Redis, in PEM.
#[derive(Clone, Default)]
pub struct Certificates {
    /// Of the authorities that the server's certificate is held against; none: the system's.
    pub authorities: Option<Vec<u8>>,
    /// Our certificate and its key, where the server asks for one.
    pub own: Option<(Vec<u8>, Vec<u8>)>,
}

/// Where Redis is.
#[derive(Clone)]
pub(super) enum Place {
    /// One address, whatever answers there.
    Node(ConnectionInfo),
    /// Whatever node the sentinels name.
    Sentinels {
        /// The sentinels.
        nodes: Vec<ConnectionInfo>,
        /// The primary's name.
        name: String,
        /// How to reach the primary, but for its address.
        primary: ConnectionInfo,
    },
}

/// A URL or prefix that cannot be used. The text of the URL is not repeated.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum RedisSettingsError {
    /// Not a URL of a form that [`RedisSettings::url`] may have.
    #[error("redis url: {0}")]
    Url(String),
    /// An empty prefix, or one with other characters than `A-Z a-z 0-9 . _ : -`.
    #[error("redis prefix {0:?}: expected characters of A-Z a-z 0-9 . _ : -")]
    Prefix(String),
}

impl RedisSettings {
    /// The defaults, for this URL.
    pub fn new(url: impl Into<String>) -> RedisSettings {
        RedisSettings {
            url: url.into(),
            sentinel: Account::default(),
            tls: Certificates::default(),
            prefix: "tidings".into(),
            response_timeout: Duration::from_secs(2),
            connect_timeout: Duration::from_secs(2),
            ping_interval: Duration::from_secs(1),
            clock: None,
        }
    }

    /// Checks the settings, without any I/O.
    pub(super) fn place(&self) -> Result<Place, RedisSettingsError> {
        // A brace would move the hash tag away from the project's name.
        let allowed = |byte: u8| byte.is_ascii_alphanumeric() || b"._:-".contains(&byte);
        if self.prefix.is_empty() || !self.prefix.bytes().all(allowed) {
            return Err(RedisSettingsError::Prefix(self.prefix.clone()));
        }
        let Some((scheme, rest)) = self.url.split_once("+sentinel://") else {
            return node(&self.url).map(Place::Node);
        };
        let (account, places) = rest.rsplit_once('@').map_or(("", rest), |(account, places)| (account, places));
        let (hosts, path) = places.split_once('/').unwrap_or((places, ""));
        let (name, database) = path.split_once('/').unwrap_or((path, "0"));
        if name.is_empty() {
            return Err(RedisSettingsError::Url(
                "the sentinels' name of the primary is missing behind their addresses".into(),
            ));
        }
        let sentinel = |host: &str| {
            let info = node(&format!("{scheme}://{}", with_port(host)))?;
            let mut session = info.redis_settings().clone();
            if let Some(username) = &self.sentinel.username {
                session = session.set_username(username);
            }
            if let Some(password) = &self.sentinel.password {
                session = session.set_password(password);
            }
            Ok(info.set_redis_settings(session))
        };
        let nodes = hosts.split(',').map(sentinel).collect::<Result<Vec<_>, RedisSettingsError>>()?;
        let at = if account.is_empty() { String::new() } else { format!("{account}@") };
        // Its address is not known yet.
        let primary = node(&format!("{scheme}://{at}primary/{database}"))?;
        Ok(Place::Sentinels { nodes, name: name.to_owned(), primary })
    }

    /// Certificates as the client library takes them.
    pub(super) fn certificates(&self) -> TlsCertificates {
        let own = self.tls.own.clone();
        let client_tls = own.map(|(client_cert, client_key)| ClientTlsConfig { client_cert, client_key });
        TlsCertificates { client_tls, root_cert: self.tls.authorities.clone() }
    }
}

/// Sentinels listen at 26379 unless told otherwise.
fn with_port(host: &str) -> String {
    let bare = host.rsplit_once(']').map_or(host, |(_, behind)| behind);
    if bare.contains(':') { host.to_owned() } else { format!("{host}:26379") }
}

fn node(url: &str) -> Result<ConnectionInfo, RedisSettingsError> {
    let info = url.into_connection_info().map_err(|error| {
        let why = error.detail().map_or_else(|| error.category().to_owned(), str::to_owned);
        RedisSettingsError::Url(why)
    })?;
    let session = info.redis_settings().clone().set_protocol(ProtocolVersion::RESP3);
    Ok(info.set_redis_settings(session).set_tcp_settings(TcpSettings::default().set_nodelay(true)))
}

impl fmt::Debug for RedisSettings {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("RedisSettings").field("prefix", &self.prefix).finish_non_exhaustive()
    }
}
