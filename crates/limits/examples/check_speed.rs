//! What a check costs, and how often the store is asked. Run: `cargo run --release -p tidings-limits --example check_speed`

#![allow(clippy::print_stdout, clippy::cast_precision_loss, reason = "it prints figures")]

use std::hint::black_box;
use std::sync::Arc;
use std::time::{Duration, Instant};

use tidings_broker::memory::MemoryBroker;
use tidings_limits::limiter::{LimitKey, Limiter, check_all};
use tidings_limits::local::LocalLimit;
use tidings_limits::{Decision, Kind, Metrics, Rate, Settings};

const CHECKS: u64 = 5_000_000;

fn limiter(metrics: &Metrics) -> Limiter {
    Limiter::new(Arc::new(MemoryBroker::new()), Settings::default(), metrics.clone())
}

fn key(id: &str, rate: Rate) -> LimitKey<'_> {
    LimitKey { kind: Kind::KeyEvents, id, rate: Some(rate) }
}

fn print(what: &str, checks: u64, time: Duration) {
    println!("{what:<44} {:>8.1} ns", time.as_secs_f64() * 1e9 / checks as f64);
}

fn timed(what: &str, mut check: impl FnMut() -> Decision) {
    let start = Instant::now();
    let allowed = (0..CHECKS).filter(|_| black_box(check()).is_allowed()).count();
    assert_eq!(allowed as u64, CHECKS, "nothing here is over its limit");
    print(what, CHECKS, start.elapsed());
}

#[tokio::main]
async fn main() {
    let wide = Rate::per_second(1_000_000_000, 4_000_000_000);
    let metrics = Metrics::default();
    let limiter = limiter(&metrics);
    let meter = limiter.meter(&key("a", wide));
    let mut local = LocalLimit::new(Rate::per_second(1_000_000, 4_000_000_000));
    timed("a connection's own limit", || local.check(1));
    timed("a meter, sync", || meter.check(1));
    timed("a key looked up, sync", || limiter.check(&key("a", wide), 1));

    let start = Instant::now();
    for _ in 0..CHECKS {
        assert!(meter.check_async(1).await.is_allowed());
    }
    print("a meter, async", CHECKS, start.elapsed());

    let meters = ["a", "b", "c", "d"].map(|id| limiter.meter(&key(id, wide)));
    let costs = meters.each_ref().map(|meter| (meter, 1));
    let start = Instant::now();
    for _ in 0..CHECKS {
        assert!(check_all(&costs).await.is_allowed());
    }
    print("four limits together", CHECKS, start.elapsed());

    let start = Instant::now();
    let both = [(); 2].map(|()| {
        let meter = meter.clone();
        tokio::spawn(async move {
            for _ in 0..CHECKS {
                assert!(meter.check_async(1).await.is_allowed());
            }
        })
    });
    for task in both {
        task.await.expect("it ends");
    }
    print("a meter, async, two threads", CHECKS, start.elapsed());

    calls(10_000, "at the limit").await;
    calls(20_000, "at twice the limit").await;
}

/// A limit of 10,000 a second, burst 50,000, checked so often for some seconds.
async fn calls(per_second: u64, what: &str) {
    const SECONDS: u64 = 8;
    let metrics = Metrics::default();
    let meter = limiter(&metrics).meter(&key("u", Rate::per_second(10_000, 50_000)));
    let (mut tick, mut allowed) = (tokio::time::interval(Duration::from_millis(1)), 0);
    for _ in 0..SECONDS * 1_000 {
        tick.tick().await;
        for _ in 0..per_second / 1_000 {
            allowed += u64::from(meter.check_async(1).await.is_allowed());
        }
    }
    let checks = SECONDS * per_second;
    let (calls, waited) = (metrics.store_calls.get(), metrics.checks_remote.get());
    println!(
        "{per_second} checks/s, {what}: {:.3} calls of the store per 1,000 checks, {waited} of {checks} waited, {allowed} allowed",
        calls as f64 * 1_000.0 / checks as f64
    );
}
