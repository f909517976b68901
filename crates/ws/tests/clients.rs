//! Other implementations, as clients of the echo and of a server that shares frames, over real sockets.

#[path = "../examples/echo/server.rs"]
mod server;

use std::future::poll_fn;
use std::io;
use std::net::SocketAddr;
use std::sync::LazyLock;

use bytes::Bytes;
use futures_util::{SinkExt, StreamExt};
use tidings_ws::deflate::{Deflater, WindowBits};
use tidings_ws::frame;
use tidings_ws::handshake::Terms;
use tidings_ws::outbox::Outbox;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tokio_tungstenite::tungstenite::protocol::CloseFrame;
use tokio_tungstenite::tungstenite::{self, Message};
use tokio_tungstenite::{MaybeTlsStream, WebSocketStream};
use yawc::{Frame, OpCode};

const TERMS: Terms<'static> = Terms { subprotocols: &["tidings.v1"], deflate: Some(WindowBits::MAX) };

/// The sizes around which headers change, and one that takes many reads.
const SIZES: [usize; 8] = [0, 1, 125, 126, 127, 65_535, 65_536, 900_000];

/// Starts a server that lives as long as the test's runtime.
async fn start<R>(run: fn(server::Upgraded) -> R) -> SocketAddr
where
    R: Future<Output = io::Result<()>> + Send + 'static,
{
    let listener = TcpListener::bind("127.0.0.1:0").await.expect("loopback has free ports");
    let address = listener.local_addr().expect("it is bound");
    tokio::spawn(server::serve(listener, TERMS, run));
    address
}

async fn tungstenite_client(address: SocketAddr) -> WebSocketStream<MaybeTlsStream<TcpStream>> {
    let (client, _) = tokio_tungstenite::connect_async(format!("ws://{address}/")).await.expect("it is accepted");
    client
}

async fn yawc_client(address: SocketAddr) -> yawc::TcpWebSocket {
    let options = yawc::Options::default().with_compression_level(yawc::CompressionLevel::new(6));
    let url = format!("ws://{address}/").parse().expect("an address makes a URL");
    yawc::WebSocket::connect(url).with_options(options).await.expect("it is accepted")
}

fn prose(bytes: usize) -> String {
    "all work and no play makes this compress well, ".chars().cycle().take(bytes).collect()
}

#[tokio::test]
async fn tungstenite_gets_its_messages_back() {
    let mut client = tungstenite_client(start(server::echo).await).await;
    for size in SIZES {
        for message in [Message::text(prose(size)), Message::binary(prose(size))] {
            client.send(message.clone()).await.expect("the echo listens");
            assert_eq!(client.next().await.expect("it answers").expect("by the rules"), message);
        }
    }
    client.send(Message::Ping(Bytes::from_static(b"there?"))).await.expect("the echo listens");
    let pong = client.next().await.expect("it answers").expect("by the rules");
    assert_eq!(pong, Message::Pong(Bytes::from_static(b"there?")));
    let close = CloseFrame { code: 4001.into(), reason: "enough".into() };
    client.close(Some(close)).await.expect("the echo listens");
    match client.next().await.expect("it answers").expect("by the rules") {
        Message::Close(Some(answer)) => assert_eq!(u16::from(answer.code), 4001),
        other => panic!("expected a close frame, got {other:?}"),
    }
    assert!(client.next().await.is_none(), "the server ends the connection");
}

#[tokio::test]
async fn yawc_gets_its_messages_back_compressed() {
    let mut client = yawc_client(start(server::echo).await).await;
    for size in SIZES {
        client.send(Frame::text(prose(size))).await.expect("the echo listens");
        let answer = client.next_frame().await.expect("it answers");
        assert_eq!((answer.opcode(), answer.payload().as_ref()), (OpCode::Text, prose(size).as_bytes()));
        client.send(Frame::binary(prose(size))).await.expect("the echo listens");
        let answer = client.next_frame().await.expect("it answers");
        assert_eq!((answer.opcode(), answer.payload().as_ref()), (OpCode::Binary, prose(size).as_bytes()));
    }
}

/// The same text as frames for sockets with and without compression.
static SHARED: LazyLock<(Bytes, Bytes)> = LazyLock::new(|| {
    let text = prose(5000);
    (Deflater::new(6, WindowBits::MAX).text(text.as_bytes()), frame::text(text.as_bytes()))
});

