use std::time::Duration;

use tokio::io::AsyncWriteExt as _;

use super::*;
use crate::config::{ForwardedHeader, Networks};
use crate::http::Server;
use crate::testing::{Client, Example, serve_with};

fn proxies(trusted: &str, proxy_protocol: bool) -> Proxies {
    let trusted = Networks(vec![trusted.parse().expect("a network")]);
    Proxies { trusted, header: ForwardedHeader::XForwardedFor, proxy_protocol }
}

fn behind(proxies: Proxies) -> Server {
    serve_with(&Example::default(), EntrySettings { proxies, ..EntrySettings::default() })
}

fn body(answer: &str) -> &str {
    answer.split_once("\r\n\r\n").map_or("", |(_, body)| body)
}

#[tokio::test]
async fn only_a_trusted_peer_says_who_the_client_is() {
    for (trusted, expected) in [("127.0.0.0/8", "192.0.2.1 true"), ("10.0.0.0/8", "127.0.0.1 true")] {
        let server = behind(proxies(trusted, false));
        let mut client = Client::connect(server.address()).await;
        let answer = client.ask("GET /who", "x-forwarded-for: 6.6.6.6, 192.0.2.1\r\nforwarded: for=6.6.6.6\r\n").await;
        assert_eq!(body(&answer), expected, "{trusted}");
        assert_eq!(body(&client.ask("GET /who", "").await), "127.0.0.1 true", "by request");
    }
}

/// A PROXY header of version 2 that names 192.0.2.7:9 over IPv4.
fn header() -> Vec<u8> {
    [&b"\r\n\r\n\0\r\nQUIT\n\x21\x11\0\x0c"[..], &[192, 0, 2, 7, 127, 0, 0, 1, 0, 9, 0, 80]].concat()
}

#[tokio::test]
async fn a_balancer_s_header_says_who_the_client_is() {
    let server = behind(proxies("127.0.0.1", true));
    let mut client = Client::connect(server.address()).await;
    // Byte by byte, and with the request right behind it.
    for byte in header() {
        client.0.write_all(&[byte]).await.expect("sent");
    }
    let answer = client.ask("GET /who", "x-forwarded-for: 6.6.6.6\r\n").await;
    assert_eq!(body(&answer), "192.0.2.7 true", "the client is no proxy");
    assert_eq!(body(&client.ask("GET /who", "").await), "192.0.2.7 true");
    let mut check = Client::connect(server.address()).await;
    check.0.write_all(b"\r\n\r\n\0\r\nQUIT\n\x20\0\0\0").await.expect("sent");
    assert_eq!(body(&check.ask("GET /who", "").await), "127.0.0.1 true", "the balancer's own check");
}

#[tokio::test]
async fn one_client_behind_a_balancer_leaves_places_for_others() {
    let admission = AdmissionSettings { client_connections_max: 1, ..AdmissionSettings::default() };
    let entry = EntrySettings { proxies: proxies("127.0.0.1", true), admission, ..EntrySettings::default() };
    let server = serve_with(&Example::default(), entry);
    let come = async |last: u8| {
        let mut client = Client::connect(server.address()).await;
        let header =
            [&b"\r\n\r\n\0\r\nQUIT\n\x21\x11\0\x0c"[..], &[192, 0, 2, last, 127, 0, 0, 1, 0, 9, 0, 80]].concat();
        client.0.write_all(&header).await.expect("sent");
        let answer = client.ask("GET /who", "").await;
        (client, answer)
    };
    let (_first, answer) = come(7).await;
    assert_eq!(body(&answer), "192.0.2.7 true");
    let (_second, answer) = come(7).await;
    assert!(answer.starts_with("HTTP/1.1 503") && answer.contains("one address"), "{answer}");
    let (_other, answer) = come(8).await;
    assert_eq!(body(&answer), "192.0.2.8 true");
    // The proxy itself has no such bound.
    let entry = EntrySettings {
        proxies: proxies("127.0.0.1", false),
        admission: AdmissionSettings { client_connections_max: 1, ..AdmissionSettings::default() },
        ..EntrySettings::default()
    };
    let server = serve_with(&Example::default(), entry);
    let mut both = [Client::connect(server.address()).await, Client::connect(server.address()).await];
    for client in &mut both {
        assert_eq!(body(&client.ask("GET /who", "").await), "127.0.0.1 true");
    }
}

