//! One event on its way into the log: encoded once, whatever becomes of the calls that carry it.

use bytes::{BufMut, Bytes, BytesMut};
use prost::Message as _;
use prost::encoding::{encode_varint, encoded_len_varint};
use tidings_broker::{AppendBatch, GuardStep, ProducerStep, SessionDeletion};
use tidings_protocol::gap::{GapCause, deletes_project, deletes_session};
use tidings_protocol::guard::supersede;
use tidings_protocol::position::Position;
use tidings_protocol::wire;

/// Key of the field `events` of a `Batch`: number 1, length delimited.
const EVENTS_TAG: u8 = 0x0a;

/// Key of the field `was` of an `Event`: number 12, length delimited.
const WAS_TAG: u8 = 0x62;

/// A position's text is about so long.
const POSITION_BYTES: usize = 40;

/// What an item weighs in memory beside its encoded bytes, about.
pub(super) const ITEM_OVERHEAD_BYTES: usize = 256;

/// Who waits for an item: event `index` of a request.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Slot {
    /// The request's key, given by the shell.
    pub request: u64,
    /// The event's index in it.
    pub index: u32,
}

/// An event's place in its producer's sequence.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
struct Step {
    id: String,
    epoch: u64,
    seq: u64,
}

/// An encoded event, and what the append script must know of it.
#[derive(Debug, Clone)]
pub struct Item {
    /// Set by the machine that it waits in; a batch that was freed is recognised by these.
    pub(super) key: u64,
    /// An encoded `tidings.v1.Event`.
    encoded: Bytes,
    pub(super) id: String,
    /// The log remembers the id.
    remembered: bool,
    producer: Option<Step>,
    may_jump: bool,
    deletes: Deletes,
    /// Under its key it stands alone.
    guard: Option<wire::Guard>,
    /// Some sending of it got no answer, so a history may hold it.
    pub(super) unanswered: bool,
    /// Who waits. The first one's answer is the event's own, the others are doubles of it.
    pub(super) slots: Vec<Slot>,
    /// Why it is to be appended.
    pub(super) purpose: Purpose,
}

/// What an event deletes (docs/log.md L19).
#[derive(Debug, Clone)]
enum Deletes {
    Nothing,
    /// Its session; where the deletion stood before forks.
    Session(String, Vec<Position>),
    /// The project: it is not appended, but sent as a call of its own. The end of each branch that it stands behind, newest
    /// first.
    Project(Vec<Position>),
    /// The project, put back: it is appended, in a call of its own, and takes what was before it first stood.
    ProjectAgain(Vec<Position>),
}

impl Deletes {
    fn of(event: &wire::Event) -> Deletes {
        if deletes_project(event) {
            Deletes::Project(Vec::new())
        } else if deletes_session(event) {
            Deletes::Session(event.session.clone(), Vec::new())
        } else {
            Deletes::Nothing
        }
    }
}

/// Why an event is to be appended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Purpose {
    /// A runner brought it.
    Request,
    /// It was acknowledged before, and a fork took it.
    PutBack,
    /// The writer's own gap event: what was acknowledged up to this position is missing.
    Owe(Position),
}

impl Item {
    /// Encodes an event. `may_jump`: its producer's sequence may skip numbers here.
    pub fn new(event: &wire::Event, slot: Slot, may_jump: bool) -> Item {
        let producer =
            event.producer.as_ref().map(|step| Step { id: step.id.clone(), epoch: step.epoch, seq: step.seq });
        Item {
            key: 0,
            encoded: event.encode_to_vec().into(),
            id: event.id.clone(),
            remembered: event.id_from_runner && !is_made_of(&event.id, producer.as_ref()),
            producer,
            may_jump,
            deletes: Deletes::of(event),
            guard: event.guard.clone(),
            unanswered: false,
            slots: vec![slot],
            purpose: Purpose::Request,
        }
    }

