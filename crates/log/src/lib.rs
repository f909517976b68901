//! What the services do with a log: the writer's side (numbers, group commit, unknown outcomes) and the readers' side
//! (topic, ring, pages, cursor). Pure machines with thin shells; no sockets, no HTTP.

pub mod cursor;
pub mod encoding;
pub mod held;
pub mod hub;
pub mod janitor;
pub mod metrics;
pub mod pages;
mod registration;
pub mod ring;
pub mod snapshot;
pub mod topic;
pub mod traced;
pub mod viewer;
pub mod wake;
pub mod writer;
