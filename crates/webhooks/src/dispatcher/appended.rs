//! Events as deliveries hold them: the same JSON as in an answer to a poll.

use tidings_log::encoding::{Encoding, Slot};
use tidings_log::snapshot::Snapshot;
use tidings_protocol::compact::CompactItem;
use tidings_protocol::frames::{self, Marks};
use tidings_protocol::gap::Gap;
use tidings_protocol::position::Position;
use tidings_protocol::project::Project;
use tidings_protocol::wire;

/// One JSON object for each event or gap, with a comma behind it. Deliveries are never compacted, and follow no snapshots.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Json;

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

    fn compacted(&self, _project: &Project, _position: Position, _events: &[CompactItem<'_>], _out: &mut Vec<u8>) {}

    fn at(&self, _project: &Project, _position: Position, _out: &mut Vec<u8>) {}
}

/// When the last event of a frame was appended, in milliseconds since the Unix epoch by the log's clock; none: it does not say.
pub(crate) fn appended_ms(frame: &[u8]) -> Option<u64> {
    const MEMBER: &[u8] = b"\"position\":\"";
    // Quotes inside of strings are escaped, and it is the last member of this name: what a runner sent comes before.
    let at = frame.windows(MEMBER.len()).rposition(|bytes| bytes == MEMBER)? + MEMBER.len();
    let digits: Vec<u8> = frame[at..].iter().copied().take_while(u8::is_ascii_digit).collect();
    std::str::from_utf8(&digits).ok()?.parse().ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_frame_says_when_it_was_appended() {
        let mut frame = Vec::new();
        let event =
            wire::Event { json: r#"{"type":"log","data":{"position":"7-1.x"}}"#.into(), ..wire::Event::default() };
        let position = "1763630000123-7.k3f9a7c2m4xq".parse().expect("a position");
        Json.event(&"demo".parse().expect("a name"), position, &event, Marks::default(), &mut frame);
        assert_eq!(appended_ms(&frame), Some(1_763_630_000_123));
        assert_eq!((appended_ms(b"{}"), appended_ms(b"\"position\":\"")), (None, None));
    }
}
