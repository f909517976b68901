//! What gets no answer, or another than it hoped for.

use serde_json::json;
use tidings_tests::http;

use super::client::Client;
use super::{PROJECT, begins, open, post};

#[tokio::test(flavor = "multi_thread")]
async fn client_ids_are_let_in_by_rule() {
    let refused = Some((1008, "Invalid client ID".to_owned()));
    let relaxed = open().start().await;
    let gateway = relaxed.gateways[0].address();
    for path in ["/ws/agent-tracking/", "/api/ws/agent-tracking/"] {
        for id in ["agent_chat_1700000000000_k3f9", "test-client", "client_1700000000000_k3f9"] {
            let mut client = Client::open(gateway, &format!("{path}{id}")).await.expect("it may connect");
            assert_eq!(client.hears("active_sessions").await["data"]["total_sessions"], 0, "{id}");
        }
        let mut client = Client::open(gateway, &format!("{path}a%20b")).await.expect("it is told why");
        assert_eq!(client.ends().await, refused);
    }
    let seed = open().set("TIDINGS_DIALECTS__AGENTCRAFT_CLIENT_IDS", "seed").start().await;
    let gateway = seed.gateways[0].address();
    Client::named(gateway, "client_1700000000000_k3f9").await.hears("active_sessions").await;
    for id in ["test-client", "client_1700000000000", "agent_chat_1700000000000_k3f9"] {
        assert_eq!(Client::named(gateway, id).await.ends().await, refused, "{id}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_not_known_is_passed_over_and_what_is_no_message_cuts_the_connection() {
    let cluster = open().start().await;
    let (gateway, ingest) = (cluster.gateways[0].address(), cluster.ingests[0].address());
    post(ingest, PROJECT, &begins("s1")).await;
    let mut client = Client::named(gateway, "silence").await;
    client.hears("active_sessions").await;
    for text in
        [r#"{"type":"subscribe"}"#, r#"{"type":"ping"}"#, r#"{"type":"pong"}"#, r#"{"type":"get_session_logs"}"#, "{}"]
    {
        client.say(text).await;
    }
    client.say(r#"{"type":"get_session_state","session_id":"s1"}"#).await;
    let next = client.hear().await.expect("an answer");
    assert_eq!(
        (&next["type"], &next["state"]["query"]),
        (&json!("session_state"), &json!("How do I fix webhook errors?"))
    );
    client.say("{").await;
    assert_eq!(client.ends().await, None, "no close frame");
}

#[tokio::test(flavor = "multi_thread")]
async fn the_sixty_first_message_of_a_minute_is_dropped_and_counted() {
    let cluster = open().start().await;
    let gateway = &cluster.gateways[0];
    let mut client = Client::named(gateway.address(), "flood").await;
    for n in 0..61 {
        client.say(&format!(r#"{{"type":"get_session_state","session_id":"s{n}"}}"#)).await;
    }
    for n in 0..60 {
        assert_eq!(client.hears("session_not_found").await["session_id"], format!("s{n}"));
    }
    // It is still connected, and told what is new.
    post(cluster.ingests[0].address(), PROJECT, &begins("s1")).await;
    loop {
        let message = client.hear().await.expect("it is open");
        assert_eq!(message["type"], "active_sessions", "{message}");
        if message["data"]["total_sessions"] == 1 {
            break;
        }
    }
    let dropped = gateway.metric("tidings_gateway_dialect_messages_dropped_total").await;
    assert!((dropped - 1.0).abs() < f64::EPSILON, "{dropped}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_newer_connection_of_a_client_takes_its_entry_and_the_older_one_stays() {
    let cluster = open().gateways(2).start().await;
    let mut older = Client::named(cluster.gateways[0].address(), "twice").await;
    older.hears("active_sessions").await;
    let mut newer = Client::named(cluster.gateways[1].address(), "twice").await;
    newer.hears("active_sessions").await;
    post(cluster.ingests[0].address(), PROJECT, &begins("s1")).await;
    for client in [&mut older, &mut newer] {
        while client.hears("active_sessions").await["data"]["total_sessions"] != 1 {}
    }
    let stats = http::get(cluster.gateways[0].address(), "/api/ws/stats").await.expect("an answer").json();
    assert_eq!(stats["stats"]["active_connections"], 1, "{stats}");
}
