//! The walk: finds projects with webhooks that the index does not name. It lost them with a failover of the node that it lies
//! on, or they are declared in a file, which nobody enters.

use std::sync::Arc;
use std::time::Duration;

use tidings_broker::hooks::Entered;
use tidings_protocol::project::Project;
use tokio::sync::watch;
use tokio_util::sync::CancellationToken;

use super::Shared;

/// Pause between two projects whose settings are read: the walk takes no part of the store that anybody would notice.
const STEP: Duration = Duration::from_millis(5);

/// The shards that are walked, as the rounds learn them.
pub(super) type Ours = Vec<u16>;

/// Walks over all projects of our shards, again and again, until `stop`.
pub(super) async fn run(shared: Arc<Shared>, mut ours: watch::Receiver<Ours>, stop: CancellationToken) {
    let walking = async {
        loop {
            // Nothing to walk over yet, or the rounds have ended.
            if ours.wait_for(|ours| !ours.is_empty()).await.is_err() {
                return;
            }
            let shards = ours.borrow().clone();
            for shard in shards {
                over(&shared, shard).await;
            }
            tokio::time::sleep(shared.rhythm.walk).await;
        }
    };
    stop.run_until_cancelled(walking).await.unwrap_or(());
}

/// Enters what is missing of one shard. What the store does not answer is found the next time.
async fn over(shared: &Shared, shard: u16) {
    let Ok(entered) = shared.hooks.projects(shard).await else { return };
    let Ok(projects) = shared.broker.projects(shard).await else { return };
    let is_missing = |project: &Project| !entered.iter().any(|Entered { project: known, .. }| known == project);
    for project in projects.into_iter().filter(is_missing) {
        if has_webhooks(shared, &project).await
            && let Err(error) = shared.hooks.enter(project.clone()).await
        {
            tracing::debug!(%project, %error, "a project with webhooks was not entered");
        }
        tokio::time::sleep(STEP).await;
    }
}

async fn has_webhooks(shared: &Shared, project: &Project) -> bool {
    let settings = shared.settings.numbers_of(project).await;
    settings.is_ok_and(|settings| !settings.webhooks.is_empty() || settings.commands.webhook.is_some())
}
