//! Whose tokens are taken: each issuer with its keys and terms, and which of them judges a token.
//!
//! Users are those of their issuer: where there are several, each of another name has a prefix of its own before its users'
//! names, and no user of one can be called as one of another.

use std::sync::Arc;
use std::time::Duration;

use aws_lc_rs::digest;
use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use serde_json::Value;
use tidings_protocol::grant::{Grant, Holder};

use crate::claims::ClaimPaths;
use crate::config::{Audience, ConfigFault, IssuerConfig, KeySource, trusted_url};
use crate::jwks::Jwks;
use crate::key_set::{KeySet, Origin, VerifyingKey};
use crate::limits::{KEY_SET_BYTES_MAX, KEYS_TRIED_MAX, SUBJECT_BYTES_MAX, SUBJECT_PREFIX_BYTES_MAX};
use crate::refusal::Reason;
use crate::token::{self, Unverified};
use crate::watched::Watched;

/// What stands before the subject of an API key.
pub(crate) const KEY_SUBJECT: &str = "key:";
/// What stands before the subject of a token that names no user.
pub(crate) const TOKEN_SUBJECT: &str = "token:";

pub(crate) struct Issuer {
    name: Option<String>,
    audience: Audience,
    claims: ClaimPaths,
    lifetime_max: Option<Duration>,
    subject_prefix: String,
    /// Prefixes of other issuers that go on where this one's ends: its users cannot be called so.
    others: Vec<String>,
    keys: Keys,
}

enum Keys {
    Fixed(Arc<KeySet>),
    File(Watched<KeySet>),
    Fetched(Jwks),
}

impl Issuer {
    /// The issuer of these settings, which stand at `field`. Reads key files; fetches nothing yet.
    pub(crate) fn new(config: IssuerConfig, field: &str) -> Result<Issuer, Vec<ConfigFault>> {
        let mut faults = Vec::new();
        if matches!(config.keys, KeySource::Url { .. }) {
            if config.issuer.is_none() {
                faults.push(ConfigFault::new(format!("{field}.issuer"), "keys at a URL need the name of their issuer"));
            }
            if config.audience == Audience::Any {
                let message = "keys at a URL need an audience: their issuer makes tokens for others too";
                faults.push(ConfigFault::new(format!("{field}.audience"), message));
            }
        }
        if matches!(&config.audience, Audience::OneOf(ours) if ours.is_empty()) {
            faults.push(ConfigFault::new(format!("{field}.audience"), "no token could be for any of none"));
        }
        let prefix = &config.subject_prefix;
        if !prefix.is_empty() && (prefix.len() > SUBJECT_PREFIX_BYTES_MAX || !is_user(prefix)) {
            let message = format!(
                "has at most {SUBJECT_PREFIX_BYTES_MAX} bytes, no control characters, and is not `key:` or `token:`"
            );
            faults.push(ConfigFault::new(format!("{field}.subject_prefix"), message));
        }
        match Keys::new(config.keys) {
            Ok(keys) if faults.is_empty() => {
                let IssuerConfig { issuer: name, audience, claims, lifetime_max, subject_prefix, .. } = config;
                return Ok(Issuer { name, audience, claims, lifetime_max, subject_prefix, others: Vec::new(), keys });
            }
            Ok(_) => {}
            Err(messages) => {
                faults.extend(messages.into_iter().map(|message| ConfigFault::new(format!("{field}.keys"), message)));
            }
        }
        Err(faults)
    }

    /// What the token grants, if it is of this issuer. Waits for keys that it may have been signed with.
    async fn verify(&self, token: &Unverified<'_>, text: &str, now: u64) -> Result<Grant, Reason> {
        let with = |keys| self.with(keys, (token, text), now, KEYS_TRIED_MAX);
        let Keys::Fetched(jwks) = &self.keys else { return with(self.keys.held()) };
        match with(jwks.held()) {
            // The keys may have been changed: under a new id, the old one, or none.
            Err(Reason::KeysUnavailable | Reason::UnknownKey | Reason::BadSignature) => with(jwks.renewed().await),
            judged => judged,
        }
    }

