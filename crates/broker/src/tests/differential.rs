//! The Lua scripts against the memory store (docs/log.md L21): the same random calls, clocks, incarnations and restored older
//! copies; every answer and every published message must be the same. A failure names its seed.

use std::collections::{BTreeMap, HashMap};
use std::sync::Arc;

use ::redis::{AsyncCommands as _, cmd};
use bytes::Bytes;
use parking_lot::Mutex;
use prost::Message as _;
use rand::rngs::StdRng;
use rand::{RngExt as _, SeedableRng as _};
use tidings_protocol::position::{Branch, LogId, Position};
use tidings_protocol::project::Project;
use tidings_protocol::wire;
use tokio::sync::watch;

use crate::clock::ManualClock;
use crate::limits::Limits;
use crate::memory::LogData;
use crate::redis::server::RedisServer;
use crate::redis::{RedisBroker, RedisSettings};
use crate::{
    Answer, AppendBatch, AppendCall, CallError, CheckpointAnswer, CheckpointStep, DedupeWindow, Fields, GuardStep,
    Index as _, Log as _, Probe as _, ProducerStep, Retention, SessionDeletion, Sink, Span,
};

/// Histories, and calls in each. Small bounds below bring every limit in reach of a short history.
const HISTORIES: u64 = 48;
const CALLS: usize = 400;
const LIMITS: Limits = Limits {
    producers_max: 3,
    ranges_max: 3,
    forks_max: 3,
    tombstones_max: 3,
    tombstone_ms: 300,
    trim_entries_max: 4,
    trim_bytes_max: 2_000,
    guard_ms_max: 400,
    guards_max: 3,
};
/// The answers that must occur.
const KINDS: [&str; 21] = [
    "Appended",
    "Synced",
    "Heal",
    "Stale",
    "ProducersFull",
    "DeletionsFull",
    "deleted",
    "deleted again",
    "buried",
    "Duplicate",
    "DuplicateSequence",
    "OutOfSequence",
    "Fenced",
    "Settled",
    "GuardsFull",
    "Done",
    "trimmed",
    "more",
    "OverShare",
    "Moved",
    "NewerVersion",
];
const KEYS: [&str; 5] = ["log", "meta", "ids", "state", "guards"];

#[derive(Default)]
struct RawEar(Mutex<Vec<Bytes>>, watch::Sender<()>);

impl Sink for RawEar {
    fn message(&self, bytes: Bytes) {
        self.0.lock().push(bytes);
        self.1.send_replace(());
    }

    fn lost(&self) {
        panic!("the subscriber connection broke");
    }
}

/// One project on both stores.
struct World {
    random: StdRng,
    redis: RedisBroker,
    connection: ::redis::aio::MultiplexedConnection,
    memory: LogData,
    incarnation: String,
    clock: ManualClock,
    project: Project,
    /// What was published.
    messages: Vec<Bytes>,
    /// Older copies: the memory's, and the keys' dumps.
    copies: Vec<(LogData, Vec<Option<Vec<u8>>>)>,
    /// What each writer sent last.
    sent: HashMap<usize, AppendCall>,
    /// Positions and branches that occurred, to be named again.
    positions: Vec<Position>,
    branches: Vec<Branch>,
    /// How often each kind of answer occurred.
    tally: BTreeMap<String, u32>,
}

