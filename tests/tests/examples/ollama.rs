//! A server that speaks as much of Ollama's HTTP API as the example asks of it. It goes on in a stream when it is told to.

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use serde_json::{Value, json};
use tokio::io::{AsyncBufReadExt as _, AsyncReadExt as _, AsyncWriteExt as _, BufReader};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::Notify;

/// The model that it has.
pub(crate) const MODEL: &str = "tiny:latest";

/// A running server; it ends with the test's runtime.
pub(crate) struct Ollama {
    pub(crate) address: SocketAddr,
    /// The rest of an answer waits for this, unless the question begins with `at once`. To `endless` it speaks until nobody
    /// listens.
    pub(crate) go_on: Arc<Notify>,
}

impl Ollama {
    pub(crate) async fn start() -> Ollama {
        let listener = TcpListener::bind("127.0.0.1:0").await.expect("a free port");
        let address = listener.local_addr().expect("it is bound");
        let go_on = Arc::new(Notify::new());
        let waits = go_on.clone();
        tokio::spawn(async move {
            while let Ok((socket, _)) = listener.accept().await {
                tokio::spawn(serve(socket, waits.clone()));
            }
        });
        Ollama { address, go_on }
    }
}

async fn serve(socket: TcpStream, go_on: Arc<Notify>) -> Option<()> {
    let mut socket = BufReader::new(socket);
    let (mut head, mut length) = (String::new(), 0);
    while !head.ends_with("\r\n\r\n") {
        let from = head.len();
        socket.read_line(&mut head).await.ok().filter(|read| *read > 0)?;
        if let Some((name, value)) =
            head[from..].split_once(':').filter(|(name, _)| name.eq_ignore_ascii_case("content-length"))
        {
            assert!(!name.is_empty());
            length = value.trim().parse().ok()?;
        }
    }
    let mut body = vec![0; length];
    socket.read_exact(&mut body).await.ok()?;
    let begin = |media: &str| format!("HTTP/1.1 200 OK\r\ncontent-type: {media}\r\nconnection: close\r\n\r\n");
    if head.starts_with("GET /api/tags ") {
        let models = json!({"models": [{"name": MODEL, "model": MODEL, "size": 1_000, "details": {"family": "tiny"}}]});
        return socket.write_all(format!("{}{models}", begin("application/json")).as_bytes()).await.ok();
    }
    if head.starts_with("GET /api/ps ") {
        let models = json!({"models": [{"name": MODEL, "model": MODEL, "size_vram": 500}]});
        return socket.write_all(format!("{}{models}", begin("application/json")).as_bytes()).await.ok();
    }
    if head.starts_with("POST /api/show ") {
        let about = json!({"capabilities": ["completion", "thinking"]});
        return socket.write_all(format!("{}{about}", begin("application/json")).as_bytes()).await.ok();
    }
    if !head.starts_with("POST /api/chat ") {
        return socket.write_all(b"HTTP/1.1 404 Not Found\r\nconnection: close\r\n\r\n").await.ok();
    }
    let asked: Value = serde_json::from_slice(&body).ok()?;
    let question = asked["messages"][0]["content"].as_str().unwrap_or_default();
    let token =
        |text: &str| json!({"model": asked["model"], "message": {"role": "assistant", "content": text}, "done": false});
    socket.write_all(begin("application/x-ndjson").as_bytes()).await.ok()?;
    if asked["think"] == true {
        for thinking in ["It is ", "a greeting.\n\nSo I ", "greet."] {
            let part = json!({"model": asked["model"], "message": {"role": "assistant", "content": "", "thinking": thinking}, "done": false});
            socket.write_all(format!("{part}\n").as_bytes()).await.ok()?;
        }
    }
    socket.write_all(format!("{}\n", token("You said: ")).as_bytes()).await.ok()?;
    while question.starts_with("endless") {
        tokio::time::sleep(Duration::from_millis(20)).await;
        socket.write_all(format!("{}\n", token("and ")).as_bytes()).await.ok()?;
    }
    if !question.starts_with("at once") {
        go_on.notified().await;
    }
    if question.contains("fail") {
        return socket.write_all(b"{\"error\":\"the model ran out of memory\"}\n").await.ok();
    }
    let last = json!({"model": asked["model"], "message": {"role": "assistant", "content": ""}, "done": true,
        "done_reason": "stop", "prompt_eval_count": 26, "eval_count": 5});
    socket.write_all(format!("{}\n{last}\n", token(question)).as_bytes()).await.ok()
}
