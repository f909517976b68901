//! An update of a whole fleet as the chart does it: every gateway and every ingest gets SIGTERM, goes within its grace period,
//! and a new process takes its place, one after the other, while viewers watch and runners post.
//!
//! Settings, grace periods and the rate at which viewers may come back are the chart's own. There is no process to spare
//! while one is away (the chart starts the new one first), so it is the harder case. Viewers spread over projects as those of
//! real fleets do, since two cores carry no million deliveries a second: one project of 400 viewers, 32 of 50; each of the
//! 500 events of a second goes to one of them. Viewers pick any gateway that is ready, as behind a Service; the list is kept
//! by whoever looks at `/readyz`. Figures are printed (`-- --nocapture`).

#![allow(clippy::print_stdout, reason = "figures are part of the result")]

use std::fmt::Write as _;
use std::sync::Arc;
use std::time::Duration;

use parking_lot::Mutex;
use tidings_tests::cluster::Cluster;
use tidings_tests::http;
use tidings_tests::process::descriptors;
use tidings_tests::runner::{Ledger, Runner, Trouble};
use tidings_tests::service::Service;
use tidings_tests::viewer::Directory;
use tidings_tests::wait::eventually;
use tokio::task::JoinSet;
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;

mod chart;
mod crowd;

use chart::{Chart, Workload};
use crowd::{Account, Audience, Scene, doorway};

/// Viewers, where this process may have so many sockets.
const VIEWERS: usize = 2_000;

/// Projects.
const PROJECTS: usize = 33;

/// One part in so many of the viewers watches the first project.
const FIRST_PROJECT_PARTS: usize = 5;

/// Events of all projects in a second.
const EVENTS_PER_SECOND: u32 = 500;

/// Events that a runner posts at once.
const BATCH: usize = 5;

/// How often the gateways are asked whether they are ready, by what stands before them.
const PROBE_EVERY: Duration = Duration::from_millis(500);

/// The metric that counts viewers whom a gateway sent on to others, to have no more than its part.
const SHED: &str = "tidings_gateway_shed_total";

/// How often this process looks whether it stands still, and how late it may be.
const PULSE: Duration = Duration::from_millis(100);

/// Unexpected things that are spelled out.
const COMPLAINTS_MAX: usize = 20;

/// Keeps the list of ready services, as a Service keeps its endpoints.
async fn keep_ready(admins: Vec<(std::net::SocketAddr, std::net::SocketAddr)>, ready: Directory) {
    let mut clock = tokio::time::interval(PROBE_EVERY);
    loop {
        clock.tick().await;
        let mut found = Vec::new();
        for (address, admin) in &admins {
            if http::get(*admin, "/readyz").await.is_ok_and(|answer| answer.status == 200) {
                found.push(*address);
            }
        }
        // With nobody ready a balancer has nowhere to send anybody.
        if !found.is_empty() {
            ready.set(found);
        }
    }
}

/// Posts at a steady rate until it is told to stop; what a slow answer held up follows.
async fn post_steadily(mut runner: Runner, every: Duration, stop: CancellationToken) -> Trouble {
    let mut clock = tokio::time::interval(every);
    while stop.run_until_cancelled(clock.tick()).await.is_some() {
        let batch = runner.swarm.events(BATCH);
        runner.post_batch(&batch).await;
    }
    runner.trouble
}

/// Tells a process to go, gives it its grace period, and starts the next one at the same place. How long it took to go.
async fn roll(service: &mut Service, workload: &Workload<'_>) -> Duration {
    let grace = workload.grace();
    let begun = Instant::now();
    service.process.signal("TERM");
    let Ok(status) = tokio::time::timeout(grace, service.process.ended()).await else {
        panic!("{} is still there after {grace:?}: it would be killed", service.process.name())
    };
    let took = begun.elapsed();
    let output = service.process.output();
    assert_eq!(status.code(), Some(0), "{output}");
    assert!(!output.contains("shutdown cut connections"), "{output}");
    *service = service.launch().start().await;
    took
}

/// Whether the list holds so many, waited for.
async fn all_ready(ready: &Directory, count: usize) {
    eventually("the new one takes viewers", || async { (ready.all().len() == count).then_some(()) }).await;
}

/// Times at which this process stood still for lack of a processor, and for how long: what came meanwhile comes in a bunch.
type Stalls = Arc<Mutex<Vec<(Instant, Duration)>>>;

async fn notice_stalls(stalls: Stalls) {
    loop {
        let due = Instant::now() + PULSE;
        tokio::time::sleep_until(due).await;
        if due.elapsed() > PULSE {
            stalls.lock().push((due, due.elapsed()));
        }
    }
}

/// The most of these within a second; and the most within one in which more than `rate` came for each second that this
/// process could have seen them come, 0 if there is none.
fn peak(instants: &[Instant], stalls: &[(Instant, Duration)], rate: u64) -> (usize, usize) {
    let second = Duration::from_secs(1);
    let (mut most, mut above) = (0, 0);
    for (index, from) in instants.iter().enumerate() {
        let count = instants.partition_point(|at| *at < *from + second) - index;
        // What came while it stood still is seen right behind.
        let touching = stalls.iter().filter(|(due, late)| *due + *late + 2 * PULSE >= *from && *due <= *from + second);
        let seen = second + touching.map(|(_, late)| *late).sum::<Duration>();
        most = most.max(count);
        if count as u128 * second.as_millis() > u128::from(rate) * seen.as_millis() {
            above = above.max(count);
        }
    }
    (most, above)
}

/// Sums of all viewers' accounts.
#[derive(Debug, Default, Clone, Copy, PartialEq, Eq)]
struct Sums {
    told: u64,
    missing: usize,
    duplicated: u64,
    out_of_order: u64,
    sent_away: u64,
    sent_on: u64,
    not_whole: usize,
}

