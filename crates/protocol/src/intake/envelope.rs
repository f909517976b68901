//! Reads envelopes: one event or an array of them, in the native form or as CloudEvents. Faults of single events are
//! collected; only text that is not JSON ends the reading early.

use std::borrow::Cow;
use std::fmt;

use serde::de::{DeserializeSeed, Deserializer, IgnoredAny, MapAccess, SeqAccess, Visitor};
use serde_json::value::RawValue;

use super::cloudevents::CloudEvent;
use super::ident::text_of;
use super::{Fault, Faults, Intake, event, malformed};
use crate::codes::ErrorCode;
use crate::echo;
use crate::limits::SAFE_INTEGER_MAX;
use crate::wire;

/// How an event is written.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Form {
    /// Our own envelope.
    Native,
    /// CloudEvents, JSON event format.
    CloudEvents,
}

/// How many events a text holds.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Shape {
    /// One event.
    One,
    /// An array of events.
    Many,
    /// An array if it starts like one.
    Either,
}

/// The envelope's text fields, in the order in which they are delivered.
pub(super) const TEXT_FIELDS: [&str; 9] =
    ["type", "id", "time", "session", "agent", "parent", "runner", "key", "traceparent"];

/// Indexes into [`TEXT_FIELDS`].
pub(super) mod field {
    pub(in crate::intake) const TYPE: usize = 0;
    pub(in crate::intake) const ID: usize = 1;
    pub(in crate::intake) const TIME: usize = 2;
    pub(in crate::intake) const SESSION: usize = 3;
    pub(in crate::intake) const AGENT: usize = 4;
    pub(in crate::intake) const PARENT: usize = 5;
    pub(in crate::intake) const RUNNER: usize = 6;
    pub(in crate::intake) const KEY: usize = 7;
    pub(in crate::intake) const TRACEPARENT: usize = 8;
}

/// Fields that only the server sets.
const RESERVED_FIELDS: [&str; 6] = ["position", "project", "received", "seen", "to", "was"];

/// An envelope as it was read: kinds of values are right, nothing else is checked yet.
#[derive(Debug, Default)]
pub(super) struct Draft<'a> {
    /// By [`field`].
    pub(super) text: [Option<Cow<'a, str>>; TEXT_FIELDS.len()],
    pub(super) producer: Option<wire::Producer>,
    /// Valid JSON.
    pub(super) data: Option<Cow<'a, str>>,
}

/// Reads the events of `text`; the first has index `first`.
pub(super) fn read(
    text: &str,
    form: Form,
    shape: Shape,
    first: u64,
    intake: &mut Intake<'_>,
) -> Result<Vec<wire::Event>, Fault> {
    let mut reader = Reader { intake, form, events: Vec::new(), faults: Faults::default(), next: first };
    let mut json = serde_json::Deserializer::from_str(text);
    let starts_as_array = text.trim_ascii_start().starts_with('[');
    if shape == Shape::Many || (shape == Shape::Either && starts_as_array) {
        let count = if starts_as_array { json.deserialize_seq(BatchVisitor(&mut reader)) } else { Ok(None) };
        let Some(count) = count.map_err(|error| malformed(&error))? else {
            return Err(Fault::new(ErrorCode::InvalidEvent, "expected an array of events"));
        };
        json.end().map_err(|error| malformed(&error))?;
        let limit = reader.intake.limits.batch_events_max;
        if count == 0 {
            return Err(Fault::new(ErrorCode::EmptyBatch, "expected at least one event"));
        }
        if count > limit {
            return Err(Fault::over(ErrorCode::BatchTooLarge, "events in the request", limit, count));
        }
    } else {
        EventSeed(&mut reader).deserialize(&mut json).and_then(|()| json.end()).map_err(|error| malformed(&error))?;
    }
    reader.faults.into_result()?;
    Ok(reader.events)
}

/// What has been read so far.
struct Reader<'r, 'i> {
    intake: &'r mut Intake<'i>,
    form: Form,
    events: Vec<wire::Event>,
    faults: Faults,
    /// Index of the next event.
    next: u64,
}

impl Reader<'_, '_> {
    fn take(&mut self, draft: &Draft<'_>) {
        // An event whose envelope was faulty may be built all the same: the faults refuse the whole request in the end.
        self.events.extend(event::build(draft, self.next, self.intake, &mut self.faults));
        self.next += 1;
    }
}

/// Reads an array and returns how many elements it has; those over the limit are only counted.
struct BatchVisitor<'s, 'r, 'i>(&'s mut Reader<'r, 'i>);

impl<'de> Visitor<'de> for BatchVisitor<'_, '_, '_> {
    type Value = Option<usize>;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("an array of events")
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut seq: A) -> Result<Option<usize>, A::Error> {
        let limit = self.0.intake.limits.batch_events_max;
        let mut count = 0;
        while count < limit && seq.next_element_seed(EventSeed(self.0))?.is_some() {
            count += 1;
        }
        if count == limit {
            while seq.next_element::<IgnoredAny>()?.is_some() {
                count += 1;
            }
        }
        Ok(Some(count))
    }
}

/// Reads one event. Whatever JSON value stands there is consumed.
struct EventSeed<'s, 'r, 'i>(&'s mut Reader<'r, 'i>);

impl<'de> DeserializeSeed<'de> for EventSeed<'_, '_, '_> {
    type Value = ();

    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<(), D::Error> {
        deserializer.deserialize_any(self)
    }
}

