//! A fleet in the middle of an update: a gateway and an ingest of the previous build beside one of each of this build, on one
//! Redis. Then the older two are replaced.
//!
//! Needs the previous build's binary in `TIDINGS_PREVIOUS`: `make mixed PREVIOUS=REF` makes it and runs this. It is no part of
//! `make test`: a shallow clone has no previous commit, and it takes a second build.

#![allow(clippy::print_stdout, reason = "figures are part of the result")]

use std::path::PathBuf;

use serde_json::{Value, json};
use tidings_tests::audit::Audit;
use tidings_tests::cluster::{Cluster, PROJECT};
use tidings_tests::http;
use tidings_tests::runner::results;
use tidings_tests::service::{Launch, Role, Service};
use tidings_tests::swarm::Swarm;
use tidings_tests::viewer::websocket::Connection;
use tidings_tests::viewer::{Kind, Plan, Said, Viewers};
use tidings_tests::wait::eventually;

/// The variable that names the previous build's binary.
const PREVIOUS: &str = "TIDINGS_PREVIOUS";

/// Events of each of the two runners, before the update and after it.
const EVENTS: usize = 6_000;

/// Sizes of the large batches of runners; four of five are of 20.
const BATCHES: std::ops::Range<usize> = 1..1_000;

/// A viewer that roams hangs up after so many events, and comes back at either build's gateway.
const HANG_UP_AFTER: std::ops::Range<usize> = 50..2_000;

/// Roaming viewers of each kind.
const ROAMING: u64 = 6;

/// A gateway and an ingest of each build, this one's first, and no event yet.
async fn both_builds() -> Cluster {
    let previous = std::env::var_os(PREVIOUS).map(PathBuf::from);
    let previous = previous.unwrap_or_else(|| panic!("no {PREVIOUS}: run `make mixed PREVIOUS=REF`"));
    let mut cluster = Cluster::on_redis().start().await;
    for role in [Role::Gateway, Role::Ingest] {
        let launch = Launch::new(role, Some(cluster.redis().url()), Vec::new());
        let service = launch.of(previous.clone()).start().await;
        if role == Role::Gateway { &mut cluster.gateways } else { &mut cluster.ingests }.push(service);
    }
    cluster.viewers_go.set(cluster.gateways.iter().map(Service::address).collect());
    cluster.runners_go.set(cluster.ingests.iter().map(Service::address).collect());
    cluster
}

/// Viewers of every kind, that never stay long at one build's gateway.
fn roaming(cluster: &Cluster) -> Viewers {
    let mut viewers = cluster.viewers();
    for kind in Kind::ALL {
        (0..ROAMING).for_each(|seed| viewers.add(Plan::new(kind, PROJECT).roaming(HANG_UP_AFTER, seed)));
    }
    viewers
}

/// Two runners post to whichever ingest, each batch to another.
async fn post(cluster: &Cluster, names: [&str; 2]) {
    let [mut one, mut two] = names.map(|name| cluster.runner(name));
    tokio::join!(one.post(EVENTS, BATCHES), two.post(EVENTS, BATCHES));
}

/// The older process goes as it is told, and this build's stands in its place.
async fn update(service: &mut Service) {
    service.process.signal("TERM");
    let status = service.process.ended().await;
    assert_eq!(status.code(), Some(0), "{}", service.process.output());
    *service = service.launch().clone().of_this_build().start().await;
}

/// The project's state as a gateway has it, with its position.
async fn state(gateway: &Service) -> Value {
    let path = format!("/v1/projects/{PROJECT}/snapshot");
    let answer = http::get(gateway.address(), &path).await.expect("the gateway answers");
    assert_eq!(answer.status, 200, "{}", answer.text());
    answer.json()
}

