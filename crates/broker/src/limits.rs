//! Bounds that both implementations keep alike. They are inputs of the append step, so that tests can make them small.

use tidings_protocol::head::{FORKS_MAX, TOMBSTONES_MAX};

use crate::{PRODUCER_RANGES_MAX, PRODUCERS_MAX};

/// Entries that one checkpoint step trims at most; the next step goes on.
pub const TRIM_ENTRIES_MAX: u64 = 1_000;

/// Encoded bytes after which a checkpoint step stops trimming; the next step goes on.
pub const TRIM_BYTES_MAX: u64 = 8 * 1024 * 1024;

/// The largest number that a producer may use as epoch or sequence: scripts count in doubles.
pub const SEQUENCE_MAX: u64 = (1 << 53) - 1;

/// How long behind a deletion that was put back events may come that were before it: its tombstone stays until the log holds
/// nothing of that time.
pub const TOMBSTONE_MS: u64 = 10 * 60 * 1000;

/// Bounds of one append.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Limits {
    /// Producers that a project remembers.
    pub(crate) producers_max: u64,
    /// Ranges of sequence numbers kept per producer.
    pub(crate) ranges_max: usize,
    /// Forks that meta lists.
    pub(crate) forks_max: usize,
    /// Deleted sessions that meta lists.
    pub(crate) tombstones_max: usize,
    /// How much longer than its own entry the tombstone of a deletion that was put back stays.
    pub(crate) tombstone_ms: u64,
    /// Entries that one checkpoint step trims.
    pub(crate) trim_entries_max: u64,
    /// Encoded bytes after which it stops trimming.
    pub(crate) trim_bytes_max: u64,
    /// Longest time for which a guard is remembered.
    pub(crate) guard_ms_max: u64,
    /// Guards that a project keeps; of final answers, [`FINAL_GUARDS`] times as many.
    pub(crate) guards_max: u64,
}

impl Default for Limits {
    fn default() -> Limits {
        Limits {
            producers_max: PRODUCERS_MAX,
            ranges_max: PRODUCER_RANGES_MAX,
            forks_max: FORKS_MAX,
            tombstones_max: TOMBSTONES_MAX,
            tombstone_ms: TOMBSTONE_MS,
            trim_entries_max: TRIM_ENTRIES_MAX,
            trim_bytes_max: TRIM_BYTES_MAX,
            guard_ms_max: GUARD_MS_MAX,
            guards_max: GUARDS_MAX,
        }
    }
}

/// Longest time for which a guard is remembered, in milliseconds.
pub const GUARD_MS_MAX: u64 = 8 * 24 * 60 * 60 * 1_000;

/// Guards that a project keeps, those whose time is over included until they are swept. An event that would need one more is
/// refused; one that is the final answer to a command only when there are [`FINAL_GUARDS`] times as many, so that decisions,
/// which are kept for long, keep no command from being answered.
pub const GUARDS_MAX: u64 = 50_000;

/// See [`GUARDS_MAX`].
pub const FINAL_GUARDS: u64 = 10;

/// Longest key of a guard, in bytes: a class, a digest, and a name of its own.
pub const GUARD_KEY_BYTES_MAX: usize = 192;

/// Longest note of a guard, in bytes.
pub const GUARD_NOTE_BYTES_MAX: usize = 512;
