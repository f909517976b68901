//! Answers are for who asked: no read path tells them to anybody else.

use serde_json::json;
use tidings_tests::http::{self, Answer};
use tidings_tests::tokens::token;
use tidings_tests::wait::within;

use crate::{Dashboard, PROJECT, Runner, secured};

/// A word that only the answers have.
const WORD: &str = "whispered";

#[tokio::test(flavor = "multi_thread")]
async fn only_who_asked_reads_the_answers() {
    let cluster = secured().start().await;
    let (gateway, ingest) = (cluster.gateways[0].address(), cluster.ingests[0].address());
    let runner = Runner::new("r1", ingest);
    runner.is_there().await;
    let mut alice = Dashboard::open("alice", &[gateway]).await;
    let mut bob = Dashboard::open("bob", &[gateway]).await;
    alice.asks(&json!({"type": "chat", "id": "c-1", "session": "s"})).await;
    let taken = runner.takes_one().await;
    runner.says(&taken, &json!({"type": "log", "data": {"level": "info", "message": WORD}})).await;
    let public = json!({"type": "log", "data": {"level": "info", "message": "aloud"}});
    let answer = runner.posts_with(&taken, "&to=everyone", &public).await;
    assert_eq!(answer.status, 200, "{}", answer.text());
    runner.says(&taken, &json!({"type": "command.completed", "data": {"result": WORD}})).await;
    assert_eq!((alice.answers(ingest, "c-1").await, bob.answers(ingest, "c-1").await), (1, 0));
    assert!(bob.events.iter().any(|event| event["data"]["message"] == "aloud"));
    assert!(!bob.events.iter().any(|event| event.to_string().contains(WORD)));

    let read = async |user: &str, path: &str, accept: &str| {
        let request = http::client().get(format!("http://{gateway}/v1/projects/{PROJECT}/{path}"));
        let request = request.header("authorization", format!("Bearer {}", token(user, PROJECT, "read")));
        let mut answer = request.header("accept", accept).send().await.expect("an answer");
        assert_eq!(answer.status(), 200, "{path}");
        if accept != "text/event-stream" {
            return Answer::read(answer).await.expect("a whole answer").text();
        }
        within("the end of the stream", async {
            let mut text = String::new();
            while !text.contains("sentinel") {
                let chunk = answer.chunk().await.expect("it goes on").expect("it goes on");
                text.push_str(&String::from_utf8_lossy(&chunk));
            }
            text
        })
        .await
    };
    for (path, accept, state) in [
        ("events?after=start", "application/json", false),
        ("events?before=now", "application/json", false),
        ("events?after=start", "text/event-stream", false),
        ("export?format=json", "application/json", false),
        ("export?format=csv", "text/csv", false),
        ("export?format=txt", "text/plain", false),
        ("snapshot", "application/json", true),
        ("sessions/s/logs", "application/json", true),
    ] {
        let (hers, his) = (read("alice", path, accept).await, read("bob", path, accept).await);
        assert!(his.contains("aloud") && !his.contains(WORD), "{path} {accept}: {his}");
        // What one viewer alone is told is no part of anybody's state.
        assert_eq!(hers.contains(WORD), !state, "{path} {accept}: {hers}");
    }
    // And everything behind it tells him nothing more.
    assert_eq!(bob.answers(ingest, "c-1").await, 0);
    assert!(!bob.events.iter().any(|event| event.to_string().contains(WORD)));
}
