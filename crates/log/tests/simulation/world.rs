//! The world: a store of two nodes, two ingests, two gateways, their viewers and runners; what each step of a schedule does
//! to them, and how all of it comes to rest.

use std::sync::Arc;
use std::sync::LazyLock;
use std::time::Duration;

use parking_lot::Mutex;
use tidings_broker::{AppendCall, CallError, NothingWhy};
use tidings_log::hub::{Hub, HubSettings, TOPICS_MAX};
use tidings_log::metrics::Metrics;
use tidings_log::writer::machine::{Note, Outcome, Step as Answered};
use tidings_protocol::position::Position;
use tidings_protocol::project::Project;
use tidings_protocol::wire;
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

use super::ingest::{Ingest, Recall};
use super::schedule::{Op, Step};
use super::store::Store;
use super::watcher::{Kind, Watcher};
use super::wire::Wire;

const VIEWERS: [Kind; 7] =
    [Kind::Plain, Kind::Plain, Kind::Following, Kind::Filtered, Kind::Compact, Kind::LongPoll, Kind::Newcomer];

static METRICS: LazyLock<Metrics> =
    LazyLock::new(|| Metrics::register(&prometheus::Registry::new()).expect("an empty registry"));

/// What a runner sent, and may send again.
pub(crate) struct Request {
    pub(crate) events: Vec<wire::Event>,
    /// Its ids, or its producer's steps, let the log recognise it.
    pub(crate) repeatable: bool,
    pub(crate) ingest: usize,
    pub(crate) key: u64,
    /// Events of it that were answered.
    pub(crate) answered: Vec<bool>,
    /// When it was first sent, and whether it was sent again.
    pub(crate) asked: Duration,
    pub(crate) repeated: bool,
}

/// An acknowledgement that a runner heard.
pub(crate) struct Ack {
    pub(crate) id: String,
    pub(crate) ingest: usize,
    pub(crate) life: u32,
    /// When it was first sent, and when the runner heard.
    pub(crate) asked: Duration,
    pub(crate) heard: Duration,
    pub(crate) position: Option<Position>,
}

/// A gateway: the real hub, and the switch that ends it.
pub(crate) struct Gateway {
    pub(crate) hub: Hub,
    pub(crate) stop: CancellationToken,
}

/// Everything.
pub(crate) struct World {
    pub(crate) store: Arc<Mutex<Store>>,
    pub(crate) ingests: Vec<Ingest>,
    pub(crate) gateways: Vec<Gateway>,
    pub(crate) watchers: Vec<Watcher>,
    pub(crate) requests: Vec<Request>,
    pub(crate) acks: Vec<Ack>,
    /// Sendings that were given up and may arrive yet.
    pub(crate) late: Vec<(AppendCall, usize)>,
    pub(crate) recall: Recall,
    ring_bytes: usize,
    pub(crate) keys: u64,
    pub(crate) sequence: u64,
    pub(crate) project: Project,
    pub(crate) began: Instant,
}

impl World {
    pub(crate) fn new(seed: u64, traced: bool) -> World {
        let skew = |shift: u64| [0, 0, 20_000, -30_000][((seed >> shift) % 4) as usize];
        let mut store = Store::new([skew(2), skew(4)], [700, 1_500, 1 << 20][(seed % 3) as usize], traced);
        let recall = [Recall::All, Recall::All, Recall::Some, Recall::Nothing][((seed / 3) % 4) as usize];
        let ingests = (0..2).map(|_| Ingest::new(&mut store, recall, 0)).collect();
        store.reads_from = vec![0, 0];
        let watchers = VIEWERS.iter().enumerate().map(|(name, kind)| Watcher::new(name, *kind)).collect();
        let mut world = World {
            store: Arc::new(Mutex::new(store)),
            ingests,
            gateways: Vec::new(),
            watchers,
            requests: Vec::new(),
            acks: Vec::new(),
            late: Vec::new(),
            recall,
            ring_bytes: [1_500, 4_000, 1 << 20][((seed / 12) % 3) as usize],
            keys: 0,
            sequence: 0,
            project: "p".parse().expect("a name"),
            began: Instant::now(),
        };
        world.gateways = (0..2).map(|index| world.gateway(index)).collect();
        world
    }

