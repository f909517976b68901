//! The client: viewers that count frames, publishers that post, and what came of it.

use std::cell::RefCell;
use std::fmt;
use std::rc::Rc;
use std::time::{Duration, Instant};

use anyhow::Context as _;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;
use tokio::task::LocalSet;

use crate::EVENT_BYTES;
use crate::load::Load;
use crate::process::Server;

/// Events under way in the closed loop.
const UNDER_WAY: usize = 32;

/// Connections that post in [`Load::Posts`].
const POSTERS: usize = 8;

/// How long nothing is asked of a server that has its viewers, before it is measured.
const SETTLE: Duration = Duration::from_secs(1);

/// What a measurement found.
pub struct Measured {
    /// Events that came to viewers, or were taken where nobody watches.
    pub events: u64,
    /// Seconds.
    pub seconds: f64,
    /// What the server ran.
    pub cpu_seconds: f64,
    /// Latency from the post to a viewer, of a sample of deliveries.
    pub p50_ms: f64,
    /// The same.
    pub p99_ms: f64,
    /// What a viewer takes of the server's memory before anything is posted; a server's first also pays for what all share.
    pub viewer_kb: f64,
    /// The server's memory at the end.
    pub rss_mb: f64,
    /// Deliveries that did not come.
    pub lost: u64,
}

impl Measured {
    /// Deliveries (or events that were taken) per second.
    pub fn per_second(&self) -> f64 {
        self.events as f64 / self.seconds
    }

    /// Microseconds of server CPU for each.
    pub fn cpu_us(&self) -> f64 {
        self.cpu_seconds * 1e6 / (self.events as f64).max(1.0)
    }

    /// How much of a core the server took, in percent.
    pub fn core_percent(&self) -> f64 {
        100.0 * self.cpu_seconds / self.seconds
    }
}

impl fmt::Display for Measured {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(
            f,
            "{:.0}/s, {:.2} us each, {:.2}% of a core, p50 {:.2} ms, p99 {:.2} ms, {:.1} kB a viewer, lost {}",
            self.per_second(),
            self.cpu_us(),
            self.core_percent(),
            self.p50_ms,
            self.p99_ms,
            self.viewer_kb,
            self.lost
        )
    }
}

#[derive(Default)]
struct Counts {
    frames: u64,
    posted: u64,
    latencies_us: Vec<u64>,
    stop: bool,
}

/// Connects viewers, posts for `time`, waits until all is delivered, and reports.
pub async fn measure(server: &mut Server, viewers: usize, load: Load, time: Duration) -> anyhow::Result<Measured> {
    let counts = Rc::new(RefCell::new(Counts::default()));
    let epoch = Instant::now();
    let viewers = if matches!(load, Load::Posts(_)) { 0 } else { viewers };
    let watching = async {
        let bare_mb = server.rss_mb();
        for index in 0..viewers {
            let socket = connect(server).await.context("a viewer cannot connect")?;
            let counts = counts.clone();
            tokio::task::spawn_local(async move {
                let _ = watch(socket, counts, epoch, index % 16 == 0).await;
            });
        }
        tokio::time::sleep(SETTLE).await;
        let viewer_kb = (server.rss_mb() - bare_mb) * 1024.0 / viewers.max(1) as f64;
        // What was said at the opening is not counted.
        counts.borrow_mut().frames = 0;
        let (begun, ran) = (Instant::now(), server.ran());
        let publishers: Vec<_> = publishers(load)
            .map(|posting| {
                let publishing =
                    publish(server.address.clone(), server.is_tidings, counts.clone(), posting, epoch, viewers);
                tokio::task::spawn_local(publishing)
            })
            .collect();
        tokio::time::sleep(time).await;
        counts.borrow_mut().stop = true;
        for publisher in publishers {
            publisher.await??;
        }
        let posted = counts.borrow().posted;
        let expected = posted * viewers as u64;
        let waiting = Instant::now();
        while counts.borrow().frames < expected && waiting.elapsed() < Duration::from_secs(20) {
            tokio::time::sleep(Duration::from_millis(2)).await;
        }
        let mut counts = counts.borrow_mut();
        counts.latencies_us.sort_unstable();
        let at = |share: f64| {
            let index = (counts.latencies_us.len() as f64 * share) as usize;
            counts.latencies_us.get(index).copied().unwrap_or(0) as f64 / 1e3
        };
        Ok(Measured {
            events: if viewers == 0 { posted } else { counts.frames },
            seconds: begun.elapsed().as_secs_f64(),
            cpu_seconds: server.ran().seconds_since(&ran),
            p50_ms: at(0.5),
            p99_ms: at(0.99),
            viewer_kb,
            rss_mb: server.rss_mb(),
            lost: expected.saturating_sub(counts.frames),
        })
    };
    LocalSet::new().run_until(watching).await
}

