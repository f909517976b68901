//! What the services keep: whether the index and the logs belong together, and whether this version can read them.

use std::collections::BTreeSet;

use rand::seq::IndexedRandom as _;
use tidings_broker::INDEX_SHARDS;
use tidings_protocol::head::LOG_FORMAT;
use tidings_protocol::project::Project;

use super::finding::{Finding, Page};
use super::store::{Node, Trouble};

/// Logs whose books are looked at.
const SAMPLE: usize = 32;

/// Steps of `SCAN`, and keys in a step: enough to meet logs, too few to be felt.
const SCANS_MAX: usize = 20;
const SCAN_KEYS: &str = "500";

/// Names that are told.
const TOLD: usize = 3;

/// What was found out.
#[derive(Debug, Default, PartialEq, Eq)]
struct Books {
    /// Names in the index.
    entered: BTreeSet<String>,
    /// Of those, no project's names.
    malformed: Vec<String>,
    /// Logs that were looked at, of the index.
    looked_at: usize,
    /// Of those, without a log.
    absent: Vec<String>,
    /// Logs of a newer format than this version knows, and which.
    newer: Vec<(String, u32)>,
    /// Logs that were met and are not in the index.
    forgotten: Vec<String>,
}

/// Looks at the index and at some logs of it, all on these nodes.
pub(super) async fn check(nodes: &[Node], prefix: &str) -> Result<Finding, Trouble> {
    let mut books = Books::default();
    for shard in 0..INDEX_SHARDS {
        let names: Vec<String> = anywhere(nodes, &["SMEMBERS", &format!("{prefix}:index:{shard:02}")]).await?;
        books.entered.extend(names);
    }
    let is_name = |name: &&String| name.parse::<Project>().is_ok();
    let (names, malformed): (Vec<&String>, Vec<&String>) = books.entered.iter().partition(is_name);
    books.malformed = malformed.into_iter().cloned().collect();
    let sample: Vec<String> = names.sample(&mut rand::rng(), SAMPLE).map(|&name| name.clone()).collect();
    books.looked_at = sample.len();
    for name in sample {
        let meta = format!("{prefix}:{{{name}}}:meta");
        let found: Vec<Option<String>> = anywhere(nodes, &["HMGET", &meta, "format"]).await?;
        books.note(name, found.into_iter().next().flatten().as_deref());
    }
    for node in nodes {
        // An account of services may not look for keys: what is forgotten is then not seen.
        books.forgotten.extend(met(node, prefix).await.into_iter().filter(|name| !books.entered.contains(name)));
    }
    Ok(books.finding())
}

/// Asks the node that has the key.
async fn anywhere<T: fred::types::FromValue>(nodes: &[Node], words: &[&str]) -> Result<T, Trouble> {
    let mut last = None;
    for node in nodes {
        match node.ask(words).await {
            Err(Trouble::Other(text)) if text.starts_with("MOVED") => last = Some(Trouble::Other(text)),
            answer => return answer,
        }
    }
    Err(last.unwrap_or_else(|| Trouble::Other("no node has the key".into())))
}

/// Names of projects whose books a short walk over the keys meets.
async fn met(node: &Node, prefix: &str) -> Vec<String> {
    let (mut cursor, mut found) = ("0".to_owned(), Vec::new());
    let (head, tail) = (format!("{prefix}:{{"), "}:meta");
    for _ in 0..SCANS_MAX {
        let pattern = format!("{head}*{tail}");
        let step = node.ask::<(String, Vec<String>)>(&["SCAN", &cursor, "MATCH", &pattern, "COUNT", SCAN_KEYS]).await;
        let Ok((next, keys)) = step else { break };
        let name = |key: &String| Some(key.strip_prefix(&head)?.strip_suffix(tail)?.to_owned());
        found.extend(keys.iter().filter_map(name));
        cursor = next;
        if cursor == "0" {
            break;
        }
    }
    found
}

impl Books {
    /// Notes what the books of a log say of their format; none: there are no books.
    fn note(&mut self, name: String, format: Option<&str>) {
        match format.map(|format| format.parse::<u32>().unwrap_or(u32::MAX)) {
            None => self.absent.push(name),
            Some(format) if format > LOG_FORMAT => self.newer.push((name, format)),
            Some(_) => {}
        }
    }

    fn finding(&self) -> Finding {
        const CHECK: &str = "logs";
        let some = |names: &[String]| names.iter().take(TOLD).cloned().collect::<Vec<_>>().join(", ");
        if let Some((name, format)) = self.newer.first() {
            let more = self.newer.len() - 1;
            let found =
                format!("the log of {name} has format {format}, this version knows {LOG_FORMAT}; {more} more like it");
            return Finding::fail(CHECK, found, "use the version that wrote them, or a newer one", Page::KEYSPACE);
        }
        if !self.forgotten.is_empty() {
            let found = format!("{} logs stand in no index: {}", self.forgotten.len(), some(&self.forgotten));
            let advice =
                "post an event to each: an ingest that meets a project enters it; until then nobody trims them";
            return Finding::warn(CHECK, found, advice, Page::KEYSPACE);
        }
        if !self.malformed.is_empty() {
            let found = format!("the index holds what is no project's name: {}", some(&self.malformed));
            let advice = "another program may use the prefix: give it, or redis.prefix, another one";
            return Finding::warn(CHECK, found, advice, Page::KEYSPACE);
        }
        // One that was entered and is not born yet may stand there for a moment.
        if self.absent.len() > 1 {
            let found = format!(
                "{} of {} looked at stand in the index and have no log: {}",
                self.absent.len(),
                self.looked_at,
                some(&self.absent)
            );
            let advice =
                "keys may have been evicted or deleted by hand: check maxmemory-policy, and who else writes here";
            return Finding::warn(CHECK, found, advice, Page::KEYSPACE);
        }
        let looked_at =
            if self.looked_at < self.entered.len() { format!(", {} looked at", self.looked_at) } else { String::new() };
        match self.entered.len() {
            0 => Finding::ok(CHECK, "no projects yet"),
            1 => Finding::ok(CHECK, format!("1 project, format {LOG_FORMAT}")),
            count => Finding::ok(CHECK, format!("{count} projects{looked_at}, format {LOG_FORMAT}")),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::doctor::finding::Verdict;

    #[test]
    fn books_are_judged() {
        let check = |change: fn(&mut Books), verdict: Verdict, part: &str| {
            let mut books =
                Books { entered: BTreeSet::from(["a".into(), "b".into()]), looked_at: 2, ..Books::default() };
            change(&mut books);
            let finding = books.finding();
            assert_eq!(finding.verdict, verdict, "{finding:#?}");
            assert!(finding.found.contains(part), "{finding:#?}");
        };
        check(|books| books.note("a".into(), Some("1")), Verdict::Ok, "2 projects");
        check(|books| books.note("a".into(), None), Verdict::Ok, "2 projects");
        check(
            |books| ["a", "b"].map(|name| books.note(name.into(), None)).into_iter().collect(),
            Verdict::Warn,
            "no log: a, b",
        );
        check(|books| books.note("a".into(), Some("99")), Verdict::Fail, "a has format 99");
        check(|books| books.note("a".into(), Some("?")), Verdict::Fail, "a has format");
        check(|books| books.forgotten.push("c".into()), Verdict::Warn, "no index: c");
        check(|books| books.malformed.push("d e".into()), Verdict::Warn, "d e");
        assert_eq!(Books::default().finding().found, "no projects yet");
    }
}
