//! That a receiver of commands wants nothing more, as the store keeps it: whoever brings them next does not ask again.

use std::time::Duration;

use tidings_broker::hooks::Swapped;
use tidings_protocol::position::Position;

use super::{RETRY, Runner};
use crate::dispatcher::record::{Record, digest_of_commands};

/// The name of its place: no webhook's of events.
pub(crate) const PLACE: &str = ":commands";

impl Runner {
    /// Whether the receiver answered that it wants nothing more, under these settings. None: it was told to stop before the
    /// store said so.
    pub(super) async fn was_gone(&self) -> Option<bool> {
        let made_of = digest_of_commands(&self.hook);
        loop {
            match self.shared.hooks.places(self.project.clone()).await {
                Ok(places) => {
                    let record = places.get(PLACE).and_then(|place| Record::read(&place.record));
                    return Some(record.is_some_and(|record| record.gone && record.made_of == made_of));
                }
                Err(error) => tracing::debug!(project = %self.project, %error, "a webhook waits for the store"),
            }
            self.pause(RETRY).await?;
        }
    }

    /// Writes it down. Told to stop it tries no more: the next one learns it by a call.
    pub(super) async fn keep_gone(&self) {
        // Commands have no place in the log.
        let record = Record { gone: true, ..Record::new(Position::ZERO, digest_of_commands(&self.hook)) };
        let (hooks, project) = (&self.shared.hooks, &self.project);
        loop {
            let version =
                hooks.places(project.clone()).await.map(|places| places.get(PLACE).map_or(0, |at| at.version));
            match version {
                Ok(version) => match hooks.swap(project.clone(), PLACE.to_owned(), version, Some(record.write())).await
                {
                    Ok(Swapped::Done(_)) => return,
                    Ok(Swapped::Moved) => continue,
                    Ok(Swapped::Full) => tracing::debug!(%project, "the project has as many places as it may"),
                    Err(error) => tracing::debug!(%project, %error, "a webhook waits for the store"),
                },
                Err(error) => tracing::debug!(%project, %error, "a webhook waits for the store"),
            }
            if self.pause(RETRY).await.is_none() {
                return;
            }
        }
    }

    /// None: told to stop meanwhile.
    async fn pause(&self, time: Duration) -> Option<()> {
        self.stop.run_until_cancelled(tokio::time::sleep(time)).await
    }
}
