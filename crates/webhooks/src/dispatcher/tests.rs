//! Dispatchers on the memory broker, with receivers that do what a test says.

use std::collections::VecDeque;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use futures_util::future::BoxFuture;
use parking_lot::Mutex;
use prometheus::Registry;
use serde_json::{Value, json};
use tidings_broker::clock::ManualClock;
use tidings_broker::hooks::Hooks as _;
use tidings_broker::memory::{LogData, MemoryBroker};
use tidings_broker::registry::Registry as _;
use tidings_broker::{Broker, index};
use tidings_log::janitor::Activity;
use tidings_log::writer::budget::Budget;
use tidings_log::writer::{self, Options, Writers};
use tidings_protocol::project::Project;
use tidings_protocol::settings::{Ceilings, Settings, read};
use tidings_protocol::wire;
use tidings_registry::SettingsReader;
use tokio::sync::Notify;
use tokio::task::JoinHandle;
use tokio_util::sync::CancellationToken;

mod troubles;

use super::record::Record;
use super::{Dispatcher, Metrics, Opened, Opening, Post, Rhythm, ms, unix_ms};
use crate::caller::{Delivered, Target, Why};

/// What takes longer than this, by a clock that runs only while there is nothing to do, does not come.
const HANG: Duration = Duration::from_hours(1);

/// What a receiver was called with.
#[derive(Debug, Clone, PartialEq)]
struct Call {
    host: String,
    id: String,
    attempt: u32,
    body: Value,
}

impl Call {
    /// The ids of its events, or the causes of its gaps.
    fn told(&self) -> Vec<String> {
        let events = self.body["events"].as_array().expect("a list");
        let word = |event: &Value| event["id"].as_str().or(event["data"]["cause"].as_str()).map(str::to_owned);
        events.iter().map(|event| word(event).expect("an id or a cause")).collect()
    }
}

/// What a receiver does with the next call.
#[derive(Debug, Clone)]
enum Does {
    Answers(Delivered),
    Hangs,
    /// Answers after a while ([`A_WHILE`]).
    Slowly(Delivered),
}

/// What a slow receiver takes.
const A_WHILE: Duration = Duration::from_millis(200);

/// Receivers: each call is kept, and answered as was said, else taken.
#[derive(Default)]
struct Receivers {
    calls: Mutex<Vec<Call>>,
    does: Mutex<VecDeque<Does>>,
    called: Notify,
}

fn taken() -> Delivered {
    Delivered::Taken { status: 200, body: Bytes::new(), is_cut: false }
}

fn failed() -> Delivered {
    Delivered::Failed { why: Why::Server, told: "answered with status 500".into(), retry_after: None }
}

impl Post for Receivers {
    fn post<'a>(&'a self, target: &'a Target, id: &'a str, attempt: u32, body: Bytes) -> BoxFuture<'a, Delivered> {
        Box::pin(async move {
            let host = target.url.as_url().host_str().expect("a host").to_owned();
            let body = serde_json::from_slice(&body).expect("JSON");
            self.calls.lock().push(Call { host, id: id.to_owned(), attempt, body });
            let does = self.does.lock().pop_front();
            self.called.notify_waiters();
            match does.unwrap_or(Does::Answers(taken())) {
                Does::Answers(delivered) => delivered,
                Does::Hangs => std::future::pending().await,
                Does::Slowly(delivered) => {
                    tokio::time::sleep(A_WHILE).await;
                    delivered
                }
            }
        })
    }
}

impl Receivers {
    fn does(&self, what: impl IntoIterator<Item = Does>) {
        self.does.lock().extend(what);
    }

    /// The calls, as soon as there are so many.
    async fn calls(&self, count: usize) -> Vec<Call> {
        let waiting = async {
            loop {
                let called = self.called.notified();
                if self.calls.lock().len() >= count {
                    return;
                }
                called.await;
            }
        };
        let came = tokio::time::timeout(HANG, waiting).await;
        assert!(came.is_ok(), "{count} calls did not come: {:?}", self.calls.lock());
        self.calls.lock().clone()
    }
}

struct Rig {
    broker: MemoryBroker,
    clock: ManualClock,
    store: Arc<dyn Broker>,
    receivers: Arc<Receivers>,
    writers: Writers,
    settings: Settings,
    version: u64,
    sent: u64,
}

fn demo() -> Project {
    "demo".parse().expect("a name")
}