#[tokio::test]
async fn without_a_header_nobody_comes_in() {
    let server = behind(proxies("127.0.0.1", true));
    for garbage in [&b"GET /who HTTP/1.1\r\nhost: localhost\r\n\r\n"[..], b"PROXY TCP4 192.0.2.7 127.0.0.1 9 80\r\n"] {
        let mut client = Client::connect(server.address()).await;
        client.0.write_all(garbage).await.expect("sent");
        let mut answer = Vec::new();
        // What was sent and not read makes the close a reset.
        let _ = tokio::io::AsyncReadExt::read_to_end(&mut client.0, &mut answer).await;
        assert!(answer.is_empty(), "{}", String::from_utf8_lossy(&answer));
    }
    let untrusted = behind(proxies("10.0.0.0/8", true));
    let mut client = Client::connect(untrusted.address()).await;
    let _ = client.0.write_all(&header()).await;
    let mut answer = Vec::new();
    let _ = tokio::io::AsyncReadExt::read_to_end(&mut client.0, &mut answer).await;
    assert!(answer.is_empty());
}

/// The clock is paused: a slow header's time passes at once when everybody else waits.
#[tokio::test(start_paused = true)]
async fn a_slow_header_is_not_waited_for() {
    let server = behind(proxies("127.0.0.1", true));
    let mut client = Client::connect(server.address()).await;
    client.0.write_all(&header()[..20]).await.expect("sent");
    let began = tokio::time::Instant::now();
    assert_eq!(client.closed().await, "");
    assert!(began.elapsed() <= Duration::from_secs(10), "{:?} of paused time", began.elapsed());
}

fn limited(admission: AdmissionSettings) -> Server {
    serve_with(&Example::default(), EntrySettings { admission, ..EntrySettings::default() })
}

fn retry_after(answer: &str) -> u64 {
    let line = answer.lines().find_map(|line| line.strip_prefix("retry-after: "));
    line.unwrap_or_else(|| panic!("no Retry-After: {answer}")).parse().expect("seconds")
}

fn assert_refused(answer: &str) {
    assert!(answer.starts_with("HTTP/1.1 503 ") && answer.contains("\"code\":\"busy\""), "{answer}");
    assert!(answer.contains("connection: close\r\n"), "{answer}");
    assert!((1..=30).contains(&retry_after(answer)), "{answer}");
}

#[tokio::test]
async fn beyond_the_ceiling_there_is_an_answer_and_not_a_hang() {
    let server = limited(AdmissionSettings { connections_max: 2, ..AdmissionSettings::default() });
    let mut upgraded = Client::connect(server.address()).await;
    let switched = upgraded.ask("GET /up", "connection: upgrade\r\nupgrade: echo\r\n").await;
    assert!(switched.starts_with("HTTP/1.1 101 "), "{switched}");
    let mut idle = Client::connect(server.address()).await;
    idle.ask("GET /word", "").await;
    let large = "x".repeat(200_000);
    let requests = [
        ("GET /word", "", ""),
        ("GET /nothing", "", ""),
        ("GET /up", "connection: upgrade\r\nupgrade: echo\r\n", ""),
        ("POST /word", "content-length: 200000\r\n", large.as_str()),
    ];
    for (line, headers, content) in requests {
        let mut refused = Client::connect(server.address()).await;
        refused.send(line, headers).await;
        refused.0.write_all(content.as_bytes()).await.expect("sent");
        assert_refused(&refused.closed().await);
    }
    let mut page = Client::connect(server.address()).await;
    page.send("GET /word", "origin: http://localhost:3000\r\n").await;
    let answer = page.closed().await;
    assert_refused(&answer);
    assert!(answer.contains("access-control-allow-origin: http://localhost:3000\r\n"), "a page can read it: {answer}");
    // An upgraded connection gives its place back when it ends.
    upgraded.0.write_all(b"!").await.expect("sent");
    assert_eq!(upgraded.closed().await, "!");
    let mut next = Client::connect(server.address()).await;
    assert!(next.ask("GET /word", "").await.ends_with("word"));
}

