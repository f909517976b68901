//! Plain requests and their answers, by a client library, or byte by byte where a library would refuse to send it.

use std::net::SocketAddr;
use std::sync::OnceLock;
use std::time::Duration;

use bytes::Bytes;
use reqwest::header::HeaderMap;
use serde_json::Value;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;

use crate::wait::within;

/// Longer than any service is silent on an open request.
const SILENCE_MAX: Duration = Duration::from_mins(1);

/// An answer, read to its end.
#[derive(Debug, Clone)]
pub struct Answer {
    /// Its status.
    pub status: u16,
    /// Its header fields.
    pub headers: HeaderMap,
    /// Its body.
    pub body: Bytes,
}

impl Answer {
    /// Reads an answer to its end.
    pub async fn read(answer: reqwest::Response) -> reqwest::Result<Answer> {
        let (status, headers) = (answer.status().as_u16(), answer.headers().clone());
        Ok(Answer { status, headers, body: answer.bytes().await? })
    }

    /// The body as JSON.
    pub fn json(&self) -> Value {
        serde_json::from_slice(&self.body).unwrap_or_else(|error| panic!("{error}: {}", self.text()))
    }

    /// The body as text.
    pub fn text(&self) -> String {
        String::from_utf8_lossy(&self.body).into_owned()
    }

    /// The code of a problem body; empty when it is none.
    pub fn code(&self) -> String {
        let media = self.headers.get("content-type").and_then(|media| media.to_str().ok()).unwrap_or_default();
        if media != "application/problem+json" {
            return String::new();
        }
        self.json()["code"].as_str().unwrap_or_default().to_owned()
    }

    /// A header field as text; empty when it is not there.
    pub fn header(&self, name: &str) -> &str {
        self.headers.get(name).and_then(|value| value.to_str().ok()).unwrap_or_default()
    }
}

/// A client of its own connections: as another program would be.
pub fn client() -> reqwest::Client {
    reqwest::Client::builder().read_timeout(SILENCE_MAX).no_proxy().build().expect("a client without TLS")
}

fn shared() -> &'static reqwest::Client {
    // Without kept connections: tests' runtimes come and go.
    static CLIENT: OnceLock<reqwest::Client> = OnceLock::new();
    CLIENT.get_or_init(|| {
        let builder = reqwest::Client::builder().read_timeout(SILENCE_MAX).no_proxy().pool_max_idle_per_host(0);
        builder.build().expect("a client without TLS")
    })
}

/// `GET`.
pub async fn get(address: SocketAddr, path: &str) -> reqwest::Result<Answer> {
    Answer::read(shared().get(format!("http://{address}{path}")).send().await?).await
}

/// `DELETE`.
pub async fn delete(address: SocketAddr, path: &str) -> reqwest::Result<Answer> {
    Answer::read(shared().delete(format!("http://{address}{path}")).send().await?).await
}

/// `POST` of JSON.
pub async fn post_json(address: SocketAddr, path: &str, body: &Value) -> reqwest::Result<Answer> {
    post(address, path, &[("content-type", "application/json")], body.to_string()).await
}

/// `POST` of anything.
pub async fn post(
    address: SocketAddr,
    path: &str,
    headers: &[(&str, &str)],
    body: impl Into<reqwest::Body>,
) -> reqwest::Result<Answer> {
    let request = shared().post(format!("http://{address}{path}")).body(body);
    let request = headers.iter().fold(request, |request, (name, value)| request.header(*name, *value));
    Answer::read(request.send().await?).await
}

/// Sends bytes as they are on a new connection and reads the answer until the server closes. Give `connection: close`.
pub async fn raw(address: SocketAddr, request: &[u8]) -> RawAnswer {
    within("a raw answer", async {
        let mut socket = TcpStream::connect(address).await.expect("the service listens");
        // A server that has refused may close while the rest is on its way.
        let _ = socket.write_all(request).await;
        let mut answer = Vec::new();
        let _ = socket.read_to_end(&mut answer).await;
        RawAnswer(String::from_utf8_lossy(&answer).into_owned())
    })
    .await
}

/// What came back on a raw connection.
#[derive(Debug, Clone)]
pub struct RawAnswer(pub String);

impl RawAnswer {
    /// The status; 0 when there is none.
    pub fn status(&self) -> u16 {
        self.0.split(' ').nth(1).and_then(|status| status.parse().ok()).unwrap_or(0)
    }

    /// The code of a problem body; empty when it is none.
    pub fn code(&self) -> String {
        let body = self.0.split_once("\r\n\r\n").map_or("", |(_, body)| body);
        let problem: Value = serde_json::from_str(body).unwrap_or_default();
        problem["code"].as_str().unwrap_or_default().to_owned()
    }
}
