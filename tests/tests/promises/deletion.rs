//! Deletion: what was deleted is gone for everyone, on every way to read, and a failover does not bring it back.

use std::net::SocketAddr;

use serde_json::{Value, json};
use tidings_tests::cluster::{Cluster, PROJECT};
use tidings_tests::http;
use tidings_tests::viewer::{Kind, Plan, Record};
use tidings_tests::wait::eventually;

/// Deletes, and answers the running count of where that stands.
async fn delete(ingest: SocketAddr, what: &str) -> u64 {
    let answer = http::delete(ingest, &format!("/v1/projects/{PROJECT}{what}")).await.expect("ingest answers");
    assert_eq!(answer.status, 200, "{}", answer.text());
    count(&answer.json()["position"])
}

fn count(position: &Value) -> u64 {
    let position = position.as_str().expect("a position");
    position.split(['-', '.']).nth(1).and_then(|n| n.parse().ok()).unwrap_or_else(|| panic!("{position}"))
}

/// Appends so many events of a session, ids beginning with its name, and answers the running count of the last.
async fn say(ingest: SocketAddr, session: &str, events: usize) -> u64 {
    let event = |index| json!({"type": "session.started", "id": format!("{session}-{index}"), "session": session, "data": {"title": "t"}});
    let events: Vec<Value> = (0..events).map(event).collect();
    let path = format!("/v1/projects/{PROJECT}/events");
    let answer = http::post_json(ingest, &path, &json!(events)).await.expect("ingest answers");
    assert_eq!(answer.status, 200, "{}", answer.text());
    count(&answer.json()["position"])
}

async fn all_kinds(cluster: &Cluster, after: &str, n: u64) -> Vec<Record> {
    let mut viewers = cluster.viewers();
    for kind in Kind::ALL {
        viewers.add(Plan::new(kind, PROJECT).after(after));
    }
    viewers.reach(n).await
}

/// What every other way to read gives: history backwards, export, state, sessions.
async fn everything_else(gateway: SocketAddr) -> String {
    let mut all = String::new();
    for path in ["/events?before=now&limit=1000", "/export", "/snapshot", "/sessions"] {
        let answer = http::get(gateway, &format!("/v1/projects/{PROJECT}{path}")).await.expect("the gateway answers");
        assert_eq!(answer.status, 200, "{path}: {}", answer.text());
        all.push_str(&answer.text());
    }
    all
}

fn told(record: &Record) -> Vec<&str> {
    record.told.iter().map(|told| &*told.id).collect()
}

fn deletions(record: &Record) -> Vec<(usize, &str, bool)> {
    record.gaps.iter().map(|(told, gap)| (*told, gap.cause.as_str(), gap.certain)).collect()
}

