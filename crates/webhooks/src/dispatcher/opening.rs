//! What is done before settings with webhooks are written, so that from then on nothing is missed: the project is entered into
//! the index, and each new webhook gets its place at the log's end.
//!
//! Others may change the same settings at the same time, and a webhook of this name that was there a moment ago may still be
//! at work. So places are looked at *before* the settings are read ([`Opening::begin`]), and only one that nobody wrote since
//! is set: what another change set is known by the settings, when both are read again.

use std::collections::BTreeMap;
use std::sync::Arc;

use tidings_broker::hooks::{Place, Swapped};
use tidings_broker::{Broker, CallError, NothingWhy, ReadError};
use tidings_protocol::project::Project;
use tidings_protocol::settings::Settings;

use super::record::{Record, digest_of};
use crate::runner::PLACE as COMMANDS;

/// A change of settings that is being made.
pub struct Opening {
    broker: Arc<dyn Broker>,
    project: Project,
    seen: BTreeMap<String, Place>,
}

/// Whether the settings may be written.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[must_use]
pub enum Opened {
    /// All is ready for them.
    Ready,
    /// Another change came first, or a webhook of this name is still at work: begin anew.
    Again,
}

impl Opening {
    /// Looks at the places of a project, before its settings are read.
    ///
    /// # Errors
    /// Those of the store.
    pub async fn begin(broker: &Arc<dyn Broker>, project: &Project) -> Result<Opening, CallError> {
        let seen = broker.hooks().places(project.clone()).await.map_err(|error| unread(&error))?;
        Ok(Opening { broker: broker.clone(), project: project.clone(), seen })
    }

    /// Readies the store for settings that are about to be written; `before` are those in place, read since
    /// [`Opening::begin`]. Without effect where they are not written in the end, and harmless when it is done again.
    ///
    /// # Errors
    /// Those of the store: then the settings must not be written.
    pub async fn open(self, before: &Settings, after: &Settings) -> Result<Opened, CallError> {
        if before.webhooks == after.webhooks && before.commands.webhook == after.commands.webhook {
            return Ok(Opened::Ready);
        }
        let Opening { broker, project, seen } = self;
        let hooks = broker.hooks();
        // Also where the last one goes: whoever delivers looks at the settings again.
        hooks.enter(project.clone()).await?;
        // That an earlier webhook of commands was gone says nothing of this one.
        if before.commands.webhook.is_none()
            && let Some(earlier) = seen.get(COMMANDS)
            && hooks.swap(project.clone(), COMMANDS.to_owned(), earlier.version, None).await? == Swapped::Moved
        {
            return Ok(Opened::Again);
        }
        let new: Vec<_> = after.webhooks.iter().filter(|(name, _)| !before.webhooks.contains_key(*name)).collect();
        if new.is_empty() {
            return Ok(Opened::Ready);
        }
        let head = broker.heads(vec![project.clone()]).await.pop();
        let head = head.unwrap_or_else(|| Err(ReadError::Away("no answer".to_owned())));
        let end = head.map_err(|error| unread(&error))?.last;
        for (name, hook) in new {
            let version = seen.get(name).map_or(0, |place| place.version);
            let record = Record::new(end, digest_of(hook)).write();
            match hooks.swap(project.clone(), name.clone(), version, Some(record)).await? {
                Swapped::Done(_) => {}
                Swapped::Moved => return Ok(Opened::Again),
                Swapped::Full => {
                    let full = "as many webhooks left the project in the last minutes as may";
                    return Err(CallError::Nothing(NothingWhy::Refusing(full.to_owned())));
                }
            }
        }
        Ok(Opened::Ready)
    }
}

fn unread(error: &ReadError) -> CallError {
    CallError::Nothing(match error {
        ReadError::Away(_) => NothingWhy::Away,
        ReadError::NewerFormat(_) | ReadError::Malformed(_) => NothingWhy::Refusing(error.to_string()),
    })
}
