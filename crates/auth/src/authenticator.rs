//! The one entry: a credential becomes a grant, a grant is asked for a right, and an open connection asks again.

use std::sync::Arc;
use std::time::Duration;

use aws_lc_rs::rand;
use futures_util::future::{join, join_all};
use tidings_protocol::grant::{Grant, Holder, Scope, Scopes};
use tidings_protocol::project::Project;

use crate::cache::{Cache, NoAnswer};
use crate::config::{Closed, Config, ConfigFault};
use crate::credential::Credential;
use crate::declared::Declared;
use crate::issuer::{Issuer, Issuers};
use crate::key::{KeyId, KeyLimits, KeyRecord, Keys, ShownKey};
use crate::limits::{DECLARED_BYTES_MAX, KEYS_TRIED_MAX, LEEWAY, LOOKUPS_MAX};
use crate::members::{Found, Members, Memberships, STORE_TERMS};
use crate::refusal::{Reason, Refusal};
use crate::watched::Watched;
use crate::webhook::Webhook;

/// Where keys and members are kept beside the configuration.
#[derive(Default, Clone)]
pub struct Stores {
    /// API keys.
    pub keys: Option<Arc<dyn Keys>>,
    /// Members.
    pub members: Option<Arc<dyn Members>>,
}

/// Knows who callers are and what they may do. Cheap to clone; one for a process.
///
/// ```
/// use tidings_auth::{Authenticator, Closed, Config, Credential, IssuerConfig, Minting, Secret, Stores, unix_now};
/// use tidings_protocol::grant::Scope;
///
/// # #[tokio::main(flavor = "current_thread")]
/// # async fn main() -> Result<(), Box<dyn std::error::Error>> {
/// let secret = Secret::new("0123456789abcdef0123456789abcdef");
/// let issuers = vec![IssuerConfig::from_secret(secret.clone())];
/// let config = Config::Closed(Closed { issuers, ..Closed::default() });
/// let authenticator = Authenticator::new(config, Stores::default()).map_err(|faults| faults[0].clone())?;
///
/// let minting = Minting {
///     user: Some("alice".to_owned()),
///     projects: vec!["demo".parse()?],
///     scopes: "read".parse()?,
///     ttl: std::time::Duration::from_secs(3600),
///     issuer: None,
///     audience: None,
/// };
/// let shown = Credential::new(minting.token(&secret, unix_now())?);
/// let grant = authenticator.authenticate(&shown, unix_now()).await?;
/// let demo = "demo".parse()?;
/// assert!(authenticator.authorize(&grant, &demo, Scope::Read).await.is_ok());
/// assert!(authenticator.authorize(&grant, &demo, Scope::Admin).await.is_err());
/// # Ok(())
/// # }
/// ```
#[derive(Clone)]
pub struct Authenticator {
    /// `None`: open.
    closed: Option<Arc<Inner>>,
}

struct Inner {
    issuers: Issuers,
    declared: Option<Arc<Watched<Declared>>>,
    keys: Option<KeyStore>,
    memberships: Memberships,
    file_poll: Duration,
}

/// The store of API keys, and what it said lately. That there is no such key is held as well.
struct KeyStore {
    store: Arc<dyn Keys>,
    cache: Cache<Option<Arc<KeyRecord>>>,
}

impl Authenticator {
    /// Everybody may do everything.
    pub fn open() -> Authenticator {
        Authenticator { closed: None }
    }

    /// The authenticator of these settings. Reads files, so it is for the start of a process; fetches nothing before
    /// [`Authenticator::keep`] runs. All that is wrong is told together.
    pub fn new(config: Config, stores: Stores) -> Result<Authenticator, Vec<ConfigFault>> {
        let Closed { issuers: configs, declared, webhook, file_poll } = match config {
            Config::Open => return Ok(Authenticator::open()),
            Config::Closed(closed) => closed,
        };
        let mut faults = Vec::new();
        let mut issuers = Vec::new();
        for (place, config) in configs.into_iter().enumerate() {
            match Issuer::new(config, &format!("issuers[{place}]")) {
                Ok(issuer) => issuers.push(issuer),
                Err(more) => faults.extend(more),
            }
        }
        let declared = declared.and_then(|path| match Watched::open(path, DECLARED_BYTES_MAX, Declared::parse) {
            Ok(file) => Some(Arc::new(file)),
            Err(messages) => {
                faults.extend(messages.into_iter().map(|message| ConfigFault::new("declared", message)));
                None
            }
        });
        let webhook = webhook.and_then(|config| match Webhook::new(config) {
            Ok(webhook) => Some(webhook),
            Err(message) => {
                faults.push(ConfigFault::new("webhook", message));
                None
            }
        });
        if !faults.is_empty() {
            return Err(faults);
        }
        let inner = Inner {
            issuers: Issuers::new(issuers)?,
            memberships: Memberships::new(declared.clone(), stores.members, webhook),
            declared,
            keys: stores.keys.map(|store| KeyStore { store, cache: Cache::sorting(STORE_TERMS, Option::is_some) }),
            file_poll,
        };
        Ok(Authenticator { closed: Some(Arc::new(inner)) })
    }

