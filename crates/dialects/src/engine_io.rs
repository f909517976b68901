//! Engine.IO (protocol 4) and Socket.IO (protocol 5), as a server speaks them: packets, polling payloads, and one client's
//! session as a machine without a clock or a socket.
//!
//! Serves the root namespace, texts only: other namespaces are refused, and so is binary data, without ending anything. It
//! never disconnects a client in words (`41`), since a client that is told so does not come back: where a server goes, its
//! transport ends. Where sessions are kept, and what travels over them, is the gateway's.

pub mod packet;
pub mod payload;
pub mod session;

/// The protocol's version, as clients name it in `EIO`.
pub const VERSION: &str = "4";
/// How often the server pings, in milliseconds.
pub const PING_INTERVAL_MS: u64 = 25_000;
/// How long a client may take for its answer, in milliseconds.
pub const PING_TIMEOUT_MS: u64 = 20_000;
/// Largest payload that a client may post, in bytes.
pub const PAYLOAD_BYTES_MAX: usize = 1_000_000;
/// How long a client may stay without connecting to the namespace, in milliseconds.
pub const CONNECT_TIMEOUT_MS: u64 = 45_000;
