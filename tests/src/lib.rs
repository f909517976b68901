//! The harness of the end-to-end tests: real processes of the `tidings` binary, a real Redis, proxies whose links can be
//! cut, and clients that share no code with the services they talk to.
//!
//! - [`cluster`] starts what a test needs and takes it down again, whatever happens; [`process`], [`service`], [`redis`],
//!   [`redis_cluster`], [`sentinel`], [`certificates`] and [`proxy`] are its parts; a [`balancer`] stands before several gateways.
//! - [`runner`] posts events and keeps the ledger of what was acknowledged; [`swarm`] makes up the events.
//! - [`viewer`] watches over WebSocket, server-sent events or long-polling, and writes down every event and gap.
//! - [`audit`] compares what viewers wrote down with the ledger.
//! - [`tokens`] makes tokens and keys, good and bad ones.
//! - [`fold`] computes state from what a viewer was told, [`http`] asks and is answered.
//!
//! Nothing here retries a test's assertion. Clients come back after a broken connection, because that is what clients do;
//! every wait has a limit, which only tells a hang from a slow machine.

#![allow(clippy::print_stdout, reason = "figures, and the output of processes, are shown with a test's own")]

pub mod audit;
pub mod balancer;
pub mod certificates;
pub mod cluster;
pub mod collector;
pub mod fold;
pub mod http;
pub mod place;
pub mod process;
pub mod proxy;
pub mod receiver;
pub mod redis;
pub mod redis_cluster;
pub mod runner;
pub mod sentinel;
pub mod service;
pub mod swarm;
pub mod throttle;
pub mod tokens;
pub mod viewer;
pub mod wait;
