//! Redis from outside: what the services leave there is what docs/redis-keyspace.md says, seen by a client library that
//! the services do not use.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use bytes::Bytes;
use fred::prelude::{
    Client, ClientLike, EventInterface, HashesInterface, KeysInterface, PubsubInterface, SetsInterface,
    StreamsInterface,
};
use fred::types::CustomCommand;
use prost::Message as _;
use tidings_broker::fleet::{self, Fleet};
use tidings_broker::inbox::{self, ItemKind, Owned, Put, PutAnswer};
use tidings_broker::presence::{Members, Presences as _, Report};
use tidings_broker::quota::{Hold, HoldCall, Quotas as _, Rate, Take, shard_of};
use tidings_broker::redis::{RedisBroker, RedisSettings};
use tidings_broker::registry::Registry as _;
use tidings_broker::{
    Answer, AppendBatch, AppendCall, CheckpointAnswer, CheckpointStep, DedupeWindow, GuardStep, Index as _, Log as _,
    Probe as _, ProducerStep, Retention,
};
use tidings_protocol::grant::Scope;
use tidings_protocol::position::Branch;
use tidings_protocol::project::Project;
use tidings_protocol::wire;
use tidings_tests::redis::{Durability, Redis};
use tidings_tests::wait::{eventually, within};

const PAGE: &str = include_str!("../../docs/redis-keyspace.md");
const OPEN: &str = "aaaaaaaaaaaa";
const NEXT: &str = "bbbbbbbbbbbb";

type Fields = BTreeMap<String, String>;

fn project() -> Project {
    "demo".parse().expect("a name")
}

fn key(what: &str) -> String {
    format!("tidings:{{demo}}:{what}")
}

fn branch(name: &str) -> Branch {
    name.parse().expect("a branch")
}

fn call(number: u64, open: &str, batch: Option<AppendBatch>) -> AppendCall {
    let open = branch(open);
    let fresh = branch(if open.is_none() { OPEN } else { NEXT });
    AppendCall {
        writer: "writer1".into(),
        number,
        branch: open,
        fresh,
        batch,
        delete: false,
        dedupe: DedupeWindow::default(),
        wait: None,
    }
}

fn batch() -> AppendBatch {
    let event = |id: &str| wire::Event { id: id.into(), json: Bytes::from_static(b"{}"), ..wire::Event::default() };
    let payload = wire::Batch { events: vec![event("x"), event("y"), event("z")] }.encode_to_vec();
    let step = |index, seq| ProducerStep { index, id: "prod".into(), epoch: 4, seq, may_jump: seq > 1 };
    AppendBatch {
        payload: payload.into(),
        count: 3,
        ids: vec![(0, "x".into()), (2, "z".into())],
        producers: vec![step(0, 1), step(1, 7)],
        deletions: Vec::new(),
        guards: vec![GuardStep { index: 1, key: "c:1".into(), until_ms: u64::MAX, note: "done by r".into() }],
    }
}

async fn connect(redis: &Redis) -> RedisBroker {
    let broker = RedisBroker::connect(&RedisSettings::new(redis.url())).expect("sound settings");
    connected(&broker).await;
    broker
}

async fn connected(broker: &RedisBroker) {
    let mut connected = broker.connected();
    let wait = connected.wait_for(|connected| *connected);
    let _ = within("the broker connects", wait).await.expect("the broker lives");
}

/// A stream's entries as pairs of id and fields, values as bytes.
async fn entries(client: &Client) -> Vec<(String, BTreeMap<String, Bytes>)> {
    client.xrange(key("log"), "-", "+", None).await.expect("a stream")
}

async fn hash(client: &Client, what: &str) -> Fields {
    client.hgetall(key(what)).await.expect("a hash")
}

fn fields<const N: usize>(pairs: [(&str, String); N]) -> Fields {
    pairs.into_iter().map(|(name, value)| (name.to_owned(), value)).collect()
}

