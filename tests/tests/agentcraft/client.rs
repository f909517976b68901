//! A client of the dialect, message by message.

use std::net::SocketAddr;

use futures_util::{SinkExt as _, StreamExt as _};
use serde_json::Value;
use tidings_tests::wait::within;
use tokio::net::TcpStream;
use tokio_tungstenite::tungstenite::Message;
use tokio_tungstenite::tungstenite::client::IntoClientRequest as _;
use tokio_tungstenite::{WebSocketStream, client_async};

/// A connection.
pub(crate) struct Client {
    socket: WebSocketStream<TcpStream>,
}

/// How a connection ended: code and reason of a close frame, or without one.
pub(crate) type End = Option<(u16, String)>;

impl Client {
    /// Connects by this path; the status of the refusal if it is refused.
    pub(crate) async fn open(gateway: SocketAddr, path: &str) -> Result<Client, u16> {
        Client::open_with(gateway, path, &[]).await
    }

    /// The same with these headers.
    pub(crate) async fn open_with(
        gateway: SocketAddr,
        path: &str,
        headers: &[(&'static str, &str)],
    ) -> Result<Client, u16> {
        let mut request = format!("ws://{gateway}{path}").into_client_request().expect("an address");
        for (name, value) in headers {
            request.headers_mut().append(*name, value.parse().expect("a header"));
        }
        let stream = TcpStream::connect(gateway).await.expect("the gateway listens");
        match client_async(request, stream).await {
            Ok((socket, _)) => Ok(Client { socket }),
            Err(tokio_tungstenite::tungstenite::Error::Http(answer)) => Err(answer.status().as_u16()),
            Err(error) => panic!("{path}: {error}"),
        }
    }

    /// Connects under this id.
    pub(crate) async fn named(gateway: SocketAddr, id: &str) -> Client {
        Client::open(gateway, &format!("/ws/agent-tracking/{id}")).await.expect("it may connect")
    }

    /// Says this.
    pub(crate) async fn say(&mut self, text: &str) {
        self.socket.send(Message::text(text)).await.expect("it is open");
    }

    /// The next message, or how it ended.
    pub(crate) async fn hear(&mut self) -> Result<Value, End> {
        within("a message", async {
            loop {
                match self.socket.next().await {
                    Some(Ok(Message::Text(text))) => return Ok(serde_json::from_str(&text).expect("messages are JSON")),
                    Some(Ok(Message::Close(frame))) => {
                        return Err(frame.map(|frame| (frame.code.into(), frame.reason.to_string())));
                    }
                    Some(Ok(_)) => {}
                    Some(Err(_)) | None => return Err(None),
                }
            }
        })
        .await
    }

    /// The next message of this type; others are passed over.
    pub(crate) async fn hears(&mut self, kind: &str) -> Value {
        loop {
            let message = self.hear().await.unwrap_or_else(|end| panic!("it ended before {kind}: {end:?}"));
            if message["type"] == kind {
                return message;
            }
        }
    }

    /// How it ends; messages are passed over.
    pub(crate) async fn ends(&mut self) -> End {
        loop {
            if let Err(end) = self.hear().await {
                return end;
            }
        }
    }
}