/// What one connection posts.
#[derive(Clone, Copy)]
struct Posting {
    /// Requests per second; none: the next when the one before is answered, and delivered.
    rate: Option<u32>,
    /// Events in a request.
    batch: usize,
}

fn publishers(load: Load) -> impl Iterator<Item = Posting> {
    let (connections, rate, batch) = match load {
        Load::Idle => (0, None, 1),
        Load::Rate(rate) => (1, Some(rate), 1),
        Load::Saturated => (UNDER_WAY, None, 1),
        Load::Posts(batch) => (POSTERS, None, batch),
    };
    std::iter::repeat_n(Posting { rate, batch }, connections)
}

/// Opens a WebSocket by hand and subscribes.
async fn connect(server: &Server) -> anyhow::Result<TcpStream> {
    let mut socket = TcpStream::connect(&server.address).await?;
    socket.set_nodelay(true)?;
    let path = if server.is_tidings { "/v1/ws" } else { "/ws" };
    let request = format!(
        "GET {path} HTTP/1.1\r\nHost: localhost\r\nConnection: Upgrade\r\nUpgrade: websocket\r\nSec-WebSocket-Version: 13\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n\r\n"
    );
    socket.write_all(request.as_bytes()).await?;
    let mut head = Vec::new();
    while !head.ends_with(b"\r\n\r\n") {
        head.push(socket.read_u8().await?);
    }
    anyhow::ensure!(head.starts_with(b"HTTP/1.1 101"), "no upgrade: {}", String::from_utf8_lossy(&head));
    if server.is_tidings {
        let text = br#"{"op":"subscribe","project":"bench"}"#;
        // A mask of zeros leaves the payload as it is.
        let mut frame = vec![0x81, 0x80 | text.len() as u8, 0, 0, 0, 0];
        frame.extend_from_slice(text);
        socket.write_all(&frame).await?;
        // The hello and the word that the subscription stands.
        let mut scanner = Scanner::default();
        let mut buffer = [0; 4096];
        while scanner.frames < 2 {
            let read = socket.read(&mut buffer).await?;
            scanner.scan(&buffer[..read], |_| {});
        }
    }
    Ok(socket)
}

async fn watch(
    mut socket: TcpStream,
    counts: Rc<RefCell<Counts>>,
    epoch: Instant,
    samples: bool,
) -> anyhow::Result<()> {
    let mut scanner = Scanner::default();
    let mut buffer = vec![0; 64 * 1024];
    loop {
        let read = socket.read(&mut buffer).await?;
        if read == 0 {
            return Ok(());
        }
        let before = scanner.frames;
        let mut counts = counts.borrow_mut();
        scanner.scan(&buffer[..read], |payload| {
            if samples && let Some(sent) = stamp(payload) {
                let now = u64::try_from(epoch.elapsed().as_micros()).unwrap_or(0);
                counts.latencies_us.push(now.saturating_sub(sent));
            }
        });
        counts.frames += scanner.frames - before;
    }
}

