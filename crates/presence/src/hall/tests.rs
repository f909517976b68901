//! Halls of several gateways on one store in memory, by the paused clock.

use std::time::Duration;

use futures_util::FutureExt as _;
use futures_util::future::BoxFuture;
use serde_json::Value;
use std::sync::atomic::AtomicBool;
use tidings_broker::clock::ManualClock;
use tidings_broker::memory::MemoryBroker;
use tidings_broker::presence::{Members, PutRunner, RemoveRunner, Report, Reported, Roll, Speaker};
use tidings_broker::{CallError, NothingWhy};

use super::*;
use crate::Topic;

const START_MS: u64 = 1_763_630_000_000;
const LEASE: Duration = Duration::from_secs(15);

/// A memory store on tokio's clock, that can be away and counts its calls.
#[derive(Clone)]
struct Double {
    memory: MemoryBroker,
    clock: ManualClock,
    since: Instant,
    away: Arc<AtomicBool>,
    calls: Arc<AtomicU64>,
}

impl Double {
    fn new() -> Double {
        let clock = ManualClock::at(START_MS);
        let memory = MemoryBroker::with_clock(clock.clone());
        Double { memory, clock, since: Instant::now(), away: Arc::default(), calls: Arc::default() }
    }

    async fn answers(&self) -> bool {
        self.calls.fetch_add(1, Ordering::SeqCst);
        tokio::time::sleep(Duration::from_millis(1)).await;
        self.clock.set(START_MS + u64::try_from(self.since.elapsed().as_millis()).expect("short"));
        !self.away.load(Ordering::SeqCst)
    }

    async fn call(&self) -> Result<(), CallError> {
        if self.answers().await { Ok(()) } else { Err(CallError::Nothing(NothingWhy::Away)) }
    }

    async fn ask(&self) -> Result<(), ReadError> {
        if self.answers().await { Ok(()) } else { Err(ReadError::Away("cut".into())) }
    }
}

impl Presences for Double {
    fn report(&self, project: Project, report: Report) -> BoxFuture<'_, Result<Reported, CallError>> {
        async move { self.call().await.map(|()| self.memory.report(project, report))?.await }.boxed()
    }

    fn leave(&self, project: Project, gateway: Arc<str>) -> BoxFuture<'_, Result<(), CallError>> {
        async move { self.call().await.map(|()| self.memory.leave(project, gateway))?.await }.boxed()
    }

    fn roll(&self, project: Project, known_runners: u64) -> BoxFuture<'_, Result<Roll, ReadError>> {
        async move { self.ask().await.map(|()| Presences::roll(&self.memory, project, known_runners))?.await }.boxed()
    }

    fn members(&self, project: Project, gateway: Arc<str>) -> BoxFuture<'_, Result<Option<Members>, ReadError>> {
        async move { self.ask().await.map(|()| Presences::members(&self.memory, project, gateway))?.await }.boxed()
    }

    fn put_runner(
        &self,
        project: Project,
        name: String,
        by: Speaker,
        ttl_ms: u64,
        record: Bytes,
    ) -> BoxFuture<'_, Result<PutRunner, CallError>> {
        async move { self.call().await.map(|()| self.memory.put_runner(project, name, by, ttl_ms, record))?.await }
            .boxed()
    }

    fn remove_runner(
        &self,
        project: Project,
        name: String,
        by: Speaker,
    ) -> BoxFuture<'_, Result<RemoveRunner, CallError>> {
        async move { self.call().await.map(|()| self.memory.remove_runner(project, name, by))?.await }.boxed()
    }

    fn forget_runners(&self, project: Project) -> BoxFuture<'_, Result<(), CallError>> {
        async move { self.call().await.map(|()| self.memory.forget_runners(project))?.await }.boxed()
    }
}

struct Gateway {
    hall: Hall,
    tasks: TaskTracker,
    stop: CancellationToken,
    metrics: Metrics,
}

fn gateway(store: &Double, name: &str) -> Gateway {
    let (tasks, stop, metrics) = (TaskTracker::new(), CancellationToken::new(), Metrics::default());
    let settings = Settings { lease: LEASE, ..Settings::default() };
    let store = Arc::new(store.clone());
    let hall = Hall::new(store, settings, name.into(), metrics.clone(), tasks.clone(), stop.clone());
    Gateway { hall, tasks, stop, metrics }
}

impl Gateway {
    /// As a kill leaves it: nothing is said any more.
    fn kill(&self, store: &Double) -> impl Drop + use<> {
        struct Back(Arc<AtomicBool>);
        impl Drop for Back {
            fn drop(&mut self) {
                self.0.store(false, Ordering::SeqCst);
            }
        }
        store.away.store(true, Ordering::SeqCst);
        self.stop.cancel();
        Back(Arc::clone(&store.away))
    }
}

fn project() -> Project {
    "demo".parse().expect("a name")
}

