//! How to reach Redis.

use std::fmt;
use std::time::Duration;

use ::redis::io::tcp::TcpSettings;
use ::redis::{ConnectionInfo, IntoConnectionInfo as _, ProtocolVersion};

use crate::clock::ManualClock;

/// How to reach Redis, and what its keys are called. [`Debug`](fmt::Debug) leaves the URL out: it may hold a password.
#[derive(Clone)]
pub struct RedisSettings {
    /// `redis://[user:password@]host:port/db`.
    pub url: String,
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

/// A URL or prefix that cannot be used. The text of the URL is not repeated.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum RedisSettingsError {
    /// Not a URL of the form `redis://[user:password@]host:port/db`.
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
            prefix: "tidings".into(),
            response_timeout: Duration::from_secs(2),
            connect_timeout: Duration::from_secs(2),
            ping_interval: Duration::from_secs(1),
            clock: None,
        }
    }

    /// Checks the settings, without any I/O.
    pub(super) fn connection_info(&self) -> Result<ConnectionInfo, RedisSettingsError> {
        // A brace would move the hash tag away from the project's name.
        let allowed = |byte: u8| byte.is_ascii_alphanumeric() || b"._:-".contains(&byte);
        if self.prefix.is_empty() || !self.prefix.bytes().all(allowed) {
            return Err(RedisSettingsError::Prefix(self.prefix.clone()));
        }
        let info = self.url.as_str().into_connection_info().map_err(|error| {
            let why = error.detail().map_or_else(|| error.category().to_owned(), str::to_owned);
            RedisSettingsError::Url(why)
        })?;
        let session = info.redis_settings().clone().set_protocol(ProtocolVersion::RESP3);
        Ok(info.set_redis_settings(session).set_tcp_settings(TcpSettings::default().set_nodelay(true)))
    }
}

impl fmt::Debug for RedisSettings {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("RedisSettings").field("prefix", &self.prefix).finish_non_exhaustive()
    }
}