    fn gateway(&self, index: usize) -> Gateway {
        let settings = HubSettings {
            ring_bytes_max: self.ring_bytes,
            budget_bytes: 1 << 30,
            pages_bytes_max: 1 << 20,
            tail_check: Duration::from_secs(5),
            linger: Duration::from_hours(1),
            topics_max: TOPICS_MAX,
            writer: format!("g{index}").into(),
        };
        let broker = Arc::new(Wire { store: self.store.clone(), gateway: index });
        let tasks = TaskTracker::new();
        let hub = Hub::new(broker, settings, tasks.clone(), METRICS.clone());
        let stop = CancellationToken::new();
        tasks.spawn(hub.clone().run(stop.clone()));
        // The topic begins at once, so that its reads are part of the schedule.
        drop(hub.topic(&self.project).expect("room for one"));
        Gateway { hub, stop }
    }

    pub(crate) fn now(&self) -> Duration {
        self.began.elapsed()
    }

    /// Runs a schedule.
    pub(crate) async fn run(&mut self, schedule: &[Step]) {
        for step in schedule {
            self.store.lock().say(|| super::schedule::text(&[*step]));
            self.step(*step).await;
            tokio::time::advance(Duration::from_millis(1)).await;
            for _ in 0..(step.a ^ step.b) % 5 {
                tokio::task::yield_now().await;
            }
        }
    }

    async fn step(&mut self, Step { op, a, b }: Step) {
        let (a, b) = (usize::from(a), usize::from(b));
        let (ingest, gateway, node) = (a % 2, a % 2, a % 2);
        match op {
            Op::Request => self.request(ingest, b),
            Op::Produce => self.produce(ingest, b),
            Op::Send | Op::Arrive | Op::Reply | Op::Go => self.travel(op, ingest),
            Op::TimeOut => self.time_out(ingest),
            Op::Late => self.arrive_late(a, b),
            Op::Retry => self.retry(a, b),
            Op::Refuse => self.refuse(ingest),
            Op::Probe => {
                let now = self.now();
                self.ingests[ingest].probe(&self.store.lock(), now);
            }
            Op::Crash => self.crash(ingest),
            Op::Move => self.follow_main(a % 4),
            Op::Hear => self.hear(gateway, 1 + b % 3),
            Op::Lose => self.lose(gateway, b),
            Op::Serve => self.serve(gateway, b),
            Op::Fail => self.fail_reads(gateway),
            Op::CatchUp => self.catch_up(gateway, b).await,
            Op::Resubscribe => self.store.lock().resubscribe(gateway),
            Op::GatewayRestart => self.restart_gateway(gateway),
            Op::View => {
                let index = a % self.watchers.len();
                self.watchers[index].pull(1 + b % 4, (b >> 2) % 2, &mut self.store.lock());
            }
            Op::Disconnect => {
                let index = a % self.watchers.len();
                self.watchers[index].link = None;
            }
            Op::Connect => self.connect(a % VIEWERS.len(), b % 2),
            Op::Replicate => self.store.lock().replicate(if b % 4 == 0 { 0 } else { a % 6 }),
            Op::FailOver => self.fail_over(a, b),
            Op::Restart => {
                let node = if b % 2 == 0 { self.store.lock().main } else { node };
                self.store.lock().restart(node, (b % 7 != 6).then_some(a % 6));
            }
            Op::Rejoin => self.store.lock().rejoin(),
            Op::Freeze => {
                let mut store = self.store.lock();
                let node = store.main;
                store.nodes[node].frozen = true;
            }
            Op::Thaw => self.store.lock().nodes.iter_mut().for_each(|node| node.frozen = false),
            Op::Fold => self.ingests[ingest].fold(&mut self.store.lock(), 3 + (b % 20) as u64),
            Op::WriteFold => self.ingests[ingest].write_fold(&mut self.store.lock(), b % 2 == 1),
            Op::Janitor => {
                self.ingests[ingest].fold(&mut self.store.lock(), 3 + (b % 20) as u64);
                self.ingests[ingest].write_fold(&mut self.store.lock(), false);
            }
            Op::Wait => {
                tokio::time::advance(Duration::from_millis([50, 300, 1_000, 2_000, 5_500, 20_000][a % 6])).await;
            }
            Op::Long => tokio::time::advance(Duration::from_secs([61, 130][a % 2])).await,
            Op::DeleteSession => self.delete(ingest, Some(b)),
            Op::DeleteProject => self.delete(ingest, None),
        }
    }

