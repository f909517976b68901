//! Whether the services' account may do what services do: each command of docs/operations.md's line is asked for by a dry
//! run, or, where the account may not ask, called in a way that changes nothing.

use fred::types::Value;

use super::finding::{Finding, Page};
use super::store::{Node, Trouble};

const CHECK: &str = "account";

/// How long the key that commands are tried on lives, in ms, should nobody remove it.
const KEY_MS: &str = "60000";

/// A command, by its name in an ACL rule, with words that Redis takes. `{key}`, `{other}` and `{channel}` are the doctor's.
///
/// `{key}` holds a string: commands on other types are answered `WRONGTYPE`, which is after the account was checked and
/// before anything is written. `{other}` is never there.
struct Trial {
    right: &'static str,
    words: &'static [&'static str],
    /// It is answered by pushes, and needs a connection that nothing else uses.
    is_push: bool,
}

const fn trial(right: &'static str, words: &'static [&'static str]) -> Trial {
    Trial { right, words, is_push: false }
}

const fn push(right: &'static str, words: &'static [&'static str]) -> Trial {
    Trial { right, words, is_push: true }
}

/// In this order: the first one makes the key, the last one removes it.
const TRIALS: &[Trial] = &[
    trial("set", &["SET", "{key}", "tidings doctor", "PX", KEY_MS]),
    trial("get", &["GET", "{key}"]),
    trial("exists", &["EXISTS", "{key}"]),
    trial("pexpire", &["PEXPIRE", "{key}", KEY_MS]),
    trial("copy", &["COPY", "{other}", "{other}"]),
    trial("sadd", &["SADD", "{key}", "member"]),
    trial("smembers", &["SMEMBERS", "{key}"]),
    trial("srem", &["SREM", "{key}", "member"]),
    trial("zadd", &["ZADD", "{key}", "0", "member"]),
    trial("zrem", &["ZREM", "{key}", "member"]),
    trial("zrange", &["ZRANGE", "{key}", "0", "-1"]),
    trial("zlexcount", &["ZLEXCOUNT", "{key}", "-", "+"]),
    trial("hget", &["HGET", "{key}", "field"]),
    trial("hset", &["HSET", "{key}", "field", "value"]),
    trial("hmget", &["HMGET", "{key}", "field"]),
    trial("hgetall", &["HGETALL", "{key}"]),
    trial("hexists", &["HEXISTS", "{key}", "field"]),
    trial("hkeys", &["HKEYS", "{key}"]),
    trial("hlen", &["HLEN", "{key}"]),
    trial("hdel", &["HDEL", "{key}", "field"]),
    trial("hincrby", &["HINCRBY", "{key}", "field", "1"]),
    trial("hrandfield", &["HRANDFIELD", "{key}"]),
    trial("hscan", &["HSCAN", "{key}", "0"]),
    trial("xadd", &["XADD", "{key}", "*", "field", "value"]),
    trial("xtrim", &["XTRIM", "{key}", "MAXLEN", "0"]),
    trial("xrange", &["XRANGE", "{key}", "-", "+"]),
    trial("xrevrange", &["XREVRANGE", "{key}", "+", "-"]),
    trial("xgroup|create", &["XGROUP", "CREATE", "{key}", "group", "$"]),
    trial("xgroup|destroy", &["XGROUP", "DESTROY", "{key}", "group"]),
    trial("select", &["SELECT", "{database}"]),
    trial("role", &["ROLE"]),
    trial("info", &["INFO", "server"]),
    trial("time", &["TIME"]),
    trial("eval", &["EVAL", "return 1", "0"]),
    trial("evalsha", &["EVALSHA", "0000000000000000000000000000000000000000", "0"]),
    trial("script|load", &["SCRIPT", "LOAD", "return 1"]),
    trial("wait", &["WAIT", "0", "0"]),
    push("subscribe", &["SUBSCRIBE", "{channel}"]),
    push("unsubscribe", &["UNSUBSCRIBE", "{channel}"]),
    trial("publish", &["PUBLISH", "{channel}", ""]),
    trial("unlink", &["UNLINK", "{other}"]),
    trial("del", &["DEL", "{key}"]),
];

/// What services need beside in a cluster.
const CLUSTER_TRIALS: &[Trial] = &[
    trial("asking", &["ASKING"]),
    trial("cluster|info", &["CLUSTER", "INFO"]),
    trial("cluster|slots", &["CLUSTER", "SLOTS"]),
    push("ssubscribe", &["SSUBSCRIBE", "{channel}"]),
    push("sunsubscribe", &["SUNSUBSCRIBE", "{channel}"]),
    trial("spublish", &["SPUBLISH", "{channel}", ""]),
];

/// What the words of trials stand for.
pub(super) struct Names<'a> {
    /// What all keys and channels begin with.
    pub(super) prefix: &'a str,
    /// The project whose keys are touched.
    pub(super) project: &'a str,
    /// The database in use.
    pub(super) database: &'a str,
    /// Whether services need what they need in a cluster.
    pub(super) is_cluster: bool,
}

impl Names<'_> {
    fn trials(&self) -> impl Iterator<Item = &'static Trial> {
        TRIALS.iter().chain(if self.is_cluster { CLUSTER_TRIALS } else { &[] })
    }

    fn words(&self, trial: &Trial) -> Vec<String> {
        let of = |what: &str| format!("{}:{{{}}}:{what}", self.prefix, self.project);
        let word = |word: &&str| match *word {
            "{key}" => of("doctor"),
            "{other}" => of("absent"),
            "{channel}" => of("bus"),
            "{database}" => self.database.to_owned(),
            word => word.to_owned(),
        };
        trial.words.iter().map(word).collect()
    }
}

