//! Makes HS256 tokens from the shared secret: for the smallest set-up, and for tests.

use std::time::Duration;

use jsonwebtoken::{EncodingKey, Header};
use serde_json::json;
use tidings_protocol::grant::{ProjectPattern, Scopes};

use crate::credential::Secret;
use crate::key_set::KeyFault;
use crate::limits::SECRET_BYTES_MIN;

/// What a token shall say. The claims stand where [`ClaimPaths::default`](crate::ClaimPaths) looks for them.
#[derive(Debug, Clone)]
pub struct Minting {
    /// Who it is for. Without it the token is nobody's: a viewer id of its own, no memberships.
    pub user: Option<String>,
    /// For which projects.
    pub projects: Vec<ProjectPattern>,
    /// With which scopes in them.
    pub scopes: Scopes,
    /// How long it is good.
    pub ttl: Duration,
    /// `iss`, where the services ask for one.
    pub issuer: Option<String>,
    /// `aud`, where the services ask for one.
    pub audience: Option<String>,
}

impl Minting {
    /// The token, good from `now` (seconds of the Unix epoch). Fails on a secret that the services would refuse too.
    ///
    /// ```
    /// use std::time::Duration;
    /// use tidings_auth::{Minting, Secret};
    ///
    /// let secret = Secret::new("0123456789abcdef0123456789abcdef");
    /// let minting = Minting {
    ///     user: Some("alice".to_owned()),
    ///     projects: vec!["demo".parse()?],
    ///     scopes: "read publish".parse()?,
    ///     ttl: Duration::from_secs(3600),
    ///     issuer: None,
    ///     audience: None,
    /// };
    /// let token = minting.token(&secret, 1_763_630_000)?;
    /// assert_eq!(token.split('.').count(), 3);
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    pub fn token(&self, secret: &Secret, now: u64) -> Result<String, KeyFault> {
        let secret = secret.expose().as_bytes();
        if secret.len() < SECRET_BYTES_MIN {
            return Err(KeyFault::ShortSecret(secret.len()));
        }
        let mut claims = json!({
            "projects": self.projects,
            "scopes": self.scopes,
            "iat": now,
            "exp": now.saturating_add(self.ttl.as_secs()),
        });
        let optional = [("sub", &self.user), ("iss", &self.issuer), ("aud", &self.audience)];
        for (name, value) in optional {
            if let Some(value) = value {
                claims[name] = json!(value);
            }
        }
        let token = jsonwebtoken::encode(&Header::default(), &claims, &EncodingKey::from_secret(secret));
        Ok(token.expect("HMAC signs any JSON"))
    }
}
