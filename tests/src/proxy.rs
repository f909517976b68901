//! A TCP proxy in front of Redis, whose pub/sub link and command link can each be cut or held while the other goes on;
//! and single calls can be held, or lose their answer.
//!
//! A connection counts as a pub/sub link from the moment that it sends `SUBSCRIBE`, before as a command link. Whatever
//! is not Redis' protocol (TLS, a replica's stream) passes as it is.

mod resp;
mod trap;

use std::collections::VecDeque;
use std::net::SocketAddr;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};

use bytes::{Bytes, BytesMut};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::tcp::{OwnedReadHalf, OwnedWriteHalf};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::watch;
use tokio_util::sync::CancellationToken;

use crate::wait::within;
use resp::{Front, front, is_push};
use trap::{Fate, Inner, Traps};

pub use resp::Call;
pub use trap::{Held, Trap};

/// What happens to a kind of link.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Link {
    /// Everything passes.
    #[default]
    Open,
    /// It stays connected, but nothing comes from Redis: a link that died silently.
    Silent,
    /// Connections are closed, new ones as soon as they are known for what they are.
    Cut,
}

#[derive(Default)]
struct Shared {
    traps: Traps,
    links: watch::Sender<Links>,
    subscriptions_seen: AtomicU64,
    /// Stretches of bytes from Redis that were held back so far.
    held: watch::Sender<u64>,
}

#[derive(Debug, Clone, Copy, Default)]
struct Links {
    /// The port behind it.
    redis: u16,
    subscriptions: Link,
    commands: Link,
}

impl Links {
    fn of(self, subscribes: bool) -> Link {
        if subscribes { self.subscriptions } else { self.commands }
    }
}

/// A proxy; it ends with this.
pub struct Proxy {
    address: SocketAddr,
    shared: Arc<Shared>,
    stop: CancellationToken,
}

impl Proxy {
    /// A proxy in front of the Redis at this port.
    pub async fn start(redis_port: u16) -> Proxy {
        let listener = TcpListener::bind("127.0.0.1:0").await.expect("loopback has free ports");
        let address = listener.local_addr().expect("it is bound");
        let links = Links { redis: redis_port, ..Links::default() };
        let shared = Arc::new(Shared { links: watch::Sender::new(links), ..Shared::default() });
        let stop = CancellationToken::new();
        let (accepting, stopped) = (shared.clone(), stop.clone());
        tokio::spawn(stop.clone().run_until_cancelled_owned(async move {
            while let Ok((client, _)) = listener.accept().await {
                let serving = serve(client, accepting.clone());
                tokio::spawn(stopped.clone().run_until_cancelled_owned(serving));
            }
        }));
        Proxy { address, shared, stop }
    }

    /// Redis as seen through it.
    pub fn url(&self) -> String {
        format!("redis://{}", self.address)
    }

    /// Where it is.
    pub fn port(&self) -> u16 {
        self.address.port()
    }

    /// Another Redis is behind it from now on; connections to the one before are closed.
    pub fn leads_to(&self, redis_port: u16) {
        self.shared.links.send_modify(|links| links.redis = redis_port);
    }

    /// What happens to pub/sub links from now on, those that are there and those that come.
    pub fn subscriptions(&self, link: Link) {
        self.shared.links.send_modify(|links| links.subscriptions = link);
    }

    /// What happens to command links from now on.
    pub fn commands(&self, link: Link) {
        self.shared.links.send_modify(|links| links.commands = link);
    }

    /// Waits until an answer of Redis is held back that was not when this was called.
    pub async fn holds_an_answer(&self) {
        let mut held = self.shared.held.subscribe();
        held.borrow_and_update();
        within("an answer is held back", held.changed()).await.expect("the sender is ours");
    }

    /// Holds the first call that is wanted, and what comes behind it on its connection; other connections go on.
    pub fn hold(&self, wanted: impl Fn(&Call) -> bool + Send + Sync + 'static) -> Trap {
        self.shared.traps.set(Fate::Held, wanted)
    }

    /// Drops the answer to the first call that is wanted, and cuts all command links in that moment.
    pub fn swallow_answer(&self, wanted: impl Fn(&Call) -> bool + Send + Sync + 'static) -> Trap {
        self.shared.traps.set(Fate::Unanswered, wanted)
    }

    /// Pub/sub links that were opened so far, cut ones too.
    pub fn subscriptions_seen(&self) -> u64 {
        self.shared.subscriptions_seen.load(Ordering::Relaxed)
    }
}

impl Drop for Proxy {
    fn drop(&mut self) {
        self.stop.cancel();
    }
}

impl std::fmt::Debug for Proxy {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Proxy").field("address", &self.address).finish_non_exhaustive()
    }
}

/// One connection through the proxy.
#[derive(Default)]
struct Connection {
    subscribes: AtomicBool,
    /// It does not speak Redis' protocol, or no more.
    is_foreign: AtomicBool,
    /// Calls that went through, and those of them whose answers somebody waits for.
    calls: Mutex<Calls>,
}

#[derive(Default)]
struct Calls {
    sent: u64,
    watched: VecDeque<(u64, Arc<Inner>)>,
}