fn enter(gateway: &Gateway, viewer: &str) -> Present {
    let who = Who { viewer: viewer.into(), is_user: true };
    gateway.hall.enter(&project(), &who, Transport::WebSocket)
}

/// A watcher, and what wakes it.
struct Watcher {
    watching: Watching,
    woken: Arc<Notify>,
}

impl Watcher {
    fn new(present: &Present) -> Watcher {
        let woken = Arc::new(Notify::new());
        let wake = Arc::clone(&woken);
        Watcher { watching: present.watch(move || wake.notify_one()), woken }
    }

    /// The next thing that is said; waits for it.
    async fn hears(&mut self) -> Vec<Value> {
        let hear = async {
            loop {
                let said = self.watching.take(Instant::now());
                if !said.is_empty() {
                    let texts = said.iter().flat_map(|said| said.texts());
                    return texts.map(|text| serde_json::from_slice(text).expect("JSON")).collect();
                }
                self.woken.notified().await;
            }
        };
        tokio::time::timeout(Duration::from_hours(1), hear).await.expect("it is told")
    }
}

fn viewers(list: &Value) -> Vec<&str> {
    let all = list["viewers"].as_array().expect("a list").iter();
    all.map(|viewer| viewer["viewer"].as_str().expect("who")).collect()
}

fn change(event: &Value) -> (&str, &str) {
    let who = event["data"]["viewer"].as_str().or(event["data"]["runner"].as_str());
    (event["type"].as_str().expect("a type"), who.expect("who"))
}

#[tokio::test(start_paused = true)]
async fn viewers_of_all_gateways_are_told_to_all() {
    let store = Double::new();
    let (one, two) = (gateway(&store, "g-1"), gateway(&store, "g-2"));
    let alice = enter(&one, "alice");
    let mut watcher = Watcher::new(&alice);
    assert_eq!(viewers(&watcher.hears().await[0]), ["alice"]);
    let bob = enter(&two, "bob");
    assert_eq!(change(&watcher.hears().await[0]), ("presence.joined", "bob"));
    let by = Speaker { subject: "s".into(), overrules: false };
    store.memory.put_runner(project(), "r".into(), by, 5_000, "{}".into()).await.expect("memory answers");
    assert_eq!(change(&watcher.hears().await[0]), ("presence.joined", "r"));
    assert_eq!((one.metrics.viewers.get(), one.metrics.runners.get()), (1, 1));
    drop(bob);
    assert_eq!(change(&watcher.hears().await[0]), ("presence.left", "bob"));
    assert_eq!(change(&watcher.hears().await[0]), ("presence.left", "r"));
    drop((watcher, alice));
    one.tasks.close();
    tokio::time::timeout(LEASE, one.tasks.wait()).await.expect("nobody is left: the task ends");
    assert_eq!(Presences::roll(&store.memory, project(), 0).await.expect("memory answers").gateways, []);
    assert_eq!((one.metrics.viewers.get(), one.metrics.runners.get()), (0, 0));
}

#[tokio::test(start_paused = true)]
async fn viewers_of_a_dead_gateway_leave_within_its_lease_and_a_round() {
    let store = Double::new();
    let (one, dead) = (gateway(&store, "g-1"), gateway(&store, "g-2"));
    let alice = enter(&one, "alice");
    let _ghosts = [enter(&dead, "bob"), enter(&dead, "carol")];
    let mut watcher = Watcher::new(&alice);
    let mut there = 0;
    while there < 3 {
        let told = watcher.hears().await;
        there += if told[0]["type"].is_null() { viewers(&told[0]).len() } else { told.len() };
    }
    {
        let _silent = dead.kill(&store);
        dead.tasks.close();
        dead.tasks.wait().await;
    }
    let died = Instant::now();
    loop {
        let told = watcher.hears().await;
        let left: Vec<_> = told.iter().filter(|event| event["type"] == "presence.left").map(change).collect();
        if !left.is_empty() {
            assert_eq!(left, [("presence.left", "bob"), ("presence.left", "carol")]);
            break;
        }
    }
    assert!(died.elapsed() <= LEASE + Settings::default().round + Duration::from_secs(1), "{:?}", died.elapsed());
}

#[tokio::test(start_paused = true)]
async fn all_that_are_there_are_told_again_and_again() {
    let store = Double::new();
    let one = gateway(&store, "g-1");
    let alice = enter(&one, "alice");
    let mut watcher = Watcher::new(&alice);
    watcher.hears().await;
    let full_at = Instant::now() + FULL_EVERY;
    tokio::time::sleep(FULL_EVERY / 30 * 29).await;
    assert!(watcher.watching.take(Instant::now()).is_empty());
    tokio::time::sleep_until(full_at).await;
    let said = watcher.watching.take(Instant::now());
    assert_eq!(said.iter().map(|said| said.topic()).collect::<Vec<_>>(), [Topic::Full]);
    let mut other = alice.watch(|| ());
    let again = other.take(Instant::now());
    assert!(Arc::ptr_eq(&said[0], &again[0]), "it is made once");
}

