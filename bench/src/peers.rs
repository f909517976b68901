//! The peers that are written here: a bare socket server, and axum as one would write it in an afternoon.

use std::cell::RefCell;
use std::rc::Rc;

use anyhow::Context as _;
use axum::Router;
use axum::extract::State;
use axum::extract::ws::{Message, WebSocketUpgrade};
use axum::response::Response;
use axum::routing::{get, post};
use tokio::io::AsyncReadExt as _;
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::broadcast;
use tokio::task::LocalSet;

/// Runs `PEER@ADDRESS`.
pub async fn serve(what: &str) -> anyhow::Result<()> {
    let (peer, address) = what.split_once('@').context("PEER@ADDRESS")?;
    match peer {
        "limit" => limit(address).await,
        "axum" => axum(address, None).await,
        "axum-4k" => axum(address, Some(4096)).await,
        _ => anyhow::bail!("no such peer"),
    }
}

/// One nonblocking write per socket and event, in the task of the publisher. What a socket does not take is dropped.
async fn limit(address: &str) -> anyhow::Result<()> {
    let listener = TcpListener::bind(address).await?;
    let viewers: Rc<RefCell<Vec<TcpStream>>> = Rc::default();
    LocalSet::new()
        .run_until(async {
            loop {
                let (socket, _) = listener.accept().await?;
                socket.set_nodelay(true)?;
                let viewers = viewers.clone();
                tokio::task::spawn_local(async move {
                    let _ = limit_connection(socket, viewers).await;
                });
            }
        })
        .await
}

async fn limit_connection(mut socket: TcpStream, viewers: Rc<RefCell<Vec<TcpStream>>>) -> anyhow::Result<()> {
    let mut input = Vec::new();
    let mut buffer = [0; 4096];
    loop {
        let read = socket.read(&mut buffer).await?;
        if read == 0 {
            return Ok(());
        }
        input.extend_from_slice(&buffer[..read]);
        let Some(head) = input.windows(4).position(|window| window == b"\r\n\r\n") else { continue };
        if input.starts_with(b"GET") {
            let answer = b"HTTP/1.1 101 Switching Protocols\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n\r\n";
            socket.try_write(answer)?;
            viewers.borrow_mut().push(socket);
            return Ok(());
        }
        let text = String::from_utf8_lossy(&input[..head]).to_ascii_lowercase();
        let length: usize = text
            .lines()
            .find_map(|line| line.strip_prefix("content-length: "))
            .and_then(|length| length.trim().parse().ok())
            .context("no length")?;
        if input.len() < head + 4 + length {
            continue;
        }
        let body = &input[head + 4..head + 4 + length];
        let mut frame = vec![0x81, 126, (body.len() >> 8) as u8, body.len() as u8];
        frame.extend_from_slice(body);
        for viewer in viewers.borrow().iter() {
            let _ = viewer.try_write(&frame);
        }
        socket.try_write(b"HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n")?;
        input.drain(..head + 4 + length);
    }
}

#[derive(Clone)]
struct Fan {
    events: broadcast::Sender<axum::extract::ws::Utf8Bytes>,
    read_buffer: Option<usize>,
}

/// A broadcast channel and a task per connection.
async fn axum(address: &str, read_buffer: Option<usize>) -> anyhow::Result<()> {
    let fan = Fan { events: broadcast::Sender::new(1024), read_buffer };
    let router = Router::new().route("/ws", get(watch)).route("/publish", post(publish)).with_state(fan);
    axum::serve(TcpListener::bind(address).await?, router).await?;
    Ok(())
}

async fn publish(State(fan): State<Fan>, body: String) {
    let _ = fan.events.send(body.into());
}

async fn watch(State(fan): State<Fan>, upgrade: WebSocketUpgrade) -> Response {
    let upgrade = match fan.read_buffer {
        Some(bytes) => upgrade.read_buffer_size(bytes),
        None => upgrade,
    };
    let mut events = fan.events.subscribe();
    upgrade.on_upgrade(async move |mut socket| {
        while let Ok(event) = events.recv().await {
            if socket.send(Message::Text(event)).await.is_err() {
                return;
            }
        }
    })
}