#[tokio::test]
async fn the_keyspace_is_as_documented() {
    let mut redis = Redis::start(Durability::AppendOnlyFile).await;
    let broker = connect(&redis).await;
    let client = redis.client().await;
    let subscriber = redis.client().await;
    let mut messages = subscriber.message_rx();
    listen(&subscriber, &client).await;

    broker.enter(project()).await.expect("entered");
    let Ok(Answer::Synced(_)) = broker.append(project(), call(0, "", None)).await else { panic!("not born") };
    check_birth(&client).await;

    let batch = batch();
    let payload = batch.payload.clone();
    let answer = broker.append(project(), call(1, OPEN, Some(batch))).await.expect("an answer");
    let Answer::Appended { last, count: 3, publish_error: None } = answer else { panic!("{answer:?}") };
    check_entry(&client, &payload, &last.to_string()).await;
    check_books(&client, payload.len(), &last.to_string()).await;

    let heard = within("the message", messages.recv()).await.expect("a message");
    let message = wire::Message::decode(heard.value.into_bytes().expect("bytes")).expect("protobuf");
    let expected = wire::Message {
        position: last.to_string(),
        prev: "0-0".into(),
        count: 3,
        total_bytes: payload.len() as u64,
        batch: Some(wire::Batch::decode(payload.clone()).expect("a batch")),
        fork: None,
    };
    assert_eq!((heard.channel.to_string(), message), (key("bus"), expected));

    let head = broker.heads(vec![project()]).await.remove(0).expect("an answer");
    let step = CheckpointStep {
        incarnation: head.incarnation,
        from: head.checkpoint,
        to: last,
        deletion: None,
        version: 1,
        fields: vec![("session".into(), Some("{}".into()))],
        retention: Retention { events: 0, bytes: 0, age_ms: 0 },
        hard: false,
    };
    assert_eq!(broker.checkpoint(project(), step).await, Ok(CheckpointAnswer::Done { trimmed: 1, more: false }));
    check_checkpoint(&client, &last.to_string(), payload.len()).await;
    broker.refuse(project(), 60_000).await.expect("an answer");
    check_refusal(&client).await;
    check_index(&client, &broker).await;
    check_registry(&client, &broker).await;
    check_quotas(&client, &broker).await;
    check_presence(&client, &broker).await;
    check_inbox(&client, &broker).await;
    check_fleet(&client, &broker).await;

    redis.restart().await;
    connected(&broker).await;
    // Its own state may be older than the restart: only an answer tells.
    let survived = last.to_string();
    let client = redis.client().await;
    let Answer::Heal(_) =
        eventually("the fork", async || broker.append(project(), call(2, OPEN, None)).await.ok()).await
    else {
        panic!("a restart is a fork")
    };
    check_fork(&client, &survived, payload.len()).await;
    check_page(&client).await;
}

/// Subscribes, and waits until the server says so: this client's own answer comes before that.
async fn listen(subscriber: &Client, observer: &Client) {
    subscriber.subscribe(key("bus")).await.expect("written");
    eventually("the subscription", || async {
        let count: BTreeMap<String, u64> = observer.pubsub_numsub(key("bus")).await.ok()?;
        (count.get(&key("bus")) == Some(&1)).then_some(())
    })
    .await;
}

async fn check_birth(client: &Client) {
    for (what, kind) in [("log", "stream"), ("meta", "hash"), ("ids", "hash"), ("state", "hash"), ("guards", "hash")] {
        let found: String =
            client.custom(CustomCommand::new_static("TYPE", None, false), vec![key(what)]).await.expect(what);
        assert_eq!(found, kind, "{what}");
    }
    let placeholder = fields([(".", String::new())]);
    for what in ["ids", "state", "guards"] {
        assert_eq!(hash(client, what).await, placeholder, "{what}");
    }
    assert_eq!(entries(client).await.len(), 0, "a birth has no entry");
    let groups: Vec<Fields> = client.xinfo_groups(key("log")).await.expect("a stream");
    assert!(groups.is_empty());
}

async fn check_entry(client: &Client, payload: &Bytes, last: &str) {
    let entries = entries(client).await;
    let [(id, stored)] = &entries[..] else { panic!("{entries:?}") };
    assert_eq!(format!("{id}.{OPEN}"), last, "the id is the position of the last event");
    assert!(id.ends_with("-3"));
    let text = |name: &str| String::from_utf8_lossy(&stored[name]).into_owned();
    let total = payload.len().to_string();
    let found = [text("branch"), text("prev"), text("count"), text("total")];
    assert_eq!(found, [OPEN.to_owned(), "0-0".into(), "3".into(), total]);
    assert_eq!((&stored["events"], stored.len()), (payload, 5));
}

