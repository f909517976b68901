//! What a user may do as a member: the union of the declared file, the store and the authorizer.
//!
//! Memberships add to what a token's claims give and never take from it. They are for users: an API key has its own
//! rights alone, and a token that names no user cannot be anybody's member.

use std::sync::Arc;

use futures_util::future::{BoxFuture, join};
use tidings_protocol::grant::Scopes;
use tidings_protocol::project::Project;

use crate::cache::{self, Cache, Lacking, NoAnswer};
use crate::declared::Declared;
use crate::key::StoreAway;
use crate::limits::{STORE_ENTRIES_MAX, STORE_FRESH, STORE_STALE, STORE_TIMEOUT};
use crate::watched::Watched;
use crate::webhook::Webhook;

/// Where members are kept with their project. Asked through a short-lived cache (`limits::STORE_FRESH`), one question at a
/// time for a member.
pub trait Members: Send + Sync + 'static {
    /// What this user may do in the project as a member; nothing if it is none. May be dropped at any time.
    fn scopes<'a>(&'a self, project: &'a Project, user: &'a str) -> BoxFuture<'a, Result<Scopes, StoreAway>>;
}

/// How long what a store of keys or members says holds.
pub(crate) const STORE_TERMS: cache::Terms =
    cache::Terms { fresh: STORE_FRESH, stale: STORE_STALE, timeout: STORE_TIMEOUT, entries_max: STORE_ENTRIES_MAX };

/// All sources of memberships.
pub(crate) struct Memberships {
    pub(crate) declared: Option<Arc<Watched<Declared>>>,
    store: Option<(Arc<dyn Members>, Cache<Scopes>)>,
    webhook: Option<Webhook>,
}

/// What is known of a user in a project.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Found {
    /// What those say that answered.
    pub(crate) scopes: Scopes,
    /// The store did not.
    pub(crate) store_away: bool,
    /// The authorizer did not.
    pub(crate) webhook_away: bool,
    /// It was not asked, for it is asked too much: what it said before, if that would be good while it does not answer.
    pub(crate) webhook_busy: Option<Scopes>,
}

impl Memberships {
    pub(crate) fn new(
        declared: Option<Arc<Watched<Declared>>>,
        store: Option<Arc<dyn Members>>,
        webhook: Option<Webhook>,
    ) -> Memberships {
        let store = store.map(|store| (store, Cache::sorting(STORE_TERMS, |scopes| *scopes != Scopes::NONE)));
        Memberships { declared, store, webhook }
    }

    /// Is there anybody to ask?
    pub(crate) fn any(&self) -> bool {
        self.declared.is_some() || self.store.is_some() || self.webhook.is_some()
    }

    /// Asks all, at the same time.
    pub(crate) async fn of(&self, project: &Project, user: &str) -> Found {
        let store = async {
            let Some((store, cache)) = &self.store else { return Ok(Scopes::NONE) };
            cache.get(&key(project, user), || store.scopes(project, user)).await
        };
        let webhook = async {
            let Some(webhook) = &self.webhook else { return Ok(Scopes::NONE) };
            webhook.scopes(project, user).await
        };
        let (store, webhook) = join(store, webhook).await;
        self.found(project, user, store, webhook)
    }

    /// What is known without asking anybody; `None`: somebody must be asked.
    pub(crate) fn held(&self, project: &Project, user: &str) -> Option<Found> {
        let store = self.store.as_ref().map_or(Some(Ok(Scopes::NONE)), |(_, cache)| cache.held(&key(project, user)))?;
        let webhook = self.webhook.as_ref().map_or(Some(Ok(Scopes::NONE)), |webhook| webhook.held(project, user))?;
        Some(self.found(project, user, store, webhook.map_err(|NoAnswer| Lacking::NoAnswer)))
    }

    /// Whether somebody said last that this user may do something in this project.
    pub(crate) fn knows(&self, project: &Project, user: &str) -> bool {
        self.store.as_ref().is_some_and(|(_, cache)| cache.knows(&key(project, user)))
            || self.webhook.as_ref().is_some_and(|webhook| webhook.knows(project, user))
    }

    fn found(
        &self,
        project: &Project,
        user: &str,
        store: Result<Scopes, NoAnswer>,
        webhook: Result<Scopes, Lacking<Scopes>>,
    ) -> Found {
        let declared = self.declared.as_ref().map_or(Scopes::NONE, |file| file.get().member(project, user));
        let answered = [store.unwrap_or(Scopes::NONE), webhook.unwrap_or(Scopes::NONE)];
        Found {
            scopes: answered.into_iter().fold(declared, Scopes::union),
            store_away: store.is_err(),
            webhook_away: webhook == Err(Lacking::NoAnswer),
            webhook_busy: match webhook {
                Err(Lacking::Busy { before }) => Some(before.unwrap_or(Scopes::NONE)),
                Ok(_) | Err(Lacking::NoAnswer) => None,
            },
        }
    }
}

/// A project's name has no space, so no other pair is written alike.
fn key(project: &Project, user: &str) -> String {
    format!("{project} {user}")
}
