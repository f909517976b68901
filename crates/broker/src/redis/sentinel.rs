//! Redis Sentinel: which node is the primary now.
//!
//! One task asks a sentinel each second, and the next one when that fails; what it says is believed until the next look.
//! Who opens a connection takes the address from here, and checks that the node calls itself a primary; when another
//! address is named, connections to the old one are given up at once.

use std::convert::Infallible;
use std::time::Duration;

use ::redis::aio::MultiplexedConnection;
use ::redis::{ConnectionAddr, ConnectionInfo, ErrorKind, RedisError, RedisResult, cmd};
use tokio::sync::watch;
use tracing::{info, warn};

use super::link::{Backoff, Opener};

/// How often a sentinel is asked.
const EVERY: Duration = Duration::from_secs(1);

/// The sentinels of one primary.
pub(super) struct Sentinels {
    nodes: Vec<ConnectionInfo>,
    /// What they call the primary.
    name: String,
    primary: watch::Sender<Option<ConnectionAddr>>,
}

impl Sentinels {
    pub(super) fn new(nodes: Vec<ConnectionInfo>, name: String) -> Sentinels {
        Sentinels { nodes, name, primary: watch::Sender::new(None) }
    }

    /// The primary's address, as last heard.
    pub(super) fn primary(&self) -> RedisResult<ConnectionAddr> {
        let heard = self.primary.borrow().clone();
        heard.ok_or_else(|| (ErrorKind::Io, "no sentinel has named the primary yet").into())
    }

    /// Returns when another primary is named than when this was called.
    pub(super) async fn moved(&self) -> RedisError {
        let mut primary = self.primary.subscribe();
        primary.mark_unchanged();
        // An error means that the sender is gone, and we hold it.
        let _ = primary.changed().await;
        (ErrorKind::Io, "redis sentinel names another primary").into()
    }

    /// Asks for ever.
    pub(super) async fn run(&self, opener: &Opener) {
        let mut backoff = Backoff::new();
        for node in self.nodes.iter().cycle() {
            let mut answered = false;
            let Err(error) = self.follow(node, opener, &mut answered).await;
            warn!(%error, sentinel = %node.addr(), "a redis sentinel does not answer, the next one is asked");
            if answered {
                backoff = Backoff::new();
            }
            backoff.pause().await;
        }
    }

    /// Asks one sentinel until it fails.
    async fn follow(&self, node: &ConnectionInfo, opener: &Opener, answered: &mut bool) -> RedisResult<Infallible> {
        let mut connection = opener.connect(node.clone(), |_| ()).await?;
        loop {
            let heard = self.ask(&mut connection, node).await?;
            *answered = true;
            self.primary.send_if_modified(|known| {
                if known.as_ref() == Some(&heard) {
                    return false;
                }
                info!(primary = %heard, name = self.name, "redis sentinel names the primary");
                *known = Some(heard);
                true
            });
            tokio::time::sleep(EVERY).await;
        }
    }

    async fn ask(&self, connection: &mut MultiplexedConnection, node: &ConnectionInfo) -> RedisResult<ConnectionAddr> {
        let mut ask = cmd("SENTINEL");
        ask.arg("GET-MASTER-ADDR-BY-NAME").arg(&self.name);
        let answer: Option<(String, u16)> = ask.query_async(connection).await?;
        let Some((host, port)) = answer else {
            return Err((ErrorKind::MasterNameNotFoundBySentinel, "this sentinel knows no primary of that name").into());
        };
        // What the sentinels are reached by, TLS or not, the primary is too.
        Ok(match node.addr() {
            ConnectionAddr::TcpTls { .. } => ConnectionAddr::TcpTls { host, port, insecure: false, tls_params: None },
            _ => ConnectionAddr::Tcp(host, port),
        })
    }
}
