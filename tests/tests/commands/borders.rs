//! What a credential may not say: answers to commands that it does not have, decisions in another's name.

use serde_json::{Value, json};
use tidings_tests::http::{self, Answer};
use tidings_tests::tokens::token;
use tidings_tests::wait::eventually;

use crate::{Dashboard, PROJECT, Runner, secured};

const EVENTS: &str = "/v1/projects/hive/events";

fn resolved(session: &str, approval: &str, by: &str) -> Value {
    let data = json!({"approval_id": approval, "decision": "yes", "by": by});
    json!({"type": "approval.resolved", "session": session, "data": data})
}

/// Publishes a line; what its line says.
async fn publishes_line(runner: &Runner, event: &Value) -> Value {
    let bearer = format!("Bearer {}", runner.token);
    let headers = [("content-type", "application/x-ndjson"), ("authorization", bearer.as_str())];
    let answer = http::post(runner.ingest, EVENTS, &headers, format!("{event}\n")).await.expect("an answer");
    serde_json::from_str(answer.text().lines().next().expect("a line")).expect("JSON")
}

#[tokio::test(flavor = "multi_thread")]
async fn who_publishes_answers_no_command() {
    let cluster = secured().start().await;
    let ingest = cluster.ingests[0].address();
    let mut alice = Dashboard::open("alice", &[cluster.gateways[0].address()]).await;
    let runner = Runner::new("r1", ingest);
    runner.is_there().await;
    alice.asks(&json!({"type": "chat", "id": "c-1"})).await;
    for kind in ["command.completed", "command.failed", "command.accepted", "command.progress"] {
        let forged = json!({"type": kind, "data": {"command_id": "c-1", "code": "x", "error": "y"}});
        let answer = runner.post(EVENTS, &forged).await;
        assert_eq!((answer.status, answer.code().as_str()), (422, "reserved"), "{}", answer.text());
        assert_eq!(answer.json()["errors"][0]["field"], "type");
        let line = publishes_line(&runner, &forged).await;
        assert_eq!(line["error"]["code"], "reserved", "{line}");
    }
    let taken = runner.takes_one().await;
    runner.completes(&taken).await;
    assert_eq!(alice.answer("c-1").await.0, "command.completed");
    assert_eq!(alice.answers(ingest, "c-1").await, 1);
}