#[tokio::test(flavor = "multi_thread")]
async fn a_deleted_project_is_gone_for_everyone() {
    let cluster = Cluster::on_redis().gateways(2).ingests(2).start().await;
    let [one, two] = [cluster.ingests[0].address(), cluster.ingests[1].address()];
    let mut viewers = cluster.viewers();
    for kind in Kind::ALL {
        viewers.add(Plan { snapshot: kind != Kind::LongPoll, ..Plan::new(kind, PROJECT) });
    }
    say(one, "old", 20).await;
    let middle = say(two, "older", 20).await;
    viewers.have_reached(middle).await;
    assert_eq!(delete(one, "").await, middle + 1);
    // This one does not know yet, and puts nothing back.
    let end = say(two, "old", 3).await;
    assert_eq!(end, middle + 4, "ids are forgotten, and the log goes on");
    for record in viewers.reach(end).await {
        assert_eq!(deletions(&record), [(40, "deleted", true)], "{:?}", record.kind);
        assert_eq!(count(&json!(record.gaps[0].1.position)), middle + 1);
        assert_eq!(told(&record)[40..], ["old-0", "old-1", "old-2"], "{:?}", record.kind);
        if let Some((_, state)) = record.snapshots.last() {
            assert!(state["sessions"].get("older").is_none(), "{state}");
        }
    }
    for gateway in &cluster.gateways {
        let all = everything_else(gateway.address()).await;
        assert!(all.contains("old-2") && !all.contains("older"), "{all}");
        assert!(!all.contains("old-7"), "{all}");
    }
    for record in all_kinds(&cluster, "start", end).await {
        assert_eq!(deletions(&record), [(0, "deleted", true)], "{:?}", record.kind);
        assert_eq!(told(&record), ["old-0", "old-1", "old-2"], "{:?}", record.kind);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_deleted_session_is_skipped_on_every_way_to_read() {
    let cluster = Cluster::on_redis().gateways(2).ingests(2).start().await;
    let [one, two] = [cluster.ingests[0].address(), cluster.ingests[1].address()];
    let mut viewers = cluster.viewers();
    for kind in Kind::ALL {
        viewers.add(Plan::new(kind, PROJECT));
    }
    say(one, "doomed", 10).await;
    let before = say(two, "other", 5).await;
    viewers.have_reached(before).await;
    let at = delete(two, "/sessions/doomed").await;
    let end = say(one, "back", 1).await;
    for record in viewers.reach(end).await {
        assert_eq!(record.told.len(), 16, "{:?}", record.kind);
        assert_eq!(deletions(&record), [(15, "deleted", true)], "{:?}", record.kind);
        assert_eq!(count(&json!(record.gaps[0].1.position)), at);
    }
    let expected = ["other-0", "other-1", "other-2", "other-3", "other-4", "back-0"];
    for record in all_kinds(&cluster, "start", end).await {
        assert_eq!(told(&record), expected, "{:?}", record.kind);
        assert_eq!(deletions(&record), [(5, "deleted", true)], "{:?}", record.kind);
    }
    for gateway in &cluster.gateways {
        let all = everything_else(gateway.address()).await;
        assert!(all.contains("other-4") && !all.contains("doomed-"), "{all}");
        let path = format!("/v1/projects/{PROJECT}/sessions/doomed");
        assert_eq!(http::get(gateway.address(), &path).await.expect("the gateway answers").status, 404);
    }
    // It lives again. A retry of what was deleted is known by its id, and stays deleted.
    let path = format!("/v1/projects/{PROJECT}/events");
    let retry = json!([{"type": "session.started", "id": "doomed-3", "session": "doomed", "data": {"title": "t"}}]);
    let answer = http::post_json(two, &path, &retry).await.expect("ingest answers");
    assert_eq!(answer.json()["results"][0]["status"], "duplicate");
    let again = json!([{"type": "session.started", "id": "again", "session": "doomed", "data": {"title": "t"}}]);
    let end = count(&http::post_json(one, &path, &again).await.expect("ingest answers").json()["position"]);
    for record in all_kinds(&cluster, "start", end).await {
        assert_eq!(told(&record), [&expected[..], &["again"]].concat(), "{:?}", record.kind);
    }
}

/// Scenario 5 of docs/log.md: a deletion just before a fork stays deleted.
#[tokio::test(flavor = "multi_thread")]
async fn a_deletion_that_a_failover_took_is_done_again() {
    for what in ["", "/sessions/doomed"] {
        let mut cluster = Cluster::on_redis().gateways(1).ingests(2).replicated().start().await;
        let [one, two] = [cluster.ingests[0].address(), cluster.ingests[1].address()];
        say(one, "doomed", 10).await;
        let kept = say(two, "doomed", 1).await;
        cluster.replicated().await;
        cluster.cut_replication();
        delete(one, what).await;
        cluster.redis().kill();
        cluster.fail_over().await;
        // Nobody writes: the ingest that deleted finds out by itself.
        let gateway = cluster.gateways[0].address();
        eventually("it is deleted again", async || {
            let path = format!("/v1/projects/{PROJECT}/export");
            let answer = http::get(gateway, &path).await.ok()?;
            (answer.status == 200 && !answer.text().contains("doomed-") && answer.text().contains("deleted"))
                .then_some(())
        })
        .await;
        let end = say(two, "after", 2).await;
        assert!(end > kept + 3, "the fork and the deletion count");
        for record in all_kinds(&cluster, "start", end).await {
            assert_eq!(told(&record), ["after-0", "after-1"], "{:?}{what}", record.kind);
            assert!(record.gaps.iter().any(|(_, gap)| gap.cause == "deleted"), "{:?}", record.gaps);
        }
        let all = everything_else(gateway).await;
        assert!(!all.contains("doomed-"), "{all}");
    }
}