/// Sends the shared frame three times, then which of the two it was.
async fn send_shared(mut upgraded: server::Upgraded) -> io::Result<()> {
    let (frame, kind) = if upgraded.deflate.is_some() { (&SHARED.0, "compressed") } else { (&SHARED.1, "plain") };
    let mut outbox = Outbox::new();
    (0..3).for_each(|_| outbox.push(frame.clone()));
    outbox.push(frame::text(kind.as_bytes()));
    while !outbox.is_empty() {
        poll_fn(|cx| outbox.poll_write(cx, &mut upgraded.io)).await?;
    }
    upgraded.io.read_buf(&mut upgraded.input).await.map(drop)
}

#[tokio::test]
async fn one_frame_is_shared_by_all_sockets_that_agreed_to_it() {
    assert!(SHARED.0.len() * 10 < SHARED.1.len(), "the one is compressed, the other is not");
    let address = start(send_shared).await;
    for _ in 0..3 {
        let (mut yawc, mut tungstenite) = (yawc_client(address).await, tungstenite_client(address).await);
        for expected in [&prose(5000), &prose(5000), &prose(5000), "compressed"] {
            assert_eq!(yawc.next_frame().await.expect("it is sent").payload().as_ref(), expected.as_bytes());
        }
        for expected in [&prose(5000), &prose(5000), &prose(5000), "plain"] {
            let message = tungstenite.next().await.expect("it is sent").expect("by the rules");
            assert_eq!(message, Message::text(expected));
        }
    }
}

/// Sends raw bytes and returns all that the server answers until it ends the connection.
async fn answer_to(request: &[&[u8]]) -> Vec<u8> {
    let mut stream = TcpStream::connect(start(server::echo).await).await.expect("it listens");
    stream.write_all(&request.concat()).await.expect("it reads");
    stream.shutdown().await.expect("the stream is whole");
    let mut answer = Vec::new();
    stream.read_to_end(&mut answer).await.expect("it ends in order");
    answer
}

const REQUEST: &[u8] = b"GET / HTTP/1.1\r\nhost: a\r\nupgrade: websocket\r\nconnection: upgrade\r\n\
    sec-websocket-version: 13\r\nsec-websocket-key: dGhlIHNhbXBsZSBub25jZQ==\r\n\r\n";

#[tokio::test]
async fn frames_right_behind_the_request_are_not_lost() {
    let hello = [0x81, 0x85, 0x37, 0xfa, 0x21, 0x3d, 0x7f, 0x9f, 0x4d, 0x51, 0x58];
    let answer = answer_to(&[REQUEST, &hello]).await;
    assert!(answer.starts_with(b"HTTP/1.1 101 "));
    assert!(answer.ends_with(b"\r\n\r\n\x81\x05Hello"), "{:?}", Bytes::from(answer));
}

#[tokio::test]
async fn a_client_that_breaks_the_rules_is_told() {
    let unmasked = frame::text(b"Hello");
    let answer = answer_to(&[REQUEST, &unmasked]).await;
    assert!(answer.ends_with(&frame::close(1002, "a frame is not masked")), "{:?}", Bytes::from(answer));
}

#[tokio::test]
async fn a_request_that_is_no_upgrade_is_told() {
    let answer = answer_to(&[b"GET / HTTP/1.1\r\nhost: a\r\n\r\n"]).await;
    let answer = String::from_utf8(answer).expect("a response");
    assert!(answer.starts_with("HTTP/1.1 426 "), "{answer}");
    assert!(answer.contains("sec-websocket-version: 13\r\n"), "{answer}");
}

#[tokio::test]
async fn a_subprotocol_is_agreed_to() {
    use tungstenite::client::IntoClientRequest;
    let mut request = format!("ws://{}/", start(server::echo).await).into_client_request().expect("a request");
    let offers = "other, tidings.v1".parse().expect("a header's value");
    request.headers_mut().insert("sec-websocket-protocol", offers);
    let (_client, response) = tokio_tungstenite::connect_async(request).await.expect("it is accepted");
    assert_eq!(response.headers()["sec-websocket-protocol"], "tidings.v1");
}
