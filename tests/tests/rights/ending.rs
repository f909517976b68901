//! What is open ends with its right, and not before.

use serde_json::json;
use tidings_tests::http;
use tidings_tests::tokens::{claims, hs256, short, token};
use tidings_tests::viewer::sse::Stream;
use tidings_tests::viewer::websocket::Connection;
use tidings_tests::wait::within;

use crate::{bearer, closed, get_as, hears, publish, refresh, secured, subscribe, subscribed};

/// A client whose every request carries this token.
fn client(token: &str) -> reqwest::Client {
    let authorization = bearer(token).parse().expect("visible text");
    let headers = [(reqwest::header::AUTHORIZATION, authorization)].into_iter().collect();
    reqwest::Client::builder().default_headers(headers).no_proxy().build().expect("a client")
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_open_ends_when_its_token_does() {
    let cluster = secured().start().await;
    let (gateway, ingest) = (cluster.gateways[0].address(), cluster.ingests[0].address());
    publish(ingest, "demo", "first").await;
    let mut healthy = subscribed(gateway, &token("healthy", "demo", "read"), "demo").await;
    hears(&mut healthy, "first").await;

    // Long enough to open all of it on a busy machine.
    let ending = short("alice", "demo", "read publish", 15);
    let mut socket = subscribed(gateway, &ending, "demo").await;
    hears(&mut socket, "first").await;
    let mut refreshed = subscribed(gateway, &ending, "demo").await;
    let events = format!("http://{gateway}/v1/projects/demo/events");
    let mut stream = Stream::open(&client(&ending), &events, None).await.expect("it streams");
    // The body stays open: nothing is sent but one line.
    let (lines, body) = tokio::sync::mpsc::channel::<Result<bytes::Bytes, std::io::Error>>(1);
    let body = futures_util::stream::unfold(body, async |mut body| body.recv().await.map(|line| (line, body)));
    let posting = client(&ending)
        .post(format!("http://{ingest}/v1/projects/demo/events"))
        .header("content-type", "application/x-ndjson")
        .body(reqwest::Body::wrap_stream(Box::pin(body)));
    let posting = tokio::spawn(async move { http::Answer::read(posting.send().await?).await });
    let line = json!({"type": "note", "id": "line", "data": {}}).to_string() + "\n";
    lines.send(Ok(line.into())).await.expect("it is sent");
    hears(&mut socket, "line").await;

    assert_eq!(refresh(&mut refreshed, "not.a.token").await, "unauthenticated");
    assert_eq!(refresh(&mut refreshed, &token("bob", "demo", "read")).await, "forbidden", "another viewer's");
    assert_eq!(refresh(&mut refreshed, &token("alice", "demo", "read")).await, "refreshed");

    assert_eq!(closed(&mut socket).await, (4401, "unauthenticated".to_owned()));
    within("the stream ends", async { while stream.hear().await.is_ok() {} }).await;
    let answer = within("the post ends", posting).await.expect("no panic").expect("a whole answer");
    let last = answer.text().lines().last().map(str::to_owned).expect("a last line");
    let last: serde_json::Value = serde_json::from_str(&last).expect("JSON");
    assert_eq!((&last["done"], &last["accepted"]), (&json!(true), &json!(1)), "{last}");
    assert_eq!(last["error"]["code"], "unauthenticated", "{last}");
    assert_eq!(get_as(gateway, &ending, "/v1/projects/demo/snapshot").await.status, 401);

    publish(ingest, "demo", "last").await;
    hears(&mut refreshed, "last").await;
    hears(&mut healthy, "last").await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_long_poll_is_answered_when_its_token_ends() {
    let cluster = secured().start().await;
    let gateway = cluster.gateways[0].address();
    let ending = short("alice", "demo", "read", 6);
    let answer = get_as(gateway, &ending, "/v1/projects/demo/events?wait=25").await;
    assert_eq!((answer.status, answer.code().as_str()), (401, "unauthenticated"), "{}", answer.text());
}

#[tokio::test(flavor = "multi_thread")]
async fn a_refresh_takes_away_what_the_new_token_does_not_give() {
    let cluster = secured().start().await;
    let (gateway, ingest) = (cluster.gateways[0].address(), cluster.ingests[0].address());
    let mut connection = subscribed(gateway, &token("alice", "*", "read"), "a").await;
    subscribe(&mut connection, "b").await.expect("it may");
    assert_eq!(refresh(&mut connection, &token("alice", "b", "read")).await, "refreshed");
    let code = connection
        .hear_until("the end of a subscription", |said| match said {
            tidings_tests::viewer::Said::Error { code, reference: None } => Some(code),
            _ => None,
        })
        .await;
    assert_eq!(code, "forbidden");
    assert_eq!(subscribe(&mut connection, "a").await, Err("forbidden".to_owned()));
    publish(ingest, "a", "not for it").await;
    publish(ingest, "b", "for it").await;
    let told = connection
        .hear_until("an event", |said| match said {
            tidings_tests::viewer::Said::Event(event) => Some(event.id),
            _ => None,
        })
        .await;
    assert_eq!(&*told, "for it");
}

#[tokio::test(flavor = "multi_thread")]
async fn each_subscription_needs_the_right_to_read_there() {
    let cluster = secured().start().await;
    let (gateway, ingest) = (cluster.gateways[0].address(), cluster.ingests[0].address());
    let mut connection = Connection::open_as(gateway, &token("alice", "a-*", "read")).await.expect("it may connect");
    assert_eq!(subscribe(&mut connection, "b").await, Err("forbidden".to_owned()));
    subscribe(&mut connection, "a-1").await.expect("it may");
    publish(ingest, "b", "not for it").await;
    publish(ingest, "a-1", "for it").await;
    hears(&mut connection, "for it").await;
    let mut publisher = Connection::open_as(gateway, &token("bob", "a-*", "publish")).await.expect("it may connect");
    assert_eq!(subscribe(&mut publisher, "a-1").await, Err("forbidden".to_owned()), "who publishes need not read");
    let nameless = claims("x", "a-*", "read");
    let nameless =
        hs256(tidings_tests::tokens::SECRET.as_bytes(), &tidings_tests::tokens::with(nameless, "sub", json!(null)));
    let mut connection = subscribed(gateway, &nameless, "a-1").await;
    hears(&mut connection, "for it").await;
}
