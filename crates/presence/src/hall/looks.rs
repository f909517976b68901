//! Lists that were looked up for who does not watch, held for a moment: one question at a time for a project, and a few over
//! all. They take no turns from the leases of viewers.

use std::collections::HashMap;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use parking_lot::Mutex;
use tidings_broker::ReadError;
use tidings_protocol::project::Project;
use tokio::sync::Semaphore;
use tokio::time::Instant;

/// How old a list may be; and a failure to get one.
const FRESH: Duration = Duration::from_secs(1);

/// Questions at a time, over all projects.
const LOOKS_AT_ONCE: usize = 8;

/// Projects of which a list is held: beyond that, those of who asked first are looked up again.
const PROJECTS_MAX: usize = 64;

/// What was looked up.
pub(super) struct Looks {
    projects: Mutex<HashMap<Project, Arc<Look>>>,
    turns: Semaphore,
}

/// Held by who asks; the others wait for him, and then look here.
type Look = tokio::sync::Mutex<Option<(Instant, Result<Bytes, ReadError>)>>;

impl Default for Looks {
    fn default() -> Looks {
        Looks { projects: Mutex::default(), turns: Semaphore::new(LOOKS_AT_ONCE) }
    }
}

impl Looks {
    /// What was found within the last second, else what `look` finds.
    ///
    /// CANCEL SAFETY: dropped while it looks, it leaves nothing behind, and the next who waits looks instead.
    pub(super) async fn get(
        &self,
        project: &Project,
        look: impl AsyncFnOnce() -> Result<Bytes, ReadError>,
    ) -> Result<Bytes, ReadError> {
        let held = self.of(project);
        let mut known = held.lock().await;
        if let Some((_, found)) = known.as_ref().filter(|known| is_fresh(known)) {
            return found.clone();
        }
        let _turn = self.turns.acquire().await.expect("it is never closed");
        let found = look().await;
        *known = Some((Instant::now(), found.clone()));
        found
    }

    fn of(&self, project: &Project) -> Arc<Look> {
        let mut projects = self.projects.lock();
        if let Some(look) = projects.get(project) {
            return Arc::clone(look);
        }
        if projects.len() >= PROJECTS_MAX {
            // Whoever asks just now holds it.
            projects.retain(|_, look| {
                Arc::strong_count(look) > 1 || look.try_lock().is_ok_and(|known| known.as_ref().is_some_and(is_fresh))
            });
        }
        if projects.len() >= PROJECTS_MAX {
            projects.clear();
        }
        Arc::clone(projects.entry(project.clone()).or_default())
    }

    /// Of how many projects something is held.
    #[cfg(test)]
    pub(super) fn held(&self) -> usize {
        self.projects.lock().len()
    }
}

fn is_fresh((at, _): &(Instant, Result<Bytes, ReadError>)) -> bool {
    at.elapsed() < FRESH
}
