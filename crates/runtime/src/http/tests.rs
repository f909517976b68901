use tokio::io::{AsyncReadExt, AsyncWriteExt};

use crate::testing::{Client, Example, serve};

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
    for name in ["Content-Type", "Idempotency-Key", "Last-Event-ID", "traceparent"] {
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
