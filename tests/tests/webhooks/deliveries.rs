//! Every event that a webhook asks for arrives, in order, at least once, whoever dies on the way.

use std::collections::HashMap;
use std::time::Duration;

use serde_json::json;
use tidings_tests::service::Service;

use crate::{Call, Receiver, calling, hook, ids, say, set, told, who_delivers};
use tidings_tests::receiver::Does;

/// What each call must be, and what all of them together: what is sent again is sent as it was.
fn sound(calls: &[Call]) {
    let mut bodies: HashMap<&str, &[u8]> = HashMap::new();
    for call in calls {
        assert!(call.is_signed(), "{call:?}");
        assert_eq!((&call.body["project"], &call.body["webhook"]), (&json!("hive"), &json!("w")));
        let before = bodies.insert(call.id(), &call.raw);
        assert!(before.is_none_or(|before| before == call.raw), "one id, two bodies: {}", call.id());
    }
}

/// Events of every second type are for the webhook.
fn mixed(ids: &[String]) -> Vec<(&'static str, String)> {
    let kind = |at: usize| if at.is_multiple_of(2) { "deploy" } else { "other.kind" };
    ids.iter().enumerate().map(|(at, id)| (kind(at), id.clone())).collect()
}

/// Those that are.
fn wanted(ids: &[String]) -> Vec<String> {
    ids.iter().step_by(2).cloned().collect()
}

#[tokio::test(flavor = "multi_thread")]
async fn nothing_is_lost_when_the_ingest_that_delivers_is_killed() {
    let mut cluster = calling().ingests(2).durable().start().await;
    let receiver = Receiver::slow(Duration::from_millis(50)).await;
    let all = ids(0, 4_000);
    let addresses: Vec<_> = cluster.ingests.iter().map(Service::address).collect();
    say(addresses[0], &mixed(&ids(10_000, 10))).await;
    hook(addresses[0], &receiver.url(), &["deploy"]).await;
    let busy = who_delivers(&cluster.ingests).await;
    for batch in all[..2_000].chunks(100) {
        say(addresses[busy], &mixed(batch)).await;
    }
    receiver.until("some deliveries", |calls| calls.len() > 3).await;
    cluster.ingests[busy].process.kill();
    let calls = receiver.calls().len();
    for batch in all[2_000..].chunks(100) {
        say(addresses[1 - busy], &mixed(batch)).await;
    }
    let expected = wanted(&all);
    let calls = receiver.until("all events", |all| all.len() > calls && told(all).len() >= expected.len()).await;
    assert_eq!(told(&calls), expected);
    sound(&calls);
}