/// Settings with these webhooks: name, host and types.
fn webhooks(all: &[(&str, &str, &[&str])]) -> Value {
    let one = |(name, host, types): &(&str, &str, &[&str])| {
        ((*name).to_owned(), json!({"url": format!("https://{host}/"), "types": types, "secret": "0123456789abcdef"}))
    };
    json!({"webhooks": all.iter().map(one).collect::<serde_json::Map<_, _>>()})
}

impl Rig {
    fn new() -> Rig {
        let clock = ManualClock::at(unix_ms());
        let broker = MemoryBroker::with_clock(clock.clone());
        let store: Arc<dyn Broker> = Arc::new(broker.clone());
        let metrics = writer::Metrics::register(&Registry::new()).expect("a registry of its own");
        let settings = writer::Settings::default();
        let writers = Writers::new(store.clone(), settings, Budget::new(1 << 24), Activity::default(), metrics);
        let receivers = Arc::default();
        Rig { broker, clock, store, receivers, writers, settings: Settings::default(), version: 0, sent: 0 }
    }

    /// Changes the settings as the admin route does.
    async fn set(&mut self, settings: &Value) {
        let after = read(settings.to_string().as_bytes()).expect("good settings");
        let opening = Opening::begin(&self.store, &demo()).await.expect("the store answers");
        assert_eq!(opening.open(&self.settings, &after).await, Ok(Opened::Ready));
        let swapped = self.broker.swap_settings(demo(), self.version, after.stored().into()).await;
        self.version = swapped.expect("the store answers").expect("nobody else changes it");
        self.settings = after;
    }

    fn dispatcher(&self) -> (Dispatcher, Metrics) {
        let settings = SettingsReader::new(Arc::new(self.broker.clone()), None, Ceilings::NONE).expect("no file");
        let metrics = Metrics::register(&Registry::new()).expect("a registry of its own");
        let rhythm = Rhythm { events_max: 4, ..Rhythm::default() };
        let dispatcher =
            Dispatcher::new(self.store.clone(), settings, self.receivers.clone(), rhythm, metrics.clone(), None);
        (dispatcher.expect("counters of its own"), metrics)
    }

    fn start(&self) -> (JoinHandle<()>, CancellationToken, Metrics) {
        let ((dispatcher, metrics), stop) = (self.dispatcher(), CancellationToken::new());
        (tokio::spawn(dispatcher.run(stop.clone())), stop, metrics)
    }

