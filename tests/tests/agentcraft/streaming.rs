//! Log streaming, which a client turns on once.

use std::net::SocketAddr;

use serde_json::json;

use super::client::Client;
use super::{PROJECT, open, post};

async fn log(ingest: SocketAddr, message: &str) {
    let line = json!([{ "type": "log", "session": "s1", "data": { "level": "info", "message": message } }]);
    post(ingest, PROJECT, &line).await;
}

/// The message of the next line that is streamed.
async fn line(client: &mut Client) -> String {
    client.hears("crewai_log").await["log"]["raw_message"].as_str().expect("a text").to_owned()
}

#[tokio::test(flavor = "multi_thread")]
async fn log_streaming_goes_on_when_its_client_comes_back_anywhere() {
    let mut cluster = open().gateways(2).start().await;
    let gateways = [cluster.gateways[0].address(), cluster.gateways[1].address()];
    let ingest = cluster.ingests[0].address();
    let mut client = Client::named(gateways[0], "streams").await;
    client.hears("active_sessions").await;
    client.say(r#"{"type":"start_log_streaming"}"#).await;
    client.hears("log_streaming_started").await;
    log(ingest, "first").await;
    assert_eq!(line(&mut client).await, "first");
    drop(client);
    log(ingest, "while it is away").await;
    let mut client = Client::named(gateways[1], "streams").await;
    let mut lines = vec![line(&mut client).await];
    if lines[0] == "first" {
        // It had not confirmed that yet.
        lines = vec![line(&mut client).await];
    }
    assert_eq!(lines, ["while it is away"]);
    // Kept over a gateway that is killed, and told to nobody else.
    cluster.gateways[1].process.kill();
    let mut client = Client::named(gateways[0], "streams").await;
    let mut other = Client::named(gateways[0], "does-not").await;
    other.hears("active_sessions").await;
    log(ingest, "at last").await;
    while line(&mut client).await != "at last" {}
    other.say(r#"{"type":"get_session_logs","session_id":"s1"}"#).await;
    loop {
        let message = other.hear().await.expect("it is open");
        assert_ne!(message["type"], "crewai_log");
        if message["type"] == "session_logs" {
            break;
        }
    }
    // So is that it was turned off.
    client.say(r#"{"type":"stop_log_streaming"}"#).await;
    client.hears("log_streaming_stopped").await;
    drop(client);
    let mut client = Client::named(gateways[0], "streams").await;
    client.hears("active_sessions").await;
    log(ingest, "unheard").await;
    client.say(r#"{"type":"get_session_logs","session_id":"s1"}"#).await;
    loop {
        let message = client.hear().await.expect("it is open");
        assert!(message["type"] != "crewai_log" || message["log"]["raw_message"] != "unheard", "{message}");
        if message["type"] == "session_logs" {
            break;
        }
    }
}
