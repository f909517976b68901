//! Scenario 2: a proxy swallows the answer to append n, which viewers saw; the replica that takes over lacks it; the
//! runner tries again through the other ingest. Whoever stayed connected is told it exactly once.

use tidings_tests::audit::Audit;
use tidings_tests::audit::forks::Excuse;
use tidings_tests::cluster::{Cluster, PROJECT};
use tidings_tests::proxy::Link;
use tidings_tests::viewer::{Kind, Plan};

use crate::steps::{acknowledged, assert_told_once, last_words, latecomers, log, logs, post, posted, quick, standing};

/// What happens first behind the failover.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum First {
    /// The runner tries again through the other ingest.
    Retry,
    /// The ingest whose answer was swallowed is back, and settles what became of it.
    Return,
}

async fn is_told_once(first: First) {
    let plan = quick(Cluster::on_redis().gateways(2).ingests(2).replicated());
    let mut cluster = plan.set("TIDINGS_INGEST__DEADLINE_MS", 1_000).start().await;
    let [one, two] = [cluster.ingests[0].address(), cluster.ingests[1].address()];
    let mut viewers = standing(&cluster, 2);
    let mut following = cluster.viewers();
    following.add(Plan { snapshot: true, ..Plan::new(Kind::WebSocket, PROJECT) });
    cluster.ledger.enter(&posted(one, &logs("one", 10)).await);
    cluster.ledger.enter(&posted(two, &logs("two", 10)).await);
    let before = cluster.ledger.last_n();
    viewers.have_reached(before).await;
    cluster.replicated().await;
    cluster.cut_replication();

    let swallowed = cluster.ingest_link(0).swallow_answer(|call| call.appends("precious"));
    let answer = post(one, &[log("precious")]).await;
    assert_eq!((answer.status, answer.code().as_str()), (504, "outcome_unknown"), "{}", answer.text());
    assert!(swallowed.answered().await.contains("appended"), "it stands in the old primary");
    viewers.have_reached(before + 1).await;
    following.have_reached(before + 1).await;
    cluster.redis().kill();
    cluster.fail_over().await;

    if first == First::Return {
        cluster.ingest_link(0).commands(Link::Open);
        cluster.ledger.enter(&acknowledged(one, &[log("returned")]).await);
    }
    let again = acknowledged(two, &[log("precious")]).await;
    println!("{first:?} first: the retry was {}", again[0].status);
    cluster.ledger.enter(&again);
    cluster.ingest_link(0).commands(Link::Open);
    let end = last_words(&cluster).await;
    let records = viewers.reach(end).await;
    assert_told_once(&records, &cluster);
    assert!(records.iter().all(|record| record.breaks.is_empty()), "they stayed");
    Audit::across_forks(&records, &cluster.ledger, Excuse::None).assert_flawless("who stayed");
    // Its snapshots may lack what it was told; then it is told again, marked.
    Audit::across_forks(&following.reach(end).await, &cluster.ledger, Excuse::None).assert_flawless("with snapshots");
    let late = latecomers(&cluster, end).await;
    Audit::across_forks(&late, &cluster.ledger, Excuse::None).assert_flawless("who comes later");
    assert_told_once(&late, &cluster);
}

#[tokio::test(flavor = "multi_thread")]
async fn an_append_whose_answer_was_swallowed_is_told_once_when_the_runner_tries_elsewhere() {
    is_told_once(First::Retry).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn an_append_whose_answer_was_swallowed_is_told_once_when_its_ingest_is_back_first() {
    is_told_once(First::Return).await;
}
