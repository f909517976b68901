//! The matrix of kills: a gateway, an ingest and a runner die while one command waits, one is leased and one is worked on.
//! Whatever dies when, each of them gets exactly one final answer at who asked.

use serde_json::{Value, json};
use tidings_tests::cluster::Cluster;
use tidings_tests::http;
use tidings_tests::service::Service;
use tidings_tests::wait::eventually;

use crate::{Dashboard, Runner, Taken, secured};

/// How far each command has come.
const STAGES: [&str; 3] = ["before-lease", "before-acknowledgement", "before-answer"];

fn command(id: &str) -> Value {
    json!({"type": "chat", "id": id, "data": {"text": id}, "deadline_ms": 600_000})
}

struct Scene {
    cluster: Cluster,
    alice: Dashboard,
    runner: Runner,
    /// By the runner: not accepted, and accepted.
    leased: Taken,
    accepted: Taken,
}

/// A command at each stage.
async fn scene() -> Scene {
    let cluster =
        secured().gateways(2).ingests(2).set("TIDINGS_PROJECTS__COMMAND_LEASE_MS", 5_000).durable().start().await;
    let gateways: Vec<_> = cluster.gateways.iter().map(Service::address).collect();
    let mut alice = Dashboard::open("alice", &gateways).await;
    let runner = Runner::new("r1", cluster.ingests[0].address());
    runner.is_there().await;
    alice.asks(&command(STAGES[2])).await;
    let accepted = runner.takes_one().await;
    runner.accepts(&accepted).await;
    alice.asks(&command(STAGES[1])).await;
    let leased = runner.takes_one().await;
    alice.asks(&command(STAGES[0])).await;
    assert_eq!((accepted.id.as_str(), leased.id.as_str()), (STAGES[2], STAGES[1]));
    Scene { cluster, alice, runner, leased, accepted }
}

impl Scene {
    /// The runner works on, wherever it has to go.
    async fn works_on(&self, runner: &Runner) {
        runner.completes(&self.accepted).await;
        // It may have been handed on meanwhile, to the same runner.
        let answer = runner.posts(&self.leased, &json!({"type": "command.completed"})).await;
        assert!(matches!(answer.status, 200 | 409), "{}", answer.text());
        while let Some(taken) = runner.takes(1, 10).await.pop() {
            runner.completes(&taken).await;
        }
    }

