//! The janitor on the memory broker.

use prost::Message as _;
use tidings_broker::clock::ManualClock;
use tidings_broker::memory::MemoryBroker;
use tidings_broker::{
    Answer, AppendBatch, AppendCall, CheckpointStep, DedupeWindow, Fields, Index as _, Log as _, Span,
};
use tidings_protocol::fold::{FOLD_VERSION, State};
use tidings_protocol::position::{Branch, LogId, Position};
use tidings_protocol::wire;

use super::step::{STEP_ENTRIES, StepError};
use super::*;

mod pressure;
mod retentions;
mod turns;

const KEEP_ALL: Retention = Retention { events: 1 << 40, bytes: 1 << 40, age_ms: 1 << 40 };

/// A log in memory that entries of one event each are appended to.
struct Rig {
    broker: MemoryBroker,
    clock: ManualClock,
    project: Project,
    branch: Branch,
    number: u64,
}

impl Rig {
    async fn new() -> Rig {
        let clock = ManualClock::at(1_000_000);
        let broker = MemoryBroker::with_clock(clock.clone());
        let project: Project = "demo".parse().expect("a name");
        broker.enter(project.clone()).await.expect("memory takes all");
        let mut rig = Rig { broker, clock, project, branch: Branch::NONE, number: 0 };
        rig.sync().await;
        rig
    }

    /// Another project on the same store.
    async fn of(&self, name: &str) -> Rig {
        let project: Project = name.parse().expect("a name");
        self.broker.enter(project.clone()).await.expect("memory takes all");
        let (broker, clock) = (self.broker.clone(), self.clock.clone());
        let mut rig = Rig { broker, clock, project, branch: Branch::NONE, number: 0 };
        rig.sync().await;
        rig
    }

    async fn sync(&mut self) {
        self.branch = Branch::NONE;
        match self.call(None).await {
            Answer::Synced(head) => self.branch = head.branch,
            other => panic!("{other:?}"),
        }
    }

    async fn call(&self, batch: Option<AppendBatch>) -> Answer {
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
        self.broker.append(self.project.clone(), call).await.expect("memory answers")
    }

    /// Appends entries of one event, each of which sets a cell and adds to another.
    async fn append(&mut self, count: u64) {
        for _ in 0..count {
            self.number += 1;
            let effect = |op: wire::effect::Op, name: &str| wire::Effect {
                op: op.into(),
                path: vec![name.into()],
                value: self.number.to_string().into(),
                number: 1,
                ..wire::Effect::default()
            };
            let event = wire::Event {
                json: "{}".into(),
                id: self.number.to_string(),
                session: format!("s{}", self.number % 7),
                effects: vec![effect(wire::effect::Op::Set, "last"), effect(wire::effect::Op::Add, "count")],
                ..wire::Event::default()
            };
            let payload = wire::Batch { events: vec![event] }.encode_to_vec().into();
            let batch = AppendBatch {
                payload,
                count: 1,
                ids: Vec::new(),
                producers: Vec::new(),
                deletions: Vec::new(),
                guards: Vec::new(),
            };
            assert!(matches!(self.call(Some(batch)).await, Answer::Appended { .. }));
        }
    }

    /// Appends one big event.
    async fn append_sized(&mut self, bytes: usize) {
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
        assert!(matches!(self.call(Some(batch)).await, Answer::Appended { .. }));
    }

    fn janitor(&self, retention: Retention) -> Janitor {
        let metrics = Metrics::register(&prometheus::Registry::new()).expect("a registry of its own");
        Janitor::new(Arc::new(self.broker.clone()), Settings::new(retention), Activity::default(), metrics)
    }

    /// The state that the checkpoint gives, and where it stands.
    async fn checkpoint(&self) -> (Position, String) {
        let at = self.broker.state(self.project.clone(), Fields::All).await.expect("memory answers");
        let state = State::from_fields(at.position, at.version, at.fields).expect("a sound checkpoint");
        (at.position, json(&state))
    }

    /// The fold of the whole log, which must hold everything still.
    fn folded(&self) -> (Position, String) {
        let mut state = State::new(StateLimits::default());
        for entry in self.entries() {
            state.apply(&entry);
        }
        (state.position(), json(&state))
    }

    fn entries(&self) -> Vec<tidings_protocol::entry::Entry> {
        self.broker.copy(&self.project).read("", Span::After(LogId::ZERO), usize::MAX).entries
    }
}

fn json(state: &State) -> String {
    let mut out = Vec::new();
    state.snapshot_json(&mut out);
    String::from_utf8(out).expect("JSON is UTF-8")
}

/// A round, and all that it finds to do.
async fn round(janitor: &mut Janitor) {
    janitor.round().await;
    work_off(janitor).await;
}

async fn work_off(janitor: &mut Janitor) {
    while !janitor.queue.is_empty() {
        janitor.work().await;
    }
}

