//! What each sentinel says, and so where the primary is.

use std::collections::HashMap;
use std::time::Duration;

use fred::types::config::Server;
use tidings_runtime::config::Config;

use super::finding::{Finding, Page};
use super::store::{Door, Trouble};

const CHECK: &str = "sentinels";

/// As many make a majority that survives the loss of one.
const SENTINELS_LEAST: usize = 3;

/// What one sentinel says of the primary.
#[derive(Debug, Clone, PartialEq, Eq)]
struct Word {
    host: String,
    port: u16,
    /// Grows with every failover.
    epoch: u64,
    quorum: u64,
    others: u64,
    down_after_ms: u64,
}

/// Asks all of them: where the primary is, if any knows, and what to say of them.
pub(super) async fn ask(door: &Door, sentinels: &[Server], name: &str, config: &Config) -> (Option<Server>, Finding) {
    let mut words = Vec::new();
    for sentinel in sentinels {
        let word = word(door, sentinel, name).await;
        words.push((format!("{}:{}", sentinel.host, sentinel.port), word));
    }
    judge(&words, name, config.ingest.healing)
}

async fn word(door: &Door, sentinel: &Server, name: &str) -> Result<Word, Trouble> {
    let node = door.sentinel(sentinel).await?;
    let said = async {
        let address: Option<(String, u16)> = node.ask(&["SENTINEL", "GET-MASTER-ADDR-BY-NAME", name]).await?;
        let (host, port) = address.ok_or_else(|| Trouble::Other(format!("it knows no primary {name:?}")))?;
        let facts: HashMap<String, String> = node.ask(&["SENTINEL", "MASTER", name]).await?;
        let number = |name: &str| facts.get(name).and_then(|number| number.parse().ok()).unwrap_or(0);
        Ok(Word {
            host,
            port,
            epoch: number("config-epoch"),
            quorum: number("quorum"),
            others: number("num-other-sentinels"),
            down_after_ms: number("down-after-milliseconds"),
        })
    };
    let said = said.await;
    node.close().await;
    said
}

fn judge(words: &[(String, Result<Word, Trouble>)], name: &str, healing: Duration) -> (Option<Server>, Finding) {
    let silent: Vec<String> =
        words.iter().filter_map(|(address, word)| Some(format!("{address}: {}", word.as_ref().err()?))).collect();
    // Of two with one epoch the first: they say the same.
    let newest = words.iter().filter_map(|(_, word)| word.as_ref().ok());
    let newest = newest.reduce(|newest, word| if word.epoch > newest.epoch { word } else { newest });
    let Some(newest) = newest else {
        let advice = "check redis.url, redis.sentinel_username and redis.sentinel_password, and that the sentinels run";
        return (None, Finding::fail(CHECK, silent.join("; "), advice, Page::SENTINEL));
    };
    let primary = Server::new(newest.host.as_str(), newest.port);
    let (asked, spoke) = (words.len(), words.len() - silent.len());
    let place = format!("{}:{}", newest.host, newest.port);
    let found = format!("{spoke} of {asked} answer; {name} is at {place}; quorum {}", newest.quorum);
    let others: Vec<&str> = words
        .iter()
        .filter(|(_, word)| word.as_ref().is_ok_and(|word| (&word.host, word.port) != (&newest.host, newest.port)))
        .map(|(address, _)| address.as_str())
        .collect();
    let known = usize::try_from(newest.others).unwrap_or(usize::MAX).saturating_add(1);
    let finding = if !silent.is_empty() {
        let found = format!("{found}; {}", silent.join("; "));
        Finding::warn(CHECK, found, "bring them back, or take them out of redis.url", Page::SENTINEL)
    } else if !others.is_empty() {
        let found = format!("{found}; another one is named by {}", others.join(", "));
        Finding::warn(CHECK, found, "look whether those are cut off: they name an old primary", Page::SENTINEL)
    } else if known < SENTINELS_LEAST || newest.quorum < 2 {
        let found = format!("{found}; {known} know of each other");
        let advice = "run three sentinels or more, with quorum 2: fewer cannot tell a dead primary from a cut network";
        Finding::warn(CHECK, found, advice, Page::SENTINEL)
    } else if known > asked {
        let found = format!("{found}; there are {known}");
        Finding::warn(CHECK, found, "name all sentinels in redis.url", Page::SENTINEL)
    } else if Duration::from_millis(newest.down_after_ms) >= healing {
        let found = format!("{found}; down-after-milliseconds {}", newest.down_after_ms);
        let advice = "set down-after-milliseconds to 3000 to 5000, far below ingest.healing_ms: what was acknowledged before \
                      a failover is put back only as long as ingests remember it";
        Finding::warn(CHECK, found, advice, Page::SENTINEL)
    } else {
        Finding::ok(CHECK, found)
    };
    (Some(primary), finding)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::doctor::finding::Verdict;

    #[expect(clippy::unnecessary_wraps, reason = "as a sentinel's word comes")]
    fn word(port: u16, epoch: u64) -> Result<Word, Trouble> {
        Ok(Word { host: "h".into(), port, epoch, quorum: 2, others: 2, down_after_ms: 5_000 })
    }

    #[track_caller]
    fn check(words: Vec<Result<Word, Trouble>>, port: Option<u16>, verdict: Verdict, part: &str) {
        let words: Vec<_> = words.into_iter().enumerate().map(|(index, word)| (format!("s{index}:1"), word)).collect();
        let (primary, finding) = judge(&words, "hive", Duration::from_mins(1));
        assert_eq!((primary.map(|server| server.port), finding.verdict), (port, verdict), "{finding:#?}");
        assert!(finding.found.contains(part), "{finding:#?}");
    }

    #[test]
    fn sentinels_are_judged_together() {
        let gone = || Err(Trouble::Other("connection refused".into()));
        let with = |change: fn(&mut Word)| word(7, 1).map(|mut word| (change(&mut word), word).1);
        check(vec![word(7, 1), word(7, 1), word(7, 1)], Some(7), Verdict::Ok, "3 of 3 answer; hive is at h:7");
        check(vec![word(7, 1), word(8, 2), word(8, 2)], Some(8), Verdict::Warn, "another one is named by s0:1");
        check(vec![gone(), word(7, 1), word(7, 1)], Some(7), Verdict::Warn, "s0:1: connection refused");
        check(vec![gone(), gone(), gone()], None, Verdict::Fail, "s2:1: connection refused");
        check(vec![word(7, 1), word(7, 1)], Some(7), Verdict::Warn, "there are 3");
        check(vec![with(|word| word.others = 0)], Some(7), Verdict::Warn, "1 know of each other");
        let slow = || with(|word| word.down_after_ms = 60_000);
        check(vec![slow(), slow(), slow()], Some(7), Verdict::Warn, "down-after-milliseconds 60000");
    }
}
