//! Every query of every dashboard, and every expression of the rules, is answered with data by a Prometheus that watches
//! three gateways and two ingests under load.

use std::collections::BTreeSet;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use serde_json::{Value, json};
use tidings_tests::cluster::{Cluster, PROJECT};
use tidings_tests::http;
use tidings_tests::receiver::{Receiver, SECRET};
use tidings_tests::viewer::{Kind, Plan};
use tidings_tests::wait::HANG;
use tokio::time::Instant;

use crate::prometheus::Prometheus;
use crate::repository;
use crate::rules::{metrics, rules};

/// What is said for the interval of a rate: ten scrapes.
const RATE_INTERVAL: &str = "10s";

/// Projects that runners publish to beside the one that viewers watch.
const OTHERS: usize = 3;

/// All queries of all dashboards, for all instances.
fn queries() -> BTreeSet<String> {
    let mut all = BTreeSet::new();
    let folder = repository("helm/tidings/files/dashboards");
    for file in std::fs::read_dir(&folder).expect("the dashboards are there") {
        let text = std::fs::read_to_string(file.expect("a file").path()).expect("a dashboard is text");
        let dashboard: Value = serde_json::from_str(&text).expect("a dashboard is JSON");
        collect(&dashboard, &mut all);
    }
    let told = |query: String| query.replace("$__rate_interval", RATE_INTERVAL).replace("$instance", ".*");
    all.into_iter().map(told).collect()
}

fn collect(value: &Value, all: &mut BTreeSet<String>) {
    match value {
        Value::Object(members) => {
            if let Some(Value::String(query)) = members.get("expr") {
                all.insert(query.clone());
            }
            members.values().for_each(|member| collect(member, all));
        }
        Value::Array(items) => items.iter().for_each(|item| collect(item, all)),
        _ => {}
    }
}

/// Runners that publish until they are told to stop.
async fn publish(cluster: &Cluster, stop: &AtomicBool) {
    let mut runners = vec![cluster.runner("main")];
    for n in 0..OTHERS {
        let (project, ingests) = (format!("{PROJECT}-{n}"), cluster.runners_go.clone());
        let name = format!("other-{n}");
        runners.push(tidings_tests::runner::Runner::new(
            &name,
            &project,
            ingests,
            tidings_tests::runner::Ledger::default(),
        ));
    }
    while !stop.load(Ordering::Relaxed) {
        for runner in &mut runners {
            runner.post(40, 1..5).await;
        }
    }
}

/// Has the receiver told of one of the projects.
async fn hook(cluster: &Cluster, receiver: &Receiver) {
    let settings = json!({"webhooks": {"w": {"url": receiver.url(), "secret": SECRET}}});
    let ingest = cluster.ingests[0].address();
    let request = http::client().patch(format!("http://{ingest}/v1/projects/{PROJECT}-0/settings"));
    let request = request.header("content-type", "application/merge-patch+json").body(settings.to_string());
    let answer = request.send().await.expect("an answer");
    assert_eq!(answer.status(), 200, "{}", answer.text().await.unwrap_or_default());
}

/// Everything that must be answered with data.
fn wanted() -> BTreeSet<String> {
    let mut wanted = queries();
    assert!(wanted.len() > 60, "only {} queries were found", wanted.len());
    for rule in rules() {
        // An alert that is answered fires: what it looks at must be there. What is recorded must be answered itself.
        if rule.is_alert {
            wanted.extend(metrics(&rule.expression));
        } else {
            wanted.insert(rule.expression);
        }
    }
    wanted
}

#[tokio::test(flavor = "multi_thread")]
async fn every_query_is_answered_with_data() {
    let cluster = Cluster::on_redis()
        .gateways(3)
        .ingests(2)
        .redis_options(&["--maxmemory", "512mb"])
        // So small that those who come back find what they missed on pages.
        .set("TIDINGS_GATEWAY__RING_BYTES_MAX", 65_536)
        .set("TIDINGS_WEBHOOKS__ALLOWED_NETWORKS", "127.0.0.0/8")
        .start()
        .await;
    let receiver = Receiver::start().await;
    hook(&cluster, &receiver).await;
    let prometheus = Prometheus::watching(&cluster).await;
    let mut viewers = cluster.viewers();
    for (seed, kind) in (0..).zip(Kind::ALL.into_iter().cycle().take(24)) {
        viewers.add(Plan::new(kind, PROJECT).roaming(20..400, seed));
    }
    let stop = Arc::new(AtomicBool::new(false));
    let asking = async {
        let mut wanted = wanted();
        let until = Instant::now() + HANG;
        while !wanted.is_empty() && Instant::now() < until {
            let mut unanswered = BTreeSet::new();
            for query in wanted {
                // Nothing divided by nothing is no answer.
                if !prometheus.ask(&query).await.iter().any(|value| value.is_finite()) {
                    unanswered.insert(query);
                }
            }
            wanted = unanswered;
            // Somebody always reads what lies off the ring.
            for gateway in &cluster.gateways {
                let path = format!("/v1/projects/{PROJECT}/events?after=start&limit=1");
                http::get(gateway.address(), &path).await.expect("an answer");
            }
            // The next scrape.
            tokio::time::sleep(Duration::from_secs(1)).await;
        }
        for rule in rules() {
            prometheus.ask(&rule.expression).await;
        }
        stop.store(true, Ordering::Relaxed);
        wanted
    };
    let (unanswered, ()) = tokio::join!(asking, publish(&cluster, &stop));
    assert!(unanswered.is_empty(), "no data for {unanswered:#?}");
    viewers.reach(cluster.ledger.last_n()).await;
}