async fn steps(janitor: &mut Janitor, project: &Project) -> usize {
    let mut count = 1;
    while janitor.step(project).await.expect("a step") == Progress::More {
        count += 1;
    }
    count
}

#[tokio::test]
async fn l17_the_checkpoint_is_the_fold() {
    let mut rig = Rig::new().await;
    let mut janitor = rig.janitor(KEEP_ALL);
    for _ in 0..3 {
        rig.append(20).await;
        steps(&mut janitor, &rig.project).await;
        assert_eq!(rig.checkpoint().await, rig.folded());
    }
}

#[tokio::test]
async fn l18_a_step_folds_a_bounded_stretch() {
    let mut rig = Rig::new().await;
    rig.append(2 * STEP_ENTRIES as u64 + 1).await;
    let mut janitor = rig.janitor(KEEP_ALL);
    assert_eq!(janitor.step(&rig.project).await.expect("a step"), Progress::More);
    assert_eq!(rig.checkpoint().await.0.n(), STEP_ENTRIES as u64);
    assert_eq!(steps(&mut janitor, &rig.project).await, 2);
    assert_eq!(rig.checkpoint().await, rig.folded());
}

#[tokio::test]
async fn l17_janitors_in_turn_do_no_harm() {
    let mut rig = Rig::new().await;
    let (mut one, mut other) = (rig.janitor(KEEP_ALL), rig.janitor(KEEP_ALL));
    for _ in 0..4 {
        for janitor in [&mut one, &mut other] {
            rig.append(5).await;
            // What it cached was moved by the other one: it reads anew.
            steps(janitor, &rig.project).await;
            assert_eq!(rig.checkpoint().await, rig.folded());
        }
    }
}

#[tokio::test]
async fn l17_a_fork_that_takes_the_checkpoint_back_is_folded_again() {
    let mut rig = Rig::new().await;
    let mut janitor = rig.janitor(KEEP_ALL);
    rig.append(10).await;
    let old = rig.broker.copy(&rig.project);
    rig.append(10).await;
    steps(&mut janitor, &rig.project).await;
    rig.broker.restore(&rig.project, old);
    rig.broker.set_incarnation("promoted");
    rig.sync().await;
    rig.append(3).await;
    steps(&mut janitor, &rig.project).await;
    assert_eq!(rig.checkpoint().await, rig.folded());
    assert_eq!(rig.folded().0.n(), 14, "ten, a fork, three");
}

#[tokio::test]
async fn l18_the_log_is_trimmed_behind_the_checkpoint() {
    let mut rig = Rig::new().await;
    rig.append(50).await;
    let folded = rig.folded();
    let mut janitor = rig.janitor(Retention { events: 10, ..KEEP_ALL });
    steps(&mut janitor, &rig.project).await;
    assert_eq!(rig.entries().len(), 10);
    assert_eq!(rig.checkpoint().await, folded);
    assert_eq!(janitor.metrics.trimmed.get(), 40);
}

#[tokio::test]
async fn l18_a_quiet_log_is_trimmed_by_age() {
    let mut rig = Rig::new().await;
    rig.append(5).await;
    let mut janitor = rig.janitor(Retention { age_ms: 1_000, ..KEEP_ALL });
    steps(&mut janitor, &rig.project).await;
    assert_eq!(rig.entries().len(), 5);
    rig.clock.set(rig.clock.now_ms() + 1_001);
    steps(&mut janitor, &rig.project).await;
    assert_eq!(rig.entries().len(), 0);
    assert_eq!(rig.checkpoint().await.0.n(), 5);
}

/// Puts a checkpoint in place that this version cannot fold on.
async fn spoil(rig: &Rig, version: u32, field: &str) {
    let head = rig.broker.copy(&rig.project).head(&rig.broker.incarnation());
    let step = CheckpointStep {
        incarnation: head.incarnation,
        from: head.checkpoint,
        to: head.last,
        deletion: None,
        version,
        fields: vec![(field.to_owned(), Some("\u{1}".into()))],
        retention: KEEP_ALL,
        hard: false,
    };
    rig.broker.checkpoint(rig.project.clone(), step).await.expect("memory answers");
}

#[tokio::test]
async fn l18_a_fold_that_fails_still_trims_at_twice_the_retention() {
    let mut rig = Rig::new().await;
    rig.append(5).await;
    spoil(&rig, FOLD_VERSION, "p").await;
    rig.append(45).await;
    let mut janitor = rig.janitor(Retention { events: 10, ..KEEP_ALL });
    assert!(matches!(janitor.step(&rig.project).await, Err(StepError::Fold { .. })));
    assert_eq!(rig.entries().len(), 20);
    assert_eq!((janitor.metrics.failures.get(), janitor.metrics.hard_trimmed.get()), (1, 30));
}

