//! How to reach Redis.

use std::fmt;
use std::path::{Path, PathBuf};
use std::time::Duration;

use ::redis::io::tcp::TcpSettings;
use ::redis::{Client, ClientTlsConfig, ConnectionInfo, IntoConnectionInfo as _, ProtocolVersion, TlsCertificates};

use super::metrics::RedisMetrics;
use crate::clock::ManualClock;

/// What stands behind the scheme where sentinels are named.
const SENTINEL: &str = "+sentinel";

/// What stands there where nodes of a cluster are named.
const CLUSTER: &str = "+cluster";

/// Where sentinels listen unless told otherwise.
const SENTINEL_PORT: u16 = 26_379;

/// How to reach Redis, and what its keys are called. [`Debug`](fmt::Debug) leaves the URL out: it may hold a password.
#[derive(Clone)]
pub struct RedisSettings {
    /// `redis://[user:password@]host:port/db`, or `redis+sentinel://[user:password@]host:port,host:port/name/db` with the
    /// addresses of sentinels and the name by which they know the primary, or
    /// `redis+cluster://[user:password@]host:port,host:port` with the addresses of some nodes of a cluster. `rediss`
    /// instead of `redis`: by TLS, the sentinels too. The account is the one at Redis.
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
    /// What is counted of it.
    pub metrics: RedisMetrics,
}

/// A name and a password.
#[derive(Clone, Default)]
pub struct Account {
    /// None: the default user.
    pub username: Option<String>,
    /// None: it has none.
    pub password: Option<String>,
}

/// Files of certificates for connections to Redis, in PEM. They are read for every connection, so that renewed ones are
/// taken without a restart.
#[derive(Debug, Clone, Default)]
pub struct Certificates {
    /// Of the authorities that the server's certificate is held against; none: the system's.
    pub authorities: Option<PathBuf>,
    /// Our certificate and its key, where the server asks for one.
    pub own: Option<(PathBuf, PathBuf)>,
}

/// Where Redis is.
#[derive(Debug, Clone)]
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
    /// Whatever nodes of a cluster have the slots.
    Cluster {
        /// One of the seeds; how to reach the others, but for their addresses.
        first: ConnectionInfo,
        /// Nodes that are asked for the others.
        seeds: Vec<ConnectionInfo>,
    },
}

