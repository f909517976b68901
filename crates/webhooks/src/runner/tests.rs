//! Runners of dispatchers on the memory broker, with receivers that do what a test says. Time runs only while there is nothing
//! to do.

use std::collections::HashMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::Duration;

use bytes::Bytes;
use futures_util::future::BoxFuture;
use parking_lot::Mutex;
use prometheus::Registry;
use serde_json::{Value, json};
use tidings_broker::Broker;
use tidings_broker::clock::ManualClock;
use tidings_broker::hooks::Hooks as _;
use tidings_broker::inbox::{Inboxes as _, ItemKind, Put, PutAnswer, Standing};
use tidings_broker::memory::MemoryBroker;
use tidings_broker::registry::Registry as _;
use tidings_commands::counter::{Counter, Lease};
use tidings_commands::metrics::WorkMetrics;
use tidings_commands::owners::Owners;
use tidings_log::janitor::Activity;
use tidings_log::writer::budget::Budget;
use tidings_log::writer::{self, Options, Writers};
use tidings_protocol::project::Project;
use tidings_protocol::settings::{Ceilings, Settings, read};
use tidings_protocol::wire;
use tidings_registry::SettingsReader;
use tokio::sync::watch;
use tokio::task::JoinHandle;
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;

use super::brought::TELL_FOR;
use super::{Answers, CALLS_MAX, Commands, NotTaken, PLACE};
use crate::caller::{ANSWER_BYTES_MAX, Delivered, Target};
use crate::dispatcher::{Dispatcher, Metrics, Opened, Opening, Post, Rhythm, unix_ms};

/// A lease, unless a test is about its length.
const LEASE_MS: u64 = 30_000;

/// What takes longer than this does not come.
const HANG: Duration = Duration::from_hours(1);

/// What a receiver does with calls.
#[derive(Debug, Clone)]
enum Does {
    Answers(Delivered),
    /// Takes each after this time.
    Takes(Duration),
    Hangs,
}

/// Receivers by their hosts: what is called is kept, as host and delivery.
#[derive(Default)]
struct Receivers {
    does: Mutex<HashMap<String, Does>>,
    calls: watch::Sender<Vec<(String, String)>>,
    under_way: watch::Sender<usize>,
}

/// A call that is under way.
struct UnderWay<'a>(&'a watch::Sender<usize>);

impl Drop for UnderWay<'_> {
    fn drop(&mut self) {
        self.0.send_modify(|count| *count -= 1);
    }
}

fn taken(body: impl Into<Bytes>, is_cut: bool) -> Delivered {
    Delivered::Taken { status: 200, body: body.into(), is_cut }
}

impl Post for Receivers {
    fn post<'a>(&'a self, target: &'a Target, id: &'a str, _: u32, _: Bytes) -> BoxFuture<'a, Delivered> {
        Box::pin(async move {
            let host = target.url.as_url().host_str().expect("a host").to_owned();
            self.under_way.send_modify(|count| *count += 1);
            let _under_way = UnderWay(&self.under_way);
            let does = self.does.lock().get(&host).cloned();
            self.calls.send_modify(|calls| calls.push((host, id.to_owned())));
            match does.unwrap_or(Does::Takes(Duration::ZERO)) {
                Does::Answers(delivered) => delivered,
                Does::Takes(time) => {
                    tokio::time::sleep(time).await;
                    taken(Bytes::new(), false)
                }
                Does::Hangs => std::future::pending().await,
            }
        })
    }
}

impl Receivers {
    fn does(&self, host: &str, what: Does) {
        self.does.lock().insert(host.to_owned(), what);
    }

    /// Deliveries to this host.
    fn calls_of(&self, host: &str) -> Vec<String> {
        let calls = self.calls.borrow();
        calls.iter().filter(|(called, _)| called == host).map(|(_, id)| id.clone()).collect()
    }

    /// Waits until this host was called so often.
    async fn called(&self, host: &str, count: usize) {
        let mut calls = self.calls.subscribe();
        let is_enough =
            |calls: &Vec<(String, String)>| calls.iter().filter(|(called, _)| called == host).count() >= count;
        let waiting = tokio::time::timeout(HANG, calls.wait_for(is_enough));
        assert!(waiting.await.is_ok(), "{host} was not called {count} times");
    }
}

