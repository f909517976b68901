//! The types that settings have: how each is read from a file's value or from text, and shown.

use std::fmt;
use std::net::SocketAddr;
use std::path::PathBuf;
use std::str::FromStr;
use std::time::Duration;

use tidings_broker::redis::{RedisSettings, RedisSettingsError};
use toml::Value;

mod networks;
mod origins;

pub use networks::{ForwardedHeader, Network, Networks};
pub use origins::{OriginVerdict, Origins};

mod account;

pub use account::Password;

/// A type that a setting may have.
pub trait Setting: Sized {
    /// Reads a file's value, or the text of a flag or environment variable. The error says what was expected.
    fn read(value: &Value) -> Result<Self, String>;

    /// As it is shown; secrets redacted.
    fn show(&self) -> Value;

    /// The number that bounds apply to, in the key's unit.
    fn number(&self) -> Option<u64> {
        None
    }
}

/// Reads a value and holds it against its bounds.
pub(super) fn read<T: Setting>(value: &Value, bounds: Option<(u64, u64)>) -> Result<T, String> {
    let read = T::read(value)?;
    match (bounds, read.number()) {
        (Some((least, most)), Some(number)) if number < least || number > most => {
            Err(format!("must be from {least} to {most}, is {number}"))
        }
        _ => Ok(read),
    }
}

pub(super) fn expected(what: &str, value: &Value) -> String {
    match value {
        Value::String(_) => format!("expected {what}"),
        other => format!("expected {what}, found {}", article(other.type_str())),
    }
}

fn article(kind: &str) -> String {
    let vowel = kind.starts_with(['a', 'e', 'i', 'o', 'u']);
    format!("{} {kind}", if vowel { "an" } else { "a" })
}

/// Reads text through `FromStr`.
fn from_text<T: FromStr>(what: &str, value: &Value) -> Result<T, String> {
    value.as_str().and_then(|text| text.trim().parse().ok()).ok_or_else(|| expected(what, value))
}

fn whole_number(value: &Value) -> Result<u64, String> {
    match value {
        Value::Integer(number) => u64::try_from(*number).map_err(|_| "must not be negative".to_owned()),
        // Underscores as in TOML, so that a value can be moved from a file to the environment.
        Value::String(text) => text.trim().replace('_', "").parse().map_err(|_| expected("a whole number", value)),
        _ => Err(expected("a whole number", value)),
    }
}

fn shown_number(number: u64) -> Value {
    i64::try_from(number).map_or_else(|_| Value::String(number.to_string()), Value::Integer)
}

macro_rules! numbers {
    ($($type:ty),+) => {$(
        impl Setting for $type {
            fn read(value: &Value) -> Result<Self, String> {
                let number = whole_number(value)?;
                <$type>::try_from(number).map_err(|_| format!("must be at most {}, is {number}", <$type>::MAX))
            }

            fn show(&self) -> Value {
                shown_number(*self as u64)
            }

            fn number(&self) -> Option<u64> {
                Some(*self as u64)
            }
        }
    )+};
}

numbers!(u64, usize);

impl Setting for bool {
    fn read(value: &Value) -> Result<bool, String> {
        match value {
            Value::Boolean(flag) => Ok(*flag),
            value => from_text("true or false", value),
        }
    }

    fn show(&self) -> Value {
        Value::Boolean(*self)
    }
}

/// A file; empty: none.
impl Setting for Option<PathBuf> {
    fn read(value: &Value) -> Result<Option<PathBuf>, String> {
        let path = value.as_str().ok_or_else(|| expected("the path of a file", value))?;
        Ok((!path.is_empty()).then(|| PathBuf::from(path)))
    }

    fn show(&self) -> Value {
        Value::String(self.as_ref().map_or_else(String::new, |path| path.display().to_string()))
    }
}

/// Reads a list: of texts in a file, with commas between them elsewhere.
pub(super) fn list<T: FromStr>(what: &str, value: &Value) -> Result<Vec<T>, String> {
    let parse = |text: &str| text.trim().parse().map_err(|_| format!("expected {what}, found {:?}", text.trim()));
    match value {
        Value::Array(values) => {
            values.iter().map(|value| parse(value.as_str().ok_or_else(|| expected(what, value))?)).collect()
        }
        Value::String(text) if text.trim().is_empty() => Ok(Vec::new()),
        Value::String(text) => text.split(',').map(parse).collect(),
        other => Err(expected(&format!("a list of {what}"), other)),
    }
}

pub(super) fn shown_list<T: fmt::Display>(values: &[T]) -> Value {
    Value::Array(values.iter().map(|value| Value::String(value.to_string())).collect())
}

/// In milliseconds; keys end in `_ms`.
impl Setting for Duration {
    fn read(value: &Value) -> Result<Duration, String> {
        whole_number(value).map(Duration::from_millis)
    }

