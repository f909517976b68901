//! The language of Tidings: events, positions, frames, codes, effects and fold.
//!
//! Pure by design: no async, no sockets, no clock, no randomness. Whatever depends on those is passed in.

pub mod codes;
pub mod compact;
pub mod echo;
pub mod effects;
pub mod entry;
pub mod filter;
pub mod fold;
pub mod frames;
pub mod gap;
pub mod grant;
pub mod guard;
pub mod head;
pub mod intake;
pub mod limits;
pub mod network;
pub mod position;
pub mod problem;
pub mod project;
pub mod redact;
pub mod secret;
pub mod settings;
pub mod snapshot;
pub mod timestamp;
pub mod vocabulary;

/// Protobuf types of the log and the bus, generated from `proto/`.
#[allow(missing_docs, clippy::pedantic, unreachable_pub)]
pub mod wire {
    include!(concat!(env!("OUT_DIR"), "/tidings.v1.rs"));
}
