//! Looks after what a desk keeps: forgets what is answered, puts again what the store has lost, answers what is overdue.

use std::time::Duration;

use futures_util::StreamExt as _;
use tidings_broker::inbox::{Put, PutAnswer, Standing, TAKEN_MAX};
use tidings_protocol::project::Project;
use tokio::time::{Instant, MissedTickBehavior};
use tokio_util::sync::CancellationToken;

use super::{Inner, Kept};
use crate::made::{self, FailedWhy};

/// How often it looks.
const LOOK_EVERY: Duration = Duration::from_secs(2);

/// Who looks after the inbox has so long to answer what is due; then the desk does.
const GRACE: Duration = Duration::from_secs(1);

/// Projects that are looked at at once.
const PROJECTS_AT_ONCE: usize = 8;

/// Looks until `stop`.
pub(super) async fn keep(inner: &Inner, stop: CancellationToken) {
    let mut ticks = tokio::time::interval(LOOK_EVERY);
    ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
    let looking = async {
        loop {
            ticks.tick().await;
            look_at_all(inner).await;
        }
    };
    stop.run_until_cancelled(looking).await.unwrap_or(())
}

async fn look_at_all(inner: &Inner) {
    let all = inner.table.all();
    futures_util::stream::iter(&all)
        .for_each_concurrent(PROJECTS_AT_ONCE, async |(project, ids)| {
            for some in ids.chunks(TAKEN_MAX) {
                // The store is away: the next look sees to it.
                let Ok(standings) = inner.inboxes.look(project.clone(), some.to_vec()).await else { return };
                for (id, standing) in some.iter().zip(standings) {
                    look_at(inner, project, id, &standing).await;
                }
            }
        })
        .await;
}

async fn look_at(inner: &Inner, project: &Project, id: &str, standing: &Standing) {
    let Some(kept) = inner.table.get(project, id) else { return };
    let now = Instant::now();
    match standing {
        Standing::Answered(_) => inner.table.forget(project, id),
        _ if now >= kept.due_at + GRACE => overdue(inner, project, id, &kept).await,
        Standing::Unknown if now < kept.due_at => put_again(inner, project, id, &kept, now).await,
        Standing::Unknown | Standing::Queued | Standing::Leased { .. } | Standing::Accepted { .. } => {}
    }
}

async fn put_again(inner: &Inner, project: &Project, id: &str, kept: &Kept, now: Instant) {
    let left = u64::try_from((kept.due_at - now).as_millis()).unwrap_or(u64::MAX).max(1);
    match inner.inboxes.put(project.clone(), Put { deadline_ms: left, ..kept.put.clone() }).await {
        Ok(PutAnswer::Queued) => inner.metrics.put_again.inc(),
        Ok(PutAnswer::Known(Standing::Answered(_))) => inner.table.forget(project, id),
        // Somebody else has put one under this id since: an answer to ours would be one to his.
        Ok(PutAnswer::Conflict) => inner.table.forget(project, id),
        // Runners come back as well; until the deadline there is time.
        Ok(PutAnswer::Known(_) | PutAnswer::NoRunner | PutAnswer::Full) => {}
        Err(error) => tracing::debug!(%project, %error, "a command cannot be put again yet"),
    }
}

async fn overdue(inner: &Inner, project: &Project, id: &str, kept: &Kept) {
    let event = made::failed(&kept.told, FailedWhy::Deadline, "", "");
    match inner.write(project, event).await {
        Ok(outcome) => {
            if super::stands(&outcome) {
                inner.metrics.on_failed(FailedWhy::Deadline);
            }
            inner.table.forget(project, id);
            inner.settle(project, vec![id.to_owned()]).await;
        }
        Err(refusal) => tracing::debug!(%project, %refusal, "a command cannot be answered yet"),
    }
}
