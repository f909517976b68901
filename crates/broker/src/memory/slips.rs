//! Slips in memory. `lua/slip.lua` does the same in Redis.

use std::collections::{BTreeMap, HashMap};

use futures_util::future::{BoxFuture, FutureExt as _};
use parking_lot::Mutex;

use super::MemoryBroker;
use crate::CallError;
use crate::slip::{Done, LINES_BYTES_MAX, LINES_MAX, NAME_BYTES_MAX, Slip, Slips, Turn};

/// Slips below which those whose time is over are not looked for.
const LOOK_AT_MIN: usize = 1_024;

/// By name.
#[derive(Debug, Default)]
pub(super) struct SlipBooks(Mutex<Books>);

#[derive(Debug, Default)]
struct Books {
    slips: HashMap<String, Kept>,
    /// At so many, those whose time is over are dropped.
    look_at: usize,
}

#[derive(Debug, Default)]
struct Kept {
    until_ms: u64,
    /// Number of the last line.
    last: u64,
    fields: BTreeMap<String, String>,
    lines: BTreeMap<u64, String>,
}

impl SlipBooks {
    /// As a restart leaves it.
    pub(super) fn clear(&self) {
        *self.0.lock() = Books::default();
    }

    fn turn(&self, now_ms: u64, name: String, turn: Turn) -> Option<Slip> {
        let mut books = self.0.lock();
        if books.slips.len() >= books.look_at.max(LOOK_AT_MIN) {
            books.slips.retain(|_, kept| kept.until_ms > now_ms);
            books.look_at = books.slips.len() * 2;
        }
        if books.slips.get(&name).is_some_and(|kept| kept.until_ms <= now_ms) {
            books.slips.remove(&name);
        }
        if !turn.makes && !books.slips.contains_key(&name) {
            return None;
        }
        let kept = books.slips.entry(name).or_insert_with(|| Kept { until_ms: now_ms + 1, ..Kept::default() });
        let fields_only = turn.fields_only;
        let done = kept.turn(now_ms, turn);
        let lines = if fields_only { BTreeMap::new() } else { kept.lines.clone() };
        Some(Slip { done, fields: kept.fields.clone(), lines })
    }
}

impl Kept {
    fn turn(&mut self, now_ms: u64, turn: Turn) -> Done {
        if turn.only.is_some_and(|(name, value)| self.fields.get(&name) != Some(&value)) {
            return Done::NotSo;
        }
        let left = || self.lines.range(turn.told.saturating_add(1)..).map(|(_, line)| line).chain(&turn.lines);
        let grows = !turn.lines.is_empty();
        if grows && (left().count() > LINES_MAX || left().map(String::len).sum::<usize>() > LINES_BYTES_MAX) {
            return Done::NoRoom;
        }
        if turn.ttl_ms > 0 {
            self.until_ms = now_ms.saturating_add(turn.ttl_ms);
        }
        self.fields.extend(turn.set);
        self.lines.retain(|number, _| *number > turn.told);
        for line in turn.lines {
            self.last += 1;
            self.lines.insert(self.last, line);
        }
        Done::All
    }
}

impl Slips for MemoryBroker {
    fn turn(&self, name: String, turn: Turn) -> BoxFuture<'_, Result<Option<Slip>, CallError>> {
        assert!(name.len() <= NAME_BYTES_MAX, "a slip's name has at most {NAME_BYTES_MAX} bytes");
        async move { Ok(self.0.slips.turn(self.0.clock.now_ms(), name, turn)) }.boxed()
    }
}
