//! Commands that are brought to a webhook: answered in its answer, or later; and told to who asked when it dies.

use std::net::SocketAddr;
use std::time::Duration;

use serde_json::{Value, json};
use tidings_tests::cluster::Cluster;
use tidings_tests::http;
use tidings_tests::service::Service;
use tidings_tests::wait::{eventually, within};

use crate::{PROJECT, Receiver, SECRET, calling, set};
use tidings_tests::receiver::Does;

/// The runner that webhooks are.
const RUNNER: &str = "tidings:webhook";

/// The project's commands for `job` go there.
async fn hook(ingest: SocketAddr, receiver: &Receiver) {
    let webhook = json!({"url": receiver.url(), "capabilities": ["job"], "secret": SECRET});
    let answer = set(ingest, &json!({"commands": {"webhook": webhook}})).await;
    assert_eq!(answer.status, 200, "{}", answer.text());
}

/// Asks, as soon as a runner is there.
async fn ask(cluster: &Cluster, id: &str, deadline_ms: u64) {
    let gateway = cluster.gateways[0].address();
    let command = json!({"type": "job.run", "id": id, "data": {"text": "hello"}, "deadline_ms": deadline_ms});
    eventually("a runner", async || {
        let answer = http::post_json(gateway, &format!("/v1/projects/{PROJECT}/commands"), &command).await;
        let answer = answer.expect("an answer");
        assert!(matches!(answer.code().as_str(), "" | "no_runner" | "rate_limited"), "{}", answer.text());
        (answer.status == 202).then_some(())
    })
    .await;
}

/// All that is told of a command, up to its final answer.
async fn told_of(cluster: &Cluster, id: &str) -> Vec<Value> {
    told_until(cluster, id, &["command.completed", "command.failed"]).await
}

/// All that is told of a command, up to an event of one of these types.
async fn told_until(cluster: &Cluster, id: &str, last: &[&str]) -> Vec<Value> {
    let gateway = cluster.gateways[0].address();
    let (mut after, mut told) = ("start".to_owned(), Vec::new());
    within("a last event", async {
        loop {
            let path = format!("/v1/projects/{PROJECT}/events?after={after}&wait=5");
            let page = http::get(gateway, &path).await.expect("an answer").json();
            page["next"].as_str().expect("a position").clone_into(&mut after);
            let events = page["events"].as_array().expect("a list").iter();
            told.extend(events.filter(|event| event["data"]["command_id"] == id).cloned());
            if told.iter().any(|event| event["type"].as_str().is_some_and(|kind| last.contains(&kind))) {
                return told;
            }
        }
    })
    .await
}

fn types(told: &[Value]) -> Vec<&str> {
    told.iter().map(|event| event["type"].as_str().expect("a type")).collect()
}