    /// Whether everybody may do everything.
    pub fn is_open(&self) -> bool {
        self.closed.is_none()
    }

    /// Who shows this credential, and what it says that it may do. `now` in seconds of the Unix epoch. An open service
    /// looks at no credential: each caller is a viewer of its own.
    ///
    /// Waits for no network, but for a token of a key that is not held, or an API key that was not used for a while.
    pub async fn authenticate(&self, credential: &Credential, now: u64) -> Result<Grant, Refusal> {
        let Some(inner) = &self.closed else { return Ok(Grant::open(viewer_id())) };
        let granted = match credential {
            Credential::None => Err(Reason::Missing),
            Credential::Token(text) => inner.issuers.verify(text, now).await,
            Credential::Key(text) => inner.key(text, now).await,
        };
        Ok(granted?)
    }

    /// The same without asking anybody, by what is held alone; `None`: it must be asked, by [`Authenticator::authenticate`].
    /// Costs a signature; of a token that names no key one for each of its issuer's, up to
    /// [`KEYS_TRIED_MAX`]. Keys that a token wants are fetched then, whether anybody waits or
    /// not.
    pub fn held(&self, credential: &Credential, now: u64) -> Option<Result<Grant, Refusal>> {
        self.held_within(credential, now, KEYS_TRIED_MAX)
    }

    /// The same for who was refused too often: costs one signature of each issuer at most, so that a good token that names no
    /// key may be taken for one of a bad signature, where its issuer has several keys.
    pub fn held_sparing(&self, credential: &Credential, now: u64) -> Option<Result<Grant, Refusal>> {
        self.held_within(credential, now, 1)
    }

    fn held_within(&self, credential: &Credential, now: u64, tries_max: usize) -> Option<Result<Grant, Refusal>> {
        let Some(inner) = &self.closed else { return Some(Ok(Grant::open(viewer_id()))) };
        let judged = match credential {
            Credential::None => Err(Reason::Missing),
            Credential::Token(text) => inner.issuers.held(text, now, tries_max)?,
            Credential::Key(text) => inner.key_held(text, now)?,
        };
        Some(judged.map_err(Refusal::from))
    }

    /// Whether there is an API key of this credential's id, as far as was asked before: then to ask again costs one question in
    /// [`STORE_FRESH`](crate::limits::STORE_FRESH), however often it is shown.
    pub fn knows(&self, credential: &Credential) -> bool {
        let (Some(inner), Credential::Key(text)) = (&self.closed, credential) else { return false };
        let (Some(keys), Ok(shown)) = (&inner.keys, ShownKey::parse(text)) else { return false };
        keys.cache.knows(shown.id.as_str())
    }

    /// May it do this in this project, by its credential or as a member? Gives the grant with the memberships that were
    /// looked up, to be kept in its place. Waits for nothing when the credential itself says so.
    pub async fn authorize(&self, grant: &Grant, project: &Project, scope: Scope) -> Result<Grant, Refusal> {
        if grant.own_scopes(project).contains(scope) {
            return Ok(grant.clone());
        }
        let Some(inner) = self.asks_members(grant) else { return Err(refused(Reason::NoRight, scope)) };
        let found = inner.memberships.of(project, grant.subject()).await;
        by_membership(grant, project, scope, found)
    }

    /// The same without asking anybody; `None`: it must be asked.
    pub fn authorize_held(&self, grant: &Grant, project: &Project, scope: Scope) -> Option<Result<Grant, Refusal>> {
        if grant.own_scopes(project).contains(scope) {
            return Some(Ok(grant.clone()));
        }
        let Some(inner) = self.asks_members(grant) else { return Some(Err(refused(Reason::NoRight, scope))) };
        let found = inner.memberships.held(project, grant.subject())?;
        Some(by_membership(grant, project, scope, found))
    }

