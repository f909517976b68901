//! What a step of the fold brings and is answered (docs/log.md L17), and what a checkpoint gives back.

use bytes::Bytes;
use tidings_protocol::head::Head;
use tidings_protocol::position::Position;

/// One step of the fold.
#[derive(Debug, Clone, PartialEq)]
pub struct CheckpointStep {
    /// Incarnation read together with `from` and the log.
    pub incarnation: String,
    /// Where the checkpoint stands (compared).
    pub from: Position,
    /// Where it will stand.
    pub to: Position,
    /// The newest deletion of the whole project that the fold knows of ([`Head::newest_project_deletion`], compared): one
    /// that was put back meanwhile may have left the checkpoint at the same place, and nothing in it.
    pub deletion: Option<Position>,
    /// Version of the fold's rules; a newer one in place refuses the step.
    pub version: u32,
    /// Fields to write; None deletes.
    pub fields: Vec<(String, Option<Bytes>)>,
    /// What the log keeps. Never trims above `to`, but for `hard`.
    pub retention: Retention,
    /// The fold failed: leave the checkpoint, and trim what exceeds twice the retention all the same.
    pub hard: bool,
}

/// How much of a log is kept; what exceeds any bound goes, entry by entry.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Retention {
    /// Events.
    pub events: u64,
    /// Encoded bytes.
    pub bytes: u64,
    /// Age in milliseconds, by the store's clock.
    pub age_ms: u64,
}

/// What became of a checkpoint step.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum CheckpointAnswer {
    /// Written and trimmed.
    Done {
        /// Entries trimmed.
        trimmed: u64,
        /// The step's bounds ended the trim: what is left exceeds the retention still, and the next step goes on.
        more: bool,
    },
    /// Another one moved it, or the store changed: read again.
    Moved,
    /// A newer version of the rules wrote it.
    NewerVersion(u32),
}

/// Which checkpoint fields to read.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Fields {
    /// All of them.
    All,
    /// These; absent ones are left out of the answer.
    Named(Vec<String>),
}

/// Checkpoint fields at a position.
#[derive(Debug, Clone, PartialEq)]
pub struct StateAt {
    /// Where the checkpoint stands ([`Position::ZERO`]: none yet).
    pub position: Position,
    /// Version of the rules that wrote it (0: none yet).
    pub version: u32,
    /// The fields.
    pub fields: Vec<(String, Bytes)>,
    /// The head at the same moment.
    pub head: Head,
}
