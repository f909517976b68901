//! The accept loop and the connections that it started.
//!
//! Child tokens follow ownership: the server owns a token that ends accepting and one that asks connections to finish;
//! every task, of connections and of their HTTP/2 streams, is on one tracker, so [`Server::finished`] waits for all.

use std::convert::Infallible;
use std::net::SocketAddr;
use std::pin::pin;
use std::sync::Arc;
use std::time::Duration;

use axum::Router;
use http::Version;
use hyper_util::rt::{TokioIo, TokioTimer};
use hyper_util::server::conn::auto;
use prometheus::{IntCounter, IntGauge, Registry};
use tokio::net::{TcpListener, TcpStream};
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;
use tower::ServiceExt;

use super::admission::{Admitted, Place, Refusal, last_answer};
use super::entry::{Entry, EntryMetrics, EntrySettings, Taken};
use super::idleness::Idleness;
use super::patience::{Patient, watched};
use super::requests::RequestMetrics;
use super::stream::PatientStream;
use super::tls::TlsError;
use super::{Accepted, Listener, Parting, Peer};
use crate::service::Service;

/// How long a new connection has for its first request's head, whatever protocol it speaks.
const FIRST_REQUEST: Duration = Duration::from_secs(10);

/// The same for a connection that is only let in to be told to come back later.
const REFUSED_REQUEST: Duration = Duration::from_secs(2);

/// How long an HTTP/1 connection has for each further head. The parser's clock also runs while nothing is sent, so this
/// is how long an idle connection is kept, too: longer than common clients keep theirs. An HTTP/2 connection without an
/// open stream is kept as long.
const NEXT_REQUEST: Duration = Duration::from_secs(90);

/// How long a connection that was just accepted may still bring its first request once connections are asked to finish.
const FRESH_REQUEST: Duration = Duration::from_secs(1);

/// Bytes that the parser buffers per HTTP/1 connection: the largest request head that is read at all, and what a
/// response may hold unwritten.
const BUFFER_BYTES_MAX: usize = 64 * 1024;

/// Header fields that the parser reads at all.
const PARSED_HEADERS_MAX: usize = 256;

/// Streams that one HTTP/2 connection may have open: every tab of a busy viewer.
const STREAMS_MAX: u32 = 256;

/// What one HTTP/2 stream may send ahead of its reader, in bytes.
const STREAM_WINDOW_BYTES: u32 = 256 * 1024;

/// What all streams of an HTTP/2 connection may send ahead together, in bytes.
const CONNECTION_WINDOW_BYTES: u32 = 1024 * 1024;

/// How often a silent HTTP/2 connection is asked whether it lives, and how long it may take to answer.
const PING_EVERY: Duration = Duration::from_secs(20);

/// How long a write may wait for a peer that takes nothing, on a connection or on a stream of HTTP/2: a stalled viewer's
/// patience (upgraded sockets have their own).
const WRITE_STALL: Duration = Duration::from_secs(30);

/// The pause after an accept failed for want of descriptors or memory; without it the loop would spin.
const ACCEPT_PAUSE: Duration = Duration::from_millis(100);

/// What a listener counts.
#[derive(Debug, Clone)]
pub struct ServerMetrics {
    accepted: IntCounter,
    open: IntGauge,
    accept_errors: IntCounter,
    timeouts: IntCounter,
    requests: RequestMetrics,
    entry: EntryMetrics,
}

impl ServerMetrics {
    /// Registers the metrics of a process's HTTP listeners; once per registry.
    pub fn register(registry: &Registry) -> prometheus::Result<ServerMetrics> {
        let metrics = ServerMetrics {
            accepted: IntCounter::new("tidings_http_connections_total", "TCP connections accepted.")?,
            open: IntGauge::new("tidings_http_connections_open", "HTTP connections open, not counting upgraded ones.")?,
            accept_errors: IntCounter::new("tidings_http_accept_errors_total", "Accepts that failed.")?,
            timeouts: IntCounter::new(
                "tidings_http_first_request_timeouts_total",
                "Connections closed because their first request did not arrive in time.",
            )?,
            requests: RequestMetrics::register(registry)?,
            entry: EntryMetrics::register(registry)?,
        };
        registry.register(Box::new(metrics.accepted.clone()))?;
        registry.register(Box::new(metrics.open.clone()))?;
        registry.register(Box::new(metrics.accept_errors.clone()))?;
        registry.register(Box::new(metrics.timeouts.clone()))?;
        Ok(metrics)
    }