#[tokio::test(flavor = "multi_thread")]
async fn a_command_is_answered_in_the_answer() {
    let cluster = calling().start().await;
    let receiver = Receiver::start().await;
    let events = json!({"events": [
        {"type": "job.note", "data": {"text": "hi"}},
        {"type": "command.completed", "data": {"result": {"n": 1}}},
    ]});
    receiver.always(Does::Answers(200, events.to_string()));
    hook(cluster.ingests[0].address(), &receiver).await;
    ask(&cluster, "c-1", 60_000).await;
    let told = told_of(&cluster, "c-1").await;
    assert_eq!(types(&told), ["job.note", "command.completed"]);
    assert_eq!(told[1]["data"]["result"], json!({"n": 1}));
    let calls = receiver.calls();
    assert_eq!(calls.len(), 1);
    assert!(calls[0].is_signed(), "{:?}", calls[0]);
    assert_eq!((calls[0].id(), calls[0].header("tidings-attempt")), ("c-1/1", "1"));
    let command = &calls[0].body["command"];
    assert_eq!((&command["type"], &command["data"]["text"]), (&json!("job.run"), &json!("hello")));
    assert_eq!((&calls[0].body["project"], &calls[0].body["runner"]), (&json!(PROJECT), &json!(RUNNER)));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_command_is_answered_later_and_after_a_failure() {
    let cluster = calling().start().await;
    let receiver = Receiver::start().await;
    let ingest = cluster.ingests[0].address();
    receiver.next([Does::Answers(503, String::new()), Does::Answers(202, "soon".to_owned())]);
    hook(ingest, &receiver).await;
    ask(&cluster, "c-1", 60_000).await;
    let calls = receiver.until("the command, and again", |calls| calls.len() == 2).await;
    assert_eq!((calls[0].id(), calls[1].id()), ("c-1/1", "c-1/1"));
    assert_eq!(calls[0].raw, calls[1].raw);
    // What is final comes last: the receiver's word that it has the command is on its way.
    told_until(&cluster, "c-1", &["command.accepted"]).await;
    let lease = &calls[1].body["command"]["lease"];
    let path = format!("/v1/projects/{PROJECT}/commands/c-1/events?runner={RUNNER}&lease={lease}");
    let answer = http::post_json(ingest, &path, &json!({"type": "command.completed"})).await.expect("an answer");
    assert_eq!(answer.status, 200, "{}", answer.text());
    assert_eq!(types(&told_of(&cluster, "c-1").await), ["command.accepted", "command.completed"]);
    // Its name is its own.
    let path = format!("/v1/projects/{PROJECT}/commands?runner={RUNNER}&capability=job");
    assert_eq!(http::get(ingest, &path).await.expect("an answer").status, 400);
}

#[tokio::test(flavor = "multi_thread")]
async fn what_a_webhook_refuses_or_answers_wrongly_has_failed() {
    let cluster = calling().start().await;
    let receiver = Receiver::start().await;
    let wrong = json!({"events": [{"type": "no type", "data": {}}]}).to_string();
    receiver.next([Does::Answers(422, String::new()), Does::Answers(200, wrong)]);
    hook(cluster.ingests[0].address(), &receiver).await;
    for (id, code) in [("c-1", "refused"), ("c-2", "invalid_event")] {
        ask(&cluster, id, 60_000).await;
        let told = told_of(&cluster, id).await;
        assert_eq!((types(&told), &told[0]["data"]["code"]), (vec!["command.failed"], &json!(code)));
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn who_asked_is_told_when_the_webhook_dies() {
    let cluster = calling().set("TIDINGS_PROJECTS__COMMAND_LEASE_MS", 5_000).start().await;
    let receiver = Receiver::start().await;
    hook(cluster.ingests[0].address(), &receiver).await;
    ask(&cluster, "accepted", 8_000).await;
    receiver.until("the command", |calls| !calls.is_empty()).await;
    receiver.always(Does::HangsUp);
    ask(&cluster, "never", 8_000).await;
    for (id, expected) in [("accepted", vec!["command.accepted", "command.failed"]), ("never", vec!["command.failed"])]
    {
        let told = told_of(&cluster, id).await;
        assert_eq!(types(&told), expected, "{id}");
        assert_eq!(told.last().map(|event| &event["data"]["code"]), Some(&json!("deadline")), "{id}");
    }
    let failing = "tidings_webhooks_failing";
    eventually(failing, async || (cluster.ingests[0].metric(failing).await > 0.0).then_some(())).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn another_ingest_brings_what_one_that_was_killed_had() {
    let mut cluster = calling().ingests(2).set("TIDINGS_PROJECTS__COMMAND_LEASE_MS", 5_000).durable().start().await;
    let receiver = Receiver::start().await;
    receiver.always(Does::Answers(503, String::new()));
    let addresses: Vec<SocketAddr> = cluster.ingests.iter().map(Service::address).collect();
    hook(addresses[0], &receiver).await;
    let busy = crate::who_delivers(&cluster.ingests).await;
    ask(&cluster, "c-1", 100_000).await;
    receiver.until("the command", |calls| !calls.is_empty()).await;
    cluster.ingests[busy].process.kill();
    let done = json!({"events": [{"type": "command.completed"}]}).to_string();
    receiver.always(Does::Answers(200, done));
    assert_eq!(types(&told_of(&cluster, "c-1").await), ["command.completed"]);
    assert_eq!(receiver.calls().last().map(|call| call.body["command"]["id"].clone()), Some(json!("c-1")));
}

#[tokio::test(flavor = "multi_thread")]
async fn an_answer_that_is_too_long_fails_the_command() {
    let cluster = calling().start().await;
    let receiver = Receiver::start().await;
    let long = json!({"events": [{"type": "command.completed"}], "more": "x".repeat(64 * 1024)}).to_string();
    receiver.always(Does::Answers(200, long));
    hook(cluster.ingests[0].address(), &receiver).await;
    ask(&cluster, "c-1", 60_000).await;
    let told = told_of(&cluster, "c-1").await;
    assert_eq!((types(&told), &told[0]["data"]["code"]), (vec!["command.failed"], &json!("answer_cut")));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_slow_receiver_of_commands_holds_up_no_other_projects_events() {
    let cluster = calling().set("TIDINGS_WEBHOOKS__AT_ONCE", 8).start().await;
    let ingest = cluster.ingests[0].address();
    let (slow, quick) = (Receiver::slow(Duration::from_secs(3)).await, Receiver::start().await);
    let webhook = json!({"url": slow.url(), "capabilities": ["job"], "in_hand": 100, "secret": SECRET});
    assert_eq!(set(ingest, &json!({"commands": {"webhook": webhook}})).await.status, 200);
    let path = "/v1/projects/other/settings";
    let webhook = json!({"webhooks": {"w": {"url": quick.url(), "secret": SECRET}}});
    let request = http::client().patch(format!("http://{ingest}{path}")).body(webhook.to_string());
    let answer = request.header("content-type", "application/merge-patch+json").send().await.expect("an answer");
    assert_eq!(answer.status(), 200);
    for number in 0..60 {
        ask(&cluster, &format!("c-{number}"), 600_000).await;
    }
    // It is known to be slow by then.
    let before = slow.until("slow calls", |calls| calls.len() >= 8).await.len();
    let event = json!({"type": "job.note", "id": "e1", "data": {}});
    let answer = http::post_json(ingest, "/v1/projects/other/events", &event).await.expect("an answer");
    assert_eq!(answer.status, 200, "{}", answer.text());
    quick.until("the event", |calls| !calls.is_empty()).await;
    // In one line with all others it would come behind most of them.
    let meanwhile = slow.calls().len() - before;
    assert!(meanwhile < 30, "{meanwhile} commands were brought first");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_receiver_of_commands_that_is_gone_is_not_called_by_the_next_ingest() {
    let mut cluster = calling().ingests(2).durable().start().await;
    let receiver = Receiver::start().await;
    receiver.always(Does::Answers(410, String::new()));
    let addresses: Vec<SocketAddr> = cluster.ingests.iter().map(Service::address).collect();
    hook(addresses[0], &receiver).await;
    let busy = crate::who_delivers(&cluster.ingests).await;
    ask(&cluster, "c-1", 100_000).await;
    let gone = "tidings_webhooks_gone";
    eventually(gone, async || (cluster.ingests[busy].metric(gone).await > 0.0).then_some(())).await;
    cluster.ingests[busy].process.kill();
    eventually(gone, async || (cluster.ingests[1 - busy].metric(gone).await > 0.0).then_some(())).await;
    assert_eq!(receiver.calls().len(), 1);
}
