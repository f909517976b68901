//! What is counted, over all gateways.

use serde_json::{Value, json};
use tidings_tests::http;
use tidings_tests::wait::eventually;

use super::client::Client;
use super::{PROJECT, open, post};

/// Messages that every client is told, each by itself.
const MESSAGES: u64 = 20;

#[tokio::test(flavor = "multi_thread")]
async fn statistics_add_up_over_all_gateways() {
    let cluster = open().gateways(2).start().await;
    let gateways = [cluster.gateways[0].address(), cluster.gateways[1].address()];
    let mut clients = [Client::named(gateways[0], "client_1_a").await, Client::named(gateways[1], "client_2_b").await];
    for client in &mut clients {
        client.hears("active_sessions").await;
    }
    let messages: Vec<Value> =
        (0..MESSAGES).map(|n| json!({ "type": "agentcraft.broadcast", "data": { "type": "word", "n": n } })).collect();
    post(cluster.ingests[0].address(), PROJECT, &json!(messages)).await;
    for client in &mut clients {
        for n in 0..MESSAGES {
            assert_eq!(client.hears("word").await["n"], n);
        }
    }
    for gateway in gateways {
        let stats = eventually("what both were told", async || {
            let stats = http::get(gateway, "/api/ws/stats").await.expect("an answer").json()["stats"].clone();
            (stats["total_messages_sent"] == 2 * (MESSAGES + 1)).then_some(stats)
        });
        let stats = stats.await;
        assert_eq!(stats["active_connections"], 2, "{stats}");
        for (connection, id) in
            stats["connections"].as_array().expect("a list").iter().zip(["client_1_a", "client_2_b"])
        {
            assert_eq!((&connection["client_id"], &connection["message_count"]), (&json!(id), &json!(MESSAGES + 1)));
            assert!(connection["connected_at"].as_f64().is_some_and(|time| time > 1.7e9), "{stats}");
        }
    }
}
