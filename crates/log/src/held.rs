//! Entries as a gateway holds them: decoded once, encoded at most once per encoding, shared by ring, pages and viewers.

use std::ops::Range;
use std::sync::{Arc, OnceLock};

use bytes::Bytes;
use tidings_protocol::entry::{Body, Entry, ForkNote};
use tidings_protocol::frames::Marks;
use tidings_protocol::position::Position;
use tidings_protocol::project::Project;
use tidings_protocol::wire;

use crate::encoding::{Encoding, SLOTS};
use crate::traced::Traced;

/// An entry and its encodings. Never `Body::Elsewhere`.
#[derive(Debug)]
pub struct Held {
    project: Project,
    entry: Entry,
    /// Bytes that the decoded entry holds, about.
    bytes: usize,
    /// Some event is for one viewer only.
    private: bool,
    /// Some event stood elsewhere before a fork.
    healed: bool,
    /// Some event is of a sampled trace.
    traced: Option<Box<Traced>>,
    encodings: [OnceLock<Frames>; SLOTS],
}

/// The frames of an entry's events in one encoding: one stretch of bytes, and where each frame ends in it.
#[derive(Debug)]
pub struct Frames {
    bytes: Bytes,
    ends: Vec<u32>,
}

impl Frames {
    /// The frames of these events, without a copy.
    pub fn slice(&self, events: Range<usize>) -> Bytes {
        let start = if events.start == 0 { 0 } else { self.ends[events.start - 1] as usize };
        self.bytes.slice(start..self.ends[events.end - 1] as usize)
    }

    /// Where the stretch of frames that starts at `from` must end so as not to pass `bytes` (at least one frame).
    pub fn fit(&self, from: usize, bytes: usize) -> usize {
        let start = if from == 0 { 0 } else { self.ends[from - 1] as usize };
        let fitting = self.ends[from..].partition_point(|end| *end as usize - start <= bytes);
        from + fitting.max(1)
    }
}

/// What an event weighs in memory beside its payload: the decoded struct and its strings, about.
const EVENT_OVERHEAD_BYTES: usize = 400;

impl Held {
    /// Takes an entry that was read or heard whole.
    pub fn new(project: &Project, entry: Entry) -> Arc<Held> {
        debug_assert!(!matches!(entry.body, Body::Elsewhere(_)), "an announced entry must be read first");
        let events = match &entry.body {
            Body::Events(events) => events.as_slice(),
            Body::Fork(_) | Body::Elsewhere(_) => &[],
        };
        let bytes = events.iter().map(|event| EVENT_OVERHEAD_BYTES + event.json.len()).sum::<usize>();
        let private = events.iter().any(|event| !event.to.is_empty());
        let healed = events.iter().any(|event| !event.was.is_empty());
        Arc::new(Held {
            project: project.clone(),
            bytes: bytes + EVENT_OVERHEAD_BYTES,
            private,
            healed,
            traced: Traced::of(events),
            entry,
            encodings: Default::default(),
        })
    }

    /// The project.
    pub fn project(&self) -> &Project {
        &self.project
    }

    /// The entry.
    pub fn entry(&self) -> &Entry {
        &self.entry
    }

    /// Its events; none for a fork.
    pub fn events(&self) -> &[wire::Event] {
        match &self.entry.body {
            Body::Events(events) => events,
            Body::Fork(_) | Body::Elsewhere(_) => &[],
        }
    }

    /// The fork, if it is one.
    pub fn fork(&self) -> Option<&ForkNote> {
        match &self.entry.body {
            Body::Fork(note) => Some(note),
            Body::Events(_) | Body::Elsewhere(_) => None,
        }
    }

    /// Position of its last event.
    pub fn position(&self) -> Position {
        self.entry.position
    }

    /// Whether each event is for everyone and stands here for the first time, so that nobody needs a second look.
    pub fn is_plain(&self) -> bool {
        !self.private && !self.healed
    }

    /// What is kept for the spans of its deliveries; none: nothing of it is traced.
    pub fn traced(&self) -> Option<&Traced> {
        self.traced.as_deref()
    }

    /// The event frames in this encoding; made by the first who asks.
    pub fn frames(&self, encoding: &dyn Encoding) -> &Frames {
        self.encodings[encoding.slot() as usize].get_or_init(|| {
            let events = self.events();
            let mut bytes = Vec::with_capacity(events.iter().map(|event| event.json.len() + 160).sum());
            let mut ends = Vec::with_capacity(events.len());
            for (index, event) in events.iter().enumerate() {
                encoding.event(&self.project, self.entry.position_of(index), event, Marks::default(), &mut bytes);
                ends.push(u32::try_from(bytes.len()).expect("an entry is far below 4 GiB"));
            }
            Frames { bytes: bytes.into(), ends }
        })
    }

    /// Bytes held now, encodings included.
    pub fn bytes(&self) -> usize {
        self.bytes + self.encodings.iter().filter_map(OnceLock::get).map(|frames| frames.bytes.len()).sum::<usize>()
    }

    /// Bytes of payload, the same whatever was encoded since: what rings and pages are bounded by.
    ///
    /// Encodings at most double it per encoding in use; budgets are set with that in mind.
    pub fn payload_bytes(&self) -> usize {
        self.bytes
    }
}
