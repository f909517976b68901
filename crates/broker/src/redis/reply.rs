//! What scripts answer, as values of the contract.

use ::redis::{FromRedisValue as _, Value};
use bytes::Bytes;
use prost::Message as _;
use tidings_protocol::entry::{Body, Entry, ForkNote};
use tidings_protocol::head::{Fork, Head, LOG_FORMAT, Tombstone};
use tidings_protocol::position::{LogId, Position};
use tidings_protocol::wire;

use crate::{Answer, CheckpointAnswer, Heal, MemoryUse, Page, ReadError, Refusal, RefusalWhy, StateAt, merge_refusals};

/// An answer that is none. Its text says which part.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("malformed answer: {0}")]
pub(super) struct ReplyError(&'static str);

type Reply<T> = Result<T, ReplyError>;

/// Walks along an array.
struct Items(std::vec::IntoIter<Value>);

impl Items {
    fn of(value: Value) -> Reply<Items> {
        match value {
            Value::Array(items) => Ok(Items(items.into_iter())),
            _ => Err(ReplyError("not an array")),
        }
    }

    fn next(&mut self) -> Reply<Value> {
        self.0.next().ok_or(ReplyError("short"))
    }

    fn bytes(&mut self) -> Reply<Vec<u8>> {
        match self.next()? {
            Value::BulkString(bytes) => Ok(bytes),
            Value::SimpleString(text) => Ok(text.into_bytes()),
            _ => Err(ReplyError("not a string")),
        }
    }

    fn text(&mut self) -> Reply<String> {
        String::from_utf8(self.bytes()?).map_err(|_| ReplyError("not text"))
    }

    fn parsed<T: std::str::FromStr>(&mut self, what: &'static str) -> Reply<T> {
        self.text()?.parse().map_err(|_| ReplyError(what))
    }

    fn items(&mut self) -> Reply<Items> {
        Items::of(self.next()?)
    }

    fn is_empty(&self) -> bool {
        self.0.as_slice().is_empty()
    }
}

/// What the append script says, and what became of its publish.
pub(crate) struct Told {
    pub(crate) answer: Answer,
    /// Of the batch's entry or of a fork's: the entry stands, and nobody heard of it.
    pub(crate) publish_error: Option<String>,
}

/// The answer of the append script; none: the project is over its share, and nothing happened.
pub(super) fn answer(value: Value) -> Reply<Option<Told>> {
    let mut items = Items::of(value)?;
    let mut publish_error = None;
    let mut told = |items: &mut Items| {
        let error = items.text()?;
        publish_error = (!error.is_empty()).then_some(error);
        Reply::Ok(publish_error.clone())
    };
    let answer = match items.text()?.as_str() {
        "appended" => {
            let (last, count) = (items.parsed("position")?, items.parsed("count")?);
            Answer::Appended { last, count, publish_error: told(&mut items)? }
        }
        "synced" => {
            let head = head(items.items()?)?;
            told(&mut items)?;
            Answer::Synced(Box::new(head))
        }
        "heal" => {
            let head = head(items.items()?)?;
            let number = items.parsed("number")?;
            let (last, count) = (items.text()?, items.parsed("count")?);
            let last = (!last.is_empty()).then(|| last.parse().map_err(|_| ReplyError("position"))).transpose()?;
            told(&mut items)?;
            Answer::Heal(Box::new(Heal { head, number, answer: last.map(|last| (last, count)) }))
        }
        "stale" => Answer::Stale { last: items.parsed("number")? },
        "refused" => Answer::Refused(refusals(items.items()?, items.items()?)?),
        "newer" => Answer::NewerFormat(items.parsed("format")?),
        "producers_full" => Answer::ProducersFull,
        "over_share" => return Ok(None),
        _ => return Err(ReplyError("unknown answer")),
    };
    Ok(Some(Told { answer, publish_error }))
}

/// What the append script asks: whether a fork may be called a move.
pub(super) struct Claimable {
    /// The incarnation under which the open branch was opened.
    pub(super) opened_under: String,
    /// That of the node which asks.
    pub(super) here: String,
}

/// None: it asks nothing.
pub(super) fn claimable(value: &Value) -> Option<Claimable> {
    let Value::Array(items) = value else { return None };
    match items.as_slice() {
        [Value::BulkString(word), Value::BulkString(left), Value::BulkString(here)] if word.as_slice() == b"claim" => {
            let text = |bytes: &[u8]| String::from_utf8(bytes.to_vec()).ok();
            Some(Claimable { opened_under: text(left)?, here: text(here)? })
        }
        _ => None,
    }
}

fn refusals(mut ids: Items, mut sequences: Items) -> Reply<Vec<Refusal>> {
    let (mut duplicates, mut others) = (Vec::new(), Vec::new());
    while !ids.is_empty() {
        let index = ids.parsed("index")?;
        duplicates.push(Refusal { index, why: RefusalWhy::Duplicate(ids.parsed("position")?) });
    }
    while !sequences.is_empty() {
        let index = sequences.parsed("index")?;
        let why = match sequences.text()?.as_str() {
            "duplicate" => RefusalWhy::DuplicateSequence(sequences.parsed("position")?),
            "out_of_sequence" => RefusalWhy::OutOfSequence { expected: sequences.parsed("expected")? },
            "fenced" => RefusalWhy::Fenced { epoch: sequences.parsed("epoch")? },
            "settled" => RefusalWhy::Settled(sequences.parsed("position")?),
            "deletions_full" => {
                sequences.text()?;
                RefusalWhy::DeletionsFull
            }
            "guards_full" => {
                sequences.text()?;
                RefusalWhy::GuardsFull
            }
            _ => return Err(ReplyError("unknown refusal")),
        };
        others.push(Refusal { index, why });
    }
    Ok(merge_refusals(duplicates, others))
}

fn head(mut items: Items) -> Reply<Head> {
    Ok(Head {
        incarnation: items.text()?,
        branch: items.parsed("branch")?,
        opened_under: items.text()?,
        last: items.parsed("last")?,
        total_bytes: items.parsed("bytes")?,
        forks: items.text()?.lines().map(fork).collect::<Reply<_>>()?,
        checkpoint: items.parsed("checkpoint")?,
        tombstones: items.text()?.lines().map(tombstone).collect::<Reply<_>>()?,
    })
}

/// A line of meta's `forks`: closed branch, survived, kind, position of the fork entry.
fn fork(line: &str) -> Reply<Fork> {
    let malformed = ReplyError("fork");
    let (note, from) = line.rsplit_once(' ').ok_or(malformed.clone())?;
    let ForkNote { closed, survived, kind } = ForkNote::from_text(note).map_err(|_| malformed.clone())?;
    Ok(Fork { closed, survived, kind, from: from.parse().map_err(|_| malformed)? })
}

fn tombstone(line: &str) -> Reply<Tombstone> {
    Tombstone::from_text(line).map_err(|_| ReplyError("tombstone"))
}

/// What opens the answer of a read: its name, or why there is none.
fn opening(value: Value) -> Result<Items, ReadError> {
    let malformed = |error: ReplyError| ReadError::Malformed(error.to_string());
    let mut items = Items::of(value).map_err(malformed)?;
    match items.text().map_err(malformed)?.as_str() {
        "page" | "state" => Ok(items),
        "away" => Err(ReadError::Away(format!("the node is a {}", items.text().map_err(malformed)?))),
        "newer" => Err(ReadError::NewerFormat(items.parsed("format").map_err(malformed)?)),
        _ => Err(malformed(ReplyError("unknown answer"))),
    }
}

/// The answer of the read script.
pub(super) fn page(value: Value) -> Result<Page, ReadError> {
    let mut items = opening(value)?;
    let mut read = || {
        let head = head(items.items()?)?;
        let trimmed_to = items.parsed("trimmed")?;
        let mut stored = items.items()?;
        let mut entries = Vec::new();
        while !stored.is_empty() {
            entries.push(entry(stored.items()?)?);
        }
        Ok(Page { entries, head, trimmed_to })
    };
    read().map_err(|error: ReplyError| ReadError::Malformed(error.to_string()))
}

/// The head alone.
pub(super) fn page_head(value: Value) -> Result<Head, ReadError> {
    page(value).map(|page| page.head)
}

/// One entry, as XRANGE has it.
fn entry(mut items: Items) -> Reply<Entry> {
    let id: LogId = items.parsed("stream id")?;
    let (mut branch, mut prev, mut count, mut total, mut body) = (None, None, None, None, None);
    let mut fields = items.items()?;
    while !fields.is_empty() {
        match fields.text()?.as_str() {
            "branch" => branch = Some(fields.parsed("branch")?),
            "prev" => prev = Some(fields.parsed("prev")?),
            "count" => count = Some(fields.parsed::<u64>("count")?),
            "total" => total = Some(fields.parsed("total")?),
            // The batch's fields are slices of these bytes, not copies.
            "events" => {
                let batch = wire::Batch::decode(Bytes::from(fields.bytes()?)).map_err(|_| ReplyError("events"))?;
                body = Some(Body::Events(batch.events));
            }
            "fork" => {
                body = Some(Body::Fork(ForkNote::from_text(&fields.text()?).map_err(|_| ReplyError("fork"))?));
            }
            // A later format may add fields.
            _ => drop(fields.next()?),
        }
    }
    let missing = ReplyError("an entry lacks a field");
    let entry = Entry {
        position: Position { id, branch: branch.ok_or(missing.clone())? },
        prev: prev.ok_or(missing.clone())?,
        total_bytes: total.ok_or(missing.clone())?,
        body: body.ok_or(missing.clone())?,
    };
    entry.checked(count.ok_or(missing)?).map_err(|error| ReplyError(error.0))
}

/// The answer of the state script.
pub(super) fn state(value: Value) -> Result<StateAt, ReadError> {
    let mut items = opening(value)?;
    let mut read = || {
        let head = head(items.items()?)?;
        let version = items.parsed("version")?;
        let mut pairs = items.items()?;
        let mut fields = Vec::new();
        while !pairs.is_empty() {
            let (name, value) = (pairs.text()?, pairs.bytes()?);
            // Names stand behind a colon; what does not is the placeholder.
            if let Some(name) = name.strip_prefix(':') {
                fields.push((name.to_owned(), Bytes::from(value)));
            }
        }
        Ok(StateAt { position: head.checkpoint, version, fields, head })
    };
    read().map_err(|error: ReplyError| ReadError::Malformed(error.to_string()))
}

/// The answer of the checkpoint script; `Err`: the log's format is newer.
pub(super) fn checkpoint(value: Value) -> Reply<Result<CheckpointAnswer, u32>> {
    let mut items = Items::of(value)?;
    Ok(match items.text()?.as_str() {
        "done" => {
            let trimmed = items.parsed("trimmed")?;
            Ok(CheckpointAnswer::Done { trimmed, more: items.parsed::<u8>("more")? == 1 })
        }
        "moved" => Ok(CheckpointAnswer::Moved),
        "newer_version" => Ok(CheckpointAnswer::NewerVersion(items.parsed("version")?)),
        "newer" => Err(items.parsed("format")?),
        _ => return Err(ReplyError("unknown answer")),
    })
}

/// What a log holds, from meta's `format`, `bytes` and `trimmed_bytes`.
pub(super) fn held_bytes(value: Value) -> Result<u64, ReadError> {
    let malformed = |_| ReadError::Malformed("the counters of a log".into());
    let (format, bytes, trimmed) =
        <(Option<u32>, Option<u64>, Option<u64>)>::from_redis_value(value).map_err(malformed)?;
    match format {
        Some(format) if format > LOG_FORMAT => Err(ReadError::NewerFormat(format)),
        _ => Ok(bytes.unwrap_or(0).saturating_sub(trimmed.unwrap_or(0))),
    }
}

/// The answer of `INFO memory`.
pub(super) fn memory(value: Value) -> Result<MemoryUse, ReadError> {
    let info = String::from_redis_value(value).map_err(|error| ReadError::Malformed(error.to_string()))?;
    let number = |name: &str| {
        let value = info.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix(':'))?;
        value.trim_end().parse::<u64>().ok()
    };
    let used = number("used_memory").ok_or_else(|| ReadError::Malformed("INFO memory".into()))?;
    // Buffers of replicas and of the append-only file do not count against the limit.
    let used_bytes = used.saturating_sub(number("mem_not_counted_for_evict").unwrap_or(0));
    Ok(MemoryUse { used_bytes, max_bytes: number("maxmemory").filter(|max| *max > 0) })
}