#[tokio::test]
async fn scripts_and_memory_agree() {
    let server = RedisServer::start();
    let clock = ManualClock::at(1_000_000);
    let settings = RedisSettings { clock: Some(clock.clone()), ..RedisSettings::new(server.url()) };
    let redis = RedisBroker::connect_within(&settings, LIMITS).expect("good settings");
    let _ = redis.connected().wait_for(|connected| *connected).await.expect("the broker lives");
    let mut tally = BTreeMap::new();
    for seed in 0..HISTORIES {
        let ear = Arc::new(RawEar::default());
        let project: Project = format!("history-{seed}").parse().expect("a name");
        let subscription = redis.subscribe(project.clone(), Arc::<RawEar>::clone(&ear)).await.expect("confirmed");
        let mut world = World {
            random: StdRng::seed_from_u64(seed),
            redis: redis.clone(),
            connection: server.connection().await,
            memory: LogData::default(),
            incarnation: String::new(),
            clock: clock.clone(),
            project,
            messages: Vec::new(),
            copies: Vec::new(),
            sent: HashMap::new(),
            positions: vec![Position::ZERO],
            branches: vec![Branch::NONE],
            tally: std::mem::take(&mut tally),
        };
        world.learn_incarnation().await;
        for call in 0..CALLS {
            world.step(&format!("seed {seed}, call {call}")).await;
        }
        world.check_books(seed).await;
        let heard = || ear.0.lock().len() >= world.messages.len();
        ear.1.subscribe().wait_for(|()| heard()).await.expect("the sender is in the ear");
        assert_eq!(*ear.0.lock(), world.messages, "messages of seed {seed}");
        drop(subscription);
        tally = world.tally;
    }
    // A test that never gets somewhere says nothing about it.
    for kind in KINDS {
        assert!(tally.get(kind).is_some_and(|times| *times >= 20), "{kind} hardly occurred: {tally:?}");
    }
}

impl World {
    async fn step(&mut self, at: &str) {
        match self.random.random_range(0..100) {
            0..=44 => self.append(at).await,
            45..=49 => self.sync(at).await,
            50..=59 => self.tick(),
            60..=74 => self.read(at).await,
            75..=84 => self.checkpoint(at).await,
            85..=88 => self.state(at).await,
            89..=90 => self.sweep().await,
            91 => self.refuse(at).await,
            92..=93 => self.fork().await,
            94..=97 => self.copy().await,
            _ => self.restore().await,
        }
    }

    async fn append(&mut self, at: &str) {
        let writer = self.random.random_range(0..3);
        let last = self.sent.get(&writer).cloned();
        let number = last.as_ref().map_or(0, |call| call.number);
        let delete = self.random.random_bool(0.03);
        let call = match last {
            // A retry: the same bytes, a fresh branch.
            Some(last) if self.random.random_bool(0.15) => AppendCall { fresh: self.fresh(), ..last },
            _ => AppendCall {
                writer: format!("w{writer}").into(),
                number: match self.random.random_range(0..10) {
                    0 => number.saturating_sub(1),
                    1 => number,
                    2 => number + 5,
                    _ => number + 1,
                },
                branch: self.some_branch(),
                fresh: self.fresh(),
                batch: (!delete).then(|| self.batch()),
                delete,
                dedupe: DedupeWindow { ms: self.pick(&[0, 60, 500, u64::MAX]), ids: self.pick(&[0, 3, 6, 1_000]) },
                wait: None,
            },
        };
        // Against the rules: the name for a fork is the branch that the call names. It must not append to its own fork.
        let fresh = if self.random.random_bool(0.05) && !call.branch.is_none() { call.branch } else { call.fresh };
        let call = AppendCall { fresh, ..call };
        self.sent.insert(writer, call.clone());
        self.send(call, at).await;
    }

    async fn sync(&mut self, at: &str) {
        let call = AppendCall {
            writer: "w0".into(),
            number: self.random.random_range(0..9),
            branch: self.some_branch(),
            fresh: self.fresh(),
            batch: None,
            delete: false,
            dedupe: DedupeWindow::default(),
            wait: None,
        };
        self.send(call, at).await;
    }

