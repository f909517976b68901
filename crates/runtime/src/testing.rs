//! Doubles for this crate's own tests: a broker that only answers probes, a service whose work the test ends, and a
//! client of bare sockets.

use std::net::SocketAddr;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Arc, LazyLock};
use std::time::Duration;

use axum::Router;
use axum::extract::Request;
use axum::response::{IntoResponse, Response};
use axum::routing::{get, post};
use futures_util::future::BoxFuture;
use http::StatusCode;
use prometheus::Registry;
use tidings_broker::{
    Answer, AppendCall, CallError, CheckpointAnswer, CheckpointStep, Fields, Index, Log, Page, Probe, ReadError, Sink,
    Span, StateAt, Subscription,
};
use tidings_protocol::head::Head;
use tidings_protocol::project::Project;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio_util::sync::{CancellationToken, DropGuard};

use crate::http::client::ClientAddress;
use crate::http::entry::EntrySettings;
use crate::http::{Listener, Parting, Peer, Server, ServerMetrics, app_behind};
use crate::service::Service;

/// Answers probes when it is told to, else never.
#[derive(Debug)]
pub(crate) struct ProbedBroker {
    pub(crate) answers: AtomicBool,
    pub(crate) asked: AtomicUsize,
    pub(crate) connected: tokio::sync::watch::Sender<bool>,
}

impl Probe for ProbedBroker {
    fn probe(&self) -> BoxFuture<'_, Result<(), ReadError>> {
        self.asked.fetch_add(1, Ordering::Relaxed);
        if self.answers.load(Ordering::Relaxed) {
            Box::pin(std::future::ready(Ok(())))
        } else {
            Box::pin(std::future::pending())
        }
    }

    fn connected(&self) -> tokio::sync::watch::Receiver<bool> {
        self.connected.subscribe()
    }
}

/// What the runtime never asks of a broker.
const NOT_ASKED: &str = "the runtime only probes";

impl Log for ProbedBroker {
    fn append(&self, _: Project, _: AppendCall) -> BoxFuture<'_, Result<Answer, CallError>> {
        unreachable!("{NOT_ASKED}")
    }
    fn read(&self, _: Project, _: Span, _: usize) -> BoxFuture<'_, Result<Page, ReadError>> {
        unreachable!("{NOT_ASKED}")
    }
    fn heads(&self, _: Vec<Project>) -> BoxFuture<'_, Vec<Result<Head, ReadError>>> {
        unreachable!("{NOT_ASKED}")
    }
    fn checkpoint(&self, _: Project, _: CheckpointStep) -> BoxFuture<'_, Result<CheckpointAnswer, CallError>> {
        unreachable!("{NOT_ASKED}")
    }
    fn state(&self, _: Project, _: Fields) -> BoxFuture<'_, Result<StateAt, ReadError>> {
        unreachable!("{NOT_ASKED}")
    }
    fn subscribe(&self, _: Project, _: Arc<dyn Sink>) -> BoxFuture<'_, Result<Subscription, ReadError>> {
        unreachable!("{NOT_ASKED}")
    }
}

impl Index for ProbedBroker {
    fn enter(&self, _: Project) -> BoxFuture<'_, Result<(), CallError>> {
        unreachable!("{NOT_ASKED}")
    }
    fn projects(&self, _: u16) -> BoxFuture<'_, Result<Vec<Project>, ReadError>> {
        unreachable!("{NOT_ASKED}")
    }
    fn lease(&self, _: u16, _: String, _: u64) -> BoxFuture<'_, Result<bool, CallError>> {
        unreachable!("{NOT_ASKED}")
    }
    fn sweep(&self, _: Project, _: u64, _: u64) -> BoxFuture<'_, Result<(), CallError>> {
        unreachable!("{NOT_ASKED}")
    }
    fn held_bytes(&self, _: Vec<Project>) -> BoxFuture<'_, Vec<Result<u64, ReadError>>> {
        unreachable!("{NOT_ASKED}")
    }
    fn refuse(&self, _: Project, _: u64) -> BoxFuture<'_, Result<(), CallError>> {
        unreachable!("{NOT_ASKED}")
    }
}

/// A service with a few routes: `/word` (GET and POST), `/panic`, `/held` (answers when `release` is cancelled), `/drip`
/// (never ends), `/large`, `/last` (ends its connection), `/up` (upgrades and echoes one byte), and `/who` (the client, and whether the socket's peer is
/// loopback).
#[derive(Debug, Default, Clone)]
pub(crate) struct Example {
    /// Ends `/held`.
    pub(crate) release: CancellationToken,
    /// Ends [`Service::finished`].
    pub(crate) ended: CancellationToken,
    /// Cancelled by [`Service::drain`].
    pub(crate) told: CancellationToken,
    /// A request is in `/held`.
    pub(crate) entered: CancellationToken,
    /// The answer of `/drip` was dropped.
    pub(crate) dropped: CancellationToken,
}

