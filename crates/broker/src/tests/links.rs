//! What only Redis can do to us: being away, freezing, refusing, forgetting scripts, forbidding a channel.

use std::sync::Arc;
use std::time::Duration;

use tidings_protocol::position::Branch;
use tidings_protocol::project::Project;

use crate::contract::writer::{Ear, Writer, fresh, named, plain, project};
use crate::redis::server::RedisServer;
use crate::redis::{RedisBroker, RedisSettings, RedisSettingsError};
use crate::{
    Answer, AppendBatch, AppendCall, Broker, CallError, CheckpointAnswer, CheckpointStep, DedupeWindow, Fields,
    Index as _, Log as _, NothingWhy, Probe as _, ReadError, Retention, Span,
};

async fn until(broker: &RedisBroker, wanted: bool) {
    let mut connected = broker.connected();
    let wait = connected.wait_for(|connected| *connected == wanted);
    let _ = tokio::time::timeout(Duration::from_secs(30), wait).await.expect("in time").expect("the broker lives");
}

async fn connect(server: &RedisServer) -> RedisBroker {
    let broker = RedisBroker::connect(&RedisSettings::new(server.url())).expect("good settings");
    until(&broker, true).await;
    broker
}

fn shared(broker: &RedisBroker) -> Arc<dyn Broker> {
    Arc::new(broker.clone())
}

fn refusing(code: &str) -> CallError {
    CallError::Nothing(NothingWhy::Refusing(code.into()))
}

fn sync() -> AppendCall {
    AppendCall {
        writer: "w".into(),
        number: 0,
        branch: Branch::NONE,
        fresh: fresh(),
        batch: None,
        delete: false,
        dedupe: DedupeWindow::default(),
        wait: None,
    }
}

fn p() -> Project {
    project("p")
}

#[tokio::test]
async fn a_broker_waits_for_a_redis_that_is_away() {
    let mut server = RedisServer::start();
    server.kill();
    let broker = RedisBroker::connect(&RedisSettings::new(server.url())).expect("good settings");
    assert!(!*broker.connected().borrow());
    assert_eq!(broker.append(p(), sync()).await, Err(CallError::Nothing(NothingWhy::Away)));
    assert!(matches!(broker.read(p(), Span::Tail, 1).await, Err(ReadError::Away(_))));
    assert!(matches!(broker.subscribe(p(), Ear::new()).await, Err(ReadError::Away(_))));
    assert!(matches!(broker.probe().await, Err(ReadError::Away(_))));
    server.restart();
    until(&broker, true).await;
    Writer::join(shared(&broker), "p").await.take(plain(1)).await;

    broker.close().await;
    assert!(!*broker.connected().borrow());
    assert_eq!(broker.append(p(), sync()).await, Err(CallError::Nothing(NothingWhy::Away)));
}

#[tokio::test]
async fn what_a_frozen_redis_did_is_unknown_and_a_retry_is_harmless() {
    let server = RedisServer::start();
    let timeouts = Duration::from_millis(300);
    let settings = RedisSettings {
        response_timeout: timeouts,
        connect_timeout: timeouts,
        ping_interval: Duration::from_millis(50),
        ..RedisSettings::new(server.url())
    };
    let broker = RedisBroker::connect(&settings).expect("good settings");
    until(&broker, true).await;
    let mut writer = Writer::join(shared(&broker), "p").await;
    let ear = Ear::new();
    let _subscription = broker.subscribe(p(), Arc::<Ear>::clone(&ear)).await.expect("confirmed");

    server.freeze();
    let call = writer.call(Some(plain(2)));
    writer.number = call.number;
    assert!(matches!(broker.append(p(), call.clone()).await, Err(CallError::Unknown(_))));
    until(&broker, false).await;
    server.thaw();
    // The first sending may still lie in a socket that the server reads later. The same number until there is an answer.
    let again = AppendCall { fresh: fresh(), ..call };
    let answer = loop {
        until(&broker, true).await;
        match broker.append(p(), again.clone()).await {
            Ok(answer) => break answer,
            Err(CallError::Unknown(_) | CallError::Nothing(NothingWhy::Away)) => {}
            Err(other) => panic!("{other}"),
        }
    };
    assert!(matches!(answer, Answer::Appended { count: 2, .. }), "{answer:?}");
    // Only if its own connection broke too.
    ear.until(|heard| heard.lost > 0 || !heard.entries.is_empty()).await;
    assert_eq!(
        connect(&server).await.heads(vec![p()]).await.remove(0).expect("an answer").last.n(),
        2,
        "it stands there once"
    );
}

