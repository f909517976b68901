//! The shell, on a store in memory. Time is paused; the store's own clock goes on, and no lease ends.

use prometheus::Registry;
use tidings_broker::Index as _;
use tidings_broker::fleet::Reported;
use tidings_broker::memory::MemoryBroker;
use tidings_log::wake::Wake;
use tidings_protocol::grant::Grant;
use tidings_runtime::config::Config;
use tidings_runtime::http::rights::Rights;

use super::*;
use crate::connections::Registered;
use crate::drain::Pace;

/// Longer than any test, by the store's clock.
const LEASE_MS: u64 = 3_600_000;

/// Longer than it takes to send on whom there is to send on, by the paused one.
const AMPLE: Duration = Duration::from_mins(2);

fn register(connections: &Connections) -> Registered {
    connections.register(Arc::new(Wake::default()), Rights::open().hold(Grant::open("v-1"), Vec::new(), || ()))
}

async fn says(store: &MemoryBroker, gateway: &str, viewers: u64) -> Reported {
    let report = Report { gateway: gateway.into(), lease_ms: LEASE_MS, viewers };
    store.fleet().report(report).await.expect("memory answers")
}

/// A gateway with the usual settings.
fn shedder(store: &MemoryBroker, connections: &Connections) -> (Shedder, Metrics) {
    let metrics = Metrics::register(&Registry::new()).expect("a fresh registry");
    // Others of the test say what they carry once.
    let settings = Settings { round: Duration::from_mins(1), ..Settings::of(&Config::default().gateway) };
    (Shedder::new(store.fleet(), "g-test".into(), settings, connections.clone(), metrics.clone()), metrics)
}

#[tokio::test(start_paused = true)]
async fn the_oldest_viewers_are_sent_on_until_it_is_even_and_nothing_else_is() {
    let (store, connections) = (MemoryBroker::new(), Connections::default());
    says(&store, "g-empty", 0).await;
    let export = register(&connections);
    let viewers: Vec<Registered> = (0..120).map(|_| register(&connections).of_viewer()).collect();
    let (shedder, metrics) = shedder(&store, &connections);
    let stop = CancellationToken::new();
    let running = tokio::spawn(shedder.run(stop.clone()));
    tokio::time::sleep(AMPLE).await;
    let told = |one: &Registered| one.control.draining().is_some();
    assert_eq!(viewers.iter().filter(|one| told(one)).count(), 52, "the mean is 60, and 68 may stay");
    assert!(viewers[..52].iter().all(|one| told(one) && one.control.is_shed()), "the oldest");
    assert!(viewers[..52].iter().all(|one| one.control.draining().is_some_and(|ms| ms < 1_000)), "soon, elsewhere");
    assert!(!told(&export), "an export is bound to its gateway");
    assert_eq!((connections.viewers(), connections.len()), (68, 121));
    assert_eq!(metrics.shed.get(), 52);
    stop.cancel();
    running.await.expect("no panic");
    let left = says(&store, "g-empty", 0).await;
    assert_eq!(left.gateways.len(), 1, "its word is taken back: {left:?}");
    drop(viewers);
    assert_eq!((connections.viewers(), connections.len()), (0, 1));
}

#[tokio::test(start_paused = true)]
async fn a_gateway_that_drains_is_sent_nowhere_else() {
    let (store, connections) = (MemoryBroker::new(), Connections::default());
    says(&store, "g-empty", 0).await;
    let viewers: Vec<Registered> = (0..120).map(|_| register(&connections).of_viewer()).collect();
    let (shedder, metrics) = shedder(&store, &connections);
    let stop = CancellationToken::new();
    stop.cancel();
    shedder.run(stop).await;
    connections.drain(Pace { per_second_max: 100, telling_max: AMPLE, away_max: AMPLE }).await;
    assert!(viewers.iter().all(|one| one.control.draining().is_some() && !one.control.is_shed()));
    assert_eq!(metrics.shed.get(), 0);
}