/// Every gateway's state is the same.
async fn agree(cluster: &Cluster) {
    let end = cluster.ledger.last_n();
    let [one, two] = &cluster.gateways[..] else { panic!("two gateways") };
    let is_at_end = |state: &Value| state["position"].as_str().is_some_and(|at| at.contains(&format!("-{end}.")));
    eventually("both gateways have the same state", || async {
        let (one, two) = (state(one).await, state(two).await);
        (is_at_end(&one) && one == two).then_some(())
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn viewers_and_runners_roam_over_both_builds_and_nothing_is_lost() {
    let mut cluster = both_builds().await;
    let viewers = roaming(&cluster);
    post(&cluster, ["one", "two"]).await;
    agree(&cluster).await;
    // Under load, as a rollout is.
    let posting = {
        let [mut three, mut four] = ["three", "four"].map(|name| cluster.runner(name));
        tokio::spawn(async move { tokio::join!(three.post(EVENTS, BATCHES), four.post(EVENTS, BATCHES)) })
    };
    update(&mut cluster.ingests[1]).await;
    update(&mut cluster.gateways[1]).await;
    posting.await.expect("runners do not panic");
    agree(&cluster).await;
    assert_eq!(cluster.ledger.len(), 4 * EVENTS);
    let records = viewers.reach(cluster.ledger.last_n()).await;
    Audit::of(&records, &cluster.ledger).assert_flawless("two builds at once, then one");
}

#[tokio::test(flavor = "multi_thread")]
async fn what_one_build_took_the_other_knows_again() {
    let cluster = both_builds().await;
    let path = format!("/v1/projects/{PROJECT}/events");
    for (first, second) in [(0, 1), (1, 0)] {
        let batch = json!(Swarm::new(&format!("runner-{first}"), 1).events(200));
        let post = async |ingest: usize| {
            let answer = http::post_json(cluster.ingests[ingest].address(), &path, &batch).await.expect("an answer");
            assert_eq!(answer.status, 200, "{}", answer.text());
            results(&answer)
        };
        let (taken, again) = (post(first).await, post(second).await);
        for (taken, again) in taken.iter().zip(&again) {
            assert_eq!((taken.status.as_str(), again.status.as_str()), ("appended", "duplicate"), "{}", taken.id);
            assert_eq!(taken.position, again.position, "{}", taken.id);
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn viewers_at_one_build_are_present_at_the_other() {
    let cluster = both_builds().await;
    let mut viewers = Vec::new();
    for gateway in &cluster.gateways {
        let mut connection = Connection::open(gateway.address()).await.expect("it may connect");
        let hello = |said| if let Said::Hello { viewer } = said { Some(viewer) } else { None };
        let id = connection.hear_until("hello", hello).await;
        connection.say(&json!({"op": "subscribe", "project": PROJECT, "presence": true})).await.expect("it is open");
        viewers.push((id, connection));
    }
    let ids: Vec<String> = viewers.iter().map(|(id, _)| id.clone()).collect();
    for gateway in &cluster.gateways {
        eventually("both are present", || async {
            let path = format!("/v1/projects/{PROJECT}/presence");
            let text = http::get(gateway.address(), &path).await.ok()?.text();
            ids.iter().all(|id| text.contains(id)).then_some(())
        })
        .await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn settings_that_one_build_stores_hold_at_the_other() {
    let cluster = both_builds().await;
    let urls =
        cluster.ingests.iter().map(Service::address).map(|at| format!("http://{at}/v1/projects/{PROJECT}/settings"));
    let urls: Vec<String> = urls.collect();
    let client = http::client();
    for (first, second, rate) in [(0, 1, 501), (1, 0, 502)] {
        let patch = json!({"limits": {"events_per_second": rate}});
        let stored = client.patch(&urls[first]).json(&patch).send().await.expect("an answer");
        assert_eq!(stored.status(), 200, "{}", stored.text().await.unwrap_or_default());
        let read = client.get(&urls[second]).send().await.expect("an answer");
        let read = http::Answer::read(read).await.expect("whole").json();
        assert!(read.to_string().contains(&format!("\"events_per_second\":{rate}")), "{read}");
    }
}
