//! Tests that look inside: the scripts against the memory store, and what only Redis can do.

mod differential;
mod links;
mod quota;
mod replicas;
mod sentinel;
mod tls;
