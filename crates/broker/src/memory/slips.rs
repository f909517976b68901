//! Slips in memory. `lua/slip.lua` does the same in Redis.

use std::collections::HashMap;

use futures_util::future::{BoxFuture, FutureExt as _};
use parking_lot::Mutex;

use super::MemoryBroker;
use crate::CallError;
use crate::slip::{LINES_MAX, NAME_BYTES_MAX, Slip, Slips, Turn};

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
    slip: Slip,
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
        let kept = books.slips.entry(name).or_default();
        kept.until_ms = now_ms.saturating_add(turn.ttl_ms.max(1));
        kept.slip.fields.extend(turn.set);
        kept.slip.lines.retain(|number, _| *number > turn.told);
        for line in turn.lines {
            if kept.slip.lines.len() < LINES_MAX {
                kept.last += 1;
                kept.slip.lines.insert(kept.last, line);
            }
        }
        Some(kept.slip.clone())
    }
}

impl Slips for MemoryBroker {
    fn turn(&self, name: String, turn: Turn) -> BoxFuture<'_, Result<Option<Slip>, CallError>> {
        assert!(name.len() <= NAME_BYTES_MAX, "a slip's name has at most {NAME_BYTES_MAX} bytes");
        async move { Ok(self.0.slips.turn(self.0.clock.now_ms(), name, turn)) }.boxed()
    }
}
