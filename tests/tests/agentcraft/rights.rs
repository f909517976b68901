//! Who may: tokens and projects, and a word to everybody.

use serde_json::{Value, json};
use tidings_tests::http;
use tidings_tests::tokens::{SECRET, SECRET_VARIABLE, token};

use super::client::Client;
use super::{PROJECT, open};

const PATH: &str = "/ws/agent-tracking/client_1_a";
const JSON: (&str, &str) = ("content-type", "application/json");

fn bearer(token: &str) -> String {
    format!("Bearer {token}")
}

#[tokio::test(flavor = "multi_thread")]
async fn a_token_says_which_project_and_a_bad_one_is_told_so() {
    let cluster = open().set(SECRET_VARIABLE, SECRET).start().await;
    let (gateway, ingest) = (cluster.gateways[0].address(), cluster.ingests[0].address());
    let publishing = bearer(&token("runner", "*", "publish"));
    for project in [PROJECT, "theirs"] {
        let event = json!({ "type": "session.started", "session": project, "data": { "title": project } });
        let path = format!("/v1/projects/{project}/events");
        let posted = http::post(ingest, &path, &[JSON, ("authorization", &publishing)], event.to_string()).await;
        assert_eq!(posted.expect("an answer").status, 200);
    }
    let sees = async |credential: &[(&'static str, &str)]| {
        let mut client = Client::open_with(gateway, PATH, credential).await.expect("it may connect");
        client.hears("active_sessions").await["data"]["sessions"][0]["session_id"].clone()
    };
    assert_eq!(sees(&[]).await, PROJECT);
    let own = bearer(&token("alice", "theirs", "read"));
    assert_eq!(sees(&[("authorization", &own)]).await, "theirs");
    let (forged, idle) = (bearer("eyJhbGciOiJIUzI1NiJ9.e30.AAAA"), bearer(&token("bob", "theirs", "publish")));
    for (credential, reason) in [(&forged, "Not authenticated"), (&idle, "Not allowed")] {
        let client = Client::open_with(gateway, PATH, &[("authorization", credential)]).await;
        assert_eq!(client.expect("it is told why").ends().await, Some((1008, reason.to_owned())));
    }
    let refused = http::client().get(format!("http://{gateway}/api/ws/stats")).header("authorization", &forged);
    let refused = http::Answer::read(refused.send().await.expect("an answer")).await.expect("all of it");
    let body = refused.json();
    assert_eq!((refused.status, &body["status_code"]), (401, &json!(401)));
    assert!(body["detail"].is_string() && body["error_type"] == "unauthenticated" && body["timestamp"].is_string());
}

#[tokio::test(flavor = "multi_thread")]
async fn a_broadcast_needs_admin_and_reaches_clients_on_all_gateways() {
    let cluster = open().gateways(2).set("TIDINGS_DIALECTS__AGENTCRAFT_SCOPES", "read").set(SECRET_VARIABLE, SECRET);
    let cluster = cluster.start().await;
    let [here, there] = [cluster.gateways[0].address(), cluster.gateways[1].address()];
    let mut clients = [Client::named(here, "client_1_a").await, Client::named(there, "client_2_b").await];
    for client in &mut clients {
        client.hears("active_sessions").await;
    }
    let say = async |credential: Option<&str>, body: &Value| {
        let headers: Vec<_> = [JSON].into_iter().chain(credential.map(|token| ("authorization", token))).collect();
        http::post(here, "/api/ws/broadcast", &headers, body.to_string()).await.expect("an answer")
    };
    let refused = say(None, &json!({ "type": "no" })).await;
    assert_eq!((refused.status, &refused.json()["error_type"]), (403, &json!("forbidden")));
    let (reader, admin) = (bearer(&token("eve", PROJECT, "read")), bearer(&token("root", PROJECT, "admin")));
    assert_eq!(say(Some(&reader), &json!({ "type": "no" })).await.status, 403);
    assert_eq!(say(Some(&admin), &json!(["no"])).await.status, 400);
    let message = json!({ "type": "maintenance", "in_minutes": 5, "nested": { "a": [1, null] } });
    let sent = say(Some(&admin), &message).await;
    assert_eq!((sent.status, sent.json()), (200, json!({ "success": true, "message": "Broadcast sent" })));
    for client in &mut clients {
        assert_eq!(client.hear().await.expect("it is open"), message, "and nothing that was refused");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_not_served_is_not_there() {
    let cluster = open().set("TIDINGS_DIALECTS__SERVE", "pygent").set("TIDINGS_DIALECTS__PYGENT_PROJECT", "p");
    let cluster = cluster.start().await;
    assert_eq!(Client::open(cluster.gateways[0].address(), PATH).await.err(), Some(404));
}
