//! The scripts of inboxes against the memory store: the same random calls, clocks and guards; every answer must be the same.
//! A failure names its seed. And what only Redis has: keys that go by themselves, keys that are lost, a memory that is full.

use std::collections::BTreeMap;

use ::redis::AsyncCommands as _;
use bytes::Bytes;
use rand::rngs::StdRng;
use rand::{RngExt as _, SeedableRng as _};
use tidings_protocol::project::Project;

use crate::clock::ManualClock;
use crate::contract::writer::{Writer, plain};
use crate::inbox::{
    Here, Inboxes as _, ItemKind, KEPT_MS, LeaseAct, LeaseStep, Owned, Put, PutAnswer, Standing, Take, guard_of,
};
use crate::memory::MemoryBroker;
use crate::redis::server::RedisServer;
use crate::redis::{RedisBroker, RedisSettings};
use crate::{Answer, AppendBatch, Broker, CallError, GuardStep, NothingWhy, Probe as _};

const HISTORIES: u64 = 40;
const CALLS: usize = 300;

async fn connect(server: &RedisServer, clock: Option<&ManualClock>) -> RedisBroker {
    let settings = RedisSettings { clock: clock.cloned(), ..RedisSettings::new(server.url()) };
    let broker = RedisBroker::connect(&settings).expect("good settings");
    let _ = broker.connected().wait_for(|connected| *connected).await.expect("the broker lives");
    broker
}

fn project(name: &str) -> Project {
    name.parse().expect("a name")
}

/// The same project on both stores.
struct World {
    random: StdRng,
    clock: ManualClock,
    redis: RedisBroker,
    memory: MemoryBroker,
    writers: [Writer; 2],
    project: Project,
    /// Ids and leases that were told.
    leases: Vec<(String, String, u64)>,
    /// Lives of the project that were told.
    lives: Vec<u64>,
    tally: BTreeMap<&'static str, u32>,
}

impl World {
    fn pick(&mut self, of: &[&str]) -> String {
        of[self.random.random_range(0..of.len())].to_owned()
    }

    fn count(&mut self, what: &'static str) {
        *self.tally.entry(what).or_default() += 1;
    }

    fn id(&mut self) -> String {
        format!("i{}", self.random.random_range(0..20))
    }

    fn runner(&mut self) -> String {
        self.pick(&["r", "r1", "s"])
    }

    /// Of a command that is put again.
    fn life(&mut self) -> Option<u64> {
        let again = !self.lives.is_empty() && self.random.random_bool(0.2);
        again.then(|| self.lives[self.random.random_range(0..self.lives.len())])
    }

    fn put(&mut self) -> Put {
        let kind = if self.random.random_bool(0.15) {
            ItemKind::Alarm { guard: guard_of(&self.id()) }
        } else {
            ItemKind::Command {
                capability: self.pick(&["c", "c1", "d"]),
                session: self.pick(&["", "", "x", "y"]),
                agent: self.pick(&["", "", "a", "b"]),
                urgent: self.random.random_bool(0.2),
                notice: self.random.random_bool(0.1),
            }
        };
        Put {
            id: self.id(),
            asker: if self.random.random_bool(0.95) { "alice" } else { "bo b" }.into(),
            kind,
            deadline_ms: self.random.random_range(0..3_000),
            open_max: self.random.random_range(2..6),
            body: Bytes::from(self.random.random_range(0..100_u32).to_string()),
            life: self.life(),
        }
    }

    fn take(&mut self) -> Take {
        let capabilities = (0..self.random.random_range(0..4)).map(|_| self.pick(&["c", "c1", "d"])).collect();
        let runner = self.runner();
        Take {
            subject: if self.random.random_bool(0.97) { runner.clone() } else { "mallory".into() },
            runner,
            capabilities,
            ttl_ms: self.random.random_range(0..1_500),
            max: self.random.random_range(0..5),
            in_hand_max: self.random.random_range(0..8),
            lease_ms: self.random.random_range(0..800),
            goes_on: self.random.random_bool(0.2),
        }
    }