#[tokio::test]
async fn a_subscription_is_refused_while_its_connection_is_broken() {
    let mut server = RedisServer::start();
    let broker = connect(&server).await;
    server.kill();
    until(&broker, false).await;
    let refused = tokio::time::timeout(Duration::from_secs(30), broker.subscribe(p(), Ear::new()));
    assert!(matches!(refused.await.expect("it does not wait for a server"), Err(ReadError::Away(_))));
    server.restart();
    until(&broker, true).await;
    broker.subscribe(p(), Ear::new()).await.expect("confirmed");
}

#[tokio::test]
async fn what_nobody_hears_is_unsubscribed() {
    let server = RedisServer::start();
    let broker = connect(&server).await;
    let mut many = Vec::new();
    for n in 0..1_500 {
        many.push(broker.subscribe(project(&format!("gone-{n}")), Ear::new()));
    }
    let many = futures_util::future::try_join_all(many).await.expect("confirmed");
    drop(many);
    // One command at a time: when this one is confirmed, those before it are done.
    let _stays = broker.subscribe(p(), Ear::new()).await.expect("confirmed");
    let channels = server.command("PUBSUB CHANNELS *:bus").await.expect("an answer");
    assert_eq!(channels, ::redis::Value::Array(vec![::redis::Value::BulkString(b"tidings:{p}:bus".to_vec())]));
}

#[tokio::test]
async fn a_probe_ends_when_its_way_back_breaks() {
    let server = RedisServer::start();
    let broker = connect(&server).await;
    for _ in 0..20 {
        server.cut_subscribers().await;
        // It comes back or says that it cannot, according to who notices first. It never waits on.
        let probe = tokio::time::timeout(Duration::from_secs(30), broker.probe());
        assert!(matches!(probe.await.expect("it ends"), Ok(()) | Err(ReadError::Away(_))));
        until(&broker, true).await;
    }
}

#[tokio::test]
async fn a_server_that_forgot_the_scripts_is_told_again() {
    let server = RedisServer::start();
    let broker = connect(&server).await;
    let mut writer = Writer::join(shared(&broker), "p").await;
    server.command("SCRIPT FLUSH").await.expect("it does");
    assert_eq!(writer.take(plain(1)).await.n(), 1);
    assert_eq!(writer.head().await.last.n(), 1);
}

#[tokio::test]
async fn what_is_left_without_meta_belongs_to_nobody() {
    let server = RedisServer::start();
    let broker = connect(&server).await;
    let mut writer = Writer::join(shared(&broker), "p").await;
    writer.take(named(&["a", "b"])).await;
    server.command("DEL tidings:{p}:meta").await.expect("it does");
    let Answer::Heal(heal) = writer.append(named(&["a"])).await else { panic!("another log") };
    writer.branch = heal.head.branch;
    assert_eq!(writer.take(named(&["a"])).await.n(), 1, "a new log, with nothing in it");
    assert_eq!(broker.read(p(), Span::Tail, 1_000).await.expect("an answer").entries.len(), 1);
}

