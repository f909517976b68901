//! `[[auth.issuers]]`: issuers beside the one of the flat keys.

use std::path::PathBuf;

use tidings_auth::Secret;
use toml::{Table, Value};

use super::{Address, Claim, Issuer, Lifetime, Word, Words};
use crate::config::value::Setting;

/// The issuers of a file.
#[derive(Debug, Clone, PartialEq, Default)]
pub struct Issuers(Vec<Issuer>);

impl Issuers {
    /// All of them.
    pub fn get(&self) -> &[Issuer] {
        &self.0
    }
}

impl Setting for Issuers {
    fn read(value: &Value) -> Result<Issuers, String> {
        const EXPECTED: &str = "expected tables, `[[auth.issuers]]`, which only a file can have";
        let Value::Array(list) = value else { return Err(EXPECTED.to_owned()) };
        let mut issuers = Vec::new();
        let mut faults = Vec::new();
        for (at, value) in list.iter().enumerate() {
            let Value::Table(table) = value else { return Err(EXPECTED.to_owned()) };
            let mut issuer = Issuer::default();
            for (key, value) in table {
                if let Err(message) = issuer.set(key, value) {
                    faults.push(format!("table number {}, {key}: {message}", at + 1));
                }
            }
            issuers.push(issuer);
        }
        if faults.is_empty() { Ok(Issuers(issuers)) } else { Err(faults.join("; ")) }
    }

    fn show(&self) -> Value {
        Value::Array(self.0.iter().map(|issuer| Value::Table(issuer.show())).collect())
    }
}

impl Issuer {
    fn set(&mut self, key: &str, value: &Value) -> Result<(), String> {
        match key {
            "secret" => self.secret = Option::<Secret>::read(value)?,
            "key_file" => self.key_file = Option::<PathBuf>::read(value)?,
            "jwks_url" => self.jwks_url = Address::read(value)?,
            "issuer" => self.issuer = Word::read(value)?,
            "audience" => self.audience = Words::read(value)?,
            "claim_user" => self.claim_user = Some(Claim::read(value)?),
            "claim_projects" => self.claim_projects = Some(Claim::read(value)?),
            "claim_scopes" => self.claim_scopes = Some(Claim::read(value)?),
            "scope_prefix" => self.scope_prefix = Word::read(value)?,
            "subject_prefix" => self.subject_prefix = Word::read(value)?,
            "token_lifetime_max_ms" => self.token_lifetime_max = Lifetime::read(value)?,
            _ => return Err("unknown key".to_owned()),
        }
        Ok(())
    }

    /// What was given.
    fn show(&self) -> Table {
        let plain = Issuer::default();
        let claim = |claim: &Option<Claim>| claim.as_ref().map(Claim::show);
        let texts = [
            ("secret", self.secret.is_some().then(|| self.secret.show())),
            ("key_file", self.key_file.is_some().then(|| self.key_file.show())),
            ("jwks_url", self.jwks_url.get().map(|_| self.jwks_url.show())),
            ("issuer", self.issuer.get().map(|_| self.issuer.show())),
            ("audience", (self.audience != plain.audience).then(|| self.audience.show())),
            ("claim_user", claim(&self.claim_user)),
            ("claim_projects", claim(&self.claim_projects)),
            ("claim_scopes", claim(&self.claim_scopes)),
            ("scope_prefix", self.scope_prefix.get().map(|_| self.scope_prefix.show())),
            ("subject_prefix", self.subject_prefix.get().map(|_| self.subject_prefix.show())),
            ("token_lifetime_max_ms", self.token_lifetime_max.get().map(|_| self.token_lifetime_max.show())),
        ];
        texts.into_iter().filter_map(|(key, value)| Some((key.to_owned(), value?))).collect()
    }
}