#[tokio::test(flavor = "multi_thread")]
async fn an_ingest_that_stops_hands_over_without_a_repetition() {
    let mut cluster = calling().ingests(2).start().await;
    let receiver = Receiver::slow(Duration::from_millis(100)).await;
    let addresses: Vec<_> = cluster.ingests.iter().map(Service::address).collect();
    hook(addresses[0], &receiver.url(), &[]).await;
    let busy = who_delivers(&cluster.ingests).await;
    let all = ids(0, 1_000);
    let events: Vec<_> = all.iter().map(|id| ("deploy", id.clone())).collect();
    say(addresses[1 - busy], &events).await;
    receiver.until("some deliveries", |calls| calls.len() > 2).await;
    cluster.ingests[busy].process.signal("TERM");
    assert!(cluster.ingests[busy].process.ended().await.success());
    let calls = receiver.until("all events", |calls| told(calls).len() >= all.len()).await;
    assert_eq!(told(&calls), all);
    assert_eq!(calls.iter().map(|call| call.events().len()).sum::<usize>(), all.len(), "each once");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_receiver_that_was_down_gets_everything_when_it_is_back() {
    let cluster = calling().start().await;
    let receiver = Receiver::start().await;
    let ingest = cluster.ingests[0].address();
    let wrong = |status| Does::Answers(status, String::new());
    receiver.next([wrong(500), Does::HangsUp, wrong(404), wrong(429)]);
    hook(ingest, &receiver.url(), &["deploy"]).await;
    let all = ids(0, 20);
    say(ingest, &mixed(&all[..4])).await;
    receiver.until("a first call", |calls| !calls.is_empty()).await;
    say(ingest, &mixed(&all[4..])).await;
    let calls = receiver.until("all events", |calls| told(calls).len() >= 10).await;
    assert_eq!(told(&calls), wanted(&all));
    sound(&calls);
    let attempts: Vec<&str> = calls.iter().map(|call| call.header("tidings-attempt")).collect();
    assert_eq!(attempts[..5], ["1", "2", "3", "4", "5"]);
    assert!(calls[..5].iter().all(|call| call.id() == calls[0].id()), "one delivery");
    assert_eq!(calls[0].path, "/in?key=hidden");
    let output = cluster.ingests[0].process.output();
    assert!(output.contains("a delivery failed") && !output.contains("hidden"), "{output}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_receiver_that_is_gone_hears_nothing_until_its_settings_change() {
    let cluster = calling().start().await;
    let (receiver, other) = (Receiver::start().await, Receiver::start().await);
    let ingest = cluster.ingests[0].address();
    receiver.always(Does::Answers(410, String::new()));
    hook(ingest, &receiver.url(), &[]).await;
    let both = json!({"webhooks": {"other": {"url": other.url(), "secret": crate::SECRET}}});
    assert_eq!(set(ingest, &both).await.status, 200);
    let all = ids(0, 2);
    say(ingest, &[("deploy", all[0].clone())]).await;
    receiver.until("a first call", |calls| !calls.is_empty()).await;
    say(ingest, &[("deploy", all[1].clone())]).await;
    other.until("both events", |calls| told(calls) == all).await;
    assert_eq!(receiver.calls().len(), 1);
    receiver.always(Does::Answers(204, String::new()));
    hook(ingest, &receiver.url(), &["deploy"]).await;
    receiver.until("both events", |calls| told(calls) == all).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn across_a_failover_nothing_is_lost() {
    let mut cluster = calling().ingests(2).replicated().links_can_be_cut().start().await;
    let receiver = Receiver::start().await;
    let ingest = cluster.ingests[0].address();
    hook(ingest, &receiver.url(), &["deploy"]).await;
    let all = ids(0, 400);
    say(ingest, &mixed(&all[..200])).await;
    receiver.until("the first events", |calls| told(calls).len() >= 100).await;
    cluster.replicated().await;
    cluster.cut_replication();
    // The replica lacks these, and where the webhook is: ingests put the events back, and it goes on from where it was.
    say(ingest, &mixed(&all[200..300])).await;
    receiver.until("what the replica lacks", |calls| told(calls).len() >= 150).await;
    cluster.redis().kill();
    cluster.fail_over().await;
    let later: Vec<_> = all[300..].to_vec();
    let posted = tidings_tests::wait::eventually("an ingest that takes events", async || {
        let events: Vec<_> =
            mixed(&later).iter().map(|(kind, id)| json!({"type": kind, "id": id, "data": {}})).collect();
        let answer = tidings_tests::http::post_json(ingest, "/v1/projects/hive/events", &json!(events)).await;
        answer.ok().filter(|answer| answer.status == 200)
    })
    .await;
    assert_eq!(posted.status, 200);
    let last = &all[398];
    let calls = receiver.until("the last event", |calls| told(calls).contains(last)).await;
    let mut told = told(&calls);
    assert!(told.iter().any(|word| word == "failover"), "{told:?}");
    told.retain(|word| word != "failover");
    let mut expected = wanted(&all);
    // What was put back may stand behind what came later.
    told.sort();
    expected.sort();
    assert_eq!(told, expected);
    for call in &calls {
        assert!(call.is_signed());
    }
}
