//! `client-output-buffer-limit`: how far a subscriber or a replica may stay behind before Redis cuts it off.

use tidings_runtime::config::Config;

use super::memory::bytes;
use crate::doctor::facts::Facts;
use crate::doctor::finding::{Finding, Page};

const MIB: u64 = 1_024 * 1_024;

/// What travels beside an event's `data`, at most: its envelope and its effects.
const ENVELOPE_BYTES: u64 = 64 * 1_024;

/// A class of clients.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Limit {
    /// Bytes at which the client is cut off at once; 0: never.
    hard: u64,
    /// Bytes at which it is cut off when it stays above them; 0: never.
    soft: u64,
    /// For so long.
    seconds: u64,
}

impl Limit {
    /// Of a class, in a setting like `normal 0 0 0 slave 268435456 67108864 60 pubsub 33554432 8388608 60`.
    fn of(class: &[&str], setting: &str) -> Option<Limit> {
        let words: Vec<&str> = setting.split_whitespace().collect();
        let found = words.chunks_exact(4).find(|chunk| class.contains(&chunk[0]))?;
        let number = |index: usize| found[index].parse().ok();
        Some(Limit { hard: number(1)?, soft: number(2)?, seconds: number(3)? })
    }

    /// Whether each of its bounds is at least the other's.
    fn covers(self, other: Limit) -> bool {
        (self.hard == 0 || self.hard >= other.hard) && (self.soft == 0 || self.soft >= other.soft)
    }

    fn text(self) -> String {
        let of = |count| if count == 0 { "no limit".to_owned() } else { bytes(count) };
        format!("{} at once, {} for {} s", of(self.hard), of(self.soft), self.seconds)
    }
}

/// What docs/operations.md asks for gateways.
const PUBSUB: Limit = Limit { hard: 256 * MIB, soft: 64 * MIB, seconds: 60 };

/// And for replicas.
const REPLICA: Limit = Limit { hard: 512 * MIB, soft: 256 * MIB, seconds: 60 };

/// The buffers of gateways, and of replicas where there are any.
pub(super) fn checks(facts: &Facts, config: &Config) -> Vec<Finding> {
    const CHECK: &str = "buffers";
    let Some(setting) = facts.setting("client-output-buffer-limit") else {
        let by_hand = "by hand: client-output-buffer-limit pubsub should be 256mb 64mb 60";
        return vec![Finding::unseen(CHECK, "client-output-buffer-limit", by_hand, Page::REDIS)];
    };
    let mut findings = Vec::new();
    if let Some(limit) = Limit::of(&["pubsub"], setting) {
        findings.push(subscribers(CHECK, limit, config.limits.event_data_bytes_max as u64 + ENVELOPE_BYTES));
    }
    let replica = Limit::of(&["slave", "replica"], setting).filter(|limit| !limit.covers(REPLICA));
    if let Some(limit) = replica.filter(|_| !facts.replicas().is_empty()) {
        let advice = "set client-output-buffer-limit replica 512mb 256mb 60: one that falls behind is cut off, copies \
                      everything again, and a failover meanwhile loses more";
        findings.push(Finding::warn(CHECK, format!("replicas: {}", limit.text()), advice, Page::REDIS));
    }
    findings
}

fn subscribers(check: &'static str, limit: Limit, message_bytes: u64) -> Finding {
    let found = format!("gateways: {}", limit.text());
    let set = "set client-output-buffer-limit pubsub 256mb 64mb 60";
    if limit.hard != 0 && limit.hard <= message_bytes {
        let advice = format!("{set}: a single large event (up to {}) closes every subscription", bytes(message_bytes));
        return Finding::fail(check, found, advice, Page::REDIS);
    }
    if limit.covers(PUBSUB) {
        return Finding::ok(check, found);
    }
    let advice =
        format!("{set}: a gateway that stalls for a moment under load loses its subscription, and reads the log again");
    Finding::warn(check, found, advice, Page::REDIS)
}
