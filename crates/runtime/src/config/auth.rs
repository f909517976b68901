//! `[auth]`: whose credentials are taken. The flat keys are for one issuer, and can all be given by environment; more
//! issuers are tables of a file.
//!
//! As soon as any of these keys says where credentials come from, the services ask for them; without, they run open.

use std::path::PathBuf;
use std::time::Duration;

use tidings_auth::{
    Audience, Authenticator, ClaimPath, ClaimPaths, Closed, Config as AuthSettings, IssuerConfig, JwksTerms, KeySource,
    Secret, Stores, WebhookConfig,
};
use toml::Value;

use super::section::section;
use super::value::Setting;

mod issuers;
mod words;

pub use issuers::Issuers;
pub use words::{Address, Claim, Lifetime, Word, Words};

section! {
    /// Who may come in, and with what rights. Nothing given: everybody, but from this machine only. docs/security.md says
    /// what rights there are.
    "auth" => AuthConfig {
        /// A shared secret of at least 32 bytes: tokens that are signed with it (HS256) are taken, and `tidings token mint`
        /// makes them.
        "secret" => secret: Option<Secret> = None;
        /// A file with the issuer's public keys: one in PEM, or a JSON Web Key Set. Read again when it changes.
        "key_file" => key_file: Option<PathBuf> = None;
        /// Where the issuer publishes its JSON Web Key Set: https, or http to a loopback address. Needs `issuer` and
        /// `audience`.
        "jwks_url" => jwks_url: Address = Address::default();
        /// What a token's `iss` must be; empty: anything.
        "issuer" => issuer: Word = Word::default();
        /// Whom a token must be for (`aud`): one of these; empty: anybody.
        "audience" => audience: Words = Words::default();
        /// Where a token says who the user is: names with dots, or a JSON pointer.
        "claim_user" => claim_user: Claim = Claim::new("sub");
        /// Where it says in which projects: a text, a list (`team-*` is every project whose name begins so), or an object
        /// from project to scopes.
        "claim_projects" => claim_projects: Claim = Claim::new("projects");
        /// Where it says what may be done there: `read`, `publish`, `work`, `command`, `approve`, `admin`.
        "claim_scopes" => claim_scopes: Claim = Claim::new("scopes");
        /// What stands before a scope in the token, as in `tidings:read`; words without it are passed over.
        "scope_prefix" => scope_prefix: Word = Word::default();
        /// What stands before the names of the issuer's users, wherever they are named: as members, to the webhook, in events
        /// (`to`). Issuers of different names (`issuer`) must have different ones; one of them can be without.
        "subject_prefix" => subject_prefix: Word = Word::default();
        /// The longest time from a token's `iat` to its `exp`, in milliseconds; tokens that are good for longer are refused.
        /// 0: any.
        "token_lifetime_max_ms" => token_lifetime_max: Lifetime = Lifetime::default();
        /// More issuers: `[[auth.issuers]]` in a file, each a table with any of the keys above.
        "issuers" => issuers: Issuers = Issuers::default();
        /// A file that declares API keys, members and settings of projects. Read again when it changes.
        "declared_file" => declared_file: Option<PathBuf> = None;
        /// A service that is asked what a user may do in a project: https, or http to a loopback address.
        "webhook_url" => webhook_url: Address = Address::default();
        /// What that service is shown as a bearer token, so that it knows who asks.
        "webhook_secret" => webhook_secret: Option<Secret> = None;
    }
}

/// One issuer's keys of the configuration.
#[derive(Debug, Clone, PartialEq, Default)]
pub struct Issuer {
    secret: Option<Secret>,
    key_file: Option<PathBuf>,
    jwks_url: Address,
    issuer: Word,
    audience: Words,
    claim_user: Option<Claim>,
    claim_projects: Option<Claim>,
    claim_scopes: Option<Claim>,
    scope_prefix: Word,
    subject_prefix: Word,
    token_lifetime_max: Lifetime,
}

impl Issuer {
    /// What verifies its tokens, each with the key's name. Several stand beside each other.
    fn sources(&self) -> Vec<(&'static str, KeySource)> {
        let url = |url: &str| KeySource::Url { url: url.to_owned(), terms: JwksTerms::default() };
        let secret = self.secret.clone().map(|secret| ("secret", KeySource::Secret(secret)));
        let file = self.key_file.clone().map(|path| ("key_file", KeySource::File(path)));
        let fetched = self.jwks_url.get().map(|text| ("jwks_url", url(text)));
        secret.into_iter().chain(file).chain(fetched).collect()
    }

