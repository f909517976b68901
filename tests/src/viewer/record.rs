//! What one viewer writes down.

use crate::place::Place;

use super::said::{Event, Gap, Said};
use super::{Kind, Plan};

/// An event that was told.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Told {
    /// Its id.
    pub id: Box<str>,
    /// Its position.
    pub place: Place,
    /// It came with a former position, or marked as told before.
    pub marked: bool,
    /// Over which connection it came, counted from 1.
    pub connection: usize,
}

/// Everything that one viewer was told.
#[derive(Debug, Clone)]
pub struct Record {
    /// How it was connected.
    pub kind: Kind,
    /// Where its stream began; none: it never stood.
    pub start: Option<Place>,
    /// Events, in the order in which they came.
    pub told: Vec<Told>,
    /// Gaps, each with the number of events told before it.
    pub gaps: Vec<(usize, Gap)>,
    /// Connections that were tried.
    pub connections: usize,
    /// Why connections broke, when it was not the viewer who hung up.
    pub breaks: Vec<String>,
    /// Whether the store was away, each time that it was told.
    pub degraded: Vec<bool>,
    /// Times to come back that were told.
    pub draining: Vec<u64>,
    /// Codes with which the server closed.
    pub closes: Vec<(u16, String)>,
    /// Codes of refusals.
    pub errors: Vec<String>,
    /// Compacted stretches.
    pub compacted: usize,
    /// Snapshots: position and state.
    pub snapshots: Vec<(Place, serde_json::Value)>,
    /// The events' texts, where they are kept: (events told before, text).
    pub texts: Vec<Box<str>>,
    position: Option<String>,
    keeps_events: bool,
}

impl Record {
    /// An empty one.
    pub fn new(plan: &Plan) -> Record {
        Record {
            kind: plan.kind,
            start: match plan.after.as_str() {
                "start" => Some(Place::default()),
                after => after.parse().ok(),
            },
            told: Vec::new(),
            gaps: Vec::new(),
            connections: 0,
            breaks: Vec::new(),
            degraded: Vec::new(),
            draining: Vec::new(),
            closes: Vec::new(),
            errors: Vec::new(),
            compacted: 0,
            snapshots: Vec::new(),
            texts: Vec::new(),
            position: None,
            keeps_events: plan.keeps_events,
        }
    }

    /// Where to go on; none: as at the beginning.
    pub fn position(&self) -> Option<&str> {
        self.position.as_deref()
    }

    /// Running count of the position.
    pub fn position_n(&self) -> u64 {
        self.position.as_deref().map_or(0, |position| place(position).n)
    }

    /// Moves the cursor; the first move is where the stream begins.
    pub fn move_to(&mut self, position: String) {
        self.start.get_or_insert_with(|| place(&position));
        self.position = Some(position);
    }

    /// The stream began right before this position.
    pub fn begin_before(&mut self, position: &str) {
        let place = place(position);
        self.start = Some(Place { n: place.n - 1, ..place });
    }

    /// Writes down what was said.
    pub fn hear(&mut self, said: Said) {
        match said {
            Said::Event(event) => {
                self.take(&event);
                self.position = Some(event.position);
            }
            Said::Gap(gap) => {
                self.position = Some(gap.position.clone());
                self.gaps.push((self.told.len(), gap));
            }
            Said::Compacted { position, events } => {
                self.compacted += 1;
                for event in &events {
                    self.take(event);
                }
                self.position = Some(position);
            }
            Said::Snapshot { position, state } => {
                self.snapshots.push((place(&position), state));
                self.move_to(position);
            }
            Said::Subscribed { position } | Said::At { position } => self.move_to(position),
            Said::Degraded(active) => self.degraded.push(active),
            Said::Draining { retry_after_ms } => self.draining.push(retry_after_ms),
            Said::Error { code, .. } => self.errors.push(code),
            Said::Closed { code, reason } => self.closes.push((code, reason)),
            Said::Hello { .. } | Said::Presence(_) | Said::Change(_) | Said::Other(_) => {}
        }
    }

    fn take(&mut self, event: &Event) {
        let place = place(&event.position);
        self.told.push(Told {
            id: event.id.clone(),
            place,
            marked: event.was || event.seen,
            connection: self.connections,
        });
        if self.keeps_events {
            self.texts.push(event.json.clone());
        }
    }
}

fn place(text: &str) -> Place {
    text.parse().unwrap_or_else(|error| panic!("{error}"))
}
