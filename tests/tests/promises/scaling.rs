//! Promises 1 to 3 while a fleet grows: a gateway that comes gets its part of the viewers that others have, a few a second,
//! and nobody misses anything on the way.

use tidings_tests::audit::Audit;
use tidings_tests::cluster::Cluster;
use tidings_tests::runner::{Ledger, Runner};
use tidings_tests::service::{Launch, Role, Service};
use tidings_tests::viewer::{Kind, Plan, Record, Viewers};
use tidings_tests::wait::{eventually, within};
use tokio::task::JoinSet;
use tokio_util::sync::CancellationToken;

/// The code with which a gateway closes a WebSocket whose viewer it sends on.
const DRAINING: u16 = 4200;

/// What is watched.
const PROJECTS: [&str; 3] = ["hive", "colony", "herd"];

/// Viewers of each project: together 300 for each of two gateways.
const VIEWERS: [(Kind, usize); 3] = [(Kind::WebSocket, 90), (Kind::WebSocketDeflate, 30), (Kind::Sse, 80)];

/// How much a gateway may have above the mean, in percent of it.
const TOLERANCE_PERCENT: u64 = 20;

/// And below it, when all has moved. Two gateways stop at half the tolerance above the mean, which leaves the third one as
/// much as the whole below it; viewers come to it by chance.
const SHORTFALL_PERCENT: u64 = 30;

/// Rounds after which nothing goes on any more, if nothing went on in them: longer than the pause between two bouts.
const QUIET_ROUNDS: u64 = 10;

/// Long enough that no gateway lets its lease lapse on a busy machine.
const LEASE_MS: u64 = 4_000;

/// Viewers of a project, and who posts there for as long as they watch.
struct Watched {
    runner: Runner,
    ledger: Ledger,
    viewers: Viewers,
}

impl Watched {
    fn new(cluster: &Cluster, project: &str, seed: u64) -> Watched {
        let (ledger, mut viewers) = (Ledger::default(), cluster.viewers());
        let mut seeds = seed * 1_000..;
        for (kind, count) in VIEWERS {
            for seed in seeds.by_ref().take(count) {
                viewers.add(Plan { seed, ..Plan::new(kind, project) });
            }
        }
        Watched { runner: Runner::new(project, project, cluster.runners_go.clone(), ledger.clone()), ledger, viewers }
    }

    /// The next events are posted when all viewers have the ones before, until it is told that it is enough.
    async fn goes_on_until(mut self, enough: CancellationToken) -> (Ledger, Vec<Record>) {
        while !enough.is_cancelled() {
            self.runner.post(20, 1..20).await;
            self.viewers.have_reached(self.ledger.last_n()).await;
        }
        self.runner.post(20, 1..20).await;
        let records = self.viewers.reach(self.ledger.last_n()).await;
        (self.ledger, records)
    }
}

/// What all gateways say of this.
async fn each(gateways: &[Service], metric: &str) -> Vec<u64> {
    let values = futures_util::future::join_all(gateways.iter().map(|gateway| gateway.metric(metric))).await;
    #[allow(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "small counts")]
    values.into_iter().map(|value| value as u64).collect()
}

async fn viewers(gateways: &[Service]) -> Vec<u64> {
    each(gateways, "tidings_gateway_connections").await
}

/// Whether all viewers are there, and no gateway has far more or far fewer than the mean.
fn is_even(viewers: &[u64]) -> bool {
    let (sum, count) = (viewers.iter().sum::<u64>(), viewers.len() as u64);
    let all = PROJECTS.len() as u64 * VIEWERS.iter().map(|(_, count)| *count as u64).sum::<u64>();
    let percents = 100 - SHORTFALL_PERCENT..=100 + TOLERANCE_PERCENT;
    sum == all && viewers.iter().all(|one| percents.contains(&(one * count * 100).div_ceil(sum)))
}