/// Keeps what was answered, and settles it.
struct Told {
    counter: Counter,
    answers: Mutex<Vec<(String, Vec<String>)>>,
    /// So many of the next answers the store does not take.
    later: AtomicU32,
}

impl Answers for Told {
    fn take<'a>(&'a self, lease: &'a Lease, events: &'a [String]) -> BoxFuture<'a, Result<(), NotTaken>> {
        Box::pin(async move {
            self.answers.lock().push((lease.id.clone(), events.to_vec()));
            let less = |left: u32| left.checked_sub(1);
            if self.later.fetch_update(Ordering::SeqCst, Ordering::SeqCst, less).is_ok() {
                return Err(NotTaken::Later("out of memory".to_owned()));
            }
            self.counter.settle(&lease.project, vec![lease.id.clone()]).await;
            Ok(())
        })
    }
}

struct Rig {
    broker: MemoryBroker,
    clock: ManualClock,
    store: Arc<dyn Broker>,
    receivers: Arc<Receivers>,
    told: Arc<Told>,
    /// Calls at a time, of all webhooks.
    at_once: usize,
    lease_ms: u64,
    settings: HashMap<Project, (u64, Settings)>,
}

/// A dispatcher at work.
struct Running {
    task: JoinHandle<()>,
    stop: CancellationToken,
    metrics: Metrics,
}

impl Running {
    async fn end(self) {
        self.stop.cancel();
        tokio::time::timeout(HANG, self.task).await.expect("it ends in time").expect("it ends");
    }
}

fn project(name: &str) -> Project {
    name.parse().expect("a name")
}

/// Settings that bring commands for `job` to this host.
fn commands_to(host: &str, in_hand: u32) -> Value {
    let (url, secret) = (format!("https://{host}/"), "0123456789abcdef");
    json!({"commands": {"webhook": {"url": url, "secret": secret, "capabilities": ["job"], "in_hand": in_hand}}})
}

impl Rig {
    fn new(at_once: usize) -> Rig {
        let clock = ManualClock::at(unix_ms());
        let broker = MemoryBroker::with_clock(clock.clone());
        let store: Arc<dyn Broker> = Arc::new(broker.clone());
        let metrics = WorkMetrics::register(&Registry::new()).expect("a registry of its own");
        let (owners, _notes) = Owners::new(store.inboxes());
        let counter = Counter::new(owners, metrics);
        let told = Told { counter, answers: Mutex::default(), later: AtomicU32::new(0) };
        let (receivers, told) = (Arc::default(), Arc::new(told));
        Rig { broker, clock, store, receivers, told, at_once, lease_ms: LEASE_MS, settings: HashMap::new() }
    }

    /// Changes settings as the admin route does.
    async fn set(&mut self, name: &str, settings: &Value) {
        let project = project(name);
        let (version, before) = self.settings.remove(&project).unwrap_or_default();
        let after = read(settings.to_string().as_bytes()).expect("good settings");
        let opening = Opening::begin(&self.store, &project).await.expect("the store answers");
        assert_eq!(opening.open(&before, &after).await, Ok(Opened::Ready));
        let swapped = self.broker.swap_settings(project.clone(), version, after.stored().into()).await;
        let version = swapped.expect("the store answers").expect("nobody else changes it");
        self.settings.insert(project, (version, after));
    }

    fn start(&self) -> Running {
        let settings = SettingsReader::new(Arc::new(self.broker.clone()), None, Ceilings::NONE).expect("no file");
        let metrics = Metrics::register(&Registry::new()).expect("a registry of its own");
        let commands =
            Commands { counter: self.told.counter.clone(), answers: self.told.clone(), lease_ms: self.lease_ms };
        let rhythm = Rhythm { at_once: self.at_once, ..Rhythm::default() };
        let (store, receivers) = (self.store.clone(), self.receivers.clone());
        let dispatcher = Dispatcher::new(store, settings, receivers, rhythm, metrics.clone(), Some(commands));
        let (dispatcher, stop) = (dispatcher.expect("counters of its own"), CancellationToken::new());
        Running { task: tokio::spawn(dispatcher.run(stop.clone())), stop, metrics }
    }