    /// Whether it was a member of this project when somebody was last asked: then asking again is bounded by how many members
    /// there are, and not by how many projects can be made up.
    pub fn knows_member(&self, grant: &Grant, project: &Project) -> bool {
        self.asks_members(grant).is_some_and(|inner| inner.memberships.knows(project, grant.subject()))
    }

    /// Whether it may be a member of projects: it is a user's, and there is somebody to ask.
    pub fn may_be_member(&self, grant: &Grant) -> bool {
        self.asks_members(grant).is_some()
    }

    /// In how many of these projects it would have to be looked up, for it cannot read them by itself and no answer is held.
    pub fn unknown(&self, grant: &Grant, projects: &[Project]) -> usize {
        let Some(inner) = self.asks_members(grant) else { return 0 };
        let is_unknown = |project: &&Project| {
            !grant.allows(project, Scope::Read) && inner.memberships.held(project, grant.subject()).is_none()
        };
        projects.iter().filter(is_unknown).count()
    }

    /// The grant with what it may do as a member in each of these projects that it cannot read by itself: for listings. What
    /// cannot be looked up gives nothing.
    pub async fn with_memberships(&self, grant: &Grant, projects: &[Project]) -> Grant {
        let Some(inner) = self.asks_members(grant) else { return grant.clone() };
        let mut granted = grant.clone();
        for some in projects.chunks(LOOKUPS_MAX) {
            let asked: Vec<&Project> = some.iter().filter(|project| !grant.allows(project, Scope::Read)).collect();
            let answers = asked.iter().map(|project| inner.memberships.of(project, grant.subject()));
            for (project, found) in asked.iter().zip(join_all(answers).await) {
                if found.scopes != Scopes::NONE {
                    granted = granted.with_membership((*project).clone(), found.scopes);
                }
            }
        }
        granted
    }

    /// Whether the grant of an open connection still holds, with its rights as they are now: those of its key, and its
    /// memberships looked up again. To be asked every [`REVALIDATE_EVERY`](crate::limits::REVALIDATE_EVERY); then each
    /// subscription is asked for again. While a store is away what was granted stays, since nothing says otherwise; while an
    /// authorizer has no time, what it said last is good for as long as while it does not answer.
    pub async fn revalidate(&self, grant: &Grant, now: u64) -> Result<Grant, Refusal> {
        let Some(inner) = &self.closed else { return Ok(grant.clone()) };
        let key = grant.key_id().and_then(|id| id.parse::<KeyId>().ok());
        if let Some(id) = key {
            return match inner.record(&id).await {
                Ok(Some(record)) => Ok(record.grant(now)?),
                // A revoked key's record may be gone.
                Ok(None) => Err(Reason::Revoked.into()),
                Err(_) if has_ended(grant, now) => Err(Reason::Expired.into()),
                Err(_) => Ok(grant.clone()),
            };
        }
        if has_ended(grant, now) {
            return Err(Reason::Expired.into());
        }
        if self.asks_members(grant).is_none() {
            return Ok(grant.clone());
        }
        let members = grant.memberships();
        let asked = members.iter().map(|(project, _)| inner.memberships.of(project, grant.subject()));
        let mut renewed = grant.clone();
        for ((project, before), found) in members.iter().zip(join_all(asked).await) {
            let stays = if found.store_away { *before } else { found.webhook_busy.unwrap_or(Scopes::NONE) };
            let scopes = found.scopes.union(stays);
            renewed = renewed.with_membership(project.clone(), scopes);
        }
        Ok(renewed)
    }

    /// How long the grant holds yet; `None`: it does not end by itself. Zero: it has ended.
    pub fn remaining(&self, grant: &Grant, now: u64) -> Option<Duration> {
        let end = grant.expires_at()?.saturating_add(leeway(grant));
        Some(Duration::from_secs(end.saturating_sub(now)))
    }

    /// The limits of the API key that a grant is of; none of its own while the store is away.
    pub async fn key_limits(&self, grant: &Grant) -> KeyLimits {
        let (Some(inner), Some(Ok(id))) = (&self.closed, grant.key_id().map(str::parse::<KeyId>)) else {
            return KeyLimits::default();
        };
        inner.record(&id).await.ok().flatten().map_or(KeyLimits::default(), |record| record.limits)
    }