/// A URL, prefix or certificate that cannot be used. The text of the URL is not repeated.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum RedisSettingsError {
    /// Not a URL of a form that [`RedisSettings::url`] may have.
    #[error("redis url: {0}")]
    Url(&'static str),
    /// An empty prefix, or one with other characters than `A-Z a-z 0-9 . _ : -`.
    #[error("redis prefix {0:?}: expected characters of A-Z a-z 0-9 . _ : -")]
    Prefix(String),
    /// A file that cannot be read or holds no certificate or key.
    #[error("redis certificates: {0}")]
    Certificates(String),
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
            metrics: RedisMetrics::default(),
        }
    }

    /// Checks the URL alone. No I/O.
    pub fn check_url(&self) -> Result<(), RedisSettingsError> {
        self.place().map(drop)
    }

    /// Whether connections are encrypted.
    pub fn is_tls(&self) -> bool {
        self.url.starts_with("rediss")
    }

    /// Whether the URL names sentinels.
    pub fn is_sentinel(&self) -> bool {
        self.url.split_once("://").is_some_and(|(scheme, _)| scheme.ends_with(SENTINEL))
    }

    /// Whether the URL names nodes of a cluster.
    pub fn is_cluster(&self) -> bool {
        self.url.split_once("://").is_some_and(|(scheme, _)| scheme.ends_with(CLUSTER))
    }

    /// Checks all settings, and reads the files that they name; connects to nothing.
    pub fn check(&self) -> Result<(), RedisSettingsError> {
        self.checked().map(drop)
    }

    /// The same, and where Redis is.
    pub(super) fn checked(&self) -> Result<Place, RedisSettingsError> {
        // A brace would move the hash tag away from the project's name.
        let allowed = |byte: u8| byte.is_ascii_alphanumeric() || b"._:-".contains(&byte);
        if self.prefix.is_empty() || !self.prefix.bytes().all(allowed) {
            return Err(RedisSettingsError::Prefix(self.prefix.clone()));
        }
        if self.is_tls() {
            let read = self.tls.read().map_err(|error| RedisSettingsError::Certificates(error.to_string()))?;
            // Parses them; where it would lead does not matter.
            Client::build_with_tls("rediss://localhost", read)
                .map_err(|error| RedisSettingsError::Certificates(error.to_string()))?;
        }
        self.place()
    }

    fn place(&self) -> Result<Place, RedisSettingsError> {
        let (scheme, rest) = self.url.split_once("://").ok_or(RedisSettingsError::Url(
            "expected redis://user:password@host:6379/0, redis+sentinel://user:password@host:26379,host:26379/name/0 or \
             redis+cluster://user:password@host:6379,host:6379",
        ))?;
        let (scheme, is_sentinel) = scheme.strip_suffix(SENTINEL).map_or((scheme, false), |scheme| (scheme, true));
        let (scheme, is_cluster) = scheme.strip_suffix(CLUSTER).map_or((scheme, false), |scheme| (scheme, true));
        if is_sentinel && is_cluster {
            return Err(RedisSettingsError::Url(
                "a cluster has no sentinels: it takes +cluster or +sentinel, not both",
            ));
        }
        if !matches!(scheme, "redis" | "rediss") {
            return Err(RedisSettingsError::Url(
                "its scheme must be redis or rediss, with +sentinel for sentinels or +cluster for a cluster",
            ));
        }
        let (account, places) = rest.rsplit_once('@').map_or(("", rest), |(account, places)| (account, places));
        if account.contains(['/', '?', '#']) {
            return Err(RedisSettingsError::Url("in user and password, write / as %2F, ? as %3F and # as %23"));
        }
        if places.contains(['?', '#']) {
            return Err(RedisSettingsError::Url("takes no parameters behind ? or #"));
        }
        let account = if account.is_empty() { String::new() } else { format!("{account}@") };
        let (hosts, path) = places.split_once('/').unwrap_or((places, ""));
        if is_cluster {
            if !matches!(path, "" | "0") {
                return Err(RedisSettingsError::Url("a cluster has database 0 alone"));
            }
            let seeds = hosts.split(',').map(|host| node(scheme, &account, host, "")).collect::<Result<Vec<_>, _>>()?;
            return Ok(Place::Cluster { first: seeds[0].clone(), seeds });
        }
        if !is_sentinel {
            return node(scheme, &account, hosts, path).map(Place::Node);
        }
        let (name, database) = path.split_once('/').unwrap_or((path, ""));
        if name.is_empty() {
            return Err(RedisSettingsError::Url(
                "the sentinels' name of the primary is missing behind their addresses",
            ));
        }
        let nodes = hosts.split(',').map(|host| self.sentinel(scheme, host)).collect::<Result<Vec<_>, _>>()?;
        // Its address is not known yet.
        let primary = node(scheme, &account, "primary", database)?;
        Ok(Place::Sentinels { nodes, name: name.to_owned(), primary })
    }

    fn sentinel(&self, scheme: &str, host: &str) -> Result<ConnectionInfo, RedisSettingsError> {
        let has_port = host.rsplit_once(']').map_or(host, |(_, behind)| behind).contains(':');
        let at = if has_port { host.to_owned() } else { format!("{host}:{SENTINEL_PORT}") };
        let info = node(scheme, "", &at, "")?;
        let mut session = info.redis_settings().clone();
        if let Some(username) = &self.sentinel.username {
            session = session.set_username(username);
        }
        if let Some(password) = &self.sentinel.password {
            session = session.set_password(password);
        }
        Ok(info.set_redis_settings(session))
    }
}

impl Certificates {
    /// Whether any file is named.
    pub fn is_empty(&self) -> bool {
        self.authorities.is_none() && self.own.is_none()
    }