    async fn put(&self, name: &str, id: &str) -> PutAnswer {
        let (capability, none) = ("job".to_owned(), String::new);
        let kind = ItemKind::Command { capability, session: none(), agent: none(), urgent: false, notice: false };
        let body = json!({"type": "job.run", "id": id, "by": "alice"}).to_string().into();
        let (id, asker) = (id.to_owned(), "alice".to_owned());
        let put = Put { id, asker, kind, deadline_ms: 3_600_000, open_max: 1_000, body, life: None };
        self.broker.put(project(name), put).await.expect("memory answers").answer
    }

    /// Asks, as soon as a runner is there.
    async fn ask(&self, name: &str, id: &str) {
        let asking = async {
            while self.put(name, id).await == PutAnswer::NoRunner {
                tokio::time::sleep(Duration::from_millis(100)).await;
            }
        };
        tokio::time::timeout(HANG, asking).await.expect("a runner is there");
    }

    async fn stands(&self, name: &str, id: &str) -> Standing {
        let stands = self.broker.look(project(name), vec![id.to_owned()]).await;
        stands.expect("memory answers").pop().expect("one answer")
    }

    /// Appends an event.
    async fn say(&self, name: &str) {
        let metrics = writer::Metrics::register(&Registry::new()).expect("a registry of its own");
        let settings = writer::Settings::default();
        let budget = Budget::new(1 << 24);
        let writers = Writers::new(self.store.clone(), settings, budget, Activity::default(), metrics);
        let json = Bytes::from_static(br#"{"type":"log","id":"e1","data":{}}"#);
        let event = wire::Event { id: "e1".into(), r#type: "log".into(), json, ..wire::Event::default() };
        writers.submit(&project(name), vec![event], Options::new()).await.expect("it is appended");
    }

    /// Both clocks go on.
    async fn pass(&self, time: Duration) {
        tokio::time::sleep(time).await;
        self.clock.set(self.clock.now_ms() + u64::try_from(time.as_millis()).expect("it fits"));
    }
}

#[tokio::test(start_paused = true)]
async fn one_projects_commands_have_so_many_turns() {
    let mut rig = Rig::new(64);
    rig.set("busy", &commands_to("slow.example", 1_000)).await;
    rig.receivers.does("slow.example", Does::Takes(Duration::from_secs(9)));
    let mut most = rig.receivers.under_way.subscribe();
    let counting = tokio::spawn(async move {
        let mut seen = 0;
        while most.changed().await.is_ok() {
            seen = seen.max(*most.borrow_and_update());
            if seen > CALLS_MAX as usize {
                break;
            }
        }
        seen
    });
    let running = rig.start();
    for number in 0..50 {
        rig.ask("busy", &format!("c-{number}")).await;
    }
    rig.receivers.called("slow.example", 50).await;
    running.end().await;
    assert_eq!(rig.told.answers.lock().len(), 50);
    drop(rig);
    let most = tokio::time::timeout(HANG, counting).await.expect("it ends with the receivers");
    assert_eq!(most.expect("it counted"), CALLS_MAX as usize);
}

#[tokio::test(start_paused = true)]
async fn a_slow_receiver_of_commands_holds_up_no_other_projects_events() {
    let mut rig = Rig::new(8);
    rig.set("busy", &commands_to("slow.example", 1_000)).await;
    let hook = json!({"url": "https://quick.example/", "secret": "0123456789abcdef"});
    rig.set("other", &json!({"webhooks": {"w": hook}})).await;
    rig.receivers.does("slow.example", Does::Takes(Duration::from_secs(9)));
    let _running = rig.start();
    for number in 0..200 {
        rig.ask("busy", &format!("c-{number}")).await;
    }
    rig.receivers.called("slow.example", 20).await;
    let before = Instant::now();
    rig.say("other").await;
    rig.receivers.called("quick.example", 1).await;
    assert!(before.elapsed() < Duration::from_secs(1), "{:?}", before.elapsed());
    assert!(rig.receivers.calls_of("slow.example").len() < 50, "they wait for each other alone");
}

#[tokio::test(start_paused = true)]
async fn no_call_is_made_for_a_lease_that_is_over() {
    // One turn of each kind.
    let mut rig = Rig::new(2);
    rig.set("demo", &commands_to("slow.example", 16)).await;
    rig.receivers.does("slow.example", Does::Hangs);
    let running = rig.start();
    for id in ["c-1", "c-2"] {
        rig.ask("demo", id).await;
    }
    rig.receivers.called("slow.example", 1).await;
    tokio::time::sleep(Duration::from_millis(LEASE_MS / 2)).await;
    assert_eq!(rig.stands("demo", "c-2").await, Standing::Queued, "its turn did not come in time");
    assert!(matches!(rig.stands("demo", "c-1").await, Standing::Leased { .. }));
    tokio::time::sleep(Duration::from_millis(LEASE_MS / 2)).await;
    assert_eq!(*rig.receivers.under_way.borrow(), 0, "its lease is over");
    assert_eq!(rig.stands("demo", "c-1").await, Standing::Queued);
    assert_eq!(rig.receivers.calls_of("slow.example"), ["c-1/1"]);
    running.end().await;
}

#[tokio::test(start_paused = true)]
async fn a_lease_of_a_second_is_long_enough_for_a_call() {
    let mut rig = Rig { lease_ms: 1_000, ..Rig::new(8) };
    rig.set("demo", &commands_to("quick.example", 16)).await;
    rig.receivers.does("quick.example", Does::Takes(Duration::from_millis(500)));
    let running = rig.start();
    rig.ask("demo", "c-1").await;
    rig.receivers.called("quick.example", 1).await;
    running.end().await;
    let accepted = vec![json!({"type": "command.accepted"}).to_string()];
    assert_eq!(*rig.told.answers.lock(), [("c-1".to_owned(), accepted)]);
}

#[tokio::test(start_paused = true)]
async fn one_that_stops_ends_its_calls_and_begins_none() {
    let mut rig = Rig::new(2);
    rig.set("demo", &commands_to("slow.example", 16)).await;
    rig.receivers.does("slow.example", Does::Takes(Duration::from_secs(9)));
    let running = rig.start();
    for id in ["c-1", "c-2"] {
        rig.ask("demo", id).await;
    }
    rig.receivers.called("slow.example", 1).await;
    // Both are leased by then.
    tokio::time::sleep(Duration::from_secs(1)).await;
    assert!(matches!(rig.stands("demo", "c-2").await, Standing::Leased { .. }));
    running.end().await;
    assert_eq!(rig.receivers.calls_of("slow.example"), ["c-1/1"]);
    assert_eq!(rig.stands("demo", "c-2").await, Standing::Queued);
    assert_eq!(rig.told.answers.lock().len(), 1, "what was called is answered");
}

#[tokio::test(start_paused = true)]
async fn it_stays_there_while_its_hands_are_full() {
    let mut rig = Rig { lease_ms: 600_000, ..Rig::new(64) };
    rig.set("demo", &commands_to("slow.example", 1_000)).await;
    rig.receivers.does("slow.example", Does::Hangs);
    let _running = rig.start();
    for number in 0..CALLS_MAX {
        rig.ask("demo", &format!("c-{number}")).await;
    }
    rig.receivers.called("slow.example", CALLS_MAX as usize).await;
    for _ in 0..20 {
        rig.pass(Duration::from_secs(6)).await;
    }
    assert_eq!(rig.put("demo", "later").await, PutAnswer::Queued);
    assert_eq!(rig.receivers.calls_of("slow.example").len(), CALLS_MAX as usize);
}

#[tokio::test(start_paused = true)]
async fn an_answer_that_is_cut_fails_the_command() {
    let mut rig = Rig::new(8);
    rig.set("demo", &commands_to("wordy.example", 16)).await;
    rig.receivers.does("wordy.example", Does::Answers(taken(vec![b' '; ANSWER_BYTES_MAX], true)));
    let running = rig.start();
    rig.ask("demo", "c-1").await;
    rig.receivers.called("wordy.example", 1).await;
    running.end().await;
    let answers = rig.told.answers.lock().clone();
    let [(id, events)] = &answers[..] else { panic!("{answers:?}") };
    let event: Value = serde_json::from_str(&events[0]).expect("JSON");
    assert_eq!((id.as_str(), events.len(), &event["type"]), ("c-1", 1, &json!("command.failed")));
    assert_eq!(event["data"]["code"], "answer_cut");
}

#[tokio::test(start_paused = true)]
async fn an_answer_that_the_store_does_not_take_is_told_again_and_asked_for_once() {
    let mut rig = Rig::new(8);
    rig.set("demo", &commands_to("quick.example", 16)).await;
    let done = json!({"events": [{"type": "command.completed"}]}).to_string();
    rig.receivers.does("quick.example", Does::Answers(taken(done, false)));
    let running = rig.start();
    rig.told.later.store(3, Ordering::SeqCst);
    rig.ask("demo", "c-1").await;
    tokio::time::sleep(TELL_FOR).await;
    let told = ("c-1".to_owned(), vec![json!({"type": "command.completed"}).to_string()]);
    assert_eq!(*rig.told.answers.lock(), vec![told; 4]);
    assert_eq!(
        (rig.stands("demo", "c-1").await, rig.receivers.calls_of("quick.example").len()),
        (Standing::Unknown, 1)
    );
    // One that stops waits for no store.
    rig.told.later.store(u32::MAX, Ordering::SeqCst);
    rig.ask("demo", "c-2").await;
    rig.receivers.called("quick.example", 2).await;
    let before = Instant::now();
    running.end().await;
    assert!(before.elapsed() < TELL_FOR / 2, "{:?}", before.elapsed());
}

#[tokio::test(start_paused = true)]
async fn an_answer_that_the_store_does_not_take_holds_nobody_up_for_ever() {
    let mut rig = Rig { lease_ms: 600_000, ..Rig::new(8) };
    rig.set("demo", &commands_to("quick.example", 16)).await;
    let running = rig.start();
    rig.told.later.store(u32::MAX, Ordering::SeqCst);
    rig.ask("demo", "c-1").await;
    tokio::time::sleep(2 * TELL_FOR).await;
    let tries = rig.told.answers.lock().len();
    tokio::time::sleep(TELL_FOR).await;
    assert_eq!(rig.told.answers.lock().len(), tries);
    running.end().await;
}

#[tokio::test(start_paused = true)]
async fn a_receiver_that_is_gone_is_called_by_nobody_until_its_settings_change() {
    // One turn of each kind: the second command waits for the first one's.
    let mut rig = Rig::new(2);
    rig.set("demo", &commands_to("gone.example", 16)).await;
    let first = rig.start();
    rig.receivers.does("gone.example", Does::Answers(Delivered::Gone));
    for id in ["c-1", "c-2"] {
        rig.ask("demo", id).await;
    }
    rig.receivers.called("gone.example", 1).await;
    rig.pass(Duration::from_secs(10)).await;
    assert_eq!((first.metrics.gone.get(), first.metrics.failing.get()), (1, 0));
    assert_eq!(rig.put("demo", "c-3").await, PutAnswer::NoRunner);
    assert_eq!(
        (rig.stands("demo", "c-1").await, rig.stands("demo", "c-2").await),
        (Standing::Queued, Standing::Queued)
    );
    let calls = rig.receivers.calls_of("gone.example").len();
    first.end().await;
    rig.pass(Duration::from_secs(1)).await;
    let second = rig.start();
    rig.pass(Duration::from_mins(1)).await;
    assert_eq!((second.metrics.gone.get(), rig.receivers.calls_of("gone.example").len()), (1, calls));
    rig.set("demo", &commands_to("other.example", 16)).await;
    rig.receivers.called("other.example", 2).await;
    // As it was, but another one.
    rig.set("demo", &json!({})).await;
    rig.pass(Duration::from_mins(1)).await;
    rig.set("demo", &commands_to("gone.example", 16)).await;
    assert!(!rig.broker.places(project("demo")).await.expect("memory answers").contains_key(PLACE));
    rig.ask("demo", "c-4").await;
    rig.receivers.called("gone.example", calls + 1).await;
    second.end().await;
}