    /// Keeps files and fetched keys up to date; without it no keys are ever fetched. Never ends; the process runs it beside its
    /// listeners and drops it last.
    pub async fn keep(&self) {
        let Some(inner) = &self.closed else { return std::future::pending().await };
        let declared = async {
            if let Some(file) = &inner.declared {
                file.keep(inner.file_poll).await;
            }
        };
        join(inner.issuers.keep(inner.file_poll), declared).await;
        // Nothing to keep.
        std::future::pending::<()>().await;
    }

    /// What is wrong with the files and fetched keys now, while what was read before is used.
    pub fn faults(&self) -> Vec<ConfigFault> {
        let Some(inner) = &self.closed else { return Vec::new() };
        let mut faults = inner.issuers.faults();
        let declared = inner.declared.iter().flat_map(|file| file.faults());
        faults.extend(declared.map(|message| ConfigFault::new("declared", message)));
        faults
    }

    /// Who to ask about memberships, if this grant can have any.
    fn asks_members(&self, grant: &Grant) -> Option<&Inner> {
        let is_user = *grant.holder() == Holder::User;
        self.closed.as_deref().filter(|inner| is_user && inner.memberships.any())
    }
}

impl Inner {
    /// What an API key grants.
    async fn key(&self, text: &str, now: u64) -> Result<Grant, Reason> {
        let shown = ShownKey::parse(text)?;
        shown.judge(self.record(&shown.id).await?.as_deref(), now)
    }

    /// The same without asking the store; `None`: it must be asked.
    fn key_held(&self, text: &str, now: u64) -> Option<Result<Grant, Reason>> {
        let shown = match ShownKey::parse(text) {
            Ok(shown) => shown,
            Err(reason) => return Some(Err(reason)),
        };
        let declared = self.declared.as_ref().and_then(|file| file.get().key(&shown.id));
        let record = match (&declared, &self.keys) {
            (None, Some(keys)) => keys.cache.held(shown.id.as_str())?.map_err(|NoAnswer| Reason::KeyStoreUnavailable),
            _ => Ok(declared),
        };
        Some(record.and_then(|record| shown.judge(record.as_deref(), now)))
    }

    /// The record of a key. What the file declares comes first: it holds even when the store was emptied, or says other.
    async fn record(&self, id: &KeyId) -> Result<Option<Arc<KeyRecord>>, Reason> {
        let declared = self.declared.as_ref().and_then(|file| file.get().key(id));
        let (None, Some(keys)) = (&declared, &self.keys) else { return Ok(declared) };
        let ask = || async { keys.store.find(id).await.map(|found| found.map(Arc::new)) };
        keys.cache.get(id.as_str(), ask).await.map_err(|_| Reason::KeyStoreUnavailable)
    }
}

/// What was found of a user in a project, as the answer to whether it may do this there.
fn by_membership(grant: &Grant, project: &Project, scope: Scope, found: Found) -> Result<Grant, Refusal> {
    if found.scopes.contains(scope) {
        return Ok(grant.clone().with_membership(project.clone(), found.scopes));
    }
    // Where it may be a member, "come back" is honest, "never" is not.
    let reason = if found.webhook_busy.is_some() {
        Reason::Busy
    } else if found.store_away || found.webhook_away {
        Reason::MembersUnavailable
    } else {
        Reason::NoRight
    };
    Err(refused(reason, scope))
}

fn refused(reason: Reason, scope: Scope) -> Refusal {
    Refusal { reason, needed: Some(scope) }
}

/// The clocks of issuers may differ from ours; that of keys is our own.
fn leeway(grant: &Grant) -> u64 {
    if grant.key_id().is_some() { 0 } else { LEEWAY.as_secs() }
}

fn has_ended(grant: &Grant, now: u64) -> bool {
    grant.expires_at().is_some_and(|end| end.saturating_add(leeway(grant)) <= now)
}

/// An id for a viewer that has no name of its own.
fn viewer_id() -> String {
    let mut bytes = [0; 8];
    rand::fill(&mut bytes).expect("the system gives randomness");
    format!("v-{:016x}", u64::from_ne_bytes(bytes))
}

#[cfg(test)]
mod tests;
