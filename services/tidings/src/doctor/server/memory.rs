//! Memory: what happens when it is full, when that is, and how far it is.

use tidings_runtime::config::Config;

use crate::doctor::facts::Facts;
use crate::doctor::finding::{Finding, Page};

/// What is done when memory is full.
pub(super) fn policy(facts: &Facts) -> Finding {
    const CHECK: &str = "memory policy";
    let advice = "set maxmemory-policy noeviction: an evicted key is a lost log, or forgotten ids";
    match facts.info("maxmemory_policy").or(facts.setting("maxmemory-policy")) {
        Some("noeviction") => Finding::ok(CHECK, "noeviction"),
        Some(policy) => Finding::fail(CHECK, policy, advice, Page::REDIS),
        None => {
            let by_hand = "by hand: maxmemory-policy must be noeviction";
            Finding::unseen(CHECK, "maxmemory-policy", by_hand, Page::REDIS)
        }
    }
}

/// When memory is full, and how much of it is taken.
pub(super) fn limit(facts: &Facts, config: &Config) -> Finding {
    const CHECK: &str = "maxmemory";
    let (Some(max), Some(used)) = (facts.number("maxmemory"), facts.number("used_memory")) else {
        let by_hand = "by hand: maxmemory should be set, to at most 60 % of the machine's memory";
        return Finding::warn(CHECK, "the server does not say how full it is", by_hand, Page::REDIS);
    };
    if max == 0 {
        let advice = "set maxmemory to at most 60 % of the machine's memory, so that Redis refuses appends before the \
                      kernel kills it";
        return Finding::warn(CHECK, format!("no limit; {} in use", bytes(used)), advice, Page::REDIS);
    }
    let percent = used.saturating_mul(100) / max;
    let found = format!("{percent} % of {} in use", bytes(max));
    let watermark = config.projects.memory_watermark_percent;
    if used >= max {
        let advice = "give Redis more memory, or projects a shorter retention: appends are refused";
        return Finding::fail(CHECK, found, advice, Page::REDIS);
    }
    if percent >= watermark {
        let advice = format!(
            "give Redis more memory, or projects a shorter retention: above {watermark} % \
             (projects.memory_watermark_percent) those that hold more than their share are trimmed and refused"
        );
        return Finding::warn(CHECK, found, advice, Page::REDIS);
    }
    if let Some(system) = facts.number("total_system_memory").filter(|system| max > system / 10 * 8) {
        let found = format!("{found}, on a machine of {}", bytes(system));
        let advice =
            "set maxmemory to at most 60 % of the machine's memory: while Redis saves it needs more than it holds";
        return Finding::warn(CHECK, found, advice, Page::REDIS);
    }
    Finding::ok(CHECK, found)
}

/// Bytes for people.
pub(super) fn bytes(count: u64) -> String {
    const UNITS: [&str; 5] = ["bytes", "KiB", "MiB", "GiB", "TiB"];
    let mut unit = 0;
    let mut divisor = 1u64;
    while unit + 1 < UNITS.len() && count / divisor >= 1_024 {
        unit += 1;
        divisor *= 1_024;
    }
    let tenths = count % divisor * 10 / divisor;
    let whole = count / divisor;
    if tenths == 0 || whole >= 100 {
        format!("{whole} {}", UNITS[unit])
    } else {
        format!("{whole}.{tenths} {}", UNITS[unit])
    }
}
