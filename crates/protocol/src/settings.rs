//! Settings of one project: what it keeps, hides, waits for and may send.
//!
//! Every value is optional: one that is not set is the service's. Pure: reading, bounds, changes and their faults; where
//! settings are kept and who may change them is not decided here.

mod ceilings;
mod change;
pub mod hooks;
mod unknown;

#[cfg(test)]
mod tests;

use serde::{Deserialize, Serialize};

pub use ceilings::Ceilings;
pub use change::{Change, Fields, SETTINGS_BYTES_MAX, brings_rules, change, read};
pub use unknown::Unknown;

use crate::redact::{OwnRule, Redactor, RuleFault};
use hooks::{CommandWebhook, Secret, Webhook, Webhooks};

/// What is set for a project. As JSON, what is not set is left out, and secrets are `[redacted]`: what is kept is written by
/// [`Settings::stored`].
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(default)]
pub struct Settings {
    /// What the log keeps; what exceeds any of these goes.
    #[serde(skip_serializing_if = "is_default")]
    pub retention: Retention,
    /// What is hidden before anything is stored.
    #[serde(skip_serializing_if = "is_default")]
    pub redaction: Redaction,
    /// What an acknowledgement to a runner waits for.
    #[serde(skip_serializing_if = "is_default")]
    pub acknowledgement: Acknowledgement,
    /// What may be published in the project, over all keys and services.
    #[serde(skip_serializing_if = "is_default")]
    pub limits: Limits,
    /// What becomes of commands.
    #[serde(skip_serializing_if = "is_default")]
    pub commands: Commands,
    /// Who is called with events, by name.
    #[serde(skip_serializing_if = "is_default")]
    pub webhooks: Webhooks,
    /// What else is stored, and not understood here: a change leaves it as it is.
    #[serde(skip)]
    pub unknown: Unknown,
}

/// What the log keeps.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(default)]
pub struct Retention {
    /// Events: 1 to 2^40.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub events: Option<u64>,
    /// Encoded bytes: 64 KiB to 64 TiB.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub bytes: Option<u64>,
    /// Age in milliseconds: a second to about 34 years.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub age_ms: Option<u64>,
}

/// What is hidden before anything is stored ([`crate::redact`]).
#[derive(Debug, Clone, PartialEq, Eq, Hash, Default, Serialize, Deserialize)]
#[serde(default)]
pub struct Redaction {
    /// Whether the built-in rules apply. Unset: no.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub builtin: Option<bool>,
    /// Own rules, which apply whether the built-in ones do or not. Unset: none.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub rules: Option<Vec<OwnRule>>,
}

/// What an acknowledgement waits for.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(default)]
pub struct Acknowledgement {
    /// Replicas that hold an event before its runner is told so: 0 to 5.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub replicas: Option<u8>,
}

/// What becomes of commands.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(default)]
pub struct Commands {
    /// Who gets the answers. Unset: the asker.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub answers: Option<Answers>,
    /// Who is called with commands. Unset: nobody, runners ask for them.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub webhook: Option<CommandWebhook>,
}

/// Who gets the answers to a command.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Answers {
    /// Who asked.
    Asker,
    /// All viewers of the project.
    Everyone,
}

/// What may be published.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(default)]
pub struct Limits {
    /// Events in a second: 1 to a million.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub events_per_second: Option<u32>,
    /// Bytes of events in a second: 1 KiB to 1 GiB.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub bytes_per_second: Option<u64>,
}

fn is_default<T: Default + PartialEq>(value: &T) -> bool {
    *value == T::default()
}

impl Settings {
    /// These, and of what is not set here, those. Lists are not joined.
    pub fn or(&self, other: &Settings) -> Settings {
        Settings {
            retention: Retention {
                events: self.retention.events.or(other.retention.events),
                bytes: self.retention.bytes.or(other.retention.bytes),
                age_ms: self.retention.age_ms.or(other.retention.age_ms),
            },
            redaction: Redaction {
                builtin: self.redaction.builtin.or(other.redaction.builtin),
                rules: self.redaction.rules.clone().or_else(|| other.redaction.rules.clone()),
            },
            acknowledgement: Acknowledgement {
                replicas: self.acknowledgement.replicas.or(other.acknowledgement.replicas),
            },
            limits: Limits {
                events_per_second: self.limits.events_per_second.or(other.limits.events_per_second),
                bytes_per_second: self.limits.bytes_per_second.or(other.limits.bytes_per_second),
            },
            commands: Commands {
                answers: self.commands.answers.or(other.commands.answers),
                webhook: self.commands.webhook.clone().or_else(|| other.commands.webhook.clone()),
            },
            webhooks: if self.webhooks.is_empty() { other.webhooks.clone() } else { self.webhooks.clone() },
            // One record's alone.
            unknown: self.unknown.clone(),
        }
    }

    /// Stored webhooks that are left out because they cannot be read, as fields. They stay in the store until a change names
    /// them.
    pub fn left_out(&self) -> Vec<String> {
        let unread = self.unknown.webhooks().filter(|name| !self.webhooks.contains_key(*name));
        let commands = self.commands.webhook.is_none() && self.unknown.has_command_webhook();
        let commands = commands.then(|| "commands.webhook".to_owned());
        unread.map(|name| format!("webhooks.{name}")).chain(commands).collect()
    }

    /// The JSON to be kept, with its secrets and what is not understood: for the store alone. [`read`] reads it.
    pub fn stored(&self) -> Vec<u8> {
        let mut json = serde_json::to_value(self).expect("settings have string keys only");
        let expose = |place: &mut serde_json::Value, secret: &Secret, previous: Option<&Secret>| {
            place["secret"] = secret.expose().into();
            if let Some(previous) = previous {
                place["previous_secret"] = previous.expose().into();
            }
        };
        for (name, Webhook { secret, previous_secret, .. }) in &self.webhooks {
            expose(&mut json["webhooks"][name], secret, previous_secret.as_ref());
        }
        if let Some(CommandWebhook { secret, previous_secret, .. }) = &self.commands.webhook {
            expose(&mut json["commands"]["webhook"], secret, previous_secret.as_ref());
        }
        self.unknown.join(&mut json);
        json.to_string().into_bytes()
    }
}

impl Redaction {
    /// Whether nothing is to be hidden.
    pub fn is_idle(&self) -> bool {
        self.builtin != Some(true) && self.rules.as_deref().is_none_or(<[OwnRule]>::is_empty)
    }

    /// The rules, ready to be used; `None`: there are none. Costly.
    pub fn redactor(&self) -> Result<Option<Redactor>, Vec<(usize, RuleFault)>> {
        let redactor = Redactor::new(self.builtin.unwrap_or(false), self.rules.as_deref().unwrap_or_default())?;
        Ok((!redactor.is_idle()).then_some(redactor))
    }
}
