//! What becomes of commands where nothing goes wrong but what the parties do.

use serde_json::{Value, json};
use tidings_tests::http;
use tidings_tests::service::Service;
use tidings_tests::wait::within;

use crate::{Dashboard, PROJECT, Runner, Taken, secured};

#[tokio::test(flavor = "multi_thread")]
async fn a_chat_goes_to_a_runner_and_its_answer_to_who_asked() {
    let cluster = secured().start().await;
    let (gateway, ingest) = (cluster.gateways[0].address(), cluster.ingests[0].address());
    let mut alice = Dashboard::open("alice", &[gateway]).await;
    let runner = Runner::new("r1", ingest);
    let hello = json!({"type": "chat", "id": "c-1", "session": "s", "data": {"text": "hello", "n": 1.50}});
    assert_eq!(alice.is_refused(&hello).await, "no_runner");
    runner.is_there().await;
    assert_eq!(alice.asks(&hello).await, "queued");
    let taken = runner.takes_one().await;
    assert_eq!(
        (&taken.told["type"], &taken.told["by"], &taken.told["session"]),
        (&json!("chat"), &json!("alice"), &json!("s"))
    );
    assert_eq!(taken.told["data"], hello["data"]);
    assert_eq!(alice.asks(&hello).await, "leased");
    runner.accepts(&taken).await;
    assert_eq!(alice.asks(&hello).await, "accepted");
    let delta = json!({"type": "message.delta", "data": {"message_id": "m", "text": "hi"}});
    let done = json!({"type": "command.completed", "id": "e-1", "data": {"result": "hi"}});
    runner.says(&taken, &json!([delta, done])).await;

    let (kind, data) = alice.answer("c-1").await;
    assert_eq!(kind, "command.completed");
    assert_eq!(data, json!({"command_id": "c-1", "type": "chat", "result": "hi", "by": "alice"}));
    let types: Vec<&str> = alice.events.iter().filter_map(|event| event["type"].as_str()).collect();
    assert_eq!(types, ["message.completed", "command.accepted", "message.delta", "command.completed"]);
    assert_eq!(alice.events[0]["data"]["text"], "hello");
    assert_eq!(alice.events[1]["data"]["runner"], "r1");
    assert_eq!((&alice.events[2]["session"], &alice.events[2]["data"]["command_id"]), (&json!("s"), &json!("c-1")));
    assert_eq!(alice.asks(&hello).await, "answered");

    // The runner did not hear that its answer was taken; another answer comes too late.
    let again = runner.posts(&taken, &done).await;
    assert_eq!((again.status, &again.json()["results"][0]["status"]), (200, &json!("duplicate")), "{}", again.text());
    let late = runner.posts(&taken, &json!({"type": "command.failed", "data": {"code": "x", "error": "y"}})).await;
    assert_eq!((late.status, late.code().as_str()), (409, "already_answered"));
    assert_eq!(alice.answers(ingest, "c-1").await, 1);
    runner.is_there().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn an_id_is_one_command_and_its_askers() {
    let cluster = secured().gateways(2).set("TIDINGS_PROJECTS__INBOX_MAX", 2).start().await;
    let gateways: Vec<_> = cluster.gateways.iter().map(Service::address).collect();
    let ingest = cluster.ingests[0].address();
    let mut alice = Dashboard::open("alice", &gateways[..1]).await;
    let mut again = Dashboard::open("alice", &gateways[1..]).await;
    let mut bob = Dashboard::open("bob", &gateways[1..]).await;
    let runner = Runner::new("r1", ingest);
    runner.is_there().await;
    let command = |id: &str| json!({"type": "session.restart", "id": id, "session": "s"});
    assert_eq!(alice.asks(&command("c-1")).await, "queued");
    assert_eq!(again.asks(&command("c-1")).await, "queued", "the same asker at another gateway");
    assert_eq!(bob.is_refused(&command("c-1")).await, "command_conflict");
    assert_eq!(alice.asks(&command("c-2")).await, "queued");
    assert_eq!(alice.is_refused(&command("c-3")).await, "inbox_full");
    let other = json!({"type": "chat", "id": "c-4"});
    assert_eq!(alice.asks(&other).await, "queued", "another capability");
    let ids: Vec<String> = runner.takes(10, 5).await.into_iter().map(|taken| taken.id).collect();
    assert_eq!(ids, ["c-1", "c-2", "c-4"]);
    runner.is_there().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn faults_are_named_on_both_faces() {
    let cluster = secured().start().await;
    let gateway = cluster.gateways[0].address();
    let mut alice = Dashboard::open("alice", &[gateway]).await;
    assert_eq!(alice.is_refused(&json!({"type": "Chat"})).await, "invalid_field");
    assert_eq!(alice.is_refused(&json!({"type": "chat", "x": 1})).await, "unknown_field");
    let post = async |body: &str, token: &str| {
        let bearer = format!("Bearer {token}");
        let headers = [("content-type", "application/json"), ("authorization", bearer.as_str())];
        let path = format!("/v1/projects/{PROJECT}/commands");
        http::post(gateway, &path, &headers, body.to_owned()).await.expect("an answer")
    };
    let missing = post("{}", &alice.token).await;
    assert_eq!((missing.status, missing.code().as_str()), (422, "missing_field"));
    assert_eq!(missing.json()["errors"][0]["field"], "type");
    let nobody = post(r#"{"type":"chat"}"#, &alice.token).await;
    assert_eq!((nobody.status, nobody.code().as_str()), (503, "no_runner"));
    let reader = tidings_tests::tokens::token("eve", PROJECT, "read approve");
    let refused = post(r#"{"type":"chat"}"#, &reader).await;
    assert_eq!((refused.status, refused.code().as_str()), (403, "forbidden"));
    let runner = Runner::new("r1", cluster.ingests[0].address());
    runner.is_there().await;
    let taken = post(r#"{"type":"chat"}"#, &alice.token).await;
    assert_eq!((taken.status, &taken.json()["status"]), (202, &json!("queued")), "{}", taken.text());
    assert_eq!(taken.json()["id"], runner.takes_one().await.id);
}

#[tokio::test(flavor = "multi_thread")]
async fn what_nobody_answers_is_answered_when_it_is_due() {
    let cluster = secured().start().await;
    let ingest = cluster.ingests[0].address();
    let mut alice = Dashboard::open("alice", &[cluster.gateways[0].address()]).await;
    let runner = Runner::new("r1", ingest);
    runner.is_there().await;
    for id in ["waits", "leased", "accepted"] {
        alice.asks(&json!({"type": "chat", "id": id, "deadline_ms": 8_000})).await;
        if id == "waits" {
            continue;
        }
        // Those before it are urgent no more than it is: it is taken with them.
        let taken = runner.takes(10, 5).await.pop().expect("it waits");
        assert_eq!(taken.id, id);
        if id == "accepted" {
            runner.accepts(&taken).await;
        }
    }
    for id in ["waits", "leased", "accepted"] {
        let (kind, data) = alice.answer(id).await;
        assert_eq!((kind.as_str(), &data["code"]), ("command.failed", &json!("deadline")), "{id}");
        assert_eq!(alice.answers(ingest, id).await, 1, "{id}");
    }
    runner.is_there().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_command_is_bound_to_the_runner_of_its_session() {
    let cluster = secured().start().await;
    let ingest = cluster.ingests[0].address();
    let mut alice = Dashboard::open("alice", &[cluster.gateways[0].address()]).await;
    let (one, two) = (Runner::new("r1", ingest), Runner::new("r2", ingest));
    one.is_there().await;
    two.is_there().await;
    let said = json!({"type": "log", "session": "s", "runner": "r2", "data": {"level": "info", "message": "m"}});
    two.publishes(&said).await;
    // Who publishes is noted behind the answer.
    let tried = async {
        for tries in 0.. {
            alice.asks(&json!({"type": "session.restart", "id": format!("try-{tries}"), "session": "s"})).await;
            if let Some(taken) = two.takes(10, 0).await.pop() {
                return two.completes(&taken).await;
            }
            one.completes(&one.takes_one().await).await;
        }
    };
    within("the session's runner is known", Box::pin(tried)).await;
    for n in 0..5 {
        alice.asks(&json!({"type": "session.restart", "id": format!("c-{n}"), "session": "s"})).await;
    }
    one.is_there().await;
    let taken = two.takes(10, 5).await;
    assert_eq!(taken.iter().map(|taken| taken.id.as_str()).collect::<Vec<_>>(), ["c-0", "c-1", "c-2", "c-3", "c-4"]);
    alice.asks(&json!({"type": "session.stop", "id": "stop", "session": "s"})).await;
    assert_eq!(two.takes_one().await.id, "stop");
}

#[tokio::test(flavor = "multi_thread")]
async fn who_asked_may_cancel_and_the_runner_is_told() {
    let cluster = secured().gateways(2).start().await;
    let gateways: Vec<_> = cluster.gateways.iter().map(Service::address).collect();
    let ingest = cluster.ingests[0].address();
    let mut alice = Dashboard::open("alice", &gateways[..1]).await;
    let mut elsewhere = Dashboard::open("alice", &gateways[1..]).await;
    let mut bob = Dashboard::open("bob", &gateways[..1]).await;
    let runner = Runner::new("r1", ingest);
    runner.is_there().await;
    let cancel = |id: &str, target: &str| json!({"type": "command.cancel", "id": id, "data": {"command_id": target}});
    assert_eq!(alice.is_refused(&cancel("x-0", "c-1")).await, "command_gone");
    alice.asks(&json!({"type": "chat", "id": "c-1"})).await;
    let taken = runner.takes_one().await;
    runner.accepts(&taken).await;
    assert_eq!(bob.is_refused(&cancel("x-1", "c-1")).await, "forbidden");
    // Who administrates the project may, whoever asked, and whichever scopes he has beside.
    alice.asks(&json!({"type": "chat", "id": "c-2"})).await;
    runner.accepts(&runner.takes_one().await).await;
    let mut root = Dashboard::open_with("root", "read admin", &gateways[1..]).await;
    assert_eq!(root.asks(&cancel("x-4", "c-2")).await, "answered");
    let (kind, data) = alice.answer("c-2").await;
    let said = json!({"command_id": "c-2", "type": "chat", "code": "cancelled", "error": "it was cancelled",
        "cancelled_by": "root", "by": "alice"});
    assert_eq!((kind.as_str(), &data), ("command.failed", &said));
    assert_eq!(root.answer("x-4").await.0, "command.completed");
    assert_eq!(runner.takes_one().await.told["data"]["command_id"], "c-2");
    assert_eq!(elsewhere.asks(&cancel("x-2", "c-1")).await, "answered");
    let (kind, data) = alice.answer("c-1").await;
    assert_eq!((kind.as_str(), &data["code"]), ("command.failed", &json!("cancelled")));
    assert_eq!(alice.answer("x-2").await.0, "command.completed");
    let notice = runner.takes_one().await;
    assert_eq!((&notice.told["type"], &notice.told["notice"]), (&json!("command.cancel"), &json!(true)));
    assert_eq!(notice.told["data"]["command_id"], "c-1");
    let late = runner.posts(&taken, &json!({"type": "command.completed"})).await;
    assert_eq!((late.status, late.code().as_str()), (409, "already_answered"));
    assert_eq!(alice.asks(&cancel("x-3", "c-1")).await, "answered");
    let (kind, data) = alice.answer("x-3").await;
    assert_eq!((kind.as_str(), &data["code"]), ("command.failed", &json!("already_answered")));
    for id in ["c-1", "x-2", "x-3"] {
        assert_eq!(alice.answers(ingest, id).await, 1, "{id}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_not_accepted_or_given_back_goes_to_another() {
    let cluster = secured().set("TIDINGS_PROJECTS__COMMAND_LEASE_MS", 1_000).start().await;
    let ingest = cluster.ingests[0].address();
    let mut alice = Dashboard::open("alice", &[cluster.gateways[0].address()]).await;
    let (one, two) = (Runner::new("r1", ingest), Runner::new("r2", ingest));
    one.is_there().await;
    two.is_there().await;
    alice.asks(&json!({"type": "chat", "id": "c-1"})).await;
    let first = one.takes_one().await;
    let second = two.takes_one().await;
    assert_eq!((second.id.as_str(), second.lease), ("c-1", 2));
    let done = json!({"type": "command.completed", "data": {"result": {"by": "r1"}}});
    let lost = one.posts(&first, &done).await;
    assert_eq!((lost.status, lost.code().as_str()), (409, "lease_lost"));
    // On a slow machine a lease is over before it is used: then it is taken once more.
    let released = within("it is given back", async {
        let mut taken = second;
        loop {
            let Taken { id, lease, .. } = &taken;
            let path = format!("/v1/projects/{PROJECT}/commands/{id}/release?runner=r2&lease={lease}");
            let answer = two.post(&path, &Value::Null).await;
            if answer.status == 204 {
                return *lease;
            }
            assert_eq!((answer.status, answer.code().as_str()), (409, "lease_lost"), "{}", answer.text());
            taken = two.takes_one().await;
        }
    });
    let mut lease = Box::pin(released).await;
    let completed = within("it is completed", async {
        loop {
            let taken = one.takes_one().await;
            assert_eq!((taken.id.as_str(), taken.lease), ("c-1", lease + 1), "whom it was given to was told");
            lease = taken.lease;
            let answer = one.posts(&taken, &done).await;
            if answer.status == 200 {
                return;
            }
            assert_eq!((answer.status, answer.code().as_str()), (409, "lease_lost"), "{}", answer.text());
        }
    });
    Box::pin(completed).await;
    assert_eq!(alice.answer("c-1").await.1["result"], json!({"by": "r1"}));
    assert_eq!(alice.answers(ingest, "c-1").await, 1);
    let foreign = Runner { token: two.token.clone(), ..Runner::new("r1", ingest) };
    let taken = foreign.get("commands?runner=r1&capability=chat").await;
    assert_eq!((taken.status, taken.code().as_str()), (409, "runner_taken"));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_stream_brings_commands_as_they_come() {
    let cluster = secured().start().await;
    let ingest = cluster.ingests[0].address();
    let mut alice = Dashboard::open("alice", &[cluster.gateways[0].address()]).await;
    for (accept, lead) in [("text/event-stream", "data: "), ("application/x-ndjson", "")] {
        let runner = Runner::new("r1", ingest);
        let url = format!("http://{ingest}/v1/projects/{PROJECT}/commands?runner=r1&capability=chat");
        let request = http::client().get(url).header("accept", accept);
        let request = request.header("authorization", format!("Bearer {}", runner.token));
        let mut stream = request.send().await.expect("an answer");
        assert_eq!(stream.headers()["content-type"], accept);
        let id = format!("c-{lead}");
        alice.asks(&json!({"type": "chat", "id": id})).await;
        let told = within("a command in the stream", async {
            let mut text = String::new();
            loop {
                let chunk = stream.chunk().await.expect("it goes on").expect("it goes on");
                text.push_str(std::str::from_utf8(&chunk).expect("text"));
                let line = text.lines().find(|line| line.starts_with(&format!("{lead}{{")) && line.ends_with('}'));
                if let Some(line) = line {
                    return serde_json::from_str::<Value>(&line[lead.len()..]).expect("a command");
                }
            }
        })
        .await;
        assert_eq!(told["id"], id.as_str());
        let lease = told["lease"].as_u64().expect("a lease");
        let taken = Taken { id: id.replace(' ', "%20").replace(':', "%3A"), lease, told };
        runner.completes(&taken).await;
        assert_eq!(alice.answer(&id).await.0, "command.completed");
    }
}
