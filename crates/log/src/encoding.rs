//! Encodings: how events become the bytes of one transport. Bare JSON is here; what frames it, and dialects, live in the
//! gateway.

mod json;

use std::sync::Arc;

use tidings_protocol::compact::CompactItem;
use tidings_protocol::frames::Marks;
use tidings_protocol::gap::Gap;
use tidings_protocol::position::Position;
use tidings_protocol::project::Project;
use tidings_protocol::wire;

use crate::snapshot::Snapshot;

pub use json::Json;

/// Native encodings: each has its place beside every entry.
pub(crate) const SLOTS: usize = 4;

/// The place of an encoding among an entry's shared frames.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Slot {
    /// WebSocket, native JSON.
    WebSocket,
    /// The same, compressed.
    WebSocketDeflate,
    /// Server-sent events.
    Sse,
    /// Bare JSON objects, each with a comma behind it.
    Json,
    /// A dialect in one of its variants, under a number of its own. A place is made by the first who wants it.
    Dialect(u16),
}

impl Slot {
    /// The index among native encodings, or the number of a dialect's.
    pub(crate) fn place(self) -> Result<usize, u16> {
        match self {
            Slot::WebSocket => Ok(0),
            Slot::WebSocketDeflate => Ok(1),
            Slot::Sse => Ok(2),
            Slot::Json => Ok(3),
            Slot::Dialect(number) => Err(number),
        }
    }
}

/// What an event makes due: something that its readers are to be told behind it, and that is made for each of them. A word
/// of the encoding's own; equal words are due once.
pub type Due = Arc<str>;

/// Turns events and what lies between them into ready bytes. Pure: the same input gives the same bytes, so that frames
/// can be shared by all viewers of an encoding.
pub trait Encoding: Send + Sync + 'static {
    /// Where the shared frames are kept.
    fn slot(&self) -> Slot;

    /// One event. In a dialect that can be nothing at all, or several frames.
    fn event(&self, project: &Project, position: Position, event: &wire::Event, marks: Marks<'_>, out: &mut Vec<u8>);

    /// One event, and what it makes due: in a dialect, whose readers attend to that ([`crate::viewer::Viewer::attend`]).
    fn tell(
        &self,
        project: &Project,
        position: Position,
        event: &wire::Event,
        marks: Marks<'_>,
        out: &mut Vec<u8>,
    ) -> Option<Due> {
        self.event(project, position, event, marks, out);
        None
    }

    /// A gap.
    fn gap(&self, project: &Project, gap: &Gap, out: &mut Vec<u8>);

    /// A snapshot.
    fn snapshot(&self, project: &Project, snapshot: &Snapshot, out: &mut Vec<u8>);

    /// A compacted stretch that ends at `position` (docs/log.md L15).
    fn compacted(&self, project: &Project, position: Position, events: &[CompactItem<'_>], out: &mut Vec<u8>);

    /// Nothing for this viewer up to `position`.
    fn at(&self, project: &Project, position: Position, out: &mut Vec<u8>);
}
