//! Storms: more clients than a gateway takes, and clients that mean it no good, with healthy viewers beside them that miss
//! nothing.

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::time::Duration;

use serde_json::json;
use tidings_tests::audit::Audit;
use tidings_tests::cluster::{Cluster, PROJECT};
use tidings_tests::http;
use tidings_tests::process::descriptors;
use tidings_tests::service::Service;
use tidings_tests::viewer::{Kind, Plan, Viewers};
use tidings_tests::wait::within;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;
use tokio::task::JoinSet;

use crate::bad_input::{closed_after_bytes, deflate_bomb, gigabyte_frame};

/// Clients that come at once, where this process may have so many sockets.
const STORM: usize = 10_000;

/// Events that are posted while a storm goes on.
const EVENTS: usize = 5_000;

/// Clients of each hostile kind.
const HOSTILE: u32 = 100;

/// What a flooding viewer sends at most, in bytes.
const FLOOD_BYTES: usize = 16 * 1024 * 1024;

/// Resident memory that a gateway may reach under hostile clients.
const RESIDENT_MAX: u64 = 256 * 1024 * 1024;

/// How long a client waits that was closed without a word.
const UNTOLD: Duration = Duration::from_secs(1);

/// How a connection went.
enum Came {
    In(TcpStream),
    Told(u64),
    Closed,
}

/// Tries to open a WebSocket.
async fn come(gateway: SocketAddr) -> Came {
    let Ok(mut socket) = TcpStream::connect(gateway).await else { return Came::Closed };
    let request = format!(
        "GET /v1/ws HTTP/1.1\r\nhost: {gateway}\r\nupgrade: websocket\r\nconnection: upgrade\r\n\
         sec-websocket-version: 13\r\nsec-websocket-key: dGhlIHNhbXBsZSBub25jZQ==\r\n\r\n"
    );
    if socket.write_all(request.as_bytes()).await.is_err() {
        return Came::Closed;
    }
    let mut answer = Vec::new();
    while !answer.windows(4).any(|four| four == b"\r\n\r\n") {
        match socket.read_buf(&mut answer).await {
            Ok(0) | Err(_) => return Came::Closed,
            Ok(_) => {}
        }
    }
    let text = String::from_utf8_lossy(&answer).into_owned();
    match http::RawAnswer(text.clone()).status() {
        101 => Came::In(socket),
        503 => {
            let seconds = text.lines().find_map(|line| line.strip_prefix("retry-after: ")?.parse().ok());
            Came::Told(seconds.unwrap_or_else(|| panic!("no time to come back at: {text}")))
        }
        status => panic!("{status} is no answer to a storm: {text}"),
    }
}

/// Comes back as told until it is in: the connection, how often it was told, and how often closed without a word.
async fn comes_until_in(gateway: SocketAddr) -> (TcpStream, Vec<u64>, usize) {
    let (mut told, mut closed) = (Vec::new(), 0);
    loop {
        match come(gateway).await {
            Came::In(socket) => return (socket, told, closed),
            Came::Told(seconds) => {
                told.push(seconds);
                tokio::time::sleep(Duration::from_secs(seconds)).await;
            }
            Came::Closed => {
                closed += 1;
                tokio::time::sleep(UNTOLD).await;
            }
        }
    }
}

/// A few viewers of each kind, connected once and for all.
fn healthy(cluster: &Cluster) -> Viewers {
    let mut viewers = cluster.viewers();
    for kind in Kind::ALL {
        viewers.add(Plan::new(kind, PROJECT));
    }
    viewers
}

/// They were told everything, and nobody was cut off but by these.
async fn assert_unharmed(cluster: &Cluster, viewers: Viewers, what: &str, may_be: fn(Kind, &str) -> bool) {
    let records = viewers.reach(cluster.ledger.last_n()).await;
    Audit::of(&records, &cluster.ledger).assert_flawless(what);
    for record in &records {
        let cut: Vec<_> = record.breaks.iter().filter(|why| !may_be(record.kind, why)).collect();
        assert!(cut.is_empty(), "a healthy viewer was cut off: {cut:?}");
    }
}

/// While newcomers have to wait, a poll whose client opens a new connection is one: its last
/// connection may not be back in the client's pool yet.
fn is_newcomer(kind: Kind, why: &str) -> bool {
    kind == Kind::LongPoll && why.starts_with("503: ") && why.contains("\"busy\"")
}

