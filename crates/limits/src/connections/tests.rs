//! On a store that can fail, hang and forget, with tokio's clock.

use futures_util::future::join_all;

use super::*;
use crate::double::{Double, Mode};

struct Gateway {
    connections: Connections,
    stop: CancellationToken,
    run: tokio::task::JoinHandle<()>,
}

impl Gateway {
    fn start(store: &Arc<Double>) -> Gateway {
        let connections = Connections::new(Arc::<Double>::clone(store), Settings::default(), Metrics::default());
        let stop = CancellationToken::new();
        let run = tokio::spawn(connections.clone().run(stop.clone()));
        Gateway { connections, stop, run }
    }

    async fn open(&self, user: &str, max: u32, times: usize) -> Vec<Connection> {
        let opened = join_all((0..times).map(|_| self.connections.open(user, Some(max)))).await;
        opened.into_iter().flatten().collect()
    }

    fn metrics(&self) -> &Metrics {
        &self.connections.0.metrics
    }
}

/// Time passes, and what is due in it is done.
async fn pass(seconds: u64) {
    tokio::time::sleep(Duration::from_secs(seconds)).await;
}

#[tokio::test(start_paused = true)]
async fn a_limit_holds_over_all_gateways() {
    let store = Double::new();
    let (one, other) = (Gateway::start(&store), Gateway::start(&store));
    let first = one.open("u", 5, 3).await;
    assert_eq!((first.len(), other.open("v", 5, 9).await.len()), (3, 5));
    let second = other.open("u", 5, 9).await;
    assert_eq!((second.len(), other.metrics().connections_refused.get()), (2, 11));
    assert_eq!(one.open("u", 5, 1).await.len(), 0);
    drop(first);
    pass(2).await;
    assert_eq!(other.open("u", 5, 9).await.len(), 3, "closing was told");
    assert_eq!(one.metrics().connections.get(), 0);
}

#[tokio::test(start_paused = true)]
async fn a_storm_is_few_calls() {
    let store = Double::new();
    let gateway = Gateway::start(&store);
    store.calls();
    let users: Vec<String> = (0..10_000).map(|user| format!("user {user}")).collect();
    let opened = join_all(users.iter().map(|user| gateway.connections.open(user, Some(1)))).await;
    assert!(opened.iter().all(Result::is_ok));
    let calls = store.calls();
    assert!(calls <= 2 * 64, "{calls} calls");
    // A minute of renewals, however many users there are; and everything once more.
    pass(60).await;
    let calls = store.calls();
    assert!((64 * 9..=64 * 14).contains(&calls), "{calls} calls");
    let again = join_all(users.iter().map(|user| gateway.connections.open(user, Some(1)))).await;
    assert!(again.iter().all(Result::is_err), "still held");
    drop(opened);
    pass(2).await;
    store.calls();
    pass(60).await;
    assert_eq!(store.calls(), 0, "nothing is held, nothing is said");
}

#[tokio::test(start_paused = true)]
async fn who_comes_back_at_once_finds_the_place_kept() {
    let store = Double::new();
    let gateway = Gateway::start(&store);
    let held = gateway.open("u", 2, 2).await;
    store.calls();
    drop(held);
    assert_eq!(gateway.open("u", 2, 2).await.len(), 2);
    assert_eq!(store.calls(), 0);
}

#[tokio::test(start_paused = true)]
async fn a_dead_gateway_gives_back() {
    let store = Double::new();
    let (dead, other) = (Gateway::start(&store), Gateway::start(&store));
    let held = dead.open("u", 3, 3).await;
    dead.run.abort();
    pass(10).await;
    assert_eq!(other.open("u", 3, 1).await.len(), 0, "its lease runs");
    pass(6).await;
    assert_eq!(other.open("u", 3, 9).await.len(), 3);
    drop(held);
}

#[tokio::test(start_paused = true)]
async fn a_gateway_that_stops_says_so() {
    let store = Double::new();
    let (one, other) = (Gateway::start(&store), Gateway::start(&store));
    let users: Vec<String> = (0..3_000).map(|user| format!("user {user}")).collect();
    let held = join_all(users.iter().map(|user| one.connections.open(user, Some(1)))).await;
    drop(held);
    one.stop.cancel();
    one.run.await.expect("it ends");
    let opened = join_all(users.iter().map(|user| other.connections.open(user, Some(1)))).await;
    assert!(opened.iter().all(Result::is_ok));
}

#[tokio::test(start_paused = true)]
async fn a_store_that_is_away_leaves_a_share() {
    let store = Double::new();
    let gateway = Gateway::start(&store);
    store.set(Mode::Hangs);
    let start = Instant::now();
    let held = gateway.open("u", 5, 9).await;
    assert_eq!((held.len(), start.elapsed()), (3, Duration::from_millis(250)), "half of them, rounded up");
    assert_eq!(gateway.open("one", 1, 2).await.len(), 1, "at least one");
    assert_eq!(gateway.open("none", 0, 2).await.len(), 0);
    assert_eq!(start.elapsed(), Duration::from_millis(250), "nobody waits for a store that is slow");

    store.set(Mode::Fails);
    pass(30).await;
    drop(gateway.open("w", 5, 1).await);
    store.set(Mode::Answers);
    pass(3).await;
    let other = Gateway::start(&store);
    assert_eq!(other.open("u", 5, 9).await.len(), 2, "it was told what is held");
    assert_eq!(gateway.open("w", 5, 9).await.len(), 5, "it is shared again");
}

#[tokio::test(start_paused = true)]
async fn a_store_that_forgot_is_told_again() {
    let store = Double::new();
    let (one, other) = (Gateway::start(&store), Gateway::start(&store));
    let held = one.open("u", 3, 3).await;
    store.forget();
    pass(7).await;
    assert_eq!(other.open("u", 3, 1).await.len(), 0);
    drop(held);
}

#[tokio::test(start_paused = true)]
async fn who_goes_away_while_waiting_takes_no_place() {
    let store = Double::new();
    let gateway = Gateway::start(&store);
    pass(1).await;
    let cut = tokio::time::timeout(Duration::ZERO, gateway.connections.open("u", Some(1))).await;
    assert!(cut.is_err(), "it waits for the store");
    pass(3).await;
    assert_eq!(gateway.open("u", 1, 1).await.len(), 1);
    assert_eq!(gateway.metrics().connections.get(), 0, "and that one is closed again");
}
