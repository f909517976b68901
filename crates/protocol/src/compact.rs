//! Compaction (docs/log.md L15): what a lagging viewer that asked for it gets instead of its backlog.
//!
//! Takes a consecutive stretch of what the viewer may see, gives frames. Each frame covers a consecutive part of the
//! stretch and is told as one, so a viewer that resumes behind any frame misses nothing and hears nothing twice: merges
//! never cross frames. Of the lane `latest` the newest of a key is left, neighbouring texts of the lane `delta` are
//! joined; whatever else there is (control, healed events, gaps) goes through as it is. An event that was not merged
//! keeps its bytes, uncopied.

use std::collections::HashMap;

use bytes::Bytes;

use crate::position::Position;
use crate::wire;

#[cfg(test)]
mod tests;

/// One frame, in bytes, counted with [`ITEM_BYTES`] for what is added to each event. An event that is bigger by itself
/// stands alone.
pub const FRAME_BYTES_MAX: usize = 256 * 1024;

/// One joined event, in bytes: joining makes nothing bigger than a runner may send by itself.
pub const JOINED_BYTES_MAX: usize = crate::limits::DATA_BYTES_MAX;

/// Counted for what delivery adds to an event: project, position, commas (each at its longest), in bytes.
pub const ITEM_BYTES: usize = 256;

/// Counted for each old position that delivery adds, in bytes.
const WAS_BYTES: usize = 64;

/// One compacted frame: told whole, as one array with one position.
#[derive(Debug, Clone)]
pub struct CompactFrame<'a> {
    /// The end of what it covers: the position of its last item.
    pub position: Position,
    /// What is left, in log order; at least one.
    pub items: Vec<CompactItem<'a>>,
}

/// One event of a compacted frame.
#[derive(Debug, Clone)]
pub struct CompactItem<'a> {
    /// Where the (newest merged) event stands.
    pub position: Position,
    /// The envelope to deliver, still without `project` and `position`.
    pub json: Bytes,
    /// The event, or the newest of those that were joined; then `text` speaks of its own `json`, not of the one above.
    pub event: &'a wire::Event,
}

/// Compacts a consecutive stretch of a log, positions growing, already cut to what the viewer may see. Linear in its
/// length and in the bytes that are joined.
pub fn compact<'a>(events: impl IntoIterator<Item = (Position, &'a wire::Event)>) -> Vec<CompactFrame<'a>> {
    let mut frames = Vec::new();
    let mut frame = Open::default();
    for (position, event) in events {
        if !frame.take(position, event) {
            frames.extend(std::mem::take(&mut frame).close());
            let taken = frame.take(position, event);
            debug_assert!(taken, "an empty frame takes any event");
        }
    }
    frames.extend(frame.close());
    frames
}

/// A frame that is being filled.
#[derive(Default)]
struct Open<'a> {
    /// In log order; `None` where a newer one took its place.
    slots: Vec<Option<Slot<'a>>>,
    bytes: usize,
    latest: HashMap<Source<'a>, Latest<'a>>,
    /// The slot of the last event of each (session, agent), if that was a delta.
    last_delta: HashMap<(&'a str, &'a str), Option<usize>>,
}

struct Slot<'a> {
    position: Position,
    event: &'a wire::Event,
    /// Text of older deltas, to go before the event's own.
    before: Vec<u8>,
}

/// Type, session and agent of an event.
type Source<'a> = (&'a str, &'a str, &'a str);

/// What may still be replaced: the newest `latest` events of one source, all of one key.
struct Latest<'a> {
    key: &'a str,
    /// Slots, by the fields that the event sets.
    slots: HashMap<u64, usize>,
}

impl<'a> Open<'a> {
    /// Takes the next event in; false: the frame has no room for it, nothing changed.
    fn take(&mut self, position: Position, event: &'a wire::Event) -> bool {
        let mut slot = Slot { position, event, before: Vec::new() };
        let replaced = self.replaced_by(event);
        let joined = self.joined_by(event);
        let freed = replaced.or(joined).and_then(|at| self.slots[at].as_ref()).map_or(0, Slot::bytes);
        let kept =
            joined.and_then(|at| self.slots[at].as_ref()).map_or(0, |older| older.text().len() + older.before.len());
        let bytes = self.bytes - freed + slot.bytes() + kept;
        if bytes > FRAME_BYTES_MAX && !self.slots.is_empty() {
            return false;
        }
        self.bytes = bytes;
        if let Some(older) = replaced.or(joined).and_then(|at| self.slots[at].take())
            && joined.is_some()
        {
            let text = older.text();
            slot.before = older.before;
            slot.before.extend_from_slice(text);
        }
        self.remember(event);
        self.slots.push(Some(slot));
        true
    }

