//! API keys for runners: `tdk_<id>_<secret>`. The id is public and finds the record; the secret proves it.
//!
//! A record holds the SHA-256 of the whole key, never the key. A slow hash (argon2, bcrypt) protects secrets that people
//! choose, since those can be guessed; here the secret is 256 random bits, which nobody guesses at any speed, while a slow
//! hash would let anybody burn a core of the service for each made-up key.

use std::collections::HashMap;
use std::fmt;
use std::str::FromStr;
use std::sync::Arc;

use aws_lc_rs::{constant_time, digest, rand};
use futures_util::future::BoxFuture;
use parking_lot::Mutex;
use serde::{Deserialize, Serialize};
use tidings_protocol::grant::{Grant, Holder, ProjectPattern, Right, Scopes};

use crate::credential::Secret;
use crate::issuer::KEY_SUBJECT;
use crate::refusal::Reason;

/// What every API key begins with; scanners for leaked secrets can look for it.
pub const KEY_PREFIX: &str = "tdk_";

/// Characters of a public id: 95 random bits.
const ID_CHARS: usize = 16;
/// Characters of a secret: 62^43 is just over 2^256.
const SECRET_CHARS: usize = 43;
const BASE62: &[u8; 62] = b"0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz";

/// What an API key may do unless it is told otherwise.
pub const KEY_SCOPES: &str = "publish work";

/// The public id of an API key.
#[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(into = "String", try_from = "String")]
pub struct KeyId(Arc<str>);

/// A text that is no id of a key.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("a key's id is {ID_CHARS} letters and digits")]
pub struct KeyIdError;

impl KeyId {
    /// The id.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl FromStr for KeyId {
    type Err = KeyIdError;

    fn from_str(text: &str) -> Result<KeyId, KeyIdError> {
        if is_base62(text, ID_CHARS) { Ok(KeyId(text.into())) } else { Err(KeyIdError) }
    }
}

impl TryFrom<String> for KeyId {
    type Error = KeyIdError;

    fn try_from(text: String) -> Result<KeyId, KeyIdError> {
        text.parse()
    }
}

impl From<KeyId> for String {
    fn from(id: KeyId) -> String {
        id.0.as_ref().to_owned()
    }
}

impl fmt::Display for KeyId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

fn is_base62(text: &str, chars: usize) -> bool {
    text.len() == chars && text.bytes().all(|b| b.is_ascii_alphanumeric())
}

/// The SHA-256 of a whole key: `sha256:` and 64 hex digits.
#[derive(Clone, Serialize, Deserialize)]
#[serde(into = "String", try_from = "String")]
pub struct KeyHash([u8; 32]);

/// A text that is no hash of a key.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("a key's hash is `sha256:` and 64 hex digits")]
pub struct KeyHashError;

impl KeyHash {
    /// The hash of this key.
    pub fn of(key: &str) -> KeyHash {
        let digest = digest::digest(&digest::SHA256, key.as_bytes());
        KeyHash(digest.as_ref().try_into().expect("SHA-256 has 32 bytes"))
    }

    /// The same hash? Takes the same time whatever differs.
    pub fn matches(&self, other: &KeyHash) -> bool {
        constant_time::verify_slices_are_equal(&self.0, &other.0).is_ok()
    }
}

impl FromStr for KeyHash {
    type Err = KeyHashError;

    fn from_str(text: &str) -> Result<KeyHash, KeyHashError> {
        let hex = text.strip_prefix("sha256:").ok_or(KeyHashError)?;
        if hex.len() != 64 || !hex.bytes().all(|b| b.is_ascii_hexdigit()) {
            return Err(KeyHashError);
        }
        let mut bytes = [0; 32];
        for (place, byte) in bytes.iter_mut().enumerate() {
            *byte = u8::from_str_radix(&hex[2 * place..2 * place + 2], 16).map_err(|_| KeyHashError)?;
        }
        Ok(KeyHash(bytes))
    }
}

impl TryFrom<String> for KeyHash {
    type Error = KeyHashError;

    fn try_from(text: String) -> Result<KeyHash, KeyHashError> {
        text.parse()
    }
}

impl From<KeyHash> for String {
    fn from(hash: KeyHash) -> String {
        hash.to_string()
    }
}

impl fmt::Display for KeyHash {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("sha256:")?;
        self.0.iter().try_for_each(|byte| write!(f, "{byte:02x}"))
    }
}

