//! Gaps: the honest word for what a viewer will not get.

use serde::{Deserialize, Serialize};

use crate::position::Position;

/// Why a stretch of the log is missing. The strings are wire contract and metric labels.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum GapCause {
    /// The project or the session was deleted.
    Deleted,
    /// The store changed; acknowledged events may be missing.
    Failover,
    /// The log starts anew; the position means nothing in it.
    LogReset,
    /// The producer says that it dropped events before they reached ingest.
    ProducerDropped,
    /// Retention removed the stretch.
    Trimmed,
}

impl GapCause {
    /// Every cause, for metrics and tables.
    pub const ALL: [GapCause; 5] =
        [GapCause::Deleted, GapCause::Failover, GapCause::LogReset, GapCause::ProducerDropped, GapCause::Trimmed];

    /// The word on the wire.
    pub fn as_str(self) -> &'static str {
        match self {
            GapCause::Deleted => "deleted",
            GapCause::Failover => "failover",
            GapCause::LogReset => "log_reset",
            GapCause::ProducerDropped => "producer_dropped",
            GapCause::Trimmed => "trimmed",
        }
    }

    /// The cause that a word names.
    pub fn parse(word: &str) -> Option<GapCause> {
        GapCause::ALL.into_iter().find(|cause| cause.as_str() == word)
    }
}

/// A missing stretch: both bounds are exclusive.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Gap {
    /// The last position before the stretch that the reader had.
    pub after: Position,
    /// The first position behind it; [`Position::ZERO`] when the stretch reaches to the head.
    pub before: Position,
    /// Why.
    pub cause: GapCause,
    /// How many events, where that is known exactly.
    pub lost: Option<u64>,
    /// False: perhaps nothing is missing, or what is counted may have been told already.
    pub certain: bool,
    /// Where to resume.
    pub position: Position,
}
