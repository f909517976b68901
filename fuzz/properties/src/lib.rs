//! What must hold for any bytes from outside, one function for each decoder: it panics where something does not hold.
//!
//! The fuzz targets beside this crate call them with what libFuzzer makes up; the tests here call them with the seeds that
//! are kept. Decoders that services keep to themselves are compiled in from their sources, so that no crate has to open
//! its inside for this one.

// Compiled for itself as a test it is empty: the sources from elsewhere would bring tests that need their own crate.
#![cfg(not(test))]

mod body;
mod clients;
mod commands;
mod config;
mod credentials;
mod dialects;
mod engine_io;
mod hooks;
mod input;
mod intake;
mod log;
mod names;
mod recordings;
mod replies;
mod requests;
mod sse;
mod websocket;

/// What the sources of `tidings replay` expect of their crate.
#[allow(dead_code, reason = "only some of it is used here")]
#[path = "../../../services/tidings/src/client"]
mod client {
    pub(crate) mod draft;
}
/// As above.
#[allow(dead_code, reason = "only some of it is used here")]
#[path = "../../../services/tidings/src/terminal"]
mod terminal {
    pub(crate) mod plain;
}
/// Ingest's decoders.
#[allow(dead_code, reason = "only some of it is used here")]
#[path = "../../../services/ingest/src"]
mod ingest {
    pub(crate) mod lines;
    pub(crate) mod unpack;
}

// What the source of the store's answers expects of its crate.
use tidings_broker::{Answer, CheckpointAnswer, Heal, MemoryUse, Page, ReadError, Refusal, RefusalWhy, StateAt};

/// As the broker does it: by index, the duplicate id before the sequence.
fn merge_refusals(ids: Vec<Refusal>, producers: Vec<Refusal>) -> Vec<Refusal> {
    let by_index = |refusal: Refusal| (refusal.index, refusal);
    let mut merged: std::collections::BTreeMap<_, _> = producers.into_iter().map(by_index).collect();
    merged.extend(ids.into_iter().map(by_index));
    merged.into_values().collect()
}

/// A property: panics if it does not hold for these bytes.
pub type Property = fn(&[u8]);

/// All of them by name: the name of the fuzz target, and of the folder with its seeds.
pub const PROPERTIES: [(&str, Property); 27] = [
    ("auth_declared", credentials::declared),
    ("auth_key_sets", credentials::key_sets),
    ("auth_keys", credentials::keys),
    ("auth_tokens", credentials::tokens),
    ("body_lines", body::lines),
    ("body_unpack", body::unpack),
    ("claude_code_hooks", hooks::claude_code),
    ("client_addresses", clients::addresses),
    ("client_frames", requests::frame),
    ("client_queries", requests::query),
    ("cloud_events", intake::cloud_events),
    ("command_events", commands::events),
    ("config", config::config),
    ("dialect_events", dialects::events),
    ("dialect_messages", dialects::messages),
    ("dialect_requests", dialects::requests),
    ("engine_io", engine_io::said),
    ("events", intake::events),
    ("log_checkpoints", log::checkpoint),
    ("log_messages", log::message),
    ("names", names::names),
    ("recordings", recordings::recording),
    ("sse", sse::stream),
    ("store_replies", replies::reply),
    ("ws_deflate", websocket::deflate),
    ("ws_handshake", websocket::handshake),
    ("ws_reader", websocket::reader),
];

/// Checks the property of this name.
///
/// # Panics
/// If it does not hold, or there is none.
pub fn check(name: &str, bytes: &[u8]) {
    let property = PROPERTIES.iter().find(|(known, _)| *known == name);
    let (_, property) = property.unwrap_or_else(|| panic!("no property is called {name}"));
    property(bytes);
}
