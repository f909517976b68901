//! Approvals: one answer wins over all dashboards, and everybody knows.

use serde_json::{Value, json};
use tidings_tests::cluster::Cluster;
use tidings_tests::http::{self, Answer};
use tidings_tests::service::Service;
use tidings_tests::tokens::now;
use tidings_tests::wait::within;

use crate::{Dashboard, Runner, secured};

fn requested(approval: &str, more: Value) -> Value {
    let mut data = json!({"approval_id": approval, "question": "?", "options": ["yes", "no"]});
    if let (Value::Object(data), Value::Object(more)) = (&mut data, more) {
        data.extend(more);
    }
    json!({"type": "approval.requested", "session": "s", "runner": "r1", "data": data})
}

fn answer(id: &str, approval: &str, decision: &str) -> Value {
    let data = json!({"approval_id": approval, "decision": decision, "reason": "so"});
    json!({"type": "approval.answer", "id": id, "session": "s", "data": data})
}

#[tokio::test(flavor = "multi_thread")]
async fn of_two_answers_at_once_one_stands_and_both_know() {
    let cluster = secured().gateways(2).start().await;
    let gateways: Vec<_> = cluster.gateways.iter().map(Service::address).collect();
    let ingest = cluster.ingests[0].address();
    let runner = Runner::new("r1", ingest);
    let mut alice = Dashboard::open("alice", &gateways[..1]).await;
    let mut bob = Dashboard::open("bob", &gateways[1..]).await;
    let mut won = [0, 0];
    for round in 0..20 {
        let approval = format!("a-{round}");
        runner.publishes(&requested(&approval, json!({}))).await;
        let (yes, no) = (format!("yes-{round}"), format!("no-{round}"));
        let (first, second) = (answer(&yes, &approval, "yes"), answer(&no, &approval, "no"));
        let both = tokio::join!(alice.asks(&first), bob.asks(&second));
        assert_eq!(both, ("answered".to_owned(), "answered".to_owned()));
        let (hers, his) = tokio::join!(alice.answer(&yes), bob.answer(&no));
        let stands = if hers.0 == "command.completed" { "yes" } else { "no" };
        won[usize::from(stands == "no")] += 1;
        let (winner, loser) = if stands == "yes" { (&hers, &his) } else { (&his, &hers) };
        assert_eq!((winner.0.as_str(), &winner.1["result"]["decision"]), ("command.completed", &json!(stands)));
        assert_eq!((loser.0.as_str(), &loser.1["code"]), ("command.failed", &json!("already_answered")));
        assert_eq!(loser.1["decision"], stands, "{loser:?}");
        assert_eq!(alice.answers(ingest, &yes).await + bob.answers(ingest, &no).await, 2);
        for dashboard in [&alice, &bob] {
            let is_it =
                |event: &&Value| event["type"] == "approval.resolved" && event["data"]["approval_id"] == approval;
            let resolved: Vec<_> = dashboard.events.iter().filter(is_it).collect();
            assert_eq!(resolved.len(), 1);
            let by = if stands == "yes" { "alice" } else { "bob" };
            assert_eq!((&resolved[0]["data"]["decision"], &resolved[0]["data"]["by"]), (&json!(stands), &json!(by)));
        }
        // A runner that was restarted asks again.
        let told = runner.get(&format!("approvals/{approval}?session=s&wait=5")).await.json();
        assert_eq!((&told["status"], &told["decision"]), (&json!("resolved"), &json!(stands)), "{told}");
    }
    assert_eq!(won[0] + won[1], 20);
    // To answer again under the same id is the same answer.
    let again = answer("yes-0", "a-0", "yes");
    assert_eq!(alice.asks(&again).await, "answered");
    assert_eq!(alice.answers(ingest, "yes-0").await, 1);
}

#[tokio::test(flavor = "multi_thread")]
async fn who_waits_is_told_and_the_owner_has_a_notice() {
    let cluster = secured().start().await;
    let ingest = cluster.ingests[0].address();
    let runner = Runner::new("r1", ingest);
    runner.is_there().await;
    let mut alice = Dashboard::open("alice", &[cluster.gateways[0].address()]).await;
    runner.publishes(&requested("a-1", json!({}))).await;
    let open = runner.get("approvals/a-1?session=s").await.json();
    assert_eq!(open, json!({"approval_id": "a-1", "status": "open"}));
    let waiting = runner.get("approvals/a-1?session=s&wait=25");
    let (told, status) = tokio::join!(waiting, async { alice.asks(&answer("y", "a-1", "yes")).await });
    let told = told.json();
    assert_eq!((&told["status"], &told["decision"], &told["by"]), (&json!("resolved"), &json!("yes"), &json!("alice")));
    assert_eq!(status, "answered");
    let notice = runner.takes_one().await;
    assert_eq!((&notice.told["type"], &notice.told["data"]["decision"]), (&json!("approval.answer"), &json!("yes")));
    runner.is_there().await;
    // A decision that a runner publishes itself comes too late as well.
    let own = json!({"type": "approval.resolved", "session": "s",
        "data": {"approval_id": "a-1", "decision": "no", "by": "r1"}});
    let late = runner.post("/v1/projects/hive/events", &own).await;
    assert_eq!((late.status, late.code().as_str()), (409, "already_answered"), "{}", late.text());
}

