//! A client that speaks HTTP/1.1 by hand, so that a body can end anywhere.

use serde_json::Value;
use tokio::io::{AsyncBufReadExt as _, AsyncReadExt as _, AsyncWriteExt as _, BufReader};
use tokio::net::TcpStream;
use tokio::net::tcp::{OwnedReadHalf, OwnedWriteHalf};

/// A chunked request whose body is being written.
pub(crate) struct Raw {
    pub(crate) writer: Option<OwnedWriteHalf>,
    reader: BufReader<OwnedReadHalf>,
    /// Of the answer's body, not given out as lines yet.
    text: String,
    headed: bool,
}

impl Raw {
    /// Opens a stream of lines; `extra` are header lines, each with its break.
    pub(crate) async fn open(address: std::net::SocketAddr, query: &str, extra: &str) -> Raw {
        let socket = TcpStream::connect(address).await.expect("a listener");
        let (reader, mut writer) = socket.into_split();
        let head = format!(
            "POST /v1/projects/demo/events{query} HTTP/1.1\r\nhost: localhost\r\ncontent-type: application/x-ndjson\r\n\
             transfer-encoding: chunked\r\n{extra}\r\n"
        );
        writer.write_all(head.as_bytes()).await.expect("a socket that takes it");
        Raw { writer: Some(writer), reader: BufReader::new(reader), text: String::new(), headed: false }
    }

    /// Sends a chunk of the body.
    pub(crate) async fn send(&mut self, bytes: &[u8]) {
        let writer = self.writer.as_mut().expect("still open");
        let chunk = [format!("{:x}\r\n", bytes.len()).as_bytes(), bytes, b"\r\n"].concat();
        writer.write_all(&chunk).await.expect("a socket that takes it");
    }

    /// Ends the body as it should end.
    pub(crate) async fn end(&mut self) {
        self.writer.as_mut().expect("still open").write_all(b"0\r\n\r\n").await.expect("a socket that takes it");
    }

    /// Closes the sending side, wherever the body stands.
    pub(crate) fn cut(&mut self) {
        self.writer = None;
    }

    /// The next line of the answer; none: it ended.
    pub(crate) async fn line(&mut self) -> Option<Value> {
        if !self.headed {
            let status = self.raw_line().await;
            assert!(status.starts_with("HTTP/1.1 200"), "{status}");
            while !self.raw_line().await.is_empty() {}
            self.headed = true;
        }
        loop {
            if let Some((line, rest)) = self.text.split_once('\n') {
                let value = serde_json::from_str(line).expect("a line of JSON");
                self.text = rest.into();
                return Some(value);
            }
            let size = usize::from_str_radix(&self.raw_line().await, 16).ok()?;
            let mut chunk = vec![0; size + 2];
            self.reader.read_exact(&mut chunk).await.ok()?;
            if size == 0 {
                return None;
            }
            self.text.push_str(std::str::from_utf8(&chunk[..size]).expect("UTF-8"));
        }
    }

    async fn raw_line(&mut self) -> String {
        let mut line = String::new();
        self.reader.read_line(&mut line).await.ok();
        line.trim_end().to_owned()
    }
}

/// A request's head, for a body of so many bytes.
fn head(headers: &[(&str, &str)], bytes: usize) -> String {
    let fields: Vec<String> = headers.iter().map(|(name, value)| format!("{name}: {value}\r\n")).collect();
    let fields = fields.concat();
    format!("POST /v1/projects/demo/events HTTP/1.1\r\nhost: localhost\r\ncontent-length: {bytes}\r\n{fields}\r\n")
}

/// Sends a request to its last byte before it looks at the answer, as simple clients do.
pub(crate) async fn send_whole(address: std::net::SocketAddr, headers: &[(&str, &str)], body: &[u8]) -> String {
    let mut socket = TcpStream::connect(address).await.expect("a listener");
    socket.write_all(head(headers, body.len()).as_bytes()).await.expect("a socket that takes it");
    socket.write_all(body).await.expect("the body is read, whatever it is");
    let mut answer = vec![0; 4_096];
    let bytes = socket.read(&mut answer).await.expect("an answer");
    String::from_utf8_lossy(&answer[..bytes]).into_owned()
}

/// Sends a body of spaces but for its last byte, and keeps the connection.
pub(crate) async fn send_nearly(address: std::net::SocketAddr, headers: &[(&str, &str)], bytes: usize) -> TcpStream {
    let mut socket = TcpStream::connect(address).await.expect("a listener");
    socket.write_all(head(headers, bytes + 1).as_bytes()).await.expect("a socket that takes it");
    socket.write_all(&vec![b' '; bytes]).await.expect("a socket that takes it");
    socket
}