/// What an account lacks.
#[derive(Debug, Default)]
struct Lacking {
    commands: Vec<&'static str>,
    unknown: Vec<&'static str>,
    keys: bool,
    channels: bool,
}

impl Lacking {
    /// Notes a refusal, by its words.
    fn note(&mut self, right: &'static str, refusal: &str) {
        if refusal.contains("to run the '") || refusal.contains("run this command") {
            self.commands.push(right);
        } else if refusal.contains("channel") {
            self.channels = true;
        } else {
            self.keys = true;
        }
    }

    fn finding(&self, who: &str, how: &str, prefix: &str) -> Finding {
        let mut rules: Vec<String> = self.commands.iter().map(|right| format!("+{right}")).collect();
        rules.extend(self.keys.then(|| format!("~{prefix}:*")));
        rules.extend(self.channels.then(|| format!("&{prefix}:*")));
        if !self.unknown.is_empty() {
            let found = format!("the server does not know {}", self.unknown.join(", "));
            let advice = "services need these commands: they may have been renamed away, or it is no Redis";
            return Finding::fail(CHECK, found, advice, Page::REDIS);
        }
        if rules.is_empty() {
            return Finding::ok(CHECK, format!("{who} may do all that services do ({how})"));
        }
        let rules = rules.join(" ");
        let advice = format!("ACL SETUSER {who} {rules}, on every node and in its ACL file");
        Finding::fail(CHECK, format!("{who} lacks {rules}"), advice, Page::ACCOUNTS)
    }
}

/// Whether the account of these connections to one node has every right. `ear` is used for subscriptions alone; `who`: the
/// account's name by the configuration.
pub(super) async fn check(node: &Node, ear: &Node, names: &Names<'_>, who: &str) -> Finding {
    match dry(node, names).await {
        Some((name, lacking)) => lacking.finding(&name, "asked for by ACL DRYRUN", names.prefix),
        None => tried(node, ear, names).await.finding(who, "tried", names.prefix),
    }
}

