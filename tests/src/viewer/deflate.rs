//! A viewer over WebSocket with permessage-deflate: frames that the gateway compressed once, for all who agreed to it.

use std::net::SocketAddr;

use anyhow::Context as _;
use futures_util::SinkExt as _;
use yawc::{Frame, OpCode, Options, TcpWebSocket, WebSocket};

use super::websocket::{Hear, listen, subscription};
use super::{Leave, Plan, Record, Said};

/// Compression level of what the client sends, which is little.
const LEVEL: u32 = 6;

impl Hear for TcpWebSocket {
    async fn hear(&mut self) -> anyhow::Result<Said> {
        loop {
            let frame = self.next_frame().await.context("the connection ended")?;
            match frame.opcode() {
                OpCode::Text => return Said::from_frame(std::str::from_utf8(frame.payload())?),
                OpCode::Close => {
                    let (code, reason) = frame.payload().split_at(frame.payload().len().min(2));
                    let code = code.try_into().map_or(1005, u16::from_be_bytes);
                    return Ok(Said::Closed { code, reason: String::from_utf8_lossy(reason).into_owned() });
                }
                OpCode::Ping | OpCode::Pong => {}
                other => anyhow::bail!("unexpected frame: {other:?}"),
            }
        }
    }
}

/// One visit to a gateway.
pub(super) async fn visit(
    gateway: SocketAddr,
    plan: &Plan,
    record: &mut Record,
    leave: &mut Leave,
) -> anyhow::Result<()> {
    let url = format!("ws://{gateway}/v1/ws").parse()?;
    let options = Options::default().with_compression_level(yawc::CompressionLevel::new(LEVEL));
    let mut socket = WebSocket::connect(url).with_options(options).await?;
    socket.send(Frame::text(subscription(plan, record.position()).to_string())).await?;
    listen(&mut socket, record, leave).await
}
