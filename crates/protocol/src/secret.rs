//! Texts that nobody is shown: of the configuration and of projects' settings.

use std::fmt;

use serde::{Deserialize, Serialize, Serializer};

/// What is shown in the place of a secret. Given back in a change of settings it leaves the secret as it is.
pub const REDACTED: &str = "[redacted]";

/// A secret. Neither printed nor serialised.
#[derive(Clone, PartialEq, Eq, Deserialize)]
#[serde(transparent)]
pub struct Secret(String);

impl Secret {
    /// Holds a secret; its length is the caller's matter.
    pub fn new(text: impl Into<String>) -> Secret {
        Secret(text.into())
    }

    /// The text, for who must have it.
    pub fn expose(&self) -> &str {
        &self.0
    }
}

impl fmt::Debug for Secret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(REDACTED)
    }
}

impl Serialize for Secret {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(REDACTED)
    }
}
