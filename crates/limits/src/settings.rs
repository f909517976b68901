//! The numbers of limits. All of them are settings; these are the defaults.

use std::time::Duration;

use tidings_broker::quota::Rate;

use crate::Kind;

/// How the shared limits are kept.
#[derive(Debug, Clone)]
pub struct Settings {
    /// Rates of those who have none of their own.
    pub rates: Rates,
    /// Services of a kind that are expected to share a limit: while the store is away, each lets one part in so many
    /// through.
    pub holders_expected: u32,
    /// How long a portion that was taken ahead may be used.
    pub lease_valid: Duration,
    /// How long a check may wait for the store.
    pub wait_max: Duration,
    /// How long the store is left alone after it failed.
    pub rest: Duration,
    /// Keys that are kept; what is used for a minute is not evicted. More of them share one bucket of each kind.
    pub keys_max: usize,
    /// Connections that a user may have over all gateways.
    pub user_connections_max: u32,
    /// How long the connections of a gateway that died are counted.
    pub connections_ttl: Duration,
    /// How long opening a connection may wait for the store.
    pub connections_wait_max: Duration,
    /// Messages of one client connection.
    pub messages: Rate,
    /// Connections that one listener accepts.
    pub accepts: Rate,
    /// Longest delay that a client is told when a listener is over its rate.
    pub accept_delay_max: Duration,
}

impl Default for Settings {
    fn default() -> Settings {
        Settings {
            rates: Rates::default(),
            holders_expected: 2,
            // A portion is at most a tenth of the burst. Shorter, and a client that asks once a second would cost the
            // store a call each time, and be charged a portion.
            lease_valid: Duration::from_secs(5),
            wait_max: Duration::from_millis(50),
            rest: Duration::from_secs(1),
            keys_max: 65_536,
            user_connections_max: 100,
            connections_ttl: Duration::from_secs(15),
            connections_wait_max: Duration::from_millis(250),
            messages: Rate::per_second(50, 200),
            accepts: Rate::per_second(2_000, 2_000),
            accept_delay_max: Duration::from_secs(30),
        }
    }
}

/// A rate for each [`Kind`]. Bursts must have room for the largest single cost, or it waits for a full bucket.
#[derive(Debug, Clone)]
pub struct Rates {
    /// [`Kind::Commands`].
    pub commands: Rate,
    /// [`Kind::KeyBytes`].
    pub key_bytes: Rate,
    /// [`Kind::KeyEvents`].
    pub key_events: Rate,
    /// [`Kind::ProjectBytes`].
    pub project_bytes: Rate,
    /// [`Kind::ProjectEvents`].
    pub project_events: Rate,
    /// [`Kind::Requests`].
    pub requests: Rate,
}

const MIB: u64 = 1024 * 1024;

impl Default for Rates {
    fn default() -> Rates {
        Rates {
            commands: Rate::per_second(10, 60),
            key_bytes: Rate::per_second(32 * MIB, 64 * MIB),
            key_events: Rate::per_second(10_000, 50_000),
            project_bytes: Rate::per_second(64 * MIB, 256 * MIB),
            project_events: Rate::per_second(50_000, 200_000),
            requests: Rate::per_second(100, 500),
        }
    }
}

impl Rates {
    /// The rate of a kind.
    pub fn of(&self, kind: Kind) -> Rate {
        match kind {
            Kind::Commands => self.commands,
            Kind::KeyBytes => self.key_bytes,
            Kind::KeyEvents => self.key_events,
            Kind::ProjectBytes => self.project_bytes,
            Kind::ProjectEvents => self.project_events,
            Kind::Requests => self.requests,
        }
    }
}
