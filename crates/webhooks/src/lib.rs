//! Webhooks: a project's events and commands brought to where nobody asks for them (docs/webhooks.md).
//!
//! [`caller::Caller`] makes one call: signed ([`signature`]), within a time limit, and never to an address that is not allowed
//! ([`addresses`]). [`body`] has what is sent, [`backoff`] when to try again. What is due, and who brings it, is not decided
//! here: settings are `tidings_protocol::settings::hooks`.
//!
//! Promises: no secret and no path or query of an address is ever printed or told; nothing that a receiver answers makes
//! memory grow without a bound.

pub mod addresses;
pub mod backoff;
pub mod body;
pub mod caller;
pub mod dispatcher;
pub mod runner;
pub mod signature;

#[cfg(test)]
mod testing;
