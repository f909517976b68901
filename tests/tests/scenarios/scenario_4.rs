//! Scenario 4: two ingests alternate on one session (usage, started and completed, approvals), 200 entries are lost,
//! both heal, in either order, and in a third history a second failover comes amid it. State is as if nothing had
//! happened, and nothing is told twice.

use std::collections::HashSet;

use serde_json::{Value, json};
use tidings_tests::audit::Audit;
use tidings_tests::audit::forks::Excuse;
use tidings_tests::cluster::{Cluster, PROJECT};
use tidings_tests::fold::fold;
use tidings_tests::proxy::Link;
use tidings_tests::viewer::{Kind, Plan, Record};
use tidings_tests::wait::eventually;

use crate::steps::{assert_told_once, has_put_back, last_words, latecomers, posted, quick, snapshot, standing};

/// Entries that the failover takes.
const LOST: usize = 200;

/// What runners say at a step of the story, one entry.
fn story(step: usize) -> Vec<Value> {
    let event = |kind: &str, what: usize, agent: Option<&str>, data: Value| {
        let mut event = json!({"type": kind, "id": format!("{step}-{what}"), "session": "s", "data": data});
        if let Some(agent) = agent {
            event["agent"] = json!(agent);
        }
        event
    };
    let agent = ["planner", "coder", "critic"][step % 3];
    let status = ["idle", "working", "waiting"][step / 3 % 3];
    let approval = format!("approval-{}", step / 4);
    let mut events = vec![
        event("usage", 0, None, json!({"model": "m", "input_tokens": step, "output_tokens": 7, "cost_usd": 0.01})),
        event("agent.status", 1, Some(agent), json!({"status": status, "progress": step % 100})),
    ];
    match step % 4 {
        0 => events.push(event(
            "approval.requested",
            2,
            None,
            json!({"approval_id": approval, "question": "go on?", "options": ["yes", "no"]}),
        )),
        // Every other one stays open.
        3 if step % 8 == 3 => {
            let data = json!({"approval_id": approval, "decision": "yes", "by": "ann"});
            events.push(event("approval.resolved", 2, None, data));
        }
        _ => {}
    }
    if step % 50 == 7 {
        events.push(event("session.started", 3, None, json!({"title": format!("part {}", step / 50)})));
    }
    if step % 50 == 42 {
        events.push(event("session.completed", 3, None, json!({"summary": format!("part {}", step / 50)})));
    }
    events
}

/// Runners say some steps, by the one ingest and the other.
async fn say(cluster: &Cluster, steps: std::ops::Range<usize>) -> [u32; 2] {
    let mut said = [0, 0];
    for step in steps {
        let events = story(step);
        said[step % 2] += u32::try_from(events.len()).expect("a few");
        cluster.ledger.enter(&posted(cluster.ingests[step % 2].address(), &events).await);
    }
    said
}

/// Waits until a gateway has forked the log: the store's change of name is noticed without any append.
async fn forked(cluster: &mut Cluster) {
    let redis = cluster.redis();
    eventually("the log is forked", async || {
        let forks: String = redis.command(&["HGET", "tidings:{hive}:meta", "forks"]).await;
        (!forks.is_empty()).then_some(())
    })
    .await;
}

/// A second failover amid healing.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Second {
    /// There is none.
    None,
    /// To a replica that has the first fork, and lacks what was put back behind it.
    WithFork,
    /// To a replica that lacks the first fork, too.
    WithoutFork,
}

/// A failover takes [`LOST`] entries, and ingests heal in this order.
async fn state_is_as_if_nothing_had_happened(order: [usize; 2], second: Second) {
    let mut cluster = quick(Cluster::on_redis().gateways(2).ingests(2).replicated()).start().await;
    let mut viewers = standing(&cluster, 1);
    let mut witness = cluster.viewers();
    witness.add(Plan { keeps_events: true, ..Plan::new(Kind::WebSocket, PROJECT) });
    let started = json!({"type": "session.started", "id": "begin", "session": "s", "data": {"title": "a long story"}});
    cluster.ledger.enter(&posted(cluster.ingests[0].address(), &[started]).await);
    say(&cluster, 0..20).await;
    cluster.replicated().await;
    cluster.cut_replication();
    let said = say(&cluster, 20..20 + LOST).await;
    let lost_n = cluster.ledger.last_n();
    viewers.have_reached(lost_n).await;
    witness.have_reached(lost_n).await;
    (0..2).for_each(|ingest| cluster.ingest_link(ingest).commands(Link::Cut));
    cluster.redis().kill();
    cluster.fail_over().await;
    if second != Second::None {
        if second == Second::WithFork {
            forked(&mut cluster).await;
        }
        cluster.follow().await;
        cluster.cut_replication();
    }
    cluster.ingest_link(order[0]).commands(Link::Open);
    has_put_back(&cluster, order[0], said[order[0]]).await;
    if second != Second::None {
        cluster.ingest_link(order[0]).commands(Link::Cut);
        cluster.redis().kill();
        cluster.fail_over().await;
    }
    cluster.ingest_link(order[1]).commands(Link::Open);
    has_put_back(&cluster, order[1], said[order[1]]).await;
    if second != Second::None {
        cluster.ingest_link(order[0]).commands(Link::Open);
        has_put_back(&cluster, order[0], 2 * said[order[0]]).await;
    }
    let end = last_words(&cluster).await;

    let what = format!("healed in the order {order:?}, a second failover amid it: {second:?}");
    let records = viewers.reach(end).await;
    Audit::across_forks(&records, &cluster.ledger, Excuse::None).assert_flawless(&what);
    // A connection knows where it was before the fork that this history never had. A poll knows one place alone: it is told
    // that this means nothing any more, and is told again, marked, what comes behind.
    let is_reset = |record: &Record| record.gaps.iter().any(|(_, gap)| gap.cause == "log_reset");
    let (reset, kept): (Vec<Record>, Vec<Record>) = records.into_iter().partition(is_reset);
    assert!(reset.iter().all(|record| second == Second::WithoutFork && record.kind == Kind::LongPoll));
    assert_told_once(&kept, &cluster);
    let late = latecomers(&cluster, end).await;
    Audit::across_forks(&late, &cluster.ledger, Excuse::None).assert_flawless("who comes later");

    // The witness was told everything when it was first said.
    let witness = witness.reach(end).await.remove(0);
    let mut once = HashSet::new();
    let first = witness.told.iter().zip(&witness.texts).filter(|(told, _)| once.insert(&told.id));
    let reference = fold(first.map(|(_, text)| &**text));
    assert_eq!(reference["sessions"]["s"]["title"], "part 4", "{reference}");
    let warm = snapshot(cluster.gateways[0].address(), end).await;
    assert_eq!(warm["state"], reference, "a gateway that saw it all");
    cluster.gateways[1].kill_and_restart().await;
    let cold = snapshot(cluster.gateways[1].address(), end).await;
    assert_eq!(cold["state"], reference, "a gateway that reads it from the store");
}

#[tokio::test(flavor = "multi_thread")]
async fn state_is_right_when_the_first_ingest_heals_first() {
    state_is_as_if_nothing_had_happened([0, 1], Second::None).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn state_is_right_when_the_second_ingest_heals_first() {
    state_is_as_if_nothing_had_happened([1, 0], Second::None).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn state_is_right_when_a_second_failover_comes_amid_healing() {
    state_is_as_if_nothing_had_happened([0, 1], Second::WithFork).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn state_is_right_when_a_second_failover_takes_the_first_fork_too() {
    state_is_as_if_nothing_had_happened([0, 1], Second::WithoutFork).await;
}
