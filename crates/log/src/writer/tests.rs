//! The shell on the memory broker, with a store whose appends can be held back or fail.

use std::sync::atomic::AtomicUsize;

use futures_util::FutureExt as _;
use futures_util::future::{BoxFuture, join_all};
use tidings_broker::memory::{LogData, MemoryBroker};
use tidings_broker::{Answer, AppendCall, CallError, Index, Log, NothingWhy, Probe, Span};
use tidings_protocol::position::LogId;
use tokio::sync::Notify;
use tokio_util::sync::CancellationToken;

use super::*;

mod waits;

/// A store in memory whose appends go through a gate.
struct Gated {
    memory: MemoryBroker,
    /// Called for each append with events, and awaited.
    gate: Box<dyn Fn() -> BoxFuture<'static, Result<(), CallError>> + Send + Sync>,
    appends: AtomicUsize,
    /// What each of those waits for.
    waits: Mutex<Vec<Option<Wait>>>,
    connected: watch::Sender<bool>,
}

impl Gated {
    fn new(gate: impl Fn() -> BoxFuture<'static, Result<(), CallError>> + Send + Sync + 'static) -> Arc<Gated> {
        let (memory, connected) = (MemoryBroker::new(), watch::Sender::new(true));
        let (appends, waits) = (AtomicUsize::new(0), Mutex::default());
        Arc::new(Gated { memory, gate: Box::new(gate), appends, waits, connected })
    }

    fn open() -> Arc<Gated> {
        Gated::new(|| futures_util::future::ready(Ok(())).boxed())
    }

    fn writers(self: &Arc<Gated>) -> Writers {
        self.writers_with(Settings::default())
    }

    fn writers_with(self: &Arc<Gated>, settings: Settings) -> Writers {
        let metrics = Metrics::register(&prometheus::Registry::new()).expect("a registry of its own");
        let total = Budget::new(1 << 20);
        Writers::new(self.clone(), settings, total, Activity::default(), metrics)
    }

    /// Events in each entry of the log.
    fn entries(&self) -> Vec<u64> {
        let page = self.memory.copy(&demo()).read("", Span::After(LogId::ZERO), usize::MAX);
        page.entries.iter().map(tidings_protocol::entry::Entry::count).collect()
    }
}

impl Log for Gated {
    tidings_broker::forward!(memory: read, heads, checkpoint, state, subscribe);

    fn append(&self, project: Project, call: AppendCall) -> BoxFuture<'_, Result<Answer, CallError>> {
        async move {
            if call.batch.is_some() {
                self.waits.lock().push(call.wait);
                self.appends.fetch_add(1, Ordering::SeqCst);
                (self.gate)().await?;
            }
            self.memory.append(project, call).await
        }
        .boxed()
    }
}

impl Index for Gated {
    tidings_broker::forward!(memory: enter, projects, lease, sweep, held_bytes, refuse);
}

impl Probe for Gated {
    tidings_broker::forward!(memory: probe);

    fn connected(&self) -> watch::Receiver<bool> {
        self.connected.subscribe()
    }
}

fn demo() -> Project {
    "demo".parse().expect("a name")
}

fn event(id: &str) -> wire::Event {
    wire::Event { id: id.into(), id_from_runner: true, json: "{}".into(), ..wire::Event::default() }
}

fn one(id: &str) -> Vec<wire::Event> {
    vec![event(id)]
}

fn failure(result: Result<Vec<Outcome>, SubmitError>) -> Failure {
    result.expect_err("it must fail").why
}

#[tokio::test]
async fn the_project_stands_in_the_index_before_the_first_append() {
    let store = Gated::open();
    store.writers().submit(&demo(), one("a"), Options::new()).await.expect("it is taken");
    let shard = tidings_broker::index::shard_of(&demo());
    assert_eq!(store.memory.projects(shard).await.expect("memory answers"), [demo()]);
}

#[tokio::test]
async fn numbers_go_on_after_idle_times() {
    let store = Gated::open();
    let writers = store.writers();
    for id in ["a", "b", "c"] {
        let outcomes = writers.submit(&demo(), one(id), Options::new()).await.expect("it is taken");
        assert!(matches!(&outcomes[..], [Outcome::Appended { .. }]));
        // The task has nothing left to do.
        while writers.open() > 0 {
            tokio::task::yield_now().await;
        }
    }
    assert_eq!(store.entries(), [1, 1, 1]);
    assert_eq!(writers.shared.metrics.stale.get(), 0);
}

