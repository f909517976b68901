//! One clock for all grants in use: each is looked at once every [`REVALIDATE_EVERY`], a twentieth of them at a time, so that
//! many of them are no burst. A store that hangs delays those alone that must be looked up in it, and no expiry.

use std::sync::Arc;
use std::sync::Weak;
use std::sync::atomic::{AtomicUsize, Ordering};

use futures_util::StreamExt as _;
use futures_util::stream::iter;
use parking_lot::Mutex;
use tidings_auth::limits::REVALIDATE_EVERY;
use tidings_auth::{Authenticator, unix_now};
use tokio::time::MissedTickBehavior;
use tokio_util::task::AbortOnDropHandle;

use super::held::Entry;

const BUCKETS: usize = 20;

/// Look-ups of one bucket at the same time.
const LOOKUPS_MAX: usize = 64;

/// The grants in use.
#[derive(Default)]
pub(super) struct Watch {
    /// Bounded by what the services hold open: whoever is dropped leaves with the next look.
    buckets: [Mutex<Vec<Weak<Entry>>>; BUCKETS],
    next: AtomicUsize,
}

impl Watch {
    pub(super) fn add(&self, entry: &Arc<Entry>) {
        let bucket = self.next.fetch_add(1, Ordering::Relaxed) % BUCKETS;
        self.buckets[bucket].lock().push(Arc::downgrade(entry));
    }

    /// Never ends. Dropping it stops the look-ups.
    pub(super) async fn keep(&self, authenticator: &Authenticator) {
        if authenticator.is_open() {
            return std::future::pending().await;
        }
        let mut ticks = tokio::time::interval(REVALIDATE_EVERY / u32::try_from(BUCKETS).expect("it is small"));
        ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
        let mut lookups: [Option<AbortOnDropHandle<()>>; BUCKETS] = Default::default();
        for bucket in (0..BUCKETS).cycle() {
            ticks.tick().await;
            let now = unix_now();
            let mut due = self.live(bucket);
            due.retain(|entry| entry.is_due(authenticator, now));
            let busy = lookups[bucket].as_ref().is_some_and(|lookup| !lookup.is_finished());
            if due.is_empty() || busy {
                continue;
            }
            let authenticator = authenticator.clone();
            let lookup = async move {
                let each = |entry: Arc<Entry>| {
                    let authenticator = &authenticator;
                    async move { entry.look_up(authenticator, now).await }
                };
                iter(due).for_each_concurrent(LOOKUPS_MAX, each).await;
            };
            lookups[bucket] = Some(AbortOnDropHandle::new(tokio::spawn(lookup)));
        }
    }

    /// Those of a bucket that are still in use.
    fn live(&self, bucket: usize) -> Vec<Arc<Entry>> {
        let mut live = Vec::new();
        self.buckets[bucket].lock().retain(|entry| {
            entry.upgrade().is_some_and(|entry| {
                live.push(entry);
                true
            })
        });
        live
    }
}