async fn check_books(client: &Client, bytes: usize, last: &str) {
    let ms = last.split('-').next().expect("a position");
    let mut meta = hash(client, "meta").await;
    let replid = meta.remove("replid").expect("a field");
    assert!(replid.len() == 40 && replid.bytes().all(|byte| byte.is_ascii_hexdigit()));
    let expected = fields([
        ("format", "1".into()),
        ("branch", OPEN.into()),
        ("last", last.into()),
        ("bytes", bytes.to_string()),
        ("forks", String::new()),
        ("checkpoint", "0-0".into()),
        ("version", "0".into()),
        ("trimmed", "0-0".into()),
        ("ids_head", "1".into()),
        ("ids_tail", "2".into()),
        ("ids_count", "2".into()),
        ("producers", "1".into()),
        ("w:writer1", format!("1 {ms} {last} 3")),
        ("p:prod", format!("4 {ms} {OPEN} 1-1,7-7")),
    ]);
    assert_eq!(meta, expected);
    let expected = fields([
        (".", String::new()),
        (":x", format!("{ms}-1.{OPEN}")),
        (":z", format!("{ms}-3.{OPEN}")),
        ("#1", format!("{ms}\nx\nz")),
    ]);
    assert_eq!(hash(client, "ids").await, expected);
    let guards = hash(client, "guards").await;
    let (until_ms, rest) = guards["c:1"].split_once(' ').expect("words");
    assert_eq!((guards.len(), rest), (2, &*format!("{ms}-2.{OPEN} done by r")));
    assert!(until_ms.parse::<u64>().is_ok_and(|until_ms| until_ms > ms.parse().expect("a number")));
}

async fn check_checkpoint(client: &Client, last: &str, bytes: usize) {
    assert_eq!(hash(client, "state").await, fields([(".", String::new()), (":session", "{}".into())]));
    let meta = hash(client, "meta").await;
    let found = ["checkpoint", "trimmed", "trimmed_bytes", "version"].map(|name| meta[name].as_str());
    assert_eq!(found, [last, last, &bytes.to_string(), "1"]);
    let there: u64 = client.exists(key("log")).await.expect("an answer");
    assert_eq!((there, entries(client).await.len()), (1, 0), "an empty log is there all the same");
}

async fn check_refusal(client: &Client) {
    let meta = hash(client, "meta").await;
    let ms = |text: &str| text.split('-').next().and_then(|ms| ms.parse::<u64>().ok()).expect("a time");
    assert!(ms(&meta["refused_until"]) >= ms(&meta["last"]) + 60_000, "by the server's clock");
}

async fn check_index(client: &Client, broker: &RedisBroker) {
    let shard = tidings_broker::index::shard_of(&project());
    let names: BTreeSet<String> = client.smembers(format!("tidings:index:{shard:02}")).await.expect("a set");
    assert_eq!(names, BTreeSet::from(["demo".to_owned()]));
    let slot: u16 = client
        .custom(CustomCommand::new_static("CLUSTER", None, false), vec!["KEYSLOT", "demo"])
        .await
        .unwrap_or_else(|_| fred::util::redis_keyslot(b"demo"));
    assert_eq!(slot % 64, shard, "16,384 slots are a multiple of 64 shards");

    assert!(broker.lease(shard, "owner1".into(), 15_000).await.expect("an answer"));
    let lease = format!("tidings:lease:{shard:02}");
    let held: String = client.get(&lease).await.expect("a string");
    let (until_ms, owner) = held.split_once(' ').expect("two words");
    assert!(owner == "owner1" && until_ms.parse::<u64>().is_ok(), "{held}");
    let left_ms: i64 = client.pttl(&lease).await.expect("an answer");
    assert!((1..=15_000).contains(&left_ms), "it expires by itself");
}

async fn check_registry(client: &Client, broker: &RedisBroker) {
    let id = "0123456789abcdef".to_owned();
    broker.add_key(project(), id.clone(), Bytes::from_static(b"{}")).await.expect("an answer");
    assert_eq!(hash(client, "keys").await, fields([("0123456789abcdef", "{}".into())]));
    let pointer: Fields = client.hgetall(format!("tidings:key:{id}")).await.expect("a hash");
    assert_eq!(pointer, fields([("project", "demo".into())]));
    let scopes = [Scope::Read, Scope::Admin].into_iter().collect();
    broker.set_member(project(), "alice".into(), scopes).await.expect("an answer");
    assert_eq!(hash(client, "members").await, fields([("alice", "read admin".into())]));
    let swapped = broker.swap_settings(project(), 0, Bytes::from_static(b"{}")).await;
    assert_eq!(swapped, Ok(Some(1)));
    assert_eq!(hash(client, "settings").await, fields([("version", "1".into()), ("value", "{}".into())]));
}

