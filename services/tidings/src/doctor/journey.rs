//! One event, all the way: appended as services append, read back from the log and heard on the channel by another client
//! library, and removed.
//!
//! Without an ingest's address the event is appended by the library that ingests append with, in a project of a random
//! name that no index knows, whose keys are removed; should this process die in between, they expire. Through an ingest the
//! project is [`PROJECT`], which is deleted over HTTP: its keys must not be touched under an ingest that remembers it.

use std::collections::HashMap;
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use bytes::Bytes;
use fred::interfaces::{EventInterface as _, StreamsInterface as _};
use fred::types::Message;
use prost::Message as _;
use serde_json::{Value, json};
use tidings_broker::redis::{RedisBroker, RedisSettings};
use tidings_broker::{Answer, AppendBatch, AppendCall, CallError, Log as _, NothingWhy, Probe as _};
use tidings_protocol::entry::{Body, Entry};
use tidings_protocol::intake::{Intake, parse_body};
use tidings_protocol::position::Branch;
use tidings_protocol::project::Project;
use tidings_protocol::wire;
use tidings_runtime::config::Config;
use tokio::sync::broadcast::Receiver;
use ulid::Ulid;

use super::finding::{Finding, Page};
use super::store::Node;
use crate::client::access::Access;
use crate::client::refusal::Refusal;
use crate::client::{Address, cause, http};

/// The project of events that go through an ingest. It is deleted at the end.
pub(super) const PROJECT: &str = "tidings-doctor";

const CHECK: &str = "an event";

/// How long each step may take.
const STEP_TIMEOUT: Duration = Duration::from_secs(10);

/// Between two looks whether a node is there.
const LOOK_AGAIN: Duration = Duration::from_millis(50);

/// How long the keys of a project of our own live, in ms, should nobody remove them.
const KEYS_MS: &str = "600000";

/// A project's keys.
const KEYS: [&str; 5] = ["log", "meta", "ids", "state", "guards"];

/// Entries of the log that are searched for the event, newest first.
const ENTRIES: u64 = 100;

/// A step that failed, and what to do.
struct Failed(String, &'static str);

/// What goes on the way.
struct Traveller {
    project: Project,
    id: String,
    json: Value,
}

impl Traveller {
    fn new(project: &str) -> Traveller {
        let id = Ulid::new().to_string();
        let data = json!({ "level": "info", "message": "tidings doctor was here" });
        let json = json!({ "type": "log", "id": id, "session": "doctor", "data": data });
        Traveller { project: project.parse().expect("it is a project's name"), id, json }
    }

    fn key(&self, prefix: &str, what: &str) -> String {
        format!("{prefix}:{{{}}}:{what}", self.project)
    }

    fn is_in(&self, events: &[wire::Event]) -> bool {
        events.iter().any(|event| event.id == self.id)
    }
}

/// A name that no project has.
pub(super) fn random_project() -> String {
    format!("{PROJECT}-{}", Ulid::new().to_string().to_lowercase())
}

/// The node that appends go to, a connection to it that hears, and how channels are subscribed there.
pub(super) struct Way<'a> {
    pub(super) node: &'a Node,
    pub(super) ear: &'a Node,
    pub(super) config: &'a Config,
    /// Channels are those of a cluster's slots.
    pub(super) is_sharded: bool,
}

/// Through the library that ingests append with.
pub(super) async fn directly(way: &Way<'_>, project: &str) -> Vec<Finding> {
    let traveller = Traveller::new(project);
    let settings = way.config.redis.settings();
    let travelled = travel(way, &traveller, async || append(way.config, &settings, &traveller).await).await;
    let mut findings = vec![told(travelled, "by the library of ingests")];
    findings.extend(remove(way, &traveller).await);
    findings
}

/// Through an ingest.
pub(super) async fn through(way: &Way<'_>, address: &Address, access: &Access) -> Vec<Finding> {
    let traveller = Traveller::new(PROJECT);
    let travelled = travel(way, &traveller, async || post(address, access, &traveller).await).await;
    let mut findings = vec![told(travelled, &format!("through {address}"))];
    findings.extend(delete(address, access).await);
    findings
}

fn told(travelled: Result<Duration, Failed>, how: &str) -> Finding {
    match travelled {
        Ok(took) => {
            let ms = took.as_secs_f64() * 1_000.0;
            Finding::ok(CHECK, format!("appended {how}, heard on the channel and read from the log in {ms:.0} ms"))
        }
        Err(Failed(found, advice)) => Finding::fail(CHECK, found, advice, Page::DOCTOR),
    }
}

