//! What belongs to a project beside its log: API keys, members, settings, runners that are there, commands. All of it goes with the
//! project. Viewers do not: they are there for as long as they are connected, and what is kept of them for one lease longer.
//!
//! The order is such that whoever is cut off in the middle may ask again, and loses nothing that he did not mean to lose:
//! keys first, so that runners stop, and the inbox, so that nothing of it is answered in the log that comes after; then, behind
//! the log, the inbox again, for what was put meanwhile, the settings, since as long as events may come what must be
//! hidden in them stays hidden; members last. The key or the membership of who asks is the very last: with it the rest can
//! still be asked for. Done again, each step finds less to do.

use futures_util::future::BoxFuture;
use futures_util::{StreamExt as _, TryStreamExt as _, stream};
use serde::Serialize;
use tidings_broker::{CallError, ReadError};
use tidings_protocol::codes::ErrorCode;
use tidings_protocol::grant::{Grant, Holder};
use tidings_protocol::project::Project;
use tidings_protocol::settings::read;

use crate::Inner;
use crate::answer::Rejected;

/// Steps that one deletion asks of the store at the same time.
const STEPS_AT_ONCE: usize = 32;

/// How often settings are emptied again because a change came first.
const TRIES_MAX: usize = 8;

/// What went beside the log.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, utoipa::ToSchema)]
pub(crate) struct Gone {
    /// API keys of the project.
    keys: usize,
    /// Members of the project.
    members: usize,
    /// Whether something was set for it.
    settings: bool,
}

/// Removes one thing; false: it was not there.
type Step<'s> = BoxFuture<'s, Result<bool, CallError>>;

/// A deletion under way.
pub(super) struct Belongings<'a> {
    pub(super) inner: &'a Inner,
    pub(super) project: &'a Project,
    pub(super) grant: &'a Grant,
}

impl Belongings<'_> {
    /// Before the log: all keys but that of who asks, which are refused within two seconds, as revoked ones are; and what is
    /// asked of runners.
    pub(super) async fn before(&self) -> Result<Gone, Rejected> {
        let keys = self.inner.registry.keys(self.project.clone()).await.map_err(unread)?;
        let others = keys.into_iter().map(|(id, _)| id).filter(|id| Some(&**id) != self.grant.key_id());
        let keys = all(others.map(|id| self.inner.registry.remove_key(self.project.clone(), id))).await?;
        self.inbox().await?;
        Ok(Gone { keys, ..Gone::default() })
    }

    /// What is asked of runners: gateways do not put it again, and runners that wait wait on.
    async fn inbox(&self) -> Result<(), Rejected> {
        self.inner.counter.inboxes().clear(self.project.clone()).await.map_err(|error| undone(&error))
    }

    /// Behind the log: all else.
    pub(super) async fn behind(&self, gone: Gone) -> Result<Gone, Rejected> {
        self.inner.presences.forget_runners(self.project.clone()).await.map_err(|error| undone(&error))?;
        self.inbox().await?;
        let settings = self.settings().await?;
        // Behind the settings: whoever delivers finds none soon. A place that it makes until then goes by itself.
        self.inner.broker.hooks().clear(self.project.clone()).await.map_err(|error| undone(&error))?;
        let registry = &self.inner.registry;
        let members = registry.members(self.project.clone()).await.map_err(unread)?;
        let own = (*self.grant.holder() == Holder::User).then(|| self.grant.subject());
        let (mine, others): (Vec<_>, Vec<_>) =
            members.into_iter().map(|(user, _)| user).partition(|user| Some(&**user) == own);
        let removed = |user| registry.remove_member(self.project.clone(), user);
        let members = all(others.into_iter().map(removed)).await? + all(mine.into_iter().map(removed)).await?;
        let mine = self.grant.key_id().map(|id| registry.remove_key(self.project.clone(), id.to_owned()));
        let keys = all(mine.into_iter()).await?;
        Ok(Gone { keys: gone.keys + keys, members, settings })
    }

    /// Empties the settings. Their version goes on, so that a change which was begun before does not bring them back.
    async fn settings(&self) -> Result<bool, Rejected> {
        for _ in 0..TRIES_MAX {
            let found = self.inner.registry.settings(self.project.clone()).await.map_err(unread)?;
            if found.value.is_empty() {
                return Ok(false);
            }
            let has_none = read(&found.value)
                .is_ok_and(|settings| settings.webhooks.is_empty() && settings.commands.webhook.is_none());
            if !has_none && let Err(error) = self.inner.broker.hooks().enter(self.project.clone()).await {
                // Whoever delivers looks at settings that were entered at once; else in a while.
                tracing::debug!(project = %self.project, %error, "a deleted project was not entered");
            }
            let emptied = self.inner.registry.swap_settings(self.project.clone(), found.version, bytes::Bytes::new());
            if emptied.await.map_err(|error| undone(&error))?.is_some() {
                return Ok(true);
            }
        }
        Err(Rejected::new(ErrorCode::Busy, "others change the settings all the time; ask again to delete the rest"))
    }
}

/// Takes all of these steps; how many of them found something.
async fn all<'s>(steps: impl Iterator<Item = Step<'s>>) -> Result<usize, Rejected> {
    let steps = stream::iter(steps).buffer_unordered(STEPS_AT_ONCE);
    let found = steps.try_fold(0, |count, there| std::future::ready(Ok(count + usize::from(there))));
    found.await.map_err(|error| undone(&error))
}

fn unread(_: ReadError) -> Rejected {
    Rejected::new(ErrorCode::RedisAway, "the store is away; ask again to delete the rest")
}

fn undone(error: &CallError) -> Rejected {
    match error {
        CallError::Nothing(_) => Rejected::new(ErrorCode::RedisAway, "the store is away; ask again to delete the rest"),
        CallError::Unknown(_) => {
            Rejected::new(ErrorCode::OutcomeUnknown, "the store did not answer; ask again to delete the rest")
        }
    }
}