/// The microseconds behind `"t":` in a payload that is here whole or in part.
fn stamp(payload: &[u8]) -> Option<u64> {
    let at = payload.windows(4).position(|window| window == b"\"t\":")? + 4;
    let digits: Vec<u8> = payload[at..].iter().copied().take_while(u8::is_ascii_digit).collect();
    std::str::from_utf8(&digits).ok()?.parse().ok()
}

/// Counts frames of a server's stream.
#[derive(Default)]
struct Scanner {
    frames: u64,
    /// Payload bytes of the present frame that are still to come.
    left: usize,
    header: Vec<u8>,
}

impl Scanner {
    fn scan(&mut self, mut bytes: &[u8], mut payload: impl FnMut(&[u8])) {
        while !bytes.is_empty() {
            if self.left > 0 {
                let taken = self.left.min(bytes.len());
                payload(&bytes[..taken]);
                self.left -= taken;
                bytes = &bytes[taken..];
                self.frames += u64::from(self.left == 0);
                continue;
            }
            self.header.push(bytes[0]);
            bytes = &bytes[1..];
            let need = match self.header.get(1).map(|second| second & 0x7f) {
                None => continue,
                Some(126) => 4,
                Some(127) => 10,
                Some(_) => 2,
            };
            if self.header.len() == need {
                self.left = match need {
                    2 => usize::from(self.header[1] & 0x7f),
                    _ => self.header[2..].iter().fold(0, |length, byte| length << 8 | usize::from(*byte)),
                };
                self.frames += u64::from(self.left == 0);
                self.header.clear();
            }
        }
    }
}

/// Posts events over one keep-alive connection: as fast as they are delivered, or at a rate.
async fn publish(
    address: String,
    is_tidings: bool,
    counts: Rc<RefCell<Counts>>,
    posting: Posting,
    epoch: Instant,
    viewers: usize,
) -> anyhow::Result<()> {
    let Posting { rate, batch } = posting;
    let mut socket = TcpStream::connect(&address).await?;
    socket.set_nodelay(true)?;
    let path = if is_tidings { "/v1/projects/bench/events" } else { "/publish" };
    let mut answer = Vec::new();
    let mut next = Instant::now();
    let filler = "x".repeat(EVENT_BYTES - 100);
    while !counts.borrow().stop {
        if let Some(rate) = rate {
            next += Duration::from_secs(1) / rate;
            tokio::time::sleep_until(next.into()).await;
        }
        let now = epoch.elapsed().as_micros();
        let event = format!(r#"{{"type":"bench.event","session":"s","data":{{"t":{now},"pad":"{filler}"}}}}"#);
        let body = if batch == 1 { event } else { format!("[{}]", vec![event; batch].join(",")) };
        let request = format!(
            "POST {path} HTTP/1.1\r\nHost: localhost\r\nContent-Type: application/json\r\nContent-Length: {}\r\n\r\n{body}",
            body.len()
        );
        let target = (counts.borrow().posted + 1).saturating_sub(UNDER_WAY as u64) * viewers as u64;
        socket.write_all(request.as_bytes()).await?;
        counts.borrow_mut().posted += batch as u64;
        answered(&mut socket, &mut answer).await?;
        while rate.is_none() && counts.borrow().frames < target && !counts.borrow().stop {
            tokio::task::yield_now().await;
        }
    }
    Ok(())
}

/// Reads one answer, which must be good, to its end.
async fn answered(socket: &mut TcpStream, answer: &mut Vec<u8>) -> anyhow::Result<()> {
    answer.clear();
    loop {
        anyhow::ensure!(socket.read_buf(answer).await? > 0, "the server hung up");
        let Some(head) = answer.windows(4).position(|window| window == b"\r\n\r\n") else { continue };
        let text = String::from_utf8_lossy(&answer[..head]).to_ascii_lowercase();
        anyhow::ensure!(text.starts_with("http/1.1 2"), "refused: {}", String::from_utf8_lossy(answer));
        let length = text.lines().find_map(|line| line.strip_prefix("content-length: ")?.trim().parse::<usize>().ok());
        if answer.len() >= head + 4 + length.unwrap_or(0) {
            return Ok(());
        }
    }
}