    /// As the client library takes them.
    pub(super) fn read(&self) -> std::io::Result<TlsCertificates> {
        let read = |path: &Path| {
            std::fs::read(path)
                .map_err(|error| std::io::Error::new(error.kind(), format!("{}: {error}", path.display())))
        };
        let client_tls = match &self.own {
            Some((cert, key)) => Some(ClientTlsConfig { client_cert: read(cert)?, client_key: read(key)? }),
            None => None,
        };
        Ok(TlsCertificates { client_tls, root_cert: self.authorities.as_deref().map(read).transpose()? })
    }
}

/// How to reach one node. `account` ends in an `@` or is empty.
fn node(scheme: &str, account: &str, host: &str, database: &str) -> Result<ConnectionInfo, RedisSettingsError> {
    if !database.is_empty() && database.parse::<u16>().is_err() {
        return Err(RedisSettingsError::Url("the database at its end must be a number"));
    }
    if host.is_empty() || host.starts_with(':') || host.contains(|c: char| c == ',' || c.is_whitespace()) {
        return Err(RedisSettingsError::Url("expected a host and perhaps a port, as in redis.example:6379"));
    }
    let url = format!("{scheme}://{account}{host}/{database}");
    let info = url.into_connection_info().map_err(|_| {
        RedisSettingsError::Url("an address is no host and port, or the account is not percent-encoded")
    })?;
    let session = info.redis_settings().clone().set_protocol(ProtocolVersion::RESP3);
    Ok(info.set_redis_settings(session).set_tcp_settings(TcpSettings::default().set_nodelay(true)))
}

impl fmt::Debug for RedisSettings {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("RedisSettings").field("prefix", &self.prefix).finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn fault(url: &str) -> String {
        let error = RedisSettings::new(url).check_url().expect_err("a fault").to_string();
        assert!(!error.contains("s3cret"), "{error}");
        error
    }

    fn addresses(nodes: &[ConnectionInfo]) -> Vec<String> {
        nodes.iter().map(|node| node.addr().to_string()).collect()
    }

    #[test]
    fn a_node() {
        let Ok(Place::Node(info)) = RedisSettings::new("redis://user:s3%2Fcret:@p@host:6380/3").place() else {
            panic!("a node")
        };
        assert_eq!(info.addr().to_string(), "host:6380");
        let session = info.redis_settings();
        assert_eq!((session.username(), session.password(), session.db()), (Some("user"), Some("s3/cret:@p"), 3));
        for sound in ["redis://h", "rediss://h:1/", "redis://[::1]:6379/0", "redis://:s3cret@h"] {
            RedisSettings::new(sound).check_url().expect(sound);
        }
    }

    #[test]
    fn sentinels() {
        let mut settings = RedisSettings::new("rediss+sentinel://user:s3cret@a,b:1,[::1],[::2]:7/hive/2");
        settings.sentinel = Account { username: Some("watch".into()), password: Some("0ther".into()) };
        let Ok(Place::Sentinels { nodes, name, primary }) = settings.place() else { panic!("sentinels") };
        assert_eq!(addresses(&nodes), ["a:26379", "b:1", "::1:26379", "::2:7"]);
        assert!(
            nodes.iter().all(|node| matches!(node.addr(), ::redis::ConnectionAddr::TcpTls { insecure: false, .. }))
        );
        for node in &nodes {
            // The sentinels know other accounts than Redis, and databases not at all.
            let session = node.redis_settings();
            assert_eq!((session.username(), session.password(), session.db()), (Some("watch"), Some("0ther"), 0));
        }
        assert_eq!(name, "hive");
        let session = primary.redis_settings();
        assert_eq!((session.username(), session.password(), session.db()), (Some("user"), Some("s3cret"), 2));
        let Ok(Place::Sentinels { nodes, .. }) = RedisSettings::new("redis+sentinel://u:s3cret@a/hive").place() else {
            panic!("sentinels")
        };
        assert_eq!(nodes[0].redis_settings().password(), None);
    }

