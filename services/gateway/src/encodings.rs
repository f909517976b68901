//! The native encodings: the same JSON as a WebSocket frame (plain or compressed), and as a server-sent event. Bare, it is
//! [`tidings_log::encoding::Json`].

use std::cell::RefCell;

use tidings_log::encoding::{Encoding, Slot};
use tidings_log::snapshot::Snapshot;
use tidings_protocol::compact::CompactItem;
use tidings_protocol::frames::{self, Marks};
use tidings_protocol::gap::Gap;
use tidings_protocol::position::Position;
use tidings_protocol::project::Project;
use tidings_protocol::wire;
use tidings_ws::deflate::{Deflater, WindowBits};
use tidings_ws::frame::{self, Opcode};

/// Payloads below this are not worth compressing: a typical event of 200 bytes shrinks by a seventh.
pub(crate) const DEFLATE_BYTES_MIN: usize = 512;

/// zlib level: frames are compressed once and shared, but at the time of fan-out.
const DEFLATE_LEVEL: u32 = 1;

thread_local! {
    static SCRATCH: RefCell<Vec<u8>> = const { RefCell::new(Vec::new()) };
    static DEFLATER: RefCell<Deflater> = RefCell::new(Deflater::new(DEFLATE_LEVEL, WindowBits::MAX));
}

/// Native frames (`tidings.v1`) as WebSocket text messages.
#[derive(Debug, Clone, Copy)]
pub(crate) struct WebSocket {
    /// Compressed, for those who negotiated it.
    pub deflate: bool,
}

impl WebSocket {
    /// Writes what `payload` writes as one message.
    pub(crate) fn frame(self, out: &mut Vec<u8>, payload: impl FnOnce(&mut Vec<u8>)) {
        SCRATCH.with_borrow_mut(|scratch| {
            scratch.clear();
            payload(scratch);
            if self.deflate && scratch.len() >= DEFLATE_BYTES_MIN {
                DEFLATER.with_borrow_mut(|deflater| deflater.write(out, Opcode::Text, scratch));
            } else {
                frame::write_header(out, Opcode::Text, false, scratch.len());
                out.extend_from_slice(scratch);
            }
        });
    }
}

impl Encoding for WebSocket {
    fn slot(&self) -> Slot {
        if self.deflate { Slot::WebSocketDeflate } else { Slot::WebSocket }
    }

    fn event(&self, project: &Project, position: Position, event: &wire::Event, marks: Marks<'_>, out: &mut Vec<u8>) {
        self.frame(out, |json| {
            json.extend_from_slice(b"{\"op\":\"event\",\"event\":");
            frames::write_event(project, position, event, marks, json);
            json.push(b'}');
        });
    }

    fn gap(&self, project: &Project, gap: &Gap, out: &mut Vec<u8>) {
        self.frame(out, |json| {
            json.extend_from_slice(b"{\"op\":\"event\",\"event\":");
            frames::write_gap(project, gap, json);
            json.push(b'}');
        });
    }

    fn snapshot(&self, project: &Project, snapshot: &Snapshot, out: &mut Vec<u8>) {
        self.frame(out, |json| {
            json.extend_from_slice(b"{\"op\":\"snapshot\",");
            write_snapshot_members(project, snapshot, json);
            json.push(b'}');
        });
    }

    fn compacted(&self, project: &Project, position: Position, events: &[CompactItem<'_>], out: &mut Vec<u8>) {
        self.frame(out, |json| {
            json.extend_from_slice(b"{\"op\":\"events\",\"compacted\":true,");
            write_position(project, position, json);
            json.extend_from_slice(b",\"events\":[");
            frames::write_compacted(project, events, json);
            json.extend_from_slice(b"]}");
        });
    }

    fn at(&self, project: &Project, position: Position, out: &mut Vec<u8>) {
        self.frame(out, |json| {
            json.extend_from_slice(b"{\"op\":\"at\",");
            write_position(project, position, json);
            json.push(b'}');
        });
    }
}

/// Native events as server-sent events: `id` is the position; events are unnamed, so that `onmessage` sees them.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Sse;

impl Sse {
    /// One block. JSON holds no line breaks outside of strings, and in them they are escaped.
    fn block(name: &str, position: Position, out: &mut Vec<u8>, data: impl FnOnce(&mut Vec<u8>)) {
        if !name.is_empty() {
            out.extend_from_slice(b"event: ");
            out.extend_from_slice(name.as_bytes());
            out.push(b'\n');
        }
        out.extend_from_slice(b"id: ");
        out.extend_from_slice(position.to_string().as_bytes());
        out.extend_from_slice(b"\ndata: ");
        data(out);
        out.extend_from_slice(b"\n\n");
    }
}

impl Encoding for Sse {
    fn slot(&self) -> Slot {
        Slot::Sse
    }

    fn event(&self, project: &Project, position: Position, event: &wire::Event, marks: Marks<'_>, out: &mut Vec<u8>) {
        let name = if event.gap.is_some() { "gap" } else { "" };
        Sse::block(name, position, out, |data| frames::write_event(project, position, event, marks, data));
    }

    fn gap(&self, project: &Project, gap: &Gap, out: &mut Vec<u8>) {
        Sse::block("gap", gap.position, out, |data| frames::write_gap(project, gap, data));
    }

    fn snapshot(&self, project: &Project, snapshot: &Snapshot, out: &mut Vec<u8>) {
        Sse::block("snapshot", snapshot.position, out, |data| {
            data.push(b'{');
            write_snapshot_members(project, snapshot, data);
            data.push(b'}');
        });
    }

    fn compacted(&self, project: &Project, position: Position, events: &[CompactItem<'_>], out: &mut Vec<u8>) {
        Sse::block("events", position, out, |data| {
            data.extend_from_slice(b"{\"compacted\":true,");
            write_position(project, position, data);
            data.extend_from_slice(b",\"events\":[");
            frames::write_compacted(project, events, data);
            data.extend_from_slice(b"]}");
        });
    }

    fn at(&self, _project: &Project, position: Position, out: &mut Vec<u8>) {
        out.extend_from_slice(b"id: ");
        out.extend_from_slice(position.to_string().as_bytes());
        out.extend_from_slice(b"\n\n");
    }
}

fn write_position(project: &Project, position: Position, json: &mut Vec<u8>) {
    use std::io::Write as _;
    // Writing to a Vec cannot fail; names of projects and positions need no escaping by their grammar.
    let _ = write!(json, "\"project\":\"{project}\",\"position\":\"{position}\"");
}

/// `project`, `position`, `incomplete_before` and `state` of a snapshot, without the braces around them.
pub(crate) fn write_snapshot_members(project: &Project, snapshot: &Snapshot, json: &mut Vec<u8>) {
    use std::io::Write as _;
    write_position(project, snapshot.position, json);
    if let Some(before) = snapshot.incomplete_before {
        let _ = write!(json, ",\"incomplete_before\":\"{before}\"");
    }
    json.extend_from_slice(b",\"state\":");
    json.extend_from_slice(&snapshot.state);
}
