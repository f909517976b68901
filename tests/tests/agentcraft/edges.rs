//! What is refused in the original's own shape, and a flood that goes on.

use serde_json::{Value, json};
use tidings_tests::http::{self, Answer};
use tidings_tests::wait::eventually;

use super::client::Client;
use super::{PROJECT, begins, open, post};

/// More messages than a connection may send, by the settings of this test.
const FLOOD: usize = 50;

/// The members of a refusal, each of its type.
fn refusal(answer: &Answer) -> (u64, String) {
    let body = answer.json();
    let mut names: Vec<&String> = body.as_object().expect("an object").keys().collect();
    names.sort();
    assert_eq!(names, ["detail", "error_type", "status_code", "timestamp"], "{body}");
    assert!(body["detail"].is_string() && body["timestamp"].is_string(), "{body}");
    assert_eq!(answer.headers["content-type"], "application/json");
    assert_eq!(body["status_code"], answer.status);
    (u64::from(answer.status), body["error_type"].as_str().expect("a text").to_owned())
}

#[tokio::test(flavor = "multi_thread")]
async fn every_refusal_has_the_originals_shape() {
    let cluster = open().start().await;
    let gateway = cluster.gateways[0].address();
    let ask = async |method: reqwest::Method, path: &str| {
        let request = http::client().request(method, format!("http://{gateway}{path}"));
        Answer::read(request.send().await.expect("an answer")).await.expect("a whole answer")
    };
    let (get, delete) = (reqwest::Method::GET, reqwest::Method::DELETE);
    for path in ["/api/ws/nowhere", "/api/ws/sessions/s1", "/api/ws/sessions/s1/logs/more", "/api/ws/agent-tracking/"] {
        assert_eq!(refusal(&ask(get.clone(), path).await), (404, "not_found".into()), "{path}");
    }
    for (path, allowed) in [
        ("/api/ws/stats", "GET"),
        ("/api/ws/broadcast", "POST"),
        ("/api/ws/sessions/s1/logs", "GET"),
        ("/api/ws/sessions/s1/state", "GET"),
        ("/api/efficiency/health-check", "GET"),
    ] {
        let refused = ask(delete.clone(), path).await;
        assert_eq!(refusal(&refused), (405, "method_not_allowed".into()), "{path}");
        assert!(refused.headers["allow"].to_str().expect("a text").contains(allowed), "{path}");
    }
    for path in ["/api/ws/sessions/%ff/logs", "/api/ws/sessions/%ff/state"] {
        assert_eq!(refusal(&ask(get.clone(), path).await), (400, "invalid_utf8".into()), "{path}");
    }
    let broadcast = http::post(gateway, "/api/ws/broadcast", &[("content-type", "application/json")], "[]".to_owned());
    assert_eq!(refusal(&broadcast.await.expect("an answer")), (400, "malformed_json".into()));
    // A name that is no text is no client id.
    for path in ["/ws/agent-tracking/%ff", "/api/ws/agent-tracking/%ff"] {
        let mut client = Client::open(gateway, path).await.expect("it is told why");
        assert_eq!(client.ends().await, Some((1008, "Invalid client ID".to_owned())), "{path}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn health_says_what_is_known_and_nothing_else() {
    let cluster = open().start().await;
    post(cluster.ingests[0].address(), PROJECT, &begins("s1")).await;
    let mut client = Client::named(cluster.gateways[0].address(), "looks").await;
    while client.hears("active_sessions").await["data"]["total_sessions"] != 1 {}
    let health = http::get(cluster.gateways[0].address(), "/api/efficiency/health-check").await;
    let health: Value = health.expect("an answer").json();
    assert_eq!(health["overall_status"], "healthy");
    let checks = json!({
        "database": { "status": "healthy" },
        "agent_cache": { "status": "healthy", "stats": { "total_agents": 0 } },
        "websockets": { "status": "healthy", "active_sessions": 1 },
        "crewai": { "status": "healthy" },
    });
    assert_eq!(health["checks"], checks);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_flood_is_dropped_however_large_and_its_client_stays() {
    // For every connection, whatever it speaks.
    let cluster = open().set("TIDINGS_LIMITS__MESSAGES_PER_SECOND", 1).start().await;
    let gateway = &cluster.gateways[0];
    let mut client = Client::named(gateway.address(), "flood").await;
    client.hears("active_sessions").await;
    for n in 0..FLOOD {
        client.say(&format!(r#"{{"type":"get_session_state","session_id":"s{n}"}}"#)).await;
    }
    assert_eq!(client.hears("session_not_found").await["session_id"], "s0");
    let dropped = async || gateway.metric("tidings_gateway_dialect_messages_dropped_total").await;
    eventually("messages are dropped", async || (dropped().await >= 2.0).then_some(())).await;
    // No word of it, and no close: it is told what is new.
    post(cluster.ingests[0].address(), PROJECT, &begins("s1")).await;
    while client.hears("active_sessions").await["data"]["total_sessions"] != 1 {}
}
