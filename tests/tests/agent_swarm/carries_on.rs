//! Clients that stay through what happens to them: a failover of Redis, and the end of their token.

use std::collections::BTreeMap;
use std::net::SocketAddr;

use futures_util::StreamExt as _;
use serde_json::{Value, json};
use tidings_tests::cluster::{Cluster, PROJECT};
use tidings_tests::http;
use tidings_tests::tokens::{SECRET, SECRET_VARIABLE, short, token};
use tidings_tests::wait::{eventually, within};
use tokio::net::TcpStream;
use tokio::sync::watch;
use tokio_tungstenite::tungstenite::Message;
use tokio_tungstenite::{WebSocketStream, client_async};

/// Lines of the log that are written.
const LINES: usize = 600;

/// Lines that one request writes.
const BATCH: usize = 20;

/// What lines say, by their ids.
type Lines = BTreeMap<String, String>;

/// A dashboard's socket.
struct Socket(WebSocketStream<TcpStream>);

impl Socket {
    async fn open(gateway: SocketAddr, token: &str) -> Socket {
        let url = format!("ws://{gateway}/ws/admin/agent-swarm/{PROJECT}?token={token}");
        let stream = TcpStream::connect(gateway).await.expect("the gateway listens");
        Socket(client_async(url, stream).await.expect("it may connect").0)
    }

    /// The next message; else the code that it is closed with.
    async fn hear(&mut self) -> Result<Value, Option<u16>> {
        within("a message", async {
            loop {
                match self.0.next().await {
                    Some(Ok(Message::Text(text))) => return Ok(serde_json::from_str(&text).expect("messages are JSON")),
                    Some(Ok(Message::Close(frame))) => return Err(frame.map(|frame| frame.code.into())),
                    Some(Ok(_)) => {}
                    Some(Err(_)) | None => return Err(None),
                }
            }
        })
        .await
    }

    /// Keeps lines until all are there; which were told by one id says one thing.
    async fn keeps(mut self) -> Lines {
        let mut lines = Lines::new();
        while lines.len() < LINES {
            let message = self.hear().await.expect("it stays open");
            if message["type"] == "workflow_log" {
                enter(&mut lines, &message);
            }
        }
        lines
    }
}

fn enter(lines: &mut Lines, line: &Value) {
    let text = |name: &str| line[name].as_str().expect("a text").to_owned();
    let said = lines.entry(text("id")).or_insert_with(|| text("message")).clone();
    assert_eq!(said, text("message"), "one id, one line: {line}");
}

async fn logs(gateway: SocketAddr, token: &str) -> http::Answer {
    let url = format!("http://{gateway}/v1/public/agent-swarms/projects/{PROJECT}/logs?limit=1000");
    let asked = http::client().get(url).bearer_auth(token).send().await.expect("an answer");
    http::Answer::read(asked).await.expect("a whole answer")
}

/// Keeps the lines of one poll after the other until all are there. What cannot be told now is asked for again.
async fn polls(gateway: SocketAddr, token: &str) -> Lines {
    let mut lines = Lines::new();
    while lines.len() < LINES {
        let answer = logs(gateway, token).await;
        if answer.status == 503 {
            continue;
        }
        let body = answer.json();
        let told = body["logs"].as_array().unwrap_or_else(|| panic!("{}: {body}", answer.status)).clone();
        for line in &told {
            enter(&mut lines, line);
        }
    }
    lines
}

