//! Answers that are for everybody, time that a runner asks for, and askers who ask too much.

use std::time::Instant;

use futures_util::future::join_all;
use serde_json::{Value, json};
use tidings_tests::http::{self, Answer};
use tidings_tests::tokens::token;
use tidings_tests::wait::within;

use crate::{Dashboard, PROJECT, Runner, Taken, secured};

/// How long a command may wait to be accepted, in milliseconds: the least there is.
const LEASE_MS: u64 = 1_000;
/// Commands that an asker may send in a second, and at once.
const RATE: f64 = 1.0;
const BURST: f64 = 4.0;

#[tokio::test(flavor = "multi_thread")]
async fn where_the_project_says_so_everyone_gets_the_answers() {
    // It asks until the settings have arrived.
    let cluster = secured().gateways(2).set("TIDINGS_LIMITS__COMMANDS_PER_SECOND", 10_000).start().await;
    let ingest = cluster.ingests[0].address();
    let [one, two] = [0, 1].map(|index| cluster.gateways[index].address());
    let runner = Runner::new("r1", ingest);
    runner.is_there().await;
    let mut alice = Dashboard::open("alice", &[one]).await;
    let mut bob = Dashboard::open("bob", &[two]).await;
    let mut is_answered = async |id: String| {
        alice.asks(&json!({"type": "chat", "id": id, "session": "s"})).await;
        let taken = runner.takes_one().await;
        runner.accepts(&taken).await;
        runner.completes(&taken).await;
        // Whoever gets it knows whose question it was.
        let (_, data) = alice.answer(&id).await;
        assert_eq!((&data["by"], &data["result"]), (&json!("alice"), &json!({"by": "r1"})));
        assert_eq!(alice.answers(ingest, &id).await, 1);
        let is_accepted = |event: &&Value| event["type"] == "command.accepted" && event["data"]["command_id"] == *id;
        let told = bob.answers(ingest, &id).await;
        (bob.events.iter().filter(is_accepted).count(), told)
    };
    assert_eq!(is_answered("for-alice".to_owned()).await, (0, 0));
    let request = http::client().patch(format!("http://{ingest}/v1/projects/{PROJECT}/settings"));
    let request = request.bearer_auth(token("root", PROJECT, "admin"));
    let request = request.header("content-type", "application/merge-patch+json");
    let request = request.body(json!({"commands": {"answers": "everyone"}}).to_string());
    let set = Answer::read(request.send().await.expect("an answer")).await.expect("a whole answer");
    assert_eq!(set.status, 200, "{}", set.text());
    // Services hold settings for two seconds.
    let (mut asked, mut told) = (0, (0, 0));
    within("answers for everyone", async {
        while told == (0, 0) {
            asked += 1;
            told = Box::pin(is_answered(format!("for-all-{asked}"))).await;
        }
    })
    .await;
    // The one that came as it changed may have been accepted before.
    assert_eq!(told.1, 1);
    assert_eq!(is_answered("for-all".to_owned()).await, (1, 1));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_runner_that_asks_for_time_keeps_what_it_took() {
    let cluster = secured().set("TIDINGS_PROJECTS__COMMAND_LEASE_MS", LEASE_MS).start().await;
    let ingest = cluster.ingests[0].address();
    let mut alice = Dashboard::open("alice", &[cluster.gateways[0].address()]).await;
    let (one, two) = (Runner::new("r1", ingest), Runner::new("r2", ingest));
    one.is_there().await;
    let extends = async |runner: &Runner, taken: &Taken, query: &str| {
        let Taken { id, lease, .. } = taken;
        let path = format!("/v1/projects/{PROJECT}/commands/{id}/extend?runner={}&lease={lease}", runner.name);
        runner.post(&format!("{path}{query}"), &Value::Null).await
    };
    alice.asks(&json!({"type": "chat", "id": "held"})).await;
    let holding = within("it has time", async {
        loop {
            let taken = one.takes_one().await;
            let answer = extends(&one, &taken, "&for=60").await;
            if answer.status == 204 {
                return taken;
            }
            // The machine is slow: its lease was over by then.
            assert_eq!((answer.status, answer.code().as_str()), (409, "lease_lost"), "{}", answer.text());
        }
    });
    let held = Box::pin(holding).await;
    for query in ["", "&for=0", "&for=601"] {
        let refused = extends(&one, &held, query).await;
        let code = refused.code();
        assert_eq!((refused.status, code.as_str()), (400, "invalid_parameter"), "{query}: {}", refused.text());
    }
    alice.asks(&json!({"type": "chat", "id": "let-go"})).await;
    let let_go = one.takes_one().await;
    // Of the two the other runner gets the one whose time is over, and nothing else behind it.
    let handing_on = within("it is handed on", async {
        for lease in 2.. {
            let taken = two.takes_one().await;
            assert_eq!((taken.id.as_str(), taken.lease), ("let-go", lease));
            let answer =
                two.posts(&taken, &json!({"type": "command.completed", "data": {"result": {"by": "r2"}}})).await;
            if answer.status == 200 {
                return;
            }
            assert_eq!((answer.status, answer.code().as_str()), (409, "lease_lost"), "{}", answer.text());
        }
    });
    Box::pin(handing_on).await;
    two.is_there().await;
    let late = extends(&one, &let_go, "&for=60").await;
    assert_eq!((late.status, late.code().as_str()), (409, "already_answered"), "{}", late.text());
    let another = Taken { lease: held.lease + 1, ..held.clone() };
    let foreign = extends(&one, &another, "&for=60").await;
    assert_eq!((foreign.status, foreign.code().as_str()), (409, "lease_lost"), "{}", foreign.text());
    one.completes(&held).await;
    assert_eq!(alice.answer("held").await.1["result"], json!({"by": "r1"}));
    assert_eq!(alice.answer("let-go").await.1["result"], json!({"by": "r2"}));
}

#[tokio::test(flavor = "multi_thread")]
async fn an_asker_has_one_rate_over_all_gateways() {
    let cluster = secured().gateways(2).set("TIDINGS_LIMITS__COMMANDS_PER_SECOND", RATE).start().await;
    Runner::new("r1", cluster.ingests[0].address()).is_there().await;
    let asks = async |gateway, user: &str, id: String| {
        let request = http::client().post(format!("http://{gateway}/v1/projects/{PROJECT}/commands"));
        let request = request.bearer_auth(token(user, PROJECT, "command")).header("content-type", "application/json");
        let request = request.body(json!({"type": "chat", "id": id}).to_string());
        Answer::read(request.send().await.expect("an answer")).await.expect("a whole answer")
    };
    let gateways = [0, 1].map(|index| cluster.gateways[index].address());
    let (began, mut taken, mut refused) = (Instant::now(), 0.0, [0, 0]);
    // All at once: a slow machine takes its time for them together.
    let all = (0..40).map(|index| asks(gateways[index % 2], "alice", format!("c-{index}")));
    for (index, answer) in join_all(all).await.into_iter().enumerate() {
        if answer.status == 202 {
            taken += 1.0;
        } else {
            assert_eq!((answer.status, answer.code().as_str()), (429, "rate_limited"), "{}", answer.text());
            refused[index % 2] += 1;
        }
    }
    let most = BURST + RATE * (began.elapsed().as_secs_f64() + 1.0);
    assert!((BURST..=most).contains(&taken), "{taken} of at most {most}");
    assert!(refused.iter().all(|refused| *refused > 0), "{refused:?}");
    // It is hers alone.
    assert_eq!(asks(gateways[0], "bob", "b-1".to_owned()).await.status, 202);
}
