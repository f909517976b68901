//! On a store that can fail and hang, with tokio's clock.

use futures_util::future::join_all;

use super::*;
use crate::Rates;
use crate::double::{Double, Mode};

fn key(id: &str) -> LimitKey<'_> {
    LimitKey { kind: Kind::Requests, id, rate: None }
}

fn settings(requests: Rate) -> Settings {
    Settings { rates: Rates { requests, ..Rates::default() }, ..Settings::default() }
}

fn limiter(store: &Arc<Double>, requests: Rate) -> Limiter {
    Limiter::new(Arc::<Double>::clone(store), settings(requests), Metrics::default())
}

/// Checks for so long, again after each pause, by turns; how many were checked and how many allowed.
async fn flood(limiters: &[&Limiter], seconds: u64, pause: Duration) -> (u64, u64) {
    let (start, mut checked, mut allowed) = (Instant::now(), 0, 0);
    for limiter in limiters.iter().cycle() {
        tokio::time::sleep(pause).await;
        if start.elapsed() > Duration::from_secs(seconds) {
            break;
        }
        checked += 1;
        allowed += u64::from(limiter.check_async(&key("u"), 1).await.is_allowed());
    }
    (checked, allowed)
}

const MS: Duration = Duration::from_millis(1);

#[tokio::test(start_paused = true)]
async fn who_waits_shares_one_question() {
    let store = Double::new();
    let limiter = limiter(&store, Rate::per_second(10_000, 10_000));
    let key = key("u");
    let decisions = join_all((0..300).map(|_| limiter.check_async(&key, 1))).await;
    assert!(decisions.into_iter().all(Decision::is_allowed));
    assert_eq!(store.calls(), 1);
    assert_eq!((limiter.0.metrics.checks_remote.get(), limiter.0.metrics.checks_local.get()), (300, 0));
    assert!(limiter.check(&key, 1).is_allowed());
    limiter.finished().await;
    assert_eq!(limiter.0.metrics.checks_local.get(), 1);
}

#[tokio::test(start_paused = true)]
async fn checks_are_local_nearly_always() {
    let store = Double::new();
    let limiter = limiter(&store, Rate::per_second(10_000, 50_000));
    let (checked, allowed) = flood(&[&limiter], 4, MS).await;
    assert_eq!(checked, allowed);
    let calls = store.calls();
    assert!(calls <= 5, "{calls} calls for {checked} checks");
    assert!(limiter.0.metrics.checks_remote.get() <= 1, "later portions were asked for in time");
}

#[tokio::test(start_paused = true)]
async fn two_limiters_share_one_limit() {
    let store = Double::new();
    let (one, other) = (limiter(&store, Rate::per_second(100, 50)), limiter(&store, Rate::per_second(100, 50)));
    let (checked, allowed) = flood(&[&one, &other], 10, MS).await;
    assert!((1_000..=1_060).contains(&allowed), "{allowed} of 1,050");
    let calls = store.calls();
    assert!(calls <= 2 * 35 * 10, "{calls} calls: about thirty a second each, though far over the limit");
    let refused = one.0.metrics.refused(Kind::Requests) + other.0.metrics.refused(Kind::Requests);
    assert_eq!(refused, checked - allowed);
}

#[tokio::test(start_paused = true)]
async fn a_store_that_fails_leaves_a_share() {
    let store = Double::new();
    let limiter = limiter(&store, Rate::per_second(100, 50));
    store.set(Mode::Fails);
    let (_, allowed) = flood(&[&limiter], 10, MS).await;
    assert!((520..=530).contains(&allowed), "{allowed} of 525: half of the rate, half of the burst");
    let calls = store.calls();
    assert!((9..=11).contains(&calls), "{calls} calls: one a second");
    assert!(limiter.0.metrics.store_errors.get() >= 9);

    store.set(Mode::Answers);
    flood(&[&limiter], 2, MS).await;
    let (_, allowed) = flood(&[&limiter], 10, MS).await;
    assert!((990..=1_010).contains(&allowed), "{allowed} of 1,000: all of the rate again");
}

#[tokio::test(start_paused = true)]
async fn a_store_that_hangs_is_waited_for_once() {
    let store = Double::new();
    let limiter = limiter(&store, Rate::per_second(100, 50));
    store.set(Mode::Hangs);
    let start = Instant::now();
    assert!(limiter.check_async(&key("u"), 1).await.is_allowed());
    assert_eq!(start.elapsed(), Duration::from_millis(50));
    for id in ["u", "v", "w"] {
        assert!(limiter.check_async(&key(id), 1).await.is_allowed());
    }
    assert_eq!(start.elapsed(), Duration::from_millis(50), "nobody waits for a store that is slow");
    assert_eq!(limiter.0.metrics.checks_share.get(), 4);
}