/// Writes all lines, each until it is acknowledged.
async fn writes(ingest: SocketAddr, token: String, written: watch::Sender<usize>) {
    for first in (0..LINES).step_by(BATCH) {
        let events: Vec<Value> = (first..first + BATCH)
            .map(|n| {
                let data = json!({ "level": "info", "message": format!("line {n}") });
                json!({ "type": "log", "id": format!("line-{n}"), "session": "s1", "data": data })
            })
            .collect();
        eventually("the lines are written", || async {
            let url = format!("http://{ingest}/v1/projects/{PROJECT}/events");
            let asked = http::client().post(url).bearer_auth(&token).json(&events).send().await.ok()?;
            (asked.status() == 200).then_some(())
        })
        .await;
        written.send_replace(first + BATCH);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn no_line_is_lost_or_has_two_ids_when_redis_fails_over() {
    let plan = Cluster::on_redis().gateways(2).sentinels().set(SECRET_VARIABLE, SECRET);
    let mut cluster = plan.set("TIDINGS_DIALECTS__SERVE", "agent_swarm").start().await;
    let [one, two] = [0, 1].map(|index| cluster.gateways[index].address());
    let viewer = token("alice", PROJECT, "read");
    let mut socket = Socket::open(one, &viewer).await;
    assert_eq!(socket.hear().await.expect("it is greeted")["type"], "connection_established");
    let (ingest, builder) = (cluster.ingests[0].address(), token("builder", PROJECT, "publish"));
    let begins = json!({ "type": "session.started", "session": "s1", "data": { "title": "a build" } });
    let url = format!("http://{ingest}/v1/projects/{PROJECT}/events");
    let begun = http::client().post(url).bearer_auth(&builder).json(&begins).send().await.expect("an answer");
    assert_eq!(begun.status(), 200);
    // From here on it is told what happens.
    assert_eq!(socket.hear().await.expect("it is told how things stand")["type"], "project_started");
    let told = tokio::spawn(socket.keeps());
    let polled = tokio::spawn(async move { polls(two, &viewer).await });
    let (written, mut is_written) = watch::channel(0);
    let writing = tokio::spawn(writes(ingest, builder, written));
    is_written.wait_for(|lines| *lines >= LINES / 3).await.expect("it writes");
    let primary = cluster.sentinels().primary().await;
    cluster.sentinels().cut_replication(primary).await;
    is_written.wait_for(|lines| *lines >= LINES / 2).await.expect("it writes");
    cluster.sentinels().nodes[primary].kill();
    cluster.sentinels().moved_from(primary).await;
    writing.await.expect("it writes all");
    let (told, polled) = (told.await.expect("no panic"), polled.await.expect("no panic"));
    assert_eq!(told, polled, "the same ids by both ways");
    let mut lines: Vec<&str> = told.values().map(String::as_str).collect();
    lines.sort_unstable();
    lines.dedup();
    assert_eq!(lines.len(), LINES, "every line, under one id");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_token_that_ends_closes_its_socket_and_a_new_one_goes_on() {
    let plan = Cluster::on_redis().gateways(2).set(SECRET_VARIABLE, SECRET);
    let cluster = plan.set("TIDINGS_DIALECTS__SERVE", "agent_swarm").start().await;
    let [one, two] = [0, 1].map(|index| cluster.gateways[index].address());
    // Long enough that it is greeted before, on a slow machine too.
    let old = short("alice", PROJECT, "read", 8);
    let mut socket = Socket::open(one, &old).await;
    assert_eq!(socket.hear().await.expect("it is greeted")["type"], "connection_established");
    let code = loop {
        if let Err(code) = socket.hear().await {
            break code;
        }
    };
    assert_eq!(code, Some(4401));
    // What makes its client get another one, whichever way it asks.
    let refused = logs(two, &old).await;
    assert_eq!((refused.status, refused.json()), (401, json!({ "detail": "Not authenticated" })));
    assert_eq!(Socket::open(two, &old).await.hear().await.err(), Some(Some(4401)));
    let (written, _) = watch::channel(0);
    writes(cluster.ingests[0].address(), token("builder", PROJECT, "publish"), written).await;
    let new = token("alice", PROJECT, "read");
    assert_eq!(polls(two, &new).await.len(), LINES, "what it missed is there by polling");
    let mut socket = Socket::open(two, &new).await;
    assert_eq!(socket.hear().await.expect("it is greeted")["type"], "connection_established");
}