#[tokio::test]
async fn l17_a_newer_versions_checkpoint_is_left_alone() {
    let mut rig = Rig::new().await;
    rig.append(5).await;
    spoil(&rig, FOLD_VERSION + 1, "new").await;
    rig.append(5).await;
    let before = rig.broker.state(rig.project.clone(), Fields::All).await.expect("memory answers");
    let mut janitor = rig.janitor(KEEP_ALL);
    assert!(matches!(janitor.step(&rig.project).await, Err(StepError::Fold { .. })));
    let after = rig.broker.state(rig.project.clone(), Fields::All).await.expect("memory answers");
    assert_eq!((after.position, after.version, after.fields), (before.position, before.version, before.fields));
}

#[tokio::test]
async fn l18_only_the_holder_of_the_lease_works() {
    let mut rig = Rig::new().await;
    rig.append(1_000).await;
    let (mut first, mut second) = (rig.janitor(KEEP_ALL), rig.janitor(KEEP_ALL));
    assert!(first.holds(index::shard_of(&rig.project)).await);
    round(&mut second).await;
    assert_eq!((second.metrics.steps.get(), second.metrics.leases.get()), (0, i64::from(INDEX_SHARDS) - 1));
    round(&mut first).await;
    assert_eq!(first.metrics.steps.get(), 1);
    // The lease lapses with its holder.
    rig.append(1_000).await;
    rig.clock.set(rig.clock.now_ms() + 15_000);
    round(&mut second).await;
    assert_eq!((second.metrics.steps.get(), second.metrics.behind.get()), (1, 1_000));
    assert_eq!(rig.checkpoint().await, rig.folded());
}

#[tokio::test]
async fn l18_much_activity_is_not_left_to_the_next_round() {
    let mut rig = Rig::new().await;
    rig.append(1_500).await;
    let mut janitor = rig.janitor(KEEP_ALL);
    let activity = janitor.activity.clone();
    let metrics = janitor.metrics.clone();
    activity.appended(&rig.project, 999);
    janitor.hurry();
    work_off(&mut janitor).await;
    assert_eq!(metrics.steps.get(), 0);
    activity.appended(&rig.project, 1);
    activity.busy().await;
    janitor.hurry();
    work_off(&mut janitor).await;
    assert_eq!(metrics.steps.get(), 2, "a thousand entries, then the rest");
}

#[tokio::test]
async fn l18_a_hard_trim_goes_on_until_the_bound_is_met() {
    let mut rig = Rig::new().await;
    rig.append(5).await;
    spoil(&rig, FOLD_VERSION, "p").await;
    rig.append(3 * STEP_ENTRIES as u64).await;
    let mut janitor = rig.janitor(Retention { events: 10, ..KEEP_ALL });
    round(&mut janitor).await;
    assert_eq!(rig.entries().len(), 20);
    assert_eq!(janitor.metrics.failures.get(), 1, "one try to fold, the rest is trims");
    // While the fold is not tried again, rounds go on trimming.
    rig.append(50).await;
    round(&mut janitor).await;
    assert_eq!((rig.entries().len(), janitor.metrics.failures.get()), (20, 1));
}

#[tokio::test]
async fn l18_a_trim_that_bytes_end_goes_on() {
    let mut rig = Rig::new().await;
    for _ in 0..12 {
        rig.append_sized(2 * 1024 * 1024).await;
    }
    steps(&mut rig.janitor(KEEP_ALL), &rig.project).await;
    assert_eq!(rig.entries().len(), 12, "all is folded, and kept");
    steps(&mut rig.janitor(Retention { bytes: 1, ..KEEP_ALL }), &rig.project).await;
    assert_eq!(rig.entries().len(), 0);
}

#[tokio::test]
async fn l18_a_fold_that_works_again_goes_on_behind_what_a_hard_trim_took() {
    let mut rig = Rig::new().await;
    rig.append(5).await;
    let mut janitor = rig.janitor(KEEP_ALL);
    steps(&mut janitor, &rig.project).await;
    rig.append(5).await;
    let head = rig.broker.copy(&rig.project).head(&rig.broker.incarnation());
    let hard = CheckpointStep {
        incarnation: head.incarnation.clone(),
        from: head.checkpoint,
        to: head.checkpoint,
        deletion: None,
        version: FOLD_VERSION,
        fields: Vec::new(),
        retention: Retention { events: 0, ..KEEP_ALL },
        hard: true,
    };
    rig.broker.checkpoint(rig.project.clone(), hard).await.expect("memory answers");
    assert_eq!(rig.entries().len(), 0);
    assert_eq!(janitor.step(&rig.project).await.expect("a step"), Progress::Reached);
    assert_eq!(rig.checkpoint().await.0, head.last, "the quiet log is not behind for ever");
}