#[tokio::test]
async fn numbers_of_a_forgotten_writer_are_not_used_again() {
    let store = Gated::open();
    let writers = store.writers_with(Settings { projects_max: 1, ..Settings::default() });
    let other: Project = "other".parse().expect("a name");
    for (project, id) in [(&demo(), "a"), (&demo(), "b"), (&other, "c"), (&demo(), "d")] {
        writers.submit(project, one(id), Options::new()).await.expect("it is taken");
        while writers.open() > 0 {
            tokio::task::yield_now().await;
        }
        assert_eq!(writers.shared.lanes.lock().len(), 1);
    }
    assert_eq!(store.entries(), [1, 1, 1]);
    assert_eq!(writers.shared.metrics.stale.get(), 0);
}

#[tokio::test]
async fn l6_what_arrives_during_a_call_goes_out_together() {
    let go = Arc::new(Notify::new());
    let store = Gated::new({
        let go = go.clone();
        move || {
            let go = go.clone();
            async move {
                go.notified().await;
                Ok(())
            }
            .boxed()
        }
    });
    let writers = store.writers();
    let submit = |n: usize| {
        let writers = writers.clone();
        tokio::spawn(async move { writers.submit(&demo(), one(&n.to_string()), Options::new()).await })
    };
    let first = submit(0);
    while store.appends.load(Ordering::SeqCst) == 0 {
        tokio::task::yield_now().await;
    }
    let others: Vec<_> = (1..50).map(submit).collect();
    // Everybody has submitted, and the first call is at the gate.
    while writers.shared.total.used() < 50 * item::ITEM_OVERHEAD_BYTES {
        tokio::task::yield_now().await;
    }
    go.notify_one();
    while store.appends.load(Ordering::SeqCst) < 2 {
        tokio::task::yield_now().await;
    }
    go.notify_one();
    for request in others.into_iter().chain([first]) {
        request.await.expect("no panic").expect("it is taken");
    }
    assert_eq!(store.entries(), [1, 49]);
    assert_eq!(writers.shared.total.used(), 0, "everything was given back");
}

#[tokio::test(start_paused = true)]
async fn a_request_that_was_never_sent_did_not_happen() {
    let store = Gated::new(|| futures_util::future::pending().boxed());
    let writers = store.writers();
    let options = || Options { deadline: Instant::now() + Duration::from_secs(1), jumps: Jumps::default() };
    let project = demo();
    let first = writers.submit(&project, one("a"), options());
    let second = async {
        while store.appends.load(Ordering::SeqCst) == 0 {
            tokio::task::yield_now().await;
        }
        writers.submit(&project, one("b"), options()).await
    };
    let (first, second) = tokio::join!(first, second);
    assert_eq!(failure(first), Failure::OutcomeUnknown, "it was in the air");
    assert_eq!(failure(second), Failure::Busy, "it never left");
}

#[tokio::test(start_paused = true)]
async fn a_refusing_store_is_tried_again_until_the_deadline() {
    let store = Gated::new(|| {
        let refusing = CallError::Nothing(NothingWhy::Refusing("READONLY".into()));
        futures_util::future::ready(Err(refusing)).boxed()
    });
    let writers = store.writers();
    let began = Instant::now();
    assert_eq!(failure(writers.submit(&demo(), one("a"), Options::new()).await), Failure::Away);
    assert!(began.elapsed() >= DEADLINE, "on the paused clock");
    assert!(store.appends.load(Ordering::SeqCst) > 5);
}

#[tokio::test]
async fn a_store_that_is_gone_is_not_waited_for() {
    let store = Gated::new(|| futures_util::future::ready(Err(CallError::Nothing(NothingWhy::Away))).boxed());
    store.connected.send_replace(false);
    let writers = store.writers();
    assert_eq!(failure(writers.submit(&demo(), one("a"), Options::new()).await), Failure::Away);
    assert_eq!(store.appends.load(Ordering::SeqCst), 0);
}

#[tokio::test(start_paused = true)]
async fn a_call_without_an_answer_is_sent_again_and_answered_once() {
    let tries = Arc::new(AtomicUsize::new(0));
    let store = Gated::new(move || {
        let first = tries.fetch_add(1, Ordering::SeqCst) == 0;
        if first { futures_util::future::pending().boxed() } else { futures_util::future::ready(Ok(())).boxed() }
    });
    let writers = store.writers();
    writers.submit(&demo(), one("a"), Options::new()).await.expect("the second sending is answered");
    let metrics = &writers.shared.metrics;
    assert_eq!((metrics.unknown.get(), metrics.resends.get(), store.entries()), (1, 1, vec![1]));
}

