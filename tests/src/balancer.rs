//! A load balancer without stickiness: each TCP connection goes to the next address in turn that takes it.

use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use tokio::io::copy_bidirectional;
use tokio::net::{TcpListener, TcpStream};
use tokio::task::JoinHandle;

/// A running balancer. Dropping it ends it; what it has connected goes on until one side closes.
#[derive(Debug)]
pub struct Balancer {
    address: SocketAddr,
    accepting: JoinHandle<()>,
}

impl Balancer {
    /// Balances over these addresses.
    ///
    /// # Panics
    /// When no port is free, or there are no addresses.
    pub async fn over(targets: Vec<SocketAddr>) -> Balancer {
        assert!(!targets.is_empty(), "a balancer needs somebody to balance over");
        let listener = TcpListener::bind("127.0.0.1:0").await.expect("a port is free");
        let address = listener.local_addr().expect("it is bound");
        let targets: Arc<[SocketAddr]> = targets.into();
        let next = Arc::new(AtomicUsize::new(0));
        let accepting = tokio::spawn(async move {
            while let Ok((near, _)) = listener.accept().await {
                tokio::spawn(connect(near, targets.clone(), next.clone()));
            }
        });
        Balancer { address, accepting }
    }

    /// Where it listens.
    pub fn address(&self) -> SocketAddr {
        self.address
    }
}

impl Drop for Balancer {
    fn drop(&mut self) {
        self.accepting.abort();
    }
}

/// Joins a connection to the next target that takes it; to none: it is closed.
async fn connect(mut near: TcpStream, targets: Arc<[SocketAddr]>, next: Arc<AtomicUsize>) {
    for _ in 0..targets.len() {
        let turn = next.fetch_add(1, Ordering::Relaxed);
        if let Ok(mut far) = TcpStream::connect(targets[turn % targets.len()]).await {
            let _ = near.set_nodelay(true);
            let _ = far.set_nodelay(true);
            // A side that breaks ends both.
            let _ = copy_bidirectional(&mut near, &mut far).await;
            return;
        }
    }
}
