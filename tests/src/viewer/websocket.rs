//! A viewer over WebSocket.

use std::net::SocketAddr;

use anyhow::Context as _;
use futures_util::{SinkExt as _, StreamExt as _};
use serde_json::{Value, json};
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::TcpStream;
use tokio_tungstenite::WebSocketStream;
use tokio_tungstenite::tungstenite::client::IntoClientRequest as _;
use tokio_tungstenite::tungstenite::protocol::WebSocketConfig;
use tokio_tungstenite::tungstenite::{Message, Utf8Bytes};

use super::{Leave, Plan, Record, Said};
use crate::wait::within;

/// Bytes that a client reads at once; small, so that a thousand of them fit a test.
const READ_BYTES: usize = 16 * 1024;

/// What came over a connection, as it came.
#[derive(Debug, Clone)]
pub enum Heard {
    /// A frame.
    Text(Utf8Bytes),
    /// The connection was closed with a code.
    Closed {
        /// The number.
        code: u16,
        /// The reason.
        reason: String,
    },
}

/// A connection that speaks `tidings.v1`.
#[derive(Debug)]
pub struct Connection<S = TcpStream> {
    socket: WebSocketStream<S>,
}

impl Connection {
    /// Connects.
    pub async fn open(gateway: SocketAddr) -> anyhow::Result<Connection> {
        let stream = TcpStream::connect(gateway).await?;
        Connection::over(stream, gateway).await
    }

    /// Connects with a token.
    pub async fn open_as(gateway: SocketAddr, token: &str) -> anyhow::Result<Connection> {
        let stream = TcpStream::connect(gateway).await?;
        let authorization = format!("Bearer {token}");
        let headers = [("sec-websocket-protocol", "tidings.v1"), ("authorization", authorization.as_str())];
        Connection::over_with(stream, gateway, &headers).await
    }
}

impl<S: AsyncRead + AsyncWrite + Unpin> Connection<S> {
    /// Shakes hands over a stream to a gateway.
    pub async fn over(stream: S, gateway: SocketAddr) -> anyhow::Result<Connection<S>> {
        Connection::over_with(stream, gateway, &[("sec-websocket-protocol", "tidings.v1")]).await
    }

    /// The same with these headers.
    pub async fn over_with(
        stream: S,
        gateway: SocketAddr,
        headers: &[(&'static str, &str)],
    ) -> anyhow::Result<Connection<S>> {
        let mut request = format!("ws://{gateway}/v1/ws").into_client_request()?;
        for (name, value) in headers {
            request.headers_mut().append(*name, value.parse()?);
        }
        let config =
            WebSocketConfig::default().read_buffer_size(READ_BYTES).max_message_size(None).max_frame_size(None);
        let (socket, answer) =
            tokio_tungstenite::client_async_with_config(request, stream, Some(config)).await.context("handshake")?;
        let subprotocol = answer.headers().get("sec-websocket-protocol");
        anyhow::ensure!(subprotocol.is_some_and(|chosen| chosen == "tidings.v1"), "another subprotocol was chosen");
        Ok(Connection { socket })
    }

    /// Says something.
    pub async fn say(&mut self, frame: &Value) -> anyhow::Result<()> {
        Ok(self.socket.send(Message::text(frame.to_string())).await?)
    }

    /// Sends a message as it is.
    pub async fn send(&mut self, message: Message) -> anyhow::Result<()> {
        Ok(self.socket.send(message).await?)
    }

    /// The next thing that is said; an error when the connection ends without a word.
    pub async fn hear(&mut self) -> anyhow::Result<Said> {
        match self.hear_raw().await? {
            Heard::Text(text) => Said::from_frame(&text),
            Heard::Closed { code, reason } => Ok(Said::Closed { code, reason }),
        }
    }

    /// The same, unread.
    pub async fn hear_raw(&mut self) -> anyhow::Result<Heard> {
        loop {
            match self.socket.next().await.context("the connection ended")?? {
                Message::Text(text) => return Ok(Heard::Text(text)),
                Message::Close(frame) => {
                    let (code, reason) =
                        frame.map_or((1005, String::new()), |frame| (frame.code.into(), frame.reason.to_string()));
                    return Ok(Heard::Closed { code, reason });
                }
                Message::Ping(_) | Message::Pong(_) => {}
                other => anyhow::bail!("unexpected message: {other:?}"),
            }
        }
    }

    /// Listens until `find` finds what it looks for.
    ///
    /// # Panics
    /// When the connection ends before.
    pub async fn hear_until<T>(&mut self, what: &str, mut find: impl FnMut(Said) -> Option<T>) -> T {
        within(what, async {
            loop {
                let said = self.hear().await.unwrap_or_else(|error| panic!("{what}: {error:#}"));
                if let Some(found) = find(said) {
                    return found;
                }
            }
        })
        .await
    }

    /// The stream below.
    pub fn stream(&mut self) -> &mut S {
        self.socket.get_mut()
    }
}

/// The subscription of a plan, behind this position.
pub fn subscription(plan: &Plan, position: Option<&str>) -> Value {
    // Whoever has been told something asks for a fresh snapshot only after a gap.
    let snapshot = match (plan.snapshot, position) {
        (false, _) => json!(false),
        (true, None) => json!(true),
        (true, Some(_)) => json!("after_gap"),
    };
    let after = position.unwrap_or(&plan.after);
    json!({"op": "subscribe", "project": plan.project, "after": after, "lag": plan.lag, "snapshot": snapshot})
}

/// One visit to a gateway.
pub(super) async fn visit(
    gateway: SocketAddr,
    plan: &Plan,
    record: &mut Record,
    leave: &mut Leave,
) -> anyhow::Result<()> {
    let mut connection = Connection::open(gateway).await?;
    connection.say(&subscription(plan, record.position())).await?;
    listen(&mut connection, record, leave).await
}

/// Something that frames come from.
pub(super) trait Hear {
    /// The next thing that is said; an error when the connection ends without a word. Cancel safe.
    async fn hear(&mut self) -> anyhow::Result<Said>;
}

impl Hear for Connection {
    async fn hear(&mut self) -> anyhow::Result<Said> {
        Connection::hear(self).await
    }
}

/// Writes down what is said until it is time to leave.
pub(super) async fn listen(connection: &mut impl Hear, record: &mut Record, leave: &mut Leave) -> anyhow::Result<()> {
    while !leave.is_due(record) {
        let said = tokio::select! {
            said = connection.hear() => said?,
            () = leave.changed() => continue,
        };
        let over = matches!(said, Said::Closed { .. });
        match said {
            // A resumed stream begins where it says so; what was heard before counts.
            Said::Subscribed { position } if record.position().is_some() => {
                anyhow::ensure!(record.position() == Some(position.as_str()), "resumed at {position} instead");
            }
            said => record.hear(said),
        }
        anyhow::ensure!(!over, "closed by the gateway");
    }
    Ok(())
}