impl Service for Example {
    fn name(&self) -> &'static str {
        "example"
    }

    fn router(&self) -> Router {
        let Example { release, entered, dropped, .. } = self.clone();
        let held = move || {
            entered.cancel();
            let release = release.clone();
            async move {
                release.cancelled().await;
                "released"
            }
        };
        Router::new()
            .route("/word", get(async || "word"))
            .route("/word", post(async || "posted"))
            .route("/panic", get(panics))
            .route("/held", get(held))
            .route("/large", get(async || LARGE.as_str()))
            .route("/drip", get(move || std::future::ready(drip(dropped.clone().drop_guard()))))
            .route("/last", get(last))
            .route("/up", get(upgrade))
            .route("/who", get(who))
    }

    fn openapi(&self) -> utoipa::openapi::OpenApi {
        let mut document = utoipa::openapi::OpenApi::default();
        let item = utoipa::openapi::path::PathItem::new(
            utoipa::openapi::path::HttpMethod::Get,
            utoipa::openapi::path::Operation::new(),
        );
        document.paths.paths.insert("/word".into(), item);
        document
    }

    fn drain(&self) -> BoxFuture<'_, ()> {
        self.told.cancel();
        Box::pin(std::future::ready(()))
    }

    fn finished(&self) -> BoxFuture<'_, ()> {
        Box::pin(self.ended.cancelled())
    }

    fn open(&self) -> usize {
        usize::from(!self.ended.is_cancelled())
    }
}

async fn who(request: Request) -> String {
    let extensions = request.extensions();
    let client = extensions.get::<ClientAddress>().expect("every request has one");
    let peer = extensions.get::<Peer>().expect("every request has one");
    format!("{} {}", client.0, peer.0.ip().is_loopback())
}

async fn last(request: Request) -> &'static str {
    request.extensions().get::<Parting>().expect("every request has one").part();
    "last"
}

async fn panics() -> &'static str {
    panic!("a secret of the handler")
}

/// More than a frame of HTTP/2, and less than a stream's first window.
pub(crate) static LARGE: LazyLock<String> = LazyLock::new(|| "0123456789".repeat(5_000));

/// An answer without an end, drop by drop.
fn drip(dropped: DropGuard) -> axum::body::Body {
    let ticks = tokio::time::interval(Duration::from_millis(5));
    let drops = futures_util::stream::unfold((ticks, dropped), async |(mut ticks, dropped)| {
        ticks.tick().await;
        Some((Ok::<_, std::convert::Infallible>("drop"), (ticks, dropped)))
    });
    axum::body::Body::from_stream(drops)
}

async fn upgrade(request: Request) -> Response {
    let upgrade = hyper::upgrade::on(request);
    tokio::spawn(async move {
        let upgraded = upgrade.await.expect("the client upgrades");
        let (mut socket, early) = crate::http::upgraded::into_socket(upgraded).expect("this server's socket");
        let byte = if let Some(byte) = early.first() { *byte } else { socket.read_u8().await.expect("a byte") };
        socket.write_all(&[byte]).await.expect("the client listens");
    });
    (StatusCode::SWITCHING_PROTOCOLS, [("upgrade", "echo"), ("connection", "upgrade")]).into_response()
}

/// An example service on a port of its own.
pub(crate) fn serve(example: &Example) -> Server {
    serve_with(example, EntrySettings::default())
}

/// The same behind an entry.
pub(crate) fn serve_with(example: &Example, entry: EntrySettings) -> Server {
    let listener = Listener::bind(SocketAddr::from(([127, 0, 0, 1], 0))).expect("a free port");
    let metrics = ServerMetrics::register(&Registry::new()).expect("a fresh registry");
    let app = app_behind(&[Arc::new(example.clone())], entry.guard.clone());
    Server::start_with(listener, app, metrics, entry).expect("a runtime")
}

/// A bare connection.
pub(crate) struct Client(pub(crate) TcpStream);

impl Client {
    pub(crate) async fn connect(address: SocketAddr) -> Client {
        Client(TcpStream::connect(address).await.expect("the server listens"))
    }

    /// Sends a request with `Host: localhost` and these further header lines (each ending in CRLF).
    pub(crate) async fn send(&mut self, line: &str, headers: &str) {
        let request = format!("{line} HTTP/1.1\r\nhost: localhost\r\n{headers}\r\n");
        self.0.write_all(request.as_bytes()).await.expect("the server reads");
    }

    /// The answer, read until its body is complete.
    pub(crate) async fn answer(&mut self) -> String {
        let mut text = String::new();
        let mut buffer = [0; 4096];
        loop {
            if let Some((head, body)) = text.split_once("\r\n\r\n") {
                let length = head.lines().find_map(|line| line.strip_prefix("content-length: ")?.parse().ok());
                if body.len() >= length.unwrap_or(0) {
                    return text;
                }
            }
            let read = self.0.read(&mut buffer).await.expect("an answer");
            assert_ne!(read, 0, "the connection ended in the middle of {text:?}");
            text.push_str(std::str::from_utf8(&buffer[..read]).expect("answers are text"));
        }
    }

    pub(crate) async fn ask(&mut self, line: &str, headers: &str) -> String {
        self.send(line, headers).await;
        self.answer().await
    }

    /// Resolves when the server has closed the connection.
    pub(crate) async fn closed(&mut self) -> String {
        let mut rest = Vec::new();
        self.0.read_to_end(&mut rest).await.expect("the server closes");
        String::from_utf8(rest).expect("answers are text")
    }
}