    fn show(&self) -> Value {
        shown_number(self.number().unwrap_or(u64::MAX))
    }

    fn number(&self) -> Option<u64> {
        Some(u64::try_from(self.as_millis()).unwrap_or(u64::MAX))
    }
}

impl Setting for SocketAddr {
    fn read(value: &Value) -> Result<SocketAddr, String> {
        let text = value.as_str().unwrap_or_default().trim();
        // The one name that people write; others would need a resolver and may mean several addresses.
        let text = text.replacen("localhost:", "127.0.0.1:", usize::from(text.starts_with("localhost:")));
        text.parse().map_err(|_| expected("an address and port, as in 127.0.0.1:8000", value))
    }

    fn show(&self) -> Value {
        Value::String(self.to_string())
    }
}

/// A word that Redis keys begin with.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct KeyPrefix(String);

impl KeyPrefix {
    /// The word.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl Default for KeyPrefix {
    fn default() -> KeyPrefix {
        KeyPrefix("tidings".into())
    }
}

impl Setting for KeyPrefix {
    fn read(value: &Value) -> Result<KeyPrefix, String> {
        const BYTES_MAX: usize = 64;
        let sound = |c: char| c.is_ascii_alphanumeric() || matches!(c, '.' | '_' | '-' | ':');
        match value.as_str() {
            // Braces would move the hash tag away from the project's name.
            Some(word) if !word.is_empty() && word.len() <= BYTES_MAX && word.chars().all(sound) => {
                Ok(KeyPrefix(word.into()))
            }
            _ => Err(expected("1 to 64 letters, digits, dots, colons, underscores or hyphens", value)),
        }
    }

    fn show(&self) -> Value {
        Value::String(self.0.clone())
    }
}

/// Where Redis is, perhaps with a password, which is never shown.
#[derive(Clone, PartialEq, Eq)]
pub struct RedisUrl(String);

impl RedisUrl {
    /// The whole URL, password included. Not for logs.
    pub fn expose(&self) -> &str {
        &self.0
    }

    /// The URL with `[redacted]` in place of its password.
    pub fn redacted(&self) -> String {
        let Some((scheme, rest)) = self.0.split_once("://") else { return "[redacted]".into() };
        match rest.rsplit_once('@') {
            Some((account, host)) => {
                let user = account.split_once(':').map_or("", |(user, _)| user);
                format!("{scheme}://{user}:[redacted]@{host}")
            }
            None => self.0.clone(),
        }
    }
}

impl Default for RedisUrl {
    fn default() -> RedisUrl {
        RedisUrl("redis://127.0.0.1:6379".into())
    }
}

impl fmt::Debug for RedisUrl {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.redacted())
    }
}

impl Setting for RedisUrl {
    fn read(value: &Value) -> Result<RedisUrl, String> {
        let url =
            value.as_str().ok_or_else(|| expected("a URL as in redis://user:password@host:6379/0", value))?.trim();
        match RedisSettings::new(url).check_url() {
            Ok(()) => Ok(RedisUrl(url.into())),
            Err(RedisSettingsError::Url(why)) => Err(why.into()),
            Err(other) => Err(other.to_string()),
        }
    }

    fn show(&self) -> Value {
        Value::String(self.redacted())
    }
}

/// How log lines look.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum LogFormat {
    /// Text on a terminal, JSON elsewhere.
    #[default]
    Auto,
    /// One JSON object a line.
    Json,
    /// For people.
    Text,
}

impl Setting for LogFormat {
    fn read(value: &Value) -> Result<LogFormat, String> {
        match value.as_str() {
            Some("auto") => Ok(LogFormat::Auto),
            Some("json") => Ok(LogFormat::Json),
            Some("text") => Ok(LogFormat::Text),
            _ => Err(expected("auto, json or text", value)),
        }
    }

    fn show(&self) -> Value {
        let word = match self {
            LogFormat::Auto => "auto",
            LogFormat::Json => "json",
            LogFormat::Text => "text",
        };
        Value::String(word.into())
    }
}

/// Which log lines are written: a level, or levels by target (`info,tidings_gateway=debug`).
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct LogFilter(String);

impl LogFilter {
    /// Warnings and errors only.
    pub fn warnings() -> LogFilter {
        LogFilter("warn".into())
    }

    /// The filter's text.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl Default for LogFilter {
    fn default() -> LogFilter {
        LogFilter("info".into())
    }
}

impl Setting for LogFilter {
    fn read(value: &Value) -> Result<LogFilter, String> {
        let filter: tracing_subscriber::EnvFilter = from_text("a level, or levels by target", value)?;
        Ok(LogFilter(filter.to_string()))
    }

    fn show(&self) -> Value {
        Value::String(self.0.clone())
    }
}
