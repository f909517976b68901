//! Keys that tokens are verified with, each fixed to one algorithm, and sets of them.
//!
//! The algorithm is a property of the key. What a token says of its algorithm is compared with it and decides nothing, so
//! neither `none` nor a public key used as an HMAC secret can come about.

use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use jsonwebtoken::{Algorithm as Jwa, DecodingKey};
use serde::Deserialize;

use crate::limits::{KEY_SET_BYTES_MAX, KEYS_MAX, SECRET_BYTES_MIN};

/// The algorithms that are taken.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Algorithm {
    /// HMAC with SHA-256 and a shared secret.
    Hs256,
    /// RSASSA-PKCS1-v1_5 with SHA-256.
    Rs256,
    /// ECDSA on P-256 with SHA-256.
    Es256,
    /// Ed25519.
    EdDsa,
}

impl Algorithm {
    /// The algorithm that a token or a key names. `Ed25519` is the newer name of what `EdDSA` is here.
    pub fn parse(name: &str) -> Option<Algorithm> {
        match name {
            "HS256" => Some(Algorithm::Hs256),
            "RS256" => Some(Algorithm::Rs256),
            "ES256" => Some(Algorithm::Es256),
            "EdDSA" | "Ed25519" => Some(Algorithm::EdDsa),
            _ => None,
        }
    }

    const fn jwa(self) -> Jwa {
        match self {
            Algorithm::Hs256 => Jwa::HS256,
            Algorithm::Rs256 => Jwa::RS256,
            Algorithm::Es256 => Jwa::ES256,
            Algorithm::EdDsa => Jwa::EdDSA,
        }
    }
}

/// Where a key set came from: what may be in it depends on it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Origin {
    /// A file of the operator: may hold shared secrets.
    File,
    /// Fetched: what anybody can fetch is no secret, so symmetric keys in it are passed over.
    Fetched,
}

/// What is wrong with a key or a set of them. Tells nothing of what a key holds.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum KeyFault {
    /// The secret is too short.
    #[error("a secret of HS256 has at least {SECRET_BYTES_MIN} bytes; this one has {0}")]
    ShortSecret(usize),
    /// The PEM text is no public key that is taken.
    #[error("not a PEM public key (`PUBLIC KEY`) of RSA with 2048 to 8192 bits, P-256 or Ed25519")]
    Pem,
    /// The set is larger than it may be.
    #[error("a key set has at most {KEY_SET_BYTES_MAX} bytes")]
    TooLarge,
    /// The set is no JSON Web Key Set.
    #[error("not a JSON Web Key Set: {0}")]
    Json(String),
    /// The set has more keys than it may.
    #[error("a key set has at most {KEYS_MAX} keys; this one has {0}")]
    TooMany(usize),
    /// No key of the set can be used.
    #[error("the key set has no key that can verify HS256, RS256, ES256 or EdDSA; {0} are of other kinds")]
    NoneUsable(usize),
}

/// A key, fixed to its algorithm. Its bytes are never printed.
#[derive(Debug, Clone)]
pub struct VerifyingKey {
    id: Option<String>,
    algorithm: Algorithm,
    key: DecodingKey,
}

impl VerifyingKey {
    /// A shared secret of HS256, without an id.
    pub fn from_secret(secret: &[u8]) -> Result<VerifyingKey, KeyFault> {
        if secret.len() < SECRET_BYTES_MIN {
            return Err(KeyFault::ShortSecret(secret.len()));
        }
        Ok(VerifyingKey { id: None, algorithm: Algorithm::Hs256, key: DecodingKey::from_secret(secret) })
    }

    /// A public key in PEM (`PUBLIC KEY`), without an id. The algorithm is that of its kind.
    pub fn from_pem(pem: &str) -> Result<VerifyingKey, KeyFault> {
        // Private keys and certificates would be taken apart as well, and give a key that verifies nothing.
        let label = pem.trim_start().strip_prefix("-----BEGIN ").and_then(|rest| rest.split_once("-----"));
        if !matches!(label, Some(("PUBLIC KEY", _))) {
            return Err(KeyFault::Pem);
        }
        let bytes = pem.as_bytes();
        let ec = || DecodingKey::from_ec_pem(bytes).map(|key| (Algorithm::Es256, key));
        let ed = || DecodingKey::from_ed_pem(bytes).map(|key| (Algorithm::EdDsa, key));
        let rsa = || DecodingKey::from_rsa_pem(bytes).map(|key| (Algorithm::Rs256, key));
        let (algorithm, key) = ec().or_else(|_| ed()).or_else(|_| rsa()).map_err(|_| KeyFault::Pem)?;
        let bytes = key.try_get_as_bytes().map_err(|_| KeyFault::Pem)?;
        let fits = match algorithm {
            Algorithm::Es256 => bytes.len() == 65 && bytes[0] == 4,
            Algorithm::EdDsa => bytes.len() == 32,
            Algorithm::Rs256 => RSA_BYTES.contains(&bytes.len()),
            Algorithm::Hs256 => false,
        };
        if fits { Ok(VerifyingKey { id: None, algorithm, key }) } else { Err(KeyFault::Pem) }
    }

    /// What it verifies.
    pub fn algorithm(&self) -> Algorithm {
        self.algorithm
    }