    async fn step(&mut self, at: &str) {
        if self.random.random_bool(0.3) {
            let back = self.random.random_bool(0.05);
            let by_ms = self.random.random_range(0..if back { 500 } else { 300 });
            self.clock.set(if back { self.clock.now_ms() - by_ms } else { self.clock.now_ms() + by_ms });
        }
        let p = self.project.clone();
        match self.random.random_range(0..34) {
            0..10 => {
                let put = self.put();
                let told = self.redis.put(p.clone(), put.clone()).await.expect("an answer");
                assert_eq!(Ok(&told), self.memory.put(p, put.clone()).await.as_ref(), "{at}: {put:?}");
                self.lives.push(told.life);
                self.count(match told.answer {
                    PutAnswer::Queued => "queued",
                    PutAnswer::NoRunner => "no runner",
                    PutAnswer::Full => "full",
                    PutAnswer::Known(Standing::Answered(_)) => "answered",
                    PutAnswer::Known(_) => "known",
                    PutAnswer::Conflict => "conflict",
                    PutAnswer::Deleted => "deleted",
                });
            }
            10..17 => {
                let take = self.take();
                let told = self.redis.take(p.clone(), take.clone()).await.expect("an answer");
                assert_eq!(Ok(&told), self.memory.take(p, take.clone()).await.as_ref(), "{at}: {take:?}");
                match told {
                    Here::Taken { commands, .. } => {
                        self.count(if commands.is_empty() { "nothing taken" } else { "taken" });
                        let leases = commands.into_iter().map(|leased| (take.runner.clone(), leased.id, leased.lease));
                        self.leases.extend(leases);
                    }
                    Here::Anothers => self.count("another's"),
                    Here::Full => panic!("{at}: few runners"),
                    Here::Gone => self.count("gone"),
                }
            }
            17..22 if !self.leases.is_empty() => self.answer(at).await,
            22 => {
                let ids = vec![self.id(), self.id()];
                let told = self.redis.settle(p.clone(), ids.clone()).await;
                assert_eq!(told, self.memory.settle(p, ids).await, "{at}");
            }
            23..25 => {
                let ids: Vec<String> = (0..4).map(|_| self.id()).collect();
                let told = self.redis.look(p.clone(), ids.clone()).await;
                assert_eq!(told, self.memory.look(p, ids).await, "{at}");
            }
            25 => {
                let runner = self.runner();
                let told = self.redis.leave(p.clone(), runner.clone(), runner.clone()).await;
                assert_eq!(told, self.memory.leave(p, runner.clone(), runner).await, "{at}");
            }
            26..28 => {
                let runner = self.random.random_bool(0.8).then(|| self.runner());
                let (session, agent) = (self.pick(&["", "x", "y"]), self.pick(&["", "a", "b"]));
                let owned = vec![Owned { session, agent, runner, weak: self.random.random_bool(0.4) }];
                let told = self.redis.own(p.clone(), owned.clone()).await;
                assert_eq!(told, self.memory.own(p, owned).await, "{at}");
            }
            28 => self.answer_in_log().await,
            29 => {
                let id = self.id();
                let told = self.redis.find(p.clone(), id.clone()).await;
                assert_eq!(told, self.memory.find(p, id.clone()).await, "{at}: {id}");
            }
            30 if self.random.random_bool(0.3) => {
                self.redis.clear(p.clone()).await.expect("an answer");
                self.memory.clear(p).await.expect("memory answers");
            }
            _ => self.due(at).await,
        }
    }

