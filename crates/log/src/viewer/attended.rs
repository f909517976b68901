//! What the reader of a dialect says himself: snapshots and gaps, which are not the same for all who have his encoding, and
//! what events make due.
//!
//! Where state is told, it is true exactly there, and yet a storm of readers costs few snapshots: one is made for a topic
//! about four times a second. Who waits for the next turn of a snapshot stands still meanwhile, so the one that is made then
//! lies ahead of him; whoever finds one ahead goes on to its place and no further, and has it there.

use std::collections::VecDeque;
use std::future::Future as _;
use std::ops::Range;
use std::pin::Pin;
use std::sync::Arc;
use std::task::Context;
use std::time::Duration;

use tidings_protocol::gap::Gap;
use tidings_protocol::position::Position;
use tokio::time::Sleep;

use super::{Pull, Viewer};
use crate::encoding::Due;
use crate::held::Held;
use crate::snapshot::Snapshot;
use crate::topic::machine::Machine;

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
    /// A snapshot that was asked for is told here (by running count) or later: what was known then comes before it.
    wished_at: u64,
    /// Until it is its turn to have a snapshot.
    held: Option<Pin<Box<Sleep>>>,
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

    /// A snapshot is due when the cursor reaches the head. A reader that attends and is no newcomer may have to wait for a moment,
    /// and gets one that others share: behind all that the topic knows now.
    pub fn want_snapshot(&mut self) {
        self.cursor.want_snapshot();
        let head = self.topic.view().position().n();
        if let Some(attended) = &mut self.attended {
            attended.wished_at = head;
        }
    }

    /// Whether one is.
    pub fn wants_snapshot(&self) -> bool {
        self.cursor.wants_snapshot()
    }

    /// The running count where state is to be had that others share, at the cursor or ahead of it: whoever wants some pulls until
    /// there. `u64::MAX`: nowhere.
    pub fn state_ahead(&self) -> u64 {
        self.shared_ahead(&self.topic.view())
    }

    fn shared_ahead(&self, machine: &Machine) -> u64 {
        let (at, ring) = (self.cursor.at(), machine.ring());
        let ahead = |made: &Position| made.n() >= at.n() && ring.place(at).is_some() && ring.place(*made).is_some();
        self.topic.recent_snapshot_at().filter(ahead).map_or(u64::MAX, |made| made.n())
    }

    /// Where it stops for a snapshot that it wants; `u64::MAX`: nowhere.
    pub(super) fn stop(&self, machine: &Machine) -> u64 {
        match &self.attended {
            Some(attended) if self.cursor.wants_snapshot() && !self.newcomer => {
                let ahead = self.shared_ahead(machine);
                if ahead >= attended.wished_at { ahead } else { u64::MAX }
            }
            Some(_) | None => u64::MAX,
        }
    }

    /// Stands still for so long.
    pub(super) fn hold(&mut self, time: Duration) {
        if let Some(attended) = &mut self.attended {
            attended.held = Some(Box::pin(tokio::time::sleep(time)));
        }
    }

    /// Whether it stands still; the context is woken when it does not any more.
    pub(super) fn is_held(&mut self, cx: &mut Context<'_>) -> bool {
        let Some(attended) = &mut self.attended else { return false };
        let is_held = attended.held.as_mut().is_some_and(|held| held.as_mut().poll(cx).is_pending());
        if !is_held {
            attended.held = None;
        }
        is_held
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