    /// Is this the signature of the message? Never panics, whatever the bytes.
    pub(crate) fn verifies(&self, message: &[u8], signature: &str) -> bool {
        jsonwebtoken::crypto::verify(signature, message, &self.key, self.algorithm.jwa()).unwrap_or(false)
    }
}

/// Sizes of an RSA key of 2048 to 8192 bits, the exponent and the framing of DER included.
const RSA_BYTES: std::ops::RangeInclusive<usize> = 256..=1024 + 32;

/// Keys of one issuer.
#[derive(Debug, Clone, Default)]
pub struct KeySet {
    keys: Vec<VerifyingKey>,
}

impl KeySet {
    /// The set of this key alone.
    pub fn of(key: VerifyingKey) -> KeySet {
        KeySet { keys: vec![key] }
    }

    /// Reads a JSON Web Key Set (RFC 7517). Keys of other kinds and uses are passed over, since issuers add new kinds
    /// before they use them; a set without any usable key is a fault, for nobody withdraws all keys on purpose.
    pub fn from_json(json: &[u8], origin: Origin) -> Result<KeySet, KeyFault> {
        if json.len() > KEY_SET_BYTES_MAX {
            return Err(KeyFault::TooLarge);
        }
        let set: RawSet = serde_json::from_slice(json).map_err(|error| KeyFault::Json(place(&error)))?;
        if set.keys.len() > KEYS_MAX {
            return Err(KeyFault::TooMany(set.keys.len()));
        }
        let keys: Vec<VerifyingKey> = set.keys.iter().filter_map(|value| raw_key(value, origin)).collect();
        if keys.is_empty() { Err(KeyFault::NoneUsable(set.keys.len())) } else { Ok(KeySet { keys }) }
    }

    /// The keys that a token with this `kid` may be signed by: those of this id, else those without an id; all of them,
    /// if the token names none.
    pub(crate) fn candidates<'a>(&'a self, id: Option<&'a str>) -> impl Iterator<Item = &'a VerifyingKey> {
        let named = id.is_some_and(|id| self.has(id));
        self.keys.iter().filter(move |key| match (id, named) {
            (None, _) => true,
            (Some(id), true) => key.id.as_deref() == Some(id),
            (Some(_), false) => key.id.is_none(),
        })
    }

    fn has(&self, id: &str) -> bool {
        self.keys.iter().any(|key| key.id.as_deref() == Some(id))
    }

    /// How many keys there are.
    pub fn len(&self) -> usize {
        self.keys.len()
    }

    /// Whether there is none.
    pub fn is_empty(&self) -> bool {
        self.keys.is_empty()
    }
}

/// Where JSON broke. The text of the error might quote the file, which may hold a secret.
fn place(error: &serde_json::Error) -> String {
    format!("line {}, column {}", error.line(), error.column())
}

#[derive(Deserialize)]
struct RawSet {
    /// Read one by one: one strange key must not take the others away.
    keys: Vec<serde_json::Value>,
}

#[derive(Deserialize)]
struct RawKey {
    kty: String,
    kid: Option<String>,
    alg: Option<String>,
    #[serde(rename = "use")]
    usage: Option<String>,
    key_ops: Option<Vec<String>>,
    crv: Option<String>,
    n: Option<String>,
    e: Option<String>,
    x: Option<String>,
    y: Option<String>,
    k: Option<String>,
}

/// The key of one entry, if it can be used.
fn raw_key(value: &serde_json::Value, origin: Origin) -> Option<VerifyingKey> {
    let raw = RawKey::deserialize(value).ok()?;
    if raw.usage.as_deref().is_some_and(|usage| usage != "sig") {
        return None;
    }
    if raw.key_ops.is_some_and(|allowed| !allowed.iter().any(|op| op == "verify")) {
        return None;
    }
    let (algorithm, key) = match (raw.kty.as_str(), raw.crv.as_deref()) {
        ("RSA", _) => {
            let (modulus, exponent) = (bytes(raw.n?)?, bytes(raw.e?)?);
            let fits = (256..=1024).contains(&modulus.len()) && (1..=8).contains(&exponent.len());
            fits.then(|| (Algorithm::Rs256, DecodingKey::from_rsa_raw_components(&modulus, &exponent)))?
        }
        ("EC", Some("P-256")) => {
            let (x, y) = (bytes(raw.x?)?, bytes(raw.y?)?);
            let point = [&[4], &*x, &*y].concat();
            (x.len() == 32 && y.len() == 32).then(|| (Algorithm::Es256, DecodingKey::from_ec_der(&point)))?
        }
        ("OKP", Some("Ed25519")) => {
            let x = bytes(raw.x?)?;
            (x.len() == 32).then(|| (Algorithm::EdDsa, DecodingKey::from_ed_der(&x)))?
        }
        ("oct", _) if origin == Origin::File => {
            let secret = bytes(raw.k?)?;
            (secret.len() >= SECRET_BYTES_MIN).then(|| (Algorithm::Hs256, DecodingKey::from_secret(&secret)))?
        }
        _ => return None,
    };
    // A key that is meant for another algorithm (RS512, PS256) is not used for ours.
    let meant = raw.alg.is_none_or(|name| Algorithm::parse(&name) == Some(algorithm));
    meant.then_some(VerifyingKey { id: raw.kid, algorithm, key })
}

fn bytes(text: String) -> Option<Vec<u8>> {
    URL_SAFE_NO_PAD.decode(text).ok()
}

#[cfg(test)]
mod tests;
