//! What happened in a run, so that runs are known to be worth something.

/// Counts of one run, or of many.
#[derive(Debug, Default, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Stats {
    pub(crate) acknowledged: u64,
    pub(crate) duplicates: u64,
    pub(crate) failovers: u64,
    pub(crate) lossy_failovers: u64,
    pub(crate) split_brains: u64,
    pub(crate) restarts: u64,
    pub(crate) forks: u64,
    pub(crate) crashes: u64,
    pub(crate) unanswered: u64,
    pub(crate) late: u64,
    pub(crate) put_back: u64,
    pub(crate) owed: u64,
    pub(crate) messages_lost: u64,
    pub(crate) told: u64,
    pub(crate) told_with_was: u64,
    pub(crate) told_seen: u64,
    pub(crate) told_again: u64,
    pub(crate) failover_gaps: u64,
    pub(crate) trimmed_gaps: u64,
    pub(crate) exact_gaps: u64,
    pub(crate) resets: u64,
    pub(crate) deleted_gaps: u64,
    pub(crate) deleted_again: u64,
    pub(crate) snapshots: u64,
    pub(crate) compacted: u64,
    pub(crate) merged: u64,
    pub(crate) checkpoints: u64,
    pub(crate) reconnects: u64,
    pub(crate) gone: u64,
}

macro_rules! sum {
    ($($field:ident)*) => {
        impl std::ops::AddAssign for Stats {
            fn add_assign(&mut self, other: Stats) {
                $(self.$field += other.$field;)*
            }
        }
    };
}

sum!(acknowledged duplicates failovers lossy_failovers split_brains restarts forks crashes unanswered late put_back owed
    messages_lost told told_with_was told_seen told_again failover_gaps trimmed_gaps exact_gaps resets deleted_gaps deleted_again
    snapshots compacted merged checkpoints reconnects gone);
