//! The one entry: a credential becomes a grant, a grant is asked for a right, and an open connection asks again.

use std::sync::Arc;
use std::time::Duration;

use aws_lc_rs::rand;
use futures_util::future::{join, join_all};
use tidings_protocol::grant::{Grant, Holder, Scope, Scopes};
use tidings_protocol::project::Project;

use crate::cache::Cache;
use crate::config::{Closed, Config, ConfigFault};
use crate::credential::Credential;
use crate::declared::Declared;
use crate::issuer::{Issuer, Issuers};
use crate::key::{KeyId, KeyLimits, KeyRecord, Keys, ShownKey};
use crate::limits::{DECLARED_BYTES_MAX, LEEWAY, LOOKUPS_MAX};
use crate::members::{Members, Memberships, STORE_TERMS};
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
    /// [`Authenticator::keep`] runs or a token comes. All that is wrong is told together.
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
            issuers: Issuers::new(issuers),
            memberships: Memberships::new(declared.clone(), stores.members, webhook),
            declared,
            keys: stores.keys.map(|store| KeyStore { store, cache: Cache::new(STORE_TERMS) }),
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

    /// May it do this in this project, by its credential or as a member? Gives the grant with the memberships that were
    /// looked up, to be kept in its place. Waits for nothing when the credential itself says so.
    pub async fn authorize(&self, grant: &Grant, project: &Project, scope: Scope) -> Result<Grant, Refusal> {
        if Scopes::from(scope).intersection(grant.own_scopes(project)) != Scopes::NONE {
            return Ok(grant.clone());
        }
        let refused = |reason| Err(Refusal { reason, needed: Some(scope) });
        let Some(inner) = self.asks_members(grant) else { return refused(Reason::NoRight) };
        let found = inner.memberships.of(project, grant.subject()).await;
        if found.scopes.contains(scope) {
            Ok(grant.clone().with_membership(project.clone(), found.scopes))
        } else if found.store_away || found.webhook_away {
            // It may be a member: "come back" is honest, "never" is not.
            refused(Reason::MembersUnavailable)
        } else {
            refused(Reason::NoRight)
        }
    }

    /// The grant with what it may do as a member in each of these projects: for listings, which ask
    /// [`Grant::visible`] then. What cannot be looked up gives nothing.
    pub async fn with_memberships(&self, grant: &Grant, projects: &[Project]) -> Grant {
        let Some(inner) = self.asks_members(grant) else { return grant.clone() };
        let mut granted = grant.clone();
        for some in projects.chunks(LOOKUPS_MAX) {
            let asked: Vec<&Project> = some.iter().filter(|project| !grant.visible(project)).collect();
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
    /// subscription is asked for again. While a store is away what was granted stays, since nothing says otherwise.
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
            let scopes = if found.store_away { found.scopes.union(*before) } else { found.scopes };
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

    /// Keeps files and fetched keys up to date. Never ends; the process runs it beside its listeners and drops it last.
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
        let record = self.record(&shown.id).await?.ok_or(Reason::UnknownKey)?;
        // The secret first: who does not have it learns nothing of the key.
        if !shown.hash.matches(&record.hash) {
            return Err(Reason::BadSignature);
        }
        record.grant(now)
    }

    /// The record of a key. What the file declares comes first: it holds even when the store was emptied, or says other.
    async fn record(&self, id: &KeyId) -> Result<Option<Arc<KeyRecord>>, Reason> {
        let declared = self.declared.as_ref().and_then(|file| file.get().key(id));
        let (None, Some(keys)) = (&declared, &self.keys) else { return Ok(declared) };
        let ask = || async { keys.store.find(id).await.map(|found| found.map(Arc::new)) };
        keys.cache.get(id.as_str(), ask).await.map_err(|_| Reason::KeyStoreUnavailable)
    }
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
