//! Commands: what viewers ask of a project's runners, and what becomes of it (docs/commands.md).
//!
//! [`desk::Desk`] is the asker's side: it puts commands into inboxes, and keeps each until its final answer stands in the log.
//! [`counter::Counter`] is the runners' side: it hands commands out and says whose they are. [`sweeper::Sweeper`] answers what
//! nobody answers: deadlines, runners that lapsed, approvals that expire. That a command has one final answer is the log's
//! doing: such an event has a guard, and the first one stands.
//!
//! HTTP, rights and rates are the services' matter.

pub mod approval;
pub mod asker;
pub mod command;
pub mod counter;
pub mod desk;
mod json;
mod line;
mod made;
pub mod metrics;
pub mod owners;
mod refusal;
mod sessions;
pub mod splice;
pub mod sweeper;
#[cfg(test)]
mod tests;
pub mod told;
mod written;

use std::time::{SystemTime, UNIX_EPOCH};

pub use refusal::Refusal;

/// Ids of commands that begin like this, and sessions, are the services' own.
pub const OWN_PREFIX: &str = "tidings:";

/// The capability that no runner has: what is bound to a runner that is not there any more, and for it alone, is put for it.
const NOBODY: &str = "tidings:nobody";

/// For how long a final answer keeps later ones out: the longest time until a command is due, and an hour.
const ANSWER_KEPT_MS: u64 = 2 * 3_600_000;

/// For how long a decision keeps later ones out, and is told to who asks for it.
const DECISION_KEPT_MS: u64 = 7 * 24 * 3_600_000;

/// Milliseconds since the Unix epoch, by this process's clock.
fn unix_ms() -> u64 {
    let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    u64::try_from(since.as_millis()).unwrap_or(u64::MAX)
}

/// The first 16 bytes of a digest, in hexadecimal: it only tells texts apart.
fn digest(text: &str) -> String {
    sha1_smol::Sha1::from(text).digest().to_string()[..32].to_owned()
}

/// Whether a project's settings say that all viewers get the answers to commands.
pub fn answers_are_for_everyone(settings: &tidings_protocol::settings::Settings) -> bool {
    settings.commands.answers == Some(tidings_protocol::settings::Answers::Everyone)
}
