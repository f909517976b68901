//! Who a caller is and what it may do: tokens, API keys, key sets, memberships.
//!
//! [`Authenticator`] is the one entry. It turns a [`Credential`] into a [`Grant`](tidings_protocol::grant::Grant), which
//! handlers ask for scopes, or into a [`Refusal`] with status, reason and challenge. What the rights are is `protocol`'s;
//! where they come from is here.
//!
//! Promises: the algorithm of a signature is that of the key, never of the token; no input panics; nothing that is held
//! is without a bound; whoever answers over the network can delay or refuse only those who depend on its answer, and never
//! for longer than a named time; no credential is ever printed. It serves no HTTP and names no store.

mod authenticator;
mod cache;
mod claims;
mod config;
mod credential;
mod declared;
mod fetch;
mod issuer;
mod jwks;
mod key;
mod key_set;
pub mod limits;
mod members;
mod mint;
mod refusal;
mod token;
mod watched;
mod webhook;

#[cfg(test)]
mod testing;

pub use authenticator::{Authenticator, Stores};
pub use cache::{Cache, NoAnswer, Terms};
pub use claims::{ClaimPath, ClaimPathError, ClaimPaths};
pub use config::{Audience, Closed, Config, ConfigFault, IssuerConfig, KeySource, WebhookConfig, shown_url};
pub use credential::{Credential, SUBPROTOCOL_PREFIX, Secret};
pub use issuer::is_user;
pub use jwks::JwksTerms;
pub use key::{
    KEY_PREFIX, KEY_SCOPES, KeyHash, KeyHashError, KeyId, KeyIdError, KeyLimits, KeyRecord, Keys, MemoryKeys, NewKey,
    StoreAway,
};
pub use key_set::{Algorithm, KeyFault, KeySet, Origin, VerifyingKey};
pub use members::Members;
pub use mint::Minting;
pub use refusal::{Reason, Refusal};
pub use watched::Watched;

/// Now, in seconds of the Unix epoch; 0 before it.
pub fn unix_now() -> u64 {
    std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH).map_or(0, |since| since.as_secs())
}
