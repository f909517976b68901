//! What a viewer that lags and asked for `lag=compact` gets: its backlog compacted (docs/log.md L15), frame by frame.

use std::iter::Peekable;
use std::sync::Arc;

use tidings_protocol::compact::compact;
use tidings_protocol::position::Position;
use tidings_protocol::wire;

use super::{Pull, Viewer, end_below};
use crate::cursor::Verdict;
use crate::held::Held;
use crate::topic::machine::Machine;

/// Payload bytes behind the head at which a viewer on the ring counts as lagging; off the ring it always does.
pub(super) const LAG_BYTES: usize = 256 * 1024;

/// Payload bytes that are compacted in one go: merges reach no further, nor does the memory that they take.
const STRETCH_BYTES: usize = 1024 * 1024;

/// What is gathered before it is compacted.
type Stretch<'a> = Vec<(Position, &'a wire::Event)>;

impl Viewer {
    /// Tells `first` and what follows it, compacted, up to the next fork, [`STRETCH_BYTES`] or `top`.
    pub(super) fn deliver_compacted<'a>(
        &mut self,
        first: &'a Arc<Held>,
        entries: &mut Peekable<impl Iterator<Item = &'a Arc<Held>>>,
        machine: &Machine,
        top: u64,
        pull: &mut Pull<'_>,
    ) {
        let mut stretch: Stretch<'a> = Vec::new();
        let mut bytes = 0;
        let mut start = self.cursor.first_unread(first.entry());
        let mut held = first;
        loop {
            bytes += held.payload_bytes();
            let end = end_below(held, top);
            for (index, event) in held.events().iter().enumerate().take(end).skip(start) {
                let position = held.entry().position_of(index);
                if !self.wants(position, event, machine) {
                    continue;
                }
                match self.cursor.judge(position, event, machine.ids()) {
                    Verdict::Skip => {}
                    Verdict::Tell { was: None, seen: false } if event.was.is_empty() && event.gap.is_none() => {
                        stretch.push((position, event));
                    }
                    // Marked events are told as they are, in their place.
                    Verdict::Tell { .. } => {
                        if !self.tell_stretch(held, &mut stretch, pull) {
                            return;
                        }
                        self.deliver_event(held, index, event, machine, pull);
                    }
                }
            }
            let next = (bytes < STRETCH_BYTES)
                .then(|| entries.next_if(|next| next.fork().is_none() && next.entry().first_id().n <= top))
                .flatten();
            let Some(next) = next else {
                if self.tell_stretch(held, &mut stretch, pull) && end > 0 {
                    self.cursor.advance(held.entry().position_of(end - 1));
                }
                return;
            };
            held = next;
            start = 0;
        }
    }

    /// Tells what was gathered. False: the pull is full, and the cursor stands where it stopped.
    fn tell_stretch(&mut self, held: &Held, stretch: &mut Stretch<'_>, pull: &mut Pull<'_>) -> bool {
        for frame in compact(stretch.drain(..)) {
            if pull.is_full() {
                return false;
            }
            let mut out = Vec::new();
            pull.encoding.compacted(held.project(), frame.position, &frame.items, &mut out);
            pull.push(out.into(), frame.items.len());
            self.topic.metrics().compactions.inc();
            self.on_told(frame.items.len() as u64, frame.position, None);
            self.cursor.advance(frame.position);
            self.cursor.told();
        }
        true
    }
}