    /// Each has its one answer.
    async fn audit(&mut self, ingest: std::net::SocketAddr, expected: [&str; 3]) {
        for (id, expected) in STAGES.into_iter().zip(expected) {
            let (kind, data) = self.alice.answer(id).await;
            let code = data["code"].as_str().unwrap_or(&kind);
            assert_eq!(code, expected, "{id}: {data}");
            assert_eq!(self.alice.answers(ingest, id).await, 1, "{id}");
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_gateway_dies() {
    let mut scene = scene().await;
    scene.cluster.gateways[0].process.kill();
    let ingest = scene.cluster.ingests[0].address();
    // The asker comes back at the other one, and asks again under the same ids.
    let standing = [scene.alice.asks(&command(STAGES[0])).await, scene.alice.asks(&command(STAGES[2])).await];
    assert_eq!(standing, ["queued", "accepted"]);
    scene.works_on(&scene.runner).await;
    scene.audit(ingest, ["command.completed"; 3]).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_gateway_dies_and_nobody_answers() {
    let mut scene = scene().await;
    let short = json!({"type": "chat", "id": "short", "deadline_ms": 2_000});
    scene.alice.asks(&short).await;
    scene.cluster.gateways[0].process.kill();
    // Nobody but an ingest knows of it any more.
    let (kind, data) = scene.alice.answer("short").await;
    assert_eq!((kind.as_str(), &data["code"]), ("command.failed", &json!("deadline")));
    let ingest = scene.cluster.ingests[0].address();
    assert_eq!(scene.alice.answers(ingest, "short").await, 1);
}

#[tokio::test(flavor = "multi_thread")]
async fn an_ingest_dies() {
    let mut scene = scene().await;
    scene.cluster.ingests[0].process.kill();
    let other = scene.cluster.ingests[1].address();
    let moved = Runner { ingest: other, ..Runner::new("r1", other) };
    scene.works_on(&moved).await;
    scene.audit(other, ["command.completed"; 3]).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_runner_dies() {
    let mut scene = scene().await;
    let ingest = scene.cluster.ingests[1].address();
    // What it accepted is lost with it; the rest another one gets. It says that it is there until the first has lapsed.
    let other = Runner::new("r2", ingest);
    let mut left = vec![STAGES[0], STAGES[1]];
    while !left.is_empty() {
        for taken in other.takes(10, 5).await {
            left.retain(|id| *id != taken.id);
            other.completes(&taken).await;
        }
    }
    scene.audit(ingest, ["command.completed", "command.completed", "runner_lost"]).await;
    // It was only slow, and comes back.
    let late = scene.runner.posts(&scene.leased, &json!({"type": "command.completed"})).await;
    assert_eq!((late.status, late.code().as_str()), (409, "already_answered"));
    let late = scene.runner.posts(&scene.accepted, &json!({"type": "command.completed"})).await;
    assert_eq!((late.status, late.code().as_str()), (409, "already_answered"));
    scene.audit(ingest, ["command.completed", "command.completed", "runner_lost"]).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_runner_with_a_session_dies() {
    let cluster = secured().start().await;
    let ingest = cluster.ingests[0].address();
    let mut alice = Dashboard::open("alice", &[cluster.gateways[0].address()]).await;
    let runner = Runner::new("r1", ingest);
    runner.is_there().await;
    let started = json!({"type": "session.started", "session": "s", "runner": "r1", "data": {"title": "t"}});
    runner.publishes(&started).await;
    let lost = alice.sees("the loss of a session", |event| event["type"] == "session.lost").await;
    assert_eq!((&lost["session"], &lost["data"]["runner"]), (&json!("s"), &json!("r1")));
    let first = alice.events.iter().find(|event| event["type"] == "session.started").expect("it was told");
    assert_eq!(lost["data"]["last_event"], first["position"]);
    alice.answers(ingest, "none").await;
    assert_eq!(alice.events.iter().filter(|event| event["type"] == "session.lost").count(), 1);
}

#[tokio::test(flavor = "multi_thread")]
async fn who_answers_for_a_session_does_not_take_it_with_him() {
    let cluster = secured().start().await;
    let ingest = cluster.ingests[0].address();
    let mut alice = Dashboard::open("alice", &[cluster.gateways[0].address()]).await;
    let (builder, helper) = (Runner::new("builder", ingest), Runner::new("helper", ingest));
    // It publishes, and takes no commands.
    let started = json!({"type": "session.started", "session": "s", "runner": "builder", "data": {"title": "t"}});
    builder.publishes(&started).await;
    helper.is_there().await;
    for session in ["s", "chat-ann"] {
        alice.asks(&json!({"type": "chat", "id": session, "session": session, "data": {"text": "hello"}})).await;
        let taken = helper.takes_one().await;
        let said = json!({"type": "message.completed", "data": {"message_id": "m", "role": "assistant", "text": "hi"}});
        let answer = helper.posts_with(&taken, "&to=everyone", &said).await;
        assert_eq!(answer.status, 200, "{}", answer.text());
        helper.completes(&taken).await;
    }
    // It is there until it has said that it goes, and has a session of its own then.
    let own = json!({"type": "session.started", "session": "own", "runner": "helper", "data": {"title": "t"}});
    helper.publishes(&own).await;
    let good_bye = http::client().delete(format!("http://{ingest}/v1/projects/hive/runners/helper"));
    let good_bye = good_bye.header("authorization", format!("Bearer {}", helper.token)).send().await;
    assert!(good_bye.expect("an answer").status().is_success());
    let lost = alice.sees("the loss of a session", |event| event["type"] == "session.lost").await;
    assert_eq!(lost["session"], "own");
    alice.answers(ingest, "none").await;
    let lost: Vec<_> = alice.events.iter().filter(|event| event["type"] == "session.lost").collect();
    assert_eq!(lost.len(), 1, "{lost:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn the_store_loses_everything() {
    let mut cluster = secured().start().await;
    let ingest = cluster.ingests[0].address();
    let mut alice = Dashboard::open("alice", &[cluster.gateways[0].address()]).await;
    let runner = Runner::new("r1", ingest);
    runner.is_there().await;
    alice.asks(&json!({"type": "chat", "id": "c-1", "deadline_ms": 600_000})).await;
    cluster.redis().kill();
    cluster.redis().restart().await;
    // The gateway puts it again, as soon as a runner is there again.
    let taken = eventually("the command comes again", async || {
        let answer = runner.get("commands?runner=r1&capability=chat&wait=2").await;
        let told = answer.json()["commands"].as_array()?.first()?.clone();
        Some(Taken { id: told["id"].as_str()?.to_owned(), lease: told["lease"].as_u64()?, told })
    })
    .await;
    assert_eq!(taken.id, "c-1");
    runner.completes(&taken).await;
    assert_eq!(alice.answer("c-1").await.0, "command.completed");
    assert_eq!(alice.answers(ingest, "c-1").await, 1);
}
