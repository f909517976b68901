//! Acknowledgements that wait for a replica (docs/log.md L11), on a primary and a replica that is stopped.

use std::time::Duration;

use crate::contract::writer::{Writer, fresh, named, plain};
use crate::redis::server::RedisServer;
use crate::redis::{RedisBroker, RedisSettings};
use crate::{Answer, AppendCall, CallError, Log as _, NothingWhy, Probe as _, RefusalWhy, Wait};

/// Longer than anything here takes on a slow machine.
const HANG: Duration = Duration::from_secs(20);

const WAIT: Option<Wait> = Some(Wait { replicas: 1, timeout_ms: 200 });

async fn primary_and_replica() -> (RedisServer, RedisServer) {
    let primary = RedisServer::start();
    let port = primary.port().to_string();
    let replica = RedisServer::start_with(&["--replicaof", "127.0.0.1", &port, "--repl-diskless-sync-delay", "0"]);
    let following = async {
        loop {
            let info: String =
                ::redis::from_redis_value(replica.command("INFO replication").await.expect("an answer")).expect("text");
            if info.contains("master_link_status:up") {
                return;
            }
            tokio::task::yield_now().await;
        }
    };
    tokio::time::timeout(HANG, following).await.expect("the replica follows");
    (primary, replica)
}

async fn connected(server: &RedisServer) -> RedisBroker {
    let broker = RedisBroker::connect(&RedisSettings::new(server.url())).expect("good settings");
    let _ = broker.connected().wait_for(|connected| *connected).await.expect("the broker lives");
    broker
}

/// Sends a call, again while the connection for it is not there yet.
async fn send(writer: &Writer, call: &AppendCall) -> Result<Answer, CallError> {
    let sending = async {
        loop {
            let call = AppendCall { fresh: fresh(), wait: WAIT, ..call.clone() };
            match writer.broker.append(writer.project.clone(), call).await {
                Err(CallError::Nothing(NothingWhy::Away)) => tokio::task::yield_now().await,
                answer => return answer,
            }
        }
    };
    tokio::time::timeout(HANG, sending).await.expect("an answer")
}

/// The answer of a call that is sent until the replica has what it wrote.
async fn replicated(writer: &Writer, call: &AppendCall) -> Answer {
    let sending = async {
        loop {
            match send(writer, call).await {
                Err(CallError::Unknown(_)) => {}
                answer => return answer.expect("an answer"),
            }
        }
    };
    tokio::time::timeout(HANG, sending).await.expect("the replica has it")
}

fn is_unknown(answer: &Result<Answer, CallError>) -> bool {
    matches!(answer, Err(CallError::Unknown(why)) if why == "0 of 1 replicas have it")
}

#[tokio::test]
async fn every_positive_answer_waits_for_the_replica() {
    let (primary, replica) = primary_and_replica().await;
    let mut writer = Writer::join(std::sync::Arc::new(connected(&primary).await), "p").await;
    let first = writer.call(Some(named(&["a"])));
    replicated(&writer, &first).await;
    writer.number = first.number;

    replica.freeze();
    let second = writer.call(Some(named(&["b"])));
    assert!(is_unknown(&send(&writer, &second).await), "appended");
    assert!(is_unknown(&send(&writer, &second).await), "the same answer");
    let other = Writer::join(std::sync::Arc::new(connected(&primary).await), "p").await;
    let retry = other.call(Some(named(&["b"])));
    assert!(is_unknown(&send(&other, &retry).await), "a duplicate, by a connection that wrote nothing before");
    let third = Writer::join(std::sync::Arc::new(connected(&primary).await), "p").await;
    let old = third.call(Some(named(&["a"])));
    assert!(is_unknown(&send(&third, &old).await), "even of an event that the replica has had for long");
    // Newer servers wait only behind what wrote something.
    let waited = primary.command("HGET tidings:{p}:meta waited").await;
    assert!(matches!(waited, Ok(::redis::Value::BulkString(_))), "{waited:?}");
    let elsewhere = AppendCall { number: 9, branch: fresh(), ..second.clone() };
    assert!(is_unknown(&send(&writer, &elsewhere).await), "HEAL that says where the writer's last batch stands");
    // What acknowledges nothing does not wait.
    let stranger = AppendCall { branch: fresh(), ..third.call(Some(named(&["c"]))) };
    assert!(matches!(send(&third, &stranger).await, Ok(Answer::Heal(heal)) if heal.answer.is_none()));
    let head = writer.head().await;
    assert_eq!(head.last.n(), 2, "it stands there once all the same");

    replica.thaw();
    let stands = Answer::Appended { last: head.last, count: 1, publish_error: None };
    assert_eq!(replicated(&writer, &second).await, stands);
    let Answer::Refused(refusals) = replicated(&other, &retry).await else { panic!("a duplicate") };
    assert_eq!(refusals[0].why, RefusalWhy::Duplicate(head.last));
}

/// Nobody else waits while a replica is away.
#[tokio::test]
async fn others_go_on_while_a_call_waits() {
    let (primary, replica) = primary_and_replica().await;
    let broker = connected(&primary).await;
    let mut waiting = Writer::join(std::sync::Arc::new(broker.clone()), "waiting").await;
    let call = waiting.call(Some(plain(1)));
    waiting.number = call.number;
    replicated(&waiting, &call).await;
    replica.freeze();
    let long = Some(Wait { replicas: 1, timeout_ms: 1_500 });
    let call = AppendCall { wait: long, ..waiting.call(Some(plain(1))) };
    let asking = broker.append(waiting.project.clone(), call);
    let going_on = async {
        let mut other = Writer::join(std::sync::Arc::new(broker.clone()), "other").await;
        for _ in 0..20 {
            other.take(plain(1)).await;
        }
    };
    tokio::pin!(asking);
    tokio::select! {
        biased;
        answer = &mut asking => panic!("it did not wait: {answer:?}"),
        () = going_on => {}
    }
    assert!(matches!(asking.await, Err(CallError::Unknown(_))));
}
