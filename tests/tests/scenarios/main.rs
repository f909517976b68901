//! The scenarios at the end of docs/log.md, each a module of its name: real services, real Redis servers, and proxies
//! between them that hold a call, lose an answer, or cut a link. The sixth, slots that move, is with the promises of a
//! cluster.
//!
//! Where a step needs finer control than a process allows, the module's header says what stands in its place.

#![allow(clippy::print_stdout, reason = "figures are part of the result")]

mod clock_behind;
mod positions;
mod scenario_1;
mod scenario_10;
mod scenario_2;
mod scenario_3;
mod scenario_4;
mod scenario_5;
mod scenario_7;
mod scenario_8;
mod scenario_9;
mod steps;