impl fmt::Debug for KeyHash {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

/// Limits of a key beside those of its projects; `None`: the projects' alone.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(default)]
pub struct KeyLimits {
    /// Events in a second.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub events_per_second: Option<u32>,
    /// Bytes of events in a second.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub bytes_per_second: Option<u64>,
}

/// What is kept of an API key. Fields are only ever added.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct KeyRecord {
    /// Its public id.
    pub id: KeyId,
    /// The hash of the whole key.
    pub hash: KeyHash,
    /// For which projects.
    pub projects: Vec<ProjectPattern>,
    /// With which scopes in them.
    pub scopes: Scopes,
    /// Its own limits.
    #[serde(default)]
    pub limits: KeyLimits,
    /// When it was made, in seconds of the Unix epoch; 0: not known.
    #[serde(default)]
    pub created_at: u64,
    /// When it ends, in seconds of the Unix epoch.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub expires_at: Option<u64>,
    /// When it was revoked, in seconds of the Unix epoch.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub revoked_at: Option<u64>,
    /// What it is for, for people.
    #[serde(default)]
    pub note: String,
}

impl KeyRecord {
    /// What the key of this record grants now, the secret aside.
    pub(crate) fn grant(&self, now: u64) -> Result<Grant, Reason> {
        if self.revoked_at.is_some() {
            return Err(Reason::Revoked);
        }
        if self.expires_at.is_some_and(|end| end <= now) {
            return Err(Reason::Expired);
        }
        let rights = self.projects.iter().map(|projects| Right { projects: projects.clone(), scopes: self.scopes });
        let grant = Grant::new(format!("{KEY_SUBJECT}{}", self.id), Holder::Key(self.id.0.clone()), rights.collect());
        Ok(match self.expires_at {
            Some(end) => grant.until(end),
            None => grant,
        })
    }
}

/// A new key: the text, which is shown once and not kept, and the record.
#[derive(Debug)]
pub struct NewKey {
    /// The whole key.
    pub key: Secret,
    /// What is kept of it.
    pub record: KeyRecord,
}

impl NewKey {
    /// Makes a key, of the system's randomness.
    ///
    /// ```
    /// use tidings_auth::{KeyHash, NewKey};
    ///
    /// let made = NewKey::make(vec!["demo".parse()?], "publish".parse()?, 1_763_630_000);
    /// assert!(made.key.expose().starts_with("tdk_"));
    /// assert!(made.record.hash.matches(&KeyHash::of(made.key.expose())));
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    pub fn make(projects: Vec<ProjectPattern>, scopes: Scopes, now: u64) -> NewKey {
        let id = random_base62(ID_CHARS);
        let key = format!("{KEY_PREFIX}{id}_{}", random_base62(SECRET_CHARS));
        let record = KeyRecord {
            id: KeyId(id.into()),
            hash: KeyHash::of(&key),
            projects,
            scopes,
            limits: KeyLimits::default(),
            created_at: now,
            expires_at: None,
            revoked_at: None,
            note: String::new(),
        };
        NewKey { key: Secret::new(key), record }
    }
}

fn random_base62(chars: usize) -> String {
    let mut text = String::with_capacity(chars);
    while text.len() < chars {
        let mut bytes = [0; 64];
        rand::fill(&mut bytes).expect("the system gives randomness");
        // 248 is the largest multiple of 62 in a byte: what lies above would favour the first characters.
        let even = bytes.into_iter().filter(|byte| *byte < 248);
        text.extend(even.take(chars - text.len()).map(|byte| char::from(BASE62[usize::from(byte % 62)])));
    }
    text
}

/// A key as a caller shows it.
#[derive(Debug)]
pub(crate) struct ShownKey {
    pub(crate) id: KeyId,
    pub(crate) hash: KeyHash,
}

impl ShownKey {
    pub(crate) fn parse(text: &str) -> Result<ShownKey, Reason> {
        let parts = text.strip_prefix(KEY_PREFIX).and_then(|rest| rest.split_once('_'));
        let (id, secret) = parts.ok_or(Reason::Malformed)?;
        let id: KeyId = id.parse().map_err(|_| Reason::Malformed)?;
        if !is_base62(secret, SECRET_CHARS) {
            return Err(Reason::Malformed);
        }
        Ok(ShownKey { id, hash: KeyHash::of(text) })
    }