    fn claims(&self) -> ClaimPaths {
        let plain = ClaimPaths::default();
        let path = |claim: &Option<Claim>, plain| claim.as_ref().map_or(plain, Claim::path);
        ClaimPaths {
            user: path(&self.claim_user, plain.user),
            projects: path(&self.claim_projects, plain.projects),
            scopes: path(&self.claim_scopes, plain.scopes),
            scope_prefix: self.scope_prefix.get().unwrap_or_default().to_owned(),
        }
    }

    fn settings(&self) -> impl Iterator<Item = (&'static str, IssuerConfig)> {
        let audience = match self.audience.get() {
            [] => Audience::Any,
            some => Audience::OneOf(some.to_vec()),
        };
        self.sources().into_iter().map(move |(key, keys)| {
            let issuer = IssuerConfig {
                issuer: self.issuer.get().map(str::to_owned),
                audience: audience.clone(),
                keys,
                claims: self.claims(),
                lifetime_max: self.token_lifetime_max.get(),
                subject_prefix: self.subject_prefix.get().unwrap_or_default().to_owned(),
            };
            (key, issuer)
        })
    }
}

impl AuthConfig {
    /// Whether everybody may do everything: nothing says where credentials come from.
    pub fn is_open(&self) -> bool {
        self.flat().sources().is_empty() && self.issuers.get().is_empty() && self.declared_file.is_none()
    }

    /// The authenticator of these settings. Reads files.
    ///
    /// # Errors
    /// All that is wrong, by key.
    pub fn authenticator(&self, stores: Stores) -> Result<Authenticator, Vec<(&'static str, String)>> {
        let mut faults = self.contradictions();
        let (places, settings) = self.settings();
        match Authenticator::new(settings, stores) {
            Ok(authenticator) if faults.is_empty() => Ok(authenticator),
            Ok(_) => Err(faults),
            Err(more) => {
                faults.extend(more.into_iter().map(|fault| place(&places, &fault.field, fault.message)));
                Err(faults)
            }
        }
    }

    /// Where `tidings token mint` must put the claims, and what else it must say; `None`: tokens of the secret have their
    /// claims elsewhere than it would put them.
    pub fn minting(&self) -> Option<Minted> {
        let audience = self.audience.get().first().cloned();
        let plain = self.flat().claims() == ClaimPaths::default();
        plain.then(|| Minted {
            issuer: self.issuer.get().map(str::to_owned),
            audience,
            ttl_max: self.token_lifetime_max.get(),
        })
    }

    /// The flat keys, as an issuer of their own.
    fn flat(&self) -> Issuer {
        Issuer {
            secret: self.secret.clone(),
            key_file: self.key_file.clone(),
            jwks_url: self.jwks_url.clone(),
            issuer: self.issuer.clone(),
            audience: self.audience.clone(),
            claim_user: Some(self.claim_user.clone()),
            claim_projects: Some(self.claim_projects.clone()),
            claim_scopes: Some(self.claim_scopes.clone()),
            scope_prefix: self.scope_prefix.clone(),
            subject_prefix: self.subject_prefix.clone(),
            token_lifetime_max: self.token_lifetime_max,
        }
    }

