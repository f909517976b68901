//! Two thousand viewers in one process: each checks what it is told as it comes, by the running count of positions, and keeps
//! a digest instead of a record.

use std::collections::{BTreeSet, HashMap};
use std::hash::{DefaultHasher, Hash as _, Hasher as _};
use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use anyhow::Context as _;
use parking_lot::Mutex;
use rand::SeedableRng as _;
use rand::rngs::StdRng;
use serde::Deserialize;
use serde_json::json;
use tidings_tests::place::Place;
use tidings_tests::runner::Ledger;
use tidings_tests::viewer::Directory;
use tidings_tests::viewer::websocket::{Connection, Heard};
use tidings_tests::wait::within;
use tokio::sync::{Semaphore, watch};
use tokio::task::JoinSet;
use tokio::time::Instant;

/// The code with which a gateway that goes closes a WebSocket.
const DRAINING: u16 = 4200;

/// Pause of a viewer behind something that should not have happened.
const AFTER_TROUBLE: Duration = Duration::from_millis(50);

/// Viewers that open their first connection at once.
const FIRST_AT_ONCE: usize = 50;

/// How often the gateway at a place was told to go, and how often it has gone and come again.
#[derive(Debug, Default)]
struct Rolls {
    begun: AtomicU64,
    finished: AtomicU64,
}

/// What all viewers share. Cheap to clone; all clones are one.
#[derive(Debug, Clone)]
pub(crate) struct Scene {
    /// Gateways that are ready.
    pub(crate) ready: Directory,
    rolls: Arc<HashMap<SocketAddr, Rolls>>,
    /// When viewers came back.
    returns: Arc<Mutex<Vec<Instant>>>,
}

impl Scene {
    pub(crate) fn new(gateways: Vec<SocketAddr>) -> Scene {
        let rolls = gateways.iter().map(|gateway| (*gateway, Rolls::default())).collect();
        Scene { ready: Directory::new(gateways), rolls: Arc::new(rolls), returns: Arc::default() }
    }

    /// From now on this gateway may send its viewers away.
    pub(crate) fn roll_begins(&self, gateway: SocketAddr) {
        self.rolls[&gateway].begun.fetch_add(1, Ordering::SeqCst);
    }

    /// The next one stands in its place, and may not.
    pub(crate) fn roll_ends(&self, gateway: SocketAddr) {
        self.rolls[&gateway].finished.fetch_add(1, Ordering::SeqCst);
    }

    /// All returns so far, in order.
    pub(crate) fn returns(&self) -> Vec<Instant> {
        let mut returns = self.returns.lock().clone();
        returns.sort_unstable();
        returns
    }
}

/// What one viewer was told.
#[derive(Debug, Default)]
pub(crate) struct Account {
    /// Events.
    pub(crate) told: u64,
    /// Running counts that were passed over and not told since.
    pub(crate) missing: BTreeSet<u64>,
    /// Events told before.
    pub(crate) duplicated: u64,
    /// Events told behind a later one.
    pub(crate) out_of_order: u64,
    /// How often it was sent away by a gateway that goes.
    pub(crate) sent_away: u64,
    /// How often by one that stays, and means to have fewer.
    pub(crate) sent_on: u64,
    /// Whatever else befell it.
    pub(crate) unexpected: Vec<String>,
    last: Option<String>,
    last_n: u64,
    /// Of ids and running counts, in the order in which they came.
    digest: DefaultHasher,
}

#[derive(Deserialize)]
struct Frame<'a> {
    op: &'a str,
    #[serde(borrow)]
    event: Option<Event<'a>>,
    retry_after_ms: Option<u64>,
    position: Option<&'a str>,
}

#[derive(Deserialize)]
struct Event<'a> {
    #[serde(rename = "type")]
    kind: &'a str,
    id: Option<&'a str>,
    position: &'a str,
}

/// The digest of a project's whole log, as a viewer from the start must have it.
fn digest_of(ledger: &Ledger) -> u64 {
    let acknowledged = ledger.acknowledged();
    let mut order: Vec<(u64, &str)> = acknowledged.iter().map(|(id, place)| (place.n, &**id)).collect();
    order.sort_unstable();
    let mut digest = DefaultHasher::new();
    for place in order {
        place.hash(&mut digest);
    }
    digest.finish()
}

impl Account {
    fn take(&mut self, event: &Event<'_>) {
        if event.kind == "gap" {
            self.unexpected.push(format!("a gap before {}", event.position));
            return;
        }
        let n = event.position.parse::<Place>().unwrap_or_else(|error| panic!("{error}")).n;
        self.told += 1;
        if n <= self.last_n {
            let late = self.missing.remove(&n);
            *(if late { &mut self.out_of_order } else { &mut self.duplicated }) += 1;
            return;
        }
        self.missing.extend(self.last_n + 1..n);
        (n, event.id.unwrap_or_default()).hash(&mut self.digest);
        self.last_n = n;
        self.last = Some(event.position.to_owned());
    }

    /// Whether it was told the whole log, each event at its place and once.
    pub(crate) fn is_whole(&self, ledger: &Ledger) -> bool {
        self.told == ledger.len() as u64 && self.digest.finish() == digest_of(ledger)
    }
}

