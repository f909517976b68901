//! A receiver of webhooks: a small HTTP server of the test's own, which keeps every call and answers as it is told.

use std::collections::VecDeque;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use crate::tokens::now;
use crate::wait::within;
use aws_lc_rs::hmac;
use parking_lot::Mutex;
use serde_json::Value;
use tokio::io::{AsyncBufReadExt as _, AsyncReadExt as _, AsyncWriteExt as _, BufReader};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::watch;
use tokio::task::JoinHandle;

/// What deliveries are signed with.
pub const SECRET: &str = "a secret of the tests";

/// How far a signature's time may lie from ours, in seconds.
const AGE_MAX_S: i64 = 300;

/// One call.
#[derive(Debug, Clone)]
pub struct Call {
    /// Path and query.
    pub path: String,
    headers: Vec<(String, String)>,
    /// The body, byte for byte.
    pub raw: Vec<u8>,
    /// The body.
    pub body: Value,
}

impl Call {
    /// A header field; empty when it is not there.
    pub fn header(&self, name: &str) -> &str {
        let found = self.headers.iter().find(|(known, _)| known.eq_ignore_ascii_case(name));
        found.map_or("", |(_, value)| value)
    }

    /// The delivery's id.
    pub fn id(&self) -> &str {
        self.header("tidings-delivery")
    }

    /// Its events.
    pub fn events(&self) -> &[Value] {
        self.body["events"].as_array().expect("a list")
    }

    /// Whether it is signed with the secret, now.
    pub fn is_signed(&self) -> bool {
        let mut members = self.header("tidings-signature").split(',').filter_map(|member| member.split_once('='));
        let Some(("t", at)) = members.next() else { return false };
        let key = hmac::Key::new(hmac::HMAC_SHA256, SECRET.as_bytes());
        let signed = [at.as_bytes(), b".", &self.raw].concat();
        let mac = hmac::sign(&key, &signed);
        let hex = mac.as_ref().iter().map(|byte| format!("{byte:02x}")).collect::<Vec<_>>().concat();
        let is_now = at.parse::<i64>().is_ok_and(|at| (at - now()).abs() <= AGE_MAX_S);
        is_now && members.any(|(name, value)| name == "v1" && value == hex)
    }
}

/// What a receiver does with a call.
#[derive(Debug, Clone)]
pub enum Does {
    /// Answers with this status and body.
    Answers(u16, String),
    /// Sends the caller elsewhere.
    Redirects(String),
    /// Closes the connection.
    HangsUp,
}

struct Shared {
    calls: Mutex<Vec<Call>>,
    count: watch::Sender<usize>,
    /// For the next calls; then `always`.
    next: Mutex<VecDeque<Does>>,
    always: Mutex<Does>,
    pause: Duration,
}

/// A receiver. Dropped, it stops listening.
pub struct Receiver {
    shared: Arc<Shared>,
    address: SocketAddr,
    listening: JoinHandle<()>,
}

impl Drop for Receiver {
    fn drop(&mut self) {
        self.listening.abort();
    }
}

impl Receiver {
    /// One that takes everything, each call after a pause.
    pub async fn slow(pause: Duration) -> Receiver {
        let listener = TcpListener::bind("127.0.0.1:0").await.expect("a free port");
        let address = listener.local_addr().expect("an address");
        let shared = Arc::new(Shared {
            calls: Mutex::default(),
            count: watch::Sender::new(0),
            next: Mutex::default(),
            always: Mutex::new(Does::Answers(200, String::new())),
            pause,
        });
        let serving = shared.clone();
        let listening = tokio::spawn(async move {
            while let Ok((stream, _)) = listener.accept().await {
                tokio::spawn(serve(stream, serving.clone()));
            }
        });
        Receiver { shared, address, listening }
    }

    /// One that takes everything at once.
    pub async fn start() -> Receiver {
        Receiver::slow(Duration::ZERO).await
    }

    /// Where it is called.
    pub fn url(&self) -> String {
        format!("http://{}/in?key=hidden", self.address)
    }

    /// Where it listens.
    pub fn port(&self) -> u16 {
        self.address.port()
    }

    /// What it does with the next calls.
    pub fn next(&self, does: impl IntoIterator<Item = Does>) {
        self.shared.next.lock().extend(does);
    }

    /// What it does with all others.
    pub fn always(&self, does: Does) {
        *self.shared.always.lock() = does;
    }

    /// All calls up to now.
    pub fn calls(&self) -> Vec<Call> {
        self.shared.calls.lock().clone()
    }

    /// Waits until what it was called with is enough.
    pub async fn until(&self, what: &str, is_enough: impl Fn(&[Call]) -> bool) -> Vec<Call> {
        let mut count = self.shared.count.subscribe();
        within(what, async {
            loop {
                count.borrow_and_update();
                let calls = self.calls();
                if is_enough(&calls) {
                    return calls;
                }
                count.changed().await.expect("the receiver is there");
            }
        })
        .await
    }
}

/// Serves one connection until either side closes it.
async fn serve(stream: TcpStream, shared: Arc<Shared>) {
    let mut stream = BufReader::new(stream);
    while let Some(call) = read(&mut stream).await {
        tokio::time::sleep(shared.pause).await;
        // Before the call can be seen: what a test says behind it is for the next ones.
        let does = shared.next.lock().pop_front().unwrap_or_else(|| shared.always.lock().clone());
        shared.calls.lock().push(call);
        shared.count.send_modify(|count| *count += 1);
        let answer = match does {
            Does::Answers(status, body) => {
                let length = body.len();
                format!(
                    "HTTP/1.1 {status} Said\r\ncontent-type: application/json\r\ncontent-length: {length}\r\n\r\n{body}"
                )
            }
            Does::Redirects(to) => format!("HTTP/1.1 307 There\r\nlocation: {to}\r\ncontent-length: 0\r\n\r\n"),
            Does::HangsUp => return,
        };
        if stream.write_all(answer.as_bytes()).await.is_err() {
            return;
        }
    }
}

async fn read(stream: &mut BufReader<TcpStream>) -> Option<Call> {
    let mut line = String::new();
    stream.read_line(&mut line).await.ok()?;
    let path = line.split(' ').nth(1)?.to_owned();
    let mut headers = Vec::new();
    loop {
        let mut line = String::new();
        stream.read_line(&mut line).await.ok()?;
        let Some((name, value)) = line.trim_end().split_once(':') else { break };
        headers.push((name.to_owned(), value.trim().to_owned()));
    }
    let length = headers.iter().find(|(name, _)| name.eq_ignore_ascii_case("content-length"));
    let mut raw = vec![0; length?.1.parse().ok()?];
    stream.read_exact(&mut raw).await.ok()?;
    let body = serde_json::from_slice(&raw).ok()?;
    Some(Call { path, headers, raw, body })
}
