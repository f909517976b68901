//! Where a client was, kept for when it comes back: for protocols whose clients cannot say so themselves.
//!
//! What was written to a socket has not arrived yet. So a ping goes behind it, about once a second while the client is told
//! things, and the pong, which every WebSocket client sends by itself, says that all before it was received; only that is
//! kept. A client that comes back is told again what it did not confirm: nothing is missing, and little comes twice.

use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::Duration;

use futures_util::FutureExt as _;
use futures_util::future::BoxFuture;
use tidings_broker::CallError;
use tidings_broker::bookmark::Bookmarks;
use tidings_protocol::position::Position;
use tidings_protocol::project::Project;
use tokio::time::Instant;
use tokio_util::task::TaskTracker;

/// How long a place is kept.
pub(super) const KEPT_MS: u64 = 600_000;

/// How often a place that moves is confirmed, and kept.
const KEEP_EVERY: Duration = Duration::from_secs(1);

/// How often one that does not is kept anew.
const RENEW_EVERY: Duration = Duration::from_mins(2);

/// Wait between tries while the store is away.
const RETRY: Duration = Duration::from_millis(200);

/// The bookmark of a client's newest connection.
pub(super) struct Keeping {
    marks: Arc<dyn Bookmarks>,
    project: Project,
    reader: String,
    holder: String,
    tasks: TaskTracker,
    /// A ping is on its way, behind everything up to there.
    asked: Option<(u64, Position)>,
    /// The client has everything up to there.
    confirmed: Option<Position>,
    /// What the store has.
    kept: Option<Position>,
    keeping: Option<(Position, BoxFuture<'static, Result<bool, CallError>>)>,
    ask_at: Instant,
    keep_at: Instant,
    /// A newer connection has the bookmark, or this one has nothing to say any more.
    over: bool,
}

impl Keeping {
    /// Of a reader in a project. Nothing is kept before [`Keeping::take`].
    pub(super) fn new(marks: Arc<dyn Bookmarks>, project: Project, reader: String, tasks: TaskTracker) -> Keeping {
        let now = Instant::now();
        Keeping {
            marks,
            project,
            reader,
            holder: format!("{:016x}", rand::random::<u64>()),
            tasks,
            asked: None,
            confirmed: None,
            kept: None,
            keeping: None,
            ask_at: now + KEEP_EVERY,
            keep_at: now,
            over: false,
        }
    }

    /// Where the client was: it is this connection's from now on. Waits while the store is away.
    pub(super) fn take(&self) -> impl Future<Output = Option<Position>> + Send + 'static {
        let (marks, project) = (self.marks.clone(), self.project.clone());
        let (reader, holder) = (self.reader.clone(), self.holder.clone());
        async move {
            loop {
                match marks.take(project.clone(), reader.clone(), holder.clone(), KEPT_MS).await {
                    Ok(place) => return place,
                    Err(error) => {
                        tracing::debug!(%error, %project, "cannot ask where a client was yet");
                        tokio::time::sleep(RETRY).await;
                    }
                }
            }
        }
    }

    /// Everything up to there was written, and nothing else. The payload of a ping to be sent now, if one is due; and when to
    /// look again.
    pub(super) fn look(
        &mut self,
        at: Position,
        now: Instant,
        cx: &mut Context<'_>,
    ) -> (Option<[u8; 8]>, Option<Instant>) {
        if self.over {
            return (None, None);
        }
        self.look_at_store(now, cx);
        let mut ping = None;
        if self.asked.is_none() && self.confirmed != Some(at) && self.ask_at <= now {
            let nonce = rand::random();
            self.asked = Some((nonce, at));
            self.ask_at = now + KEEP_EVERY;
            ping = Some(nonce.to_be_bytes());
        }
        let ask_at = (self.asked.is_none() && self.confirmed != Some(at)).then_some(self.ask_at);
        let keep_at = (self.keeping.is_none() && self.confirmed.is_some()).then_some(self.keep_at);
        (ping, ask_at.into_iter().chain(keep_at).min())
    }

    /// A newer connection of the client has its place.
    pub(super) fn is_over(&self) -> bool {
        self.over
    }

    /// A pong came.
    pub(super) fn on_pong(&mut self, payload: &[u8]) {
        if let Some((nonce, at)) = self.asked
            && payload == nonce.to_be_bytes()
        {
            self.asked = None;
            self.confirm(at);
        }
    }

    /// The client has everything up to there.
    pub(super) fn confirm(&mut self, at: Position) {
        if self.confirmed == self.kept {
            self.keep_at = self.keep_at.min(Instant::now() + KEEP_EVERY);
        }
        self.confirmed = Some(at);
    }

    fn look_at_store(&mut self, now: Instant, cx: &mut Context<'_>) {
        loop {
            if let Some((at, keeping)) = &mut self.keeping {
                let Poll::Ready(done) = keeping.poll_unpin(cx) else { return };
                match done {
                    Ok(true) => self.kept = Some(*at),
                    Ok(false) => self.over = true,
                    Err(error) => tracing::debug!(%error, project = %self.project, "a client's place is not kept yet"),
                }
                let wait = if self.confirmed == self.kept { RENEW_EVERY } else { KEEP_EVERY };
                self.keep_at = now + wait;
                self.keeping = None;
            }
            match self.confirmed {
                Some(at) if self.keep_at <= now && !self.over => self.keeping = Some((at, self.keep(at))),
                _ => return,
            }
        }
    }

    fn keep(&self, at: Position) -> BoxFuture<'static, Result<bool, CallError>> {
        let (marks, project) = (self.marks.clone(), self.project.clone());
        let (reader, holder) = (self.reader.clone(), self.holder.clone());
        async move { marks.set(project, reader, holder, at, KEPT_MS).await }.boxed()
    }
}

impl Drop for Keeping {
    /// What was confirmed and not kept is kept now, by a task that a shutdown waits for.
    fn drop(&mut self) {
        let unkept = self.confirmed.filter(|at| !self.over && self.kept != Some(*at));
        let (Some(at), Ok(runtime)) = (unkept, tokio::runtime::Handle::try_current()) else { return };
        let keep = self.keep(at);
        self.tasks.spawn_on(async move { keep.await.map(drop).unwrap_or_default() }, &runtime);
    }
}
