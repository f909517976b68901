//! The sources of values, flattened to (key, value, origin) in the order in which they win: file, environment, flags.

use std::ffi::OsStr;
use std::fmt;
use std::path::{Path, PathBuf};

use toml::Value;

use super::{FILE_VARIABLE, Fault, Sources};

/// What the names of our environment variables begin with.
const PREFIX: &str = "TIDINGS_";

/// Variables with that prefix that are not settings: the file, and what the tools take.
const NOT_SETTINGS: [&str; 3] = [FILE_VARIABLE, "TIDINGS_URL", "TIDINGS_TOKEN"];

/// Where a value came from.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Origin {
    /// A file.
    File(PathBuf),
    /// An environment variable.
    Variable(String),
    /// A flag.
    Flag(&'static str),
}

impl fmt::Display for Origin {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Origin::File(path) => write!(f, "{}", path.display()),
            Origin::Variable(name) => f.write_str(name),
            Origin::Flag(flag) => f.write_str(flag),
        }
    }
}

/// A value as it was given.
#[derive(Debug)]
pub(super) struct Given {
    pub(super) key: String,
    pub(super) value: Value,
    pub(super) origin: Origin,
}

/// All given values, later ones winning, and what could not even be read.
pub(super) fn collect(sources: &Sources) -> (Vec<Given>, Vec<Fault>) {
    let mut given = Vec::new();
    let mut faults = Vec::new();
    let named = sources.environment.iter().find(|(name, _)| name == FILE_VARIABLE).map(|(_, path)| PathBuf::from(path));
    // An empty variable is how many launchers say "not set".
    let file = sources.file.clone().or(named.filter(|path| !path.as_os_str().is_empty()));
    if let Some(path) = file {
        read_file(&path, &mut given, &mut faults);
    }
    for (name, value) in &sources.environment {
        read_variable(name, value, &mut given, &mut faults);
    }
    for (flag, key, text) in &sources.flags {
        given.push(Given { key: (*key).into(), value: Value::String(text.clone()), origin: Origin::Flag(flag) });
    }
    (given, faults)
}

fn read_file(path: &Path, given: &mut Vec<Given>, faults: &mut Vec<Fault>) {
    let origin = Origin::File(path.to_owned());
    let text = match std::fs::read_to_string(path) {
        Ok(text) => text,
        Err(error) => return faults.push(Fault::new(Some(origin), "", format!("cannot be read: {error}"))),
    };
    let table: toml::Table = match text.parse() {
        Ok(table) => table,
        Err(error) => return faults.push(Fault::new(Some(origin), "", syntax(&text, &error))),
    };
    for (section, value) in table {
        match value {
            Value::Table(keys) => given.extend(keys.into_iter().map(|(name, value)| Given {
                key: format!("{section}.{name}"),
                value,
                origin: origin.clone(),
            })),
            value => given.push(Given { key: section, value, origin: origin.clone() }),
        }
    }
}

/// Where the syntax breaks. The offending line is not repeated: it may hold a password.
fn syntax(text: &str, error: &toml::de::Error) -> String {
    let at = error.span().map_or(0, |span| span.start.min(text.len()));
    let line = text[..text.floor_char_boundary(at)].split('\n').count();
    format!("line {line}: {}", error.message().trim().replace('\n', ", "))
}

fn read_variable(name: &OsStr, value: &OsStr, given: &mut Vec<Given>, faults: &mut Vec<Fault>) {
    // A name that is not UTF-8 is not one of ours, whatever it begins with.
    let Some(name) = name.to_str() else { return };
    let Some(rest) = name.strip_prefix(PREFIX) else { return };
    if NOT_SETTINGS.contains(&name) || is_service_link(rest) {
        return;
    }
    let origin = Origin::Variable(name.into());
    let key = rest.to_ascii_lowercase().replacen("__", ".", 1);
    match value.to_str() {
        Some(text) => given.push(Given { key, value: Value::String(text.into()), origin }),
        None => faults.push(Fault::new(Some(origin), key, "is not UTF-8")),
    }
}

/// Kubernetes gives every pod variables that name the services of its namespace; those of a service called `tidings-...`
/// begin like ours (`TIDINGS_GATEWAY_SERVICE_HOST`, `TIDINGS_GATEWAY_PORT_8000_TCP_ADDR`). Settings have two underscores
/// behind the section.
fn is_service_link(rest: &str) -> bool {
    let is_port = |tail: &str| {
        let mut words = tail.split('_');
        words.next().is_some_and(|port| port.parse::<u16>().is_ok())
            && matches!(words.next(), Some("TCP" | "UDP" | "SCTP"))
    };
    !rest.contains("__")
        && (rest.ends_with("_SERVICE_HOST")
            || rest.contains("_SERVICE_PORT")
            || rest.ends_with("_PORT")
            || rest.split_once("_PORT_").is_some_and(|(_, tail)| is_port(tail)))
}
