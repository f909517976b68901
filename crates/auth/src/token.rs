//! Takes a token apart and judges its claims. Whose keys it is verified with is `issuer`'s.
//!
//! A token is bytes from outside: of bounded size, read without panics, and believed in nothing before its signature was
//! verified, but for which issuer and key it says it is of.

use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use serde::Deserialize;
use serde_json::{Map, Value};

use crate::config::Audience;
use crate::key_set::{Algorithm, KeySet};
use crate::limits::{LEEWAY, TOKEN_BYTES_MAX};
use crate::refusal::Reason;

/// Latest second that a token may name: the end of year 9999.
const SECONDS_MAX: f64 = 253_402_300_799.0;

/// A token in its parts, none of them verified.
pub(crate) struct Unverified<'a> {
    /// What is signed.
    message: &'a str,
    signature: &'a str,
    algorithm: Algorithm,
    /// Which key it says it is signed with.
    pub(crate) key_id: Option<String>,
    claims: Map<String, Value>,
}

#[derive(Deserialize)]
struct Header {
    alg: String,
    kid: Option<String>,
    /// Extensions that must be understood: there are none that are.
    crit: Option<Value>,
}

impl<'a> Unverified<'a> {
    /// Takes it apart.
    pub(crate) fn parse(token: &'a str) -> Result<Unverified<'a>, Reason> {
        if token.len() > TOKEN_BYTES_MAX {
            return Err(Reason::Malformed);
        }
        let (message, signature) = token.rsplit_once('.').ok_or(Reason::Malformed)?;
        let (header, claims) = message.split_once('.').ok_or(Reason::Malformed)?;
        if claims.contains('.') {
            return Err(Reason::Malformed);
        }
        let header: Header = part(header)?;
        if header.crit.is_some() {
            return Err(Reason::Malformed);
        }
        let algorithm = Algorithm::parse(&header.alg).ok_or(Reason::UnsupportedAlgorithm)?;
        Ok(Unverified { message, signature, algorithm, key_id: header.kid, claims: part(claims)? })
    }

    /// Which issuer it says it is of.
    pub(crate) fn issuer(&self) -> Option<&str> {
        self.claims.get("iss").and_then(Value::as_str)
    }

    /// Verifies the signature with one of the keys, of which so many are tried at most, and gives the claims.
    pub(crate) fn verify(&self, keys: &KeySet, tries_max: usize) -> Result<&Map<String, Value>, Reason> {
        let mut refused = Reason::UnknownKey;
        let mut tried = 0;
        for key in keys.candidates(self.key_id.as_deref()) {
            if key.algorithm() != self.algorithm {
                if refused == Reason::UnknownKey {
                    refused = Reason::UnsupportedAlgorithm;
                }
                continue;
            }
            if tried >= tries_max {
                break;
            }
            tried += 1;
            if key.verifies(self.message.as_bytes(), self.signature) {
                return Ok(&self.claims);
            }
            refused = Reason::BadSignature;
        }
        Err(refused)
    }
}

fn part<T: serde::de::DeserializeOwned>(text: &str) -> Result<T, Reason> {
    let bytes = URL_SAFE_NO_PAD.decode(text).map_err(|_| Reason::Malformed)?;
    // All of it is UTF-8 (RFC 7519), also what is not looked at.
    let json = std::str::from_utf8(&bytes).map_err(|_| Reason::Malformed)?;
    serde_json::from_str(json).map_err(|_| Reason::Malformed)
}

/// What claims are judged by.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Terms<'a> {
    /// Whom tokens must be for.
    pub(crate) audience: &'a Audience,
    /// Longest time from issue to expiry, in seconds.
    pub(crate) lifetime_max: Option<u64>,
}

/// Judges times and audience of verified claims. `now` in seconds of the Unix epoch. Gives the second of expiry, which the
/// leeway is not part of.
pub(crate) fn judge(claims: &Map<String, Value>, terms: Terms<'_>, now: u64) -> Result<u64, Reason> {
    let leeway = LEEWAY.as_secs();
    let expires_at = seconds(claims, "exp")?.ok_or(Reason::Malformed)?;
    if expires_at.saturating_add(leeway) <= now {
        return Err(Reason::Expired);
    }
    if seconds(claims, "nbf")?.is_some_and(|from| from > now.saturating_add(leeway)) {
        return Err(Reason::NotYetValid);
    }
    if let Some(longest) = terms.lifetime_max {
        // A token that does not say when it was issued is taken to be issued now.
        let issued_at = seconds(claims, "iat")?.unwrap_or(now);
        if expires_at.saturating_sub(issued_at) > longest {
            return Err(Reason::LifetimeTooLong);
        }
    }
    if let Audience::OneOf(ours) = terms.audience {
        let ours = |word: &str| ours.iter().any(|our| our == word);
        let good = match claims.get("aud") {
            Some(Value::String(word)) => ours(word),
            Some(Value::Array(words)) => words.iter().filter_map(Value::as_str).any(ours),
            _ => false,
        };
        if !good {
            return Err(Reason::WrongAudience);
        }
    }
    Ok(expires_at)
}

/// A time of the claims, in whole seconds; fractions are cut off.
fn seconds(claims: &Map<String, Value>, name: &str) -> Result<Option<u64>, Reason> {
    let Some(value) = claims.get(name) else { return Ok(None) };
    let number = value.as_f64().ok_or(Reason::Malformed)?;
    if !(0.0..=SECONDS_MAX).contains(&number) {
        return Err(Reason::Malformed);
    }
    #[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "checked to be in range")]
    Ok(Some(number as u64))
}

#[cfg(test)]
mod tests;