    /// A gap event of the writer's own, for which nobody waits.
    pub(super) fn owing(event: &wire::Event, owed: Position) -> Item {
        let made = Item::new(event, Slot { request: 0, index: 0 }, false);
        Item { slots: Vec::new(), purpose: Purpose::Owe(owed), ..made }
    }

    /// The encoded event, to be kept.
    pub(super) fn encoded(&self) -> Bytes {
        self.encoded.clone()
    }

    /// A kept event again, with the positions at which it stood. It may fill a hole of its producer's sequence.
    /// `behind`: the ends that a deletion of the project stood behind.
    pub(super) fn put_back(key: u64, encoded: &Bytes, was: &[Position], behind: Option<&[Position]>) -> Item {
        let event = wire::Event::decode(encoded.clone()).expect("this process encoded it");
        let mut again = BytesMut::with_capacity(encoded.len() + was.len() * POSITION_BYTES);
        again.put_slice(encoded);
        // A repeated field may follow the others (https://protobuf.dev/programming-guides/encoding/#optional).
        for position in was {
            let text = position.to_string();
            again.put_u8(WAS_TAG);
            encode_varint(text.len() as u64, &mut again);
            again.put_slice(text.as_bytes());
        }
        let mut made = Item::new(&event, Slot { request: 0, index: 0 }, true);
        match &mut made.deletes {
            Deletes::Session(_, before) => *before = was.to_vec(),
            Deletes::Project(_) => made.deletes = Deletes::ProjectAgain(behind.unwrap_or_default().to_vec()),
            Deletes::Nothing | Deletes::ProjectAgain(_) => {}
        }
        Item { key, encoded: again.freeze(), slots: Vec::new(), purpose: Purpose::PutBack, ..made }
    }

    /// The same, where another event stands under its guard's key: it says so, and changes nothing else. What memory keeps of
    /// it has its guard still, so that it may stand first behind another fork.
    pub(super) fn superseded(self) -> Item {
        let mut event = wire::Event::decode(self.encoded).expect("this process encoded it");
        supersede(&mut event);
        Item { encoded: event.encode_to_vec().into(), guard: None, ..self }
    }

    /// The same without its guard.
    pub(super) fn unguarded(self) -> Item {
        Item { guard: None, ..self }
    }

    /// The key under which it stands alone.
    pub(super) fn guard(&self) -> Option<&str> {
        self.guard.as_ref().map(|guard| guard.key.as_str())
    }

    /// It is the project's deletion, not done yet: the script deletes, nothing is appended.
    pub(super) fn deletes_project(&self) -> bool {
        matches!(self.deletes, Deletes::Project(_))
    }

    /// It is the project's deletion, for the first time or put back: a call of its own, with nothing beside it.
    pub(super) fn goes_alone(&self) -> bool {
        matches!(self.deletes, Deletes::Project(_) | Deletes::ProjectAgain(_))
    }

    /// The ends that the project's deletion stands behind, as far as it was ever sent.
    pub(super) fn behind(&self) -> Option<&[Position]> {
        match &self.deletes {
            Deletes::Project(behind) | Deletes::ProjectAgain(behind) => Some(behind),
            Deletes::Nothing | Deletes::Session(..) => None,
        }
    }

    /// The project's deletion is sent, or was, to stand behind these.
    pub(super) fn stand_behind(&mut self, ends: Vec<Position>) {
        if let Deletes::Project(behind) = &mut self.deletes {
            *behind = ends;
        }
    }

    /// It was acknowledged before and is put back.
    pub(super) fn heals(&self) -> bool {
        self.purpose == Purpose::PutBack
    }

    /// The writer itself wants it in the log, whether or not somebody waits for it.
    pub(super) fn is_own(&self) -> bool {
        self.purpose != Purpose::Request
    }

    /// Bytes that it takes in a batch.
    pub(super) fn batch_bytes(&self) -> usize {
        1 + encoded_len_varint(self.encoded.len() as u64) + self.encoded.len()
    }

