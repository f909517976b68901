//! How much is posted.

use std::fmt;
use std::str::FromStr;

/// A load.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Load {
    /// Nothing: viewers are connected, and that is all.
    Idle,
    /// So many events a second, whatever becomes of them.
    Rate(u32),
    /// As many as are delivered, with some under way.
    Saturated,
    /// As many as are taken, so many in a request, and nobody watches.
    Posts(usize),
}

impl FromStr for Load {
    type Err = std::num::ParseIntError;

    fn from_str(text: &str) -> Result<Load, Self::Err> {
        match text {
            "idle" | "0" => Ok(Load::Idle),
            "saturated" => Ok(Load::Saturated),
            text => match text.strip_prefix("posts:") {
                Some(batch) => batch.parse().map(Load::Posts),
                None => text.parse().map(Load::Rate),
            },
        }
    }
}

impl fmt::Display for Load {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Load::Idle => f.write_str("idle"),
            Load::Rate(rate) => write!(f, "{rate}/s"),
            Load::Saturated => f.write_str("saturated"),
            Load::Posts(batch) => write!(f, "posts of {batch}"),
        }
    }
}
