//! An inbox whose slot moves: commands that were put before, amid and behind the move are each answered once.

use std::collections::{BTreeMap, VecDeque};

use super::*;
use crate::inbox::{Here, Inboxes as _, ItemKind, LeaseAct, LeaseStep, Put, PutAnswer, Standing, Take, guard_of};
use crate::{AppendBatch, GuardStep};

/// What a project with commands has.
const KEYS: [&str; 7] = ["log", "meta", "ids", "state", "guards", "inbox", "inbox:order"];

/// Orders in which they move.
const ORDERS: [[usize; 7]; 4] =
    [[0, 1, 2, 3, 4, 5, 6], [6, 5, 4, 3, 2, 1, 0], [5, 0, 1, 2, 3, 4, 6], [4, 1, 6, 0, 5, 2, 3]];

/// Commands that are open at the start: the runner is always so many behind.
const BEHIND: usize = 4;

/// Somebody who answers commands, one after the other: their runner, or whoever thinks that they are overdue.
struct Answers {
    writer: Writer,
    /// The call that has no definite answer yet.
    pending: Option<AppendCall>,
    queue: VecDeque<String>,
}

impl Answers {
    async fn new(broker: &RedisBroker) -> Answers {
        let writer = Writer::join(Arc::new(broker.clone()), "p").await;
        Answers { writer, pending: None, queue: VecDeque::new() }
    }

    /// Answers what it can, and counts the answers that stand.
    async fn work(&mut self, stand: &mut BTreeMap<String, u32>) {
        while let Some(id) = self.queue.front().cloned() {
            let call = self.pending.take().unwrap_or_else(|| {
                let guard = GuardStep { index: 0, key: guard_of(&id), until_ms: u64::MAX, note: "a note".into() };
                self.writer.call(Some(AppendBatch { guards: vec![guard], ..plain(1) }))
            });
            self.writer.number = call.number;
            let call = AppendCall { fresh: fresh(), ..call };
            match self.writer.broker.append(self.writer.project.clone(), call.clone()).await {
                Ok(Answer::Appended { .. }) => *stand.entry(id).or_default() += 1,
                Ok(Answer::Refused(refusals)) => assert!(matches!(refusals[0].why, RefusalWhy::Settled(_))),
                Ok(Answer::Heal(heal)) => {
                    self.writer.branch = heal.head.branch;
                    self.pending = Some(AppendCall { number: call.number + 1, branch: heal.head.branch, ..call });
                    continue;
                }
                Err(error) => {
                    refused(&error);
                    self.pending = Some(call);
                    return;
                }
                Ok(other) => panic!("{other:?}"),
            }
            self.queue.pop_front();
        }
    }
}

/// A viewer who asks, a runner, and two who answer.
struct Scene {
    broker: RedisBroker,
    project: Project,
    asked: usize,
    /// What the store has not taken yet.
    unput: Vec<String>,
    answers: [Answers; 2],
    stand: BTreeMap<String, u32>,
    /// Puts that were refused, and such as took.
    met: (usize, usize),
}

impl Scene {
    async fn begin(broker: &RedisBroker) -> Scene {
        let answers = [Answers::new(broker).await, Answers::new(broker).await];
        let (project, unput, stand) = (project("p"), Vec::new(), BTreeMap::new());
        let mut scene = Scene { broker: broker.clone(), project, asked: 0, unput, answers, stand, met: (0, 0) };
        scene.take(0).await;
        for _ in 0..BEHIND {
            scene.ask().await;
        }
        scene
    }

    /// One more command; and those once more that could not be put.
    async fn ask(&mut self) {
        self.asked += 1;
        self.unput.push(format!("c-{}", self.asked));
        self.put().await;
    }

    async fn put(&mut self) {
        for id in std::mem::take(&mut self.unput) {
            let kind = ItemKind::Command {
                capability: "chat".into(),
                session: String::new(),
                agent: String::new(),
                urgent: false,
                notice: false,
            };
            let (asker, body) = ("alice".into(), "{}".into());
            let put = Put { id: id.clone(), asker, kind, deadline_ms: 600_000, open_max: 1_000, body, life: None };
            match self.broker.put(self.project.clone(), put).await {
                Ok(placed) => {
                    assert_eq!(placed.answer, PutAnswer::Queued, "{id}");
                    self.met.1 += 1;
                }
                Err(error) => {
                    refused(&error);
                    self.met.0 += 1;
                    self.unput.push(id);
                }
            }
        }
    }

