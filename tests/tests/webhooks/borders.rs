//! What is not called, whatever settings and receivers say.

use serde_json::json;
use tidings_tests::cluster::Cluster;

use crate::{PROJECT, Receiver, SECRET, calling, has_result, hook, ids, say, set, told};
use tidings_tests::receiver::Does;

#[tokio::test(flavor = "multi_thread")]
async fn addresses_inside_are_not_called_unless_they_are_allowed() {
    let receiver = Receiver::start().await;
    let cluster = Cluster::on_redis().start().await;
    let ingest = &cluster.ingests[0];
    // What its address says is refused when it is set.
    for url in [receiver.url(), format!("https://127.1:{}/", receiver.port()), "http://example.com/".to_owned()] {
        let webhook = json!({"url": url, "secret": SECRET});
        let answer = set(ingest.address(), &json!({"webhooks": {"w": webhook}})).await;
        let problem = answer.json();
        assert_eq!((answer.status, &problem["errors"][0]["field"]), (422, &json!("webhooks.w.url")), "{problem}");
    }
    // Where a name leads is seen when it is called.
    hook(ingest.address(), &format!("https://localhost:{}/", receiver.port()), &[]).await;
    say(ingest.address(), &[("deploy", "e".to_owned())]).await;
    has_result(ingest, "address").await;
    assert!(receiver.calls().is_empty());
}

#[tokio::test(flavor = "multi_thread")]
async fn a_redirect_is_not_followed() {
    let cluster = calling().start().await;
    let (receiver, elsewhere) = (Receiver::start().await, Receiver::start().await);
    let ingest = &cluster.ingests[0];
    receiver.next([Does::Redirects(elsewhere.url())]);
    hook(ingest.address(), &receiver.url(), &[]).await;
    let all = ids(0, 1);
    say(ingest.address(), &[("deploy", all[0].clone())]).await;
    receiver.until("the event, and again", |calls| calls.len() == 2).await;
    has_result(ingest, "redirect").await;
    assert!(elsewhere.calls().is_empty());
    assert_eq!(told(&receiver.calls()), all);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_project_that_is_deleted_calls_nobody() {
    let cluster = calling().start().await;
    let receiver = Receiver::start().await;
    let ingest = cluster.ingests[0].address();
    hook(ingest, &receiver.url(), &[]).await;
    let all = ids(0, 20);
    say(ingest, &[("deploy", all[0].clone())]).await;
    receiver.until("the event", |calls| told(calls) == all[..1]).await;
    let gone = tidings_tests::http::delete(ingest, &format!("/v1/projects/{PROJECT}")).await.expect("an answer");
    assert_eq!(gone.status, 200, "{}", gone.text());
    let shown = set(ingest, &json!({})).await.json();
    assert_eq!(shown["settings"].get("webhooks"), None);
    // Somebody else takes the name at once.
    let witness = Receiver::start().await;
    let theirs = json!({"webhooks": {"theirs": {"url": witness.url(), "secret": SECRET}}});
    assert_eq!(set(ingest, &theirs).await.status, 200);
    for id in &all[1..] {
        say(ingest, &[("deploy", id.clone())]).await;
        witness.until("their event", |calls| told(calls).contains(id)).await;
    }
    let told = told(&receiver.calls());
    assert!(!all[1..].iter().any(|id| told.contains(id)), "{told:?}");
}