/// How a visit to a gateway ended.
enum Ended {
    /// The viewer has what it came for.
    Done,
    /// The gateway goes, or has too many.
    SentAway { retry_after_ms: u64, stays: bool },
}

/// One viewer.
struct Viewer {
    project: String,
    scene: Scene,
    /// The running count with which the log ends; 0: not known yet.
    end: watch::Receiver<u64>,
    account: Account,
}

impl Viewer {
    /// Watches to the end, at one gateway after the other.
    async fn watch(mut self, seed: u64, first: Arc<Semaphore>) -> Account {
        let mut rng = StdRng::seed_from_u64(seed);
        let mut permit = Some(first.acquire_owned().await.expect("it is never closed"));
        loop {
            let gateway = self.scene.ready.pick(&mut rng);
            match self.visit(gateway, &mut permit).await {
                Ok(Ended::Done) => return self.account,
                Ok(Ended::SentAway { retry_after_ms, stays }) => {
                    *(if stays { &mut self.account.sent_on } else { &mut self.account.sent_away }) += 1;
                    tokio::time::sleep(Duration::from_millis(retry_after_ms)).await;
                }
                Err(error) => {
                    self.account.unexpected.push(format!("{gateway}: {error:#}"));
                    tokio::time::sleep(AFTER_TROUBLE).await;
                }
            }
            self.scene.returns.lock().push(Instant::now());
        }
    }

    async fn visit<P>(&mut self, gateway: SocketAddr, first: &mut Option<P>) -> anyhow::Result<Ended> {
        let rolls = self.scene.rolls.clone();
        let rolls = &rolls[&gateway];
        let gone = rolls.finished.load(Ordering::SeqCst);
        let mut connection = Connection::open(gateway).await?;
        let after = self.account.last.as_deref().unwrap_or("start");
        connection.say(&json!({"op": "subscribe", "project": self.project, "after": after})).await?;
        first.take();
        let mut told = None;
        loop {
            let end = *self.end.borrow_and_update();
            if end > 0 && self.account.last_n >= end {
                return Ok(Ended::Done);
            }
            let heard = tokio::select! {
                heard = connection.hear_raw() => heard?,
                changed = self.end.changed() => { changed?; continue }
            };
            match heard {
                Heard::Text(text) => told = self.hear(&text)?.or(told),
                Heard::Closed { code, reason } => {
                    anyhow::ensure!(code == DRAINING, "closed with {code} {reason}");
                    let retry_after_ms = told.context("closed without being told")?;
                    let stays = rolls.begun.load(Ordering::SeqCst) == gone;
                    return Ok(Ended::SentAway { retry_after_ms, stays });
                }
            }
        }
    }

    /// Hears a frame; some time: that after which to come back.
    fn hear(&mut self, text: &str) -> anyhow::Result<Option<u64>> {
        let frame: Frame<'_> = serde_json::from_str(text).with_context(|| format!("no frame: {text}"))?;
        match (frame.op, &frame.event) {
            ("event", Some(event)) => self.account.take(event),
            ("draining", _) => return Ok(Some(frame.retry_after_ms.context("no time to come back")?)),
            ("subscribed", _) if self.account.last.is_none() || frame.position == self.account.last.as_deref() => {}
            // A slow machine may lose sight of the store: viewers stay, and are told.
            ("hello" | "at" | "degraded", _) => {}
            _ => self.account.unexpected.push(text.to_owned()),
        }
        Ok(None)
    }
}

/// Viewers of one project.
#[derive(Debug)]
pub(crate) struct Audience {
    /// What its runner was acknowledged.
    pub(crate) ledger: Ledger,
    end: watch::Sender<u64>,
    viewers: JoinSet<Account>,
}

impl Audience {
    /// So many come, a few at a time.
    pub(crate) fn gather(project: &str, viewers: usize, scene: &Scene, first: &Arc<Semaphore>) -> Audience {
        let end = watch::Sender::new(0);
        let mut audience = JoinSet::new();
        for _ in 0..viewers {
            let (project, scene, account) = (project.to_owned(), scene.clone(), Account::default());
            let viewer = Viewer { project, scene, end: end.subscribe(), account };
            audience.spawn(viewer.watch(rand::random(), first.clone()));
        }
        Audience { ledger: Ledger::default(), end, viewers: audience }
    }

    /// How many they are.
    pub(crate) fn viewers(&self) -> usize {
        self.viewers.len()
    }

    /// Waits until all have been told everything, and takes their accounts.
    pub(crate) async fn leave(mut self) -> (Ledger, Vec<Account>) {
        self.end.send_replace(self.ledger.last_n());
        let mut accounts = Vec::new();
        within("all viewers reach the end", async {
            while let Some(account) = self.viewers.join_next().await {
                accounts.push(account.expect("viewers do not panic"));
            }
        })
        .await;
        (self.ledger, accounts)
    }
}

/// Who opens a first connection.
pub(crate) fn doorway() -> Arc<Semaphore> {
    Arc::new(Semaphore::new(FIRST_AT_ONCE))
}
