//! One project's log as plain data: a deterministic state machine without clock, lock or I/O (docs/log.md L21).
//!
//! Time, incarnation and, by `Clone`, older copies are inputs: a test or a simulation can fork a log as a lossy failover
//! would. The append step is in [`append`](super::append); here are reads, checkpoints and the sweep.

use std::collections::{BTreeMap, HashMap, VecDeque};
use std::sync::Arc;

use bytes::Bytes;
use tidings_protocol::entry::{Body, Entry};
use tidings_protocol::head::{Fork, Head, LOG_FORMAT, Tombstone};
use tidings_protocol::position::{Branch, Position};

use super::ids::Ids;
use super::producers::Producer;
use crate::inbox::Guarded;
use crate::limits::Limits;
use crate::{CheckpointAnswer, CheckpointStep, Fields, Page, Retention, Span, StateAt};

/// A project's log, its bookkeeping and its checkpoint. The default is a log that was never born.
#[derive(Debug, Clone, Default)]
pub struct LogData {
    pub(super) format: u32,
    pub(super) branch: Branch,
    pub(super) opened_under: String,
    pub(super) last: Position,
    pub(super) total_bytes: u64,
    pub(super) forks: Vec<Fork>,
    pub(super) entries: VecDeque<Arc<Kept>>,
    pub(super) writers: HashMap<Arc<str>, Writer>,
    pub(super) producers: HashMap<String, Producer>,
    pub(super) ids: Ids,
    pub(super) tombstones: Vec<Tombstone>,
    /// Events that stand alone, by their keys.
    pub(super) guards: BTreeMap<String, Guard>,
    checkpoint: Position,
    version: u32,
    state: BTreeMap<String, Bytes>,
    /// Running total of the last entry that was trimmed.
    trimmed_bytes: u64,
    /// Until when appends are refused (0: they are not).
    pub(super) refused_until_ms: u64,
}

/// An entry and what it weighs: its batch, encoded, or the text of its fork.
#[derive(Debug)]
pub(super) struct Kept {
    pub(super) entry: Entry,
    pub(super) bytes: usize,
}

/// Who stands under a guard's key.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Guard {
    pub(super) until_ms: u64,
    pub(super) position: Position,
    pub(super) note: String,
}

/// What a log knows of one writer.
#[derive(Debug, Clone, Copy)]
pub(super) struct Writer {
    pub(super) number: u64,
    pub(super) used_ms: u64,
    pub(super) last: Position,
    pub(super) count: u32,
}

impl LogData {
    /// The head, for a store of this incarnation.
    pub fn head(&self, incarnation: &str) -> Head {
        Head {
            branch: self.branch,
            last: self.last,
            total_bytes: self.total_bytes,
            forks: self.forks.clone(),
            checkpoint: self.checkpoint,
            incarnation: incarnation.to_owned(),
            opened_under: self.opened_under.clone(),
            tombstones: self.tombstones.clone(),
        }
    }

    /// Whether the log exists.
    pub fn is_born(&self) -> bool {
        !self.branch.is_none()
    }

    /// Format of the log (0: never born).
    pub fn format(&self) -> u32 {
        self.format
    }

    /// Pretends that a service of another version wrote this log.
    pub fn set_format(&mut self, format: u32) {
        self.format = format;
    }