#[tokio::test(start_paused = true)]
async fn a_store_that_may_take_longer_is_waited_for() {
    let slow = || tokio::time::sleep(Duration::from_secs(8)).map(Ok).boxed();
    let store = Gated::new(slow);
    let writers = store.writers_with(Settings::default().answer_within(Duration::from_secs(20)));
    writers.submit(&demo(), one("a"), Options::new()).await.expect("it is answered within the deadline");
    let metrics = &writers.shared.metrics;
    assert_eq!((metrics.unknown.get(), metrics.resends.get(), store.entries()), (0, 0, vec![1]));
}

#[tokio::test(start_paused = true)]
async fn a_project_over_its_share_is_told_at_once() {
    let tries = Arc::new(AtomicUsize::new(0));
    let store = Gated::new(move || {
        let refused = tries.fetch_add(1, Ordering::SeqCst) == 0;
        let over_share = CallError::Nothing(NothingWhy::OverShare);
        futures_util::future::ready(if refused { Err(over_share) } else { Ok(()) }).boxed()
    });
    let writers = store.writers();
    let began = Instant::now();
    let project = demo();
    let both = [one("a"), one("b")].map(|events| writers.submit(&project, events, Options::new()));
    for failed in join_all(both).await {
        assert_eq!(failure(failed), Failure::OverShare);
    }
    assert_eq!((began.elapsed(), store.appends.load(Ordering::SeqCst)), (Duration::ZERO, 1));
    writers.submit(&demo(), one("a"), Options::new()).await.expect("it is taken");
}

#[tokio::test]
async fn a_writer_that_panics_leaves_its_project_usable() {
    let tries = Arc::new(AtomicUsize::new(0));
    let store = Gated::new(move || {
        assert!(tries.fetch_add(1, Ordering::SeqCst) > 0, "the first call panics, as this test wants it");
        futures_util::future::ready(Ok(())).boxed()
    });
    let writers = store.writers();
    assert_eq!(failure(writers.submit(&demo(), one("a"), Options::new()).await), Failure::OutcomeUnknown);
    writers.submit(&demo(), one("a"), Options::new()).await.expect("it is taken");
    assert_eq!(store.entries(), [1]);
}

#[tokio::test]
async fn draining_answers_what_was_taken_and_refuses_the_rest() {
    let store = Gated::open();
    let writers = store.writers();
    let taken = (0..20).map(|n| {
        let writers = writers.clone();
        async move { writers.submit(&demo(), one(&n.to_string()), Options::new()).await }
    });
    let (taken, ()) = tokio::join!(join_all(taken), writers.drain());
    let appended = taken.iter().filter(|result| result.is_ok()).count();
    assert!(taken.iter().all(|result| result.as_ref().is_ok_and(|o| o.len() == 1)
        || result.as_ref().is_err_and(|error| error.why == Failure::Draining)));
    assert_eq!(store.entries().iter().sum::<u64>(), appended as u64);
    assert_eq!(failure(writers.submit(&demo(), one("late"), Options::new()).await), Failure::Draining);
    assert_eq!(writers.open(), 0);
}

/// Its birth and all that was in it are lost; another process keeps what it had acknowledged.
#[tokio::test(start_paused = true)]
async fn l19_a_project_whose_birth_was_just_lost_stays_deleted() {
    let store = Gated::open();
    let (keeps, deletes) = (store.writers(), store.writers());
    keeps.submit(&demo(), one("a"), Options::new()).await.expect("it is taken");
    store.memory.restore(&demo(), LogData::default());
    store.memory.set_incarnation("after");
    assert_eq!(deletes.delete_session(&demo(), "s", Options::new()).await, Err(Failure::Unsettled), "who knows?");
    let deleted = deletes.delete_project(&demo(), Options::new()).await.expect("it is taken");
    assert!(!deleted.is_zero());
    let stop = CancellationToken::new();
    let watching = tokio::spawn({
        let (keeps, stop) = (keeps.clone(), stop.clone());
        async move { keeps.watch(stop).await }
    });
    tokio::time::sleep(Duration::from_secs(5)).await;
    assert!(store.entries().is_empty(), "it is not put back");
    stop.cancel();
    watching.await.expect("no panic");
}

#[tokio::test(start_paused = true)]
async fn a_project_that_never_was_is_not_born_to_be_deleted() {
    let store = Gated::open();
    let writers = store.writers();
    writers.submit(&demo(), one("a"), Options::new()).await.expect("it is taken");
    writers.look().await;
    tokio::time::sleep(Settings::default().healing_time).await;
    writers.look().await;
    let other: Project = "other".parse().expect("a name");
    assert_eq!(writers.delete_project(&other, Options::new()).await, Ok(Position::ZERO));
    assert_eq!(writers.delete_session(&other, "s", Options::new()).await, Ok(Position::ZERO));
    assert!(!store.memory.copy(&other).is_born());
}
