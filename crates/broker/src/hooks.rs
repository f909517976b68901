//! What webhooks need of the store: the index of the projects that have some, and where each of them is.
//!
//! A *place* is a small record of one webhook, written by who delivers for it. Every write names the version that it
//! follows, so that of two who deliver for one webhook only one goes on, and whoever had it before puts nothing back.
//! Versions follow the store's clock: a record that was removed and made anew has a higher one.
//!
//! The index names a project before its webhooks take effect. Where it may have lost one, the settings of projects say it.

use std::collections::BTreeMap;

use bytes::Bytes;
use futures_util::future::BoxFuture;
use tidings_protocol::project::Project;

use crate::{CallError, NothingWhy, ReadError};

/// Places of one project. More than a project may have webhooks: those whose webhook is gone leave a moment later.
pub const PLACES_MAX: usize = 32;

/// Longest name of a place, in bytes.
pub const NAME_BYTES_MAX: usize = 128;

/// Longest record, in bytes.
pub const RECORD_BYTES_MAX: usize = 2_048;

/// Where webhooks are kept. Every call is one atomic step, bounded in time as all calls of the store are, and may be made
/// again without harm.
pub trait Hooks: Send + Sync + 'static {
    /// Enters a project into the index, under a new stamp. Idempotent; done before webhooks of it take effect.
    fn enter(&self, project: Project) -> BoxFuture<'_, Result<(), CallError>>;

    /// The projects of one of the [`crate::INDEX_SHARDS`] shards with their stamps, unordered. What stands there and is no
    /// project's name is left out.
    fn projects(&self, shard: u16) -> BoxFuture<'_, Result<Vec<Entered>, ReadError>>;

    /// Takes a project out of the index; false: it was entered again since this stamp, or is not there.
    fn leave(&self, entered: Entered) -> BoxFuture<'_, Result<bool, CallError>>;

    /// All places of a project.
    fn places(&self, project: Project) -> BoxFuture<'_, Result<BTreeMap<String, Place>, ReadError>>;

    /// Writes the record of a place that has this version (0: that is not there), or with none removes it. The version that
    /// it then has (0: it is gone). Dropped or [`CallError::Unknown`]: it may have happened, and the next write of its
    /// caller is refused then.
    ///
    /// # Panics
    /// For a name that is longer than [`NAME_BYTES_MAX`], or a record longer than [`RECORD_BYTES_MAX`].
    fn swap(
        &self,
        project: Project,
        name: String,
        version: u64,
        record: Option<Bytes>,
    ) -> BoxFuture<'_, Result<Swapped, CallError>>;

    /// Removes all places of a project. It passes when the store is out of memory, too.
    fn clear(&self, project: Project) -> BoxFuture<'_, Result<(), CallError>>;
}

/// A project of the index.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Entered {
    /// Which.
    pub project: Project,
    /// When it was entered last, by the store's clock in milliseconds; never the same twice.
    pub stamp: u64,
}

/// Where a webhook is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Place {
    /// Above that of every record which stood under this name before.
    pub version: u64,
    /// What its holder wrote.
    pub record: Bytes,
}

/// What became of a write.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Swapped {
    /// It is written; this is the version now, 0: it is gone.
    Done(u64),
    /// Nothing was: another version is in place.
    Moved,
    /// Nothing was: the project has [`PLACES_MAX`] places.
    Full,
}

/// The sound bounds of a write.
pub(crate) fn check(name: &str, record: Option<&Bytes>) {
    assert!(name.len() <= NAME_BYTES_MAX, "a place's name has at most {NAME_BYTES_MAX} bytes");
    let bytes = record.map_or(0, Bytes::len);
    assert!(bytes <= RECORD_BYTES_MAX, "a place's record has at most {RECORD_BYTES_MAX} bytes");
}

/// A store without webhooks: it is always away.
#[derive(Debug, Clone, Copy)]
pub(crate) struct NoHooks;

impl NoHooks {
    fn away<T: Send + 'static>() -> BoxFuture<'static, Result<T, CallError>> {
        Box::pin(std::future::ready(Err(CallError::Nothing(NothingWhy::Away))))
    }

    fn unread<T: Send + 'static>() -> BoxFuture<'static, Result<T, ReadError>> {
        Box::pin(std::future::ready(Err(ReadError::Away(NothingWhy::Away.to_string()))))
    }
}

impl Hooks for NoHooks {
    fn enter(&self, _: Project) -> BoxFuture<'_, Result<(), CallError>> {
        NoHooks::away()
    }

    fn projects(&self, _: u16) -> BoxFuture<'_, Result<Vec<Entered>, ReadError>> {
        NoHooks::unread()
    }

    fn leave(&self, _: Entered) -> BoxFuture<'_, Result<bool, CallError>> {
        NoHooks::away()
    }

    fn places(&self, _: Project) -> BoxFuture<'_, Result<BTreeMap<String, Place>, ReadError>> {
        NoHooks::unread()
    }

    fn swap(&self, _: Project, _: String, _: u64, _: Option<Bytes>) -> BoxFuture<'_, Result<Swapped, CallError>> {
        NoHooks::away()
    }

    fn clear(&self, _: Project) -> BoxFuture<'_, Result<(), CallError>> {
        NoHooks::away()
    }
}
