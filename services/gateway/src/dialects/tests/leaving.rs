//! Gateways that send clients away: all of them in a drain, some of them to others of the fleet.

use tidings_broker::Index as _;
use tidings_broker::fleet::Report;

use super::*;
use crate::connections::Registered;

#[tokio::test(start_paused = true)]
async fn who_drains_says_so_in_the_words_of_the_dialect() {
    let rig = Rig::start().await;
    let mut client = rig.connect();
    assert_eq!(client.hears_all().await, ["hello demo", "greet 0 of 0"]);
    rig.gateway.shared.connections.drain(rig.gateway.shared.settings.pace).await;
    assert_eq!(client.hears().await, "1012 restart");
}

#[tokio::test(start_paused = true)]
async fn who_waits_for_answers_is_heard_when_it_answers_the_good_bye() {
    let rig = Rig::start().await;
    // Where no viewer stands nothing is answered, and beyond some asks nothing is read.
    let (mut client, _open) = rig.connect_waiting().await;
    assert_eq!(client.hears().await, "hello demo");
    for _ in 0..40 {
        client.says("state").await;
    }
    rig.gateway.shared.connections.drain(rig.gateway.shared.settings.pace).await;
    assert_eq!(client.hears().await, "1012 restart");
    let since = tokio::time::Instant::now();
    client.frame_out(8, &1012_u16.to_be_bytes()).await;
    let end = tokio::time::timeout(HANG, client.socket.read_u8()).await.expect("it ends");
    assert!(end.is_err() && since.elapsed() < Duration::from_secs(1), "{:?}", since.elapsed());
}

/// One of the native protocol.
fn viewer(rig: &Rig) -> Registered {
    let grant = anyone("native", &project(), Scope::Read.into());
    rig.gateway.shared.register(Arc::new(Wake::default()), grant, &[]).of_viewer()
}

/// When each of them is told `1012 restart`; none: it is not, for so long.
async fn closings(clients: Vec<Client>, within: Duration) -> Vec<Option<Duration>> {
    let begun = tokio::time::Instant::now();
    let closing = |mut client: Client| async move {
        let closed = async { while client.hears().await != "1012 restart" {} };
        tokio::time::timeout(within, closed).await.ok().map(|()| begun.elapsed())
    };
    futures_util::future::join_all(clients.into_iter().map(closing)).await
}

#[tokio::test(start_paused = true)]
async fn clients_that_cannot_be_told_when_to_come_back_are_closed_one_after_the_other() {
    let config = GatewayConfig { drain_reconnects_per_second: 10, ..GatewayConfig::default() };
    let rig = Rig::start_with(config, PROFILE, |_| {}).await;
    let mut clients: Vec<Client> = (0..20).map(|_| rig.connect()).collect();
    for client in &mut clients {
        assert_eq!(client.hears_all().await, ["hello demo", "greet 0 of 0"]);
    }
    // With so many others there is not the time to tell all of them in turn.
    let others: Vec<_> = (0..200).map(|_| viewer(&rig)).collect();
    let drain = rig.gateway.shared.connections.drain(rig.gateway.shared.settings.pace);
    let (closed, ()) = tokio::join!(closings(clients, HANG), drain);
    let mut closed: Vec<Duration> = closed.into_iter().map(|at| at.expect("all are sent away")).collect();
    closed.sort_unstable();
    let gap = |pair: &[Duration]| pair[1].saturating_sub(pair[0]);
    assert!(closed.windows(2).all(|pair| gap(pair) >= Duration::from_millis(150)), "in bunches: {closed:?}");
    assert!(closed[19] < Duration::from_secs(10), "first, and no slower than they may: {closed:?}");
    assert!(others.iter().all(|other| other.control.draining().is_some()));
}

#[tokio::test(start_paused = true)]
async fn clients_of_dialects_count_in_the_fleet_and_some_are_sent_on_to_a_gateway_that_was_added() {
    let config =
        GatewayConfig { shed_excess_min: 1, presence_round: Duration::from_mins(1), ..GatewayConfig::default() };
    let rig = Rig::start_with(config, PROFILE, |_| {}).await;
    let mut clients: Vec<Client> = (0..20).map(|_| rig.connect()).collect();
    for client in &mut clients {
        assert_eq!(client.hears_all().await, ["hello demo", "greet 0 of 0"]);
    }
    let fleet = rig.broker.fleet();
    let report = Report { gateway: "g-empty".into(), lease_ms: 3_600_000, viewers: 0 };
    fleet.report(report.clone()).await.expect("memory answers");
    // The gateway says it after a minute, and for the second time when the test is over.
    let carried = async {
        tokio::time::sleep(Duration::from_secs(90)).await;
        fleet.report(report.clone()).await.expect("memory answers")
    };
    let (closed, carried) = tokio::join!(closings(clients, Duration::from_secs(100)), carried);
    assert_eq!(carried.gateways.iter().map(|one| one.viewers).sum::<u64>(), 20, "{carried:?}");
    let mut closed: Vec<Duration> = closed.into_iter().flatten().collect();
    closed.sort_unstable();
    assert_eq!(closed.len(), 8, "the mean is 10, and 12 may stay");
    closed.dedup();
    assert!(closed.len() > 4, "not all of a second at once: {closed:?}");
}
