//! Viewers: clients that watch a project, are cut off or let go, come back to any gateway behind their last position, and
//! write down everything that they are told.

use std::net::SocketAddr;
use std::ops::Range;
use std::sync::{Arc, PoisonError, RwLock};
use std::time::Duration;

use rand::rngs::StdRng;
use rand::{RngExt as _, SeedableRng as _};
use tokio::sync::watch;
use tokio::task::JoinSet;

use crate::wait::within;

pub mod deflate;
pub mod poll;
pub mod record;
pub mod said;
pub mod sse;
pub mod websocket;

pub use record::Record;
pub use said::Said;

/// How a viewer is connected.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Kind {
    /// WebSocket, `tidings.v1`.
    WebSocket,
    /// The same with permessage-deflate, by another library.
    WebSocketDeflate,
    /// Server-sent events.
    Sse,
    /// Long-polling.
    LongPoll,
}

impl Kind {
    /// All of them.
    pub const ALL: [Kind; 4] = [Kind::WebSocket, Kind::WebSocketDeflate, Kind::Sse, Kind::LongPoll];

    /// Its name in reports.
    pub fn as_str(self) -> &'static str {
        match self {
            Kind::WebSocket => "websocket",
            Kind::WebSocketDeflate => "deflate",
            Kind::Sse => "sse",
            Kind::LongPoll => "long-poll",
        }
    }
}

/// The addresses that clients know. Cheap to clone; all clones are one.
#[derive(Debug, Clone, Default)]
pub struct Directory(Arc<RwLock<Vec<SocketAddr>>>);

impl Directory {
    /// These addresses.
    pub fn new(addresses: Vec<SocketAddr>) -> Directory {
        Directory(Arc::new(RwLock::new(addresses)))
    }

    /// From now on these.
    pub fn set(&self, addresses: Vec<SocketAddr>) {
        *self.0.write().unwrap_or_else(PoisonError::into_inner) = addresses;
    }

    /// One of them.
    pub fn pick(&self, rng: &mut StdRng) -> SocketAddr {
        let addresses = self.0.read().unwrap_or_else(PoisonError::into_inner);
        addresses[rng.random_range(0..addresses.len())]
    }

    /// All of them.
    pub fn all(&self) -> Vec<SocketAddr> {
        self.0.read().unwrap_or_else(PoisonError::into_inner).clone()
    }
}

/// What a viewer does.
#[derive(Debug, Clone)]
pub struct Plan {
    /// How it connects.
    pub kind: Kind,
    /// What it watches.
    pub project: String,
    /// Where it starts: `start`, `now` or a position.
    pub after: String,
    /// After how many events it hangs up and comes back elsewhere; none: it stays.
    pub hang_up_after: Option<Range<usize>>,
    /// `lag` of its subscription.
    pub lag: &'static str,
    /// `snapshot` of its subscription.
    pub snapshot: bool,
    /// Whether it keeps the events' text, to fold them.
    pub keeps_events: bool,
    /// For what it draws.
    pub seed: u64,
}

impl Plan {
    /// A viewer that gets everything from the start and stays.
    pub fn new(kind: Kind, project: &str) -> Plan {
        Plan {
            kind,
            project: project.to_owned(),
            after: "start".to_owned(),
            hang_up_after: None,
            lag: "full",
            snapshot: false,
            keeps_events: false,
            seed: 0,
        }
    }

    /// The same, from here.
    pub fn after(self, after: &str) -> Plan {
        Plan { after: after.to_owned(), ..self }
    }

    /// The same, hanging up after so many events, again and again.
    pub fn roaming(self, events: Range<usize>, seed: u64) -> Plan {
        Plan { hang_up_after: Some(events), seed, ..self }
    }
}

/// When a visit to a gateway ends.
#[derive(Debug, Clone)]
pub(crate) struct Leave {
    /// At so many events in all.
    told: Option<usize>,
    until: watch::Receiver<Option<u64>>,
    progress: Arc<watch::Sender<u64>>,
}

impl Leave {
    /// Looked at after each thing that was said.
    fn is_due(&self, record: &Record) -> bool {
        self.progress.send_replace(record.position_n());
        self.told.is_some_and(|told| record.told.len() >= told) || self.is_done(record)
    }

    fn is_done(&self, record: &Record) -> bool {
        self.until.borrow().is_some_and(|n| record.position_n() >= n)
    }

    /// Wakes when the end was set.
    async fn changed(&mut self) {
        if self.until.changed().await.is_err() {
            std::future::pending::<()>().await;
        }
    }
}

/// Pause of a client before it comes back from a broken connection.
const COME_BACK_AFTER: Duration = Duration::from_millis(50);

/// Viewers at work.
#[derive(Debug)]
pub struct Viewers {
    gateways: Directory,
    until: watch::Sender<Option<u64>>,
    /// Running counts of their positions.
    progress: Vec<watch::Receiver<u64>>,
    tasks: JoinSet<Record>,
}

impl Viewers {
    /// Nobody yet.
    pub fn new(gateways: Directory) -> Viewers {
        Viewers { gateways, until: watch::Sender::new(None), progress: Vec::new(), tasks: JoinSet::new() }
    }

    /// One more.
    pub fn add(&mut self, plan: Plan) {
        let (gateways, until) = (self.gateways.clone(), self.until.subscribe());
        let (progress, position_n) = watch::channel(0);
        self.progress.push(position_n);
        self.tasks.spawn(watch_as(plan, gateways, Leave { told: None, until, progress: Arc::new(progress) }));
    }

    /// Waits until every viewer's position has reached this running count; they go on.
    pub async fn have_reached(&mut self, n: u64) {
        let name = format!("all viewers reach {n}");
        within(&name, async {
            for position_n in &mut self.progress {
                position_n.wait_for(|at| *at >= n).await.expect("viewers go on until they are told");
            }
        })
        .await;
    }

    /// Waits until every viewer's position has reached this running count, and takes what they wrote down.
    pub async fn reach(mut self, n: u64) -> Vec<Record> {
        self.until.send_replace(Some(n));
        let mut records = Vec::new();
        within("all viewers reach the end", async {
            while let Some(record) = self.tasks.join_next().await {
                records.push(record.expect("viewers do not panic"));
            }
        })
        .await;
        records
    }
}

/// Watches as planned until the end is reached.
async fn watch_as(plan: Plan, gateways: Directory, mut leave: Leave) -> Record {
    let mut rng = StdRng::seed_from_u64(plan.seed);
    let mut record = Record::new(&plan);
    let client = crate::http::client();
    while !leave.is_done(&record) {
        leave.told = plan.hang_up_after.clone().map(|range| record.told.len() + rng.random_range(range));
        let gateway = gateways.pick(&mut rng);
        record.connections += 1;
        let visited = match plan.kind {
            Kind::WebSocket => websocket::visit(gateway, &plan, &mut record, &mut leave).await,
            Kind::WebSocketDeflate => deflate::visit(gateway, &plan, &mut record, &mut leave).await,
            Kind::Sse => sse::visit(&client, gateway, &plan, &mut record, &mut leave).await,
            Kind::LongPoll => poll::visit(&client, gateway, &plan, &mut record, &mut leave).await,
        };
        if let Err(error) = visited {
            record.breaks.push(error.to_string());
            tokio::time::sleep(COME_BACK_AFTER).await;
        }
        leave.is_due(&record);
    }
    record
}