    async fn send(&mut self, call: AppendCall, at: &str) {
        let now_ms = self.clock.now_ms();
        let expected = self.memory.append_within(now_ms, &self.incarnation, &call, &LIMITS);
        let answer = self.redis.append(self.project.clone(), call.clone()).await;
        assert_eq!(answer, expected.clone().map(|(answer, _)| answer), "{at}: {call:?}");
        let (expected, entry) = match expected {
            Ok(expected) => expected,
            Err(CallError::Nothing(why)) => return self.count(&why),
            Err(error) => panic!("{at}: {error}"),
        };
        if matches!(expected, Answer::Appended { .. }) && call.delete {
            *self.tally.entry("deleted".into()).or_default() += 1;
        }
        let head = self.memory.head("");
        if head.project_deletions().any(|deletion| !head.taken_by(&deletion.was).is_zero()) {
            *self.tally.entry("deleted again".into()).or_default() += 1;
        }
        if head.tombstones.len() > 1 {
            *self.tally.entry("buried".into()).or_default() += 1;
        }
        match &expected {
            Answer::Refused(refusals) => refusals.iter().for_each(|refusal| self.count(&refusal.why)),
            other => self.count(other),
        }
        if let Some(entry) = entry {
            self.positions.push(entry.position);
            self.branches.push(entry.position.branch);
            self.messages.push(entry.to_message());
        }
    }

    fn batch(&mut self) -> AppendBatch {
        let count = self.random.random_range(1..=5_u32);
        let bytes = if self.random.random_bool(0.02) { 70_000 } else { self.random.random_range(0..200) };
        let event = wire::Event { json: vec![b'x'; bytes].into(), ..wire::Event::default() };
        let payload = wire::Batch { events: vec![event; count as usize] }.encode_to_vec();
        let mut batch = AppendBatch {
            payload: payload.into(),
            count,
            ids: Vec::new(),
            producers: Vec::new(),
            deletions: Vec::new(),
            guards: Vec::new(),
        };
        let mut names: Vec<u32> = (0..14).collect();
        let (with_ids, with_producers) = (self.random.random_bool(0.6), self.random.random_bool(0.5));
        let with_deletions = self.random.random_bool(0.1);
        let with_guards = self.random.random_bool(0.3);
        for index in 0..count {
            if with_deletions && self.random.random_bool(0.6) {
                let was = (0..self.pick(&[0, 0, 0, 1, 2])).map(|_| self.some_position()).collect();
                let was: Vec<Position> = was;
                // The project's own deletion on its way back.
                let of_project = !was.is_empty() && self.random.random_bool(0.15);
                let number = self.random.random_range(0..6);
                let session = if of_project { String::new() } else { format!("session {number}") };
                batch.deletions.push(SessionDeletion { index, session, was });
            }
            if with_guards && self.random.random_bool(0.5) {
                let key = format!("{}:{}", self.pick(&["a", "c"]), self.random.random_range(0..8));
                let until_ms = self.clock.now_ms() + self.random.random_range(0..600);
                let note = format!("by {}", self.random.random_range(0..3));
                batch.guards.push(GuardStep { index, key, until_ms, note });
            }
            if with_ids && self.random.random_bool(0.7) {
                let name = names.swap_remove(self.random.random_range(0..names.len()));
                batch.ids.push((index, format!("id {name}")));
            }
            if with_producers && self.random.random_bool(0.7) {
                batch.producers.push(ProducerStep {
                    index,
                    id: format!("p{}", self.random.random_range(0..4)),
                    epoch: self.pick(&[1, 1, 1, 1, 1, 1, 2, 3]),
                    seq: self.random.random_range(0..12),
                    may_jump: self.random.random_bool(0.2),
                });
            }
        }
        batch
    }

    fn tick(&mut self) {
        let now_ms = self.clock.now_ms();
        let back = self.random.random_bool(0.2);
        let by_ms = self.random.random_range(0..150);
        self.clock.set(if back { now_ms - by_ms } else { now_ms + by_ms });
    }