/// By dry runs; none: the account may not ask.
async fn dry(node: &Node, names: &Names<'_>) -> Option<(String, Lacking)> {
    let name: String = node.ask(&["ACL", "WHOAMI"]).await.ok()?;
    let mut lacking = Lacking::default();
    for trial in names.trials() {
        let words = names.words(trial);
        let mut command = vec!["ACL", "DRYRUN", &name];
        command.extend(words.iter().map(String::as_str));
        match node.ask::<String>(&command).await {
            Ok(said) if said == "OK" => {}
            Ok(said) => lacking.note(trial.right, &said),
            // It names the command that is to be tried as unknown, too.
            Err(Trouble::Other(said)) if said.contains("not found") => lacking.unknown.push(trial.right),
            Err(_) => return None,
        }
    }
    Some((name, lacking))
}

async fn tried(node: &Node, ear: &Node, names: &Names<'_>) -> Lacking {
    let mut lacking = Lacking::default();
    for trial in names.trials() {
        let words = names.words(trial);
        let words: Vec<&str> = words.iter().map(String::as_str).collect();
        let answer =
            if trial.is_push { pushed(node, ear, &words).await } else { node.ask::<Value>(&words).await.map(drop) };
        match answer {
            Err(Trouble::Refused(said)) => lacking.note(trial.right, &said),
            Err(Trouble::Unknown(_)) => lacking.unknown.push(trial.right),
            // Any other answer comes from behind the check of the account.
            Ok(()) | Err(Trouble::Other(_)) => {}
        }
        if trial.right == "set" && (!lacking.commands.is_empty() || lacking.keys || !lacking.unknown.is_empty()) {
            // Without the key that makes trials harmless nothing is tried.
            break;
        }
    }
    lacking
}

/// Subscribes or unsubscribes, and asks the server whether it came about: the client may drop the error of a refusal.
async fn pushed(node: &Node, ear: &Node, words: &[&str]) -> Result<(), Trouble> {
    ear.push(words).await?;
    let (publish, listeners) = match words[0] {
        "SUBSCRIBE" => ("PUBLISH", 1),
        "SSUBSCRIBE" => ("SPUBLISH", 1),
        "SUNSUBSCRIBE" => ("SPUBLISH", 0),
        _ => ("PUBLISH", 0),
    };
    match node.ask::<u64>(&[publish, words[1], ""]).await {
        Ok(count) if count != listeners => Err(Trouble::Refused(format!("NOPERM to run the '{}' command", words[0]))),
        _ => Ok(()),
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::*;
    use crate::doctor::finding::Verdict;

    /// The trials are the manual's rights, no more and no fewer.
    #[test]
    fn every_right_of_the_manual_is_tried() {
        let manual = include_str!("../../../../docs/operations.md");
        let line = manual.lines().find(|line| line.starts_with("user tidings on ")).expect("the services' account");
        let documented: BTreeSet<&str> = line.split_whitespace().filter_map(|word| word.strip_prefix('+')).collect();
        let tried: BTreeSet<&str> = TRIALS.iter().map(|trial| trial.right).collect();
        assert_eq!(tried, documented);
        let line = manual.lines().find(|line| line.starts_with("+asking ")).expect("what a cluster takes beside");
        let documented: BTreeSet<&str> = line.split_whitespace().filter_map(|word| word.strip_prefix('+')).collect();
        let tried: BTreeSet<&str> = CLUSTER_TRIALS.iter().map(|trial| trial.right).collect();
        assert_eq!(tried, documented);
    }

    #[test]
    fn what_is_lacking_is_named_as_a_rule() {
        let mut lacking = Lacking::default();
        lacking.note("xadd", "NOPERM User monkey has no permissions to run the 'xadd' command");
        lacking.note("get", "NOPERM No permissions to access a key");
        lacking.note("publish", "NOPERM this user has no permissions to access one of the channels used as arguments");
        let finding = lacking.finding("monkey", "tried", "tidings");
        assert_eq!(
            (finding.verdict, finding.found.as_str()),
            (Verdict::Fail, "monkey lacks +xadd ~tidings:* &tidings:*")
        );
        assert_eq!(Lacking::default().finding("monkey", "tried", "tidings").verdict, Verdict::Ok);
    }
}
