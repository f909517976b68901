//! Positions in a project's log (docs/log.md L1).
//!
//! A position names one event: `<ms>-<n>.<branch>`. Within a branch positions only grow; `n` counts events over all
//! branches, so a stretch is a subtraction. Clients treat the text as opaque.

use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Deserializer, Serialize, Serializer};

/// Length of a branch's name in characters.
pub const BRANCH_LEN: usize = 12;

/// The random name of one branch of a log: 12 characters of `[a-z0-9]`, or none (before birth).
#[derive(Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Default)]
pub struct Branch([u8; BRANCH_LEN]);

impl Branch {
    /// No branch: the position before a log's birth has none.
    pub const NONE: Branch = Branch([0; BRANCH_LEN]);

    /// Whether this is a name at all.
    pub fn is_none(self) -> bool {
        self == Self::NONE
    }

    /// Makes a name from 12 random bytes. The caller draws them, so that this crate stays free of randomness.
    pub fn from_random(bytes: [u8; BRANCH_LEN]) -> Branch {
        const ALPHABET: &[u8; 36] = b"abcdefghijklmnopqrstuvwxyz0123456789";
        Branch(bytes.map(|b| ALPHABET[usize::from(b) % ALPHABET.len()]))
    }

    /// The name, empty for [`Branch::NONE`].
    pub fn as_str(&self) -> &str {
        if self.is_none() {
            return "";
        }
        std::str::from_utf8(&self.0).expect("a branch holds ASCII only")
    }
}

impl FromStr for Branch {
    type Err = PositionError;

    fn from_str(text: &str) -> Result<Branch, PositionError> {
        if text.is_empty() {
            return Ok(Branch::NONE);
        }
        let bytes: [u8; BRANCH_LEN] = text.as_bytes().try_into().map_err(|_| PositionError)?;
        if bytes.iter().all(|b| b.is_ascii_lowercase() || b.is_ascii_digit()) {
            Ok(Branch(bytes))
        } else {
            Err(PositionError)
        }
    }
}

impl fmt::Display for Branch {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

impl fmt::Debug for Branch {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Branch({})", self.as_str())
    }
}

/// The part of a position that orders a log whatever its branches: (milliseconds, running count).
///
/// It is also the id of a stream entry (of its last event).
#[derive(Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Default)]
pub struct LogId {
    /// max(server clock, last `ms`), in milliseconds since the Unix epoch.
    pub ms: u64,
    /// Running count of events in the project, going on over forks.
    pub n: u64,
}

impl LogId {
    /// Before everything.
    pub const ZERO: LogId = LogId { ms: 0, n: 0 };
}

impl fmt::Display for LogId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}-{}", self.ms, self.n)
    }
}

impl fmt::Debug for LogId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

impl FromStr for LogId {
    type Err = PositionError;

    fn from_str(text: &str) -> Result<LogId, PositionError> {
        let (ms, n) = text.split_once('-').ok_or(PositionError)?;
        Ok(LogId { ms: number(ms)?, n: number(n)? })
    }
}

/// A place in a project's log. Order positions by [`Position::id`] only within one branch, or within one log.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Default)]
pub struct Position {
    /// Time and running count.
    pub id: LogId,
    /// The branch on which the event stood; none before birth.
    pub branch: Branch,
}

impl Position {
    /// Before birth: `0-0`, no branch.
    pub const ZERO: Position = Position { id: LogId::ZERO, branch: Branch::NONE };

    /// A position from its parts.
    pub fn new(ms: u64, n: u64, branch: Branch) -> Position {
        Position { id: LogId { ms, n }, branch }
    }

    /// Whether this is the position before birth.
    pub fn is_zero(&self) -> bool {
        self.id.n == 0
    }

    /// The running count.
    pub fn n(&self) -> u64 {
        self.id.n
    }

    /// The time part, milliseconds since the Unix epoch.
    pub fn ms(&self) -> u64 {
        self.id.ms
    }

    /// The position of the event `back` events before this one in the same entry (all events of one share `ms`).
    pub fn back(&self, back: u64) -> Position {
        Position { id: LogId { ms: self.id.ms, n: self.id.n - back }, branch: self.branch }
    }
}

impl fmt::Display for Position {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.branch.is_none() { write!(f, "{}", self.id) } else { write!(f, "{}.{}", self.id, self.branch) }
    }
}

impl fmt::Debug for Position {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

/// A text that is not a position.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("not a position: expected <ms>-<n>.<branch> or 0-0")]
pub struct PositionError;

impl FromStr for Position {
    type Err = PositionError;

    /// Accepts what [`fmt::Display`] writes, canonically: no signs, no leading zeros.
    fn from_str(text: &str) -> Result<Position, PositionError> {
        let (id, branch) = match text.split_once('.') {
            Some((_, "")) => return Err(PositionError),
            Some((id, branch)) => (id.parse()?, branch.parse()?),
            None => (text.parse()?, Branch::NONE),
        };
        if branch == Branch::NONE && id != LogId::ZERO {
            return Err(PositionError);
        }
        Ok(Position { id, branch })
    }
}

fn number(text: &str) -> Result<u64, PositionError> {
    let canonical = !text.is_empty()
        && text.len() <= 16
        && text.bytes().all(|b| b.is_ascii_digit())
        && (text == "0" || !text.starts_with('0'));
    if canonical { text.parse().map_err(|_| PositionError) } else { Err(PositionError) }
}

impl Serialize for Position {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

impl<'de> Deserialize<'de> for Position {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Position, D::Error> {
        let text = std::borrow::Cow::<'de, str>::deserialize(deserializer)?;
        text.parse().map_err(serde::de::Error::custom)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn text_round_trips_and_only_the_canonical_form_is_taken() {
        for good in ["0-0", "1763630000123-48211.k3f9a7c2m4xq", "0-0.abcdefghijkl"] {
            assert_eq!(good.parse::<Position>().expect(good).to_string(), good);
        }
        for bad in [
            "",
            "0",
            "1-2",
            "01-2.abcdefghijkl",
            "1-2.ABC",
            "1-2.",
            "+1-2.abcdefghijkl",
            "1-2.abcdefghijkl.x",
            "-",
            "1--2.abcdefghijkl",
            "99999999999999999999-1.abcdefghijkl",
        ] {
            assert!(bad.parse::<Position>().is_err(), "{bad} was taken");
        }
    }
}