#[tokio::test]
async fn a_replica_takes_nothing_and_is_not_believed() {
    let server = RedisServer::start();
    let broker = connect(&server).await;
    let mut writer = Writer::join(shared(&broker), "p").await;
    let last = writer.take(plain(1)).await;
    let head = writer.head().await;
    server.command("REPLICAOF 127.0.0.1 1").await.expect("it does");

    let retry = AppendCall { number: 1, ..writer.call(Some(plain(1))) };
    for call in [sync(), writer.call(Some(plain(1))), retry] {
        assert_eq!(broker.append(p(), call).await, Err(refusing("READONLY")), "not even what it knows");
    }
    assert_eq!(broker.checkpoint(p(), step(&head)).await, Err(refusing("READONLY")));
    assert_eq!(broker.sweep(p(), 0, 0).await, Err(refusing("READONLY")));
    assert_eq!(broker.enter(p()).await, Err(refusing("READONLY")));
    assert!(matches!(broker.heads(vec![p()]).await[..], [Err(ReadError::Away(_))]));
    assert!(matches!(broker.read(p(), Span::Tail, 1).await, Err(ReadError::Away(_))));
    assert!(matches!(broker.state(p(), Fields::All).await, Err(ReadError::Away(_))));

    server.command("REPLICAOF NO ONE").await.expect("it does");
    let Answer::Heal(heal) = writer.append(plain(1)).await else { panic!("a promotion is a fork") };
    assert_eq!(heal.head.forks[0].survived, last);
}

fn step(head: &tidings_protocol::head::Head) -> CheckpointStep {
    CheckpointStep {
        incarnation: head.incarnation.clone(),
        from: head.checkpoint,
        to: head.last,
        deletion: None,
        version: 1,
        fields: vec![("a".into(), Some("1".into()))],
        retention: Retention { events: 0, bytes: 0, age_ms: 0 },
        hard: false,
    }
}

#[tokio::test]
async fn without_memory_nothing_is_appended_and_checkpoints_make_room() {
    let server = RedisServer::start();
    let broker = connect(&server).await;
    let mut writer = Writer::join(shared(&broker), "p").await;
    writer.take(named(&["a"])).await;
    server.command("CONFIG SET maxmemory 1").await.expect("it does");
    let full = Err(CallError::Nothing(NothingWhy::Memory));
    assert_eq!(broker.append(p(), writer.call(Some(plain(1)))).await, full);
    assert_eq!(broker.append(project("unborn"), sync()).await, full);
    let head = writer.head().await;
    assert_eq!(head.last.n(), 1, "nothing happened");
    assert_eq!(broker.memory().await.expect("an answer").max_bytes, Some(1));
    broker.refuse(p(), 60_000).await.expect("it passes");
    for _ in ["taken", "renewed"] {
        assert_eq!(broker.lease(7, "janitor".into(), 60_000).await, Ok(true));
        assert_eq!(broker.lease(7, "another".into(), 60_000).await, Ok(false));
    }
    assert_eq!(broker.checkpoint(p(), step(&head)).await, Ok(CheckpointAnswer::Done { trimmed: 1, more: false }));
    assert_eq!(broker.state(p(), Fields::All).await.expect("an answer").fields.len(), 1, "the fields were written too");
    server.command("CONFIG SET maxmemory 0").await.expect("it does");
    let memory = broker.memory().await.expect("an answer");
    assert!(memory.max_bytes.is_none() && memory.used_bytes > 100_000, "{memory:?}");
    let over_share = Err(CallError::Nothing(NothingWhy::OverShare));
    assert_eq!(broker.append(p(), writer.call(Some(plain(1)))).await, over_share, "by the server's own clock");
    broker.refuse(p(), 0).await.expect("it passes");
    assert_eq!(writer.take(plain(1)).await.n(), 2);
}

#[tokio::test]
async fn a_server_that_wants_replicas_appends_nothing() {
    let server = RedisServer::start();
    let broker = connect(&server).await;
    let mut writer = Writer::join(shared(&broker), "p").await;
    server.command("CONFIG SET min-replicas-to-write 1").await.expect("it does");
    assert_eq!(broker.append(p(), writer.call(Some(plain(1)))).await, Err(refusing("NOREPLICAS")));
    server.command("CONFIG SET min-replicas-to-write 0").await.expect("it does");
    assert_eq!(writer.take(plain(1)).await.n(), 1);
}

