//! Snapshots: the fold of a log up to a position, as JSON, shared by all who join there.

use std::sync::{Arc, OnceLock};

use bytes::Bytes;
use tidings_protocol::position::Position;
use tidings_protocol::project::Project;

use crate::encoding::{Encoding, SLOTS};

/// The state of a project, exact at a position.
#[derive(Debug)]
pub struct Snapshot {
    /// Where it is true; the stream goes on from here.
    pub position: Position,
    /// Events before this may be missing from the state: a fold had failed and the log was trimmed all the same.
    pub incomplete_before: Option<Position>,
    /// The `state` object.
    pub state: Bytes,
    frames: [OnceLock<Bytes>; SLOTS],
}

impl Snapshot {
    /// A snapshot of this state.
    pub fn new(position: Position, incomplete_before: Option<Position>, state: Bytes) -> Arc<Snapshot> {
        Arc::new(Snapshot { position, incomplete_before, state, frames: Default::default() })
    }

    /// The snapshot's frame in this encoding; made by the first who asks.
    pub fn frame(&self, project: &Project, encoding: &dyn Encoding) -> Bytes {
        let frame = self.frames[encoding.slot() as usize].get_or_init(|| {
            let mut out = Vec::with_capacity(self.state.len() + 256);
            encoding.snapshot(project, self, &mut out);
            out.into()
        });
        frame.clone()
    }
}
