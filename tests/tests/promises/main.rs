//! The promises of the README and of docs/protocol.md, each shown by name: real processes, real sockets, a real Redis.
//!
//! One binary, so that it is linked once; each module is one subject. Figures are printed (`-- --nocapture`).

#![allow(clippy::print_stdout, reason = "figures are part of the result")]

use tidings_tests::cluster::{Cluster, PROJECT};
use tidings_tests::viewer::{Kind, Plan, Viewers};

mod bad_input;
mod cluster;
mod deletion;
mod failover;
mod falling_behind;
mod limits;
mod memory;
mod nothing_is_lost;
mod presence;
mod readiness;
mod redis_tls;
mod retention;
mod rolling;
mod scaling;
mod sentinel;
mod snapshots;
mod store_lost;
mod storms;
mod tls;
mod trouble;

/// Fifty viewers.
const FIFTY: [(Kind, usize); 4] =
    [(Kind::WebSocket, 14), (Kind::WebSocketDeflate, 6), (Kind::Sse, 15), (Kind::LongPoll, 15)];

/// A viewer that roams hangs up after so many events, again and again, and comes back at any gateway.
const HANG_UP_AFTER: std::ops::Range<usize> = 50..2_000;

/// Sizes of the large batches of runners; four of five are of 20.
const BATCHES: std::ops::Range<usize> = 1..1_000;

/// Fifty viewers that roam over the cluster's gateways.
fn fifty_roam(cluster: &Cluster) -> Viewers {
    let mut viewers = cluster.viewers();
    for (kind, count) in FIFTY {
        for index in 0..count {
            viewers.add(Plan::new(kind, PROJECT).roaming(HANG_UP_AFTER, index as u64));
        }
    }
    viewers
}
