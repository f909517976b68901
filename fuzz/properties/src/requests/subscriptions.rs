//! The shape of a checked wish, in place of the gateway's module of this name, which opens topics too.

use tidings_protocol::filter::Filter;
use tidings_protocol::frames::{After, Lag, SnapshotWish};
use tidings_protocol::project::Project;

/// A subscription that was asked for.
#[derive(Debug, Clone)]
pub(super) struct Wish {
    pub(super) project: Project,
    pub(super) after: After,
    pub(super) filter: Filter,
    pub(super) lag: Lag,
    pub(super) snapshot: SnapshotWish,
    pub(super) presence: bool,
    pub(super) reference: Option<String>,
}