impl Sums {
    fn add(&mut self, account: &Account, ledger: &Ledger) {
        self.told += account.told;
        self.missing += account.missing.len();
        self.duplicated += account.duplicated;
        self.out_of_order += account.out_of_order;
        self.sent_away += account.sent_away;
        self.sent_on += account.sent_on;
        self.not_whole += usize::from(!account.is_whole(ledger));
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_rollout_of_all_gateways_and_ingests_under_load_loses_nothing_and_comes_back_at_the_rate() {
    let chart = Chart::read();
    let mut plan = Cluster::on_redis().gateways(3).ingests(2);
    for (variable, value) in chart.settings() {
        plan = plan.set(variable, value);
    }
    // All of them come from one address.
    plan = plan.set("TIDINGS_GATEWAY__CLIENT_CONNECTIONS_PERCENT", 100);
    let mut cluster = plan.start().await;

    let viewers = VIEWERS.min(descriptors() / 4 * 3);
    let scene = Scene::new(cluster.viewers_go.all());
    let places = cluster.gateways.iter().map(|gateway| (gateway.address(), gateway.admin())).collect();
    let (mut around, stalls) = (JoinSet::new(), Stalls::default());
    around.spawn(notice_stalls(stalls.clone()));
    around.spawn(keep_ready(places, scene.ready.clone()));
    let places = cluster.ingests.iter().map(|ingest| (ingest.address(), ingest.admin())).collect();
    around.spawn(keep_ready(places, cluster.runners_go.clone()));

    let (stop, mut posting) = (CancellationToken::new(), JoinSet::new());
    let every = Duration::from_secs(1) * u32::try_from(PROJECTS * BATCH).expect("few") / EVENTS_PER_SECOND;
    let first = doorway();
    let audiences: Vec<Audience> = (0..PROJECTS)
        .map(|index| {
            let large = viewers / FIRST_PROJECT_PARTS;
            let count = if index == 0 { large } else { (viewers - large) / (PROJECTS - 1) };
            let project = format!("team-{index}");
            let audience = Audience::gather(&project, count, &scene, &first);
            let runner = Runner::new(&project, &project, cluster.runners_go.clone(), audience.ledger.clone());
            posting.spawn(post_steadily(runner, every, stop.clone()));
            audience
        })
        .collect();
    for audience in &audiences {
        audience.ledger.reaches(BATCH).await;
    }
    eventually("all viewers are in", || async {
        let mut open = 0.0;
        for gateway in &cluster.gateways {
            open += gateway.metric("tidings_gateway_connections").await;
        }
        let all: usize = audiences.iter().map(Audience::viewers).sum();
        (open >= as_metric(all as u64)).then_some(())
    })
    .await;

    let begun = Instant::now();
    let (mut figures, mut shed) = (String::new(), 0.0);
    for index in 0..cluster.gateways.len() {
        let gateway = &mut cluster.gateways[index];
        let address = gateway.address();
        scene.roll_begins(address);
        shed += gateway.metric(SHED).await;
        let took = roll(gateway, &chart.gateway()).await;
        scene.roll_ends(address);
        all_ready(&scene.ready, cluster.gateways.len()).await;
        let _ = writeln!(figures, "  gateway {index} went in {:.1} s", took.as_secs_f64());
    }
    for index in 0..cluster.ingests.len() {
        let took = roll(&mut cluster.ingests[index], &chart.ingest()).await;
        all_ready(&cluster.runners_go, cluster.ingests.len()).await;
        let _ = writeln!(figures, "  ingest {index} went in {:.1} s", took.as_secs_f64());
    }
    let rolled_in = begun.elapsed();

    stop.cancel();
    let again: usize = posting.join_all().await.iter().map(|trouble| trouble.again).sum();
    let (mut sums, mut unexpected, mut events) = (Sums::default(), Vec::new(), 0);
    for audience in audiences {
        let (ledger, accounts) = audience.leave().await;
        events += ledger.len();
        for account in &accounts {
            sums.add(account, &ledger);
        }
        unexpected.extend(accounts.into_iter().flat_map(|account| account.unexpected));
    }
    // Not before: they go on doing so until the last viewer is gone.
    for gateway in &cluster.gateways {
        shed += gateway.metric(SHED).await;
    }
    let (returns, rate) = (scene.returns(), chart.gateway().config("drain_reconnects_per_second"));
    let stalls = stalls.lock().clone();
    let (peak, above) = peak(&returns, &stalls, rate);
    println!(
        "{viewers} viewers in {PROJECTS} projects, {events} events, rolled in {:.1} s\n{figures}  {} returns, at most \
         {peak} in a second ({rate} allowed), {again} batches sent again\n  {sums:?}, {} unexpected; this process \
         stood still for {:.1} s",
        rolled_in.as_secs_f64(),
        returns.len(),
        unexpected.len(),
        stalls.iter().map(|(_, late)| late.as_secs_f64()).sum::<f64>(),
    );
    unexpected.truncate(COMPLAINTS_MAX);
    assert!(unexpected.is_empty(), "{unexpected:#?}");
    let Sums { told, sent_away, sent_on, .. } = sums;
    assert_eq!(sums, Sums { told, sent_away, sent_on, ..Sums::default() });
    assert_eq!(sent_away + sent_on, returns.len() as u64);
    assert!(as_metric(sent_on) <= shed, "{sent_on} were sent away by gateways that stay, which own up to {shed}");
    assert!(sent_away >= viewers as u64, "every viewer's gateway went at least once");
    assert_eq!(above, 0, "{above} came back within a second, {rate} were allowed");
}

/// A count as metrics say it.
fn as_metric(count: u64) -> f64 {
    f64::from(u32::try_from(count).expect("few"))
}
