//! The native protocol's frames (`tidings.v1`): what clients may say, and the JSON of what the server says.
//!
//! Events are never parsed here: the stored envelope gets `project` and `position` added before its closing brace.

use serde::{Deserialize, Serialize};

use crate::compact::CompactItem;
use crate::filter::Filter;
use crate::gap::Gap;
use crate::position::Position;
use crate::project::Project;
use crate::wire;

/// WebSocket subprotocol of the native frames.
pub const SUBPROTOCOL: &str = "tidings.v1";

/// Longest `ref` that is echoed, in bytes.
pub const REF_MAX: usize = 128;

/// What a client says.
#[derive(Debug, Clone, PartialEq, Deserialize)]
#[serde(tag = "op", rename_all = "snake_case", deny_unknown_fields)]
pub enum ClientFrame {
    /// Start (or replace) the subscription to a project.
    Subscribe(Subscribe),
    /// End it.
    Unsubscribe {
        /// Which.
        project: String,
        /// Echoed.
        #[serde(default, rename = "ref")]
        reference: Option<String>,
    },
    /// Goes on with another credential of the same viewer; answered with `refreshed`.
    Refresh {
        /// A token, or an API key.
        token: ShownToken,
        /// Echoed.
        #[serde(default, rename = "ref")]
        reference: Option<String>,
    },
    /// Answered with `pong`.
    Ping {
        /// Echoed.
        #[serde(default, rename = "ref")]
        reference: Option<String>,
    },
}

/// The `op` of a command: its frame is read by who takes commands, since their data must pass as it stands.
pub const COMMAND: &str = "command";

/// The words that `op` may be.
pub const CLIENT_OPS: [&str; 5] = ["subscribe", "unsubscribe", COMMAND, "refresh", "ping"];

/// A credential as it stands in a frame. Its text is never printed.
#[derive(Clone, PartialEq, Eq, Deserialize)]
#[serde(transparent)]
pub struct ShownToken(pub String);

impl std::fmt::Debug for ShownToken {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("[redacted]")
    }
}

/// A subscription to one project.
#[derive(Debug, Clone, PartialEq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Subscribe {
    /// Which project.
    pub project: String,
    /// Where to start; `now` when absent.
    #[serde(default)]
    pub after: Option<String>,
    /// What to leave out.
    #[serde(default)]
    pub filter: Filter,
    /// What happens to a backlog.
    #[serde(default)]
    pub lag: Lag,
    /// Whether to send a snapshot, and a fresh one after each gap.
    #[serde(default)]
    pub snapshot: SnapshotWish,
    /// Whether to be told who is there.
    #[serde(default)]
    pub presence: bool,
    /// Echoed.
    #[serde(default, rename = "ref")]
    pub reference: Option<String>,
}

/// What a viewer that lags gets.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Lag {
    /// Every event.
    #[default]
    Full,
    /// Its backlog compacted: the same final state, the control lane untouched.
    Compact,
}

/// Whether a viewer follows snapshots.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum SnapshotWish {
    /// None.
    #[default]
    No,
    /// One when the stream reaches the head, and a fresh one after each gap.
    Now,
    /// It has one from before (a resume): only after a gap.
    AfterGap,
}

impl<'de> Deserialize<'de> for SnapshotWish {
    fn deserialize<D: serde::Deserializer<'de>>(deserializer: D) -> Result<SnapshotWish, D::Error> {
        #[derive(Deserialize)]
        #[serde(untagged)]
        enum Either {
            Bool(bool),
            Word(String),
        }
        match Either::deserialize(deserializer)? {
            Either::Bool(true) => Ok(SnapshotWish::Now),
            Either::Bool(false) => Ok(SnapshotWish::No),
            Either::Word(word) if word == "after_gap" => Ok(SnapshotWish::AfterGap),
            Either::Word(_) => Err(serde::de::Error::custom("snapshot is true, false or \"after_gap\"")),
        }
    }
}

/// Where a reader starts.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum After {
    /// Behind this position.
    Position(Position),
    /// With the oldest event that the log holds.
    Start,
    /// With the next event.
    Now,
    /// With the first event of the last so many milliseconds, by the gateway's clock.
    Ago(u64),
}

/// A text that names no place to start.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("expected a position, `start`, `now`, or a time back like `-10m` (s, m, h, d)")]
pub struct AfterError;

impl std::str::FromStr for After {
    type Err = AfterError;

    fn from_str(text: &str) -> Result<After, AfterError> {
        match text {
            "start" => Ok(After::Start),
            "now" => Ok(After::Now),
            _ => match text.strip_prefix('-') {
                Some(ago) => ago_ms(ago).map(After::Ago).ok_or(AfterError),
                None => text.parse().map(After::Position).map_err(|_| AfterError),
            },
        }
    }
}

/// `10m` in milliseconds.
fn ago_ms(text: &str) -> Option<u64> {
    let unit = text.chars().last()?;
    let digits = &text[..text.len() - unit.len_utf8()];
    if digits.is_empty() || digits.len() > 9 || !digits.bytes().all(|b| b.is_ascii_digit()) {
        return None;
    }
    let seconds = match unit {
        's' => 1,
        'm' => 60,
        'h' => 3_600,
        'd' => 86_400,
        _ => return None,
    };
    digits.parse::<u64>().ok()?.checked_mul(seconds * 1_000)
}

/// What an event is told with beyond its stored envelope.
#[derive(Debug, Clone, Copy, Default)]
pub struct Marks<'a> {
    /// A position at which it stood before a fork; added as `was` unless the event has its own.
    pub was: Option<&'a Position>,
    /// This viewer has been told it before.
    pub seen: bool,
}