/// Listens, sends, hears and reads back.
async fn travel(
    way: &Way<'_>,
    traveller: &Traveller,
    send: impl AsyncFnOnce() -> Result<(), Failed>,
) -> Result<Duration, Failed> {
    let prefix = way.config.redis.settings().prefix;
    let channel = traveller.key(&prefix, "bus");
    let mut messages = way.ear.client.message_rx();
    push(way, "SUBSCRIBE", &channel).await?;
    let begun = Instant::now();
    in_time("the event was not appended", send()).await?;
    in_time("the event was not heard on its channel", heard(&mut messages, traveller)).await?;
    in_time("the event was not read back", read_back(way.node, &prefix, traveller)).await?;
    let took = begun.elapsed();
    push(way, "UNSUBSCRIBE", &channel).await?;
    Ok(took)
}

async fn in_time<T>(what: &str, step: impl Future<Output = Result<T, Failed>>) -> Result<T, Failed> {
    let late = || {
        Failed(
            format!("{what} in {} s", STEP_TIMEOUT.as_secs()),
            "look at what is said above, and into the logs of Redis and of the services",
        )
    };
    tokio::time::timeout(STEP_TIMEOUT, step).await.map_err(|_| late())?
}

async fn push(way: &Way<'_>, word: &str, channel: &str) -> Result<(), Failed> {
    let word = if way.is_sharded { format!("S{word}") } else { word.to_owned() };
    let pushed = way.ear.push(&[&word, channel]).await;
    pushed.map_err(|trouble| {
        Failed(format!("cannot {word}: {trouble}"), "give the account the rights of docs/operations.md")
    })
}

async fn heard(messages: &mut Receiver<Message>, traveller: &Traveller) -> Result<(), Failed> {
    loop {
        let message = messages.recv().await.map_err(|error| Failed(format!("the channel: {error}"), "try again"))?;
        let Some(bytes) = message.value.into_bytes() else { continue };
        let unreadable = |why: String| {
            Failed(format!("a message on the channel cannot be read: {why}"), "who else publishes there?")
        };
        let entry = Entry::from_message(Bytes::from(bytes.to_vec())).map_err(|error| unreadable(error.to_string()))?;
        if matches!(&entry.body, Body::Events(events) if traveller.is_in(events)) {
            return Ok(());
        }
    }
}

async fn read_back(node: &Node, prefix: &str, traveller: &Traveller) -> Result<(), Failed> {
    const ELSEWHERE: &str = "look whether the ingest and this configuration have the same redis.url and redis.prefix";
    let log = traveller.key(prefix, "log");
    let entries: Vec<(String, HashMap<String, Bytes>)> = node
        .client
        .xrevrange(log, "+", "-", Some(ENTRIES))
        .await
        .map_err(|error| Failed(format!("cannot read the log: {}", error.details()), ELSEWHERE))?;
    for (id, fields) in entries {
        let Some(events) = fields.get("events") else { continue };
        let batch = wire::Batch::decode(events.clone())
            .map_err(|_| Failed(format!("entry {id} of the log cannot be read"), "who else writes there?"))?;
        if traveller.is_in(&batch.events) {
            return Ok(());
        }
    }
    Err(Failed("the event was acknowledged, and is not in the log".into(), ELSEWHERE))
}

/// Appends as an ingest does, but for the index: no janitor shall come by.
async fn append(config: &Config, settings: &RedisSettings, traveller: &Traveller) -> Result<(), Failed> {
    let failed =
        |why: String| Failed(format!("cannot append: {why}"), "look at what is said above, and into the log of Redis");
    let broker = RedisBroker::connect(settings).map_err(|error| failed(error.to_string()))?;
    let mut connected = broker.connected();
    if tokio::time::timeout(STEP_TIMEOUT / 2, connected.wait_for(|&connected| connected)).await.is_err() {
        let why = broker.probe().await.err().map_or("no connection in time".to_owned(), |error| error.to_string());
        broker.close().await;
        return Err(failed(why));
    }
    let appended = append_over(&broker, config, traveller).await;
    broker.close().await;
    appended.map_err(failed)
}