#[tokio::test]
async fn whoever_comes_too_fast_is_told_when_to_come_back() {
    let admission = AdmissionSettings { accepts_per_second: 1, accepts_burst: 1, ..AdmissionSettings::default() };
    let server = limited(AdmissionSettings { delay_max: Duration::from_secs(30), ..admission });
    let mut first = Client::connect(server.address()).await;
    assert!(first.ask("GET /word", "").await.ends_with("word"));
    let mut delays = Vec::new();
    for _ in 0..10 {
        let mut refused = Client::connect(server.address()).await;
        refused.send("GET /word", "").await;
        let answer = refused.closed().await;
        // Once in a while a second has passed.
        if answer.starts_with("HTTP/1.1 503 ") {
            assert_refused(&answer);
            delays.push(retry_after(&answer));
        }
    }
    assert!(delays.len() >= 5 && delays.iter().max() > delays.iter().min(), "each at another time: {delays:?}");
    assert!(first.ask("GET /word", "").await.ends_with("word"), "open connections go on");
}

/// The clock is paused, so the patience with a refused client passes at once when everybody else waits.
#[tokio::test(start_paused = true)]
async fn whoever_is_refused_and_asks_nothing_is_closed() {
    let server = limited(AdmissionSettings { resident_bytes_max: 1, ..AdmissionSettings::default() });
    let began = tokio::time::Instant::now();
    assert_eq!(Client::connect(server.address()).await.closed().await, "");
    assert!(began.elapsed() < Duration::from_secs(5), "{:?} of paused time", began.elapsed());
}

#[tokio::test]
async fn a_closed_guard_lets_listed_pages_in_by_any_name() {
    use crate::config::value::Setting as _;
    let list = |text: &str| crate::config::Origins::read(&toml::Value::String(text.into())).expect("origins");
    let guarded = |text: &str| {
        serve_with(&Example::default(), EntrySettings { guard: Guard::Closed(list(text)), ..EntrySettings::default() })
    };
    let ask = async |server: &Server, line: &str, more: &str| {
        let mut client = Client::connect(server.address()).await;
        let request = format!("{line} HTTP/1.1\r\nhost: tidings.example.com\r\n{more}\r\n");
        client.0.write_all(request.as_bytes()).await.expect("sent");
        client.answer().await
    };
    let server = guarded("https://app.example.com, https://*.dev.example.com");
    assert!(ask(&server, "GET /word", "").await.ends_with("word"), "no browser");
    for origin in ["https://app.example.com", "https://a.dev.example.com"] {
        let answer = ask(&server, "GET /word", &format!("origin: {origin}\r\n")).await;
        assert!(answer.contains(&format!("access-control-allow-origin: {origin}\r\n")), "{answer}");
        assert!(answer.contains("access-control-allow-credentials: true\r\n") && answer.contains("vary: Origin\r\n"));
        let asks = format!("origin: {origin}\r\naccess-control-request-method: POST\r\n");
        let preflight = ask(&server, "OPTIONS /word", &asks).await;
        assert!(preflight.starts_with("HTTP/1.1 204 ") && preflight.contains("Authorization"), "{preflight}");
        let upgrade = format!("origin: {origin}\r\nconnection: upgrade\r\nupgrade: echo\r\n");
        assert!(ask(&server, "GET /up", &upgrade).await.starts_with("HTTP/1.1 101 "));
    }
    for foreign in ["https://evil.example", "http://app.example.com", "null", "http://localhost:3000"] {
        for (line, more) in [("GET /word", ""), ("OPTIONS /word", "access-control-request-method: POST\r\n")] {
            let answer = ask(&server, line, &format!("origin: {foreign}\r\n{more}")).await;
            assert!(answer.starts_with("HTTP/1.1 403 ") && answer.contains("origin_refused"), "{answer}");
            assert!(!answer.contains("access-control") && answer.contains("vary: Origin\r\n"), "{answer}");
        }
        let upgrade = format!("origin: {foreign}\r\nconnection: upgrade\r\nupgrade: echo\r\n");
        assert!(ask(&server, "GET /up", &upgrade).await.starts_with("HTTP/1.1 403 "));
    }
    let image = ask(&server, "GET /word", "sec-fetch-site: cross-site\r\nsec-fetch-mode: no-cors\r\n").await;
    assert!(image.starts_with("HTTP/1.1 403 "), "{image}");
    let anybody = ask(&guarded("*"), "GET /word", "origin: https://evil.example\r\n").await;
    assert!(anybody.contains("access-control-allow-origin: *\r\n"), "{anybody}");
    assert!(!anybody.contains("credentials"), "{anybody}");
}
