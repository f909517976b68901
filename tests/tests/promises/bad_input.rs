//! Bad input: each with its named error, and without effect.

use std::io::Write as _;

use serde_json::{Value, json};
use tidings_tests::cluster::{Cluster, PROJECT};
use tidings_tests::http::{self, RawAnswer};
use tidings_tests::redis::Redis;
use tidings_tests::service::{Launch, Role, Service, command};
use tidings_tests::viewer::Said;
use tidings_tests::viewer::websocket::Connection;
use tidings_tests::wait::within;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;
use tokio_tungstenite::tungstenite::Message;

const KIB: usize = 1024;
const MIB: usize = 1024 * KIB;

/// The second byte of a frame: masked, and what stands for longer lengths.
const MASKED: u8 = 0x80;
const LENGTH_16: u8 = 0x7e;
const LENGTH_64: u8 = 0x7f;

/// What a bomb unpacks to.
const BOMB_BYTES: usize = 512 * MIB;

/// Resident memory that a process may reach while it is sent all of this.
const RESIDENT_MAX: u64 = 256 * 1024 * 1024;

fn events_path() -> String {
    format!("/v1/projects/{PROJECT}/events")
}

fn event(data: &Value) -> String {
    json!({"type": "custom.event", "data": data}).to_string()
}

/// `[[[...]]]`.
fn deep(depth: usize) -> String {
    format!("{}{}", "[".repeat(depth), "]".repeat(depth))
}

fn gzip(chunk: &[u8], times: usize) -> Vec<u8> {
    let mut encoder = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::fast());
    (0..times).for_each(|_| encoder.write_all(chunk).expect("a Vec takes all"));
    encoder.finish().expect("a Vec takes all")
}

fn zstd(chunk: &[u8], times: usize) -> Vec<u8> {
    let mut encoder = zstd::Encoder::new(Vec::new(), 1).expect("an encoder");
    (0..times).for_each(|_| encoder.write_all(chunk).expect("a Vec takes all"));
    encoder.finish().expect("a Vec takes all")
}

/// Nothing was appended, the services live, and memory is as before.
async fn assert_no_effect(cluster: &Cluster) {
    for service in cluster.gateways.iter().chain(&cluster.ingests) {
        let live = http::get(service.admin(), "/livez").await.expect("the admin port answers");
        assert_eq!(live.status, 200);
        let resident = service.process.resident_bytes();
        println!("{}: {} MiB resident", service.process.name(), resident / 1024 / 1024);
        assert!(resident < RESIDENT_MAX, "{resident} bytes resident");
    }
    let path = format!("{}?after=start&limit=1000", events_path());
    let read = http::get(cluster.gateways[0].address(), &path).await.expect("the gateway answers").json();
    assert_eq!(read, json!({"events": [], "next": "0-0"}));
}