impl EventSeed<'_, '_, '_> {
    /// Notes that there is no object, and goes on to the next event.
    fn no_object(self) {
        let index = self.0.next;
        self.0.faults.add(index, ErrorCode::InvalidEvent, "", |fault| fault.expected("expected an object"));
        self.0.next += 1;
    }
}

impl<'de> Visitor<'de> for EventSeed<'_, '_, '_> {
    type Value = ();

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("an event")
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<(), A::Error> {
        let reader = self.0;
        let index = reader.next;
        match reader.form {
            Form::Native => {
                let mut draft = Draft::default();
                let mut seen = 0_u32;
                while let Some(key) = map.next_key_seed(KeySeed)? {
                    draft.set(&key, map.next_value()?, &mut seen, index, &mut reader.faults);
                }
                reader.take(&draft);
            }
            Form::CloudEvents => {
                let mut cloud = CloudEvent::default();
                while let Some(name) = map.next_key::<Cow<'de, str>>()? {
                    cloud.set_json(&name, map.next_value()?, index, &mut reader.faults);
                }
                let draft = cloud.into_draft(index, &mut reader.faults);
                reader.take(&draft);
            }
        }
        Ok(())
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut seq: A) -> Result<(), A::Error> {
        while seq.next_element::<IgnoredAny>()?.is_some() {}
        self.no_object();
        Ok(())
    }

    fn visit_unit<E>(self) -> Result<(), E> {
        self.no_object();
        Ok(())
    }

    fn visit_bool<E>(self, _: bool) -> Result<(), E> {
        self.no_object();
        Ok(())
    }

    fn visit_i64<E>(self, _: i64) -> Result<(), E> {
        self.no_object();
        Ok(())
    }

    fn visit_u64<E>(self, _: u64) -> Result<(), E> {
        self.no_object();
        Ok(())
    }

    fn visit_f64<E>(self, _: f64) -> Result<(), E> {
        self.no_object();
        Ok(())
    }

    fn visit_str<E>(self, _: &str) -> Result<(), E> {
        self.no_object();
        Ok(())
    }
}

/// A field's name.
enum Key {
    /// Index into [`TEXT_FIELDS`].
    Text(usize),
    Producer,
    Data,
    /// Index into [`RESERVED_FIELDS`].
    Reserved(usize),
    /// As much of it as an answer repeats.
    Unknown(String),
}

struct KeySeed;

impl<'de> DeserializeSeed<'de> for KeySeed {
    type Value = Key;

    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<Key, D::Error> {
        deserializer.deserialize_str(self)
    }
}

impl Visitor<'_> for KeySeed {
    type Value = Key;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a field's name")
    }

    fn visit_str<E>(self, name: &str) -> Result<Key, E> {
        if let Some(at) = TEXT_FIELDS.iter().position(|known| *known == name) {
            return Ok(Key::Text(at));
        }
        Ok(match name {
            "data" => Key::Data,
            "producer" => Key::Producer,
            _ => match RESERVED_FIELDS.iter().position(|reserved| *reserved == name) {
                Some(at) => Key::Reserved(at),
                None => Key::Unknown(echo::text(name)),
            },
        })
    }
}

impl<'a> Draft<'a> {
    /// Sets a field from its JSON, or notes why not. Null means absent. `seen` has a bit for each field that was there.
    fn set(&mut self, key: &Key, raw: &'a RawValue, seen: &mut u32, index: u64, faults: &mut Faults) {
        let (name, bit) = match key {
            Key::Text(at) => (TEXT_FIELDS[*at], 1 << at),
            Key::Producer => ("producer", 1 << TEXT_FIELDS.len()),
            Key::Data => ("data", 2 << TEXT_FIELDS.len()),
            Key::Reserved(at) => {
                let expected = "only the server sets this field";
                let name = RESERVED_FIELDS[*at];
                return faults.add(index, ErrorCode::Reserved, name, |fault| fault.expected(expected));
            }
            Key::Unknown(name) => {
                let expected = "the envelope has no such field; put it into data";
                return faults.add(index, ErrorCode::UnknownField, name, |fault| fault.expected(expected));
            }
        };
        if *seen & bit != 0 {
            return faults.add(index, ErrorCode::DuplicateField, name, |fault| fault);
        }
        *seen |= bit;
        match (key, raw.get()) {
            // Data may be null; that is not the same as none.
            (Key::Data, json) => self.data = Some(Cow::Borrowed(json)),
            (_, "null") => {}
            (Key::Text(at), json) => match text_of(json) {
                Some(text) => self.text[*at] = Some(text),
                None => {
                    faults.add(index, ErrorCode::InvalidField, name, |fault| fault.expected("expected a string"));
                }
            },
            (_, json) => self.producer = producer(json, index, faults),
        }
    }

    /// A text field, empty when absent.
    pub(super) fn text(&self, at: usize) -> &str {
        self.text[at].as_deref().unwrap_or_default()
    }
}

/// Reads `producer`; its id is checked with the other names.
fn producer(json: &str, index: u64, faults: &mut Faults) -> Option<wire::Producer> {
    #[derive(serde::Deserialize)]
    #[serde(deny_unknown_fields)]
    struct Producer {
        id: String,
        epoch: u64,
        seq: u64,
    }
    match serde_json::from_str::<Producer>(json) {
        Ok(Producer { id, epoch, seq }) if seq > 0 && epoch.max(seq) <= SAFE_INTEGER_MAX => {
            Some(wire::Producer { id, epoch, seq })
        }
        _ => {
            let expected = "expected {id, epoch, seq}: a string, an integer from 0, an integer from 1";
            faults.add(index, ErrorCode::InvalidField, "producer", |fault| fault.expected(expected));
            None
        }
    }
}
