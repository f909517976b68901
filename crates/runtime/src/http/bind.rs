//! Taking an address: a listening socket that accepts nothing yet, so that a process binds all of its ports before it
//! serves on any, and a test can ask for port 0 and learn which it got.

use std::net::SocketAddr;

use socket2::{Domain, Protocol, Socket, Type};

/// Connections that the kernel holds for us while the accept loop is busy: a whole fleet of viewers that comes back at
/// once. The kernel lowers it to its own `somaxconn`.
const BACKLOG: i32 = 4096;

/// A bound, listening, nonblocking socket.
#[derive(Debug)]
pub struct Listener {
    socket: std::net::TcpListener,
    address: SocketAddr,
}

/// Why an address could not be taken.
#[derive(Debug, thiserror::Error)]
pub enum BindError {
    /// Somebody listens there already.
    #[error("cannot listen on {0}: another process does already; stop it or choose another port")]
    InUse(SocketAddr),
    /// Anything else the kernel says.
    #[error("cannot listen on {0}: {1}")]
    Other(SocketAddr, #[source] std::io::Error),
}

impl Listener {
    /// Binds `address` and listens. Needs no runtime. Port 0 takes a free one, see [`Listener::address`].
    pub fn bind(address: SocketAddr) -> Result<Listener, BindError> {
        bind(address).map_err(|error| match error.kind() {
            std::io::ErrorKind::AddrInUse => BindError::InUse(address),
            _ => BindError::Other(address, error),
        })
    }

    /// Where it listens.
    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// The socket for the runtime that this is called in.
    pub(crate) fn into_tokio(self) -> std::io::Result<tokio::net::TcpListener> {
        tokio::net::TcpListener::from_std(self.socket)
    }
}

fn bind(address: SocketAddr) -> std::io::Result<Listener> {
    let socket = Socket::new(Domain::for_address(address), Type::STREAM, Some(Protocol::TCP))?;
    // Without it a restart waits for the old connections' TIME_WAIT. It does not let two processes share the port.
    socket.set_reuse_address(true)?;
    socket.set_nonblocking(true)?;
    socket.bind(&address.into())?;
    socket.listen(BACKLOG)?;
    let socket = std::net::TcpListener::from(socket);
    let address = socket.local_addr()?;
    Ok(Listener { socket, address })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_taken_port_is_named_in_the_error() {
        let first = Listener::bind(SocketAddr::from(([127, 0, 0, 1], 0))).expect("a free port");
        assert_ne!(first.address().port(), 0);
        let error = Listener::bind(first.address()).expect_err("the port is taken");
        assert!(matches!(error, BindError::InUse(address) if address == first.address()), "{error}");
    }
}
