//! What stands in the store of a viewer and of a runner, as JSON. Fields are only ever added; unknown ones are left out.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

/// A viewer, as one gateway has it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct ViewerRecord {
    /// Whether its id is the name of a user.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub(crate) user: bool,
    /// Milliseconds since the Unix epoch, by the gateway's clock.
    pub(crate) since: u64,
    /// How many it has.
    pub(crate) connections: u32,
    /// By which transports, in the order of their words.
    pub(crate) transports: Vec<String>,
    /// Messages that it was told, where its connection counts them; as of some seconds ago.
    #[serde(default, skip_serializing_if = "is_zero")]
    pub(crate) told: u64,
}

#[allow(clippy::trivially_copy_pass_by_ref, reason = "as serde calls it")]
fn is_zero(count: &u64) -> bool {
    *count == 0
}

/// What a runner says of itself.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
pub struct RunnerRecord {
    /// For people.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub name: Option<String>,
    /// Which commands it takes.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub capabilities: Vec<String>,
    /// Anything that tells it from others.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub labels: BTreeMap<String, String>,
}
