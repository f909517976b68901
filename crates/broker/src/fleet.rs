//! The gateways of a fleet, and what each of them carries.
//!
//! A gateway *reports* how many viewers it has under one lease of its own, and is told what all with a running lease
//! report: enough to know the mean. It is a hint, never a count that a limit may rest on: what is told is as old as each
//! says, and viewers that are on their way from one gateway to another are in none of the numbers.
//!
//! Nothing of it survives the loss of a store, and who is told so (`lapsed`) knows that others may be missing, too.

use std::sync::Arc;

use futures_util::future::BoxFuture;

use crate::{CallError, NothingWhy};

/// Where gateways tell each other what they carry. Every call is one atomic step, bounded in time as all calls of the store
/// are, and may be made again without harm.
pub trait Fleet: Send + Sync + 'static {
    /// Says what a gateway carries; renews its lease; and asks what all do. At most one call per gateway may be in flight.
    /// Dropped or [`CallError::Unknown`]: it may have happened, and the next report puts it right.
    fn report(&self, report: Report) -> BoxFuture<'_, Result<Reported, CallError>>;

    /// Ends a gateway's lease. It passes when the store is out of memory, too.
    fn leave(&self, gateway: Arc<str>) -> BoxFuture<'_, Result<(), CallError>>;
}

/// A gateway's word.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Report {
    /// The gateway: drawn by each process at its start.
    pub gateway: Arc<str>,
    /// How long this holds if it does not report again, in milliseconds, at least 1.
    pub lease_ms: u64,
    /// How many viewers it has.
    pub viewers: u64,
}

/// What a report comes to.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Reported {
    /// Its lease had run out, or never ran: this is its first word, or the store lost what it had, of others too.
    pub lapsed: bool,
    /// The gateways whose lease runs, by name, itself included.
    pub gateways: Vec<Carried>,
}

/// What one of them carries.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Carried {
    /// Which.
    pub gateway: Arc<str>,
    /// How many viewers it said that it has.
    pub viewers: u64,
    /// How long ago it said so, by the store's clock, in milliseconds.
    pub age_ms: u64,
}

/// A store that knows no fleet: it is always away.
#[derive(Debug, Clone, Copy)]
pub(crate) struct NoFleet;

impl NoFleet {
    fn away<T: Send + 'static>() -> BoxFuture<'static, Result<T, CallError>> {
        Box::pin(std::future::ready(Err(CallError::Nothing(NothingWhy::Away))))
    }
}

impl Fleet for NoFleet {
    fn report(&self, _: Report) -> BoxFuture<'_, Result<Reported, CallError>> {
        NoFleet::away()
    }

    fn leave(&self, _: Arc<str>) -> BoxFuture<'_, Result<(), CallError>> {
        NoFleet::away()
    }
}
