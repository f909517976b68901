//! The promises of the README and of docs/protocol.md, each shown by name: real processes, real sockets, a real Redis.
//!
//! One binary, so that it is linked once; each module is one subject. Figures are printed (`-- --nocapture`).

#![allow(clippy::print_stdout, reason = "figures are part of the result")]

mod bad_input;
mod falling_behind;
mod nothing_is_lost;
mod readiness;
mod retention;
mod snapshots;
mod trouble;