#[tokio::test(flavor = "multi_thread")]
async fn ten_thousand_reconnect_in_a_second_and_healthy_viewers_miss_nothing() {
    let count = STORM.min(descriptors() / 4 * 3);
    let cluster = Cluster::on_redis()
        .set("TIDINGS_GATEWAY__ACCEPTS_PER_SECOND", count / 10)
        .set("TIDINGS_GATEWAY__ACCEPTS_BURST", count / 10)
        // All of them come from one address.
        .set("TIDINGS_GATEWAY__CLIENT_CONNECTIONS_PERCENT", 100)
        .set("TIDINGS_GATEWAY__ACCEPT_DELAY_MAX_MS", 10_000)
        .set("TIDINGS_GATEWAY__CONNECTIONS_MAX", count + 100)
        .start()
        .await;
    let gateway = &cluster.gateways[0];
    let mut viewers = healthy(&cluster);
    let mut runner = cluster.runner("one");
    runner.post(100, 1..20).await;
    viewers.have_reached(cluster.ledger.last_n()).await;

    let posting = tokio::spawn(async move { runner.post(EVENTS, 1..50).await });
    let mut storm = JoinSet::new();
    (0..count).for_each(|_| drop(storm.spawn(comes_until_in(gateway.address()))));
    let (mut open, mut tellings, mut told, mut closed) = (Vec::new(), BTreeMap::<u64, usize>::new(), 0, 0);
    within("the whole storm is in", async {
        while let Some(client) = storm.join_next().await {
            let (socket, seconds, silently) = client.expect("clients do not panic");
            open.push(socket);
            told += usize::from(!seconds.is_empty());
            for seconds in seconds {
                *tellings.entry(seconds).or_default() += 1;
            }
            closed += silently;
        }
    })
    .await;
    println!(
        "{count} clients ({} descriptors): {told} were told to come back ({tellings:?}), {closed} closed without a word",
        descriptors()
    );
    assert_eq!(open.len(), count);
    assert!(told + closed > 0, "nobody was held back: this was no storm");
    posting.await.expect("the runner does not panic");
    let sockets = gateway.metric("tidings_http_sockets_open").await;
    assert!(sockets >= u32::try_from(count).map_or(f64::MAX, f64::from), "{sockets} sockets open");
    println!("{} MiB resident", gateway.process.resident_bytes() / 1024 / 1024);
    assert_unharmed(&cluster, viewers, "ten thousand reconnects", is_newcomer).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_gateway_short_of_memory_says_so_and_takes_nobody_new() {
    let cluster = Cluster::on_redis().set("TIDINGS_GATEWAY__RESIDENT_BYTES_MAX", 1024 * 1024).start().await;
    let gateway = &cluster.gateways[0];
    let answer = http::get(gateway.address(), "/v1/projects").await.expect("an answer");
    assert_eq!((answer.status, answer.code().as_str()), (503, "busy"), "{}", answer.text());
    assert!(answer.header("retry-after").parse::<u32>().is_ok_and(|seconds| seconds >= 1));
    assert!(matches!(come(gateway.address()).await, Came::Told(_)), "before the upgrade");
    gateway.ready().await;
}

/// Sends the beginning of a head and no more; resolves when the gateway has had enough.
async fn never_asks(gateway: SocketAddr) {
    let mut socket = TcpStream::connect(gateway).await.expect("the gateway listens");
    socket.write_all(b"GET /v1/ws HTTP/1.1\r\nhost: localhost\r\nx-slow: ").await.expect("it listens");
    let mut answer = Vec::new();
    let _ = within("a slow head is given up", socket.read_to_end(&mut answer)).await;
    assert!(answer.is_empty(), "{}", String::from_utf8_lossy(&answer));
}

/// Header fields without end.
async fn floods_headers(gateway: SocketAddr) {
    let fields = "x-flood: 0123456789abcdef0123456789abcdef\r\n".repeat(10_000);
    let request = format!("GET /v1/projects HTTP/1.1\r\nhost: {gateway}\r\n{fields}\r\n");
    let answer = http::raw(gateway, request.as_bytes()).await;
    // A gateway that closes with bytes unread may take its answer with it.
    assert!(matches!(answer.status(), 0 | 431), "{}", answer.0);
}

/// Asks for an answer again and again and reads none of them.
async fn floods_frames(gateway: SocketAddr) {
    let Came::In(mut socket) = come(gateway).await else { panic!("there is room") };
    let text = json!({"op": "ping", "ref": "x".repeat(64)}).to_string();
    let length = u8::try_from(text.len()).expect("short");
    // A zero mask leaves the text as it is.
    let frames = [&[0x81, 0x80 | length, 0, 0, 0, 0], text.as_bytes()].concat().repeat(1_000);
    let mut sent = 0;
    // Its own socket slows it down; then it waits a little and goes.
    while sent < FLOOD_BYTES {
        match tokio::time::timeout(UNTOLD, socket.write_all(&frames)).await {
            Ok(Ok(())) => sent += frames.len(),
            Ok(Err(_)) | Err(_) => break,
        }
    }
    assert!(sent < FLOOD_BYTES, "a viewer that reads nothing was heard out");
}

async fn are_refused(gateway: &Service) {
    let address = gateway.address();
    let mut hostile = JoinSet::new();
    for _ in 0..HOSTILE {
        hostile.spawn(never_asks(address));
        hostile.spawn(floods_headers(address));
    }
    for _ in 0..HOSTILE / 10 {
        hostile.spawn(floods_frames(address));
    }
    let deflate = "sec-websocket-extensions: permessage-deflate\r\n";
    for _ in 0..HOSTILE / 10 {
        assert_eq!(closed_after_bytes(gateway, "", &gigabyte_frame()).await, 1009, "a frame header of a gigabyte");
        assert_eq!(closed_after_bytes(gateway, deflate, &deflate_bomb()).await, 1009, "a deflate bomb");
    }
    while let Some(outcome) = hostile.join_next().await {
        outcome.expect("each got its answer");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn hostile_clients_get_their_answers_and_healthy_viewers_notice_nothing() {
    let cluster = Cluster::on_redis().start().await;
    let gateway = &cluster.gateways[0];
    let mut viewers = healthy(&cluster);
    let mut runner = cluster.runner("one");
    runner.post(100, 1..20).await;
    viewers.have_reached(cluster.ledger.last_n()).await;
    let posting = tokio::spawn(async move { runner.post(EVENTS, 1..50).await });
    are_refused(gateway).await;
    posting.await.expect("the runner does not panic");
    let resident = gateway.process.resident_bytes();
    println!("{} MiB resident", resident / 1024 / 1024);
    assert!(resident < RESIDENT_MAX, "{resident} bytes resident");
    assert!(gateway.metric("tidings_http_first_request_timeouts_total").await >= f64::from(HOSTILE));
    assert_unharmed(&cluster, viewers, "hostile clients", |_, _| false).await;
}
