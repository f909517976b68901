//! Time and ids from outside: the wall clock, and ULIDs that grow within one request.

use std::time::{SystemTime, UNIX_EPOCH};

use ulid::{Generator, Ulid};

/// Milliseconds since the Unix epoch.
pub(crate) fn unix_ms() -> u64 {
    let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    u64::try_from(since.as_millis()).unwrap_or(u64::MAX)
}

/// Ids for events that have none.
#[derive(Default)]
pub(crate) struct Ids(Generator);

impl Ids {
    /// A new one, above those before it.
    pub(crate) fn next(&mut self) -> String {
        // After 2^80 ids in one millisecond a fresh one need not be above the others.
        self.0.generate().unwrap_or_else(|_| Ulid::new()).to_string()
    }
}