#[tokio::test(start_paused = true)]
async fn ten_thousand_who_come_at_once_cost_the_store_a_few_calls() {
    let store = Double::new();
    let one = gateway(&store, "g-1");
    let mut all = Vec::new();
    for viewer in 0..10_000 {
        all.push(enter(&one, &format!("v-{viewer}")));
        if viewer % 10 == 0 {
            tokio::time::sleep(Duration::from_millis(1)).await;
        }
    }
    let calls = store.calls.load(Ordering::SeqCst);
    assert!((2..=25).contains(&calls), "{calls} calls in two seconds");
    tokio::time::sleep(Duration::from_secs(1)).await;
    let list: Value = serde_json::from_slice(&one.hall.list(&project()).await.expect("an answer")).expect("JSON");
    assert_eq!((viewers(&list).len(), &list["others"]), (200, &9_800.into()));
    let before = store.calls.load(Ordering::SeqCst);
    tokio::time::sleep(LEASE).await;
    let calls = store.calls.load(Ordering::SeqCst) - before;
    assert!(calls <= 4, "{calls} calls in a lease");
}

#[tokio::test(start_paused = true)]
async fn a_list_is_there_for_who_does_not_watch_and_says_when_it_is_old() {
    let store = Double::new();
    let (one, two) = (gateway(&store, "g-1"), gateway(&store, "g-2"));
    let alice = enter(&one, "alice");
    tokio::time::sleep(Duration::from_secs(1)).await;
    let list = async |gateway: &Gateway| {
        let told = gateway.hall.list(&project()).await;
        told.map(|json| serde_json::from_slice::<Value>(&json).expect("JSON"))
    };
    assert_eq!(viewers(&list(&two).await.expect("an answer")), ["alice"]);
    let mut watcher = Watcher::new(&alice);
    watcher.hears().await;
    store.away.store(true, Ordering::SeqCst);
    assert_eq!(viewers(&list(&two).await.expect("an answer")), ["alice"], "what was looked up is held for a second");
    tokio::time::sleep(Duration::from_secs(1)).await;
    assert_eq!(list(&two).await.map_err(drop), Err(()), "nothing is known there");
    assert_eq!(watcher.hears().await[0]["stale"], true);
    let old = list(&one).await.expect("what was known");
    assert_eq!((viewers(&old), &old["stale"]), (vec!["alice"], &true.into()));
    assert!(one.metrics.store_errors.get() > 0);
    store.away.store(false, Ordering::SeqCst);
    assert_eq!(watcher.hears().await[0]["stale"], false);
}

#[tokio::test(start_paused = true)]
async fn however_many_ask_the_store_is_asked_once_a_second() {
    let store = Double::new();
    let two = gateway(&store, "g-2");
    let by = Speaker { subject: "s".into(), overrules: false };
    store.memory.put_runner(project(), "r".into(), by, 600_000, "{}".into()).await.expect("memory answers");
    let demo = project();
    for second in 1..=3 {
        let asked = (0..1_000).map(|_| two.hall.list(&demo));
        for list in join_all(asked).await {
            let list: Value = serde_json::from_slice(&list.expect("an answer")).expect("JSON");
            assert_eq!(list["runners"][0]["runner"], "r");
        }
        assert_eq!(store.calls.load(Ordering::SeqCst), second, "one call for a thousand");
        tokio::time::sleep(Duration::from_secs(1)).await;
    }
    store.away.store(true, Ordering::SeqCst);
    for answer in join_all((0..1_000).map(|_| two.hall.list(&demo))).await {
        assert_eq!(answer, Err(ReadError::Away("cut".into())));
    }
    assert_eq!(store.calls.load(Ordering::SeqCst), 4, "nor is a store that is away asked by each");
    store.away.store(false, Ordering::SeqCst);
    let projects = (0..1_000).map(|index| format!("p{index}").parse::<Project>().expect("a name"));
    let projects: Vec<Project> = projects.collect();
    join_all(projects.iter().map(|project| two.hall.list(project))).await;
    assert!(two.hall.0.looks.held() <= 64, "few are held");
}

#[tokio::test(start_paused = true)]
async fn a_gateway_that_stops_takes_back_what_it_reported() {
    let store = Double::new();
    let one = gateway(&store, "g-1");
    let _alice = enter(&one, "alice");
    tokio::time::sleep(Duration::from_secs(1)).await;
    let listed = async || Presences::roll(&store.memory, project(), 0).await.expect("memory answers").gateways.len();
    assert_eq!(listed().await, 1);
    one.stop.cancel();
    one.tasks.close();
    one.tasks.wait().await;
    assert_eq!(listed().await, 0);
}