/// Waits until gateways have told each other so many more times what they carry.
async fn rounds_pass(gateways: &[Service], rounds: u64) {
    let before = each(gateways, "tidings_gateway_fleet_rounds_total").await;
    within("rounds pass", async {
        eventually("as many rounds", async || {
            let now = each(gateways, "tidings_gateway_fleet_rounds_total").await;
            now.iter().zip(&before).all(|(now, before)| *now >= before + rounds).then_some(())
        })
        .await;
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_gateway_that_is_added_to_two_full_ones_gets_its_part_and_nothing_is_lost() {
    let mut cluster = Cluster::on_redis()
        .gateways(2)
        .ingests(1)
        .set("TIDINGS_GATEWAY__PRESENCE_LEASE_MS", LEASE_MS)
        .set("TIDINGS_GATEWAY__PRESENCE_ROUND_MS", 1_000)
        .set("TIDINGS_GATEWAY__SHED_PER_SECOND", 40)
        .set("TIDINGS_GATEWAY__SHED_TOLERANCE_PERCENT", TOLERANCE_PERCENT)
        .start()
        .await;
    let (mut watched, enough) = (JoinSet::new(), CancellationToken::new());
    for (seed, project) in (0..).zip(PROJECTS) {
        watched.spawn(Watched::new(&cluster, project, seed).goes_on_until(enough.clone()));
    }
    eventually("all viewers are there", async || is_even(&viewers(&cluster.gateways).await).then_some(())).await;
    rounds_pass(&cluster.gateways, QUIET_ROUNDS).await;
    assert_eq!(each(&cluster.gateways, "tidings_gateway_shed_total").await, [0, 0], "two that are even stay so");
    println!("two gateways: {:?}", viewers(&cluster.gateways).await);

    let launch = cluster.gateways[0].launch();
    let third = Launch::new(Role::Gateway, launch.redis_url.clone(), launch.settings.clone()).start().await;
    cluster.gateways.push(third);
    cluster.viewers_go.set(cluster.gateways.iter().map(Service::address).collect());
    eventually("load has evened out", async || is_even(&viewers(&cluster.gateways).await).then_some(())).await;
    // A bout goes on to half the tolerance; then nothing moves any more.
    rounds_pass(&cluster.gateways, QUIET_ROUNDS).await;
    let (even, shed) = (viewers(&cluster.gateways).await, each(&cluster.gateways, "tidings_gateway_shed_total").await);
    rounds_pass(&cluster.gateways, QUIET_ROUNDS).await;
    println!("three gateways: {even:?}; sent on by each: {shed:?}");
    assert!(is_even(&even), "{even:?}");
    assert_eq!(viewers(&cluster.gateways).await, even, "it is even, and goes on");
    assert_eq!(each(&cluster.gateways, "tidings_gateway_shed_total").await, shed, "it is even, and goes on");

    enough.cancel();
    let (mut told, mut closed) = (0, 0);
    for watched in within("all viewers reach the end", watched.join_all()).await {
        let (ledger, records) = watched;
        Audit::of(&records, &ledger).assert_flawless("a gateway is added");
        told += records.iter().map(|record| record.draining.len() as u64).sum::<u64>();
        closed += records.iter().map(|record| record.closes.len() as u64).sum::<u64>();
        records.iter().for_each(assert_was_sent_on_politely);
    }
    assert_eq!(told, shed.iter().sum::<u64>(), "whoever was sent on was told so, and nobody else");
    let counted = each(&cluster.gateways, "tidings_gateway_connections_closed_total{reason=\"shed\"}").await;
    assert_eq!(counted.iter().sum::<u64>(), closed, "counted apart from drains");
}

/// Each of its connections that ended was announced, and closed by no other code.
fn assert_was_sent_on_politely(record: &Record) {
    assert!(record.closes.iter().all(|(code, _)| *code == DRAINING), "{:?}", record.closes);
    assert!(record.draining.iter().all(|retry_after_ms| *retry_after_ms < 1_000), "{:?}", record.draining);
    let (breaks, told) = (record.breaks.len(), record.draining.len());
    assert!(
        breaks <= told,
        "{:?}: {breaks} connections broke, {told} were announced: {:?}",
        record.kind,
        record.breaks
    );
    assert!(told <= 2, "{:?} was sent on {told} times", record.kind);
    assert!(record.errors.is_empty(), "{:?}", record.errors);
}
