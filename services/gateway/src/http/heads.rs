//! Heads of projects for lists: read once for all who list, and held for a moment.

use std::sync::Arc;
use std::time::Duration;

use tidings_auth::limits::STORE_TIMEOUT;
use tidings_auth::{Cache, Terms};
use tidings_broker::{Broker, ReadError};
use tidings_protocol::head::Head;
use tidings_protocol::project::Project;

/// How old a head may be.
const FRESH: Duration = Duration::from_secs(1);

/// How many are kept; beyond that those that nobody asked for lately are read again.
const KEPT_MAX: usize = 10_000;

/// Heads that were read lately, without their forks and deletions; none: this version cannot read the log.
pub(crate) struct Heads(Cache<Option<Arc<Head>>>);

impl Default for Heads {
    fn default() -> Heads {
        let terms = Terms { fresh: FRESH, stale: Duration::ZERO, timeout: STORE_TIMEOUT, entries_max: KEPT_MAX };
        Heads(Cache::new(terms))
    }
}

impl Heads {
    /// The head of a project, at most [`FRESH`] old. However many ask, the store is asked once.
    ///
    /// # Errors
    /// The store is away.
    pub(crate) async fn of(&self, broker: &Arc<dyn Broker>, project: &Project) -> Result<Option<Arc<Head>>, ReadError> {
        let read = async || {
            let mut heads = broker.heads(vec![project.clone()]).await;
            match heads.pop().unwrap_or_else(|| Err(ReadError::Away("no answer".into()))) {
                Ok(head) => Ok(Some(Arc::new(Head { forks: Vec::new(), tombstones: Vec::new(), ..head }))),
                Err(error @ ReadError::Away(_)) => {
                    tracing::debug!(%project, %error, "no head now");
                    Err(error)
                }
                Err(error) => {
                    tracing::warn!(%project, %error, "a project is left out of the list");
                    Ok(None)
                }
            }
        };
        self.0.get(project.as_str(), read).await.map_err(|_| ReadError::Away("a head cannot be read".into()))
    }
}
