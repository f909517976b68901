//! Scenario 9: a project whose acknowledgements wait for replicas, and a replica that stops between the append and the
//! wait: no retry by any ingest is acknowledged until it is back, and after its promotion the event is there.

use std::net::SocketAddr;

use serde_json::json;
use tidings_tests::cluster::{Cluster, PROJECT};
use tidings_tests::http::{self, Answer};
use tidings_tests::wait::eventually;

/// Posts one event of this id.
async fn post(ingest: SocketAddr, id: &str) -> Answer {
    let event = json!([{"type": "log", "id": id, "session": "s", "data": {"level": "info", "message": id}}]);
    http::post_json(ingest, &format!("/v1/projects/{PROJECT}/events"), &event).await.expect("ingest answers")
}

/// Posts it as often as a runner would, until it is acknowledged.
async fn acknowledged(ingest: SocketAddr, id: &str) -> String {
    let acknowledged = async || {
        let answer = post(ingest, id).await;
        let text = answer.json()["results"][0]["status"].as_str().map(str::to_owned);
        text.filter(|_| answer.status == 200)
    };
    eventually("it is acknowledged", acknowledged).await
}

#[tokio::test(flavor = "multi_thread")]
async fn nothing_is_acknowledged_that_a_replica_lacks() {
    let mut cluster = Cluster::on_redis()
        .ingests(2)
        .replicated()
        .set("TIDINGS_PROJECTS__WAIT_REPLICAS", 1)
        .set("TIDINGS_PROJECTS__WAIT_TIMEOUT_MS", 200)
        .set("TIDINGS_INGEST__DEADLINE_MS", 1_500)
        .start()
        .await;
    let [one, two] = [cluster.ingests[0].address(), cluster.ingests[1].address()];
    acknowledged(one, "first").await;
    acknowledged(two, "second").await;

    // From here on what is appended waits in vain.
    cluster.replica.as_ref().expect("there is one").0.pause();
    for ingest in [one, two] {
        let answer = post(ingest, "precious").await;
        assert_eq!((answer.status, answer.code().as_str()), (504, "outcome_unknown"), "{}", answer.text());
    }
    // What comes behind a call that waits was not taken.
    for (ingest, id) in [(one, "precious"), (two, "precious"), (two, "first")] {
        let answer = post(ingest, id).await;
        assert!(matches!(answer.status, 503 | 504), "{}", answer.text());
    }

    cluster.replica.as_ref().expect("there is one").0.resume();
    assert_eq!(acknowledged(two, "precious").await, "duplicate");
    acknowledged(one, "precious").await;
    cluster.redis().kill();
    cluster.fail_over().await;
    let gateway = cluster.gateways[0].address();
    let export = eventually("the replica has it", async || {
        let answer = http::get(gateway, &format!("/v1/projects/{PROJECT}/export")).await.ok()?;
        let all = answer.text();
        (answer.status == 200 && all.contains("precious")).then_some(all)
    })
    .await;
    assert_eq!(export.matches(r#""id":"precious""#).count(), 1, "{export}");
    assert!(export.contains("first") && export.contains("second"));
    // Nobody follows the new primary.
    assert!(matches!(post(one, "lonely").await.status, 503 | 504));
}
