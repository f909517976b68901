//! One server of Redis against what docs/operations.md asks of it. Pure: facts in, findings out.

use tidings_runtime::config::Config;

use super::facts::Facts;
use super::finding::{Finding, Page};

mod buffers;
mod memory;
mod replicas;

/// The oldest version that the scripts and accounts are written for.
const OLDEST: (u32, u32) = (7, 0);

/// Idle connections of services are asked at least so often, in seconds, whatever `redis.ping_ms` may be at most.
const PINGED_WITHIN: u64 = 60;

/// Every check of a server, in the order in which they are told.
pub(super) fn checks(facts: &Facts, config: &Config) -> Vec<Finding> {
    let mut findings = vec![version(facts), role(facts)];
    findings.extend([memory::policy(facts), memory::limit(facts, config), persistence(facts)]);
    findings.extend(buffers::checks(facts, config));
    findings.extend([replicas::check(facts, config), idle(facts)]);
    findings
}

fn version(facts: &Facts) -> Finding {
    const CHECK: &str = "version";
    let advice = "use Redis 7.0 or newer, or Valkey";
    if let Some(version) = facts.info("valkey_version") {
        return Finding::ok(CHECK, format!("Valkey {version}"));
    }
    let Some(version) = facts.info("redis_version") else {
        return Finding::warn(CHECK, "the server does not say its version", advice, Page::REDIS);
    };
    let found = format!("Redis {version}");
    let mut numbers = version.split('.').map(|number| number.parse::<u32>().unwrap_or(0));
    let is_new = (numbers.next().unwrap_or(0), numbers.next().unwrap_or(0)) >= OLDEST;
    if is_new { Finding::ok(CHECK, found) } else { Finding::fail(CHECK, found, advice, Page::REDIS) }
}

fn role(facts: &Facts) -> Finding {
    const CHECK: &str = "role";
    match facts.info("role") {
        Some("master") => Finding::ok(CHECK, "primary"),
        Some(role) => {
            let host = facts.info("master_host").unwrap_or("?");
            let port = facts.info("master_port").unwrap_or("?");
            let found = if role == "slave" { format!("a replica of {host}:{port}") } else { role.to_owned() };
            let advice = "redis.url must lead to the primary: name that one, or the sentinels that know it";
            Finding::fail(CHECK, found, advice, Page::SENTINEL)
        }
        None => Finding::warn(CHECK, "the server does not say its role", "ask it: ROLE", Page::SENTINEL),
    }
}

fn persistence(facts: &Facts) -> Finding {
    const CHECK: &str = "persistence";
    let failing = [("aof_last_write_status", "append-only file"), ("rdb_last_bgsave_status", "snapshot")];
    for (name, what) in failing {
        if facts.info(name) == Some("err") {
            let advice =
                "look into the log of Redis: a full disk, or no memory to fork; until then it may refuse writes";
            return Finding::fail(CHECK, format!("the last {what} could not be written"), advice, Page::REDIS);
        }
    }
    let saves = facts.setting("save").is_some_and(|save| !save.trim().is_empty());
    if facts.info("aof_enabled") != Some("1") {
        let advice = "set appendonly yes: ingests put back only what they acknowledged in the last minute";
        return if saves {
            let found = "snapshots only: a crash loses everything since the last one";
            Finding::warn(CHECK, found, advice, Page::REDIS)
        } else {
            Finding::warn(CHECK, "no append-only file: a restart empties all logs", advice, Page::REDIS)
        };
    }
    match facts.setting("appendfsync") {
        Some("always") => Finding::ok(CHECK, "append-only file, synced before each answer"),
        Some("everysec") => {
            Finding::ok(CHECK, "append-only file, synced each second: the last one may go with the machine")
        }
        Some(other) => {
            let found = format!("append-only file with appendfsync {other}: the system decides when it is on disk");
            Finding::warn(CHECK, found, "set appendfsync everysec", Page::REDIS)
        }
        None => {
            let by_hand = "append-only file is on; by hand: appendfsync should be everysec or always";
            Finding::unseen(CHECK, "appendfsync", by_hand, Page::REDIS)
        }
    }
}

/// What happens to connections over which nothing goes.
fn idle(facts: &Facts) -> Finding {
    const CHECK: &str = "idle links";
    let (Some(timeout), Some(keepalive)) = (facts.setting_number("timeout"), facts.setting_number("tcp-keepalive"))
    else {
        let by_hand = "by hand: timeout should be 0 and tcp-keepalive 60 or its default";
        return Finding::unseen(CHECK, "timeout and tcp-keepalive", by_hand, Page::REDIS);
    };
    let found = format!("timeout {timeout}, tcp-keepalive {keepalive}");
    if (1..=PINGED_WITHIN).contains(&timeout) {
        let advice = "set timeout 0: connections of services may be closed between two pings";
        return Finding::warn(CHECK, found, advice, Page::REDIS);
    }
    if keepalive == 0 {
        let advice = "set tcp-keepalive 60: connections of machines that are gone stay, with what they hold";
        return Finding::warn(CHECK, found, advice, Page::REDIS);
    }
    Finding::ok(CHECK, found)
}

#[cfg(test)]
mod tests;
