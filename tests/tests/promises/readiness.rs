//! Promise 7, not ready means not ready; and how services go when they are told to.

use std::collections::HashSet;

use serde_json::json;
use tidings_tests::audit::Audit;
use tidings_tests::cluster::{Cluster, PROJECT};
use tidings_tests::http;
use tidings_tests::viewer::websocket::{Connection, subscription};
use tidings_tests::viewer::{Kind, Plan, Said, sse};
use tidings_tests::wait::{eventually, within};

fn events_path() -> String {
    format!("/v1/projects/{PROJECT}/events")
}

#[tokio::test(flavor = "multi_thread")]
async fn not_ready_means_not_ready() {
    let mut cluster = Cluster::on_redis().durable().start().await;
    let (gateway, ingest) = (cluster.gateways[0].address(), cluster.ingests[0].address());
    let mut runner = cluster.runner("one");
    runner.post(10, 1..10).await;

    let mut socket = Connection::open(gateway).await.expect("the gateway listens");
    socket.say(&subscription(&Plan::new(Kind::WebSocket, PROJECT), None)).await.expect("it is open");
    let client = http::client();
    let url = format!("http://{gateway}{}?after=start", events_path());
    let mut stream = sse::Stream::open(&client, &url, None).await.expect("the gateway answers");
    let mut told = 0;
    let ten = |said| {
        told += usize::from(matches!(said, Said::Event(_)));
        (told == 10).then_some(())
    };
    socket.hear_until("ten events", ten).await;

    cluster.redis().kill();
    let degraded = |active| move |said: Said| matches!(said, Said::Degraded(told) if told == active).then_some(());
    socket.hear_until("that the store is away", degraded(true)).await;
    let mut streamed = HashSet::new();
    within("the stream says that the store is away", async {
        loop {
            match stream.hear().await.expect("the stream stays open") {
                Said::Event(event) => assert!(streamed.insert(event.id), "told twice"),
                Said::Degraded(true) => return,
                _ => {}
            }
        }
    })
    .await;
    let refused = eventually("ingest refuses", || async {
        let event = json!({"type": "custom.late", "id": "late"});
        let answer = http::post_json(ingest, &events_path(), &event).await.expect("the ingest answers");
        (answer.status == 503).then_some(answer)
    })
    .await;
    assert_eq!(refused.code(), "redis_away");
    assert!(refused.header("retry-after").parse::<u32>().is_ok(), "{:?}", refused.headers);
    cluster.gateways[0].readiness(false).await;
    cluster.ingests[0].readiness(false).await;
    for service in [&cluster.gateways[0], &cluster.ingests[0]] {
        let live = http::get(service.admin(), "/livez").await.expect("the admin port answers");
        assert_eq!(live.status, 200, "it is alive all the same");
    }
    let snapshot = http::get(gateway, "/v1/projects/another/snapshot").await.expect("the gateway answers");
    assert_eq!((snapshot.status, snapshot.code().as_str()), (503, "redis_away"));
    assert!(!snapshot.header("retry-after").is_empty(), "it says when to try again");

    cluster.redis().restart().await;
    cluster.gateways[0].readiness(true).await;
    cluster.ingests[0].readiness(true).await;
    runner.post(1, 1..2).await;
    // The same connections as before: nothing was closed.
    socket.hear_until("that the store is back", degraded(false)).await;
    socket.hear_until("the event behind the outage", |said| matches!(said, Said::Event(_)).then_some(())).await;
    within("the stream goes on", async {
        while streamed.len() < 11 {
            if let Said::Event(event) = stream.hear().await.expect("the stream stays open") {
                assert!(streamed.insert(event.id), "told twice");
            }
        }
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_gateway_that_is_told_to_stop_sends_its_viewers_away_and_ends() {
    let mut cluster = Cluster::on_redis().gateways(2).start().await;
    let mut gateway = cluster.gateways.remove(0);
    let address = gateway.address();
    let mut viewers = cluster.viewers();
    for kind in Kind::ALL {
        (0..4).for_each(|index| viewers.add(Plan::new(kind, PROJECT).roaming(300..600, index)));
    }
    let mut runner = cluster.runner("one");
    runner.post(500, 1..100).await;
    viewers.have_reached(cluster.ledger.last_n()).await;

    let mut socket = Connection::open(address).await.expect("the gateway listens");
    socket.say(&subscription(&Plan::new(Kind::WebSocket, PROJECT), None)).await.expect("it is open");
    socket.hear_until("an event", |said| matches!(said, Said::Event(_)).then_some(())).await;
    let client = http::client();
    let url = format!("http://{address}{}?after=now", events_path());
    let mut stream = sse::Stream::open(&client, &url, None).await.expect("the gateway answers");
    let poll = tokio::spawn(async move { http::get(address, &format!("{}?after=now&wait=25", events_path())).await });

    gateway.process.signal("TERM");
    let draining = |said: Said| match said {
        Said::Draining { retry_after_ms } => Some(retry_after_ms),
        _ => None,
    };
    let retry_after_ms = socket.hear_until("that the gateway goes", draining).await;
    let closed = |said: Said| match said {
        Said::Closed { code, reason } => Some((code, reason)),
        _ => None,
    };
    let (code, reason) = socket.hear_until("the close", closed).await;
    assert_eq!(code, 4200);
    let reason: serde_json::Value = serde_json::from_str(&reason).expect("the reason is JSON");
    assert_eq!((reason["code"].as_str(), reason["retry_after_ms"].as_u64()), (Some("draining"), Some(retry_after_ms)));
    within("the stream is told, and ends", async {
        let mut told = false;
        while let Ok(said) = stream.hear().await {
            told |= matches!(said, Said::Draining { .. });
        }
        assert!(told, "the stream ended without a word");
    })
    .await;
    let polled = poll.await.expect("it does not panic").expect("the poll is answered");
    assert_eq!(polled.status, 200);
    assert_eq!(gateway.process.ended().await.code(), Some(0));

    // Everybody else has gone to the other gateway, and misses nothing.
    cluster.viewers_go.set(vec![cluster.gateways[0].address()]);
    runner.post(500, 1..100).await;
    let records = viewers.reach(cluster.ledger.last_n()).await;
    Audit::of(&records, &cluster.ledger).assert_flawless("a gateway told to stop");
}

#[tokio::test(flavor = "multi_thread")]
async fn an_ingest_that_is_told_to_stop_finishes_what_it_has_accepted() {
    let mut cluster = Cluster::on_redis().ingests(2).start().await;
    let mut viewers = cluster.viewers();
    viewers.add(Plan::new(Kind::WebSocket, PROJECT));
    let mut ingest = cluster.ingests.remove(0);
    let runners: Vec<_> = (0..4).map(|index| cluster.runner(&format!("runner{index}"))).collect();
    let posting = runners.into_iter().map(|mut runner| {
        tokio::spawn(async move {
            runner.post(1_000, 1..1_000).await;
            runner.trouble
        })
    });
    let posting: Vec<_> = posting.collect();
    cluster.ledger.reaches(300).await;
    ingest.process.signal("TERM");
    assert_eq!(ingest.process.ended().await.code(), Some(0));
    let mut duplicates = 0;
    for posted in posting {
        duplicates += posted.await.expect("runners do not panic").duplicates;
    }
    // What it had appended it also acknowledged: no runner had to find out by sending it again.
    assert_eq!(duplicates, 0, "appended, but never acknowledged");
    let records = viewers.reach(cluster.ledger.last_n()).await;
    Audit::of(&records, &cluster.ledger).assert_flawless("an ingest told to stop");
}
