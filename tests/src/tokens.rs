//! Tokens and keys as their issuers make them, and as somebody forges them. Written out by hand: no code is shared with
//! what judges them.

use std::fmt::Write as _;
use std::time::{SystemTime, UNIX_EPOCH};

use aws_lc_rs::digest::{SHA256, digest};
use aws_lc_rs::hmac;
use aws_lc_rs::signature::{Ed25519KeyPair, KeyPair as _};
use base64::Engine as _;
use base64::engine::general_purpose::{STANDARD, URL_SAFE_NO_PAD};
use serde_json::{Value, json};

/// The secret that tests share with their services.
pub const SECRET: &str = "a secret of the tests, long enough for HS256";

/// How long after its `exp` a token is still taken, in seconds: clocks differ.
pub const LEEWAY_S: i64 = 30;

/// The variable that gives services their secret.
pub const SECRET_VARIABLE: &str = "TIDINGS_AUTH__SECRET";

/// Seconds of the Unix epoch.
pub fn now() -> i64 {
    let since = SystemTime::now().duration_since(UNIX_EPOCH).expect("it is later than 1970");
    i64::try_from(since.as_secs()).expect("it is not that late")
}

/// Claims of a user, good for an hour.
pub fn claims(user: &str, projects: &str, scopes: &str) -> Value {
    json!({"sub": user, "projects": projects, "scopes": scopes, "iat": now(), "exp": now() + 3_600})
}

/// The same claims with another one.
pub fn with(mut claims: Value, name: &str, value: impl Into<Value>) -> Value {
    claims[name] = value.into();
    claims
}

/// A token of [`SECRET`].
pub fn token(user: &str, projects: &str, scopes: &str) -> String {
    hs256(SECRET.as_bytes(), &claims(user, projects, scopes))
}

/// Like [`token`], but good for so many seconds yet, the leeway included.
pub fn short(user: &str, projects: &str, scopes: &str, seconds: i64) -> String {
    hs256(SECRET.as_bytes(), &with(claims(user, projects, scopes), "exp", now() - LEEWAY_S + seconds))
}

/// A token of a shared secret.
pub fn hs256(secret: &[u8], claims: &Value) -> String {
    signed(&json!({"alg": "HS256", "typ": "JWT"}), claims, |text| {
        hmac::sign(&hmac::Key::new(hmac::HMAC_SHA256, secret), text).as_ref().to_vec()
    })
}

/// A token without a signature, which says so.
pub fn unsigned(claims: &Value) -> String {
    signed(&json!({"alg": "none"}), claims, |_| Vec::new())
}

/// A token of this header, with what `sign` makes of it.
pub fn signed(header: &Value, claims: &Value, sign: impl FnOnce(&[u8]) -> Vec<u8>) -> String {
    let part = |value: &Value| URL_SAFE_NO_PAD.encode(value.to_string());
    let text = format!("{}.{}", part(header), part(claims));
    let signature = URL_SAFE_NO_PAD.encode(sign(text.as_bytes()));
    format!("{text}.{signature}")
}

/// An issuer's key of Ed25519.
#[derive(Debug)]
pub struct Signer {
    id: String,
    key: Ed25519KeyPair,
}

impl Signer {
    /// A new key of this id.
    pub fn new(id: &str) -> Signer {
        Signer { id: id.to_owned(), key: Ed25519KeyPair::generate().expect("there is randomness") }
    }

    /// A token.
    pub fn token(&self, claims: &Value) -> String {
        signed(&json!({"alg": "EdDSA", "kid": self.id}), claims, |text| self.key.sign(text).as_ref().to_vec())
    }

    /// The public half, in PEM.
    pub fn pem(&self) -> String {
        /// What stands before an Ed25519 key in a `SubjectPublicKeyInfo`.
        const PREFIX: [u8; 12] = [0x30, 0x2a, 0x30, 0x05, 0x06, 0x03, 0x2b, 0x65, 0x70, 0x03, 0x21, 0x00];
        let der = [&PREFIX, self.key.public_key().as_ref()].concat();
        format!("-----BEGIN PUBLIC KEY-----\n{}\n-----END PUBLIC KEY-----\n", STANDARD.encode(der))
    }

    /// The public half, as it stands in a key set.
    pub fn jwk(&self) -> Value {
        let x = URL_SAFE_NO_PAD.encode(self.key.public_key().as_ref());
        json!({"kty": "OKP", "crv": "Ed25519", "alg": "EdDSA", "use": "sig", "kid": self.id, "x": x})
    }
}

/// An API key of this id (16 letters and digits), and how a file declares its hash.
pub fn api_key(id: &str) -> (String, String) {
    let key = format!("tdk_{id}_{}", "k".repeat(43));
    let hash = digest(&SHA256, key.as_bytes());
    let hash = hash.as_ref().iter().fold(String::new(), |mut hex, byte| {
        let _ = write!(hex, "{byte:02x}");
        hex
    });
    (key, format!("sha256:{hash}"))
}
