//! Runners: they post batches until each is acknowledged, at whatever ingest answers, under the same ids. The ledger
//! keeps what was acknowledged; it is what auditors hold viewers against.

use std::collections::HashMap;
use std::net::SocketAddr;
use std::ops::Range;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use rand::rngs::StdRng;
use rand::{RngExt as _, SeedableRng as _};
use serde::Deserialize;
use serde_json::{Value, json};
use tokio::sync::watch;

use crate::http::{self, Answer};
use crate::place::Place;
use crate::swarm::Swarm;
use crate::viewer::Directory;
use crate::wait::within;

/// Pause of a runner before it sends a batch again.
const AGAIN_AFTER: Duration = Duration::from_millis(50);

/// A batch that nobody took for so long is taken by nobody: longer than any trouble that a test makes.
const NEVER_AFTER: Duration = Duration::from_mins(5);

/// All acknowledged events. Cheap to clone; all clones are one.
#[derive(Debug, Clone)]
pub struct Ledger(Arc<Inner>);

#[derive(Debug)]
struct Inner {
    acknowledged: Mutex<HashMap<Box<str>, Place>>,
    count: watch::Sender<usize>,
}

impl Default for Ledger {
    fn default() -> Ledger {
        Ledger(Arc::new(Inner { acknowledged: Mutex::default(), count: watch::Sender::new(0) }))
    }
}

impl Ledger {
    /// Acknowledged events by id.
    pub fn acknowledged(&self) -> MutexGuard<'_, HashMap<Box<str>, Place>> {
        self.0.acknowledged.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// How many.
    pub fn len(&self) -> usize {
        self.acknowledged().len()
    }

    /// Whether there is none.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// Running count of the last one.
    pub fn last_n(&self) -> u64 {
        self.acknowledged().values().map(|place| place.n).max().unwrap_or(0)
    }

    /// Waits until so many are acknowledged.
    pub async fn reaches(&self, count: usize) {
        let mut counts = self.0.count.subscribe();
        let name = format!("{count} events are acknowledged");
        within(&name, counts.wait_for(|now| *now >= count)).await.expect("the sender is ours");
    }

    /// Enters acknowledged events.
    ///
    /// # Panics
    /// When an id was acknowledged before at another position.
    pub fn enter(&self, results: &[Acknowledged]) {
        let mut acknowledged = self.acknowledged();
        for Acknowledged { id, position, .. } in results {
            let place: Place = position.parse().unwrap_or_else(|error| panic!("{error}"));
            let former = acknowledged.insert(id.as_str().into(), place);
            assert!(former.is_none_or(|former| former == place), "{id} stands at {former:?} and at {place}");
        }
        let count = acknowledged.len();
        drop(acknowledged);
        self.0.count.send_replace(count);
    }
}

/// One event's acknowledgement.
#[derive(Debug, Clone, Deserialize)]
pub struct Acknowledged {
    /// Its id.
    pub id: String,
    /// Where it stands.
    pub position: String,
    /// `appended` or `duplicate`.
    pub status: String,
}

/// Reads the acknowledgements out of an answer.
pub fn results(answer: &Answer) -> Vec<Acknowledged> {
    serde_json::from_value(answer.json()["results"].clone())
        .unwrap_or_else(|error| panic!("{error}: {}", answer.text()))
}

/// What a runner went through.
#[derive(Debug, Clone, Copy, Default)]
pub struct Trouble {
    /// Batches that were sent again.
    pub again: usize,
    /// Events that had been appended by an earlier sending.
    pub duplicates: usize,
}

/// A runner.
#[derive(Debug)]
pub struct Runner {
    /// What it posts.
    pub swarm: Swarm,
    project: String,
    ingests: Directory,
    ledger: Ledger,
    client: reqwest::Client,
    rng: StdRng,
    /// What it went through.
    pub trouble: Trouble,
}

impl Runner {
    /// A runner by name.
    pub fn new(name: &str, project: &str, ingests: Directory, ledger: Ledger) -> Runner {
        let seed = name.bytes().map(u64::from).sum();
        Runner {
            swarm: Swarm::new(name, seed),
            project: project.to_owned(),
            ingests,
            ledger,
            client: http::client(),
            rng: StdRng::seed_from_u64(seed),
            trouble: Trouble::default(),
        }
    }

    /// Posts so many events in batches of these sizes, one batch after the other.
    pub async fn post(&mut self, events: usize, sizes: Range<usize>) {
        let mut left = events;
        while left > 0 {
            // Most batches are small, some are as large as may be.
            let size = if self.rng.random_bool(0.2) { self.rng.random_range(sizes.clone()) } else { sizes.start * 20 };
            let size = size.clamp(1, left);
            let batch = self.swarm.events(size);
            self.post_batch(&batch).await;
            left -= size;
        }
    }

    /// Posts one batch until it is acknowledged.
    ///
    /// # Panics
    /// When it is refused for good, or by everybody for longer than five minutes.
    pub async fn post_batch(&mut self, batch: &[Value]) {
        let begun = Instant::now();
        let mut ingest = self.ingests.pick(&mut self.rng);
        loop {
            match self.try_post(ingest, batch).await {
                Ok(results) => {
                    self.trouble.duplicates += results.iter().filter(|result| result.status == "duplicate").count();
                    self.ledger.enter(&results);
                    return;
                }
                Err(trouble) => {
                    assert!(!trouble.is_final, "a sound batch was refused: {}", trouble.what);
                    assert!(begun.elapsed() < NEVER_AFTER, "a batch is taken by nobody: {}", trouble.what);
                    self.trouble.again += 1;
                    tokio::time::sleep(AGAIN_AFTER).await;
                    // Elsewhere, where there is an elsewhere.
                    let others: Vec<SocketAddr> = self.ingests.all().into_iter().filter(|at| *at != ingest).collect();
                    ingest = others.first().copied().unwrap_or_else(|| self.ingests.pick(&mut self.rng));
                }
            }
        }
    }

    async fn try_post(&self, ingest: SocketAddr, batch: &[Value]) -> Result<Vec<Acknowledged>, NotPosted> {
        let url = format!("http://{ingest}/v1/projects/{}/events", self.project);
        let passing = |error: reqwest::Error| NotPosted { what: error.to_string(), is_final: false };
        let answer = self.client.post(url).json(&json!(batch)).send().await.map_err(passing)?;
        let answer = Answer::read(answer).await.map_err(passing)?;
        match answer.status {
            200 => {
                let results = results(&answer);
                assert_eq!(results.len(), batch.len(), "a position for each event");
                Ok(results)
            }
            status => {
                Err(NotPosted { what: format!("{status} {}", answer.text()), is_final: !matches!(status, 503 | 504) })
            }
        }
    }
}

struct NotPosted {
    what: String,
    is_final: bool,
}