    async fn answer(&mut self, at: &str) {
        let steps = (0..2).map(|_| {
            let newest = self.leases.len().saturating_sub(6);
            let (_, id, lease) = self.leases[self.random.random_range(newest..self.leases.len())].clone();
            let act = match self.random.random_range(0..8) {
                0..4 => LeaseAct::Accept,
                4..6 => LeaseAct::Release,
                6 => LeaseAct::Extend(self.random.random_range(0..900)),
                _ => LeaseAct::Check,
            };
            LeaseStep { id, lease, act }
        });
        let steps: Vec<_> = steps.collect();
        let runner = self.leases.last().expect("there is one").0.clone();
        let subject = if self.random.random_bool(0.97) { runner.clone() } else { "mallory".into() };
        let p = || self.project.clone();
        let told = self.redis.answer(p(), runner.clone(), subject.clone(), steps.clone()).await.expect("an answer");
        let expected = self.memory.answer(p(), runner, subject, steps.clone()).await;
        assert_eq!(Ok(&told), expected.as_ref(), "{at}: {steps:?}");
        for answer in told {
            self.count(match answer {
                crate::inbox::LeaseAnswer::Done { .. } => "done",
                crate::inbox::LeaseAnswer::Lost => "lease lost",
                crate::inbox::LeaseAnswer::Gone => "gone",
            });
        }
    }

    /// A final answer stands in both logs at the same position.
    async fn answer_in_log(&mut self) {
        let key = guard_of(&self.id());
        let until_ms = self.clock.now_ms() + self.random.random_range(0..2_000);
        for writer in &mut self.writers {
            let guard = GuardStep { index: 0, key: key.clone(), until_ms, note: "a note ".into() };
            let call = writer.call(Some(AppendBatch { guards: vec![guard], ..plain(1) }));
            writer.number = call.number;
            let answer = writer.send(call).await;
            assert!(matches!(answer, Answer::Appended { .. } | Answer::Refused(_)), "{answer:?}");
        }
    }

    async fn due(&mut self, at: &str) {
        let p = self.project.clone();
        let told = self.redis.due(p.clone()).await.expect("an answer");
        assert_eq!(Ok(&told), self.memory.due(p.clone()).await.as_ref(), "{at}");
        for (what, times) in [("expired", told.expired.len()), ("lost", told.lost.len()), ("lapsed", told.lapsed.len())]
        {
            (0..times).for_each(|_| self.count(what));
        }
        if self.random.random_bool(0.5) {
            let ids: Vec<String> = told.expired.iter().chain(&told.lost).map(|item| item.id.clone()).collect();
            self.redis.settle(p.clone(), ids.clone()).await.expect("an answer");
            self.memory.settle(p.clone(), ids).await.expect("memory answers");
        }
        if self.random.random_bool(0.5) {
            self.redis.forget(p.clone(), told.lapsed.clone()).await.expect("an answer");
            self.memory.forget(p, told.lapsed).await.expect("memory answers");
        }
    }
}

#[tokio::test]
async fn inboxes_in_lua_and_in_rust_agree() {
    let (server, clock) = (RedisServer::start(), ManualClock::at(1_763_630_000_000));
    let (redis, memory) = (connect(&server, Some(&clock)).await, MemoryBroker::with_clock(clock.clone()));
    let mut tally = BTreeMap::new();
    for seed in 0..HISTORIES {
        let name = format!("p{seed}");
        let stores: [std::sync::Arc<dyn Broker>; 2] =
            [std::sync::Arc::new(redis.clone()), std::sync::Arc::new(memory.clone())];
        let [first, second] = stores;
        let branch = crate::contract::writer::fresh();
        let writers = [Writer::open(first, &name, branch).await, Writer::open(second, &name, branch).await];
        let mut world = World {
            random: StdRng::seed_from_u64(seed),
            clock: clock.clone(),
            redis: redis.clone(),
            memory: memory.clone(),
            writers,
            project: project(&name),
            leases: Vec::new(),
            lives: Vec::new(),
            tally: std::mem::take(&mut tally),
        };
        for call in 0..CALLS {
            world.step(&format!("seed {seed}, call {call}")).await;
        }
        tally = world.tally;
    }
    for kind in [
        "queued",
        "no runner",
        "full",
        "answered",
        "known",
        "conflict",
        "deleted",
        "nothing taken",
        "taken",
        "another's",
        "done",
        "lease lost",
        "gone",
        "expired",
        "lost",
        "lapsed",
    ] {
        assert!(tally.get(kind).is_some_and(|times| *times >= 20), "{kind} hardly occurred: {tally:?}");
    }
}