#[tokio::test(flavor = "multi_thread")]
async fn what_nobody_decides_expires_and_that_stands() {
    let cluster = secured().start().await;
    let ingest = cluster.ingests[0].address();
    let runner = Runner::new("r1", ingest);
    let mut alice = Dashboard::open("alice", &[cluster.gateways[0].address()]).await;
    let at = |seconds: i64| {
        let at = time::OffsetDateTime::from_unix_timestamp(now() + seconds).expect("a time");
        at.format(&time::format_description::well_known::Rfc3339).expect("a text")
    };
    runner.publishes(&requested("soon", json!({"deadline": at(2)}))).await;
    runner.publishes(&requested("later", json!({"deadline": at(3_600)}))).await;
    let resolved = alice.sees("the end of an approval", |event| event["type"] == "approval.resolved").await;
    assert_eq!((&resolved["data"]["approval_id"], &resolved["data"]["decision"]), (&json!("soon"), &json!("expired")));
    assert_eq!(alice.asks(&answer("late", "soon", "yes")).await, "answered");
    let (kind, data) = alice.answer("late").await;
    assert_eq!(
        (kind.as_str(), &data["code"], &data["decision"]),
        ("command.failed", &json!("already_answered"), &json!("expired"))
    );
    assert_eq!(alice.asks(&answer("in-time", "later", "yes")).await, "answered");
    assert_eq!(alice.answer("in-time").await.0, "command.completed");
}

#[tokio::test(flavor = "multi_thread")]
async fn only_what_is_asked_may_be_answered_and_with_what_it_offers() {
    let cluster = secured().start().await;
    let ingest = cluster.ingests[0].address();
    let runner = Runner::new("r1", ingest);
    let mut alice = Dashboard::open("alice", &[cluster.gateways[0].address()]).await;
    runner.publishes(&requested("a-1", json!({}))).await;
    assert_eq!(alice.is_refused(&answer("c-1", "a-2", "yes")).await, "not_found");
    let mut elsewhere = answer("c-2", "a-1", "yes");
    elsewhere["session"] = json!("another");
    assert_eq!(alice.is_refused(&elsewhere).await, "not_found");
    let refused = alice.ask(&answer("c-3", "a-1", "YES!")).await;
    assert_eq!(refused["code"], "invalid_field", "{refused}");
    assert!(refused.to_string().contains(r#"\"yes\", \"no\""#), "it names the options: {refused}");
    for decision in [json!(5), json!({"x": 1}), json!(true)] {
        let mut command = answer("c-4", "a-1", "");
        command["data"]["decision"] = decision;
        assert_eq!(alice.is_refused(&command).await, "invalid_field");
    }
    assert_eq!(runner.get("approvals/a-1?session=s").await.json()["status"], "open");
    assert_eq!(alice.asks(&answer("c-5", "a-1", "yes")).await, "answered");
    assert_eq!(alice.answer("c-5").await.0, "command.completed");
    assert_eq!(alice.answers(ingest, "c-3").await, 0);
    let resolved: Vec<_> = alice.events.iter().filter(|event| event["type"] == "approval.resolved").collect();
    assert_eq!(resolved.len(), 1, "{resolved:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_asked_again_is_not_left_open() {
    let cluster = secured().start().await;
    let runner = Runner::new("r1", cluster.ingests[0].address());
    let mut alice = Dashboard::open("alice", &[cluster.gateways[0].address()]).await;
    runner.publishes(&requested("a-1", json!({}))).await;
    assert_eq!(alice.asks(&answer("c-1", "a-1", "yes")).await, "answered");
    alice.answer("c-1").await;
    // It was restarted, and does not know that it asked.
    runner.publishes(&requested("a-1", json!({}))).await;
    let is_resolved = |event: &&Value| event["type"] == "approval.resolved";
    within("the decision is told again", async {
        while alice.events.iter().filter(is_resolved).count() < 2 {
            alice.frame().await;
        }
    })
    .await;
    let resolved: Vec<_> = alice.events.iter().filter(is_resolved).map(|event| &event["data"]).collect();
    assert_eq!((&resolved[1]["decision"], &resolved[1]["by"]), (&json!("yes"), &json!("alice")));
    let asked = alice.events.iter().rposition(|event| event["type"] == "approval.requested");
    assert!(asked < alice.events.iter().rposition(|event| event["type"] == "approval.resolved"));
    assert_eq!(open_approvals(&cluster, &alice).await, json!([]));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_deadline_is_a_time_and_one_that_is_past_is_over_at_once() {
    let cluster = secured().start().await;
    let runner = Runner::new("r1", cluster.ingests[0].address());
    let mut alice = Dashboard::open("alice", &[cluster.gateways[0].address()]).await;
    for deadline in [json!("soon"), json!(5), json!("2026-13-01T00:00:00Z")] {
        let refused = runner.post("/v1/projects/hive/events", &requested("a-1", json!({"deadline": deadline}))).await;
        assert_eq!(refused.status, 422, "{}", refused.text());
        assert_eq!(refused.json()["errors"][0]["field"], "data.deadline");
    }
    runner.publishes(&requested("a-1", json!({"deadline": "2020-01-01T00:00:00Z"}))).await;
    let is_it = |event: &Value| event["type"] == "approval.resolved" && event["data"]["approval_id"] == "a-1";
    let resolved = alice.sees("the end of an approval", is_it).await;
    assert_eq!(resolved["data"]["decision"], "expired");
}

/// The open approvals of a snapshot.
async fn open_approvals(cluster: &Cluster, dashboard: &Dashboard) -> Value {
    let gateway = cluster.gateways[0].address();
    let request = http::client().get(format!("http://{gateway}/v1/projects/hive/snapshot"));
    let request = request.header("authorization", format!("Bearer {}", dashboard.token));
    let answer = Answer::read(request.send().await.expect("an answer")).await.expect("a whole answer");
    answer.json()["state"]["approvals"].clone()
}