    /// The listener serves these: the times of their routes are there from the start.
    pub fn expect_routes(&self, services: &[Arc<dyn Service>]) {
        for service in services {
            self.requests.expect(service.openapi().paths.paths.keys().map(String::as_str));
        }
    }
}

/// Why a listener is not served.
#[derive(Debug, thiserror::Error)]
pub enum StartError {
    /// The runtime cannot watch the socket.
    #[error("the listener cannot be served: {0}")]
    Io(#[from] std::io::Error),
    /// Its TLS cannot be made.
    #[error("TLS cannot be served: {0}")]
    Tls(#[from] TlsError),
}

/// A listener that is being served.
///
/// Dropping it neither stops accepting nor closes anything; the runtime's end does.
#[derive(Debug)]
pub struct Server {
    address: SocketAddr,
    stop: CancellationToken,
    finish: CancellationToken,
    accepting: TaskTracker,
    connections: TaskTracker,
}

impl Server {
    /// As [`Server::start_with`], in plain HTTP and without limits.
    pub fn start(listener: Listener, app: Router, metrics: ServerMetrics) -> Result<Server, StartError> {
        Server::start_with(listener, app, metrics, EntrySettings::default())
    }

    /// Starts to accept on `listener`, as `entry` says, and to answer with `app`. Fails where the files of TLS cannot be
    /// used, or the runtime cannot watch the socket. The guard of `entry` is the application's matter
    /// ([`super::app_behind`]).
    pub fn start_with(
        listener: Listener,
        app: Router,
        metrics: ServerMetrics,
        entry: EntrySettings,
    ) -> Result<Server, StartError> {
        let server = Server {
            address: listener.address(),
            stop: CancellationToken::new(),
            finish: CancellationToken::new(),
            accepting: TaskTracker::new(),
            connections: TaskTracker::new(),
        };
        let entry = Arc::new(Entry::load(entry, metrics.entry.clone())?);
        let following = entry.follow(server.stop.clone());
        let acceptor = Acceptor {
            stop: server.stop.clone(),
            connections: server.connections.clone(),
            connection: Connection {
                app,
                metrics,
                entry,
                finish: server.finish.clone(),
                builder: Arc::new(builder(server.connections.clone())),
            },
        };
        server.accepting.spawn(acceptor.run(listener.into_tokio()?));
        server.accepting.spawn(following);
        server.accepting.close();
        Ok(server)
    }

    /// Where it listens.
    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// Stops accepting: takes what the kernel has queued, then closes the listening socket. Open connections go on.
    ///
    /// ORDER: take the queue, close the socket, then [`Server::finish_connections`]. Whoever the kernel let in is answered;
    /// whoever comes later is refused by the kernel.
    pub async fn stop_accepting(&self) {
        self.stop.cancel();
        self.accepting.wait().await;
    }

    /// Asks HTTP connections to finish: idle ones close, others after the requests that they are in, and those that were
    /// accepted within the last second and have asked nothing yet after their first request. Upgraded connections are
    /// not HTTP's any more and hear nothing.
    pub fn finish_connections(&self) {
        self.finish.cancel();
        self.connections.close();
    }

    /// Resolves when no connection is left; never before [`Server::stop_accepting`] and [`Server::finish_connections`].
    pub async fn finished(&self) {
        self.accepting.wait().await;
        self.connections.wait().await;
    }

    /// HTTP connections, and HTTP/2 streams, that are open.
    pub fn open(&self) -> usize {
        self.connections.len()
    }
}

fn builder(tasks: TaskTracker) -> auto::Builder<Patient> {
    let mut builder = auto::Builder::new(Patient { tasks, limit: WRITE_STALL });
    builder
        .http1()
        .timer(TokioTimer::new())
        .header_read_timeout(NEXT_REQUEST)
        // Whoever closes its sending side behind a request still gets the answer. The price: a peer that closed both
        // sides looks the same, and is found out by the next write, so answers without an end must write now and then.
        .half_close(true)
        .max_headers(PARSED_HEADERS_MAX)
        .max_buf_size(BUFFER_BYTES_MAX);
    builder
        .http2()
        .timer(TokioTimer::new())
        .max_concurrent_streams(STREAMS_MAX)
        .initial_stream_window_size(STREAM_WINDOW_BYTES)
        .initial_connection_window_size(CONNECTION_WINDOW_BYTES)
        .max_send_buf_size(BUFFER_BYTES_MAX)
        .max_header_list_size(u32::try_from(BUFFER_BYTES_MAX).expect("64 KiB"))
        .keep_alive_interval(PING_EVERY)
        .keep_alive_timeout(PING_EVERY);
    builder
}

struct Acceptor {
    stop: CancellationToken,
    connections: TaskTracker,
    connection: Connection,
}

impl Acceptor {
    async fn run(self, listener: TcpListener) {
        loop {
            let accepted = tokio::select! {
                // Stop first: under a flood of connections the signal would else wait its turn.
                biased;
                () = self.stop.cancelled() => break,
                accepted = listener.accept() => accepted,
            };
            self.take(accepted).await;
        }
        // Closing the socket resets what is queued on it; those clients took us for alive, so they get an answer. The
        // kernel is asked itself: the runtime may not have heard of the newest yet.
        let Ok(listener) = listener.into_std() else { return };
        loop {
            match listener.accept().and_then(in_runtime) {
                Ok(accepted) => self.take(Ok(accepted)).await,
                Err(error) if is_of_the_connection(&error) => {}
                Err(_) => return,
            }
        }
    }

    async fn take(&self, accepted: std::io::Result<(TcpStream, SocketAddr)>) {
        match accepted {
            Ok((socket, peer)) => {
                self.connection.metrics.accepted.inc();
                let (place, refusal) = match self.connection.entry.admit(peer) {
                    Admitted::Yes(place) => (place, None),
                    Admitted::No(place, refusal) => (place, Some(refusal)),
                    Admitted::Closed => return,
                };
                let accepted = Accepted(Instant::now());
                self.connections.spawn(self.connection.clone().run(socket, peer, place, refusal, accepted));
            }
            Err(error) if is_of_the_connection(&error) => {}
            Err(error) => {
                self.connection.metrics.accept_errors.inc();
                tracing::warn!(%error, "accept failed, will try again");
                tokio::time::sleep(ACCEPT_PAUSE).await;
            }
        }
    }
}

fn in_runtime((socket, peer): (std::net::TcpStream, SocketAddr)) -> std::io::Result<(TcpStream, SocketAddr)> {
    socket.set_nonblocking(true)?;
    Ok((TcpStream::from_std(socket)?, peer))
}

/// The peer went away before it was accepted: nothing is wrong here.
fn is_of_the_connection(error: &std::io::Error) -> bool {
    use std::io::ErrorKind::{ConnectionAborted, ConnectionRefused, ConnectionReset};
    matches!(error.kind(), ConnectionAborted | ConnectionRefused | ConnectionReset)
}

#[derive(Clone)]
struct Connection {
    app: Router,
    metrics: ServerMetrics,
    entry: Arc<Entry>,
    finish: CancellationToken,
    builder: Arc<auto::Builder<Patient>>,
}

impl Connection {
    async fn run(
        self,
        socket: TcpStream,
        peer: SocketAddr,
        place: Place,
        refusal: Option<Refusal>,
        accepted: Accepted,
    ) {
        let _open = OpenGuard::new(&self.metrics.open);
        if let Err(error) = socket.set_nodelay(true) {
            tracing::debug!(%error, "the socket is gone already");
            return;
        }
        let fresh_until = Instant::now() + FRESH_REQUEST;
        let Some(Taken { socket, source, refusal }) = self.entry.take(socket, peer, place, refusal).await else {
            return;
        };
        let (heard, parting) = (CancellationToken::new(), self.finish.child_token());
        let idleness = Idleness::default();
        let app = self.app;
        let service = hyper::service::service_fn({
            let (heard, idleness, entry) = (heard.clone(), idleness.clone(), self.entry);
            let parting = Parting(parting.clone());
            let requests = self.metrics.requests.clone();
            move |mut request: hyper::Request<hyper::body::Incoming>| {
                if !heard.is_cancelled() {
                    request.extensions_mut().insert(accepted);
                }
                heard.cancel();
                let running = (request.version() == Version::HTTP_2).then(|| idleness.begin());
                let client = entry.proxies.client(source, request.headers());
                request.extensions_mut().insert(Peer(peer));
                request.extensions_mut().insert(parting.clone());
                request.extensions_mut().insert(client);
                request.extensions_mut().insert(requests.clone());
                if let Some(refusal) = refusal {
                    request.extensions_mut().insert(refusal);
                }
                let app = app.clone();
                async move {
                    let mut response = app.oneshot(request).await.unwrap_or_else(|never| match never {});
                    if refusal.is_some() {
                        last_answer(&mut response);
                    }
                    Ok::<_, Infallible>(response.map(watched).map(|body| match running {
                        Some(running) => running.with(body),
                        None => body,
                    }))
                }
            }
        });
        let io = TokioIo::new(PatientStream::new(socket, WRITE_STALL));
        let mut connection = pin!(self.builder.serve_connection_with_upgrades(io, service));
        let first_within = if refusal.is_some() { REFUSED_REQUEST } else { FIRST_REQUEST };
        let mut first_request = pin!(tokio::time::sleep(first_within));
        let mut finish = pin!(async {
            if refusal.is_some() {
                heard.cancelled().await;
                return;
            }
            parting.cancelled().await;
            // Out of the queue of a closed port: its request is on its way, and to close now would leave it unanswered.
            let _ = tokio::time::timeout_at(fresh_until, heard.cancelled()).await;
        });
        let mut idle = pin!(tokio::time::sleep(NEXT_REQUEST));
        let mut waiting = true;
        let mut finishing = false;
        loop {
            tokio::select! {
                outcome = connection.as_mut() => {
                    if let Err(error) = outcome {
                        // Resets, cut requests and time-outs: the client's business, and as many as it likes.
                        tracing::debug!(%error, "connection ended with an error");
                    }
                    return;
                }
                () = finish.as_mut(), if !finishing => {
                    finishing = true;
                    connection.as_mut().graceful_shutdown();
                }
                () = idle.as_mut(), if !finishing => match idleness.since().map(|since| since + NEXT_REQUEST) {
                    Some(end) if end <= Instant::now() => {
                        finishing = true;
                        connection.as_mut().graceful_shutdown();
                    }
                    Some(end) => idle.as_mut().reset(end),
                    None => idle.as_mut().reset(Instant::now() + NEXT_REQUEST),
                },
                () = first_request.as_mut(), if waiting => {
                    waiting = false;
                    if !heard.is_cancelled() {
                        self.metrics.timeouts.inc();
                        return;
                    }
                }
            }
        }
    }
}

/// Counts a connection as open for as long as it lives, however it ends.
struct OpenGuard<'a>(&'a IntGauge);

impl OpenGuard<'_> {
    fn new(gauge: &IntGauge) -> OpenGuard<'_> {
        gauge.inc();
        OpenGuard(gauge)
    }
}

impl Drop for OpenGuard<'_> {
    fn drop(&mut self) {
        self.0.dec();
    }
}