    /// Appends events of these types, each with a running number as id.
    async fn say(&mut self, types: &[&str]) {
        let event = |kind: &&str| {
            self.sent += 1;
            let (id, kind) = (format!("e{}", self.sent), (*kind).to_owned());
            let json = format!("{{\"type\":\"{kind}\",\"id\":\"{id}\",\"data\":{{}}}}").into();
            wire::Event { id, r#type: kind, json, ..wire::Event::default() }
        };
        let events: Vec<_> = types.iter().map(event).collect();
        let outcomes = self.writers.submit(&demo(), events, Options::new()).await;
        assert_eq!(outcomes.expect("they are appended").len(), types.len());
    }

    async fn record(&self, name: &str) -> Record {
        let places = self.broker.places(demo()).await.expect("memory answers");
        Record::read(&places[name].record).expect("a record")
    }
}

/// Waits until a dispatcher that was told to stop has ended.
async fn ended(task: JoinHandle<()>) {
    tokio::time::timeout(HANG, task).await.expect("it ends in time").expect("it ends");
}

fn told(calls: &[Call]) -> Vec<Vec<String>> {
    calls.iter().map(Call::told).collect()
}

#[tokio::test(start_paused = true)]
async fn what_passes_the_filter_is_delivered_in_order_from_when_the_webhook_was_made() {
    let mut rig = Rig::new();
    rig.say(&["log"]).await;
    rig.set(&webhooks(&[("w", "w.example", &["log"])])).await;
    rig.say(&["log", "other", "log.x", "logs"]).await;
    let (_, _, metrics) = rig.start();
    let calls = rig.receivers.calls(1).await;
    assert_eq!(told(&calls), [["e2", "e4"]]);
    assert_eq!((&calls[0].body["webhook"], &calls[0].body["project"]), (&json!("w"), &json!("demo")));
    rig.say(&["other"]).await;
    rig.say(&["log", "log", "log", "log", "log"]).await;
    let calls = rig.receivers.calls(3).await;
    assert_eq!(told(&calls[1..]), [vec!["e7", "e8", "e9", "e10"], vec!["e11"]], "so many at once");
    tokio::time::sleep(HANG).await;
    assert_eq!(rig.receivers.calls.lock().len(), 3, "each once");
    let record = rig.record("w").await;
    assert_eq!((record.at.to_string(), record.until), (calls[2].body["next"].as_str().expect("text").into(), None));
    assert_eq!((metrics.open.get(), metrics.failing.get(), metrics.lag.get()), (1, 0, 0));
    assert_eq!(metrics.events.get(), 7);
}

#[tokio::test(start_paused = true)]
async fn what_failed_is_tried_again_as_it_was() {
    let mut rig = Rig::new();
    rig.set(&webhooks(&[("w", "w.example", &[])])).await;
    rig.receivers.does([Does::Answers(failed()), Does::Answers(failed())]);
    rig.say(&["log"]).await;
    let (_, _, metrics) = rig.start();
    rig.receivers.calls(1).await;
    rig.say(&["log"]).await;
    let calls = rig.receivers.calls(4).await;
    assert_eq!(told(&calls), [["e1"], ["e1"], ["e1"], ["e2"]]);
    let (ids, attempts): (Vec<_>, Vec<_>) = calls.iter().map(|call| (&call.id, call.attempt)).unzip();
    assert!(ids[0] == ids[1] && ids[1] == ids[2] && ids[2] != ids[3], "{ids:?}");
    assert_eq!((calls[0].body == calls[2].body, attempts), (true, vec![1, 2, 3, 1]));
    tokio::time::sleep(HANG).await;
    assert_eq!((rig.record("w").await.failures, metrics.failing.get()), (0, 0));
}

#[tokio::test(start_paused = true)]
async fn whoever_goes_on_delivers_the_same_and_one_that_stops_ends_what_is_under_way() {
    let mut rig = Rig::new();
    rig.set(&webhooks(&[("w", "w.example", &[])])).await;
    rig.say(&["log"]).await;
    rig.receivers.does([Does::Hangs]);
    let (first, ..) = rig.start();
    rig.receivers.calls(1).await;
    first.abort();
    let _ = first.await;
    rig.clock.set(rig.clock.now_ms() + ms(Rhythm::default().lease));
    rig.say(&["log"]).await;
    let (second, stop, _) = rig.start();
    let calls = rig.receivers.calls(3).await;
    assert_eq!(told(&calls), [["e1"], ["e1"], ["e2"]]);
    assert_eq!(calls[0].id, calls[1].id);
    stop.cancel();
    ended(second).await;
    assert_eq!(rig.record("w").await.until, None);
    rig.say(&["log"]).await;
    rig.clock.set(rig.clock.now_ms() + 1);
    let before = tokio::time::Instant::now();
    let (_third, ..) = rig.start();
    let calls = rig.receivers.calls(4).await;
    assert_eq!(told(&calls[3..]), [["e3"]]);
    assert!(before.elapsed() < Rhythm::default().lease / 3, "its leases were given back");
}

#[tokio::test(start_paused = true)]
async fn a_receiver_that_is_gone_is_called_again_when_its_settings_change() {
    let mut rig = Rig::new();
    rig.set(&webhooks(&[("w", "w.example", &[])])).await;
    rig.receivers.does([Does::Answers(Delivered::Gone)]);
    let (_, _, metrics) = rig.start();
    rig.say(&["log"]).await;
    rig.receivers.calls(1).await;
    rig.say(&["log"]).await;
    tokio::time::sleep(HANG).await;
    assert_eq!((rig.receivers.calls.lock().len(), metrics.gone.get()), (1, 1));
    rig.set(&webhooks(&[("w", "other.example", &[])])).await;
    let calls = rig.receivers.calls(2).await;
    assert_eq!((calls[1].host.as_str(), calls[1].told()), ("other.example", vec!["e1".into()]));
    assert_eq!(rig.receivers.calls(3).await[2].told(), ["e2"]);
    tokio::time::sleep(HANG).await;
    assert_eq!(metrics.gone.get(), 0);
}

#[tokio::test(start_paused = true)]
async fn a_batch_that_is_refused_is_told_in_smaller_ones() {
    let mut rig = Rig::new();
    rig.set(&webhooks(&[("w", "w.example", &[])])).await;
    let refused = || Does::Answers(Delivered::Refused { status: 413 });
    rig.receivers.does([refused(), refused(), refused()]);
    rig.say(&["log", "log", "log", "log"]).await;
    rig.start();
    let calls = rig.receivers.calls(6).await;
    let expected =
        [vec!["e1", "e2", "e3", "e4"], vec!["e1", "e2"], vec!["e1"], vec!["e1"], vec!["e2", "e3"], vec!["e4"]];
    assert_eq!(told(&calls), expected);
}

#[tokio::test(start_paused = true)]
async fn what_is_not_delivered_is_told_as_a_gap() {
    let mut rig = Rig::new();
    rig.set(&webhooks(&[("w", "w.example", &["log"])])).await;
    rig.say(&["log"]).await;
    let (first, stop, _) = rig.start();
    rig.receivers.calls(1).await;
    stop.cancel();
    ended(first).await;
    rig.clock.set(rig.clock.now_ms() + 1);
    rig.writers.delete_project(&demo(), Options::new()).await.expect("it is deleted");
    rig.say(&["log"]).await;
    rig.start();
    let calls = rig.receivers.calls(2).await;
    assert_eq!(told(&calls[1..]), [["deleted", "e2"]]);
    // The log is lost whole, with all that its writers know of it.
    rig.broker.restore(&demo(), LogData::default());
    let calls = rig.receivers.calls(3).await;
    assert_eq!(told(&calls[2..]), [["log_reset"]]);
}

#[tokio::test(start_paused = true)]
async fn one_that_hangs_delays_nobody_else() {
    let mut rig = Rig::new();
    rig.set(&webhooks(&[("a", "a.example", &[]), ("b", "b.example", &[])])).await;
    rig.receivers.does([Does::Hangs]);
    rig.say(&["log"]).await;
    rig.start();
    rig.receivers.calls(2).await;
    rig.say(&["log"]).await;
    let calls = rig.receivers.calls(3).await;
    assert_eq!((&calls[1].host, told(&calls[1..])), (&calls[2].host, vec![vec!["e1".into()], vec!["e2".into()]]));
    assert_ne!(calls[0].host, calls[1].host);
}

#[tokio::test(start_paused = true)]
async fn what_the_index_lost_is_found_again_and_what_is_over_stays_for_a_while() {
    let mut rig = Rig::new();
    rig.set(&webhooks(&[("w", "w.example", &[])])).await;
    rig.say(&["log"]).await;
    let shard = index::shard_of(&demo());
    let hooks = rig.store.hooks();
    for entered in hooks.projects(shard).await.expect("memory answers") {
        assert_eq!(hooks.leave(entered).await, Ok(true));
    }
    // The log's own index has it: an ingest enters it before its first append.
    rig.store.enter(demo()).await.expect("memory answers");
    rig.start();
    assert_eq!(told(&rig.receivers.calls(1).await), [["e1"]]);
    rig.set(&json!({})).await;
    tokio::time::sleep(Duration::from_mins(1)).await;
    rig.say(&["log"]).await;
    let places = async || rig.broker.places(demo()).await.expect("memory answers").len();
    tokio::time::sleep(Duration::from_mins(2)).await;
    assert_eq!((hooks.projects(shard).await.map(|all| all.len()), places().await), (Ok(1), 1), "it may come back");
    assert_eq!(rig.receivers.calls.lock().len(), 1);
}

#[tokio::test(start_paused = true)]
async fn what_has_been_over_for_a_while_leaves_the_store() {
    let mut rig = Rig::new();
    // By the store's clock all of it happens as long ago.
    rig.clock.set(rig.clock.now_ms() - 2 * ms(Rhythm::default().linger));
    rig.set(&webhooks(&[("w", "w.example", &[]), ("stays", "stays.example", &[])])).await;
    rig.start();
    tokio::time::sleep(Duration::from_mins(1)).await;
    let (shard, hooks) = (index::shard_of(&demo()), rig.store.hooks());
    let entered = async || hooks.projects(shard).await.expect("memory answers").len();
    let places = async || hooks.places(demo()).await.expect("memory answers").into_keys().collect::<Vec<_>>();
    assert_eq!((entered().await, places().await), (1, vec!["stays".to_owned(), "w".to_owned()]));
    rig.set(&webhooks(&[("stays", "stays.example", &[])])).await;
    tokio::time::sleep(Duration::from_mins(1)).await;
    assert_eq!((entered().await, places().await), (1, vec!["stays".to_owned()]));
    rig.set(&json!({})).await;
    tokio::time::sleep(Duration::from_mins(1)).await;
    assert_eq!((entered().await, places().await), (0, Vec::new()));
}

#[tokio::test(start_paused = true)]
async fn a_webhook_that_is_made_again_begins_at_the_end() {
    let mut rig = Rig::new();
    rig.set(&webhooks(&[("w", "w.example", &[])])).await;
    rig.say(&["log"]).await;
    rig.set(&json!({})).await;
    rig.say(&["log"]).await;
    rig.set(&webhooks(&[("w", "w.example", &[])])).await;
    rig.say(&["log"]).await;
    rig.start();
    assert_eq!(told(&rig.receivers.calls(1).await), [["e3"]]);
}