    /// The same without waiting; `None`: it must be waited for keys, which are on their way then.
    fn verify_held(&self, shown: (&Unverified<'_>, &str), now: u64, tries_max: usize) -> Option<Result<Grant, Reason>> {
        let judged = self.with(self.keys.held(), shown, now, tries_max);
        let renewable = matches!(judged, Err(Reason::KeysUnavailable | Reason::UnknownKey | Reason::BadSignature));
        match &self.keys {
            Keys::Fetched(jwks) if renewable && jwks.want() => None,
            _ => Some(judged),
        }
    }

    /// What the token grants by these keys, of which so many are tried at most.
    fn with(
        &self,
        keys: Option<Arc<KeySet>>,
        (token, text): (&Unverified<'_>, &str),
        now: u64,
        tries_max: usize,
    ) -> Result<Grant, Reason> {
        let claims = token.verify(&*keys.ok_or(Reason::KeysUnavailable)?, tries_max)?;
        let lifetime_max = self.lifetime_max.map(|longest| longest.as_secs());
        let terms = token::Terms { audience: &self.audience, lifetime_max };
        let expires_at = token::judge(claims, terms, now)?;
        let rights = self.claims.rights(claims);
        let grant = match self.subject(self.claims.user(claims))? {
            Some(user) => Grant::new(user, Holder::User, rights),
            None => Grant::new(anonymous(text), Holder::Token, rights),
        };
        Ok(grant.until(expires_at))
    }

    /// The user that a claim names. Names that other callers have are nobody's to take.
    fn subject(&self, claim: Option<&Value>) -> Result<Option<String>, Reason> {
        let user = match claim {
            None | Some(Value::Null) => return Ok(None),
            Some(Value::String(user)) if !user.is_empty() => format!("{}{user}", self.subject_prefix),
            Some(Value::Number(user)) => format!("{}{user}", self.subject_prefix),
            Some(_) => return Err(Reason::Malformed),
        };
        let is_ours = !self.others.iter().any(|other| user.starts_with(other));
        if is_ours && is_user(&user) { Ok(Some(user)) } else { Err(Reason::Malformed) }
    }
}

/// May a user be called so?
pub fn is_user(user: &str) -> bool {
    let reserved = user.starts_with(KEY_SUBJECT) || user.starts_with(TOKEN_SUBJECT);
    !user.is_empty() && user.len() <= SUBJECT_BYTES_MAX && !reserved && !user.chars().any(char::is_control)
}

/// A subject for who names none: the same for the same token, and nobody else's.
fn anonymous(token: &str) -> String {
    let digest = digest::digest(&digest::SHA256, token.as_bytes());
    format!("{TOKEN_SUBJECT}{}", URL_SAFE_NO_PAD.encode(&digest.as_ref()[..16]))
}

impl Keys {
    fn new(source: KeySource) -> Result<Keys, Vec<String>> {
        let fixed = |key: VerifyingKey| Keys::Fixed(Arc::new(KeySet::of(key)));
        match source {
            KeySource::Secret(secret) => VerifyingKey::from_secret(secret.expose().as_bytes())
                .map(fixed)
                .map_err(|fault| vec![fault.to_string()]),
            KeySource::Pem(pem) => VerifyingKey::from_pem(&pem).map(fixed).map_err(|fault| vec![fault.to_string()]),
            KeySource::File(path) => Watched::open(path, KEY_SET_BYTES_MAX, key_file).map(Keys::File),
            KeySource::Url { url, terms } => {
                let url = trusted_url(&url).map_err(|message| vec![message.to_owned()])?;
                Jwks::new(url, terms).map(Keys::Fetched).map_err(|error| vec![error.to_string()])
            }
        }
    }

    fn held(&self) -> Option<Arc<KeySet>> {
        match self {
            Keys::Fixed(set) => Some(set.clone()),
            Keys::File(file) => Some(file.get()),
            Keys::Fetched(jwks) => jwks.held(),
        }
    }
}

/// A file of keys: a key set, or one public key in PEM.
fn key_file(contents: &[u8]) -> Result<KeySet, Vec<String>> {
    let read = match str::from_utf8(contents) {
        Ok(text) if text.trim_start().starts_with("-----BEGIN") => VerifyingKey::from_pem(text).map(KeySet::of),
        _ => KeySet::from_json(contents, Origin::File),
    };
    read.map_err(|fault| vec![fault.to_string()])
}

/// All issuers.
pub(crate) struct Issuers {
    list: Vec<Issuer>,
}

impl Issuers {
    /// Fails where users of one issuer would be taken for those of another.
    pub(crate) fn new(mut list: Vec<Issuer>) -> Result<Issuers, Vec<ConfigFault>> {
        let mut faults = Vec::new();
        for (place, issuer) in list.iter().enumerate() {
            let same = |other: &Issuer| other.name != issuer.name && other.subject_prefix == issuer.subject_prefix;
            if list[..place].iter().any(same) {
                let message = "another issuer's users would be taken for this one's: only one can be without a prefix";
                faults.push(ConfigFault::new(format!("issuers[{place}].subject_prefix"), message));
            }
        }
        if !faults.is_empty() {
            return Err(faults);
        }
        let prefixes: Vec<String> = list.iter().map(|issuer| issuer.subject_prefix.clone()).collect();
        for issuer in &mut list {
            let longer = |other: &&String| other.len() > issuer.subject_prefix.len();
            let others = prefixes.iter().filter(longer).filter(|other| other.starts_with(&issuer.subject_prefix));
            issuer.others = others.cloned().collect();
        }
        Ok(Issuers { list })
    }

    /// What a token grants. Judged by the issuers of its `iss` alone, if there are any; else by those without a name.
    pub(crate) async fn verify(&self, text: &str, now: u64) -> Result<Grant, Reason> {
        let token = Unverified::parse(text)?;
        let mut refused = Reason::WrongIssuer;
        for issuer in self.judges(&token) {
            match issuer.verify(&token, text, now).await {
                Ok(grant) => return Ok(grant),
                Err(reason) => refused = further(refused, reason),
            }
        }
        Err(refused)
    }

    /// The same without waiting, by so many keys of each issuer at most; `None`: it must be waited for keys, which are on
    /// their way then.
    pub(crate) fn held(&self, text: &str, now: u64, tries_max: usize) -> Option<Result<Grant, Reason>> {
        let token = match Unverified::parse(text) {
            Ok(token) => token,
            Err(reason) => return Some(Err(reason)),
        };
        let (mut refused, mut complete) = (Reason::WrongIssuer, true);
        for issuer in self.judges(&token) {
            match issuer.verify_held((&token, text), now, tries_max) {
                Some(Ok(grant)) => return Some(Ok(grant)),
                Some(Err(reason)) => refused = further(refused, reason),
                None => complete = false,
            }
        }
        complete.then_some(Err(refused))
    }

    fn judges<'a>(&'a self, token: &'a Unverified<'_>) -> impl Iterator<Item = &'a Issuer> {
        let named = |issuer: &Issuer| issuer.name.is_some() && issuer.name.as_deref() == token.issuer();
        let any_named = self.list.iter().any(named);
        self.list.iter().filter(move |issuer| if any_named { named(issuer) } else { issuer.name.is_none() })
    }

