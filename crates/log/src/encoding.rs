//! Encodings: how events become the bytes of one transport. The native ones live in the gateway; a dialect brings its own.

use tidings_protocol::compact::CompactItem;
use tidings_protocol::frames::Marks;
use tidings_protocol::gap::Gap;
use tidings_protocol::position::Position;
use tidings_protocol::project::Project;
use tidings_protocol::wire;

use crate::snapshot::Snapshot;

/// Encodings that a gateway can share frames of at the same time.
pub const SLOTS: usize = 4;

/// The place of an encoding among an entry's shared frames.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Slot {
    /// WebSocket, native JSON.
    WebSocket = 0,
    /// The same, compressed.
    WebSocketDeflate = 1,
    /// Server-sent events.
    Sse = 2,
    /// Bare JSON objects, each with a comma behind it.
    Json = 3,
}

/// Turns events and what lies between them into ready bytes. Pure: the same input gives the same bytes, so that frames
/// can be shared by all viewers of an encoding.
pub trait Encoding: Send + Sync + 'static {
    /// Where the shared frames are kept.
    fn slot(&self) -> Slot;

    /// One event.
    fn event(&self, project: &Project, position: Position, event: &wire::Event, marks: Marks<'_>, out: &mut Vec<u8>);

    /// A gap.
    fn gap(&self, project: &Project, gap: &Gap, out: &mut Vec<u8>);

    /// A snapshot.
    fn snapshot(&self, project: &Project, snapshot: &Snapshot, out: &mut Vec<u8>);

    /// A compacted stretch that ends at `position` (docs/log.md L15).
    fn compacted(&self, project: &Project, position: Position, events: &[CompactItem<'_>], out: &mut Vec<u8>);

    /// Nothing for this viewer up to `position`.
    fn at(&self, project: &Project, position: Position, out: &mut Vec<u8>);
}