    // --- ingests

    pub(crate) fn travel(&mut self, op: Op, ingest: usize) {
        let now = self.now();
        let mut store = self.store.lock();
        let here = &mut self.ingests[ingest];
        if matches!(op, Op::Send | Op::Go) {
            here.send(&mut store);
        }
        if matches!(op, Op::Arrive | Op::Go) {
            here.arrive(&mut store);
        }
        if matches!(op, Op::Reply | Op::Go)
            && let Some(step) = here.answered(&mut store, now)
        {
            drop(store);
            self.settle_step(ingest, step);
        }
    }

    fn settle_step(&mut self, ingest: usize, step: Answered) {
        let mut store = self.store.lock();
        for note in &step.notes {
            match note {
                Note::PutBack { events } => store.stats.put_back += *events as u64,
                Note::Stale { .. } => store.bad("a live writer is stale".to_owned()),
                _ => {}
            }
            store.say(|| format!("    i{ingest} {note:?}"));
        }
        for done in step.done {
            let Some(&index) = self.ingests[ingest].waiting.get(&done.slot.request) else { continue };
            store.say(|| format!("    i{ingest} answers {:?}", done.verdict));
            let (id, position) = match done.verdict {
                Ok(Outcome::Appended { id, position }) => (id, Some(position)),
                Ok(Outcome::Duplicate { id, position }) => {
                    store.stats.duplicates += 1;
                    (id, position)
                }
                // Out of sequence, or given up: it may be sent again.
                Ok(_) | Err(_) => continue,
            };
            let of_event = |at: &Position| store.archive.ids.get(at).is_none_or(|stands| *stands != id);
            if let Some(at) = position.filter(of_event)
                && !id.starts_with('x')
            {
                store.bad(format!("P3: {id} is acknowledged at {at}, where another one stands"));
            }
            let request = &mut self.requests[index];
            request.answered[done.slot.index as usize] = true;
            store.stats.acknowledged += 1;
            let (life, heard) = (self.ingests[ingest].life, self.began.elapsed());
            let asked = request.asked;
            self.acks.push(Ack { id, ingest, life, asked, heard, position });
        }
    }

    pub(crate) fn time_out(&mut self, ingest: usize) {
        let now = self.now();
        let timed_out = self.ingests[ingest].times_out(&mut self.store.lock(), now);
        let Some((step, late)) = timed_out else { return };
        self.late.extend(late);
        self.settle_step(ingest, step);
    }

    /// What was held on its way arrives at last, some of it once more later. Each sending has a name of its own for a branch.
    pub(crate) fn arrive_late(&mut self, a: usize, b: usize) {
        if self.late.is_empty() {
            return;
        }
        let index = a % self.late.len();
        let mut store = self.store.lock();
        let (call, node) = if b.is_multiple_of(3) {
            let (call, node) = self.late[index].clone();
            (AppendCall { fresh: store.draw_branch(), ..call }, node)
        } else {
            self.late.swap_remove(index)
        };
        if store.nodes[node].frozen {
            return;
        }
        store.stats.late += 1;
        // Nobody waits for the answer.
        let _ = store.execute(node, &call);
    }