    /// What it grants, if this is the record of its id.
    pub(crate) fn judge(&self, record: Option<&KeyRecord>, now: u64) -> Result<Grant, Reason> {
        let record = record.ok_or(Reason::UnknownKey)?;
        // The secret first: who does not have it learns nothing of the key.
        if !self.hash.matches(&record.hash) {
            return Err(Reason::BadSignature);
        }
        record.grant(now)
    }
}

/// A store of rights does not answer.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("the store of rights does not answer")]
pub struct StoreAway;

/// Where API keys are kept. Asked through a short-lived cache (`limits::STORE_FRESH`), one question at a time for a key.
pub trait Keys: Send + Sync + 'static {
    /// The record of this key, a revoked one included; `None`: there is none. May be dropped at any time.
    fn find<'a>(&'a self, id: &'a KeyId) -> BoxFuture<'a, Result<Option<KeyRecord>, StoreAway>>;
}

/// API keys in memory: for development and tests.
#[derive(Default)]
pub struct MemoryKeys {
    records: Mutex<HashMap<KeyId, KeyRecord>>,
}

impl MemoryKeys {
    /// Keeps a record, in place of one of the same id.
    pub fn put(&self, record: KeyRecord) {
        self.records.lock().insert(record.id.clone(), record);
    }

    /// Revokes a key. False: there is no such key.
    pub fn revoke(&self, id: &KeyId, now: u64) -> bool {
        self.records.lock().get_mut(id).map(|record| record.revoked_at = Some(now)).is_some()
    }
}

impl Keys for MemoryKeys {
    fn find<'a>(&'a self, id: &'a KeyId) -> BoxFuture<'a, Result<Option<KeyRecord>, StoreAway>> {
        let found = self.records.lock().get(id).cloned();
        Box::pin(std::future::ready(Ok(found)))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn made() -> NewKey {
        NewKey::make(vec!["demo".parse().expect("a pattern")], "publish".parse().expect("scopes"), 1_000)
    }

    #[test]
    fn a_key_is_what_the_form_says_and_is_read_again() {
        let NewKey { key, record } = made();
        let text = key.expose();
        assert_eq!(text.len(), KEY_PREFIX.len() + ID_CHARS + 1 + SECRET_CHARS);
        let shown = ShownKey::parse(text).expect("its own form");
        assert_eq!(shown.id, record.id);
        assert!(shown.hash.matches(&record.hash));
        assert_ne!(made().key, key);
    }

    #[test]
    fn another_secret_does_not_match() {
        let NewKey { key, record } = made();
        let text = key.expose();
        let last = if text.ends_with('a') { "b" } else { "a" };
        let other = format!("{}{last}", &text[..text.len() - 1]);
        assert!(!ShownKey::parse(&other).expect("a key's form").hash.matches(&record.hash));
    }

    #[test]
    fn other_forms_are_malformed() {
        let good = made().key;
        let good = good.expose();
        let (without_last, upper) = (&good[..good.len() - 1], good.to_uppercase());
        for bad in ["", "tdk_", "tdk__", "tdk_a_b", without_last, &format!("{good}a"), &upper, &good.replace('_', "-")]
        {
            assert_eq!(ShownKey::parse(bad).err(), Some(Reason::Malformed), "{bad}");
        }
    }

    #[test]
    fn a_record_is_kept_as_json_without_the_secret() {
        let NewKey { key, record } = made();
        let json = serde_json::to_string(&record).expect("JSON");
        assert!(!json.contains(&key.expose()[KEY_PREFIX.len() + ID_CHARS..]), "{json}");
        let read: KeyRecord = serde_json::from_str(&json).expect("its own JSON");
        assert_eq!((read.id, read.hash.to_string()), (record.id, record.hash.to_string()));
    }

    #[test]
    fn a_revoked_or_ended_key_grants_nothing() {
        let demo = "demo".parse().expect("a name");
        let mut record = made().record;
        let grant = record.grant(1_000).expect("a good key");
        assert!(grant.may_publish(&demo) && !grant.may_read(&demo));
        assert_eq!(grant.key_id(), Some(record.id.as_str()));
        record.expires_at = Some(2_000);
        assert_eq!(record.grant(1_999).map(|grant| grant.expires_at()), Ok(Some(2_000)));
        assert_eq!(record.grant(2_000), Err(Reason::Expired));
        record.revoked_at = Some(1_500);
        assert_eq!(record.grant(1_999), Err(Reason::Revoked));
    }

    #[test]
    fn every_character_comes_about() {
        let text = random_base62(10_000);
        assert!(BASE62.iter().all(|b| text.contains(char::from(*b))));
    }
}
