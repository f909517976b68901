//! A TCP proxy in front of Redis, whose pub/sub link and command link can each be cut or held while the other goes on.
//!
//! A connection counts as a pub/sub link from the moment that it sends `SUBSCRIBE`, before as a command link.

use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};

use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::tcp::{OwnedReadHalf, OwnedWriteHalf};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::watch;
use tokio_util::sync::CancellationToken;

use crate::wait::within;

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

#[derive(Debug, Default)]
struct Shared {
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
#[derive(Debug)]
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

async fn serve(client: TcpStream, shared: Arc<Shared>) {
    let redis_port = shared.links.borrow().redis;
    let Ok(redis) = TcpStream::connect(("127.0.0.1", redis_port)).await else { return };
    let _ = (client.set_nodelay(true), redis.set_nodelay(true));
    let (from_client, to_client) = client.into_split();
    let (from_redis, to_redis) = redis.into_split();
    let subscribes = AtomicBool::new(false);
    let cut = async {
        let mut links = shared.links.subscribe();
        loop {
            let now = *links.borrow_and_update();
            if now.redis != redis_port || now.of(subscribes.load(Ordering::Relaxed)) == Link::Cut {
                return;
            }
            if links.changed().await.is_err() {
                std::future::pending::<()>().await;
            }
        }
    };
    // Either half ending ends the connection; so does a cut.
    tokio::select! {
        () = requests(from_client, to_redis, &subscribes, &shared) => {}
        () = answers(from_redis, to_client, &subscribes, &shared) => {}
        () = cut => {}
    }
}

async fn requests(mut from: OwnedReadHalf, mut to: OwnedWriteHalf, subscribes: &AtomicBool, shared: &Shared) {
    let mut buffer = vec![0; 64 * 1024];
    while let Ok(count @ 1..) = from.read(&mut buffer).await {
        if !subscribes.load(Ordering::Relaxed) && is_subscribe(&buffer[..count]) {
            subscribes.store(true, Ordering::Relaxed);
            shared.subscriptions_seen.fetch_add(1, Ordering::Relaxed);
            if shared.links.borrow().subscriptions == Link::Cut {
                return;
            }
        }
        if to.write_all(&buffer[..count]).await.is_err() {
            return;
        }
    }
}

async fn answers(mut from: OwnedReadHalf, mut to: OwnedWriteHalf, subscribes: &AtomicBool, shared: &Shared) {
    let mut buffer = vec![0; 64 * 1024];
    let mut links = shared.links.subscribe();
    while let Ok(count @ 1..) = from.read(&mut buffer).await {
        loop {
            let link = links.borrow_and_update().of(subscribes.load(Ordering::Relaxed));
            match link {
                Link::Open => break,
                Link::Cut => return,
                Link::Silent => shared.held.send_modify(|held| *held += 1),
            }
            if links.changed().await.is_err() {
                return;
            }
        }
        if to.write_all(&buffer[..count]).await.is_err() {
            return;
        }
    }
}

fn is_subscribe(bytes: &[u8]) -> bool {
    // As a command's name on the wire; the word alone also stands in scripts.
    const NAME: &[u8] = b"$9\r\nSUBSCRIBE\r\n";
    bytes.windows(NAME.len()).any(|window| window.eq_ignore_ascii_case(NAME))
}