fn command(id: &str) -> Put {
    let kind = ItemKind::Command {
        capability: "c".into(),
        session: String::new(),
        agent: String::new(),
        urgent: false,
        notice: false,
    };
    let (asker, body) = ("alice".into(), Bytes::from_static(b"{}"));
    Put { id: id.into(), asker, kind, deadline_ms: 60_000, open_max: 100, body, life: None }
}

fn asks(max: u32) -> Take {
    Take {
        runner: "r".into(),
        subject: "s".into(),
        capabilities: vec!["c".into()],
        ttl_ms: 30_000,
        max,
        in_hand_max: 16,
        lease_ms: 30_000,
        goes_on: false,
    }
}

#[tokio::test]
async fn keys_of_inboxes_go_by_themselves() {
    let server = RedisServer::start();
    let redis = connect(&server, None).await;
    let mut connection = server.connection().await;
    redis.take(project("p"), asks(0)).await.expect("an answer");
    redis.put(project("p"), command("1")).await.expect("an answer");
    let kept = i64::try_from(KEPT_MS).expect("a day");
    for key in ["tidings:{p}:inbox", "tidings:{p}:inbox:order"] {
        let expires_ms: i64 = connection.pttl(key).await.expect("a key");
        assert!((kept..=kept + 180_000).contains(&expires_ms), "{key}: {expires_ms} ms");
    }
}

#[tokio::test]
async fn an_inbox_of_which_a_part_was_lost_begins_anew() {
    let server = RedisServer::start();
    let redis = connect(&server, None).await;
    let mut connection = server.connection().await;
    let put = async || redis.put(project("p"), command("1")).await.expect("an answer").answer;
    for key in ["tidings:{p}:inbox", "tidings:{p}:inbox:order"] {
        redis.take(project("p"), asks(0)).await.expect("an answer");
        assert_eq!(put().await, PutAnswer::Queued);
        let () = connection.del(key).await.expect("an answer");
        assert_eq!(redis.look(project("p"), vec!["1".into()]).await, Ok(vec![Standing::Unknown]), "without {key}");
        assert_eq!(put().await, PutAnswer::NoRunner);
    }
}

#[tokio::test]
async fn commands_leave_without_memory() {
    let server = RedisServer::start();
    let redis = connect(&server, None).await;
    let p = || project("p");
    redis.take(p(), asks(0)).await.expect("an answer");
    redis.put(p(), command("1")).await.expect("an answer");
    redis.put(p(), command("2")).await.expect("an answer");
    let set: ::redis::RedisResult<_> = server.command("CONFIG SET maxmemory 1").await;
    set.expect("a setting");
    let full = CallError::Nothing(NothingWhy::Memory);
    assert_eq!(redis.put(p(), command("3")).await, Err(full.clone()));
    let owned = Owned { session: "s".into(), agent: String::new(), runner: Some("r".into()), weak: false };
    assert_eq!(redis.own(p(), vec![owned]).await, Err(full));
    let Ok(Here::Taken { commands, .. }) = redis.take(p(), asks(1)).await else { panic!("a take passes") };
    assert_eq!(commands.len(), 1);
    let accept = LeaseStep { id: "1".into(), lease: 1, act: LeaseAct::Accept };
    assert!(redis.answer(p(), "r".into(), "s".into(), vec![accept]).await.is_ok());
    assert_eq!(redis.look(p(), vec!["1".into()]).await, Ok(vec![Standing::Accepted { runner: "r".into() }]));
    assert_eq!(redis.settle(p(), vec!["2".into()]).await, Ok(()));
    assert_eq!(redis.leave(p(), "r".into(), "s".into()).await, Ok(true));
    let due = redis.due(p()).await.expect("what is due passes");
    assert_eq!((due.open, due.lost.len(), due.lapsed.len()), (1, 1, 1));
    redis.settle(p(), vec!["1".into()]).await.expect("it passes");
    assert_eq!(redis.forget(p(), due.lapsed).await, Ok(()));
    assert_eq!(redis.clear(p()).await, Ok(()));
    let Ok(Here::Taken { .. }) = redis.take(p(), asks(1)).await else { panic!("so does the first take") };
}
