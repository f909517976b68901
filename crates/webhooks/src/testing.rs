//! A receiver for tests: answers every call with what it was given, and keeps what it was sent.

use std::net::SocketAddr;

use tidings_protocol::settings::hooks::Secret;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::mpsc;

use crate::caller::{Settings, Target};

/// The secret of [`target`].
pub(crate) const SECRET: &str = "hush-hush-hush-hush";

/// Calls that are kept at most.
const CALLS_MAX: usize = 64;

/// What was sent by one call.
#[derive(Debug)]
pub(crate) struct Call {
    /// Request line and header lines, as they came.
    pub(crate) head: String,
    pub(crate) body: Vec<u8>,
}

impl Call {
    /// A header's value.
    pub(crate) fn header(&self, name: &str) -> Option<&str> {
        let line = self.head.lines().skip(1).filter_map(|line| line.split_once(": "));
        line.filter(|(found, _)| found.eq_ignore_ascii_case(name)).map(|(_, value)| value).next()
    }
}

/// Listens on this machine.
#[derive(Debug)]
pub(crate) struct Receiver {
    pub(crate) address: SocketAddr,
    pub(crate) calls: mpsc::Receiver<Call>,
}

impl Receiver {
    /// Answers with these bytes and closes.
    pub(crate) async fn answering(answer: impl Into<Vec<u8>>) -> Receiver {
        Receiver::saying(answer.into(), true).await
    }

    /// Says this much, and nothing more.
    pub(crate) async fn stalling(said: impl Into<Vec<u8>>) -> Receiver {
        Receiver::saying(said.into(), false).await
    }

    async fn saying(answer: Vec<u8>, closes: bool) -> Receiver {
        let listener = TcpListener::bind("127.0.0.1:0").await.expect("a free port");
        let address = listener.local_addr().expect("its address");
        let (told, calls) = mpsc::channel(CALLS_MAX);
        tokio::spawn(async move {
            let mut open = Vec::new();
            while let Ok((mut socket, _)) = listener.accept().await {
                let Some(call) = read(&mut socket).await else { continue };
                let _ = told.try_send(call);
                let _ = socket.write_all(&answer).await;
                if closes {
                    let _ = socket.shutdown().await;
                } else {
                    open.push(socket);
                }
            }
        });
        Receiver { address, calls }
    }

    /// The same with a status, header lines and a body.
    pub(crate) async fn with(status: u16, headers: &str, body: &str) -> Receiver {
        let length = body.len();
        let head = format!("HTTP/1.1 {status} x\r\ncontent-length: {length}\r\nconnection: close\r\n{headers}\r\n");
        Receiver::answering(format!("{head}{body}")).await
    }

    /// It, by a path that nobody should be told.
    pub(crate) fn target(&self) -> Target {
        target(&format!("http://{}/hidden-path?token=hidden-query", self.address))
    }
}

/// What is at this address, with [`SECRET`].
pub(crate) fn target(url: &str) -> Target {
    Target { url: url.parse().expect("a URL"), secret: Secret::new(SECRET), previous_secret: None }
}

/// Settings that let this machine be called.
pub(crate) fn settings() -> Settings {
    let local = ["127.0.0.0/8", "::1"].map(|text| text.parse().expect("a network"));
    Settings { allowed_networks: tidings_protocol::network::Networks(local.to_vec()), ..Settings::default() }
}

async fn read(socket: &mut TcpStream) -> Option<Call> {
    let mut bytes = Vec::new();
    let end = loop {
        if let Some(at) = bytes.windows(4).position(|four| four == b"\r\n\r\n") {
            break at;
        }
        if socket.read_buf(&mut bytes).await.ok()? == 0 {
            return None;
        }
    };
    let head = String::from_utf8(bytes[..end].to_vec()).ok()?;
    let mut call = Call { head, body: bytes[end + 4..].to_vec() };
    let length = call.header("content-length")?.parse().ok()?;
    while call.body.len() < length {
        if socket.read_buf(&mut call.body).await.ok()? == 0 {
            return None;
        }
    }
    Some(call)
}