impl Connection {
    fn calls(&self) -> std::sync::MutexGuard<'_, Calls> {
        self.calls.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn link(&self, links: Links) -> Link {
        links.of(self.subscribes.load(Ordering::Relaxed))
    }
}

async fn serve(client: TcpStream, shared: Arc<Shared>) {
    let redis_port = shared.links.borrow().redis;
    let Ok(redis) = TcpStream::connect(("127.0.0.1", redis_port)).await else { return };
    let _ = (client.set_nodelay(true), redis.set_nodelay(true));
    let (from_client, to_client) = client.into_split();
    let (from_redis, to_redis) = redis.into_split();
    let connection = Connection::default();
    let cut = async {
        let mut links = shared.links.subscribe();
        loop {
            let now = *links.borrow_and_update();
            if now.redis != redis_port || connection.link(now) == Link::Cut {
                return;
            }
            if links.changed().await.is_err() {
                std::future::pending::<()>().await;
            }
        }
    };
    // Either half ending ends the connection; so does a cut.
    tokio::select! {
        () = requests(from_client, to_redis, &connection, &shared) => {}
        () = answers(from_redis, to_client, &connection, &shared) => {}
        () = cut => {}
    }
}

async fn requests(mut from: OwnedReadHalf, mut to: OwnedWriteHalf, connection: &Connection, shared: &Shared) {
    let mut buffer = BytesMut::with_capacity(64 * 1024);
    while let Ok(1..) = from.read_buf(&mut buffer).await {
        loop {
            let length = match front(&buffer) {
                _ if connection.is_foreign.load(Ordering::Relaxed) => buffer.len(),
                Front::Frame(length) => length,
                Front::Partial => break,
                Front::Foreign => {
                    connection.is_foreign.store(true, Ordering::Relaxed);
                    buffer.len()
                }
            };
            if length == 0 {
                break;
            }
            if !request(buffer.split_to(length).freeze(), &mut to, connection, shared).await {
                return;
            }
        }
    }
}

/// Sends one request on. False: the connection is over.
async fn request(bytes: Bytes, to: &mut OwnedWriteHalf, connection: &Connection, shared: &Shared) -> bool {
    let mut caught = None;
    if let Some(call) = Call::read(&bytes).filter(|_| !connection.is_foreign.load(Ordering::Relaxed)) {
        match call.name().as_str() {
            "SUBSCRIBE" | "SSUBSCRIBE" if !connection.subscribes.swap(true, Ordering::Relaxed) => {
                shared.subscriptions_seen.fetch_add(1, Ordering::Relaxed);
                if shared.links.borrow().subscriptions == Link::Cut {
                    return false;
                }
            }
            "PSYNC" | "SYNC" => connection.is_foreign.store(true, Ordering::Relaxed),
            _ => caught = shared.traps.catch(&call),
        }
        let mut calls = connection.calls();
        calls.sent += 1;
        let sent = calls.sent;
        calls.watched.extend(caught.clone().map(|trap| (sent, trap)));
    }
    if let Some(trap) = &caught {
        trap.released().await;
    }
    if to.write_all(&bytes).await.is_err() {
        return false;
    }
    if let Some(trap) = caught.filter(|trap| trap.fate == Fate::Held) {
        // Its client may have left long ago: Redis shall answer before that is noticed.
        trap.answer().await;
    }
    true
}

async fn answers(mut from: OwnedReadHalf, mut to: OwnedWriteHalf, connection: &Connection, shared: &Shared) {
    let mut buffer = BytesMut::with_capacity(64 * 1024);
    let mut links = shared.links.subscribe();
    let mut answered = 0;
    while let Ok(1..) = from.read_buf(&mut buffer).await {
        let mut ready = 0;
        while !connection.is_foreign.load(Ordering::Relaxed)
            && let Front::Frame(length) = front(&buffer[ready..])
        {
            let frame = ready..ready + length;
            ready += length;
            if is_push(&buffer[frame.clone()]) {
                continue;
            }
            answered += 1;
            let Some(trap) = watched(connection, answered) else { continue };
            trap.answered(Bytes::copy_from_slice(&buffer[frame]));
            if trap.fate == Fate::Unanswered {
                shared.links.send_modify(|links| links.commands = Link::Cut);
                return;
            }
        }
        if connection.is_foreign.load(Ordering::Relaxed) {
            ready = buffer.len();
        }
        if ready == 0 {
            continue;
        }
        loop {
            let link = connection.link(*links.borrow_and_update());
            match link {
                Link::Open => break,
                Link::Cut => return,
                Link::Silent => shared.held.send_modify(|held| *held += 1),
            }
            if links.changed().await.is_err() {
                return;
            }
        }
        if to.write_all(&buffer.split_to(ready)).await.is_err() {
            return;
        }
    }
}

/// The trap that waits for the answer of this number.
fn watched(connection: &Connection, answered: u64) -> Option<Arc<Inner>> {
    connection.calls().watched.pop_front_if(|(sent, _)| *sent == answered).map(|(_, trap)| trap)
}
