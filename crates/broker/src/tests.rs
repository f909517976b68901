//! Tests that look inside: the scripts against the memory store, and what only Redis can do.

mod cluster;
mod differential;
mod guards;
mod inbox;
mod links;
mod metrics;
mod presence;
mod quota;
mod replicas;
mod sentinel;
mod tls;
