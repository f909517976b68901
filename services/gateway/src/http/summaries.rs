//! Summaries of projects for lists: from the warm topic where there is one, else from the checkpoint; kept for seconds.

use std::collections::HashMap;
use std::time::{Duration, Instant};

use parking_lot::Mutex;
use tidings_broker::{Fields, ReadError};
use tidings_log::hub::Hub;
use tidings_protocol::fold::State;
use tidings_protocol::project::Project;
use tidings_protocol::snapshot::Summary;

/// How old a summary may be.
const KEPT: Duration = Duration::from_secs(5);

/// How many are kept; beyond that all go and are read again.
const KEPT_MAX: usize = 10_000;

/// Summaries that were read lately.
#[derive(Default)]
pub(crate) struct Summaries(Mutex<HashMap<Project, (Instant, Summary)>>);

impl Summaries {
    /// The summary of a project, at most [`KEPT`] old plus the checkpoint's age.
    pub(crate) async fn of(&self, hub: &Hub, project: &Project) -> Result<Summary, ReadError> {
        if let Some(topic) = hub.existing(project)
            && let Some(state) = topic.view().state()
        {
            return Ok(state.summary());
        }
        if let Some((read, summary)) = self.0.lock().get(project)
            && read.elapsed() < KEPT
        {
            return Ok(*summary);
        }
        let stored = hub.broker().state(project.clone(), Fields::All).await?;
        let summary = State::from_fields(stored.position, stored.version, stored.fields)
            .map_err(|error| ReadError::Malformed(error.to_string()))?
            .summary();
        let mut kept = self.0.lock();
        if kept.len() >= KEPT_MAX {
            kept.clear();
        }
        kept.insert(project.clone(), (Instant::now(), summary));
        Ok(summary)
    }
}