    /// Keeps files and fetched keys up to date. Never ends.
    pub(crate) async fn keep(&self, file_poll: Duration) {
        let each = self.list.iter().map(|issuer| async move {
            match &issuer.keys {
                Keys::Fixed(_) => {}
                Keys::File(file) => file.keep(file_poll).await,
                Keys::Fetched(jwks) => jwks.keep().await,
            }
        });
        futures_util::future::join_all(each).await;
    }

    /// What is wrong with files and fetched keys now.
    pub(crate) fn faults(&self) -> Vec<ConfigFault> {
        let mut faults = Vec::new();
        for (place, issuer) in self.list.iter().enumerate() {
            let messages = match &issuer.keys {
                Keys::Fixed(_) => Vec::new(),
                Keys::File(file) => file.faults(),
                Keys::Fetched(jwks) => jwks.fault().into_iter().collect(),
            };
            let field = format!("issuers[{place}].keys");
            faults.extend(messages.into_iter().map(|message| ConfigFault::new(field.clone(), message)));
        }
        faults
    }
}

/// When several issuers refuse a token, the one that came furthest says why.
fn further(one: Reason, other: Reason) -> Reason {
    if told_first(other) > told_first(one) { other } else { one }
}

fn told_first(reason: Reason) -> u8 {
    match reason {
        Reason::WrongIssuer => 0,
        Reason::UnknownKey => 1,
        Reason::UnsupportedAlgorithm => 2,
        Reason::BadSignature => 3,
        // It might have been verified.
        Reason::KeysUnavailable => 4,
        // It was verified.
        _ => 5,
    }
}
