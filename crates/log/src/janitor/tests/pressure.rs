//! Memory that runs short (docs/log.md L18), on the memory broker with a limit to be measured against, and on a Redis that
//! is really full.

use tidings_broker::redis::server::RedisServer;
use tidings_broker::redis::{RedisBroker, RedisSettings};
use tidings_broker::{Broker, CallError, NothingWhy, Probe as _};

use super::*;

const OVER_SHARE: Result<(), CallError> = Err(CallError::Nothing(NothingWhy::OverShare));

fn janitor(broker: Arc<dyn Broker>) -> Janitor {
    let metrics = Metrics::register(&prometheus::Registry::new()).expect("a registry of its own");
    Janitor::new(broker, Settings::new(KEEP_ALL), Activity::default(), metrics)
}

/// Appends to one project of any store, an entry at a time.
struct Appender {
    broker: Arc<dyn Broker>,
    project: Project,
    branch: Branch,
    number: u64,
}

impl Appender {
    async fn join(broker: &Arc<dyn Broker>, name: &str) -> Appender {
        let project: Project = name.parse().expect("a name");
        broker.enter(project.clone()).await.expect("there is room");
        let mut appender = Appender { broker: broker.clone(), project, branch: Branch::NONE, number: 0 };
        let Ok(Answer::Synced(head)) = appender.call(None).await else { panic!("there is room") };
        appender.branch = head.branch;
        appender
    }

    async fn call(&self, batch: Option<AppendBatch>) -> Result<Answer, CallError> {
        let call = AppendCall {
            writer: "w".into(),
            number: self.number,
            branch: self.branch,
            fresh: Branch::from_random(rand::random()),
            batch,
            delete: false,
            dedupe: DedupeWindow::default(),
            wait: None,
        };
        self.broker.append(self.project.clone(), call).await
    }

    async fn append(&mut self, bytes: usize) -> Result<(), CallError> {
        self.number += 1;
        let event = wire::Event { json: vec![b' '; bytes].into(), ..wire::Event::default() };
        let payload = wire::Batch { events: vec![event] }.encode_to_vec().into();
        let batch = AppendBatch {
            payload,
            count: 1,
            ids: Vec::new(),
            producers: Vec::new(),
            deletions: Vec::new(),
            guards: Vec::new(),
        };
        match self.call(Some(batch)).await? {
            Answer::Appended { .. } => Ok(()),
            other => panic!("{other:?}"),
        }
    }

    async fn held(&self) -> u64 {
        self.broker.held_bytes(vec![self.project.clone()]).await.remove(0).expect("an answer")
    }
}

/// A flood of 100 entries, a quiet project, and a limit that they pass.
async fn flooded(memory: &MemoryBroker) -> (Appender, Appender, Janitor) {
    let broker: Arc<dyn Broker> = Arc::new(memory.clone());
    let (mut flood, mut quiet) = (Appender::join(&broker, "flood").await, Appender::join(&broker, "quiet").await);
    quiet.append(1_000).await.expect("room");
    for _ in 0..100 {
        flood.append(1_000).await.expect("room");
    }
    memory.set_memory_max(100_000);
    let mut janitor = janitor(broker);
    janitor.round().await;
    (flood, quiet, janitor)
}

#[tokio::test]
async fn l18_who_is_over_the_share_is_trimmed_and_refused_alone() {
    let memory = MemoryBroker::new();
    let (mut flood, mut quiet, mut janitor) = flooded(&memory).await;
    janitor.look_at_memory().await;
    assert_eq!(janitor.metrics.over_share.get(), 1);
    assert_eq!(flood.append(1_000).await, OVER_SHARE);
    quiet.append(1_000).await.expect("it is under its share");
    work_off(&mut janitor).await;
    let used = memory.memory().await.expect("memory answers").used_bytes;
    assert!((70_000..85_000).contains(&used), "{used} bytes: below the watermark, and not much");
    assert_eq!(flood.append(1_000).await, OVER_SHARE, "until the next look");
    assert!((2_000..2_100).contains(&quiet.held().await), "nothing of it was trimmed");
    janitor.look_at_memory().await;
    assert_eq!(janitor.metrics.over_share.get(), 0);
    flood.append(1_000).await.expect("it is let go");
}

#[tokio::test]
async fn l18_a_flood_that_cannot_be_folded_is_trimmed_to_its_share_too() {
    let memory = MemoryBroker::new();
    let (flood, _quiet, mut janitor) = flooded(&memory).await;
    let head = memory.copy(&flood.project).head(&memory.incarnation());
    let spoilt = CheckpointStep {
        incarnation: head.incarnation,
        from: head.checkpoint,
        to: head.checkpoint,
        deletion: None,
        version: FOLD_VERSION + 1,
        fields: Vec::new(),
        retention: KEEP_ALL,
        hard: false,
    };
    memory.checkpoint(flood.project.clone(), spoilt).await.expect("memory answers");
    janitor.look_at_memory().await;
    work_off(&mut janitor).await;
    assert!((70_000..85_000).contains(&flood.held().await), "{} bytes", flood.held().await);
}

#[tokio::test]
async fn l18_a_janitor_that_dies_refuses_nobody_for_ever() {
    let clock = ManualClock::at(1_000_000);
    let memory = MemoryBroker::with_clock(clock.clone());
    let (mut flood, _quiet, mut janitor) = flooded(&memory).await;
    janitor.look_at_memory().await;
    drop(janitor);
    assert_eq!(flood.append(1_000).await, OVER_SHARE);
    clock.set(clock.now_ms() + 5_000);
    flood.append(1_000).await.expect("the refusal ended by itself");
}

#[tokio::test]
async fn l18_a_redis_that_is_full_gets_room_from_who_filled_it() {
    let full = ["--appendonly", "no", "--maxmemory", "16mb", "--maxmemory-policy", "noeviction"];
    let server = RedisServer::start_with(&full);
    let redis = RedisBroker::connect(&RedisSettings::new(server.url())).expect("good settings");
    let _ = redis.connected().wait_for(|connected| *connected).await.expect("the broker lives");
    let broker: Arc<dyn Broker> = Arc::new(redis);
    let (mut flood, mut quiet) = (Appender::join(&broker, "flood").await, Appender::join(&broker, "quiet").await);
    quiet.append(10_000).await.expect("room");
    let full: Result<(), CallError> = Err(CallError::Nothing(NothingWhy::Memory));
    while flood.append(60_000).await != full {}
    while quiet.append(100).await != full {}

    let mut janitor = janitor(broker.clone());
    janitor.round().await;
    janitor.look_at_memory().await;
    work_off(&mut janitor).await;
    let memory = broker.memory().await.expect("an answer");
    let max = memory.max_bytes.expect("it has one");
    assert!(memory.used_bytes < max / 100 * 85, "{memory:?}");
    quiet.append(10_000).await.expect("there is room again");
    assert!(quiet.held().await > 20_000, "nothing of it was trimmed");
    assert_eq!(flood.append(60_000).await, OVER_SHARE);
    janitor.look_at_memory().await;
    flood.append(60_000).await.expect("it is let go");
}