    /// The store refuses: nothing happened.
    fn refuse(&mut self, ingest: usize) {
        if let Some(air) = &mut self.ingests[ingest].air
            && air.answer.is_none()
        {
            air.answer = Some(Err(CallError::Nothing(NothingWhy::Refusing("BUSY".into()))));
        }
        self.travel(Op::Reply, ingest);
    }

    /// An ingest dies with what it kept; its sending may arrive yet.
    fn crash(&mut self, ingest: usize) {
        let mut store = self.store.lock();
        store.stats.crashes += 1;
        let life = self.ingests[ingest].life + 1;
        let born = Ingest::new(&mut store, self.recall, life);
        let dead = std::mem::replace(&mut self.ingests[ingest], born);
        self.late.extend(dead.air.filter(|air| air.answer.is_none()).map(|air| (air.call, air.node)));
    }

    // --- connections

    pub(crate) fn follow_main(&mut self, who: usize) {
        let mut store = self.store.lock();
        let main = store.main;
        if who < 2 {
            self.ingests[who].node = main;
        } else if store.reads_from[who - 2] != main {
            store.reads_from[who - 2] = main;
            store.resubscribe(who - 2);
        }
    }

    fn fail_over(&mut self, a: usize, b: usize) {
        self.store.lock().fail_over(a % 2 == 1);
        for who in 0..4 {
            if (b >> who) % 2 == 1 {
                self.follow_main(who);
            }
        }
    }

    pub(crate) fn hear(&mut self, gateway: usize, messages: usize) {
        let mut store = self.store.lock();
        for ear in store.ears.iter_mut().filter(|ear| ear.gateway == gateway) {
            for message in ear.queue.drain(..messages.min(ear.queue.len())) {
                ear.sink.message(message);
            }
        }
    }

    fn lose(&mut self, gateway: usize, which: usize) {
        let mut store = self.store.lock();
        let mut lost = 0;
        for ear in store.ears.iter_mut().filter(|ear| ear.gateway == gateway && !ear.queue.is_empty()) {
            let index = which % ear.queue.len();
            ear.queue.remove(index);
            lost += 1;
        }
        store.stats.messages_lost += lost;
    }

    fn serve(&mut self, gateway: usize, which: usize) {
        let mut store = self.store.lock();
        let here: Vec<usize> =
            store.asked.iter().enumerate().filter(|(_, asked)| asked.gateway == gateway).map(|(at, _)| at).collect();
        if !here.is_empty() {
            let asked = store.asked.remove(here[which % here.len()]);
            asked.serve(&mut store);
        }
    }

    /// A gateway gets all that is on its way, and so do its viewers.
    async fn catch_up(&mut self, gateway: usize, b: usize) {
        for _ in 0..5 {
            self.hear(gateway, usize::MAX);
            let asked = self.store.lock().asked.len();
            (0..asked).for_each(|which| self.serve(gateway, which));
            for _ in 0..3 {
                tokio::task::yield_now().await;
            }
            for watcher in &mut self.watchers {
                if watcher.link.as_ref().is_some_and(|link| link.gateway == gateway)
                    && !(b >> watcher.name).is_multiple_of(4)
                {
                    watcher.pull(usize::MAX, 0, &mut self.store.lock());
                }
            }
        }
    }

    /// A gateway's connection breaks: what it asked for is not answered.
    fn fail_reads(&mut self, gateway: usize) {
        let broken: Vec<_> = self.store.lock().asked.extract_if(.., |asked| asked.gateway == gateway).collect();
        drop(broken);
    }

    pub(crate) fn connect(&mut self, viewer: usize, gateway: usize) {
        let hub = &self.gateways[gateway].hub;
        self.watchers[viewer].connect(gateway, hub, &self.project, &mut self.store.lock());
    }

    fn restart_gateway(&mut self, index: usize) {
        for watcher in &mut self.watchers {
            watcher.link.take_if(|link| link.gateway == index);
        }
        self.gateways[index].stop.cancel();
        self.fail_reads(index);
        {
            let mut store = self.store.lock();
            store.reads_from[index] = store.main;
        }
        self.gateways[index] = self.gateway(index);
    }
}