    async fn read(&mut self, at: &str) {
        let near = self.some_position().id;
        let id = LogId {
            ms: near.ms.saturating_add_signed(self.pick(&[0, 0, 0, -1, 1])),
            n: near.n.saturating_add_signed(self.random.random_range(-4..=2)),
        };
        let span = match self.random.random_range(0..3) {
            0 => Span::After(id),
            1 => Span::Before(id),
            _ => Span::Tail,
        };
        let bytes_max = self.pick(&[0, 300, 1_000, 5_000, 80_000, 1_000_000]);
        let page = self.redis.read(self.project.clone(), span, bytes_max).await;
        assert_eq!(page, Ok(self.memory.read(&self.incarnation, span, bytes_max)), "{at}: {span:?} {bytes_max}");
    }

    async fn checkpoint(&mut self, at: &str) {
        let head = self.memory.head(&self.incarnation);
        let wrong = self.random.random_bool(0.1);
        let fields = (0..self.random.random_range(0..4)).map(|_| {
            let value = self.random.random_range(0..1_000_u32).to_string();
            (format!("f{}", self.random.random_range(0..5)), self.random.random_bool(0.7).then(|| Bytes::from(value)))
        });
        let mut fields: Vec<_> = fields.collect();
        fields.sort();
        fields.dedup_by(|a, b| a.0 == b.0);
        let step = CheckpointStep {
            incarnation: if wrong { "another".into() } else { self.incarnation.clone() },
            from: if self.random.random_bool(0.9) { head.checkpoint } else { self.some_position() },
            to: if self.random.random_bool(0.5) { head.last } else { self.some_position() },
            deletion: head.newest_project_deletion(),
            version: self.pick(&[1, 1, 1, 1, 1, 2]),
            fields,
            retention: Retention {
                events: self.pick(&[0, 5, 20, 50, u64::MAX]),
                bytes: self.pick(&[0, 500, 5_000, 100_000, u64::MAX]),
                age_ms: self.pick(&[0, 100, 1_000, u64::MAX, u64::MAX]),
            },
            hard: self.random.random_bool(0.2),
        };
        let expected = self.memory.checkpoint_within(self.clock.now_ms(), &self.incarnation, &step, &LIMITS);
        let answer = self.redis.checkpoint(self.project.clone(), step.clone()).await;
        assert_eq!(answer, Ok(expected), "{at}: {step:?}");
        self.count(&expected);
        if matches!(expected, CheckpointAnswer::Done { more: true, .. }) {
            *self.tally.entry("more".into()).or_default() += 1;
        }
        if matches!(expected, CheckpointAnswer::Done { trimmed: 1.., .. }) {
            *self.tally.entry("trimmed".into()).or_default() += 1;
        }
    }

    async fn state(&mut self, at: &str) {
        let fields = if self.random.random_bool(0.5) {
            Fields::All
        } else {
            Fields::Named(vec!["f1".into(), "f3".into(), "f9".into()])
        };
        let mut answer = self.redis.state(self.project.clone(), fields.clone()).await.expect("an answer");
        answer.fields.sort();
        assert_eq!(answer, self.memory.state(&self.incarnation, &fields), "{at}");
    }

    async fn sweep(&mut self) {
        let (writers_ms, producers_ms) = (self.pick(&[0, 200, 2_000]), self.pick(&[0, 200, 2_000]));
        self.memory.sweep(self.clock.now_ms(), writers_ms, producers_ms);
        self.redis.sweep(self.project.clone(), writers_ms, producers_ms).await.expect("an answer");
    }

    async fn refuse(&mut self, at: &str) {
        let for_ms = self.pick(&[0, 50, 200]);
        self.memory.refuse(self.clock.now_ms(), for_ms);
        self.redis.refuse(self.project.clone(), for_ms).await.expect("an answer");
        let held = self.redis.held_bytes(vec![self.project.clone()]).await;
        assert_eq!(held, [Ok(self.memory.held_bytes())], "{at}");
    }

    async fn fork(&mut self) {
        let () = cmd("DEBUG").arg("CHANGE-REPL-ID").query_async(&mut self.connection).await.expect("it does");
        self.learn_incarnation().await;
    }

