//! What the reader of a dialect says himself: snapshots and gaps, which are not the same for all who have his encoding, and
//! what events make due.

use std::collections::VecDeque;
use std::ops::Range;
use std::sync::Arc;

use tidings_protocol::gap::Gap;
use tidings_protocol::position::Position;

use super::{Pull, Viewer};
use crate::encoding::Due;
use crate::held::Held;
use crate::snapshot::Snapshot;

/// What may be due before a pull ends, so that its reader can say it or let it be.
const DUES_MAX: usize = 64;

/// What the reader says in place of a frame, behind all frames of the pull in which it came up.
#[derive(Debug, Clone)]
pub enum Aside {
    /// How things stand, at the position where the stream goes on.
    Snapshot(Arc<Snapshot>),
    /// What it is not told.
    Gap(Gap),
}

/// What came up and was not taken yet.
#[derive(Debug, Default)]
pub(super) struct Attended {
    asides: VecDeque<Aside>,
    /// Each with the position of the newest event that made it due.
    dues: Vec<(Due, Position)>,
}

impl Viewer {
    /// From now on the reader takes snapshots and gaps by [`Viewer::take_aside`] and what is due by [`Viewer::take_dues`],
    /// after each pull: a pull ends where one comes up. Neither is encoded any more, nor made due by the other.
    pub fn attend(&mut self) {
        self.attended.get_or_insert_default();
    }

    /// The next snapshot or gap, if one came up; in the order in which they did.
    pub fn take_aside(&mut self) -> Option<Aside> {
        self.attended.as_mut()?.asides.pop_front()
    }

    /// What events of the last pull made due, each word once, with the position of the newest that did.
    pub fn take_dues(&mut self) -> Vec<(Due, Position)> {
        self.attended.as_mut().map(|attended| std::mem::take(&mut attended.dues)).unwrap_or_default()
    }

    /// A snapshot is due when the cursor reaches the head.
    pub fn want_snapshot(&mut self) {
        self.cursor.want_snapshot();
    }

    /// Whether one is.
    pub fn wants_snapshot(&self) -> bool {
        self.cursor.wants_snapshot()
    }

    /// Keeps something for a reader that attends. False: this one does not.
    pub(super) fn set_aside(&mut self, what: impl FnOnce() -> Aside, pull: &mut Pull<'_>) -> bool {
        let Some(attended) = &mut self.attended else { return false };
        attended.asides.push_back(what());
        pull.close();
        true
    }

    /// Events of this entry were told.
    pub(super) fn note_dues(&mut self, held: &Held, events: Range<usize>, pull: &mut Pull<'_>) {
        if self.attended.is_none() {
            return;
        }
        for (index, due) in held.dues(pull.encoding, events) {
            self.note_due(Some(due.clone()), held.entry().position_of(*index), pull);
        }
    }

    pub(super) fn note_due(&mut self, due: Option<Due>, position: Position, pull: &mut Pull<'_>) {
        let (Some(attended), Some(due)) = (&mut self.attended, due) else { return };
        match attended.dues.iter_mut().find(|(known, _)| *known == due) {
            Some((_, newest)) => *newest = position,
            None => attended.dues.push((due, position)),
        }
        if attended.dues.len() >= DUES_MAX {
            pull.close();
        }
    }
}