#[tokio::test(flavor = "multi_thread")]
async fn bad_events_are_refused_by_name_and_without_effect() {
    let cluster = Cluster::on_redis().start().await;
    let ingest = cluster.ingests[0].address();
    let path = events_path();
    let json = "application/json";
    let check = async |what: &str, headers: &[(&str, &str)], body: Vec<u8>, status: u16, code: &str| {
        let answer = http::post(ingest, &path, headers, body).await.unwrap_or_else(|error| panic!("{what}: {error:?}"));
        assert_eq!((answer.status, answer.code().as_str()), (status, code), "{what}: {}", answer.text());
        answer.json()
    };
    let sent = async |what: &str, body: Vec<u8>, status: u16, code: &str| {
        check(what, &[("content-type", json)], body, status, code).await
    };

    let text = |bytes: usize| event(&json!("x".repeat(bytes))).into_bytes();
    sent("an oversized event", text(256 * KIB), 413, "event_too_large").await;
    let many = format!("[{}]", vec![event(&json!(1)); 1_001].join(","));
    sent("too many events", many.into_bytes(), 413, "batch_too_large").await;
    sent("an oversized request", text(4 * MIB), 413, "request_too_large").await;
    sent("an empty batch", b"[]".to_vec(), 422, "empty_batch").await;
    sent("text that is no JSON", b"{\"type\":".to_vec(), 400, "malformed_json").await;
    sent("invalid UTF-8", b"{\"type\":\"log\",\"data\":\"\xff\"}".to_vec(), 400, "invalid_utf8").await;
    let data = |data: &str| format!("{{\"type\":\"custom.event\",\"data\":{data}}}").into_bytes();
    sent("deep JSON", data(&deep(65)), 422, "data_too_deep").await;
    sent("very deep JSON", data(&deep(100_000)), 422, "data_too_deep").await;
    sent("no type", b"{}".to_vec(), 422, "missing_field").await;
    sent("a type of bad form", b"{\"type\":\"Log!\"}".to_vec(), 422, "invalid_field").await;
    sent("an unknown field", b"{\"type\":\"custom.event\",\"sesion\":\"s\"}".to_vec(), 422, "unknown_field").await;
    sent("a field twice", b"{\"type\":\"custom.event\",\"type\":\"log\"}".to_vec(), 422, "duplicate_field").await;
    sent("a reserved field", b"{\"type\":\"custom.event\",\"position\":\"1-1\"}".to_vec(), 422, "reserved").await;
    sent("a reserved type", b"{\"type\":\"presence.joined\"}".to_vec(), 422, "reserved").await;

    let middle = json!([
        {"type": "custom.event", "id": "good-1"},
        {"type": "log", "session": "s", "data": {"level": "shout", "message": "m"}},
        {"type": "custom.event", "id": "good-2"},
    ]);
    let problem = sent("one bad event in the middle", middle.to_string().into(), 422, "invalid_field").await;
    assert_eq!(problem["errors"][0]["index"], 1, "{problem}");
    assert_eq!(problem["errors"][0]["field"], "data.level", "{problem}");

    let zeros = vec![b' '; MIB];
    let packed = |encoding: &'static str| [("content-type", json), ("content-encoding", encoding)];
    let bomb = gzip(&zeros, BOMB_BYTES / MIB);
    check("a gzip bomb", &packed("gzip"), bomb, 413, "request_too_large").await;
    let bomb = zstd(&zeros, BOMB_BYTES / MIB);
    check("a zstd bomb", &packed("zstd"), bomb, 413, "request_too_large").await;
    check("no gzip", &packed("gzip"), b"no gzip".to_vec(), 400, "malformed_encoding").await;
    check("another encoding", &packed("br"), b"x".to_vec(), 415, "unsupported_encoding").await;
    check("two encodings", &packed("gzip, gzip"), b"x".to_vec(), 415, "unsupported_encoding").await;
    check("another media type", &[("content-type", "text/html")], b"x".to_vec(), 415, "unsupported_media_type").await;

    let elsewhere = http::post_json(ingest, "/v1/projects/..%2Fetc/events", &json!({"type": "log"})).await;
    assert_eq!(elsewhere.expect("an answer").code(), "invalid_project");
    assert_no_effect(&cluster).await;
}

/// The head of a request for `path`, closed by the caller.
fn head(method: &str, path: &str, host: &str, more: &str) -> String {
    format!("{method} {path} HTTP/1.1\r\nhost: {host}\r\nconnection: close\r\n{more}\r\n")
}

#[tokio::test(flavor = "multi_thread")]
async fn bad_requests_are_refused_by_name_on_every_port() {
    let cluster = Cluster::on_redis().start().await;
    let (gateway, ingest) = (&cluster.gateways[0], &cluster.ingests[0]);
    let check = |what: &str, answer: &RawAnswer, status: u16, code: &str| {
        assert_eq!((answer.status(), answer.code().as_str()), (status, code), "{what}: {}", answer.0);
        // Whoever is refused may read nothing.
        assert!(!answer.0.to_lowercase().contains("access-control-allow-origin"), "{what}: {}", answer.0);
    };
    let ports = [
        (gateway.address(), "/v1/projects"),
        (gateway.address(), "/v1/ws"),
        (gateway.address(), "/"),
        (ingest.address(), "/openapi.json"),
        (gateway.admin(), "/metrics"),
        (ingest.admin(), "/readyz"),
    ];
    for (address, path) in ports {
        let host = address.to_string();
        let raw = async |host: &str, more: &str| http::raw(address, head("GET", path, host, more).as_bytes()).await;
        check("a foreign host", &raw("example.com", "").await, 403, "host_refused");
        let site = raw(&host, "origin: https://example.com\r\n").await;
        check("a foreign page", &site, 403, "origin_refused");
        check("a sandboxed page", &raw(&host, "origin: null\r\n").await, 403, "origin_refused");
        let large = format!("x-large: {}\r\n", "x".repeat(20 * KIB));
        check("oversized header fields", &raw(&host, &large).await, 431, "headers_too_large");
        let many = (0..120).map(|index| format!("x-{index}: 1\r\n")).collect::<Vec<_>>().concat();
        check("too many header fields", &raw(&host, &many).await, 431, "headers_too_large");
        let huge = raw(&host, &format!("x-huge: {}\r\n", "x".repeat(MIB))).await;
        assert!(matches!(huge.status(), 0 | 431), "header fields without end: {}", huge.0);
    }
    let body = event(&json!("from a web site"));
    let more =
        format!("origin: https://example.com\r\ncontent-type: application/json\r\ncontent-length: {}\r\n", body.len());
    let posted = head("POST", &events_path(), &ingest.address().to_string(), &more) + &body;
    check("a web site that posts", &http::raw(ingest.address(), posted.as_bytes()).await, 403, "origin_refused");
    for address in [gateway.address(), ingest.address()] {
        assert_eq!(http::get(address, "/nothing/here").await.expect("an answer").code(), "not_found");
        let wrong = http::post(address, "/openapi.json", &[], "").await.expect("an answer");
        assert_eq!((wrong.status, wrong.code().as_str()), (405, "method_not_allowed"));
    }
    assert_no_effect(&cluster).await;
}