#[tokio::test(start_paused = true)]
async fn a_slow_store_lets_no_more_through() {
    let store = Double::new();
    store.set_latency_ms(80);
    let limiter = limiter(&store, Rate::per_second(100, 50));
    let (_, allowed) = flood(&[&limiter], 10, MS).await;
    assert!((525..=1_060).contains(&allowed), "{allowed}: from the share to the limit");
}

#[tokio::test(start_paused = true)]
async fn a_check_that_may_not_wait_is_paid_later() {
    let store = Double::new();
    let limiter = limiter(&store, Rate::per_second(100, 50));
    let meter = limiter.meter(&key("u"));
    assert_eq!((0..20).filter(|_| meter.check(1).is_allowed()).count(), 5, "one portion ahead");
    limiter.finished().await;
    assert_eq!(store.calls(), 1);
    assert_eq!(meter.slot.lease.lock().check(limiter.0.now_us(), 1, || false).0, Verdict::Empty, "it was paid");
}

#[tokio::test(start_paused = true)]
async fn several_limits_count_all_or_nothing() {
    let store = Double::new();
    let limiter = limiter(&store, Rate::per_second(1, 1));
    let meter = |kind, units| limiter.meter(&LimitKey { kind, id: "k", rate: Some(Rate::per_second(units, units)) });
    let (wide, narrow) = (meter(Kind::KeyEvents, 100), meter(Kind::KeyBytes, 10));
    assert!(check_all(&[(&wide, 60), (&narrow, 10)]).await.is_allowed());
    assert_eq!(check_all(&[(&wide, 30), (&narrow, 5)]).await.retry_after_seconds(), Some(1));
    assert!(wide.check_async(30).await.is_allowed(), "was put back");
    assert_eq!(limiter.0.metrics.refused(Kind::KeyBytes), 1);

    // Dropped while it waits for the second.
    let (first, second) = (meter(Kind::ProjectEvents, 10_000), meter(Kind::ProjectBytes, 10_000));
    assert!(first.check_async(1).await.is_allowed());
    store.set_latency_ms(20);
    let costs = [(&first, 10), (&second, 1)];
    assert!(tokio::time::timeout(10 * MS, check_all(&costs)).await.is_err(), "it waits for the second");
    let put_back = first.slot.lease.lock().check(limiter.0.now_us(), 499, || false).0;
    assert_eq!(put_back, Verdict::Allowed);
}

#[tokio::test(start_paused = true)]
async fn checks_may_be_spawned() {
    fn is_send<T: Send>(future: T) -> T {
        future
    }
    let limiter = limiter(&Double::new(), Rate::per_second(1, 1));
    let meter = limiter.meter(&key("u"));
    assert!(is_send(check_all(&[(&meter, 1)])).await.is_allowed());
    assert!(!is_send(limiter.check_async(&key("u"), 1)).await.is_allowed());
    let gate = crate::connections::Connections::new(Double::new(), Settings::default(), Metrics::default());
    assert!(is_send(gate.open("u", None)).await.is_ok());
}

#[tokio::test(start_paused = true)]
async fn keys_are_bounded() {
    let store = Double::new();
    let settings = Settings { keys_max: 160, ..settings(Rate::per_second(100, 100)) };
    let limiter = Limiter::new(Arc::<Double>::clone(&store), settings, Metrics::default());
    let kept = limiter.meter(&key("kept"));
    for id in 0..1_000 {
        limiter.meter(&key(&id.to_string()));
    }
    assert!((150..=160).contains(&limiter.0.metrics.keys.get()), "{}", limiter.0.metrics.keys.get());
    let over = limiter.0.metrics.overflow.get();
    assert!((840..=851).contains(&over), "{over} found no place");

    // They share one bucket.
    let allowed = join_all((1_000..1_400).map(|id| {
        let limiter = limiter.clone();
        async move { limiter.check_async(&key(&id.to_string()), 1).await.is_allowed() }
    }));
    let allowed = allowed.await.into_iter().filter(|allowed| *allowed).count();
    assert!((95..=110).contains(&allowed), "{allowed} of 100");

    tokio::time::advance(Duration::from_mins(1)).await;
    for id in 2_000..2_016 {
        limiter.meter(&key(&id.to_string()));
    }
    assert_eq!(limiter.0.metrics.overflow.get(), over + 400, "idle ones made place");
    assert!(Arc::ptr_eq(&kept.slot, &limiter.meter(&key("kept")).slot), "what is in use is kept");
}