    fn close(self) -> Option<CompactFrame<'a>> {
        let items: Vec<CompactItem<'a>> = self.slots.into_iter().flatten().map(Slot::close).collect();
        Some(CompactFrame { position: items.last()?.position, items })
    }

    /// The slot of an older event that `event` makes obsolete.
    fn replaced_by(&self, event: &wire::Event) -> Option<usize> {
        if !is_mergeable(event, wire::Lane::Latest) {
            return None;
        }
        let latest = self.latest.get(&source(event)).filter(|latest| latest.key == event.key)?;
        latest.slots.get(&event.fields).copied()
    }

    /// The slot of an older event that `event` goes on with.
    fn joined_by(&self, event: &wire::Event) -> Option<usize> {
        if !is_mergeable(event, wire::Lane::Delta) || text_of(event).is_none() {
            return None;
        }
        let at = (*self.last_delta.get(&stream(event))?)?;
        let older = self.slots[at].as_ref()?;
        let same =
            source(older.event) == source(event) && older.event.key == event.key && older.event.fields == event.fields;
        let bytes = older.before.len() + older.text().len() + event.json.len();
        (same && bytes <= JOINED_BYTES_MAX).then_some(at)
    }

    /// Notes what `event`, which goes into the next slot, may be merged with later, and what may not be any more.
    fn remember(&mut self, event: &'a wire::Event) {
        let at = self.slots.len();
        let is_delta = is_mergeable(event, wire::Lane::Delta) && text_of(event).is_some();
        self.last_delta.insert(stream(event), is_delta.then_some(at));
        if !is_mergeable(event, wire::Lane::Latest) {
            // Nothing moves past an event of its own source that stays where it is.
            self.latest.remove(&source(event));
            return;
        }
        let latest =
            self.latest.entry(source(event)).or_insert_with(|| Latest { key: &event.key, slots: HashMap::new() });
        if latest.key != event.key {
            *latest = Latest { key: &event.key, slots: HashMap::new() };
        }
        latest.slots.insert(event.fields, at);
    }
}

impl<'a> Slot<'a> {
    /// The event's own joinable text; empty where it has none.
    fn text(&self) -> &'a [u8] {
        text_of(self.event).map_or(&[], |(_, text, _)| text)
    }

    /// What it takes of the frame.
    fn bytes(&self) -> usize {
        self.event.json.len() + self.before.len() + ITEM_BYTES + self.event.was.len() * WAS_BYTES
    }

    fn close(self) -> CompactItem<'a> {
        let json = match text_of(self.event) {
            Some((head, text, tail)) if !self.before.is_empty() => [head, &self.before, text, tail].concat().into(),
            _ => self.event.json.clone(),
        };
        CompactItem { position: self.position, json, event: self.event }
    }
}

/// Whether an event lies in this lane and may be merged at all. A healed one may not: its rank decides what it changes.
/// Nor an answer to one viewer, of which nothing is to go missing.
fn is_mergeable(event: &wire::Event, lane: wire::Lane) -> bool {
    event.lane() == lane && event.was.is_empty() && event.gap.is_none() && event.to.is_empty()
}

fn source(event: &wire::Event) -> Source<'_> {
    (&event.r#type, &event.session, &event.agent)
}

fn stream(event: &wire::Event) -> (&str, &str) {
    (&event.session, &event.agent)
}

/// The envelope around the joinable text: what stands before it, the inside of the JSON string, what stands behind it.
/// JSON strings concatenate byte by byte, escapes and all.
fn text_of(event: &wire::Event) -> Option<(&[u8], &[u8], &[u8])> {
    let span = event.text.as_ref()?;
    let (head, rest) = event.json.split_at_checked(span.offset as usize)?;
    let (text, tail) = rest.split_at_checked(span.length as usize)?;
    Some((head, text, tail))
}
