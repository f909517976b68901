//! Limits: how much a key, a user or a project may do, over all services, decided here and now.
//!
//! The truth of shared limits is in the store ([`tidings_broker::quota`]). A service leases small portions of it, so that a
//! check hardly ever leaves the process ([`limiter`]); connections are counted over all gateways under a lease that a dead
//! gateway does not renew ([`connections`]). Limits of one connection, or of one listener, need no store ([`local`],
//! [`accept`]).
//!
//! While the store is away, each service lets its share through: never none, never all.
//!
//! What a limit is for, whom it counts, and what a client is told, is the services' matter.

pub mod accept;
pub mod connections;
mod kind;
mod lease;
pub mod limiter;
pub mod local;
mod metrics;
mod settings;

use std::time::Duration;

pub use kind::Kind;
pub use metrics::Metrics;
pub use settings::{Rates, Settings};
pub use tidings_broker::quota::Rate;

/// What a check says.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[must_use]
pub enum Decision {
    /// Within the limit; it was counted.
    Allowed,
    /// Over the limit; nothing was counted.
    Refused {
        /// How long until it may be allowed, if nobody else uses it up.
        retry_after: Duration,
    },
}

impl Decision {
    /// Whether it is allowed.
    pub fn is_allowed(self) -> bool {
        self == Decision::Allowed
    }

    /// How long to wait, in seconds rounded up, at least one: the value of `Retry-After`. None: it is allowed.
    pub fn retry_after_seconds(self) -> Option<u32> {
        match self {
            Decision::Allowed => None,
            Decision::Refused { retry_after } => {
                let seconds = retry_after.as_micros().div_ceil(1_000_000).max(1);
                Some(u32::try_from(seconds).unwrap_or(u32::MAX))
            }
        }
    }
}

#[cfg(test)]
mod double;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn retry_after_is_whole_seconds_rounded_up() {
        let seconds = |micros| {
            Decision::Refused { retry_after: Duration::from_micros(micros) }.retry_after_seconds().expect("refused")
        };
        assert_eq!([0, 1, 1_000_000, 1_000_001].map(seconds), [1, 1, 1, 2]);
        assert_eq!(Decision::Allowed.retry_after_seconds(), None);
    }
}