    /// The settings, and of each of their issuers: its key, and its place in the list, if it is from there.
    fn settings(&self) -> (Vec<(&'static str, Option<usize>)>, AuthSettings) {
        if self.is_open() {
            return (Vec::new(), AuthSettings::Open);
        }
        let flat = self.flat();
        let flat = flat.settings().map(|(key, issuer)| (key, None, issuer));
        let listed = self.issuers.get().iter().enumerate();
        let listed =
            listed.flat_map(|(at, issuer)| issuer.settings().map(move |(key, issuer)| (key, Some(at), issuer)));
        let (places, issuers) = flat.chain(listed).map(|(key, at, issuer)| ((key, at), issuer)).unzip();
        let webhook = self.webhook_url.get().map(|url| {
            let secret = self.webhook_secret.clone();
            WebhookConfig { secret, ..WebhookConfig::new(url) }
        });
        (
            places,
            AuthSettings::Closed(Closed {
                issuers,
                declared: self.declared_file.clone(),
                webhook,
                ..Closed::default()
            }),
        )
    }

    /// Keys that mean nothing beside the others.
    fn contradictions(&self) -> Vec<(&'static str, String)> {
        let mut faults = Vec::new();
        let plain = AuthConfig::default();
        if self.flat().sources().is_empty() {
            let idle = [
                ("auth.issuer", self.issuer != plain.issuer),
                ("auth.audience", self.audience != plain.audience),
                ("auth.claim_user", self.claim_user != plain.claim_user),
                ("auth.claim_projects", self.claim_projects != plain.claim_projects),
                ("auth.claim_scopes", self.claim_scopes != plain.claim_scopes),
                ("auth.scope_prefix", self.scope_prefix != plain.scope_prefix),
                ("auth.subject_prefix", self.subject_prefix != plain.subject_prefix),
                ("auth.token_lifetime_max_ms", self.token_lifetime_max != plain.token_lifetime_max),
            ];
            let message = "verifies nothing by itself: give auth.secret, auth.key_file or auth.jwks_url, too";
            faults.extend(idle.into_iter().filter(|(_, given)| *given).map(|(key, _)| (key, message.to_owned())));
        }
        for (at, issuer) in self.issuers.get().iter().enumerate() {
            if issuer.sources().is_empty() {
                let message = format!("the table number {} has neither secret nor key_file nor jwks_url", at + 1);
                faults.push(("auth.issuers", message));
            }
        }
        let has_issuers = !self.flat().sources().is_empty() || !self.issuers.get().is_empty();
        if self.webhook_url.get().is_some() && !has_issuers {
            faults.push((
                "auth.webhook_url",
                "is asked about users, whom only tokens name: no issuer of them is given".into(),
            ));
        }
        if self.webhook_secret.is_some() && self.webhook_url.get().is_none() {
            faults.push(("auth.webhook_secret", "there is no auth.webhook_url to show it to".into()));
        }
        faults
    }
}

/// What a token that is made for these services must say beside user, projects and scopes.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Minted {
    /// `iss`.
    pub issuer: Option<String>,
    /// `aud`.
    pub audience: Option<String>,
    /// The longest that it may be good.
    pub ttl_max: Option<Duration>,
}

/// The key that a fault of the authenticator is of, and the message with its place.
fn place(places: &[(&'static str, Option<usize>)], field: &str, message: String) -> (&'static str, String) {
    match field {
        "declared" => return ("auth.declared_file", message),
        "webhook" => return ("auth.webhook_url", message),
        _ => {}
    }
    let issuer = field.strip_prefix("issuers[").and_then(|rest| rest.split_once(']'));
    let issuer = issuer.and_then(|(at, rest)| Some((places.get(at.parse::<usize>().ok()?)?, rest)));
    match issuer {
        Some(((key, at), rest)) => {
            let key = match rest {
                ".issuer" => "issuer",
                ".audience" => "audience",
                ".subject_prefix" => "subject_prefix",
                _ => key,
            };
            match at {
                Some(at) => ("auth.issuers", format!("table number {}, {key}: {message}", at + 1)),
                None => (flat_key(key), message),
            }
        }
        None => ("auth", message),
    }
}

fn flat_key(key: &str) -> &'static str {
    match key {
        "issuer" => "auth.issuer",
        "audience" => "auth.audience",
        "subject_prefix" => "auth.subject_prefix",
        "key_file" => "auth.key_file",
        "jwks_url" => "auth.jwks_url",
        _ => "auth.secret",
    }
}

impl Setting for Option<Secret> {
    fn read(value: &Value) -> Result<Option<Secret>, String> {
        // Never repeats the value.
        let text = value.as_str().ok_or("expected a text")?;
        Ok((!text.is_empty()).then(|| Secret::new(text)))
    }

    fn show(&self) -> Value {
        Value::String(if self.is_some() { "[redacted]".into() } else { String::new() })
    }
}

fn claim_path(text: &str) -> Result<ClaimPath, String> {
    text.parse().map_err(|error: tidings_auth::ClaimPathError| error.to_string())
}

#[cfg(test)]
mod tests;
