//! Slips: small records of a client's session that any service may go on with, when its next request lands there.
//!
//! A slip has fields, and lines that wait to be told, each once. It lives for a while after it was last touched, and does
//! not survive the loss of a store: its client begins anew then.

use std::collections::BTreeMap;

use futures_util::future::BoxFuture;

use crate::{CallError, NothingWhy};

/// Longest name of a slip, in bytes.
pub const NAME_BYTES_MAX: usize = 128;

/// Lines that wait on one slip.
pub const LINES_MAX: usize = 256;

/// Bytes of the lines that wait on one slip.
pub const LINES_BYTES_MAX: usize = 256 * 1024;

/// Where slips are kept.
pub trait Slips: Send + Sync + 'static {
    /// One atomic step on one slip, and how it is then; none: there is no such slip, and the turn does not make one.
    /// Dropped or [`CallError::Unknown`]: it may have happened.
    ///
    /// # Panics
    /// For a name that is longer than [`NAME_BYTES_MAX`].
    fn turn(&self, name: String, turn: Turn) -> BoxFuture<'_, Result<Option<Slip>, CallError>>;
}

/// What is done to a slip.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Turn {
    /// A slip that is not there is made; a new one is empty.
    pub makes: bool,
    /// How long it lives from now on, in milliseconds; 0: as long as it did. One that is made lives for 1 at least.
    pub ttl_ms: u64,
    /// It is done only where this field has this value; else it only looks, at a slip that stays as it is.
    pub only: Option<(String, String)>,
    /// Fields that get these values. Other fields stay.
    pub set: Vec<(String, String)>,
    /// Lines up to this number were told, and go.
    pub told: u64,
    /// Lines behind those that wait. Where there is no room for all of them ([`LINES_MAX`], [`LINES_BYTES_MAX`]), the turn
    /// only looks.
    pub lines: Vec<String>,
    /// The answer is without lines.
    pub fields_only: bool,
}

/// What became of a turn.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Done {
    /// It was done.
    #[default]
    All,
    /// It was not: the field that it asks for has another value.
    NotSo,
    /// It was not: there is no room for its lines.
    NoRoom,
}

/// A slip.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Slip {
    /// What became of the turn.
    pub done: Done,
    /// Its fields.
    pub fields: BTreeMap<String, String>,
    /// Lines that wait, by their numbers, which only grow.
    pub lines: BTreeMap<u64, String>,
}

/// A store without slips: it is always away.
#[derive(Debug, Clone, Copy)]
pub(crate) struct NoSlips;

impl Slips for NoSlips {
    fn turn(&self, _: String, _: Turn) -> BoxFuture<'_, Result<Option<Slip>, CallError>> {
        Box::pin(std::future::ready(Err(CallError::Nothing(NothingWhy::Away))))
    }
}
