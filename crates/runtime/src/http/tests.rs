use tokio::io::{AsyncReadExt, AsyncWriteExt};

use super::Server;
use crate::testing::{Client, Example, LARGE, serve};

/// Status line and code of a problem in one answer.
fn check_problem(answer: &str, status: &str, code: &str) {
    assert!(answer.starts_with(&format!("HTTP/1.1 {status} ")), "{answer}");
    assert!(answer.contains("content-type: application/problem+json"), "{answer}");
    assert!(answer.contains(&format!("\"code\":\"{code}\"")), "{answer}");
}

#[tokio::test]
async fn what_no_route_answers_is_a_problem() {
    let server = serve(&Example::default());
    let mut client = Client::connect(server.address()).await;
    check_problem(&client.ask("GET /nothing", "").await, "404", "not_found");
    let refused = client.ask("DELETE /word", "").await;
    check_problem(&refused, "405", "method_not_allowed");
    assert!(refused.contains("allow: GET,HEAD,POST\r\n"), "{refused}");
    assert!(client.ask("POST /word", "").await.ends_with("posted"), "the connection lives on");
}

#[tokio::test]
async fn a_panic_costs_one_request_and_tells_nothing() {
    let server = serve(&Example::default());
    let mut client = Client::connect(server.address()).await;
    let answer = client.ask("GET /panic", "").await;
    check_problem(&answer, "500", "internal");
    assert!(!answer.contains("secret"), "{answer}");
    assert!(client.ask("GET /word", "").await.ends_with("word"), "the connection lives on");
}

#[tokio::test]
async fn too_many_or_too_long_headers_are_refused_by_name() {
    let server = serve(&Example::default());
    let mut client = Client::connect(server.address()).await;
    let many = "x: y\r\n".repeat(tidings_protocol::limits::HEADERS_MAX);
    check_problem(&client.ask("GET /word", &many).await, "431", "headers_too_large");
    let long = format!("x: {}\r\n", "y".repeat(tidings_protocol::limits::HEADER_BYTES_MAX));
    check_problem(&client.ask("GET /word", &long).await, "431", "headers_too_large");
    // Beyond what the parser reads at all there is only a status, and the connection ends.
    let longer = format!("x: {}\r\n", "y".repeat(100_000));
    let answer = client.ask("GET /word", &longer).await;
    assert!(answer.starts_with("HTTP/1.1 431 "), "{answer}");
}

#[tokio::test]
async fn the_guard_stands_before_every_route() {
    let server = serve(&Example::default());
    for path in ["/word", "/nothing", "/openapi.json", "/up"] {
        let mut client = Client::connect(server.address()).await;
        let foreign = client.ask(&format!("GET {path}"), "origin: https://example.com\r\n").await;
        check_problem(&foreign, "403", "origin_refused");
        assert!(!foreign.contains("access-control"), "{foreign}");
        client
            .0
            .write_all(format!("GET {path} HTTP/1.1\r\nhost: rebound.example\r\n\r\n").as_bytes())
            .await
            .expect("sent");
        check_problem(&client.answer().await, "403", "host_refused");
    }
}

#[tokio::test]
async fn pages_of_this_machine_get_cors_headers() {
    let server = serve(&Example::default());
    let mut client = Client::connect(server.address()).await;
    let origin = "origin: http://localhost:3000\r\n";
    let answer = client.ask("GET /word", origin).await;
    assert!(answer.contains("access-control-allow-origin: http://localhost:3000\r\n"), "{answer}");
    assert!(answer.contains("vary: Origin\r\n") && answer.contains("access-control-expose-headers: "), "{answer}");
    let preflight = client.ask("OPTIONS /word", &format!("{origin}access-control-request-method: POST\r\n")).await;
    assert!(preflight.starts_with("HTTP/1.1 204 "), "{preflight}");
    for name in ["Content-Type", "Idempotency-Key", "If-None-Match", "Last-Event-ID", "traceparent"] {
        let line = preflight.lines().find(|line| line.starts_with("access-control-allow-headers")).expect("the line");
        assert!(line.contains(name), "{line}");
    }
}

#[tokio::test]
async fn the_document_of_all_services_is_served() {
    let server = serve(&Example::default());
    let answer = Client::connect(server.address()).await.ask("GET /openapi.json", "").await;
    let body = answer.split_once("\r\n\r\n").expect("a body").1;
    let document: serde_json::Value = serde_json::from_str(body).expect("JSON");
    assert_eq!(document["openapi"], "3.1.0");
    assert!(document["paths"]["/word"]["get"].is_object(), "{document}");
}

