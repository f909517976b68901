//! Connections on sockets that a test looks into.

use std::future::poll_fn;
use std::sync::Arc;

use prometheus::Registry;
use tidings_broker::memory::MemoryBroker;
use tidings_log::wake::Wake;
use tidings_protocol::grant::Grant;
use tidings_runtime::config::Config;
use tidings_runtime::http::rights::Rights;
use tidings_runtime::service::Service as _;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tower::ServiceExt as _;

use super::*;
use crate::Gateway;
use crate::written::{Writer, event};
use crate::ws::native::Native;
use crate::ws::parts;

mod waking;

/// Longer than anything here takes, by the paused clock.
const HANG: Duration = Duration::from_mins(5);

fn gateway(broker: &MemoryBroker) -> Gateway {
    gateway_for(broker, Rights::open())
}

fn gateway_for(broker: &MemoryBroker, rights: Rights) -> Gateway {
    let broker = Arc::new(broker.clone());
    let limits = tidings_limits::Metrics::default();
    Gateway::new(
        &Config::default(),
        broker,
        rights,
        limits,
        tidings_runtime::telemetry::traces::Traces::default(),
        &Registry::new(),
    )
    .expect("a fresh registry")
}

fn connection<S: AsyncRead + AsyncWrite + Unpin>(gateway: &Gateway, socket: S) -> Connection<S, Native> {
    let shared = &gateway.shared;
    let wake = Arc::new(Wake::default());
    let registered = shared.register(wake.clone(), Grant::open("v-1"), &[]);
    let ping_every = shared.settings.ping_every;
    let asking = crate::commands::Asking::new(shared.commands.clone(), crate::limits::Caller::new("at:test"));
    let native = Native::new(shared.hub.clone(), shared.presence.clone(), wake, false, ping_every, asking);
    Connection::new(parts(shared, registered, socket, BytesMut::new(), None), native)
}

/// A client's short frame, masked with zeros.
fn masked(opcode: u8, payload: &[u8]) -> Vec<u8> {
    let length = u8::try_from(payload.len()).expect("short");
    assert!(length < 126, "short");
    [&[0x80 | opcode, 0x80 | length, 0, 0, 0, 0], payload].concat()
}

/// The next short frame of the server: opcode and payload; none: it has closed the socket.
async fn heard(socket: &mut (impl AsyncRead + Unpin)) -> Option<(u8, Vec<u8>)> {
    let mut header = [0; 2];
    socket.read_exact(&mut header).await.ok()?;
    let length = match header[1] {
        126 => usize::from(socket.read_u16().await.expect("a whole frame")),
        short => usize::from(short),
    };
    let mut payload = vec![0; length];
    socket.read_exact(&mut payload).await.expect("a whole frame");
    Some((header[0] & 0x0f, payload))
}

const TEXT: u8 = 1;
const BINARY: u8 = 2;
const CLOSE: u8 = 8;
const PING: u8 = 9;