/// Writes an event as it is delivered: the stored envelope with `project`, `position` (and `was`, `seen`) added.
pub fn write_event(project: &Project, position: Position, event: &wire::Event, marks: Marks<'_>, out: &mut Vec<u8>) {
    write_envelope(project, position, &event.json, out);
    // The closing brace is already there: marks are rare, so they pay for moving it.
    let was = event.was.first().cloned().or_else(|| marks.was.map(ToString::to_string));
    if was.is_some() || marks.seen {
        out.pop();
        if let Some(was) = was {
            out.extend_from_slice(b",\"was\":\"");
            out.extend_from_slice(was.as_bytes());
            out.push(b'"');
        }
        if marks.seen {
            out.extend_from_slice(b",\"seen\":true");
        }
        out.push(b'}');
    }
}

/// Writes an envelope (a JSON object) with `project` and `position` added.
pub fn write_envelope(project: &Project, position: Position, json: &[u8], out: &mut Vec<u8>) {
    use std::io::Write as _;
    let open = json.strip_suffix(b"}").unwrap_or(json);
    out.reserve(open.len() + project.as_str().len() + 80);
    out.extend_from_slice(open);
    if open.len() > 1 {
        out.push(b',');
    }
    // Names of projects and positions need no escaping by their grammar; writing to a Vec cannot fail.
    let _ = write!(out, "\"project\":\"{project}\",\"position\":\"{position}\"}}");
}

/// Writes what is left of a compacted stretch: each event as an envelope, with commas between them.
pub fn write_compacted(project: &Project, events: &[CompactItem<'_>], out: &mut Vec<u8>) {
    for (index, event) in events.iter().enumerate() {
        if index > 0 {
            out.push(b',');
        }
        write_envelope(project, event.position, &event.json, out);
    }
}

/// Writes a gap, shaped like an event.
pub fn write_gap(project: &Project, gap: &Gap, out: &mut Vec<u8>) {
    use std::io::Write as _;
    let _ = write!(
        out,
        "{{\"type\":\"gap\",\"data\":{{\"after\":\"{}\",\"before\":\"{}\",\"cause\":\"{}\",",
        gap.after,
        gap.before,
        gap.cause.as_str()
    );
    if let Some(lost) = gap.lost {
        let _ = write!(out, "\"lost\":{lost},");
    }
    let _ = write!(out, "\"certain\":{}}},\"project\":\"{project}\",\"position\":\"{}\"}}", gap.certain, gap.position);
}

/// What the server says beside events, snapshots and gaps.
#[derive(Debug, Clone, PartialEq, Serialize)]
#[serde(tag = "op", rename_all = "snake_case")]
pub enum ServerFrame<'a> {
    /// First of all.
    Hello {
        /// The stable id that `to` uses.
        viewer: &'a str,
        /// Name and version of the server.
        server: &'a str,
        /// How often the server pings.
        ping_ms: u64,
    },
    /// A subscription stands.
    Subscribed {
        /// To this project.
        project: &'a str,
        /// Where the stream starts.
        position: Position,
        /// Echo.
        #[serde(rename = "ref", skip_serializing_if = "Option::is_none")]
        reference: Option<&'a str>,
    },
    /// A subscription ended at the client's wish.
    Unsubscribed {
        /// From this project.
        project: &'a str,
        /// Echo.
        #[serde(rename = "ref", skip_serializing_if = "Option::is_none")]
        reference: Option<&'a str>,
    },
    /// Nothing for a filtered viewer, up to here.
    At {
        /// In this project.
        project: &'a str,
        /// The cursor.
        position: Position,
    },
    /// A command was taken.
    Command {
        /// In this project.
        project: &'a str,
        /// Its id.
        id: &'a str,
        /// How it stands.
        status: &'a str,
        /// Echo.
        #[serde(rename = "ref", skip_serializing_if = "Option::is_none")]
        reference: Option<&'a str>,
    },
    /// The store is away (or back): events may be late.
    Degraded {
        /// Whether it is away.
        active: bool,
    },
    /// The server goes: come back after this time, to any gateway.
    Draining {
        /// Milliseconds.
        retry_after_ms: u64,
    },
    /// The connection goes on with another credential.
    Refreshed {
        /// Milliseconds for which it is good; none: it does not end by itself.
        #[serde(skip_serializing_if = "Option::is_none")]
        expires_in_ms: Option<u64>,
        /// Echo.
        #[serde(rename = "ref", skip_serializing_if = "Option::is_none")]
        reference: Option<&'a str>,
    },
    /// Something that the client said was refused; or, with a project, its subscription has ended.
    Error {
        /// Stable code.
        code: &'a str,
        /// For people.
        message: &'a str,
        /// Whose subscription has ended.
        #[serde(skip_serializing_if = "Option::is_none")]
        project: Option<&'a str>,
        /// Echo.
        #[serde(rename = "ref", skip_serializing_if = "Option::is_none")]
        reference: Option<&'a str>,
    },
    /// Answer to `ping`.
    Pong {
        /// Echo.
        #[serde(rename = "ref", skip_serializing_if = "Option::is_none")]
        reference: Option<&'a str>,
    },
}

impl ServerFrame<'_> {
    /// The frame's JSON.
    pub fn to_json(&self) -> Vec<u8> {
        serde_json::to_vec(self).expect("a server frame has string keys only")
    }
}

#[cfg(test)]
mod tests;