async fn check_quotas(client: &Client, broker: &RedisBroker) {
    let rate = Rate::new(10, Duration::from_hours(1), 10);
    let taken = broker.take(vec![Take { bucket: "bucket".into(), rate, wanted: 5, least: 5 }]).await;
    assert_eq!(taken[0].as_ref().expect("an answer").granted, 5);
    let hold = Hold { name: "alice".into(), kept: 1, wanted: 1, max: 3 };
    let call = HoldCall { holder: "gateway1".into(), ttl_ms: 600_000, holds: vec![hold] };
    let shard = shard_of("alice");
    assert_eq!(broker.hold(shard, call).await.expect("an answer").granted, [1]);
    for key in ["tidings:rate:bucket".to_owned(), format!("tidings:holds:{shard:02}")] {
        let left_ms: i64 = client.pttl(&key).await.expect("an answer");
        assert!(left_ms > 0, "{key} expires by itself: {left_ms}");
    }
}

async fn check_presence(client: &Client, broker: &RedisBroker) {
    let member = ("alice".to_owned(), Bytes::from_static(b"{}"));
    let members = Members { version: 0, named: vec![member], others: 4 };
    let report = Report {
        gateway: "g-1f".into(),
        lease_ms: 600_000,
        version: 3,
        members: Some(Box::new(members)),
        known_runners: 0,
    };
    assert!(!broker.presences().report(project(), report).await.expect("an answer").lapsed);
    let expected = fields([(".", "3 4".into()), (":alice", "{}".into())]);
    assert_eq!(hash(client, "presence:g-1f").await, expected);
    let lease = hash(client, "presence").await.remove("g-1f").expect("it is on the roll");
    let words: Vec<u64> = lease.split(' ').map(|word| word.parse().expect("a number")).collect();
    let [from_ms, until_ms, 3] = words[..] else { panic!("{lease}") };
    assert_eq!(until_ms, from_ms + 600_000);
    let by = tidings_broker::presence::Speaker { subject: "key:1 a".into(), overrules: false };
    broker.put_runner(project(), "r".into(), by, 30_000, Bytes::from_static(b"{}")).await.expect("an answer");
    let runners = hash(client, "runners").await;
    let since_ms: u64 = runners[":r"].split(' ').next().and_then(|word| word.parse().ok()).expect("a time");
    let until_ms = since_ms + 30_000;
    let record = format!("{since_ms} {until_ms} 7 key:1 a{{}}");
    let expected = fields([(".", format!("{since_ms} {until_ms}")), (":r", record)]);
    assert_eq!(runners, expected);
    for what in ["presence", "presence:g-1f", "runners"] {
        let left_ms: i64 = client.pttl(key(what)).await.expect("an answer");
        assert!(left_ms > 0, "{what} expires by itself: {left_ms}");
    }
}

async fn check_fleet(client: &Client, broker: &RedisBroker) {
    let report = fleet::Report { gateway: "g-1f".into(), lease_ms: 600_000, viewers: 12 };
    assert!(Fleet::report(broker, report).await.expect("an answer").lapsed, "the first one");
    let words: Fields = client.hgetall("tidings:gateways").await.expect("a hash");
    let numbers: Vec<u64> = words["g-1f"].split(' ').map(|word| word.parse().expect("a number")).collect();
    let [from_ms, until_ms, 12] = numbers[..] else { panic!("{words:?}") };
    assert_eq!((until_ms, words.len()), (from_ms + 600_000, 1));
    let left_ms: i64 = client.pttl("tidings:gateways").await.expect("an answer");
    assert!(left_ms > 0, "it expires by itself: {left_ms}");
}

