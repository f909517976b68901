//! Wrong credentials and floods, on `/ws` and over Socket.IO.

use std::net::SocketAddr;

use futures_util::{SinkExt as _, StreamExt as _};
use serde_json::json;
use tidings_tests::cluster::{Cluster, PROJECT};
use tidings_tests::http;
use tidings_tests::tokens::{SECRET, SECRET_VARIABLE, token};
use tidings_tests::wait::within;
use tokio::net::TcpStream;
use tokio_tungstenite::tungstenite::Message;
use tokio_tungstenite::tungstenite::client::IntoClientRequest as _;
use tokio_tungstenite::{WebSocketStream, client_async};

use crate::socket_io::memory;

const NATIVE: &str = "/ws";
const SOCKET_IO: &str = "/socket.io/?EIO=4&transport=websocket";

/// More messages than the limit lets through, however slow this machine is.
const FLOOD: usize = 100;

async fn open(gateway: SocketAddr, path: &str, authorization: Option<&str>) -> WebSocketStream<TcpStream> {
    let mut request = format!("ws://{gateway}{path}").into_client_request().expect("an address");
    if let Some(authorization) = authorization {
        request.headers_mut().insert("authorization", authorization.parse().expect("a header"));
    }
    let stream = TcpStream::connect(gateway).await.expect("the gateway listens");
    client_async(request, stream).await.expect("it is let in, to be told why not").0
}

/// What is said before the end, and its code and reason.
async fn ends(socket: &mut WebSocketStream<TcpStream>) -> (Vec<String>, Option<(u16, String)>) {
    let mut said = Vec::new();
    let end = within("the end", async {
        loop {
            match socket.next().await {
                Some(Ok(Message::Text(text))) => said.push(text.to_string()),
                Some(Ok(Message::Close(frame))) => {
                    return frame.map(|frame| (frame.code.into(), frame.reason.to_string()));
                }
                Some(Ok(_)) => {}
                Some(Err(_)) | None => return None,
            }
        }
    });
    let end = end.await;
    (said, end)
}

#[tokio::test(flavor = "multi_thread")]
async fn a_credential_that_is_not_good_is_told_so_and_nothing_else() {
    let plan = Cluster::on_redis().set(SECRET_VARIABLE, SECRET).set("TIDINGS_DIALECTS__SERVE", "pygent");
    let plan = plan.set("TIDINGS_DIALECTS__PYGENT_PROJECT", PROJECT);
    let cluster = plan.set("TIDINGS_DIALECTS__PYGENT_SCOPES", "read").start().await;
    let gateway = cluster.gateways[0].address();
    let elsewhere = token("eve", "elsewhere", "publish");
    let (unknown, forbidden) = ((1008, "Not authenticated".to_owned()), (1008, "Not allowed".to_owned()));
    for path in [NATIVE, "/api/ws", SOCKET_IO] {
        for (shown, expected) in [("nonsense", &unknown), (elsewhere.as_str(), &forbidden)] {
            let mut socket = open(gateway, path, Some(&format!("Bearer {shown}"))).await;
            assert_eq!(ends(&mut socket).await, (Vec::new(), Some(expected.clone())), "{path} {shown}");
        }
        let mut socket = open(gateway, path, Some("Basic eve:x")).await;
        assert_eq!(ends(&mut socket).await.1.as_ref(), Some(&unknown), "{path}");
    }
    // By polling there is no close frame to say it in.
    let polls = http::client().get(format!("http://{gateway}/socket.io/?EIO=4&transport=polling"));
    let refused = polls.bearer_auth("nonsense").send().await.expect("an answer");
    let refused = http::Answer::read(refused).await.expect("a whole answer");
    assert_eq!((refused.status, refused.json()), (403, json!({ "code": 4, "message": "Forbidden" })));
}

#[tokio::test(flavor = "multi_thread")]
async fn who_says_too_much_is_closed_and_told_that_it_was_messages() {
    let cluster = memory(Some(("TIDINGS_LIMITS__MESSAGES_PER_SECOND", "1"))).await;
    let gateway = cluster.gateways[0].address();
    let expected = Some((1013, "Too many messages".to_owned()));
    let mut socket = open(gateway, NATIVE, None).await;
    for _ in 0..FLOOD {
        // What comes behind the close is not read.
        let _ = socket.send(Message::text(r#"{"type":"ping","data":{}}"#)).await;
    }
    let (said, end) = ends(&mut socket).await;
    assert!(said.len() < FLOOD, "{said:?}");
    assert_eq!(end, expected);
    assert!(said.iter().all(|text| text.starts_with(r#"{"type":"pong""#)), "{said:?}");

    let mut socket = open(gateway, SOCKET_IO, None).await;
    for text in ["40"].into_iter().chain(std::iter::repeat_n(r#"42["ping",{}]"#, FLOOD)) {
        let _ = socket.send(Message::text(text)).await;
    }
    let (said, end) = ends(&mut socket).await;
    assert!(said.len() < FLOOD, "{said:?}");
    assert_eq!(end, expected);
    // Never a `41`: after that its clients do not come back.
    assert!(said[0].starts_with('0') && said[1].starts_with("40") && !said.contains(&"41".to_owned()), "{said:?}");
    assert!(said[2..].iter().all(|text| text.starts_with(r#"42["pong""#)), "{said:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn binary_data_is_refused_once_whatever_carries_it() {
    let cluster = memory(None).await;
    let gateway = cluster.gateways[0].address();
    let mut socket = open(gateway, SOCKET_IO, None).await;
    for message in [
        Message::text("40"),
        Message::text(r#"451-["photo",{"_placeholder":true,"num":0}]"#),
        Message::binary(vec![1, 2, 3]),
        Message::text(r#"42["dance"]"#),
        Message::text("1"),
    ] {
        socket.send(message).await.expect("it is open");
    }
    let (said, end) = ends(&mut socket).await;
    let error = |text: &str| format!(r#"42["error",{{"message":"{text}"}}]"#);
    assert_eq!(said[2..], [error("Binary messages are not supported"), error("Unknown message type: dance")]);
    assert_eq!(end.map(|(code, _)| code), Some(1000));
}