    #[test]
    fn clusters() {
        let Ok(Place::Cluster { first, seeds }) =
            RedisSettings::new("rediss+cluster://user:s3cret@a,b:1,[::1]:7").place()
        else {
            panic!("a cluster")
        };
        assert_eq!(addresses(&seeds), ["a:6379", "b:1", "::1:7"]);
        assert_eq!(first.addr(), seeds[0].addr());
        for seed in &seeds {
            let session = seed.redis_settings();
            assert_eq!((session.username(), session.password(), session.db()), (Some("user"), Some("s3cret"), 0));
            assert!(matches!(seed.addr(), ::redis::ConnectionAddr::TcpTls { insecure: false, .. }));
        }
        for sound in ["redis+cluster://h", "redis+cluster://h:1/", "redis+cluster://h1,h2:7/0"] {
            let settings = RedisSettings::new(sound);
            settings.check_url().expect(sound);
            assert!(settings.is_cluster() && !settings.is_sentinel());
        }
    }

    #[test]
    fn every_fault_is_named_and_no_secret_shown() {
        for (url, part) in [
            ("s3cret@h", "expected redis://"),
            ("http://u:s3cret@h", "scheme"),
            ("sentinel+redis://u:s3cret@h/x", "scheme"),
            ("redis://u:s3cret@", "a host and perhaps a port"),
            ("redis://u:s3cret@:6379", "a host and perhaps a port"),
            ("redis://u:s3cret@h:port", "no host and port"),
            ("redis://u:s3cret@h:1:2", "no host and port"),
            ("redis://u:s3cret@h1,h2", "a host and perhaps a port"),
            ("redis://u:s3cret@h/x", "database"),
            ("redis://u:s3cret@h/0/0", "database"),
            ("redis://u:s3/cret@h", "%2F"),
            ("rediss://u:s3cret@h/#insecure", "no parameters"),
            ("redis://u:s3cret@h?protocol=3", "no parameters"),
            ("redis+sentinel://u:s3cret@h:26379", "name of the primary"),
            ("redis+sentinel://u:s3cret@h:26379//0", "name of the primary"),
            ("redis+sentinel://u:s3cret@/hive", "a host and perhaps a port"),
            ("redis+sentinel://u:s3cret@h1,,h2/hive", "a host and perhaps a port"),
            ("redis+sentinel://u:s3cret@h1, h2/hive", "a host and perhaps a port"),
            ("redis+sentinel://u:s3cret@h1:x,h2/hive", "no host and port"),
            ("redis+sentinel://u:s3cret@h/hive/x", "database"),
            ("redis+cluster://u:s3cret@h1,h2/1", "database 0 alone"),
            ("redis+cluster://u:s3cret@h1,h2/hive/0", "database 0 alone"),
            ("redis+cluster://u:s3cret@h1,,h2", "a host and perhaps a port"),
            ("redis+cluster://u:s3cret@", "a host and perhaps a port"),
            ("redis+cluster+sentinel://u:s3cret@h/hive", "not both"),
            ("redis+sentinel+cluster://u:s3cret@h/hive", "scheme"),
            ("redis+sentinel://u:s3cret@h/hive?x", "no parameters"),
        ] {
            let said = fault(url);
            assert!(said.contains(part), "{url}: {said:?} lacks {part:?}");
        }
    }

    #[test]
    fn certificates_are_looked_at_before_anything_starts() {
        let folder = tempfile::tempdir().expect("a temporary folder");
        let file = folder.path().join("authority.pem");
        let mut settings = RedisSettings::new("rediss://h");
        settings.tls.authorities = Some(file.clone());
        let error = settings.check().expect_err("no such file").to_string();
        assert!(error.contains("authority.pem"), "{error}");
        std::fs::write(&file, "-----BEGIN CERTIFICATE-----\n???\n-----END CERTIFICATE-----\n").expect("the file");
        settings.check().expect_err("no certificate");
        settings.url = "redis://h".into();
        settings.check().expect("without TLS nobody asks");
    }
}