    async fn learn_incarnation(&mut self) {
        let text: String = cmd("INFO").arg("replication").query_async(&mut self.connection).await.expect("an answer");
        let line = text.lines().find_map(|line| line.strip_prefix("master_replid:"));
        line.expect("it is there").clone_into(&mut self.incarnation);
    }

    async fn copy(&mut self) {
        let mut dumps = Vec::new();
        for key in self.keys() {
            dumps.push(cmd("DUMP").arg(key).query_async(&mut self.connection).await.expect("an answer"));
        }
        self.copies.push((self.memory.clone(), dumps));
    }

    /// What a lossy failover does; now and then without a new incarnation, which the scripts cannot notice.
    async fn restore(&mut self) {
        if self.copies.is_empty() {
            return;
        }
        let (memory, dumps) = self.copies[self.random.random_range(0..self.copies.len())].clone();
        self.memory = memory;
        for (key, dump) in self.keys().into_iter().zip(dumps) {
            let () = self.connection.del(&key).await.expect("an answer");
            if let Some(dump) = dump {
                let mut restore = cmd("RESTORE");
                restore.arg(key).arg(0).arg(dump);
                let () = restore.query_async(&mut self.connection).await.expect("it takes it back");
            }
        }
        if self.random.random_bool(0.8) {
            self.fork().await;
        }
    }

    /// What the scripts count is what is there, and no key has gone.
    async fn check_books(&mut self, seed: u64) {
        let keys = self.keys();
        let meta: HashMap<String, String> = self.connection.hgetall(&keys[1]).await.expect("an answer");
        let ids: Vec<String> = self.connection.hkeys(&keys[2]).await.expect("an answer");
        let count = |fields: &mut dyn Iterator<Item = &String>, prefix: &str| {
            fields.filter(|name| name.starts_with(prefix)).count().to_string()
        };
        assert_eq!(meta["producers"], count(&mut meta.keys(), "p:"), "seed {seed}");
        assert_eq!(meta["ids_count"], count(&mut ids.iter(), ":"), "seed {seed}");
        let counter = |name: &str| meta[name].parse::<u64>().expect("a number");
        let guards: BTreeMap<String, String> = self.connection.hgetall(&keys[4]).await.expect("an answer");
        let stands = guards.into_iter().filter(|(key, _)| key != ".").collect::<Vec<_>>();
        assert_eq!(stands, self.memory.guards_as_stored(), "seed {seed}");
        assert_eq!((counter("ids_tail") - counter("ids_head")).to_string(), count(&mut ids.iter(), "#"), "seed {seed}");
        let there: usize = self.connection.exists(&keys).await.expect("an answer");
        assert_eq!(there, KEYS.len(), "seed {seed}");
    }

    fn keys(&self) -> Vec<String> {
        KEYS.iter().map(|what| format!("tidings:{{{}}}:{what}", self.project)).collect()
    }

    fn fresh(&mut self) -> Branch {
        let branch = Branch::from_random(self.random.random());
        self.branches.push(branch);
        branch
    }

    /// The open branch mostly, else one that occurred, or none.
    fn some_branch(&mut self) -> Branch {
        let open = self.memory.head("").branch;
        if self.random.random_bool(0.85) {
            open
        } else {
            self.branches[self.random.random_range(0..self.branches.len())]
        }
    }

    fn some_position(&mut self) -> Position {
        let newest = self.positions.len().saturating_sub(30);
        self.positions[self.random.random_range(newest..self.positions.len())]
    }

    /// Counts by the name of the variant.
    fn count(&mut self, answer: &impl std::fmt::Debug) {
        let text = format!("{answer:?}");
        let name = text.split(|c: char| !c.is_alphanumeric()).next().unwrap_or_default().to_owned();
        *self.tally.entry(name).or_default() += 1;
    }

    fn pick<T: Copy>(&mut self, of: &[T]) -> T {
        of[self.random.random_range(0..of.len())]
    }
}
