//! What was asked and nobody did: told on the socket and to who polls, to the asker.

use std::net::SocketAddr;

use futures_util::StreamExt as _;
use reqwest::Method;
use serde_json::{Value, json};
use tidings_tests::cluster::{Cluster, PROJECT};
use tidings_tests::http;
use tidings_tests::tokens::{SECRET, SECRET_VARIABLE, token};
use tidings_tests::wait::within;
use tokio::net::TcpStream;
use tokio_tungstenite::WebSocketStream;

/// A client's socket.
async fn open(gateway: SocketAddr, id: &str) -> WebSocketStream<TcpStream> {
    let stream = TcpStream::connect(gateway).await.expect("a connection");
    let url = format!("ws://{gateway}/ws/admin/agent-swarm/{id}?token={}", token("alice", PROJECT, "read command"));
    tokio_tungstenite::client_async(url, stream).await.expect("a handshake").0
}

/// What it hears, once it hears this.
async fn hears(socket: &mut WebSocketStream<TcpStream>, what: &str, is_it: impl Fn(&Value) -> bool) -> Value {
    within(what, async {
        loop {
            let message = socket.next().await.expect("it stays open").expect("a message");
            let Ok(text) = message.to_text() else { continue };
            let Ok(message) = serde_json::from_str::<Value>(text) else { continue };
            if is_it(&message) {
                return message;
            }
        }
    })
    .await
}

async fn asks(gateway: SocketAddr, method: Method, path: &str, body: &Value) -> Value {
    let request = http::client().request(method, format!("http://{gateway}/v1/public/agent-swarms/{path}"));
    let request = request.header("content-type", "application/json").body(body.to_string());
    let request = request.bearer_auth(token("alice", PROJECT, "read command"));
    let answer = http::Answer::read(request.send().await.expect("an answer")).await.expect("a whole answer");
    assert!(answer.status < 300, "{path}: {}", answer.text());
    answer.json()
}

#[tokio::test(flavor = "multi_thread")]
async fn who_asked_is_told_that_nobody_did_it() {
    let plan = Cluster::on_redis().set(SECRET_VARIABLE, SECRET).set("TIDINGS_DIALECTS__SERVE", "agent_swarm");
    let plan = plan.set("TIDINGS_DIALECTS__AGENT_SWARM_PROJECT", PROJECT);
    let cluster = plan.set("TIDINGS_PROJECTS__COMMAND_DEADLINE_MS", 1_500).start().await;
    let (gateway, ingest) = (cluster.gateways[0].address(), cluster.ingests[0].address());
    let runner = format!("Bearer {}", token("builder", PROJECT, "publish work"));
    let started = json!({"type": "session.started", "session": "s-7", "data": {"title": "t"}}).to_string();
    let headers = [("content-type", "application/json"), ("authorization", runner.as_str())];
    let events = format!("/v1/projects/{PROJECT}/events");
    assert_eq!(http::post(ingest, &events, &headers, started).await.expect("an answer").status, 200);
    // It says that it is there, and takes nothing.
    let there =
        http::client().get(format!("http://{ingest}/v1/projects/{PROJECT}/commands?runner=b&capability=session"));
    assert_eq!(there.header("authorization", &runner).send().await.expect("an answer").status(), 200);

    let wanted = json!({"project_type": "web_app", "description": "A todo list"});
    let made = asks(gateway, Method::POST, "orchestrate", &wanted).await;
    let id = made["project_id"].as_str().expect("an id");
    let is_error = |message: &Value| message["type"] == "project_error";
    let error = hears(&mut open(gateway, id).await, "that it did not begin", is_error).await;
    assert_eq!((&error["project_id"], &error["error"]), (&id.into(), &"nobody answered in time".into()));
    let status = asks(gateway, Method::GET, &format!("projects/{id}/status"), &Value::Null).await;
    assert_eq!((&status["status"], &status["errors"]), (&"failed".into(), &json!(["nobody answered in time"])));
    // Whoever comes back hears of it again.
    hears(&mut open(gateway, id).await, "that it did not begin", is_error).await;

    let id = format!("{PROJECT}:s-7");
    let mut socket = open(gateway, &id).await;
    // Who comes is not told lines of before: it is asked once it is known that he is there.
    hears(&mut socket, "how things stand", |message| message["type"] == "project_started").await;
    asks(gateway, Method::POST, &format!("projects/{id}/stop"), &Value::Null).await;
    let line = hears(&mut socket, "a line", |message| message["type"] == "workflow_log").await;
    assert_eq!(
        (&line["level"], &line["message"]),
        (&"error".into(), &"Project stop failed: nobody answered in time".into())
    );
    let logs = asks(gateway, Method::GET, &format!("projects/{id}/logs"), &Value::Null).await;
    assert_eq!((&logs["logs"][0]["id"], &logs["logs"][0]["message"]), (&line["id"], &line["message"]));
    let status = asks(gateway, Method::GET, &format!("projects/{id}/status"), &Value::Null).await;
    assert_eq!((&status["status"], &status["errors"][0]), (&"in_progress".into(), &line["message"]));
}
