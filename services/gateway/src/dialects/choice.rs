//! Which variant a client has chosen, kept under the name under which its place is, and for as long: so that it need not ask
//! again when it comes back, wherever that is.

use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::Duration;

use futures_util::FutureExt as _;
use futures_util::future::BoxFuture;
use tidings_auth::KeyHash;
use tidings_broker::CallError;
use tidings_broker::slip::{Slip, Slips, Turn};
use tidings_protocol::project::Project;
use tokio::time::Instant;
use tokio_util::task::TaskTracker;

use super::keeping::KEPT_MS;

/// How often it is kept anew while its client is there.
const RENEW_EVERY: Duration = Duration::from_mins(2);

/// Wait between tries while the store is away.
const RETRY: Duration = Duration::from_millis(500);

/// Its field on the slip.
const VARIANT: &str = "variant";

/// What a client has chosen.
pub(super) struct Choice {
    slips: Arc<dyn Slips>,
    name: String,
    tasks: TaskTracker,
    /// None: nothing yet, and nothing is kept.
    chosen: Option<u8>,
    /// What the store has.
    kept: Option<u8>,
    keep_at: Instant,
    keeping: Option<(u8, Kept)>,
}

/// What the store says to what is kept.
type Kept = BoxFuture<'static, Result<Option<Slip>, CallError>>;

impl Choice {
    /// Of a reader in a project.
    pub(super) fn new(slips: Arc<dyn Slips>, project: &Project, reader: &str, tasks: TaskTracker) -> Choice {
        // Readers' names may be longer than a slip's.
        let name = format!("chosen:{}", KeyHash::of(&format!("{project}\n{reader}")));
        Choice { slips, name, tasks, chosen: None, kept: None, keep_at: Instant::now(), keeping: None }
    }

    /// What it chose when it was here before. Waits while the store is away.
    pub(super) fn find(&self) -> impl Future<Output = Option<u8>> + Send + 'static {
        let (slips, name) = (self.slips.clone(), self.name.clone());
        async move {
            loop {
                match slips.turn(name.clone(), Turn { fields_only: true, ..Turn::default() }).await {
                    Ok(slip) => return slip.and_then(|slip| slip.fields.get(VARIANT)?.parse().ok()),
                    Err(error) => {
                        tracing::debug!(%error, "cannot ask what a client chose yet");
                        tokio::time::sleep(RETRY).await;
                    }
                }
            }
        }
    }

    /// It has chosen on this connection, or is known to have.
    pub(super) fn is_made(&self) -> bool {
        self.chosen.is_some()
    }

    /// It chooses this, which is kept with the next [`Choice::look`].
    pub(super) fn make(&mut self, variant: u8) {
        self.chosen = Some(variant);
        if self.kept != self.chosen {
            self.keep_at = Instant::now();
        }
    }

    /// Keeps it where that is due. When to look again.
    pub(super) fn look(&mut self, now: Instant, cx: &mut Context<'_>) -> Option<Instant> {
        loop {
            if let Some((variant, keeping)) = &mut self.keeping {
                let Poll::Ready(kept) = keeping.poll_unpin(cx) else { return None };
                self.keep_at = match kept {
                    Ok(_) => {
                        self.kept = Some(*variant);
                        if self.kept == self.chosen { now + RENEW_EVERY } else { now }
                    }
                    Err(error) => {
                        tracing::debug!(%error, "what a client chose is not kept yet");
                        now + RETRY
                    }
                };
                self.keeping = None;
            }
            let variant = self.chosen?;
            if self.keep_at > now {
                return Some(self.keep_at);
            }
            self.keeping = Some((variant, self.keep(variant)));
        }
    }

    fn keep(&self, variant: u8) -> BoxFuture<'static, Result<Option<Slip>, CallError>> {
        let (slips, name) = (self.slips.clone(), self.name.clone());
        let set = vec![(VARIANT.to_owned(), variant.to_string())];
        let turn = Turn { makes: true, ttl_ms: KEPT_MS, set, fields_only: true, ..Turn::default() };
        async move { slips.turn(name, turn).await }.boxed()
    }
}

impl Drop for Choice {
    /// What was chosen and not kept is kept now, by a task that a shutdown waits for.
    fn drop(&mut self) {
        let unkept = self.chosen.filter(|chosen| self.kept != Some(*chosen));
        let (Some(variant), Ok(runtime)) = (unkept, tokio::runtime::Handle::try_current()) else { return };
        let keep = self.keep(variant);
        self.tasks.spawn_on(async move { keep.await.map(drop).unwrap_or_default() }, &runtime);
    }
}
