//! The append step (docs/log.md L4) on plain data. The Lua script `append.lua` does the same, step by step; a differential
//! test compares the two.

use std::collections::HashMap;
use std::sync::Arc;

use prost::Message as _;
use tidings_protocol::entry::{Body, Entry, EntryError, ForkKind, ForkNote};
use tidings_protocol::head::{Fork, LOG_FORMAT, Tombstone, bury};
use tidings_protocol::position::{Branch, Position};
use tidings_protocol::wire;

use super::data::{Guard, Kept, LogData, Writer};
use super::producers::{Against, sequence};
use crate::limits::{FINAL_GUARDS, Limits};
use crate::{Answer, AppendBatch, AppendCall, CallError, Heal, NothingWhy, Refusal, RefusalWhy, merge_refusals};

impl LogData {
    /// One call of the append script at this time, on a store of this incarnation: the answer, and the entry to publish
    /// (the batch, or a fork; never both).
    ///
    /// # Errors
    /// [`NothingWhy::OverShare`], and [`NothingWhy::Refusing`] when the batch is not what it says. Nothing happened.
    pub fn append(
        &mut self,
        now_ms: u64,
        incarnation: &str,
        call: &AppendCall,
    ) -> Result<(Answer, Option<Entry>), CallError> {
        self.append_within(now_ms, incarnation, call, &Limits::default())
    }

    pub(crate) fn append_within(
        &mut self,
        now_ms: u64,
        incarnation: &str,
        call: &AppendCall,
        limits: &Limits,
    ) -> Result<(Answer, Option<Entry>), CallError> {
        if self.format > LOG_FORMAT {
            return Ok((Answer::NewerFormat(self.format), None));
        }
        let decoded = |batch| decode(batch).map(|events| (batch, events));
        let batch = call.batch.as_ref().map(decoded).transpose();
        let batch = batch.map_err(|error| CallError::Nothing(NothingWhy::Refusing(error.to_string())))?;

        // L4.1: birth, or a fork.
        let opens = self.branch.is_none() || self.opened_under != incarnation;
        let fork = if opens { self.open(now_ms, incarnation, call.fresh, limits) } else { None };

        // L4.2: the same number, the same answer.
        let acts = batch.is_some() || call.delete;
        let writer = self.writers.get(&call.writer).copied();
        if let Some(known) = writer.filter(|known| acts && known.number == call.number) {
            return Ok((Answer::Appended { last: known.last, count: known.count, publish_error: None }, fork));
        }

        // L4.3: the branch, then the order of the writer's numbers.
        let named = !call.branch.is_none() || acts;
        if named && (opens || call.branch != self.branch) {
            let answer = writer.map(|known| (known.last, known.count));
            let number = writer.map_or(0, |known| known.number);
            return Ok((Answer::Heal(Box::new(Heal { head: self.head(incarnation), number, answer })), fork));
        }
        if !acts {
            return Ok((Answer::Synced(Box::new(self.head(incarnation))), fork));
        }
        let known = writer.map_or(0, |known| known.number);
        if call.number <= known {
            return Ok((Answer::Stale { last: known }, None));
        }
        let Some((batch, events)) = batch else {
            let (answer, entry) = self.delete(now_ms, call, limits);
            return Ok((answer, Some(entry)));
        };

        // L4.4: ids, then producers, then guards.
        let log =
            Against { known: &self.producers, branch: self.branch, forked: !self.forks.is_empty(), last: self.last };
        let (mut others, mut producers) = sequence(&log, &batch.producers, limits);
        others.extend(self.settled(now_ms, batch, limits));
        let refusals = merge_refusals(self.seen(batch), others);
        if !refusals.is_empty() {
            return Ok((Answer::Refused(refusals), None));
        }
        // L18: what was appended before is acknowledged all the same.
        if self.refused_until_ms > now_ms {
            return Err(CallError::Nothing(NothingWhy::OverShare));
        }
        let unknown = producers.keys().filter(|id| !self.producers.contains_key(*id)).count();
        if unknown > 0 && (self.producers.len() + unknown) as u64 > limits.producers_max {
            return Ok((Answer::ProducersFull, None));
        }
        // L19: a tombstone for each deletion. One that first stands here needs room.
        let first = self.next(now_ms, u64::from(batch.count));
        let at = |index: u32| first.back(u64::from(batch.count - 1 - index));
        let mut tombstones = self.tombstones.clone();
        let mut full = Vec::new();
        for deletion in &batch.deletions {
            let (session, was) = (deletion.session.clone(), deletion.was.clone());
            bury(&mut tombstones, Tombstone { session, position: at(deletion.index), was });
            if deletion.was.is_empty() && tombstones.len() > limits.tombstones_max {
                tombstones.pop();
                full.push(Refusal { index: deletion.index, why: RefusalWhy::DeletionsFull });
            }
        }
        if !full.is_empty() {
            return Ok((Answer::Refused(full), None));
        }
        let again = batch.deletions.iter().rfind(|deletion| deletion.session.is_empty());
        let cut = again.map(|deletion| self.head(incarnation).taken_by(&deletion.was));

        // L4.5 and L4.6: the entry, and the books.
        let last = self.next(now_ms, u64::from(batch.count));
        let entry = self.push(last, batch.payload.len() as u64, batch.payload.len(), Body::Events(events));
        let writer = Writer { number: call.number, used_ms: last.ms(), last, count: batch.count };
        self.writers.insert(Arc::clone(&call.writer), writer);
        for producer in producers.values_mut() {
            producer.used_ms = last.ms();
        }
        self.producers.extend(producers);
        self.tombstones = tombstones;
        if let Some(cut) = cut {
            self.take_back(cut);
            let head = self.head("");
            self.guards.retain(|_, guard| !head.is_deleted(guard.position));
        }
        for step in &batch.guards {
            let until_ms = step.until_ms.min(now_ms.saturating_add(limits.guard_ms_max));
            if until_ms > now_ms {
                let guard = Guard { until_ms, position: at(step.index), note: step.note.clone() };
                self.guards.insert(step.key.clone(), guard);
            }
        }
        let ids = batch.ids.iter().map(|(index, id)| (Arc::from(id.as_str()), at(*index))).collect();
        self.ids.remember(last.ms(), ids, call.dedupe);
        Ok((Answer::Appended { last, count: batch.count, publish_error: None }, Some(entry)))
    }