async fn append_over(broker: &RedisBroker, config: &Config, traveller: &Traveller) -> Result<(), String> {
    let body = traveller.json.to_string();
    let received_ms = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default().as_millis();
    let mut intake = Intake {
        limits: &config.limits.events(),
        received_ms: u64::try_from(received_ms).unwrap_or(u64::MAX),
        next_id: &mut || Ulid::new().to_string(),
        default_runner: None,
        default_traceparent: None,
        idempotency_key: None,
    };
    let events = parse_body(body.as_bytes(), &mut intake).map_err(|fault| fault.to_string())?;
    let payload = wire::Batch { events }.encode_to_vec().into();
    let batch = AppendBatch {
        payload,
        count: 1,
        ids: vec![(0, traveller.id.clone())],
        producers: Vec::new(),
        deletions: Vec::new(),
        guards: Vec::new(),
    };
    let call = |number, branch, batch| AppendCall {
        writer: format!("doctor-{}", traveller.id).into(),
        number,
        branch,
        fresh: Branch::from_random(rand::random()),
        batch,
        delete: false,
        dedupe: config.projects.dedupe_window(),
        wait: config.projects.wait(),
    };
    let project = || traveller.project.clone();
    let until = Instant::now() + STEP_TIMEOUT / 2;
    let born = loop {
        match broker.append(project(), call(0, Branch::NONE, None)).await {
            // Most of a cluster is there, and the node of this project not yet.
            Err(CallError::Nothing(NothingWhy::Away)) if Instant::now() < until => tokio::time::sleep(LOOK_AGAIN).await,
            born => break born.map_err(|error| error.to_string())?,
        }
    };
    let Answer::Synced(head) = born else { return Err(format!("a new log answers {born:?}")) };
    match broker.append(project(), call(1, head.branch, Some(batch))).await.map_err(|error| error.to_string())? {
        Answer::Appended { publish_error: None, .. } => Ok(()),
        Answer::Appended { publish_error: Some(error), .. } => Err(format!("appended, but not published: {error}")),
        other => Err(format!("the log answers {other:?}")),
    }
}

/// Removes the keys of a project of our own. A finding if that cannot be.
async fn remove(way: &Way<'_>, traveller: &Traveller) -> Option<Finding> {
    let prefix = way.config.redis.settings().prefix;
    let keys = KEYS.map(|what| traveller.key(&prefix, what));
    for key in &keys {
        // In case the removal does not come about.
        let _ = way.node.ask::<i64>(&["PEXPIRE", key, KEYS_MS]).await;
    }
    let mut command = vec!["UNLINK"];
    command.extend(keys.iter().map(String::as_str));
    let removed = way.node.ask::<i64>(&command).await;
    let why = removed.err()?;
    let found = format!("the keys of project {} cannot be removed: {why}", traveller.project);
    let advice = format!("remove them by hand: redis-cli UNLINK {}", keys.join(" "));
    Some(Finding::warn("clean up", found, advice, Page::DOCTOR))
}

async fn post(address: &Address, access: &Access, traveller: &Traveller) -> Result<(), Failed> {
    const ADVICE: &str = "name an ingest's address, and a token with the scope publish in project tidings-doctor";
    let failed = |why: String| Failed(format!("{address}: {why}"), ADVICE);
    let http = http(address, STEP_TIMEOUT, access).map_err(|error| failed(format!("{error:#}")))?;
    let sent = http.post(address.events(&traveller.project)).json(&traveller.json).send().await;
    let response = sent.map_err(|error| failed(cause(&error)))?;
    if response.status().is_success() { Ok(()) } else { Err(failed(Refusal::read(response).await.to_string())) }
}

/// Deletes the project of events that go through an ingest. A finding if that cannot be.
async fn delete(address: &Address, access: &Access) -> Option<Finding> {
    let project: Project = PROJECT.parse().expect("it is a project's name");
    let deleted = async {
        let http = http(address, STEP_TIMEOUT, access).map_err(|error| format!("{error:#}"))?;
        let sent = http.delete(address.below(&project, &[])).send().await;
        let response = sent.map_err(|error| cause(&error))?;
        if response.status().is_success() { Ok(()) } else { Err(Refusal::read(response).await.to_string()) }
    };
    let why: String = deleted.await.err()?;
    let found = format!("project {PROJECT} cannot be deleted: {why}");
    let advice = "give a token with the scope admin in project tidings-doctor; until then the event stays";
    Some(Finding::warn("clean up", found, advice, Page::DOCTOR))
}