#[tokio::test]
async fn a_forbidden_channel_does_not_undo_the_append() {
    let server = RedisServer::start();
    server
        .command(
            "ACL SETUSER limited on >secret ~tidings:* +@all -@dangerous +info +role resetchannels &tidings:probe:*",
        )
        .await
        .expect("it does");
    let url = format!("redis://limited:secret@127.0.0.1:{}/0", server.port());
    let broker = RedisBroker::connect(&RedisSettings::new(url)).expect("good settings");
    until(&broker, true).await;
    let mut writer = Writer::join(shared(&broker), "p").await;
    let call = writer.call(Some(named(&["a"])));
    writer.number = call.number;
    let Answer::Appended { last, publish_error: Some(_), .. } = writer.send(call.clone()).await else {
        panic!("appended, and the error beside it")
    };
    let (again, retry) = (Answer::Appended { last, count: 1, publish_error: None }, call.clone());
    assert_eq!(writer.send(call).await, again);
    assert_eq!(writer.head().await.last, last, "the books are written");
    assert!(matches!(writer.append(named(&["a"])).await, Answer::Refused(_)));

    // A fork's entry, which each kind of answer may stand beside.
    for call in [sync(), writer.call(Some(plain(1))), retry] {
        server.change_replication_id().await;
        let told = broker.append_told(&p(), &call).await.expect("an answer");
        assert!(told.publish_error.is_some(), "{:?}", told.answer);
        let told = broker.append_told(&p(), &sync()).await.expect("an answer");
        assert_eq!(told.publish_error, None, "no entry, no error");
    }
}

#[tokio::test]
async fn lists_longer_than_lua_can_unpack_pass() {
    const MANY: u32 = 9_000;
    let server = RedisServer::start();
    let broker = connect(&server).await;
    let mut writer = Writer::join(shared(&broker), "p").await;
    let ids = |from: u32| AppendBatch { ids: (0..MANY).map(|n| (n, format!("{}", from + n))).collect(), ..plain(MANY) };
    writer.dedupe = DedupeWindow { ids: u64::from(MANY), ms: u64::MAX };
    writer.take(ids(0)).await;
    let Answer::Refused(refusals) = writer.append(ids(1)).await else { panic!("all but one were seen") };
    assert_eq!(refusals.len(), MANY as usize - 1);
    let last = writer.take(ids(MANY)).await;
    writer.take(ids(0)).await;
    assert_eq!(last.n(), 2 * u64::from(MANY));
    let head = writer.head().await;
    let fields = (0..MANY).map(|n| (format!("f{n}"), Some("1".into()))).collect();
    let written = CheckpointStep { fields, ..step(&head) };
    assert!(matches!(broker.checkpoint(p(), written).await, Ok(CheckpointAnswer::Done { .. })));
    let names = (0..MANY).map(|n| format!("f{n}")).collect();
    let state = broker.state(p(), Fields::Named(names)).await.expect("an answer");
    assert_eq!(state.fields.len(), MANY as usize);
    assert_eq!(broker.state(p(), Fields::All).await.expect("an answer").fields.len(), MANY as usize);
}

#[test]
fn settings_are_checked_and_keep_their_secret() {
    let settings = RedisSettings::new("redis://user:secret@127.0.0.1:6379/2");
    assert!(!format!("{settings:?}").contains("secret"));
    for url in ["", "localhost", "http://localhost", "redis://"] {
        let bad = RedisSettings::new(url);
        assert!(matches!(RedisBroker::connect(&bad), Err(RedisSettingsError::Url(_))), "{url:?} was taken");
    }
    for prefix in ["", "a{b", "a b"] {
        let bad = RedisSettings { prefix: prefix.into(), ..settings.clone() };
        assert!(matches!(RedisBroker::connect(&bad), Err(RedisSettingsError::Prefix(_))), "{prefix:?} was taken");
    }
}

#[tokio::test]
async fn a_bad_name_in_the_index_hides_no_other() {
    let server = RedisServer::start();
    let broker = connect(&server).await;
    broker.enter(p()).await.expect("an answer");
    let shard = crate::index::shard_of(&p());
    server.command(&format!("SADD tidings:index:{shard:02} -not-a-name")).await.expect("a set takes all");
    assert_eq!(broker.projects(shard).await, Ok(vec![p()]));
}