    /// Opens the branch `fresh` (docs/log.md L8): birth has no entry, a fork has one.
    fn open(&mut self, now_ms: u64, incarnation: &str, fresh: Branch, limits: &Limits) -> Option<Entry> {
        incarnation.clone_into(&mut self.opened_under);
        if self.branch.is_none() {
            self.format = LOG_FORMAT;
            self.branch = fresh;
            return None;
        }
        Some(self.fork(now_ms, fresh, ForkKind::Failover, limits))
    }

    fn fork(&mut self, now_ms: u64, fresh: Branch, kind: ForkKind, limits: &Limits) -> Entry {
        let note = ForkNote { closed: self.branch, survived: self.last, kind };
        self.branch = fresh;
        let from = self.next(now_ms, 1);
        self.forks.push(Fork { closed: note.closed, survived: note.survived, kind: note.kind, from });
        let over = self.forks.len().saturating_sub(limits.forks_max);
        self.forks.drain(..over);
        self.push(from, 0, note.to_text().len(), Body::Fork(note))
    }

    /// Deletes the project (docs/log.md L19): a fork, behind which nothing of before is left, its own entry neither.
    fn delete(&mut self, now_ms: u64, call: &AppendCall, limits: &Limits) -> (Answer, Entry) {
        let entry = self.fork(now_ms, call.fresh, ForkKind::Deleted, limits);
        let last = entry.position;
        self.empty();
        let writer = Writer { number: call.number, used_ms: last.ms(), last, count: 1 };
        self.writers.insert(Arc::clone(&call.writer), writer);
        (Answer::Appended { last, count: 1, publish_error: None }, entry)
    }

    /// The position of the last of `count` more events.
    fn next(&self, now_ms: u64, count: u64) -> Position {
        Position::new(now_ms.max(self.last.ms()), self.last.n() + count, self.branch)
    }

    fn push(&mut self, position: Position, adds: u64, bytes: usize, body: Body) -> Entry {
        self.total_bytes += adds;
        let entry = Entry { position, prev: self.last, total_bytes: self.total_bytes, body };
        self.last = position;
        self.entries.push_back(Arc::new(Kept { entry: entry.clone(), bytes }));
        entry
    }

    fn seen(&self, batch: &AppendBatch) -> Vec<Refusal> {
        let seen = batch.ids.iter().filter_map(|(index, id)| Some((*index, self.ids.first(id)?)));
        // What was deleted with the project before may come anew.
        let head = self.tombstones.iter().any(Tombstone::is_of_project).then(|| self.head(""));
        let seen = seen.filter(|(_, first)| head.as_ref().is_none_or(|head| !head.is_deleted(*first)));
        seen.map(|(index, first)| Refusal { index, why: RefusalWhy::Duplicate(first) }).collect()
    }

    /// Refusals by guards: somebody stands under the key, or comes before in the batch; or there are as many as may be.
    fn settled(&self, now_ms: u64, batch: &AppendBatch, limits: &Limits) -> Vec<Refusal> {
        let head = self.tombstones.iter().any(Tombstone::is_of_project).then(|| self.head(""));
        let mut firsts: HashMap<&str, Position> = HashMap::new();
        let mut refusals = Vec::new();
        let mut kept = self.guards.len() as u64;
        for step in &batch.guards {
            let stands = self.guards.get(&step.key).filter(|guard| guard.until_ms > now_ms);
            let stands = stands.map(|guard| guard.position);
            let stands = stands.filter(|first| head.as_ref().is_none_or(|head| !head.is_deleted(*first)));
            let first = stands.or_else(|| firsts.get(&*step.key).copied());
            if let Some(first) = first {
                refusals.push(Refusal { index: step.index, why: RefusalWhy::Settled(first) });
            } else if !self.guards.contains_key(&step.key) {
                // Final answers to commands have room where others have none.
                let share = if step.key.starts_with("c:") { FINAL_GUARDS } else { 1 };
                kept += 1;
                if kept > limits.guards_max * share {
                    refusals.push(Refusal { index: step.index, why: RefusalWhy::GuardsFull });
                }
            }
            firsts.insert(&step.key, first.unwrap_or(self.last));
        }
        refusals
    }
}

fn decode(batch: &AppendBatch) -> Result<Vec<wire::Event>, EntryError> {
    let events = wire::Batch::decode(batch.payload.clone()).map_err(|_| EntryError("not a batch"))?.events;
    if events.is_empty() || events.len() != batch.count as usize {
        return Err(EntryError("count"));
    }
    let indexes = batch.ids.iter().map(|(index, _)| *index).chain(batch.producers.iter().map(|step| step.index));
    let indexes = indexes.chain(batch.deletions.iter().map(|deletion| deletion.index));
    let indexes = indexes.chain(batch.guards.iter().map(|guard| guard.index));
    if indexes.max().is_some_and(|index| index >= batch.count) {
        return Err(EntryError("index"));
    }
    Ok(events)
}
