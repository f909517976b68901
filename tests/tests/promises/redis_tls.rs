//! Redis by TLS with certificates on both sides, alone and behind sentinels.

use tidings_tests::audit::Audit;
use tidings_tests::audit::forks::Excuse;
use tidings_tests::certificates::Papers;
use tidings_tests::cluster::{Cluster, PROJECT};
use tidings_tests::http;
use tidings_tests::redis::Redis;
use tidings_tests::runner::{Ledger, Runner};
use tidings_tests::service::{Launch, Role, Service};
use tidings_tests::viewer::{Directory, Kind, Plan, Viewers};
use tidings_tests::wait::eventually;

use crate::{BATCHES, fifty_roam};

/// Waits until a service says in `/readyz` and in its log why it is not ready.
async fn says_why(service: &Service, why: &str) {
    let report = eventually(why, || async {
        let answer = http::get(service.admin(), "/readyz").await.ok()?;
        (answer.status == 503 && answer.text().contains(why)).then(|| answer.text())
    })
    .await;
    println!("{report}");
    service.process.line(why, |line| (line.contains("redis is away") && line.contains(why)).then_some(())).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn redis_by_tls_delivers_and_a_wrong_certificate_is_named() {
    let (papers, others) = (Papers::issue(), Papers::issue());
    let redis = Redis::with_tls(&papers, &[]).await;
    let url = redis.url().replace("redis://", "rediss://");
    let all = Launch::new(Role::All, Some(url.clone()), papers.settings()).start().await;
    let (here, ledger) = (Directory::new(vec![all.address()]), Ledger::default());
    let mut viewers = Viewers::new(here.clone());
    for kind in Kind::ALL {
        viewers.add(Plan::new(kind, PROJECT));
    }
    Runner::new("one", PROJECT, here, ledger.clone()).post(1_000, BATCHES).await;
    let records = viewers.reach(ledger.last_n()).await;
    Audit::of(&records, &ledger).assert_flawless("Redis by TLS");

    let unknown = Launch::new(Role::Gateway, Some(url.clone()), others.settings()).start_unready();
    says_why(&unknown, "UnknownIssuer").await;
    let mut anonymous = papers.settings();
    anonymous.retain(|(variable, _)| variable.ends_with("CA_FILE"));
    says_why(&Launch::new(Role::Ingest, Some(url), anonymous).start_unready(), "CertificateRequired").await;
}

#[tokio::test(flavor = "multi_thread")]
async fn nothing_is_lost_in_a_failover_by_tls() {
    let plan = Cluster::on_redis().gateways(2).ingests(2).sentinels_by_tls(Papers::issue());
    let mut cluster = plan.start().await;
    let viewers = fifty_roam(&cluster);
    let mut runner = cluster.runner("one");
    runner.post(1_000, BATCHES).await;
    let sentinels = cluster.sentinels();
    let former = sentinels.primary().await;
    sentinels.nodes[former].kill();
    sentinels.moved_from(former).await;
    runner.post(1_000, BATCHES).await;
    for (index, ingest) in cluster.ingests.iter().enumerate() {
        let only = Directory::new(vec![ingest.address()]);
        Runner::new(&format!("last-{index}"), PROJECT, only, cluster.ledger.clone()).post(1, BATCHES).await;
    }
    let records = viewers.reach(cluster.ledger.last_n()).await;
    Audit::across_forks(&records, &cluster.ledger, Excuse::None).assert_flawless("a failover by TLS");
}
