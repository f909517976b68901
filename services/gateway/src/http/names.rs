//! The names of all projects, as the index has them: read once for all who list, and held for a moment.

use std::collections::HashSet;
use std::sync::Arc;
use std::time::Duration;

use futures_util::future::try_join_all;
use parking_lot::Mutex;
use tidings_auth::limits::{LOOKUPS_MAX, STORE_TIMEOUT, WEBHOOK_CALLS_MAX};
use tidings_auth::{Cache, Terms};
use tidings_broker::{Broker, INDEX_SHARDS, ReadError};
use tidings_protocol::project::Project;
use tokio::sync::{Semaphore, SemaphorePermit};

/// How old the names may be. A new project may be missing for so long.
const NAMES_FRESH: Duration = Duration::from_secs(2);

/// Walks along all names for who must be looked up in each, at a time. With the projects that each looks up at one time they
/// take no more than half of the turns at an authorizer.
const WALKS_AT_ONCE: usize = 4;
const _: () = assert!(WALKS_AT_ONCE * LOOKUPS_MAX * 2 <= WEBHOOK_CALLS_MAX);

/// The names of a gateway's store.
pub(crate) struct Names {
    known: Cache<Arc<[Project]>>,
    walks: Semaphore,
    /// Who walks, or waits for a turn to.
    walkers: Mutex<HashSet<Arc<str>>>,
}

/// Somebody's turn to look himself up in many projects, from asking for it until it is dropped.
pub(crate) struct Walk<'n> {
    names: &'n Names,
    walker: Arc<str>,
}

impl Drop for Walk<'_> {
    fn drop(&mut self) {
        self.names.walkers.lock().remove(&self.walker);
    }
}

impl Default for Names {
    fn default() -> Names {
        let terms = Terms { fresh: NAMES_FRESH, stale: Duration::ZERO, timeout: STORE_TIMEOUT, entries_max: 1 };
        Names { known: Cache::new(terms), walks: Semaphore::new(WALKS_AT_ONCE), walkers: Mutex::default() }
    }
}

impl Names {
    /// All names, sorted, at most [`NAMES_FRESH`] old. However many ask, the store is asked once.
    pub(crate) async fn all(&self, broker: &Arc<dyn Broker>) -> Result<Arc<[Project]>, ReadError> {
        let read = async || {
            let shards = try_join_all((0..INDEX_SHARDS).map(|shard| broker.projects(shard))).await;
            let shards = shards.inspect_err(|error| tracing::debug!(%error, "the index cannot be read"))?;
            let mut all: Vec<Project> = shards.into_iter().flatten().collect();
            all.sort_unstable();
            Ok::<_, ReadError>(all.into())
        };
        self.known.get("", read).await.map_err(|_| ReadError::Away("the index cannot be read".into()))
    }

    /// Lets somebody look himself up in many projects; none: he does so already.
    pub(crate) fn walk(&self, walker: &Arc<str>) -> Option<Walk<'_>> {
        let is_first = self.walkers.lock().insert(Arc::clone(walker));
        is_first.then(|| Walk { names: self, walker: Arc::clone(walker) })
    }
}

impl Walk<'_> {
    /// Waits until it may go on.
    pub(crate) async fn turn(&self) -> SemaphorePermit<'_> {
        self.names.walks.acquire().await.expect("nobody closes it")
    }
}
