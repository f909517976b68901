//! Summaries of projects for lists: from the warm topic where there is one, else from the checkpoint.
//!
//! What a checkpoint says does not change, so a quiet project's is read once. One that moves is read every [`KEPT`] at most,
//! and once for all who ask.

use std::collections::HashMap;
use std::time::Duration;

use parking_lot::Mutex;
use tidings_auth::limits::STORE_TIMEOUT;
use tidings_auth::{Cache, StoreAway, Terms};
use tidings_broker::{Fields, ReadError};
use tidings_log::hub::Hub;
use tidings_protocol::fold::State;
use tidings_protocol::head::Head;
use tidings_protocol::project::Project;
use tidings_protocol::snapshot::Summary;
use tokio::time::Instant;

/// How old a summary may be although its checkpoint has moved.
const KEPT: Duration = Duration::from_secs(5);

/// How many are kept; beyond that those that nobody asked for lately are read again.
const KEPT_MAX: usize = 10_000;

/// How long a checkpoint's summary is kept: as long as it is asked for, in effect.
const FRESH: Duration = Duration::from_hours(24);

/// Summaries that were read lately.
pub(crate) struct Summaries {
    /// By project and checkpoint; none: this version cannot read it.
    read: Cache<Option<Summary>>,
    /// The newest of each project, and since when.
    newest: Mutex<HashMap<Project, (Instant, Summary)>>,
}

impl Default for Summaries {
    fn default() -> Summaries {
        let terms = Terms { fresh: FRESH, stale: Duration::ZERO, timeout: STORE_TIMEOUT, entries_max: KEPT_MAX };
        Summaries { read: Cache::new(terms), newest: Mutex::default() }
    }
}

impl Summaries {
    /// The summary of a project with this head, at most [`KEPT`] old plus the checkpoint's age; none: this version cannot
    /// read its checkpoint.
    ///
    /// # Errors
    /// The store is away.
    pub(crate) async fn of(&self, hub: &Hub, project: &Project, head: &Head) -> Result<Option<Summary>, ReadError> {
        if let Some(topic) = hub.existing(project)
            && let Some(state) = topic.view().state()
        {
            return Ok(Some(state.summary()));
        }
        if let Some((since, summary)) = self.newest.lock().get(project)
            && since.elapsed() < KEPT
        {
            return Ok(Some(*summary));
        }
        let key = format!("{project} {}", head.checkpoint);
        let summary = self.read.get(&key, || stored(hub, project)).await;
        let summary = summary.map_err(|_| ReadError::Away("a checkpoint cannot be read".into()))?;
        if let Some(summary) = summary {
            let mut newest = self.newest.lock();
            if newest.len() >= KEPT_MAX {
                newest.clear();
            }
            newest.insert(project.clone(), (Instant::now(), summary));
        }
        Ok(summary)
    }
}

/// What the checkpoint says; none: it cannot be read, now or later.
async fn stored(hub: &Hub, project: &Project) -> Result<Option<Summary>, StoreAway> {
    let unreadable = |error: &dyn std::fmt::Display| {
        tracing::warn!(%project, %error, "a project is left out of lists");
        None
    };
    let stored = match hub.broker().state(project.clone(), Fields::All).await {
        Ok(stored) => stored,
        Err(ReadError::Away(error)) => {
            tracing::debug!(%project, error, "no checkpoint now");
            return Err(StoreAway);
        }
        Err(error) => return Ok(unreadable(&error)),
    };
    let state = State::from_fields(stored.position, stored.version, stored.fields);
    Ok(match state {
        Ok(state) => Some(state.summary()),
        Err(error) => unreadable(&error),
    })
}
