//! What a caller may do. Until there are rights every caller has the open grant; the seam is in every handler already.

use std::sync::Arc;

use crate::project::Project;
use crate::wire;

/// The rights of one caller, and who it is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Grant {
    /// The stable id that replies are addressed to (`to`): never a connection.
    viewer: Arc<str>,
}

impl Grant {
    /// Everything, for the viewer of this id.
    pub fn open(viewer: impl Into<Arc<str>>) -> Grant {
        Grant { viewer: viewer.into() }
    }

    /// The stable viewer id.
    pub fn viewer(&self) -> &str {
        &self.viewer
    }

    /// May it read this project?
    pub fn may_read(&self, _project: &Project) -> bool {
        true
    }

    /// May it publish to this project?
    pub fn may_publish(&self, _project: &Project) -> bool {
        true
    }
}

/// The one question that every read path asks of every event before anything else looks at it.
pub fn visible(event: &wire::Event, grant: &Grant) -> bool {
    event.to.is_empty() || event.to == grant.viewer()
}