    /// See [`Log::read`](crate::Log::read).
    pub fn read(&self, incarnation: &str, span: Span, bytes_max: usize) -> Page {
        let mut room = bytes_max;
        let mut fits = |kept: &&Arc<Kept>, first: bool| {
            let fits = first || kept.bytes <= room;
            room = room.saturating_sub(kept.bytes);
            fits
        };
        let mut entries: Vec<Entry> = Vec::new();
        let backward = |end: usize| self.entries.range(..end).rev();
        match span {
            Span::After(id) => {
                let start = self.entries.partition_point(|kept| kept.entry.position.id <= id);
                let it = self.entries.range(start..).enumerate();
                entries.extend(it.take_while(|(i, kept)| fits(kept, *i == 0)).map(|(_, kept)| kept.entry.clone()));
            }
            Span::Before(_) | Span::Tail => {
                let end = match span {
                    // By the entry's FIRST event: the bound may lie inside the entry.
                    Span::Before(id) => self.entries.partition_point(|kept| kept.entry.first_id() < id),
                    _ => self.entries.len(),
                };
                let it = backward(end).enumerate();
                entries.extend(it.take_while(|(i, kept)| fits(kept, *i == 0)).map(|(_, kept)| kept.entry.clone()));
                entries.reverse();
            }
        }
        Page { entries, head: self.head(incarnation), trimmed_to: self.trimmed_to() }
    }

    fn trimmed_to(&self) -> Position {
        self.entries.front().map_or(self.last, |kept| kept.entry.prev)
    }

    /// See [`Log::checkpoint`](crate::Log::checkpoint).
    pub fn checkpoint(&mut self, now_ms: u64, incarnation: &str, step: &CheckpointStep) -> CheckpointAnswer {
        self.checkpoint_within(now_ms, incarnation, step, &Limits::default())
    }

    pub(crate) fn checkpoint_within(
        &mut self,
        now_ms: u64,
        incarnation: &str,
        step: &CheckpointStep,
        limits: &Limits,
    ) -> CheckpointAnswer {
        if self.branch.is_none() || incarnation != step.incarnation {
            return CheckpointAnswer::Moved;
        }
        if !step.hard && self.version > step.version {
            return CheckpointAnswer::NewerVersion(self.version);
        }
        // A target that this log does not hold was read from another one, under the same incarnation.
        let held = step.to.is_zero() || self.head(incarnation).holds(&[step.to]);
        let deletion = self.tombstones.iter().rfind(|tombstone| tombstone.is_of_project());
        let deletion = deletion.map(|tombstone| tombstone.position);
        if self.checkpoint != step.from || deletion != step.deletion || !held {
            return CheckpointAnswer::Moved;
        }
        let (keep, limit_n) =
            if step.hard { (doubled(step.retention), u64::MAX) } else { (step.retention, step.to.n()) };
        let (trimmed, more) = self.trim(now_ms, keep, limit_n, limits);
        let start = self.trimmed_to();
        self.tombstones.retain(|tombstone| {
            let waits =
                !tombstone.was.is_empty() && tombstone.position.ms().saturating_add(limits.tombstone_ms) >= start.ms();
            tombstone.position.n() > start.n() || waits
        });
        if !step.hard {
            self.checkpoint = step.to;
            self.version = step.version;
            for (name, value) in &step.fields {
                match value {
                    Some(value) => self.state.insert(name.clone(), value.clone()),
                    None => self.state.remove(name),
                };
            }
        }
        CheckpointAnswer::Done { trimmed, more }
    }

    /// Removes the oldest entries that exceed any bound, none above `limit_n`, within the bounds of one step: how many, and
    /// whether those bounds ended it.
    fn trim(&mut self, now_ms: u64, keep: Retention, limit_n: u64, limits: &Limits) -> (u64, bool) {
        let (mut trimmed, mut bytes) = (0, 0);
        while let Some(kept) = self.entries.front() {
            let entry = &kept.entry;
            let events_from_here = self.last.n() - entry.prev.n();
            let bytes_from_here = self.total_bytes + batch_bytes(kept) - entry.total_bytes;
            let exceeds = events_from_here > keep.events
                || bytes_from_here > keep.bytes
                || entry.position.ms().saturating_add(keep.age_ms) < now_ms;
            if !exceeds || entry.position.n() > limit_n {
                break;
            }
            if trimmed >= limits.trim_entries_max || bytes >= limits.trim_bytes_max {
                return (trimmed, true);
            }
            bytes += batch_bytes(kept);
            trimmed += 1;
            self.trimmed_bytes = entry.total_bytes;
            self.entries.pop_front();
        }
        (trimmed, false)
    }

