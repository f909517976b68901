//! Redis Cluster: slots that move key by key (docs/log.md, scenario 6), nodes that die on the way, and primaries that were
//! overruled.

mod inbox;

use std::sync::Arc;
use std::time::Duration;

use tidings_protocol::entry::ForkKind;
use tidings_protocol::head::Head;
use tidings_protocol::position::Branch;
use tidings_protocol::project::Project;

use crate::contract::writer::{Ear, Writer, fresh, named, plain, project};
use crate::redis::server::RedisServer;
use crate::redis::server::cluster::{LOOK_EVERY, RedisCluster};
use crate::redis::slots::slot_of;
use crate::redis::{RedisBroker, RedisSettings};
use crate::{
    Answer, AppendCall, CallError, CheckpointAnswer, CheckpointStep, Log as _, NothingWhy, Probe as _, ReadError,
    RefusalWhy, Retention, Sink, Span, Wait,
};

/// Longer than a failover takes on a slow machine.
const HANG: Duration = Duration::from_mins(1);

/// What a project has.
const KEYS: [&str; 5] = ["log", "meta", "ids", "state", "guards"];

/// Orders in which they move.
const ORDERS: [[usize; 5]; 5] = [[0, 1, 2, 3, 4], [4, 3, 2, 1, 0], [1, 2, 3, 4, 0], [2, 4, 1, 3, 0], [3, 0, 4, 2, 1]];

fn key(project: &Project, what: &str) -> String {
    format!("tidings:{{{project}}}:{what}")
}

fn slot(project: &Project) -> u16 {
    slot_of(key(project, "meta").as_bytes())
}

async fn connect(cluster: &RedisCluster) -> RedisBroker {
    connect_with(RedisSettings::new(cluster.url())).await
}

async fn connect_with(settings: RedisSettings) -> RedisBroker {
    let broker = RedisBroker::connect(&settings).expect("good settings");
    reaches_all(&broker).await;
    broker
}

async fn reaches_all(broker: &RedisBroker) {
    let looking = async {
        while !broker.reaches_all() {
            tokio::time::sleep(LOOK_EVERY).await;
        }
    };
    let reached = tokio::time::timeout(HANG, looking).await;
    assert!(reached.is_ok(), "not all is well: {}", broker.what_is_wrong());
}

/// What is written to a project while its slot moves, and what came of it.
struct Load {
    writer: Writer,
    /// The call that has no definite answer yet.
    pending: Option<AppendCall>,
    next: u64,
    taken: u64,
    /// Names for births in the same slot; the first ones have been tried.
    names: Vec<Project>,
    births: Vec<Project>,
}

/// What one round met.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Met {
    Taken,
    Refused,
}

/// So many other names of projects in the same slot.
fn neighbours(of: &Project, count: usize) -> Vec<Project> {
    let names = (0..).map(|n| project(&format!("n{n}")));
    names.filter(|name| slot(name) == slot(of)).take(count).collect()
}

impl Load {
    async fn begin(broker: &RedisBroker, name: &str) -> Load {
        let writer = Writer::join(Arc::new(broker.clone()), name).await;
        let names = neighbours(&writer.project, 3);
        Load { writer, pending: None, next: 0, taken: 0, names, births: Vec::new() }
    }

    /// An append with its retry, a duplicate, a checkpoint that trims, a birth.
    async fn round(&mut self) -> Met {
        let met = self.append().await;
        self.duplicate().await;
        self.checkpoint().await;
        self.birth().await;
        met
    }

    async fn append(&mut self) -> Met {
        let call = self.pending.take().unwrap_or_else(|| {
            self.next += 1;
            self.writer.call(Some(named(&[&format!("event-{}", self.next)])))
        });
        self.writer.number = call.number;
        let call = AppendCall { fresh: fresh(), ..call };
        match self.writer.broker.append(self.writer.project.clone(), call.clone()).await {
            Ok(answer @ Answer::Appended { .. }) => {
                self.taken += 1;
                // As if the answer had been lost.
                let again = AppendCall { fresh: fresh(), ..call };
                match self.writer.broker.append(self.writer.project.clone(), again).await {
                    Ok(same) => assert_eq!(same, answer, "the same number is the same answer"),
                    Err(error) => refused(&error),
                }
                Met::Taken
            }
            Ok(Answer::Heal(heal)) => {
                self.writer.branch = heal.head.branch;
                let (number, branch) = (call.number + 1, heal.head.branch);
                self.pending = Some(AppendCall { number, branch, ..call });
                Box::pin(self.append()).await
            }
            Err(error) => {
                refused(&error);
                self.pending = Some(call);
                Met::Refused
            }
            Ok(other) => panic!("{other:?}"),
        }
    }

