//! The bare encoding, for whatever puts events into an array of its own: answers to polls, pages of history, webhooks.

use tidings_protocol::compact::CompactItem;
use tidings_protocol::frames::{self, Marks};
use tidings_protocol::gap::Gap;
use tidings_protocol::position::Position;
use tidings_protocol::project::Project;
use tidings_protocol::wire;

use super::{Encoding, Slot};
use crate::snapshot::Snapshot;

/// Bare JSON objects with a comma behind each, for arrays; a reader that follows snapshots
/// or `at` does not use it.
#[derive(Debug, Clone, Copy)]
pub struct Json;

impl Encoding for Json {
    fn slot(&self) -> Slot {
        Slot::Json
    }

    fn event(&self, project: &Project, position: Position, event: &wire::Event, marks: Marks<'_>, out: &mut Vec<u8>) {
        frames::write_event(project, position, event, marks, out);
        out.push(b',');
    }

    fn gap(&self, project: &Project, gap: &Gap, out: &mut Vec<u8>) {
        frames::write_gap(project, gap, out);
        out.push(b',');
    }

    fn snapshot(&self, _project: &Project, _snapshot: &Snapshot, _out: &mut Vec<u8>) {}

    fn compacted(&self, project: &Project, _position: Position, events: &[CompactItem<'_>], out: &mut Vec<u8>) {
        frames::write_compacted(project, events, out);
        out.push(b',');
    }

    fn at(&self, _project: &Project, _position: Position, _out: &mut Vec<u8>) {}
}