    /// The runner takes some, accepts them, and goes to work; so does who thinks that it will not.
    async fn take(&mut self, max: u32) {
        let take = Take {
            runner: "r".into(),
            subject: "s".into(),
            capabilities: vec!["chat".into()],
            ttl_ms: 600_000,
            max,
            in_hand_max: 1_000,
            lease_ms: 600_000,
            goes_on: false,
        };
        let commands = match self.broker.take(self.project.clone(), take).await {
            Ok(Here::Taken { commands, .. }) => commands,
            Ok(other) => panic!("{other:?}"),
            Err(error) => return refused(&error),
        };
        for leased in commands {
            assert_eq!(leased.lease, 1, "{} was handed out once", leased.id);
            let step = LeaseStep { id: leased.id.clone(), lease: 1, act: LeaseAct::Accept };
            if let Err(error) = self.broker.answer(self.project.clone(), "r".into(), "s".into(), vec![step]).await {
                refused(&error);
            }
            for answers in &mut self.answers {
                answers.queue.push_back(leased.id.clone());
            }
        }
    }

    async fn round(&mut self) {
        self.ask().await;
        self.take(1).await;
        let [runner, other] = &mut self.answers;
        runner.work(&mut self.stand).await;
        other.work(&mut self.stand).await;
    }

    /// All that was asked is answered once.
    async fn check(&mut self) {
        let settled = async {
            while !self.unput.is_empty() || self.stand.len() < self.asked {
                self.put().await;
                self.take(100).await;
                for answers in &mut self.answers {
                    answers.work(&mut self.stand).await;
                }
                tokio::time::sleep(LOOK_EVERY).await;
            }
            while self.answers.iter().any(|answers| !answers.queue.is_empty()) {
                for answers in &mut self.answers {
                    answers.work(&mut self.stand).await;
                }
            }
        };
        tokio::time::timeout(HANG, settled).await.expect("all are answered");
        assert!(self.stand.values().all(|times| *times == 1), "{:?}", self.stand);
        let ids: Vec<String> = self.stand.keys().cloned().collect();
        let standings = self.broker.look(self.project.clone(), ids.clone()).await.expect("an answer");
        assert!(standings.iter().all(|standing| matches!(standing, Standing::Answered(_))), "{standings:?}");
        let due = self.broker.due(self.project.clone()).await.expect("an answer");
        assert_eq!((due.open, due.waiting, due.lost.len()), (0, 0, 0), "what is answered has left");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn commands_of_a_slot_that_moves_are_each_answered_once() {
    let cluster = RedisCluster::start(3).await;
    let mut scene = Scene::begin(&connect(&cluster).await).await;
    let (project, slot) = (scene.project.clone(), slot(&scene.project));
    let mut from = cluster.owner(0, slot).await.expect("covered");
    for order in ORDERS {
        let to = (from + 1) % 3;
        scene.round().await;
        cluster.open_move(slot, from, to).await;
        scene.round().await;
        for what in order {
            cluster.move_key(&key(&project, KEYS[what]), from, to).await.expect("no BUSYKEY");
            scene.round().await;
        }
        cluster.close_move(slot, from, to).await;
        scene.round().await;
        from = to;
    }
    // A move that somebody gives up when a half of the inbox is away: it is not made anew in its place.
    let to = (from + 1) % 3;
    cluster.open_move(slot, from, to).await;
    cluster.move_key(&key(&project, "inbox"), from, to).await.expect("no BUSYKEY");
    let _: String = cluster.ask(from, &format!("CLUSTER SETSLOT {slot} STABLE")).await;
    let (_, put) = scene.met;
    scene.round().await;
    assert_eq!(scene.met.1, put, "nothing is put meanwhile");
    cluster.open_move(slot, from, to).await;
    cluster.finish_move(slot, from, to).await;
    scene.check().await;
    assert!(scene.met.0 >= 4 * ORDERS.len() && scene.met.1 == scene.asked, "amid the moves, too: {:?}", scene.met);
}