    /// Another writer brings what is there already: dedupe is never off.
    async fn duplicate(&self) {
        if self.taken == 0 || self.pending.is_some() {
            return;
        }
        let id = format!("event-{}", self.next);
        let other =
            AppendCall { writer: "another".into(), number: 1_000 + self.next, ..self.writer.call(Some(named(&[&id]))) };
        match self.writer.broker.append(self.writer.project.clone(), other).await {
            Ok(Answer::Refused(refusals)) => assert!(matches!(refusals[0].why, RefusalWhy::Duplicate(_))),
            Ok(other) => panic!("appended twice: {other:?}"),
            Err(error) => refused(&error),
        }
    }

    async fn checkpoint(&self) {
        let project = self.writer.project.clone();
        let head = match self.writer.broker.heads(vec![project.clone()]).await.remove(0) {
            Ok(head) => head,
            Err(error) => return assert!(matches!(error, ReadError::Away(_)), "{error}"),
        };
        let step = CheckpointStep {
            incarnation: head.incarnation.clone(),
            from: head.checkpoint,
            to: head.last,
            deletion: head.newest_project_deletion(),
            version: 1,
            fields: vec![("session".into(), Some(head.last.to_string().into()))],
            retention: Retention { events: 3, bytes: u64::MAX, age_ms: u64::MAX },
            hard: false,
        };
        match self.writer.broker.checkpoint(project, step).await {
            Ok(CheckpointAnswer::Done { .. } | CheckpointAnswer::Moved) => {}
            Ok(other) => panic!("{other:?}"),
            Err(error) => refused(&error),
        }
    }

    async fn birth(&mut self) {
        let Some(name) = self.names.last().cloned() else { return };
        match self.writer.broker.append(name.clone(), sync()).await {
            Ok(Answer::Synced(_)) => self.births.extend(self.names.pop()),
            Ok(other) => panic!("{other:?}"),
            Err(error) => refused(&error),
        }
    }

    /// Every event that was taken stands once, and all forks are of this kind.
    async fn check(&mut self, kind: ForkKind) {
        let settled = async {
            while self.append().await == Met::Refused {
                tokio::time::sleep(LOOK_EVERY).await;
            }
        };
        tokio::time::timeout(HANG, settled).await.expect("it goes on");
        let head = self.writer.head().await;
        assert_eq!(head.last.n(), self.taken + head.forks.len() as u64, "each once: {head:?}");
        assert!(head.forks.iter().all(|fork| fork.kind == kind), "{kind:?}: {:?}", head.forks);
        for id in 1..=self.next {
            let other = AppendCall {
                writer: "late".into(),
                number: 1_000_000 + id,
                ..self.writer.call(Some(named(&[&format!("event-{id}")])))
            };
            let answer = self.writer.send(other).await;
            assert!(matches!(answer, Answer::Refused(_)), "event-{id} is forgotten: {answer:?}");
        }
    }
}

fn sync() -> AppendCall {
    AppendCall {
        writer: "births".into(),
        number: 0,
        branch: Branch::NONE,
        fresh: fresh(),
        batch: None,
        delete: false,
        dedupe: crate::DedupeWindow::default(),
        wait: None,
    }
}

/// Nothing happened, and that is known.
fn refused(error: &CallError) {
    assert!(matches!(error, CallError::Nothing(NothingWhy::Refusing(_) | NothingWhy::Away)), "{error}");
}

async fn exists(cluster: &RedisCluster, index: usize, key: &str) -> bool {
    let mut both = ::redis::pipe();
    both.cmd("ASKING").cmd("EXISTS").arg(key);
    let mut connection = cluster.nodes[index].connection().await;
    let answers = connection.send_packed_commands(&both, 0, 2).await.expect("answers");
    answers[1] == ::redis::Value::Int(1)
}