async fn check_inbox(client: &Client, broker: &RedisBroker) {
    let take = inbox::Take {
        runner: "r".into(),
        subject: "key:1".into(),
        capabilities: vec!["chat".into()],
        ttl_ms: 600_000,
        max: 0,
        in_hand_max: 16,
        lease_ms: 30_000,
        goes_on: false,
    };
    let inboxes = broker.inboxes();
    inboxes.take(project(), take).await.expect("an answer");
    let owned = Owned { session: "s".into(), agent: "a".into(), runner: Some("r".into()), weak: false };
    inboxes.own(project(), vec![owned]).await.expect("an answer");
    let (capability, session, agent) = ("chat".into(), String::new(), String::new());
    let kind = ItemKind::Command { capability, session, agent, urgent: false, notice: false };
    let (asker, body) = ("alice".into(), Bytes::from_static(b"{}"));
    let put = Put { id: "c-1".into(), asker, kind, deadline_ms: 60_000, open_max: 10, body, life: None };
    assert_eq!(inboxes.put(project(), put).await.map(|placed| placed.answer), Ok(PutAnswer::Queued));

    // Items and runners are no text.
    let fields: BTreeMap<String, Bytes> = client.hgetall(key("inbox")).await.expect("a hash");
    let names: Vec<&str> = fields.keys().map(String::as_str).collect();
    assert_eq!(names, [".", "b:c-1", "i:c-1", "n:chat", "o:s\0", "o:s\0a", "r:r"]);
    let text = |name: &str| String::from_utf8_lossy(&fields[name]).into_owned();
    assert_eq!([text("b:c-1"), text("n:chat"), text("o:s\0a")], ["{}", "1", "0000000000000002r"]);
    let books: Vec<u64> = text(".").split(' ').map(|word| word.parse().expect("a number")).collect();
    let [1, 2, 2, 1, 1, 1, deadline_ms, used_ms, entered_ms, 1, 0] = books[..] else { panic!("{books:?}") };
    assert!(used_ms <= entered_ms && entered_ms < deadline_ms);
    let range = CustomCommand::new_static("ZRANGE", None, false);
    let order: Vec<String> =
        client.custom(range, vec![key("inbox:order"), "0".into(), "-1".into()]).await.expect("a set");
    let order: BTreeSet<String> = order.into_iter().map(|member| member.replace('\0', " ")).collect();
    let number = |number: u64| format!("{number:016}");
    let lapses: Vec<&String> =
        order.iter().filter(|member| member.starts_with("e ") && member.ends_with(" r")).collect();
    let expected = BTreeSet::from([
        ".".to_owned(),
        format!("a {} s ", number(1)),
        format!("a {} s a", number(2)),
        "c chat r".into(),
        format!("d {} c-1", number(deadline_ms)),
        lapses[0].clone(),
        "g r s a".into(),
        format!("q c:chat 1{} c-1", number(1)),
        "s r s".into(),
        "t s ".into(),
        "t s a".into(),
    ]);
    assert_eq!(order, expected);
    for what in ["inbox", "inbox:order"] {
        let left_ms: i64 = client.pttl(key(what)).await.expect("an answer");
        assert!(left_ms > 0, "{what} expires by itself: {left_ms}");
    }
    let shard = tidings_broker::index::shard_of(&project());
    let names: BTreeSet<String> = client.smembers(format!("tidings:inboxes:{shard:02}")).await.expect("a set");
    assert_eq!(names, BTreeSet::from(["demo".to_owned()]));
}

async fn check_fork(client: &Client, survived: &str, bytes: usize) {
    let entries = entries(client).await;
    let [(id, stored)] = &entries[..] else { panic!("{entries:?}") };
    let found: Fields =
        stored.iter().map(|(name, value)| (name.clone(), String::from_utf8_lossy(value).into())).collect();
    let note = format!("{OPEN} {survived} failover");
    let expected = fields([
        ("branch", NEXT.into()),
        ("prev", survived.into()),
        ("count", "1".into()),
        ("total", bytes.to_string()),
        ("fork", note.clone()),
    ]);
    assert_eq!(found, expected);
    let meta = hash(client, "meta").await;
    let from = format!("{id}.{NEXT}");
    assert_eq!((&meta["branch"], &meta["last"], &meta["forks"]), (&NEXT.into(), &from, &format!("{note} {from}")));
}

/// Every key and field that is there is on the page.
async fn check_page(client: &Client) {
    let on_page = |name: &str| assert!(PAGE.contains(&format!("`{name}`")), "{name} is not documented");
    let (mut cursor, mut keys) = ("0".to_owned(), BTreeSet::new());
    loop {
        let (next, found): (String, Vec<String>) =
            client.custom(CustomCommand::new_static("SCAN", None, false), vec![cursor]).await.expect("an answer");
        keys.extend(found);
        cursor = next;
        if cursor == "0" {
            break;
        }
    }
    for name in &keys {
        let generic = match name.rsplit_once(':') {
            Some(("tidings:index" | "tidings:inboxes" | "tidings:lease" | "tidings:holds", _)) => {
                name.rsplit_once(':').expect("it has one").0.to_owned() + ":00"
            }
            Some(("tidings:key", _)) => "tidings:key:<id>".to_owned(),
            Some(("tidings:rate", _)) => "tidings:rate:<bucket>".to_owned(),
            Some(("tidings:{demo}:presence", _)) => "tidings:{P}:presence:<gateway>".to_owned(),
            _ => name.replace("{demo}", "{P}"),
        };
        on_page(&generic);
    }
    assert_eq!(keys.len(), 20, "{keys:?}");
    for name in hash(client, "meta").await.keys() {
        match name.split_once(':') {
            Some(("w", _)) => on_page("w:<writer>"),
            Some(("p", _)) => on_page("p:<producer>"),
            _ => on_page(name),
        }
    }
    for (_, stored) in entries(client).await {
        for name in stored.keys() {
            on_page(name);
        }
    }
}
