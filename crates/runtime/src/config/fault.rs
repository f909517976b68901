//! What is wrong with a configuration, all of it at once.

use std::fmt;

use super::source::Origin;

/// One fault.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Fault {
    /// Where the value came from; none: from a default, or from several values together.
    pub origin: Option<Origin>,
    /// The key as it was given (`gateway.listen`); empty: the source as a whole.
    pub key: String,
    /// What is wrong, and where it helps what would be right. Never repeats a value that may be secret.
    pub message: String,
}

impl Fault {
    /// A fault of a key's value.
    pub fn new(origin: Option<Origin>, key: impl Into<String>, message: impl Into<String>) -> Fault {
        Fault { origin, key: key.into(), message: message.into() }
    }
}

impl fmt::Display for Fault {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if let Some(origin) = &self.origin {
            write!(f, "{origin}: ")?;
        }
        if !self.key.is_empty() {
            write!(f, "{}: ", self.key)?;
        }
        f.write_str(&self.message)
    }
}

/// Every fault of a configuration, at least one, in the order of the sources.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub struct Faults(pub Vec<Fault>);

impl fmt::Display for Faults {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let count = self.0.len();
        write!(f, "invalid configuration: {count} {}", if count == 1 { "fault" } else { "faults" })?;
        for fault in &self.0 {
            write!(f, "\n  {fault}")?;
        }
        Ok(())
    }
}