#[tokio::test(flavor = "multi_thread")]
async fn a_slot_moves_key_by_key_under_load() {
    let cluster = RedisCluster::start(3).await;
    let (broker, second) = (connect(&cluster).await, connect(&cluster).await);
    let mut load = Load::begin(&broker, "p").await;
    let (project, slot) = (load.writer.project.clone(), slot(&load.writer.project));
    let mut from = cluster.owner(0, slot).await.expect("covered");
    assert_eq!(load.round().await, Met::Taken);
    for order in ORDERS {
        let to = (from + 1) % 3;
        let births: Vec<Project> = load.births.clone();
        cluster.open_move(slot, from, to).await;
        assert_eq!(load.round().await, Met::Taken, "as long as all keys are there");
        for (stop, what) in order.into_iter().enumerate() {
            cluster.move_key(&key(&project, KEYS[what]), from, to).await.expect("no BUSYKEY");
            let expected = if stop + 1 == KEYS.len() { Met::Taken } else { Met::Refused };
            assert_eq!(load.round().await, expected, "{order:?}, {stop}");
        }
        // Who comes by another map finds the way, too, also with a wait behind its call.
        let other = Writer::join(Arc::new(second.clone()), "p").await;
        let wait = Some(Wait { replicas: 1, timeout_ms: 50 });
        let waiting = AppendCall { wait, ..other.call(Some(named(&["event-1"]))) };
        let answer = second.append(project.clone(), waiting).await;
        assert_eq!(answer, Err(CallError::Unknown("0 of 1 replicas have it".into())), "a duplicate, by way of ASK");
        for neighbour in births {
            for what in KEYS {
                cluster.move_key(&key(&neighbour, what), from, to).await.expect("no BUSYKEY");
            }
        }
        cluster.close_move(slot, from, to).await;
        assert_eq!(load.round().await, Met::Taken, "{order:?}");
        for what in KEYS {
            assert!(exists(&cluster, to, &key(&project, what)).await, "{what} is at the target");
        }
        from = to;
    }
    load.check(ForkKind::Moved).await;
    assert!(load.writer.head().await.forks.len() >= ORDERS.len());
    while !load.names.is_empty() {
        load.birth().await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_target_that_dies_midway_comes_back_and_the_move_goes_on() {
    let mut cluster = RedisCluster::start(3).await;
    let broker = connect(&cluster).await;
    let mut load = Load::begin(&broker, "p").await;
    let (project, slot) = (load.writer.project.clone(), slot(&load.writer.project));
    let from = cluster.owner(0, slot).await.expect("covered");
    let to = (from + 1) % 3;
    assert_eq!(load.round().await, Met::Taken);
    cluster.open_move(slot, from, to).await;
    for what in ["meta", "log"] {
        cluster.move_key(&key(&project, what), from, to).await.expect("it moves");
    }
    cluster.nodes[to].kill();
    for _ in 0..3 {
        assert_eq!(load.append().await, Met::Refused);
    }
    // Somebody gives the move up, though a part of the keys is away: nothing is made anew in their place.
    let _: String = cluster.ask(from, &format!("CLUSTER SETSLOT {slot} STABLE")).await;
    for _ in 0..3 {
        assert_eq!(load.round().await, Met::Refused);
    }
    assert!(matches!(broker.read(project.clone(), Span::Tail, 1_000).await, Err(ReadError::Away(_))));
    cluster.nodes[to].restart();
    cluster.serves().await;
    reaches_all(&broker).await;
    cluster.open_move(slot, from, to).await;
    assert_eq!(load.round().await, Met::Refused);
    cluster.finish_move(slot, from, to).await;
    // It has had some of the keys under an incarnation that is over: nobody can know what that took.
    load.check(ForkKind::Failover).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn messages_follow_a_slot() {
    let cluster = RedisCluster::start(3).await;
    let broker = connect(&cluster).await;
    let mut writer = Writer::join(Arc::new(broker.clone()), "p").await;
    let ear = Ear::new();
    let sink: Arc<dyn Sink> = Arc::<Ear>::clone(&ear);
    let _subscription = broker.subscribe(project("p"), sink).await.expect("confirmed");
    let slot = slot(&project("p"));
    let mut from = cluster.owner(0, slot).await.expect("covered");
    for turn in 1..=4_u64 {
        let before = broker.place(&project("p"));
        let to = (from + 1) % 3;
        cluster.move_slot(slot, from, to).await;
        ear.until(|heard| heard.lost >= turn).await;
        // Whatever is appended since lost() is heard.
        let Answer::Heal(heal) = writer.append(plain(1)).await else { panic!("a move is a fork") };
        assert!(heal.head.forks.iter().all(|fork| fork.kind == ForkKind::Moved), "{:?}", heal.head.forks);
        writer.branch = heal.head.branch;
        let last = writer.take(plain(1)).await;
        ear.until(|heard| heard.entries.iter().any(|entry| entry.position == last)).await;
        assert_ne!(broker.place(&project("p")), before, "another server has it");
        from = to;
    }
    broker.probe().await.expect("it comes back");
}

/// A server that gives a slot up says so unasked, and the client library takes that for an answer.
#[tokio::test(flavor = "multi_thread")]
async fn many_subscriptions_survive_moves_amid_others() {
    const BEFORE: usize = 300;
    const DURING: usize = 300;
    const MOVED: usize = 40;
    let cluster = RedisCluster::start(3).await;
    let broker = connect(&cluster).await;
    let names: Vec<Project> = (0..BEFORE + DURING).map(|n| project(&format!("p{n}"))).collect();
    let listen = async |name: &Project| {
        let ear = Ear::new();
        let sink: Arc<dyn Sink> = Arc::<Ear>::clone(&ear);
        let subscribing = async {
            loop {
                // Who comes while a connection is made anew is refused, and comes again.
                match broker.subscribe(name.clone(), Arc::clone(&sink)).await {
                    Ok(subscription) => return subscription,
                    Err(_) => tokio::time::sleep(LOOK_EVERY).await,
                }
            }
        };
        (ear, tokio::time::timeout(HANG, subscribing).await.expect("confirmed"))
    };
    let mut listening = futures_util::future::join_all(names[..BEFORE].iter().map(&listen)).await;
    let moves = async {
        for name in &names[..MOVED] {
            let slot = slot(name);
            let from = cluster.owner(0, slot).await.expect("covered");
            cluster.move_slot(slot, from, (from + 1) % 3).await;
        }
    };
    let others = futures_util::future::join_all(names[BEFORE..].iter().map(&listen));
    let ((), others) = tokio::join!(moves, others);
    listening.extend(others);
    reaches_all(&broker).await;
    for (name, (ear, _)) in names.iter().zip(&listening) {
        let last = Writer::join(Arc::new(broker.clone()), name.as_str()).await.take(plain(1)).await;
        ear.until(|heard| heard.entries.iter().any(|entry| entry.position == last)).await;
        assert_eq!(ear.heard().entries.len(), 1, "{name} hears its own alone");
    }
    assert!(listening[..MOVED].iter().all(|(ear, _)| ear.heard().lost > 0), "whose slot moved was told");
}

/// Waits until a node that is another one than `former` serves the slot.
async fn taken_over(cluster: &RedisCluster, seen_by: usize, slot: u16, former: usize) -> usize {
    let looking = async {
        loop {
            match cluster.owner(seen_by, slot).await {
                Some(now) if now != former => return now,
                _ => tokio::time::sleep(LOOK_EVERY).await,
            }
        }
    };
    tokio::time::timeout(HANG, looking).await.expect("a failover")
}

/// Waits until a replica has the one project that there is: what it lacks when it takes over was never born.
async fn has_all_keys(cluster: &RedisCluster, replica: usize) {
    cluster.eventually(replica, "DBSIZE", |keys: usize| keys >= KEYS.len()).await;
}

async fn forked(broker: &RedisBroker, name: &Project) -> Head {
    let asking = async {
        loop {
            match broker.append(name.clone(), sync()).await {
                Ok(Answer::Synced(head)) if !head.forks.is_empty() => return *head,
                Ok(_) | Err(_) => tokio::time::sleep(LOOK_EVERY).await,
            }
        }
    };
    let answered = tokio::time::timeout(HANG, asking).await;
    answered.unwrap_or_else(|_| panic!("no answer of the new primary: {}", broker.what_is_wrong()))
}

#[tokio::test(flavor = "multi_thread")]
async fn a_primary_that_was_overruled_gave_nothing_up() {
    let mut cluster = RedisCluster::start(3).await;
    cluster.replicate().await;
    // This one keeps its connections, as one does that asks seldom.
    let settings = RedisSettings { ping_interval: Duration::from_hours(1), ..RedisSettings::new(cluster.url()) };
    let patient = connect_with(settings).await;
    let broker = connect(&cluster).await;
    let name = project("p");
    Writer::join(Arc::new(patient.clone()), "p").await.take(plain(1)).await;
    let slot = slot(&name);
    let old = cluster.owner(0, slot).await.expect("covered");
    let (other, heir) = ((old + 1) % 3, old + 3);
    has_all_keys(&cluster, heir).await;
    // Nobody may copy from the heir: the old primary keeps the incarnation that it had, though it is none any more.
    cluster.nodes[heir].command("ACL SETUSER default -psync -sync").await.expect("it does");
    cluster.nodes[old].freeze();
    assert_eq!(taken_over(&cluster, other, slot, old).await, heir);
    cluster.nodes[old].thaw();
    cluster.eventually(old, "INFO replication", |info: String| info.contains("role:slave")).await;
    let look = format!("EXISTS {}", key(&name, "meta"));
    while cluster.nodes[old].command(&look).await.expect_err("it has no slot").code() != Some("MOVED") {
        tokio::time::sleep(LOOK_EVERY).await;
    }

    let head = forked(&patient, &name).await;
    assert!(head.forks.iter().all(|fork| fork.kind == ForkKind::Failover), "{:?}", head.forks);
    assert_eq!(forked(&broker, &name).await.forks, head.forks);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_replica_that_takes_over_is_followed() {
    let mut cluster = RedisCluster::start(3).await;
    cluster.replicate().await;
    let broker = connect(&cluster).await;
    let name = project("p");
    let mut writer = Writer::join(Arc::new(broker.clone()), "p").await;
    writer.take(plain(1)).await;
    let ear = Ear::new();
    let sink: Arc<dyn Sink> = Arc::<Ear>::clone(&ear);
    let _subscription = broker.subscribe(name.clone(), sink).await.expect("confirmed");
    let slot = slot(&name);
    let old = cluster.owner(0, slot).await.expect("covered");
    has_all_keys(&cluster, old + 3).await;
    cluster.nodes[old].kill();
    // The others go on meanwhile, and so does whoever asks whether we are ready.
    broker.probe().await.expect("most primaries are there");
    assert!(*broker.connected().borrow());
    let head = forked(&broker, &name).await;
    assert!(head.forks.iter().all(|fork| fork.kind == ForkKind::Failover), "{:?}", head.forks);
    ear.until(|heard| heard.lost > 0).await;
    writer.branch = head.branch;
    let last = writer.take(plain(1)).await;
    ear.until(|heard| heard.entries.iter().any(|entry| entry.position == last)).await;
    reaches_all(&broker).await;
    cluster.nodes[old].restart();
    cluster.eventually(old, "INFO replication", |info: String| info.contains("role:slave")).await;
    writer.take(plain(1)).await;
}

#[tokio::test]
async fn what_is_no_cluster_is_said() {
    let server = RedisServer::start();
    let settings = RedisSettings::new(format!("redis+cluster://127.0.0.1:{}", server.port()));
    let broker = RedisBroker::connect(&settings).expect("good settings");
    let said = async {
        loop {
            if let Err(ReadError::Away(why)) = broker.probe().await
                && why.contains("cluster support disabled")
            {
                return;
            }
            tokio::time::sleep(LOOK_EVERY).await;
        }
    };
    tokio::time::timeout(HANG, said).await.expect("the reason is told");
    assert!(!*broker.connected().borrow());
}
