//! Positions as the auditor reads them. Clients keep the text and never look inside; this is the one place that does,
//! and it shares no code with the services.

use std::fmt;
use std::str::FromStr;

/// A position, taken apart: `<ms>-<n>.<branch>`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default)]
pub struct Place {
    /// Time in milliseconds.
    pub ms: u64,
    /// Running count of events.
    pub n: u64,
    /// Name of the log's branch; zeros: none.
    pub branch: [u8; 12],
}

impl FromStr for Place {
    type Err = String;

    fn from_str(text: &str) -> Result<Place, String> {
        let bad = || format!("not a position: {text:?}");
        let (id, branch) = text.split_once('.').unwrap_or((text, ""));
        let (ms, n) = id.split_once('-').ok_or_else(bad)?;
        let branch = if branch.is_empty() { [0; 12] } else { branch.as_bytes().try_into().map_err(|_| bad())? };
        Ok(Place { ms: ms.parse().map_err(|_| bad())?, n: n.parse().map_err(|_| bad())?, branch })
    }
}

impl fmt::Display for Place {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}-{}", self.ms, self.n)?;
        if self.branch != [0; 12] {
            write!(f, ".{}", String::from_utf8_lossy(&self.branch))?;
        }
        Ok(())
    }
}
