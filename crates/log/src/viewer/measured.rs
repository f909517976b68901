//! What is measured of a viewer: whether it is behind, how it came back, and now and then how late it is told.
//!
//! A sample costs nothing where none was asked for: it reads two numbers that lie beside the event.

use std::sync::Arc;

use tidings_protocol::position::Position;
use tidings_protocol::wire;

use super::Viewer;
use crate::held::Held;
use crate::metrics::Resumed;

/// Entries of sampled traces that are remembered of one pull.
const TRACED_MAX: usize = 4;

/// When an event that a viewer was told live came into being.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Sample {
    /// By the store's clock, when it was appended: milliseconds since the Unix epoch.
    pub appended_ms: u64,
    /// By the runner's clock, when it was sent, as far as ingest believes it; 0: it did not say.
    pub sent_ms: u64,
}

/// What a viewer knows of itself for this.
#[derive(Debug, Default)]
pub(super) struct Measured {
    /// It came back, and it is not counted yet how.
    pub(super) resuming: bool,
    /// What it is told lies on a page.
    pub(super) replaying: bool,
    standing: Standing,
    sampling: Sampling,
    /// Entries of sampled traces that were told live, where somebody asks for them.
    traced: Option<Vec<Arc<Held>>>,
}

/// Where it stands.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
enum Standing {
    /// On the ring, and not at the head since it began or was last behind.
    #[default]
    CatchingUp,
    /// Off the ring, and counted so.
    Behind,
    /// It has been at the head: what it is told is news.
    Live,
}

#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
enum Sampling {
    /// Nobody wants a sample.
    #[default]
    Off,
    /// Of what is told next.
    Wanted,
    Taken(Sample),
}

impl Viewer {
    /// Asks for a sample of what is told next, until [`Viewer::take_sample`].
    pub fn want_sample(&mut self) {
        self.measured.sampling = Sampling::Wanted;
    }

    /// The first event that was told live since [`Viewer::want_sample`]: it waited longest. None: nothing was.
    pub fn take_sample(&mut self) -> Option<Sample> {
        match std::mem::take(&mut self.measured.sampling) {
            Sampling::Taken(sample) => Some(sample),
            Sampling::Off | Sampling::Wanted => None,
        }
    }

    /// Asks for the entries of sampled traces that are told live next, until [`Viewer::take_traced`].
    pub fn want_traced(&mut self) {
        self.measured.traced.get_or_insert_default();
    }

    /// Those that were told since [`Viewer::want_traced`], a few at most.
    pub fn take_traced(&mut self) -> Vec<Arc<Held>> {
        self.measured.traced.take().unwrap_or_default()
    }

    /// Some of an entry of a sampled trace was told.
    pub(super) fn note_traced(&mut self, held: &Arc<Held>) {
        if let Some(traced) = &mut self.measured.traced
            && !self.measured.replaying
            && traced.len() < TRACED_MAX
        {
            traced.push(held.clone());
        }
    }

    /// Events were told, the first of which stands here.
    pub(super) fn on_told(&mut self, events: u64, first: Position, event: Option<&wire::Event>) {
        self.topic.on_told(events);
        if self.measured.replaying {
            self.topic.metrics().replayed.inc_by(events);
        } else if self.measured.sampling == Sampling::Wanted && self.measured.standing == Standing::Live {
            let sent_ms = event.map_or(0, |event| event.sent_ms);
            self.measured.sampling = Sampling::Taken(Sample { appended_ms: first.ms(), sent_ms });
        }
    }

    /// What follows the cursor is not on the ring.
    pub(super) fn fall_behind(&mut self) {
        if std::mem::replace(&mut self.measured.standing, Standing::Behind) != Standing::Behind {
            self.topic.metrics().viewers_behind.inc();
        }
    }

    /// The cursor is on the ring, or its viewer goes.
    pub(super) fn catch_up(&mut self) {
        if self.measured.standing == Standing::Behind {
            self.measured.standing = Standing::CatchingUp;
            self.topic.metrics().viewers_behind.dec();
        }
    }

    /// Everything is told.
    pub(super) fn reach_head(&mut self) {
        self.catch_up();
        self.measured.standing = Standing::Live;
        self.resumed(Resumed::Exact);
    }

    /// It is known how the viewer goes on. The first word counts.
    pub(super) fn resumed(&mut self, how: Resumed) {
        if std::mem::take(&mut self.measured.resuming) {
            self.topic.metrics().on_resumed(how);
        }
    }
}
