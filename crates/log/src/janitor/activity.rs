//! What writers tell the janitor of their process: where something was appended.

use std::collections::HashMap;
use std::sync::Arc;

use parking_lot::Mutex;
use tidings_protocol::project::Project;
use tokio::sync::Notify;

/// Events of one project after which the janitor is woken.
pub(super) const STEP_EVENTS: u64 = 1_000;

/// Projects kept; what does not fit is found by the janitor's rounds.
const PROJECTS_MAX: usize = 65_536;

/// Events appended by this process since the janitor last looked. Cheap to clone.
#[derive(Debug, Clone, Default)]
pub struct Activity(Arc<Inner>);

#[derive(Debug, Default)]
struct Inner {
    events: Mutex<HashMap<Project, u64, foldhash::fast::RandomState>>,
    news: Notify,
}

impl Activity {
    /// So many events were appended to a project.
    pub fn appended(&self, project: &Project, events: u32) {
        let mut all = self.0.events.lock();
        let room = all.len() < PROJECTS_MAX;
        match all.get_mut(project) {
            Some(count) => {
                let before = *count;
                *count += u64::from(events);
                if before < STEP_EVENTS && *count >= STEP_EVENTS {
                    self.0.news.notify_one();
                }
            }
            None if room => {
                all.insert(project.clone(), u64::from(events));
            }
            None => {}
        }
    }

    /// Waits until some project has had [`STEP_EVENTS`]. Cancel safe.
    pub(super) async fn busy(&self) {
        self.0.news.notified().await;
    }

    /// Takes the projects that had [`STEP_EVENTS`].
    pub(super) fn take_busy(&self) -> Vec<Project> {
        let mut all = self.0.events.lock();
        all.extract_if(|_, count| *count >= STEP_EVENTS).map(|(project, _)| project).collect()
    }

    /// A round looks at everything: counting begins anew.
    pub(super) fn forget(&self) {
        self.0.events.lock().clear();
    }
}
