//! Webhooks end to end: real processes, a real Redis, and receivers in the test's own process.

mod borders;
mod commands;
mod deliveries;

use std::net::SocketAddr;

use serde_json::{Value, json};
use tidings_tests::cluster::{Cluster, Plan};
use tidings_tests::http::{self, Answer};
use tidings_tests::receiver::{Call, Receiver, SECRET};
use tidings_tests::service::Service;
use tidings_tests::wait::eventually;

/// The project.
const PROJECT: &str = "hive";

/// Services that may call receivers in this process.
fn calling() -> Plan {
    Cluster::on_redis().set("TIDINGS_WEBHOOKS__ALLOWED_NETWORKS", "127.0.0.0/8")
}

/// Changes the project's settings.
async fn set(ingest: SocketAddr, settings: &Value) -> Answer {
    let request = http::client().patch(format!("http://{ingest}/v1/projects/{PROJECT}/settings"));
    let request = request.header("content-type", "application/merge-patch+json").body(settings.to_string());
    Answer::read(request.send().await.expect("an answer")).await.expect("a whole answer")
}

/// Sets the webhook `w`.
async fn hook(ingest: SocketAddr, url: &str, types: &[&str]) {
    let webhook = json!({"url": url, "types": types, "secret": SECRET});
    let answer = set(ingest, &json!({"webhooks": {"w": webhook}})).await;
    assert_eq!(answer.status, 200, "{}", answer.text());
}

/// Posts events, each of these types, under these ids.
async fn say(ingest: SocketAddr, events: &[(&str, String)]) {
    let events: Vec<Value> = events.iter().map(|(kind, id)| json!({"type": kind, "id": id, "data": {}})).collect();
    let answer = http::post_json(ingest, &format!("/v1/projects/{PROJECT}/events"), &json!(events)).await;
    let answer = answer.expect("an answer");
    assert_eq!(answer.status, 200, "{}", answer.text());
}

/// Ids of so many events, from this number on.
fn ids(from: usize, count: usize) -> Vec<String> {
    (from..from + count).map(|number| format!("e{number}")).collect()
}

/// Ids of what receivers were told, in the order in which they first heard of each.
fn told(calls: &[Call]) -> Vec<String> {
    let mut told: Vec<String> = Vec::new();
    for event in calls.iter().flat_map(Call::events) {
        let id = event["id"].as_str().unwrap_or_else(|| event["data"]["cause"].as_str().expect("an id, or a gap"));
        if !told.iter().any(|known| known == id) {
            told.push(id.to_owned());
        }
    }
    told
}

/// Which of the ingests delivers.
async fn who_delivers(ingests: &[Service]) -> usize {
    eventually("an ingest that delivers", async || {
        for (index, ingest) in ingests.iter().enumerate() {
            if ingest.metric("tidings_webhooks_open").await > 0.0 {
                return Some(index);
            }
        }
        None
    })
    .await
}

/// Waits until this ingest's calls had this result.
async fn has_result(ingest: &Service, result: &str) {
    let name = format!("tidings_webhooks_deliveries_total{{kind=\"events\",result=\"{result}\"}}");
    eventually(&name, async || (ingest.metric(&name).await > 0.0).then_some(())).await;
}