#[tokio::test(start_paused = true)]
async fn nothing_follows_the_close_frame() {
    let gateway = gateway(&MemoryBroker::new());
    let (ours, mut theirs) = tokio::io::duplex(64 * 1024);
    let served = tokio::spawn(connection(&gateway, ours));
    gateway.shared.connections.drain(gateway.shared.settings.pace).await;
    let talk = async {
        while heard(&mut theirs).await.expect("a close first").0 != CLOSE {}
        let late = [
            masked(PING, b"still there?"),
            masked(BINARY, b"x"),
            masked(TEXT, br#"{"op":"ping"}"#),
            masked(TEXT, b"nonsense"),
            masked(CLOSE, &1000u16.to_be_bytes()),
        ];
        theirs.write_all(&late.concat()).await.expect("it still reads");
        assert_eq!(heard(&mut theirs).await, None);
    };
    tokio::time::timeout(HANG, talk).await.expect("the server closes");
    served.await.expect("no panic").expect("a clean end");
}

#[tokio::test(start_paused = true)]
async fn who_floods_is_closed_and_told_when_to_come_back() {
    let gateway = gateway(&MemoryBroker::new());
    let (ours, theirs) = tokio::io::duplex(64 * 1024);
    let (mut theirs, mut sink) = tokio::io::split(theirs);
    tokio::spawn(connection(&gateway, ours));
    let flood = tokio::spawn(async move { while sink.write_all(&masked(TEXT, br#"{"op":"ping"}"#)).await.is_ok() {} });
    let talk = async {
        let mut answered = 0;
        loop {
            let (opcode, payload) = heard(&mut theirs).await.expect("a close first");
            if opcode == CLOSE {
                return (answered, payload);
            }
            answered += 1;
        }
    };
    let (answered, payload) = tokio::time::timeout(HANG, talk).await.expect("the server closes");
    flood.abort();
    assert_eq!(payload[..2], CloseCode::RateLimited.number().to_be_bytes());
    assert!(payload[2..].starts_with(br#"{"code":"rate_limited","retry_after_ms":"#));
    assert!(answered >= 800, "so many may come at once: {answered}");
}

#[tokio::test(start_paused = true)]
async fn who_takes_nothing_is_blocked_until_it_does_or_goes() {
    let gateway = gateway(&MemoryBroker::new());
    let blocked = || gateway.shared.metrics.blocked();
    // The greeting does not fit.
    let (ours, mut theirs) = tokio::io::duplex(16);
    let mut reading = connection(&gateway, ours);
    assert!(futures_util::poll!(&mut reading).is_pending());
    let (ours, _theirs) = tokio::io::duplex(16);
    let mut silent = connection(&gateway, ours);
    assert!(futures_util::poll!(&mut silent).is_pending());
    assert_eq!(blocked(), 2);
    while blocked() > 1 {
        let mut some = [0; 16];
        let more = tokio::time::timeout(HANG, theirs.read_exact(&mut some)).await;
        more.expect("more of the greeting").expect("an open socket");
        assert!(futures_util::poll!(&mut reading).is_pending());
    }
    drop(silent);
    assert_eq!(blocked(), 0);
}

/// A socket that takes everything at once, and says one thing.
struct Greedy {
    says: Vec<u8>,
    taken_bytes: usize,
}

impl AsyncRead for Greedy {
    fn poll_read(mut self: Pin<&mut Self>, _: &mut Context<'_>, buffer: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        if self.says.is_empty() {
            return Poll::Pending;
        }
        buffer.put_slice(&std::mem::take(&mut self.says));
        Poll::Ready(Ok(()))
    }
}

impl AsyncWrite for Greedy {
    fn poll_write(mut self: Pin<&mut Self>, _: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        self.taken_bytes += bytes.len();
        Poll::Ready(Ok(bytes.len()))
    }

    fn poll_flush(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        Poll::Ready(Ok(()))
    }

    fn poll_shutdown(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        Poll::Ready(Ok(()))
    }
}

#[tokio::test(start_paused = true)]
async fn a_connection_that_catches_up_lets_others_have_their_turn() {
    const BACKLOG_BYTES: usize = 8 * WRITE_BYTES;
    let broker = MemoryBroker::new();
    let gateway = gateway(&broker);
    let mut writer = Writer::new(&broker, "demo").await;
    writer.append(vec![event("first", 0)]).await;
    // From here on the topic's ring holds all of it, so that nothing but its own measure stops the connection.
    let warm = http::Request::get("/v1/projects/demo/events").body(axum::body::Body::empty()).expect("a request");
    assert_eq!(gateway.router().oneshot(warm).await.expect("routers answer").status(), 200);
    for _ in 0..=BACKLOG_BYTES / (50 * 1024) {
        writer.append((0..50).map(|_| event("e", 1024)).collect()).await;
    }
    let says = masked(TEXT, br#"{"op":"subscribe","project":"demo","after":"start"}"#);
    let mut connection = connection(&gateway, Greedy { says, taken_bytes: 0 });
    let mut most = 0;
    let catching_up = poll_fn(|cx| {
        let before = connection.socket.taken_bytes;
        let polled = Pin::new(&mut connection).poll(cx);
        assert!(polled.is_pending(), "{polled:?}");
        most = most.max(connection.socket.taken_bytes - before);
        if connection.socket.taken_bytes >= BACKLOG_BYTES { Poll::Ready(()) } else { Poll::Pending }
    });
    tokio::time::timeout(HANG, catching_up).await.expect("it asks for its next turn");
    // A turn ends with the write that reaches the measure.
    assert!(most < 2 * WRITE_BYTES, "{most} bytes in one turn");
}

/// Ends although its socket takes nothing, once this has happened.
async fn ends_unread(gateway: &Gateway, grant: Grant, happens: impl AsyncFnOnce()) {
    // Room for a part of the greeting.
    let (ours, mut theirs) = tokio::io::duplex(16);
    let mut unread = connection(gateway, ours);
    unread.line.registered = gateway.shared.register(Arc::new(Wake::default()), grant, &[&project()]);
    let served = tokio::spawn(unread);
    theirs.write_all(&masked(TEXT, br#"{"op":"subscribe","project":"demo"}"#)).await.expect("it reads");
    // Twice the next tick: what the client said is done by then.
    tokio::time::sleep(Duration::from_secs(5)).await;
    assert!(!served.is_finished());
    happens().await;
    let over = tokio::time::timeout(CLOSE_WAIT + Duration::from_secs(3), served).await;
    over.expect("it stays as long as its reader likes").expect("no panic").expect("a clean end");
}

fn project() -> tidings_protocol::project::Project {
    "demo".parse().expect("a name")
}

#[tokio::test(start_paused = true)]
async fn who_takes_nothing_ends_with_its_gateway() {
    let gateway = gateway(&MemoryBroker::new());
    let drain = async || gateway.shared.connections.drain(gateway.shared.settings.pace).await;
    ends_unread(&gateway, Grant::open("v-1"), drain).await;
}

#[tokio::test(start_paused = true)]
async fn who_takes_nothing_ends_with_its_key() {
    use tidings_auth::{Authenticator, Closed, Config, Credential, MemoryKeys, NewKey, Stores, limits, unix_now};

    let keys = Arc::new(MemoryKeys::default());
    let stores = Stores { keys: Some(keys.clone()), members: None };
    let authenticator = Authenticator::new(Config::Closed(Closed::default()), stores).expect("sound");
    let rights = Rights::new(authenticator, &Registry::new()).expect("a registry of its own");
    let made = NewKey::make(vec!["demo".parse().expect("a pattern")], "read".parse().expect("scopes"), unix_now());
    keys.put(made.record.clone());
    let shown = Credential::new(made.key.expose());
    let grant = rights.authenticator().authenticate(&shown, unix_now()).await.expect("a good key");
    let watched = rights.clone();
    tokio::spawn(async move { watched.keep().await });
    let gateway = gateway_for(&MemoryBroker::new(), rights);
    let revoke = async || {
        assert!(keys.revoke(&made.record.id, unix_now()));
        tokio::time::sleep(limits::REVALIDATE_EVERY * 2).await;
    };
    ends_unread(&gateway, grant, revoke).await;
}

/// A socket that says one thing, and takes what is written once it is open.
struct Gated {
    says: Vec<u8>,
    open: bool,
    taken: Vec<u8>,
}

impl AsyncRead for Gated {
    fn poll_read(mut self: Pin<&mut Self>, _: &mut Context<'_>, buffer: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        if self.says.is_empty() {
            return Poll::Pending;
        }
        buffer.put_slice(&std::mem::take(&mut self.says));
        Poll::Ready(Ok(()))
    }
}

impl AsyncWrite for Gated {
    fn poll_write(mut self: Pin<&mut Self>, _: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        if !self.open {
            return Poll::Pending;
        }
        self.taken.extend_from_slice(bytes);
        Poll::Ready(Ok(bytes.len()))
    }

    fn poll_flush(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        Poll::Ready(Ok(()))
    }

    fn poll_shutdown(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        Poll::Ready(Ok(()))
    }
}

/// Polls a connection for a while: whatever it waits for meanwhile comes.
async fn poll_for(connection: &mut Connection<Gated, Native>, time: Duration) {
    let over = tokio::time::timeout(time, poll_fn(|cx| Pin::new(&mut *connection).poll(cx))).await;
    assert!(over.is_err(), "it goes on: {over:?}");
}

/// Where this is said first.
fn said_at(taken: &[u8], words: &str) -> Option<usize> {
    taken.windows(words.len()).position(|some| some == words.as_bytes())
}

/// A subscription to a project with a list of some 100 KiB.
async fn crowded(broker: &MemoryBroker, project: &str) -> Vec<u8> {
    let record = serde_json::json!({"labels": {"l": "x".repeat(2_000)}}).to_string();
    for runner in 0..50 {
        let by = tidings_broker::presence::Speaker { subject: "s".into(), overrules: false };
        let project = project.parse().expect("a name");
        let put = tidings_broker::presence::Presences::put_runner(
            broker,
            project,
            format!("r{runner}"),
            by,
            600_000,
            record.clone().into(),
        );
        put.await.expect("memory answers");
    }
    let wish = format!("{{\"op\":\"subscribe\",\"project\":\"{project}\",\"after\":\"start\",\"presence\":true}}");
    masked(TEXT, wish.as_bytes())
}

#[tokio::test(start_paused = true)]
async fn who_is_there_in_many_projects_is_told_in_bounded_writes() {
    const PROJECTS: usize = 16;
    let broker = MemoryBroker::new();
    let gateway = gateway(&broker);
    let mut says = Vec::new();
    for index in 0..PROJECTS {
        says.extend(crowded(&broker, &format!("p{index}")).await);
    }
    let mut connection = connection(&gateway, Gated { says, open: false, taken: Vec::new() });
    // The greeting does not leave: meanwhile all subscriptions come to stand, and have something to say.
    poll_for(&mut connection, Duration::from_secs(5)).await;
    let mut most = 0;
    let telling = poll_fn(|cx| {
        connection.socket.open = true;
        while !connection.outbox.is_empty() || connection.fill(cx) != Filled::Nothing {
            let before = connection.socket.taken.len();
            while !connection.outbox.is_empty() {
                assert!(connection.outbox.poll_write(cx, &mut connection.socket).is_ready());
            }
            most = most.max(connection.socket.taken.len() - before);
        }
        let told = connection.socket.taken.windows(15).filter(|some| *some == b"\"op\":\"presence\"").count();
        if told == PROJECTS { Poll::Ready(()) } else { Poll::Pending }
    });
    tokio::time::timeout(HANG, telling).await.expect("all are told");
    assert!(most <= WRITE_BYTES + 2 * tidings_presence::LISTED_BYTES_MAX, "{most} bytes in one write");
}

#[tokio::test(start_paused = true)]
async fn events_and_who_is_there_take_turns() {
    const BACKLOG_BYTES: usize = 8 * WRITE_BYTES;
    let broker = MemoryBroker::new();
    let gateway = gateway(&broker);
    let mut writer = Writer::new(&broker, "demo").await;
    writer.append(vec![event("first", 0)]).await;
    let warm = http::Request::get("/v1/projects/demo/events").body(axum::body::Body::empty()).expect("a request");
    assert_eq!(gateway.router().oneshot(warm).await.expect("routers answer").status(), 200);
    for _ in 0..=BACKLOG_BYTES / (50 * 1024) {
        writer.append((0..50).map(|_| event("e", 1024)).collect()).await;
    }
    let says = crowded(&broker, "demo").await;
    let mut connection = connection(&gateway, Gated { says, open: false, taken: Vec::new() });
    poll_for(&mut connection, Duration::from_secs(5)).await;
    connection.socket.open = true;
    poll_for(&mut connection, Duration::from_secs(5)).await;
    let taken = &connection.socket.taken;
    let told_at = said_at(taken, "\"op\":\"presence\"").expect("it is told");
    let event_at = said_at(taken, "\"op\":\"event\"").expect("events");
    assert!(taken.len() > BACKLOG_BYTES, "{} bytes", taken.len());
    assert!(event_at < told_at, "events come first: {event_at} {told_at}");
    assert!(told_at < 2 * WRITE_BYTES, "it does not wait for all of them: {told_at}");
}
