//! What each service needs around itself: configuration, telemetry, HTTP listeners, the admin port, and a shutdown that
//! is written down.
//!
//! It knows services only as [`service::Service`] and the store only as [`tidings_broker::Broker`]. It installs nothing
//! global but the tracing subscriber; the metrics registry is passed in.

pub mod admin;
pub mod busiest;
pub mod config;
pub mod drain;
pub mod http;
pub mod process;
pub mod readiness;
pub mod service;
pub mod telemetry;
pub mod vitals;

#[cfg(test)]
mod testing;
