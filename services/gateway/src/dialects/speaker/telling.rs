//! What a client is told of the project: its events, in order, and present state.
//!
//! What events are is encoded once for all ([`super::super::encoding`]); what is one connection's own is said here: greetings,
//! answers, what is due, and what is said of gaps. Each state is true exactly where it stands in this very stream, but that who
//! has waited for too long is content with one of a moment before.

use std::task::Context;

use bytes::Bytes;
use tidings_dialects::{Missing, View};
use tidings_log::snapshot::Snapshot;
use tidings_log::topic::Between;
use tidings_log::viewer::{Aside, Pull, Viewer};
use tidings_protocol::project::Project;
use tidings_ws::frame;
use tokio::time::Instant;

use super::super::now_ms;
use super::super::owed::Wanted;
use super::Speaker;
use crate::ws::connection::{Line, WRITE_BYTES};

/// Events that are passed in one turn: many of them may be nothing in the dialect, and others want their turn, too.
const TURN_EVENTS: usize = 4_096;

impl Speaker {
    /// Says what the viewer has set aside. False: nothing.
    fn say_asides(&mut self, line: &mut Line) -> bool {
        let mut said = false;
        while let Some(aside) = self.viewer.as_mut().and_then(Viewer::take_aside) {
            said = true;
            match aside {
                Aside::Snapshot(snapshot) => self.greet_by(line, &snapshot),
                Aside::Gap(gap) => match self.encoding.dialect.gap(&gap) {
                    Missing::GreetAgain => self.greet_again(),
                    Missing::Tell(text) => line.frames.push(frame::text(text.as_bytes())),
                    Missing::Nothing => {}
                },
            }
        }
        said
    }

    fn greet_again(&mut self) {
        self.owed.settled();
        self.resumed = true;
        if let Some(viewer) = &mut self.viewer {
            viewer.want_snapshot();
        }
    }

    fn greet_by(&mut self, line: &mut Line, snapshot: &Snapshot) {
        let mut texts = Vec::new();
        let resumed = std::mem::replace(&mut self.resumed, true);
        self.encoding.dialect.greet(&view(&self.project, snapshot), resumed, &mut texts);
        line.frames.extend(texts.iter().map(|text| frame::text(text.as_bytes())));
    }

    /// Takes events, and what comes up among them, until something is to be written or nothing is left; not beyond a state that
    /// others have, where one is wanted.
    pub(super) fn take_events(&mut self, line: &mut Line, cx: &mut Context<'_>, now: Instant) {
        while line.frames.is_empty() {
            let Some(viewer) = &mut self.viewer else { return };
            let wants_state =
                !viewer.wants_snapshot() && matches!(self.owed.wants(now), Wanted::Exact | Wanted::Recent);
            let until = if wants_state { viewer.state_ahead() } else { u64::MAX };
            let mut pull = Pull {
                encoding: &*self.encoding,
                out: &mut line.frames,
                bytes_left: WRITE_BYTES,
                events_left: TURN_EVENTS,
                until,
            };
            let wanted = line.sampler.wants();
            if wanted {
                viewer.want_sample();
            }
            if line.deliveries.is_on() {
                viewer.want_traced();
            }
            let polled = viewer.poll_pull(cx, &mut pull);
            if line.deliveries.is_on() {
                line.deliveries.take(viewer.take_traced());
            }
            let sample = wanted.then(|| viewer.take_sample()).flatten();
            if !line.frames.is_empty() {
                line.sampler.taken(sample);
            }
            let (dues, stopped) = (viewer.take_dues(), viewer.at().n() >= until);
            if !self.owed.due(dues, now) {
                self.greet_again();
            }
            if !self.say_asides(line) {
                if polled.is_ready() && line.frames.is_empty() || stopped {
                    // There is more: behind what is told here, or when others had their turn.
                    cx.waker().wake_by_ref();
                    return;
                }
                if polled.is_pending() {
                    return;
                }
            }
        }
    }

    /// Tells how things stand, where that was asked for or is due, by a state of where this client is: as much as is written
    /// at once.
    pub(super) fn tell_state(&mut self, line: &mut Line, now: Instant) {
        let Some(viewer) = &self.viewer else { return };
        if viewer.wants_snapshot() {
            // It is about to be told everything.
            return;
        }
        let at = viewer.at();
        let since = match self.owed.wants(now) {
            Wanted::Nothing => return,
            Wanted::At(time) => return self.alarm.by(time),
            Wanted::Exact => Some(at),
            Wanted::Recent => None,
        };
        match viewer.topic().state_between(since, at) {
            Between::Here(snapshot) => {
                let view = view(&self.project, &snapshot);
                let (mut texts, mut bytes) = (Vec::new(), line.frames.iter().map(Bytes::len).sum::<usize>());
                while bytes < WRITE_BYTES
                    && let Some(ask) = self.owed.next(snapshot.position, now)
                {
                    self.encoding.dialect.present(&ask, &view, &mut texts);
                    bytes += texts.iter().map(String::len).sum::<usize>();
                    line.frames.extend(texts.drain(..).map(|text| frame::text(text.as_bytes())));
                }
                if let Wanted::At(time) = self.owed.wants(now) {
                    self.alarm.by(time);
                }
            }
            Between::Later(time) => self.alarm.by(now + time),
            // The connection is woken for the news, or when the fold is there.
            Between::Moved | Between::Cold => {}
        }
    }
}

fn view<'a>(project: &'a Project, snapshot: &'a Snapshot) -> View<'a> {
    View { project, position: snapshot.position, state: snapshot.value(), now_ms: now_ms() }
}