/// What a connection is closed with after it was sent this.
async fn closed_after(gateway: &Service, message: Message) -> u16 {
    let mut connection = Connection::open(gateway.address()).await.expect("the gateway listens");
    // The gateway may have closed before all of it was taken.
    let _ = connection.send(message).await;
    let closed = |said| match said {
        Said::Closed { code, .. } => Some(code),
        _ => None,
    };
    connection.hear_until("the close", closed).await
}

#[tokio::test(flavor = "multi_thread")]
async fn bad_frames_are_refused_by_name_and_without_effect() {
    let cluster = Cluster::on_redis().start().await;
    let gateway = &cluster.gateways[0];
    let mut connection = Connection::open(gateway.address()).await.expect("the gateway listens");
    for (text, expected, reference) in [
        (r#"{"op":"shout","ref":"1"}"#, "unknown_op", Some("1")),
        (r#"{"op":"subscribe","ref":"2"}"#, "invalid_frame", Some("2")),
        (r#"{"op":"subscribe","project":"../etc"}"#, "invalid_project", None),
        (r#"{"op":"subscribe","project":"p","after":"tomorrow"}"#, "invalid_position", None),
        (r#"{"op":"subscribe","project":"p","wat":1,"ref":"3"}"#, "invalid_frame", Some("3")),
        (r#"{"op":"unsubscribe","project":"p"}"#, "not_subscribed", None),
        ("not json", "malformed_json", None),
        ("[]", "malformed_json", None),
        (&format!("{{\"op\":{}}}", deep(20_000)), "malformed_json", None),
    ] {
        connection.send(Message::text(text)).await.expect("it is open");
        let error = |said| match said {
            Said::Error { code, reference } => Some((code, reference)),
            _ => None,
        };
        let (code, echoed) = connection.hear_until("an error", error).await;
        assert_eq!((code.as_str(), echoed.as_deref()), (expected, reference), "{}", &text[..text.len().min(80)]);
    }
    // Through all of that it stayed open.
    connection.say(&json!({"op": "ping", "ref": "here"})).await.expect("it is open");
    connection.hear_until("pong", |said| matches!(said, Said::Other(op) if op == "pong").then_some(())).await;

    assert_eq!(closed_after(gateway, Message::text("x".repeat(65 * KIB))).await, 1009, "an oversized frame");
    for (what, bytes, extension, expected) in [
        ("a header of a gigabyte", gigabyte_frame(), "", 1009),
        ("text that is not UTF-8", garbage(0x81, &[MASKED | 2], b"\xff\xfe"), "", 1007),
        ("an unmasked frame", b"\x81\x02hi".to_vec(), "", 1002),
        ("an unknown opcode", garbage(0x83, &[MASKED], b""), "", 1002),
        ("a reserved bit", garbage(0xc1, &[MASKED], b""), "", 1002),
        ("a compressed bomb", deflate_bomb(), "sec-websocket-extensions: permessage-deflate\r\n", 1009),
    ] {
        assert_eq!(closed_after_bytes(gateway, extension, &bytes).await, expected, "{what}");
    }
    assert_no_effect(&cluster).await;
}

/// A masked frame; a zero mask leaves the payload as it is.
fn garbage(first: u8, length: &[u8], payload: &[u8]) -> Vec<u8> {
    [&[first], length, &[0; 4], payload].concat()
}

/// The header of a frame of a gigabyte.
pub(crate) fn gigabyte_frame() -> Vec<u8> {
    garbage(0x81, &[&[MASKED | LENGTH_64], &(1u64 << 30).to_be_bytes()[..]].concat(), b"")
}

/// A masked, compressed text frame that fits the limit on frames, and unpacks to far more.
pub(crate) fn deflate_bomb() -> Vec<u8> {
    let mut encoder = flate2::write::DeflateEncoder::new(Vec::new(), flate2::Compression::best());
    encoder.write_all(&vec![b' '; 32 * MIB]).expect("a Vec takes all");
    let payload = encoder.finish().expect("a Vec takes all");
    let length = u16::try_from(payload.len()).expect("it compresses a thousandfold").to_be_bytes();
    [&[0xc1, MASKED | LENGTH_16][..], &length, &[0; 4], &payload].concat()
}

/// Shakes hands by hand, sends these bytes, and returns the code of the close frame that comes back.
pub(crate) async fn closed_after_bytes(gateway: &Service, extension: &str, bytes: &[u8]) -> u16 {
    within("the close", async {
        let mut socket = TcpStream::connect(gateway.address()).await.expect("the gateway listens");
        let request = format!(
            "GET /v1/ws HTTP/1.1\r\nhost: {}\r\nupgrade: websocket\r\nconnection: upgrade\r\n\
             sec-websocket-version: 13\r\nsec-websocket-key: dGhlIHNhbXBsZSBub25jZQ==\r\n{extension}\r\n",
            gateway.address()
        );
        socket.write_all(&[request.as_bytes(), bytes].concat()).await.expect("it listens");
        let mut answer = Vec::new();
        loop {
            let count = socket.read_buf(&mut answer).await.expect("the close comes before the end");
            assert!(count > 0, "ended without a close: {}", String::from_utf8_lossy(&answer));
            if let Some(code) = close_code(&answer) {
                return code;
            }
        }
    })
    .await
}

/// The code of the close frame behind a handshake, when all of it has come.
fn close_code(answer: &[u8]) -> Option<u16> {
    let end = answer.windows(4).position(|four| four == b"\r\n\r\n")? + 4;
    assert!(answer.starts_with(b"HTTP/1.1 101"), "{}", String::from_utf8_lossy(answer));
    let mut frames = &answer[end..];
    loop {
        let (opcode, length) = (*frames.first()? & 0x0f, usize::from(*frames.get(1)?));
        assert!(length < 126, "only short frames are expected here");
        let payload = frames.get(2..2 + length)?;
        if opcode == 8 {
            return Some(u16::from_be_bytes([payload[0], payload[1]]));
        }
        frames = &frames[2 + length..];
    }
}

#[test]
fn every_fault_of_a_configuration_is_named_and_nothing_starts() {
    let folder = tempfile::tempdir().expect("a temporary folder");
    let file = folder.path().join("tidings.toml");
    let text = "[gateway]\nlistne = \"127.0.0.1:0\"\nping_ms = 5\n[redis]\nurl = \"nonsense\"\n[unknown]\nkey = 1\n";
    std::fs::write(&file, text).expect("a file");
    for role in [Role::Gateway, Role::Ingest, Role::All, Role::Dev] {
        let word = format!("{role:?}").to_lowercase();
        let mut command = command();
        command.arg(&word).arg("--config").arg(&file).args(["--listen", "0.0.0.0:0"]);
        command.env("TIDINGS_GATEWAY__RING_BYTES_MAX", "many").env("TIDINGS_INGEST__DEADLIN_MS", "1");
        let output = command.output().expect("it starts");
        let said = String::from_utf8_lossy(&output.stderr);
        assert_eq!(output.status.code(), Some(64), "{word}: {said}");
        let named = ["listne", "ping_ms", "redis.url", "unknown", "RING_BYTES_MAX", "DEADLIN_MS", "0.0.0.0:0"];
        for fault in named {
            assert!(said.contains(fault), "{word} does not name {fault}: {said}");
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn every_route_answers_as_the_description_says() {
    let cluster = Cluster::on_redis().start().await;
    let mut runner = cluster.runner("one");
    runner.post(50, 1..10).await;
    let mut asked = 0;
    let all = Launch::new(Role::All, cluster.redis.as_ref().map(Redis::url), Vec::new()).start().await;
    for service in [&cluster.gateways[0], &cluster.ingests[0], &all] {
        let document = http::get(service.address(), "/openapi.json").await.expect("an answer").json();
        assert!(document["openapi"].as_str().is_some_and(|version| version.starts_with("3.1")), "{document}");
        for (path, methods) in document["paths"].as_object().expect("paths") {
            let Some(get) = methods.get("get") else { continue };
            for (project, session) in [(PROJECT, "one-s0"), (PROJECT, "nobody"), ("-not-a-name", "s")] {
                let url = path.replace("{project}", project).replace("{session}", session);
                let answer = http::get(service.address(), &url).await.expect("an answer");
                let documented = &get["responses"][answer.status.to_string()];
                assert!(documented.is_object(), "{url}: {} is not documented", answer.status);
                let media = answer.header("content-type").split(';').next().unwrap_or_default();
                assert!(documented["content"][media].is_object(), "{url}: {} as {media:?}", answer.status);
                if answer.status >= 400 {
                    assert!(!answer.code().is_empty(), "{url}: {}", answer.text());
                }
                asked += 1;
            }
        }
    }
    assert!(asked >= 40, "only {asked} answers were looked at");
}
