//! Webhooks of a project: who is called with its events, and who with commands.
//!
//! Secrets are shown to nobody: [`Secret`] prints and serialises as `[redacted]`; what is stored is written by
//! [`Settings::stored`](super::Settings::stored) alone. Which addresses may be called is not decided here.

use std::collections::BTreeMap;
use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Deserializer, Serialize, Serializer};
use url::Url;

use crate::filter::Filter;
pub use crate::secret::{REDACTED, Secret};

/// Most webhooks of one project, that of its commands not counted.
pub const WEBHOOKS_MAX: usize = 8;

/// Longest name of a webhook, in bytes.
pub const WEBHOOK_NAME_BYTES_MAX: usize = 64;

/// Longest address of a webhook, in bytes.
pub const HOOK_URL_BYTES_MAX: usize = 2_048;

/// Shortest secret, in bytes: what is shorter can be guessed from one delivery.
pub const SECRET_BYTES_MIN: usize = 16;

/// Longest secret, in bytes.
pub const SECRET_BYTES_MAX: usize = 256;

/// Most capabilities that one webhook takes commands for.
pub const CAPABILITIES_MAX: usize = 32;

/// Longest capability, in bytes.
pub const CAPABILITY_BYTES_MAX: usize = 64;

/// Most commands that a webhook may have in hand.
pub const IN_HAND_MAX: u32 = 1_000;

/// Commands that a webhook has in hand at a time, unless its settings say how many.
pub const IN_HAND_DEFAULT: u32 = 16;

/// Webhooks by their names, which are of 1 to [`WEBHOOK_NAME_BYTES_MAX`] letters, digits, dots, underscores and hyphens, a
/// letter or digit first.
pub type Webhooks = BTreeMap<String, Webhook>;

/// Who is called with events.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Webhook {
    /// Where.
    pub url: HookUrl,
    /// Types of events by whole segments, as in a viewer's filter; none: all events.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub types: Vec<String>,
    /// What deliveries are signed with.
    pub secret: Secret,
    /// What they are signed with as well, while receivers go over to a new secret.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub previous_secret: Option<Secret>,
}

impl Webhook {
    /// Which events it is called with.
    pub fn filter(&self) -> Filter {
        Filter { types: self.types.clone(), ..Filter::default() }
    }
}

/// Who is called with commands: a runner that does not ask for them.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct CommandWebhook {
    /// Where.
    pub url: HookUrl,
    /// What it can do: 1 to [`CAPABILITIES_MAX`].
    pub capabilities: Vec<String>,
    /// Commands that it has at a time; unset: [`IN_HAND_DEFAULT`].
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub in_hand: Option<u32>,
    /// What deliveries are signed with.
    pub secret: Secret,
    /// What they are signed with as well, while the receiver goes over to a new secret.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub previous_secret: Option<Secret>,
}

/// Where a webhook is: `https` or `http`, with a host, and without user, password and fragment. Printed without path and
/// query, in which receivers hide secrets; serialised whole, since who may see settings may see it.
#[derive(Clone, PartialEq, Eq)]
pub struct HookUrl(Url);

/// A text that is no address of a webhook.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum HookUrlError {
    /// It is longer than [`HOOK_URL_BYTES_MAX`]: so many bytes.
    #[error("too long")]
    TooLong(usize),
    /// It is no URL of `https` or `http`.
    #[error("expected a URL of https or http")]
    NoUrl,
    /// It names a user or has a password.
    #[error("must have no user and no password")]
    User,
    /// It has a part behind `#`, which is sent to nobody.
    #[error("must have no part behind #")]
    Fragment,
}

impl HookUrl {
    /// The URL, for who calls it.
    pub fn as_url(&self) -> &Url {
        &self.0
    }
}

impl FromStr for HookUrl {
    type Err = HookUrlError;

    fn from_str(text: &str) -> Result<HookUrl, HookUrlError> {
        if text.len() > HOOK_URL_BYTES_MAX {
            return Err(HookUrlError::TooLong(text.len()));
        }
        let url = Url::parse(text).map_err(|_| HookUrlError::NoUrl)?;
        if !matches!(url.scheme(), "https" | "http") || url.host_str().is_none_or(str::is_empty) {
            return Err(HookUrlError::NoUrl);
        }
        if !url.username().is_empty() || url.password().is_some() {
            return Err(HookUrlError::User);
        }
        if url.fragment().is_some() {
            return Err(HookUrlError::Fragment);
        }
        // Percent-encoding may have made it longer.
        let bytes = url.as_str().len();
        if bytes > HOOK_URL_BYTES_MAX { Err(HookUrlError::TooLong(bytes)) } else { Ok(HookUrl(url)) }
    }
}

impl fmt::Debug for HookUrl {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}/\u{2026}", self.0.origin().ascii_serialization())
    }
}

impl Serialize for HookUrl {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(self.0.as_str())
    }
}

impl<'de> Deserialize<'de> for HookUrl {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<HookUrl, D::Error> {
        // The error must not quote the address.
        let text = String::deserialize(deserializer)?;
        text.parse().map_err(serde::de::Error::custom)
    }
}
