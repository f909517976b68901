//! Limits that services share: over processes, over a crash, and beside those who keep to them.

use std::net::SocketAddr;

use serde_json::json;
use tidings_tests::audit::Audit;
use tidings_tests::cluster::{Cluster, PROJECT};
use tidings_tests::http;
use tidings_tests::tokens::{SECRET, SECRET_VARIABLE, token};
use tidings_tests::viewer::websocket::Connection;
use tidings_tests::viewer::{Kind, Plan, Said};
use tidings_tests::wait::eventually;
use tokio::time::Instant;

/// Places of a user over all gateways.
const PLACES: usize = 4;

/// What may be published in a second where it is limited; four times as much at once.
const EVENTS_PER_SECOND: u64 = 1;

/// More requests than any limit here lets through.
const FLOOD: u64 = 60;

/// Messages that a client may send in a second.
const MESSAGES_PER_SECOND: u32 = 10;

/// Opens a stream of events; the status, and the stream, which holds a place as long as it is kept.
async fn stream(gateway: SocketAddr) -> (u16, reqwest::Response) {
    let asked = http::client().get(format!("http://{gateway}/v1/projects/{PROJECT}/events?after=now"));
    let answer = asked.header("accept", "text/event-stream").send().await.expect("an answer");
    (answer.status().as_u16(), answer)
}

#[tokio::test(flavor = "multi_thread")]
async fn a_killed_gateways_places_come_back() {
    let mut cluster = Cluster::on_redis()
        .gateways(2)
        .set("TIDINGS_LIMITS__USER_CONNECTIONS_MAX", PLACES)
        .set("TIDINGS_LIMITS__CONNECTIONS_LEASE_MS", 2_000)
        .start()
        .await;
    let [dying, other] = [cluster.gateways[0].address(), cluster.gateways[1].address()];
    let mut held = Vec::new();
    for _ in 0..PLACES {
        let (status, stream) = stream(dying).await;
        assert_eq!(status, 200);
        held.push(stream);
    }
    assert_eq!(stream(other).await.0, 429, "the places are everybody's");
    cluster.gateways[0].process.kill();
    for place in 0..PLACES {
        let place = format!("place {place} comes back");
        let opened = eventually(&place, async || {
            let (status, stream) = stream(other).await;
            (status == 200).then_some(stream)
        });
        held.push(opened.await);
    }
    assert_eq!(stream(other).await.0, 429, "and no more than there were");
}

/// Publishes single events at these ingests in turn; how many were taken, and how long it took in seconds.
async fn flood(ingests: &[SocketAddr], headers: &[(&str, &str)]) -> (u64, f64) {
    let (began, mut taken) = (Instant::now(), 0);
    for (index, ingest) in (0..FLOOD).zip(ingests.iter().cycle()) {
        let event = json!({"type": "note", "id": format!("e{index}"), "data": {}}).to_string();
        let headers = [&[("content-type", "application/json")], headers].concat();
        let answer = http::post(*ingest, &format!("/v1/projects/{PROJECT}/events"), &headers, event).await;
        let answer = answer.expect("an answer");
        match answer.status {
            200 => taken += 1,
            _ => assert_eq!((answer.status, answer.code().as_str()), (429, "rate_limited"), "{}", answer.text()),
        }
    }
    (taken, began.elapsed().as_secs_f64())
}

/// So much as one limit lets through in this time, and not as much as two.
#[allow(clippy::cast_precision_loss, reason = "small numbers")]
fn assert_one_limit(taken: u64, seconds: f64) {
    let at_once = 4 * EVENTS_PER_SECOND;
    let most = at_once as f64 + seconds * EVENTS_PER_SECOND as f64;
    println!("{taken} events were taken in {seconds:.1} s, of {FLOOD}; at most {most:.1}");
    assert!(taken >= at_once && taken as f64 <= most + 1.0, "{taken} of at most {most}");
}

#[tokio::test(flavor = "multi_thread")]
async fn two_ingests_share_a_projects_limit() {
    let cluster = Cluster::on_redis()
        .ingests(2)
        .set("TIDINGS_LIMITS__PROJECT_EVENTS_PER_SECOND", EVENTS_PER_SECOND)
        .start()
        .await;
    let ingests: Vec<SocketAddr> = cluster.ingests.iter().map(tidings_tests::service::Service::address).collect();
    let (taken, seconds) = flood(&ingests, &[]).await;
    assert_one_limit(taken, seconds);
}

#[tokio::test(flavor = "multi_thread")]
async fn an_api_key_has_a_limit_of_its_own() {
    let cluster = Cluster::on_redis().ingests(2).set(SECRET_VARIABLE, SECRET).start().await;
    let ingests: Vec<SocketAddr> = cluster.ingests.iter().map(tidings_tests::service::Service::address).collect();
    let admin = format!("Bearer {}", token("root", PROJECT, "admin publish"));
    let wish = json!({"scopes": ["publish"], "events_per_second": EVENTS_PER_SECOND}).to_string();
    let headers = [("content-type", "application/json"), ("authorization", &*admin)];
    let made =
        http::post(ingests[0], &format!("/v1/projects/{PROJECT}/keys"), &headers, wish).await.expect("an answer");
    assert_eq!(made.status, 201, "{}", made.text());
    let key = format!("Bearer {}", made.json()["key"].as_str().expect("a key"));
    let (taken, seconds) = flood(&ingests, &[("authorization", &key)]).await;
    assert_one_limit(taken, seconds);
    let (taken, _) = flood(&ingests, &[("authorization", &admin)]).await;
    assert_eq!(taken, FLOOD, "who comes by another credential does not notice");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_flooding_viewer_is_cut_off_and_those_beside_it_miss_nothing() {
    let cluster = Cluster::on_redis().set("TIDINGS_LIMITS__MESSAGES_PER_SECOND", MESSAGES_PER_SECOND).start().await;
    let gateway = cluster.gateways[0].address();
    let mut viewers = cluster.viewers();
    for kind in Kind::ALL {
        viewers.add(Plan::new(kind, PROJECT));
    }
    let mut runner = cluster.runner("one");
    runner.post(100, 1..20).await;
    viewers.have_reached(cluster.ledger.last_n()).await;

    let posting = tokio::spawn(async move { runner.post(2_000, 1..50).await });
    for _ in 0..5 {
        let mut flooding = Connection::open(gateway).await.expect("it may connect");
        let mut sent = 0;
        // The server closes in the middle: then nothing more can be sent.
        while sent < 100 * MESSAGES_PER_SECOND && flooding.say(&json!({"op": "ping", "ref": "x"})).await.is_ok() {
            sent += 1;
        }
        let code = flooding
            .hear_until("the close", |said| match said {
                Said::Closed { code, .. } => Some(code),
                _ => None,
            })
            .await;
        assert_eq!(code, 4203);
    }
    posting.await.expect("the runner does not panic");
    let records = viewers.reach(cluster.ledger.last_n()).await;
    Audit::of(&records, &cluster.ledger).assert_flawless("a flooding viewer");
    for record in &records {
        assert!(record.breaks.is_empty(), "a healthy viewer was cut off: {:?}", record.breaks);
    }
}