#[tokio::test(flavor = "multi_thread")]
async fn an_event_answers_one_command() {
    let cluster = secured().start().await;
    let ingest = cluster.ingests[0].address();
    let mut alice = Dashboard::open("alice", &[cluster.gateways[0].address()]).await;
    let runner = Runner::new("r1", ingest);
    runner.is_there().await;
    alice.asks(&json!({"type": "chat", "id": "c-1"})).await;
    alice.asks(&json!({"type": "chat", "id": "c-2"})).await;
    let taken = runner.takes(10, 5).await;
    let done = json!({"type": "command.completed", "id": "e-1"});
    runner.says(&taken[0], &done).await;
    let refused = runner.posts(&taken[1], &done).await;
    assert_eq!((refused.status, refused.code().as_str()), (422, "invalid_event"), "{}", refused.text());
    assert_eq!(refused.json()["errors"][0]["field"], "id");
    assert_eq!(alice.answers(ingest, "c-2").await, 0);
    // It has it still.
    runner.says(&taken[1], &json!({"type": "command.completed", "id": "e-2"})).await;
    assert_eq!(alice.answer("c-2").await.0, "command.completed");
    assert_eq!((alice.answers(ingest, "c-1").await, alice.answers(ingest, "c-2").await), (1, 1));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_decision_is_its_publishers() {
    let cluster = secured().start().await;
    let ingest = cluster.ingests[0].address();
    let mut alice = Dashboard::open("alice", &[cluster.gateways[0].address()]).await;
    let mallory = Runner { token: token("mallory", PROJECT, "publish"), ..Runner::new("mallory", ingest) };
    let forged = mallory.post(EVENTS, &resolved("s", "a", "alice")).await;
    assert_eq!((forged.status, forged.code().as_str()), (403, "forbidden"), "{}", forged.text());
    let line = publishes_line(&mallory, &resolved("s", "a", "alice")).await;
    assert_eq!(line["error"]["code"], "forbidden", "{line}");
    let runner = Runner::new("r1", ingest);
    let open = runner.get("approvals/a?session=s").await.json();
    assert_eq!(open["status"], "open");
    runner.publishes(&resolved("s", "a", "alice")).await;
    let told = runner.get("approvals/a?session=s").await.json();
    assert_eq!((&told["decision"], &told["by"]), (&json!("yes"), &json!("r1")));
    let line = publishes_line(&runner, &resolved("s", "b", "alice")).await;
    assert_eq!(line["status"], "appended", "{line}");
    for approval in ["a", "b"] {
        let is_it = |event: &Value| event["data"]["approval_id"] == approval;
        assert_eq!(alice.sees("a decision", is_it).await["data"]["by"], "r1", "{approval}");
    }
}

fn asked(session: &str, approval: &str) -> Value {
    let data = json!({"approval_id": approval, "question": "?", "options": ["yes", "no"]});
    json!({"type": "approval.requested", "session": session, "data": data})
}

#[tokio::test(flavor = "multi_thread")]
async fn sessions_number_their_approvals_alike() {
    let cluster = secured().start().await;
    let runner = Runner::new("r1", cluster.ingests[0].address());
    let mut alice = Dashboard::open("alice", &[cluster.gateways[0].address()]).await;
    let answer = |id: &str, session: &str, decision: &str| {
        json!({"type": "approval.answer", "id": id, "session": session,
            "data": {"approval_id": "1", "decision": decision}})
    };
    let stands = async |session: &str| runner.get(&format!("approvals/1?session={session}")).await.json();
    for session in ["s1", "s2"] {
        runner.publishes(&asked(session, "1")).await;
    }
    assert_eq!(alice.asks(&answer("one", "s1", "yes")).await, "answered");
    assert_eq!((&stands("s1").await["decision"], &stands("s2").await["status"]), (&json!("yes"), &json!("open")));
    assert_eq!(alice.asks(&answer("two", "s2", "no")).await, "answered");
    assert_eq!(alice.answer("two").await.0, "command.completed");
    assert_eq!((&stands("s1").await["decision"], &stands("s2").await["decision"]), (&json!("yes"), &json!("no")));
    let nobody: Answer = runner.get("approvals/1").await;
    assert_eq!((nobody.status, nobody.code().as_str()), (400, "invalid_parameter"), "{}", nobody.text());
}

#[tokio::test(flavor = "multi_thread")]
async fn who_only_took_commands_may_say_that_it_goes() {
    let cluster = secured().start().await;
    let runner = Runner::new("r1", cluster.ingests[0].address());
    let mut alice = Dashboard::open("alice", &[cluster.gateways[0].address()]).await;
    runner.is_there().await;
    let url = format!("http://{}/v1/projects/{PROJECT}/runners/r1", runner.ingest);
    let goes = async || {
        let request = http::client().delete(&url).header("authorization", format!("Bearer {}", runner.token));
        Answer::read(request.send().await.expect("an answer")).await.expect("a whole answer").status
    };
    assert_eq!(goes().await, 204);
    assert_eq!(alice.is_refused(&json!({"type": "chat"})).await, "no_runner");
    assert_eq!(goes().await, 404);
}

#[tokio::test(flavor = "multi_thread")]
async fn what_redaction_finds_is_told_nobody() {
    let folder = tempfile::tempdir().expect("a folder");
    let file = folder.path().join("declared.toml");
    std::fs::write(&file, format!("[[settings]]\nprojects = [\"{PROJECT}\"]\nredaction = {{ builtin = true }}\n"))
        .expect("a file");
    let cluster = secured().set("TIDINGS_AUTH__DECLARED_FILE", file.display()).start().await;
    let (gateway, ingest) = (cluster.gateways[0].address(), cluster.ingests[0].address());
    let mut alice = Dashboard::open("alice", &[gateway]).await;
    let runner = Runner::new("r1", ingest);
    runner.is_there().await;
    runner.publishes(&asked("s", "a")).await;
    let data = json!({"approval_id": "a", "decision": "no", "reason": "it has password=hunter2 in it"});
    let answer = json!({"type": "approval.answer", "id": "answer", "session": "s", "data": data});
    assert_eq!(alice.asks(&answer).await, "answered");
    let told = runner.get("approvals/a?session=s").await.json();
    let reason = told["reason"].as_str().expect("a reason");
    assert!(reason.starts_with("it has") && !reason.contains("hunter2"), "{told}");
    let resolved = alice.sees("the decision", |event| event["type"] == "approval.resolved").await;
    assert!(!resolved.to_string().contains("hunter2"), "{resolved}");

    // What is for one viewer stays no part of the state that all see, redacted or not.
    alice.asks(&json!({"type": "chat", "id": "c-1", "session": "s"})).await;
    let taken =
        eventually("the chat", async || runner.takes(10, 5).await.into_iter().find(|taken| taken.id == "c-1")).await;
    let log = json!({"type": "log", "data": {"level": "info", "message": "whispered password=hunter2"}});
    runner.says(&taken, &log).await;
    let log = alice.sees("the log", |event| event["type"] == "log").await.to_string();
    assert!(log.contains("whispered") && !log.contains("hunter2"), "{log}");
    let url = format!("http://{gateway}/v1/projects/{PROJECT}/sessions/s/logs");
    let request = http::client().get(url).header("authorization", format!("Bearer {}", alice.token));
    let logs = Answer::read(request.send().await.expect("an answer")).await.expect("a whole answer").text();
    assert!(!logs.contains("whispered"), "{logs}");
}