    /// Leaves nothing but the books of writers and forks: the project was deleted at the last position.
    pub(super) fn empty(&mut self) {
        self.entries.clear();
        self.producers.clear();
        self.ids = Ids::default();
        self.guards.clear();
        self.tombstones.clear();
        self.state.clear();
        (self.checkpoint, self.version) = (self.last, 0);
        self.trimmed_bytes = self.total_bytes;
        self.refused_until_ms = 0;
    }

    /// What stood up to `cut`, whole entries, goes: it was before a deletion of the project that is put back. The state is
    /// folded anew from there.
    pub(super) fn take_back(&mut self, cut: Position) {
        self.checkpoint = cut;
        while let Some(kept) = self.entries.pop_front_if(|kept| kept.entry.position.id <= cut.id) {
            self.trimmed_bytes = kept.entry.total_bytes;
            self.checkpoint = kept.entry.position;
        }
        self.version = 0;
        self.state.clear();
    }

    /// See [`Index::held_bytes`](crate::Index::held_bytes).
    pub fn held_bytes(&self) -> u64 {
        self.total_bytes - self.trimmed_bytes
    }

    /// See [`Index::refuse`](crate::Index::refuse).
    pub fn refuse(&mut self, now_ms: u64, for_ms: u64) {
        if self.is_born() && self.format <= LOG_FORMAT {
            self.refused_until_ms = if for_ms == 0 { 0 } else { now_ms.saturating_add(for_ms) };
        }
    }

    /// The guard of this key, if it stands.
    pub(super) fn guard(&self, now_ms: u64, key: &str) -> Option<Guarded> {
        let guard = self.guards.get(key).filter(|guard| guard.until_ms > now_ms)?;
        Some(Guarded { position: guard.position, note: guard.note.clone() })
    }

    /// See [`Log::state`](crate::Log::state).
    pub fn state(&self, incarnation: &str, fields: &Fields) -> StateAt {
        let fields = match fields {
            Fields::All => self.state.iter().map(|(name, value)| (name.clone(), value.clone())).collect(),
            Fields::Named(names) => {
                let found = names.iter().filter_map(|name| Some((name.clone(), self.state.get(name)?.clone())));
                found.collect()
            }
        };
        StateAt { position: self.checkpoint, version: self.version, fields, head: self.head(incarnation) }
    }

    /// See [`Index::sweep`](crate::Index::sweep).
    pub fn sweep(&mut self, now_ms: u64, writers_ms: u64, producers_ms: u64) {
        if self.format > LOG_FORMAT {
            return;
        }
        self.writers.retain(|_, writer| writer.used_ms.saturating_add(writers_ms) >= now_ms);
        self.producers.retain(|_, producer| producer.used_ms.saturating_add(producers_ms) >= now_ms);
        self.guards.retain(|_, guard| guard.until_ms > now_ms);
    }
}

#[cfg(test)]
impl LogData {
    /// Guards as Redis has them.
    pub(crate) fn guards_as_stored(&self) -> Vec<(String, String)> {
        let text = |guard: &Guard| format!("{} {} {}", guard.until_ms, guard.position, guard.note);
        self.guards.iter().map(|(key, guard)| (key.clone(), text(guard))).collect()
    }
}

/// What an entry adds to the running total: forks weigh nothing.
fn batch_bytes(kept: &Kept) -> u64 {
    match kept.entry.body {
        Body::Fork(_) => 0,
        Body::Events(_) | Body::Elsewhere(_) => kept.bytes as u64,
    }
}

/// Where a log is trimmed although its fold fails.
fn doubled(keep: Retention) -> Retention {
    Retention {
        events: keep.events.saturating_mul(2),
        bytes: keep.bytes.saturating_mul(2),
        age_ms: keep.age_ms.saturating_mul(2),
    }
}
