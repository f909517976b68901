//! Entries as a gateway holds them: decoded once, encoded at most once per encoding, shared by ring, pages and viewers.

use std::ops::Range;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, OnceLock};

use bytes::Bytes;
use tidings_protocol::entry::{Body, Entry, ForkNote};
use tidings_protocol::frames::Marks;
use tidings_protocol::position::Position;
use tidings_protocol::project::Project;
use tidings_protocol::wire;

use crate::encoding::{Due, Encoding, SLOTS};
use crate::traced::Traced;

/// What the encodings of some entries take, all together, in bytes: counted from when one is made until its entry goes. Cheap to
/// clone; clones count together.
#[derive(Debug, Clone, Default)]
pub struct Tally(Arc<AtomicUsize>);

impl Tally {
    /// So many bytes now.
    pub fn bytes(&self) -> usize {
        self.0.load(Ordering::Relaxed)
    }
}

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
    /// Those of dialects.
    told: InDialects,
    /// Where encodings are counted.
    tally: Tally,
}

/// Frames in the dialects that somebody here speaks: a list that grows at its end, so that whoever speaks none costs a
/// pointer.
#[derive(Debug, Default)]
struct InDialects(OnceLock<Box<InDialect>>);

/// The frames of one dialect, in one variant of it.
#[derive(Debug)]
struct InDialect {
    number: u16,
    frames: Frames,
    /// By index of the event, growing.
    dues: Box<[(usize, Due)]>,
    next: InDialects,
}

impl InDialects {
    /// That of this number; made by the first who asks.
    fn get(&self, number: u16, make: &dyn Fn() -> InDialect) -> &InDialect {
        let mut list = self;
        loop {
            let told = list.0.get_or_init(|| Box::new(make()));
            if told.number == number {
                return told;
            }
            list = &told.next;
        }
    }

    fn find(&self, number: u16) -> Option<&InDialect> {
        self.iter().find(|told| told.number == number)
    }

    fn iter(&self) -> impl Iterator<Item = &InDialect> {
        std::iter::successors(self.0.get(), |told| told.next.0.get()).map(|told| &**told)
    }
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

