//! The language of Tidings: events, positions, frames, codes, effects and fold.
//!
//! Pure by design: no async, no sockets, no clock, no randomness. Whatever depends on those is passed in.

pub mod entry;
pub mod gap;
pub mod head;
pub mod position;
pub mod project;

/// Protobuf types of the log and the bus, generated from `proto/`.
#[allow(missing_docs, clippy::pedantic, unreachable_pub)]
pub mod wire {
    include!(concat!(env!("OUT_DIR"), "/tidings.v1.rs"));
}