#[tokio::test]
async fn an_upgrade_gives_the_bare_socket_and_what_was_read_with_it() {
    let server = serve(&Example::default());
    let upgrade = "connection: upgrade\r\nupgrade: echo\r\n";
    for early in [true, false] {
        let mut client = Client::connect(server.address()).await;
        client.send("GET /up", upgrade).await;
        if early {
            client.0.write_all(b"!").await.expect("sent");
        }
        let answer = client.answer().await;
        assert!(answer.starts_with("HTTP/1.1 101 "), "{answer}");
        if !early {
            client.0.write_all(b"!").await.expect("sent");
        }
        // The echo may have come with the head.
        assert!((answer + &client.closed().await).ends_with("\r\n\r\n!"), "early: {early}");
    }
}

#[tokio::test]
async fn http_2_is_spoken_with_prior_knowledge() {
    let server = serve(&Example::default());
    let mut client = Client::connect(server.address()).await;
    client.0.write_all(b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n\0\0\0\x04\0\0\0\0\0").await.expect("sent");
    let mut frame = [0; 9];
    client.0.read_exact(&mut frame).await.expect("a frame");
    assert_eq!(frame[3], 4, "the server's SETTINGS come first");
}

/// A client of HTTP/2 by hand. It answers no pings, which is noticed later than what is tested.
struct Http2(Client);

impl Http2 {
    /// Asks for `path` on stream 1, and grants its answer this window.
    async fn ask(server: &Server, path: &str, window: u32) -> Http2 {
        let mut client = Client::connect(server.address()).await;
        let field =
            |index: u8, text: &str| [&[index, u8::try_from(text.len()).expect("short")], text.as_bytes()].concat();
        // GET, http, and literals of `:path` and `:authority` (RFC 7541, appendix A).
        let headers = [vec![0x82, 0x86], field(0x44, path), field(0x41, "localhost")].concat();
        let length = u8::try_from(headers.len()).expect("short");
        let preface = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n".as_slice();
        let settings = [&[0, 0, 6, 4, 0, 0, 0, 0, 0, 0, 4], window.to_be_bytes().as_slice()].concat();
        let all = [preface, &settings, &[0, 0, length, 1, 5, 0, 0, 0, 1], &headers].concat();
        client.0.write_all(&all).await.expect("sent");
        Http2(client)
    }

    /// The next frame's type and content.
    async fn frame(&mut self) -> (u8, Vec<u8>) {
        let mut head = [0; 9];
        self.0.0.read_exact(&mut head).await.expect("the connection lives");
        let mut content = vec![0; usize::from(head[1]) << 8 | usize::from(head[2])];
        self.0.0.read_exact(&mut content).await.expect("a whole frame");
        (head[3], content)
    }

    /// Content of the next frame of this type.
    async fn next(&mut self, kind: u8) -> Vec<u8> {
        loop {
            let (found, content) = self.frame().await;
            if found == kind {
                return content;
            }
        }
    }
}

const DATA: u8 = 0;
const RST_STREAM: u8 = 3;
const PING: u8 = 6;
const GOAWAY: u8 = 7;

/// The clock is paused: it passes while the client takes nothing.
#[tokio::test(start_paused = true)]
async fn a_stream_whose_reader_takes_nothing_is_reset() {
    let example = Example::default();
    let server = serve(&example);
    let mut client = Http2::ask(&server, "/drip", 20).await;
    let mut taken = 0;
    while taken < 20 {
        taken += client.next(DATA).await.len();
    }
    client.next(RST_STREAM).await;
    example.dropped.cancelled().await;
}

/// The clock is paused, so an idle time passes at once. The client goes on answering the server's pings.
#[tokio::test(start_paused = true)]
async fn a_connection_of_http_2_without_a_request_is_ended() {
    let server = serve(&Example::default());
    let mut client = Http2::ask(&server, "/word", 60_000).await;
    let mut pings = 0;
    loop {
        match client.frame().await {
            (GOAWAY, _) => break,
            (PING, content) if !content.is_empty() => {
                pings += 1;
                assert!(pings < 100, "nobody asks for anything, and it is kept");
                let answer = [&[0, 0, 8, PING, 1, 0, 0, 0, 0][..], &content].concat();
                client.0.0.write_all(&answer).await.expect("sent");
            }
            _ => {}
        }
    }
    assert!(pings > 1, "it lived for a while");
}

#[tokio::test]
async fn a_handler_may_end_its_connection_behind_the_answer() {
    let server = serve(&Example::default());
    let mut client = Client::connect(server.address()).await;
    assert!(client.ask("GET /word", "").await.ends_with("word"));
    assert!(client.ask("GET /last", "").await.ends_with("last"));
    assert_eq!(client.closed().await, "");
    let mut client = Http2::ask(&server, "/last", 60_000).await;
    assert_eq!(client.next(DATA).await, b"last");
    client.next(GOAWAY).await;
}

#[tokio::test]
async fn a_large_answer_comes_whole_over_http_2() {
    let server = serve(&Example::default());
    let mut client = Http2::ask(&server, "/large", 60_000).await;
    let mut text = Vec::new();
    while text.len() < LARGE.len() {
        text.extend(client.next(DATA).await);
    }
    assert_eq!(text, LARGE.as_bytes());
}

/// The clock is paused, so the server's patience passes at once when everything else waits.
#[tokio::test(start_paused = true)]
async fn a_client_that_never_asks_is_closed() {
    let server = serve(&Example::default());
    for started in ["", "GET /word HT", "PRI * HTTP/2.0\r\n"] {
        let mut client = Client::connect(server.address()).await;
        client.0.write_all(started.as_bytes()).await.expect("sent");
        assert_eq!(client.closed().await, "", "{started:?}");
    }
}

#[tokio::test]
async fn connections_end_when_they_are_asked_to_and_requests_are_finished() {
    let example = Example::default();
    let server = serve(&example);
    let mut idle = Client::connect(server.address()).await;
    idle.ask("GET /word", "").await;
    let mut busy = Client::connect(server.address()).await;
    busy.send("GET /held", "").await;
    example.entered.cancelled().await;
    server.stop_accepting().await;
    tokio::net::TcpStream::connect(server.address()).await.expect_err("the port is closed");
    assert!(idle.ask("GET /word", "").await.ends_with("word"), "open connections go on");
    server.finish_connections();
    assert_eq!(idle.closed().await, "");
    assert_eq!(server.open(), 1);
    example.release.cancel();
    let answer = busy.answer().await;
    assert!(answer.ends_with("released"), "{answer}");
    server.finished().await;
    assert_eq!(server.open(), 0);
}

#[tokio::test]
async fn whoever_closes_its_sending_side_still_gets_the_answer() {
    let example = Example::default();
    let server = serve(&example);
    let mut client = Client::connect(server.address()).await;
    client.send("GET /held", "").await;
    client.0.shutdown().await.expect("half of it closes");
    example.entered.cancelled().await;
    // The server has had its turns to see the end of what is sent.
    for _ in 0..100 {
        tokio::task::yield_now().await;
    }
    example.release.cancel();
    assert!(client.answer().await.ends_with("released"));
    assert_eq!(client.closed().await, "", "nothing more can be asked here");
}

#[tokio::test]
async fn an_idle_connection_ends_with_its_peers_sending_side() {
    let server = serve(&Example::default());
    let mut client = Client::connect(server.address()).await;
    client.ask("GET /word", "").await;
    client.0.shutdown().await.expect("half of it closes");
    assert_eq!(client.closed().await, "");
}

#[tokio::test]
async fn an_endless_answer_goes_on_behind_a_half_close_and_ends_with_its_reader() {
    let example = Example::default();
    let server = serve(&example);
    let mut client = Client::connect(server.address()).await;
    client.send("GET /drip", "").await;
    client.0.shutdown().await.expect("half of it closes");
    let mut text = String::new();
    while text.matches("drop").count() < 20 {
        let mut buffer = [0; 256];
        let read = client.0.read(&mut buffer).await.expect("more of the answer");
        assert_ne!(read, 0, "the answer ended at {text:?}");
        text.push_str(std::str::from_utf8(&buffer[..read]).expect("answers are text"));
    }
    assert!(!example.dropped.is_cancelled());
    drop(client);
    example.dropped.cancelled().await;
}

#[tokio::test]
async fn whoever_the_kernel_let_in_is_answered() {
    let server = serve(&Example::default());
    // Neither has been accepted: this runtime has one thread, and it was here all the time.
    let mut late = Client(std::net::TcpStream::connect(server.address()).and_then(in_tokio).expect("the port is open"));
    let mut silent =
        Client(std::net::TcpStream::connect(server.address()).and_then(in_tokio).expect("the port is open"));
    server.stop_accepting().await;
    tokio::net::TcpStream::connect(server.address()).await.expect_err("the port is closed");
    server.finish_connections();
    for _ in 0..100 {
        tokio::task::yield_now().await;
    }
    assert!(late.ask("GET /word", "").await.ends_with("word"));
    assert_eq!(late.closed().await, "");
    assert_eq!(silent.closed().await, "", "whoever asks nothing is not waited for long");
    server.finished().await;
}

fn in_tokio(socket: std::net::TcpStream) -> std::io::Result<tokio::net::TcpStream> {
    socket.set_nonblocking(true)?;
    tokio::net::TcpStream::from_std(socket)
}
