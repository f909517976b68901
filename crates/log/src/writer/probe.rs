//! Asks the store each second which incarnation it is, so that a project that nobody writes to heals too (docs/log.md L9).

use std::collections::HashMap;
use std::sync::{Arc, Weak};
use std::time::Duration;

use parking_lot::Mutex;
use tidings_protocol::project::Project;
use tokio::sync::Semaphore;
use tokio_util::sync::CancellationToken;

use super::lane::{self, Probed};
use super::{Entry, Writers};

/// How often the store is asked; also as soon as a lost connection is there again.
const EVERY: Duration = Duration::from_secs(1);

/// A server is asked by so many of its projects, since a log of a newer format gives no answer.
const ASKED: usize = 4;

/// So many projects heal at once; the others wait, so that what runners bring gets through.
const HEALING_MAX: usize = 64;

/// After this time one that still heals, or is written to again, makes room for another.
const TURN: Duration = Duration::from_secs(1);

/// How long the store of each place has been the same one, as far as this process has looked.
#[derive(Debug, Default)]
pub(super) struct Sightings(Mutex<HashMap<u32, (Arc<str>, Duration)>>);

impl Sightings {
    /// The store of this place said at `now` which incarnation it is: for how long it is known to be that one.
    pub(super) fn seen(&self, place: u32, incarnation: &str, now: Duration) -> Duration {
        let mut places = self.0.lock();
        let (known, since) = places.entry(place).or_insert_with(|| (incarnation.into(), now));
        if **known != *incarnation {
            (*known, *since) = (incarnation.into(), now);
        }
        now.saturating_sub(*since)
    }
}

impl Writers {
    /// Watches for forks until `stop`: after one, every project of which anything is kept is asked what it lacks, and that
    /// is put back. Without this they heal only when they are written to, and nothing leaves memory but for want of room.
    pub async fn watch(&self, stop: CancellationToken) {
        let mut connected = self.shared.connected.clone();
        loop {
            tokio::select! {
                () = stop.cancelled() => return,
                () = tokio::time::sleep(EVERY) => {}
                changed = connected.changed() => if changed.is_err() { return },
            }
            tokio::select! {
                () = stop.cancelled() => return,
                () = self.look() => {}
            }
        }
    }

    /// Asks once, for each server that holds projects of ours.
    pub(super) async fn look(&self) {
        let shared = &self.shared;
        let mut places: HashMap<u32, Vec<(Project, Weak<Entry>)>> = HashMap::new();
        for (project, entry) in &*shared.lanes.lock() {
            places.entry(shared.broker.place(project)).or_default().push((project.clone(), Arc::downgrade(entry)));
        }
        let turns = Arc::new(Semaphore::new(HEALING_MAX));
        for (place, entries) in places {
            let at = shared.now();
            let some = entries.iter().take(ASKED).map(|(project, _)| project.clone()).collect();
            let Some(head) = shared.broker.heads(some).await.into_iter().find_map(Result::ok) else { continue };
            shared.sightings.seen(place, &head.incarnation, at);
            let probed = Probed { incarnation: head.incarnation.into(), at };
            for (_, entry) in entries {
                // A lane that was forgotten meanwhile had nothing to put back.
                let Some(entry) = entry.upgrade() else { continue };
                let Some(parked) = entry.lane.probed(&probed) else { continue };
                let running = shared.tasks.spawn(lane::run(shared.clone(), entry.lane.clone(), parked));
                // The semaphore is never closed.
                let Ok(turn) = turns.clone().acquire_owned().await else { return };
                tokio::spawn(async move {
                    // Late or not, its turn is over; the task goes on by itself.
                    let _ = tokio::time::timeout(TURN, running).await;
                    drop(turn);
                });
            }
        }
    }
}
