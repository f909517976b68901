//! What is done before settings with webhooks are written, so that from then on nothing is missed: the project is entered into
//! the index, and each new webhook gets its place at the log's end.

use std::sync::Arc;

use tidings_broker::hooks::{Hooks, Swapped};
use tidings_broker::{Broker, CallError, NothingWhy, ReadError};
use tidings_protocol::project::Project;
use tidings_protocol::settings::Settings;

use super::record::{Record, digest_of};

/// How often a place is written again because somebody else wrote it first.
const TRIES_MAX: usize = 4;

/// Readies the store for settings that are about to be written; `before` are those in place. Without effect where they are
/// not written in the end, and harmless when it is done again.
///
/// # Errors
/// Those of the store: then the settings must not be written.
pub async fn open(
    broker: &Arc<dyn Broker>,
    project: &Project,
    before: &Settings,
    after: &Settings,
) -> Result<(), CallError> {
    if before.webhooks == after.webhooks && before.commands.webhook == after.commands.webhook {
        return Ok(());
    }
    let hooks = broker.hooks();
    // Also where the last one goes: whoever delivers looks at the settings again.
    hooks.enter(project.clone()).await?;
    let new: Vec<_> = after.webhooks.iter().filter(|(name, _)| !before.webhooks.contains_key(*name)).collect();
    if new.is_empty() {
        return Ok(());
    }
    let head = broker.heads(vec![project.clone()]).await.pop();
    let head = head.unwrap_or_else(|| Err(ReadError::Away("no answer".to_owned()))).map_err(|error| unread(&error))?;
    for (name, hook) in new {
        place(&hooks, project, name, &Record::new(head.last, digest_of(hook))).await?;
    }
    Ok(())
}

/// Puts a webhook to its place. One of the same name that was there a moment ago is another webhook, and its courier may still
/// be writing.
async fn place(hooks: &Arc<dyn Hooks>, project: &Project, name: &str, record: &Record) -> Result<(), CallError> {
    for _ in 0..TRIES_MAX {
        let places = hooks.places(project.clone()).await.map_err(|error| unread(&error))?;
        let version = places.get(name).map_or(0, |place| place.version);
        match hooks.swap(project.clone(), name.to_owned(), version, Some(record.write())).await? {
            Swapped::Done(_) => return Ok(()),
            Swapped::Moved => {}
            Swapped::Full => {
                let full = "as many webhooks left the project in the last minutes as may";
                return Err(CallError::Nothing(NothingWhy::Refusing(full.to_owned())));
            }
        }
    }
    // Whoever moves it all the time is close to the log's end.
    Ok(())
}

fn unread(error: &ReadError) -> CallError {
    CallError::Nothing(match error {
        ReadError::Away(_) => NothingWhy::Away,
        ReadError::NewerFormat(_) | ReadError::Malformed(_) => NothingWhy::Refusing(error.to_string()),
    })
}
