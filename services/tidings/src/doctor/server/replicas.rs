//! Replicas: how many there are, how far behind, and what waits for them.

use tidings_runtime::config::Config;

use crate::doctor::facts::{Facts, Replica};
use crate::doctor::finding::{Finding, Page};

/// Who says nothing for so long is behind, in seconds, unless Redis is told otherwise. Replicas speak each second.
const LAG_SECONDS_MAX: u64 = 10;

const CHECK: &str = "replicas";

/// The replicas attached, against `min-replicas-to-write` and `projects.wait_replicas`.
pub(super) fn check(facts: &Facts, config: &Config) -> Finding {
    let (all, wanted) = (facts.replicas(), config.projects.wait_replicas);
    let lag_max = facts.setting_number("min-replicas-max-lag").unwrap_or(LAG_SECONDS_MAX);
    let (good, late): (Vec<&Replica>, Vec<&Replica>) =
        all.iter().partition(|replica| replica.is_online && replica.lag_seconds <= lag_max);
    let there = good.len() as u64;
    let found = match (all.len(), late.len()) {
        (0, _) => "none".to_owned(),
        (_, 0) => format!("{there}, up to date"),
        (count, _) => {
            let names: Vec<&str> = late.iter().map(|replica| replica.address.as_str()).collect();
            format!("{count}, of which {} behind: {}", late.len(), names.join(", "))
        }
    };
    if wanted > there {
        let advice = format!(
            "attach replicas, or lower projects.wait_replicas ({wanted}): every append is answered outcome_unknown"
        );
        return Finding::fail(CHECK, found, advice, Page::REPLICAS);
    }
    let Some(least) = facts.setting_number("min-replicas-to-write") else {
        if all.is_empty() {
            return Finding::ok(CHECK, found);
        }
        let by_hand = "by hand: min-replicas-to-write should be 1, min-replicas-max-lag 10";
        return Finding::unseen(CHECK, &format!("min-replicas-to-write ({found})"), by_hand, Page::REPLICAS);
    };
    if least > there {
        let found = format!("{found}; min-replicas-to-write {least}");
        return Finding::fail(CHECK, found, "attach replicas: Redis refuses all writes", Page::REPLICAS);
    }
    if !late.is_empty() {
        let advice = "look at the replica and the network between: a failover to it loses what it lacks";
        return Finding::warn(CHECK, found, advice, Page::REPLICAS);
    }
    if there > 0 && (least == 0 || lag_max == 0) {
        let found = format!("{found}; min-replicas-to-write {least}");
        let advice = "set min-replicas-to-write 1 and min-replicas-max-lag 10: a primary that is cut off from its replicas \
                      goes on taking writes that will be thrown away";
        return Finding::warn(CHECK, found, advice, Page::REPLICAS);
    }
    if there > 0 && least == there {
        let found = format!("{found}; min-replicas-to-write {least}");
        let advice = "attach one more: the loss of one replica stops all appends";
        return Finding::warn(CHECK, found, advice, Page::REPLICAS);
    }
    Finding::ok(CHECK, if there > 0 { format!("{found}; min-replicas-to-write {least}") } else { found })
}
