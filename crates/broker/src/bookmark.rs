//! Bookmarks: where readers were who cannot say so themselves, kept for a while after they have gone.
//!
//! A reader *takes* its bookmark when it comes: from then on whoever had it before moves it no more. So of two connections
//! of one reader the newer one's place is the one that counts, on whichever gateways they are.
//!
//! Nothing of it survives the loss of a store: a reader starts with the present then.

use futures_util::future::BoxFuture;
use tidings_protocol::position::Position;
use tidings_protocol::project::Project;

use crate::{CallError, NothingWhy};

/// Bookmarks of one project; beyond it one without a place goes, else one whose time is over or ends soon.
pub const BOOKMARKS_MAX: usize = 10_000;

/// Longest name of a reader, in bytes.
pub const READER_BYTES_MAX: usize = 512;

/// How long a bookmark is kept at most that has no place yet: whoever takes many under names of his own drives nobody out.
pub const EMPTY_KEPT_MS: u64 = 60_000;

/// Where readers' places are kept. Every call is one atomic step, and may be made again without harm.
pub trait Bookmarks: Send + Sync + 'static {
    /// Takes a reader's bookmark for `holder`, who is nobody else's name: its place, if one was kept and its time is not
    /// over. One without a place is kept for [`EMPTY_KEPT_MS`] at most. Dropped or [`CallError::Unknown`]: it may be taken; the next word of the holder before is refused then.
    ///
    /// # Panics
    /// For a name that is longer than [`READER_BYTES_MAX`].
    fn take(
        &self,
        project: Project,
        reader: String,
        holder: String,
        ttl_ms: u64,
    ) -> BoxFuture<'_, Result<Option<Position>, CallError>>;

    /// Moves it, and keeps it for so long from now on. A bookmark that nobody has is the holder's with that. False: another
    /// one has it.
    ///
    /// # Panics
    /// For a name that is longer than [`READER_BYTES_MAX`].
    fn set(
        &self,
        project: Project,
        reader: String,
        holder: String,
        position: Position,
        ttl_ms: u64,
    ) -> BoxFuture<'_, Result<bool, CallError>>;
}

/// A store without bookmarks: it is always away.
#[derive(Debug, Clone, Copy)]
pub(crate) struct NoBookmarks;

impl NoBookmarks {
    fn away<T: Send + 'static>() -> BoxFuture<'static, Result<T, CallError>> {
        Box::pin(std::future::ready(Err(CallError::Nothing(NothingWhy::Away))))
    }
}

impl Bookmarks for NoBookmarks {
    fn take(&self, _: Project, _: String, _: String, _: u64) -> BoxFuture<'_, Result<Option<Position>, CallError>> {
        NoBookmarks::away()
    }

    fn set(&self, _: Project, _: String, _: String, _: Position, _: u64) -> BoxFuture<'_, Result<bool, CallError>> {
        NoBookmarks::away()
    }
}
