//! Snapshots: the fold of a log up to a position, as JSON, shared by all who join there.

use std::sync::{Arc, OnceLock};

use bytes::Bytes;
use serde_json::Value;
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
    /// Parsed, for those who look into it.
    value: OnceLock<Value>,
}

/// What a parsed state takes for each byte of its text, about.
const PARSED_BYTES_PER_BYTE: usize = 6;

impl Snapshot {
    /// A snapshot of this state.
    pub fn new(position: Position, incomplete_before: Option<Position>, state: Bytes) -> Arc<Snapshot> {
        Arc::new(Snapshot { position, incomplete_before, state, frames: Default::default(), value: OnceLock::new() })
    }

    /// The snapshot's frame in this encoding; made by the first who asks. In a dialect it is nobody's but the reader's.
    pub fn frame(&self, project: &Project, encoding: &dyn Encoding) -> Bytes {
        let make = || {
            let mut out = Vec::with_capacity(self.state.len() + 256);
            encoding.snapshot(project, self, &mut out);
            Bytes::from(out)
        };
        match encoding.slot().place() {
            Ok(index) => self.frames[index].get_or_init(make).clone(),
            Err(_) => make(),
        }
    }

    /// The `state` object; parsed by the first who asks, for all.
    pub fn value(&self) -> &Value {
        self.value.get_or_init(|| serde_json::from_slice(&self.state).unwrap_or_default())
    }

    /// Bytes that its texts hold, about.
    pub fn bytes(&self) -> usize {
        let parsed = self.value.get().map_or(0, |_| PARSED_BYTES_PER_BYTE * self.state.len());
        self.state.len() + parsed
    }
}