    /// Bytes that it takes in memory, about.
    pub fn weight(&self) -> usize {
        self.encoded.len() + self.id.len() + ITEM_OVERHEAD_BYTES
    }

    /// What an item of this event will weigh.
    pub fn weight_of(event: &wire::Event) -> usize {
        event.encoded_len() + event.id.len() + ITEM_OVERHEAD_BYTES
    }

    /// The producer's id, if it has one.
    pub(super) fn producer(&self) -> Option<&str> {
        self.producer.as_ref().map(|step| step.id.as_str())
    }

    /// Whether both are one event for the log: the same remembered id, or the same step of a producer.
    fn names(&self) -> impl Iterator<Item = Name<'_>> {
        let id = self.remembered.then_some(Name::Id(&self.id));
        id.into_iter().chain(self.producer.as_ref().map(Name::Step))
    }
}

/// Whether an id only repeats its event's step, by which the log knows the event already: a producer costs one field, not
/// an id for each event.
fn is_made_of(id: &str, step: Option<&Step>) -> bool {
    step.is_some_and(|step| id.ends_with(&format!(":{}:{}", step.epoch, step.seq)))
}

/// What makes two items one event.
#[derive(PartialEq, Eq, Hash)]
enum Name<'a> {
    Id(&'a str),
    Step(&'a Step),
}

/// The places of items that are one event with an earlier one, and of that one; growing.
pub(super) fn doubles(items: &[Item]) -> Vec<(usize, usize)> {
    let mut seen = std::collections::HashMap::<_, _, foldhash::fast::RandomState>::default();
    let mut doubles = Vec::new();
    for (index, item) in items.iter().enumerate() {
        let first = item.names().find_map(|name| seen.get(&name).copied());
        match first {
            Some(first) => doubles.push((index, first)),
            None => seen.extend(item.names().map(|name| (name, index))),
        }
    }
    doubles
}

/// Takes doubles out: each later one's waiters are added to the first one's.
pub(super) fn without_doubles(mut items: Vec<Item>) -> Vec<Item> {
    let doubles = doubles(&items);
    for &(double, first) in &doubles {
        let slots = std::mem::take(&mut items[double].slots);
        items[first].slots.extend(slots);
    }
    for &(double, _) in doubles.iter().rev() {
        items.remove(double);
    }
    items
}

/// Puts items together as one batch, without encoding any of them again.
pub(super) fn batch(items: &[Item]) -> AppendBatch {
    let mut payload = BytesMut::with_capacity(items.iter().map(Item::batch_bytes).sum());
    let mut ids = Vec::new();
    let mut producers = Vec::new();
    let mut deletions = Vec::new();
    let mut guards = Vec::new();
    for (index, item) in items.iter().enumerate() {
        payload.put_u8(EVENTS_TAG);
        encode_varint(item.encoded.len() as u64, &mut payload);
        payload.put_slice(&item.encoded);
        let index = u32::try_from(index).expect("an entry of 64 KiB holds far fewer events");
        if item.remembered {
            ids.push((index, item.id.clone()));
        }
        if let Some(Step { id, epoch, seq }) = &item.producer {
            producers.push(ProducerStep { index, id: id.clone(), epoch: *epoch, seq: *seq, may_jump: item.may_jump });
        }
        if let Some(wire::Guard { key, until_ms, note }) = &item.guard {
            guards.push(GuardStep { index, key: key.clone(), until_ms: *until_ms, note: note.clone() });
        }
        match &item.deletes {
            Deletes::Session(session, was) => {
                deletions.push(SessionDeletion { index, session: session.clone(), was: was.clone() });
            }
            Deletes::ProjectAgain(behind) => {
                deletions.push(SessionDeletion { index, session: String::new(), was: behind.clone() });
            }
            Deletes::Nothing | Deletes::Project(_) => {}
        }
    }
    let count = u32::try_from(items.len()).expect("an entry of 64 KiB holds far fewer events");
    AppendBatch { payload: payload.freeze(), count, ids, producers, deletions, guards }
}

/// Which steps of producers may skip numbers: those that a `gap` event (cause `producer_dropped`) speaks of. One that has
/// a producer speaks of its own step, any other of the next step behind it.
#[derive(Debug, Clone, Copy, Default)]
pub struct Jumps {
    pending: bool,
}

impl Jumps {
    /// Whether this event, the next of its request, may jump.
    pub fn allows(&mut self, event: &wire::Event) -> bool {
        let says = event.gap.as_ref().is_some_and(|gap| gap.cause == GapCause::ProducerDropped.as_str());
        match (says, event.producer.is_some()) {
            (true, true) => true,
            (true, false) => {
                self.pending = true;
                false
            }
            (false, true) => std::mem::take(&mut self.pending),
            (false, false) => false,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn event(id: &str, remembered: bool, seq: Option<u64>) -> wire::Event {
        wire::Event {
            json: Bytes::from(format!("{{\"id\":\"{id}\"}}")),
            id: id.into(),
            id_from_runner: remembered,
            producer: seq.map(|seq| wire::Producer { id: "p".into(), epoch: 1, seq }),
            ..wire::Event::default()
        }
    }

    fn item(event: &wire::Event, index: u32) -> Item {
        Item::new(event, Slot { request: 1, index }, false)
    }

    #[test]
    fn a_batch_of_encoded_events_is_the_encoded_batch() {
        let events = [event("a", true, None), event("b", false, Some(7))];
        let items: Vec<Item> = events.iter().zip(0..).map(|(event, index)| item(event, index)).collect();
        let batch = batch(&items);
        assert_eq!(batch.payload, wire::Batch { events: events.to_vec() }.encode_to_vec());
        assert_eq!(batch.payload.len(), items.iter().map(Item::batch_bytes).sum::<usize>());
        assert_eq!((batch.count, batch.ids), (2, vec![(0, "a".to_owned())]));
        assert_eq!((batch.producers[0].index, batch.producers[0].seq), (1, 7));
    }

    #[test]
    fn an_id_that_only_repeats_its_step_is_not_remembered() {
        let items = [event("p:1:7", true, Some(7)), event("mine", true, Some(8)), event("p:1:7", true, None)];
        let items: Vec<Item> = items.iter().zip(0..).map(|(event, index)| item(event, index)).collect();
        assert_eq!(batch(&items).ids, [(1, "mine".to_owned()), (2, "p:1:7".to_owned())]);
    }

    #[test]
    fn doubles_by_id_or_by_step_wait_for_the_first() {
        let events = [
            event("a", true, None),
            event("a", true, None),
            event("x", false, Some(1)),
            event("y", false, Some(1)),
            event("s", false, None),
            event("s", false, None),
        ];
        let items = without_doubles(events.iter().zip(0..).map(|(event, index)| item(event, index)).collect());
        let slots: Vec<Vec<u32>> =
            items.iter().map(|item| item.slots.iter().map(|slot| slot.index).collect()).collect();
        assert_eq!(slots, [vec![0, 1], vec![2, 3], vec![4], vec![5]]);
    }

    #[test]
    fn a_drop_that_was_told_lets_one_step_jump() {
        let dropped = |seq: Option<u64>| wire::Event {
            gap: Some(wire::Gap { cause: "producer_dropped".into(), ..wire::Gap::default() }),
            ..event("g", false, seq)
        };
        let mut jumps = Jumps::default();
        assert!(!jumps.allows(&event("a", false, Some(1))));
        assert!(jumps.allows(&dropped(Some(5))), "the gap's own step");
        assert!(!jumps.allows(&event("b", false, Some(6))));
        assert!(!jumps.allows(&dropped(None)));
        assert!(!jumps.allows(&event("c", false, None)));
        assert!(jumps.allows(&event("d", false, Some(9))), "the next step behind it");
        assert!(!jumps.allows(&event("e", false, Some(12))));
    }
}