    /// Bytes held, about.
    fn weight(&self) -> usize {
        self.bytes.len() + self.ends.len() * size_of::<u32>()
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

/// What a due takes beside its word, about.
const DUE_OVERHEAD_BYTES: usize = 48;

impl InDialect {
    /// Bytes held, about.
    fn weight(&self) -> usize {
        let dues = self.dues.iter().map(|(_, due)| due.len() + DUE_OVERHEAD_BYTES).sum::<usize>();
        size_of::<InDialect>() + self.frames.weight() + dues
    }
}

impl Drop for Held {
    fn drop(&mut self) {
        self.tally.0.fetch_sub(self.encoded_bytes(), Ordering::Relaxed);
    }
}

impl Held {
    /// Takes an entry that was read or heard whole; what is made of it is counted there.
    pub fn new(project: &Project, entry: Entry, tally: &Tally) -> Arc<Held> {
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
            told: InDialects::default(),
            tally: tally.clone(),
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
        match encoding.slot().place() {
            Ok(index) => self.encodings[index].get_or_init(|| {
                let frames = self.encode(self.json_bytes(), |position, event, bytes| {
                    encoding.event(&self.project, position, event, Marks::default(), bytes);
                });
                self.tally.0.fetch_add(frames.weight(), Ordering::Relaxed);
                frames
            }),
            Err(number) => {
                let make = || {
                    let told = self.tell(encoding, number);
                    self.tally.0.fetch_add(told.weight(), Ordering::Relaxed);
                    told
                };
                &self.told.get(number, &make).frames
            }
        }
    }

    /// What these events make due in a dialect's encoding, each under its index. Nothing before their frames were made.
    pub fn dues(&self, encoding: &dyn Encoding, events: Range<usize>) -> &[(usize, Due)] {
        let Err(number) = encoding.slot().place() else { return &[] };
        let Some(told) = self.told.find(number) else { return &[] };
        let of = |index: usize| told.dues.partition_point(|(of, _)| *of < index);
        &told.dues[of(events.start)..of(events.end)]
    }

    /// What all its events take in JSON, with what is added on the way.
    fn json_bytes(&self) -> usize {
        self.events().iter().map(|event| event.json.len() + 160).sum()
    }

    fn encode(&self, capacity: usize, mut event_into: impl FnMut(Position, &wire::Event, &mut Vec<u8>)) -> Frames {
        let events = self.events();
        let mut bytes = Vec::with_capacity(capacity);
        let mut ends = Vec::with_capacity(events.len());
        for (index, event) in events.iter().enumerate() {
            event_into(self.entry.position_of(index), event, &mut bytes);
            ends.push(u32::try_from(bytes.len()).expect("an entry is far below 4 GiB"));
        }
        if capacity == 0 {
            // Else what was set aside while it grew would be kept, and not counted.
            bytes.shrink_to_fit();
        }
        Frames { bytes: bytes.into(), ends }
    }

    fn tell(&self, encoding: &dyn Encoding, number: u16) -> InDialect {
        let mut dues = Vec::new();
        let mut index = 0;
        let frames = self.encode(0, |position, event, bytes| {
            let due = encoding.tell(&self.project, position, event, Marks::default(), bytes);
            dues.extend(due.map(|due| (index, due)));
            index += 1;
        });
        InDialect { number, frames, dues: dues.into(), next: InDialects::default() }
    }

    /// Bytes that its encodings hold now, those of dialects and what they make due included.
    pub fn encoded_bytes(&self) -> usize {
        let native = self.encodings.iter().filter_map(OnceLock::get).map(Frames::weight);
        native.chain(self.told.iter().map(InDialect::weight)).sum()
    }

    /// Bytes of payload, the same whatever was encoded since: what rings are bounded by. Encodings are counted by their
    /// [`Tally`].
    pub fn payload_bytes(&self) -> usize {
        self.bytes
    }
}

#[cfg(test)]
mod tests {
    use tidings_protocol::compact::CompactItem;
    use tidings_protocol::gap::Gap;

    use super::*;
    use crate::encoding::Slot;
    use crate::snapshot::Snapshot;

    /// Tells an event as many times as its id says, and makes due what its type says.
    struct Times(u16);

    impl Encoding for Times {
        fn slot(&self) -> Slot {
            Slot::Dialect(self.0)
        }

        fn event(&self, _: &Project, _: Position, event: &wire::Event, _: Marks<'_>, out: &mut Vec<u8>) {
            let times = event.id.parse().expect("a number");
            out.extend_from_slice(self.0.to_string().repeat(times).as_bytes());
        }

        fn tell(
            &self,
            project: &Project,
            position: Position,
            event: &wire::Event,
            marks: Marks<'_>,
            out: &mut Vec<u8>,
        ) -> Option<Due> {
            self.event(project, position, event, marks, out);
            (!event.r#type.is_empty()).then(|| event.r#type.as_str().into())
        }

        fn gap(&self, _: &Project, _: &Gap, _: &mut Vec<u8>) {}
        fn snapshot(&self, _: &Project, _: &Snapshot, _: &mut Vec<u8>) {}
        fn compacted(&self, _: &Project, _: Position, _: &[CompactItem<'_>], _: &mut Vec<u8>) {}
        fn at(&self, _: &Project, _: Position, _: &mut Vec<u8>) {}
    }

    fn held(events: &[(&str, &str)], tally: &Tally) -> Arc<Held> {
        let event = |(id, due): &(&str, &str)| wire::Event {
            id: (*id).into(),
            r#type: (*due).into(),
            json: "{}".into(),
            ..wire::Event::default()
        };
        let position: Position = "1-9.abcdefghijkl".parse().expect("a position");
        let body = Body::Events(events.iter().map(event).collect());
        let entry = Entry { position, prev: Position::ZERO, total_bytes: 0, body };
        Held::new(&"demo".parse().expect("a name"), entry, tally)
    }

    #[test]
    fn an_event_of_a_dialect_is_any_number_of_frames_and_its_own_dues() {
        let held = held(&[("0", "x"), ("2", ""), ("0", ""), ("1", "y"), ("0", "z")], &Tally::default());
        assert_eq!(held.dues(&Times(3), 0..5), [], "nobody has asked yet");
        let frames = held.frames(&Times(3));
        assert_eq!(frames.slice(0..1), "");
        assert_eq!((frames.slice(0..2), frames.slice(2..5)), ("33".into(), "3".into()));
        assert_eq!(held.frames(&Times(7)).slice(0..5), "777");
        assert_eq!(held.frames(&Times(3)).slice(0..5), "333", "each has its own");
        let dues =
            |events| held.dues(&Times(3), events).iter().map(|(index, due)| (*index, &**due)).collect::<Vec<_>>();
        assert_eq!(dues(0..5), [(0, "x"), (3, "y"), (4, "z")]);
        assert_eq!((dues(1..3), dues(3..4), dues(4..4)), (vec![], vec![(3, "y")], vec![]));
    }

    #[test]
    fn what_is_made_of_entries_is_counted_until_they_go() {
        let tally = Tally::default();
        let (first, second) = (held(&[("3", "x")], &tally), held(&[("500", ""), ("1", "")], &tally));
        assert_eq!(tally.bytes(), 0, "nothing is made before somebody asks");
        first.frames(&Times(3));
        let one = tally.bytes();
        assert!(one >= 3 + "x".len(), "{one}");
        first.frames(&Times(3));
        assert_eq!(tally.bytes(), one, "it is made once");
        first.frames(&Times(4));
        second.frames(&Times(3));
        assert_eq!(tally.bytes(), first.encoded_bytes() + second.encoded_bytes());
        assert!(second.encoded_bytes() >= 501);
        drop(second);
        assert_eq!(tally.bytes(), first.encoded_bytes());
        drop(first);
        assert_eq!(tally.bytes(), 0);
    }
}
