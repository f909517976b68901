//! Looks after what a desk keeps: forgets what is answered, and what went with its project; puts again what the store has lost;
//! answers what is overdue.
//!
//! Each project is looked at by a task of its own, so many at once: one whose log is slow keeps no other waiting.

use std::collections::{HashMap, VecDeque};
use std::sync::Arc;
use std::time::Duration;

use tidings_broker::inbox::{Put, PutAnswer, Standing, TAKEN_MAX};
use tidings_protocol::project::Project;
use tidings_protocol::wire;
use tokio::task::{Id, JoinError, JoinSet};
use tokio::time::{Instant, MissedTickBehavior};
use tokio_util::sync::CancellationToken;

use super::{Inner, Kept};
use crate::made::{self, FailedWhy};
use crate::written::write_all;

/// How often it looks.
const LOOK_EVERY: Duration = Duration::from_secs(2);

/// Who looks after the inbox has so long to answer what is due; then the desk does.
const GRACE: Duration = Duration::from_secs(1);

/// Projects that are looked at at once.
const PROJECTS_AT_ONCE: usize = 16;

/// Looks until `stop`.
pub(super) async fn keep(inner: Arc<Inner>, stop: CancellationToken) {
    let mut ticks = tokio::time::interval(LOOK_EVERY);
    ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
    let mut looks = JoinSet::new();
    let mut looked_at: HashMap<Id, Project> = HashMap::new();
    let mut next = VecDeque::new();
    let looking = async {
        loop {
            tokio::select! {
                _ = ticks.tick() => {
                    let is_free = |(project, _): &(Project, _)| !looked_at.values().any(|other| other == project);
                    next = inner.table.all().into_iter().filter(is_free).collect();
                }
                Some(looked) = looks.join_next_with_id() => {
                    let id = looked.map_or_else(|error: JoinError| error.id(), |(id, ())| id);
                    looked_at.remove(&id);
                }
            }
            while looks.len() < PROJECTS_AT_ONCE
                && let Some((project, ids)) = next.pop_front()
            {
                let (inner, of) = (inner.clone(), project.clone());
                let id = looks.spawn(async move { look_at_all(&inner, &of, &ids).await }).id();
                looked_at.insert(id, project);
            }
        }
    };
    stop.run_until_cancelled(looking).await.unwrap_or(());
}

/// A last word on a kept command.
struct Last {
    id: String,
    why: FailedWhy,
    event: wire::Event,
}

/// What is to be done about a kept command.
enum Finding {
    /// Nothing, now.
    Fine,
    /// It is done with.
    Over,
    /// This is to be said.
    Ends(FailedWhy),
    /// The store does not answer: the next look sees to it.
    Away,
}

async fn look_at_all(inner: &Inner, project: &Project, ids: &[String]) {
    for some in ids.chunks(TAKEN_MAX) {
        let Ok(standings) = inner.inboxes.look(project.clone(), some.to_vec()).await else { return };
        let mut last = Vec::new();
        for (id, standing) in some.iter().zip(standings) {
            let Some(kept) = inner.table.get(project, id) else { continue };
            let event = match look_at(inner, project, &kept, &standing).await {
                Finding::Fine => continue,
                Finding::Over => None,
                Finding::Ends(why @ FailedWhy::Conflict) => made::displaced(&kept.told).map(|event| (why, event)),
                Finding::Ends(why) => Some((why, made::failed(&kept.told, why, "", ""))),
                Finding::Away => return,
            };
            match event {
                Some((why, event)) => last.push(Last { id: id.clone(), why, event }),
                None => inner.table.forget(project, id),
            }
        }
        if !say(inner, project, last).await {
            return;
        }
    }
}

async fn look_at(inner: &Inner, project: &Project, kept: &Kept, standing: &Standing) -> Finding {
    let now = Instant::now();
    match standing {
        Standing::Answered(first) if made::is_of(&first.note, &kept.put.asker) => Finding::Over,
        Standing::Answered(_) => Finding::Ends(FailedWhy::Conflict),
        // Somebody else may have put one under its id since, whose guard it is then. A put that cannot come about tells.
        _ if now >= kept.due_at + GRACE => match put(inner, project, Put { open_max: 0, ..kept.put.clone() }).await {
            Finding::Fine => Finding::Ends(FailedWhy::Deadline),
            other => other,
        },
        Standing::Unknown if now < kept.due_at => {
            let left = u64::try_from((kept.due_at - now).as_millis()).unwrap_or(u64::MAX).max(1);
            put(inner, project, Put { deadline_ms: left, ..kept.put.clone() }).await
        }
        Standing::Unknown | Standing::Queued | Standing::Leased { .. } | Standing::Accepted { .. } => Finding::Fine,
    }
}

async fn put(inner: &Inner, project: &Project, put: Put) -> Finding {
    let asker = put.asker.clone();
    match inner.inboxes.put(project.clone(), put).await.map(|placed| placed.answer) {
        Ok(PutAnswer::Queued) => {
            inner.metrics.put_again.inc();
            Finding::Fine
        }
        Ok(PutAnswer::Known(Standing::Answered(first))) if made::is_of(&first.note, &asker) => Finding::Over,
        // Nobody reads the answer to a command of a project that was deleted.
        Ok(PutAnswer::Deleted) => Finding::Over,
        Ok(PutAnswer::Known(Standing::Answered(_)) | PutAnswer::Conflict) => Finding::Ends(FailedWhy::Conflict),
        // Runners come back as well; until the deadline there is time.
        Ok(PutAnswer::Known(_) | PutAnswer::NoRunner | PutAnswer::Full) => Finding::Fine,
        Err(error) => {
            tracing::debug!(%project, %error, "a command cannot be put again yet");
            Finding::Away
        }
    }
}

/// Says last words, all by one call. False: not all of them, this time.
async fn say(inner: &Inner, project: &Project, last: Vec<Last>) -> bool {
    if last.is_empty() {
        return true;
    }
    let (said, events): (Vec<_>, Vec<_>) = last.into_iter().map(|last| ((last.id, last.why), last.event)).unzip();
    let outcomes = write_all(&inner.writers, project, events).await;
    let all = outcomes.iter().all(Option::is_some);
    let mut settled = Vec::new();
    for ((id, why), outcome) in said.into_iter().zip(outcomes) {
        let Some(outcome) = outcome else { continue };
        if super::stands(&outcome) {
            inner.metrics.on_failed(why);
        }
        inner.table.forget(project, &id);
        // What is another asker's by now is his to settle.
        if why != FailedWhy::Conflict {
            settled.push(id);
        }
    }
    if !settled.is_empty() {
        inner.settle(project, settled).await;
    }
    all
}
