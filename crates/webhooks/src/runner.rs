//! A webhook as a runner: commands are brought to a receiver that does not ask for them.
//!
//! It is there for the capabilities that its settings name, under the name [`RUNNER`], for as long as its receiver takes what
//! it is brought: it takes commands under leases as any runner does, and calls the receiver with each. A 2xx accepts the command,
//! and the answer's `events` are its events; what comes later the receiver posts itself. What it does not take is
//! tried again for as long as the lease lasts, and then given back for other runners. What it answered is told again while the
//! store does not take it.
//!
//! Promises: no call is under way for a command whose lease is over; one project's commands have [`CALLS_MAX`] turns at a time
//! at most, and those of a receiver that fails or is slow wait in the line of such; a receiver that answered 410 is not called
//! again until its settings change, whoever brings its commands then. It stays there while its hands are full.
//!
//! While calls fail nothing more is taken until a pause is over, so it is not there any more when that is longer than a
//! runner may be silent; what it had accepted is then answered `runner_lost`, as of every runner that went.

mod brought;
mod gone;
#[cfg(test)]
mod tests;

use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

use futures_util::future::{BoxFuture, FutureExt as _, OptionFuture};
use tidings_broker::inbox::Take;
use tidings_commands::counter::{Command, Counter, Lease};
use tidings_protocol::project::Project;
use tidings_protocol::settings::hooks::{CommandWebhook, IN_HAND_DEFAULT};
use tokio::task::JoinSet;
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;

use crate::backoff;
use crate::dispatcher::Shared;
use crate::dispatcher::courier::Standing;
use brought::{Brought, Ended};

pub(crate) use gone::PLACE;

/// Its name in every project, and whose it is: no credential's.
pub const RUNNER: &str = "tidings:webhook";

/// How long it is there behind its last taking, in milliseconds: as runners that ask.
const THERE_MS: u64 = 30_000;

/// It takes at least this often, so that it stays there.
const TAKE_EVERY: Duration = Duration::from_secs(10);

/// Pause before a store that did not answer is asked again.
const RETRY: Duration = Duration::from_secs(1);

/// Calls of one project's receiver that are under way at a time, or wait for their turn: what is more waits in the inbox, where
/// other runners may take it, and no lease runs meanwhile.
pub const CALLS_MAX: u32 = 8;

/// Where the events of an answer go.
pub trait Answers: Send + Sync + 'static {
    /// Takes events for the command of this lease, each as its JSON, as if its runner had posted them. The same ones again are
    /// known, and not taken twice.
    ///
    /// # Errors
    /// Why not, for people.
    fn take<'a>(&'a self, lease: &'a Lease, events: &'a [String]) -> BoxFuture<'a, Result<(), NotTaken>>;
}

/// Why events of an answer were not taken.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum NotTaken {
    /// They are not valid: they would not be taken the next time either.
    #[error("{0}")]
    Invalid(String),
    /// Not now: the same ones may be taken later.
    #[error("{0}")]
    Later(String),
    /// Not any more.
    #[error("{0}")]
    Other(String),
}

/// What webhooks need to be runners.
#[derive(Clone)]
pub struct Commands {
    /// Where commands are taken.
    pub counter: Counter,
    /// Where answers go.
    pub answers: Arc<dyn Answers>,
    /// How long a command may take to be accepted, in milliseconds.
    pub lease_ms: u64,
}

/// Brings the commands of one project to its receiver.
pub(crate) struct Runner {
    pub(crate) shared: Arc<Shared>,
    pub(crate) commands: Commands,
    pub(crate) project: Project,
    pub(crate) hook: CommandWebhook,
    pub(crate) standing: Arc<Standing>,
    /// It takes nothing more, and ends what it has in hand.
    pub(crate) stop: CancellationToken,
}

impl Runner {
    /// Works until `stop`, or until the receiver wants nothing more and `stop`.
    pub(crate) async fn run(self) {
        let Some(mut is_gone) = self.was_gone().await else { return };
        if !is_gone {
            is_gone = self.take_all().await;
            if is_gone {
                tracing::warn!(project = %self.project, "the receiver of a project's commands is gone: it gets none until its settings change");
                self.keep_gone().await;
                let _ = self.commands.counter.leave(&self.project, RUNNER, RUNNER).await;
            }
        }
        if is_gone {
            self.standing.is_gone.store(true, Ordering::Relaxed);
            self.standing.is_failing.store(false, Ordering::Relaxed);
            self.stop.cancelled().await;
        }
    }

    /// Takes commands and has them brought, until it was told to stop and has none in hand. True: the receiver wants nothing
    /// more.
    async fn take_all(&self) -> bool {
        let enough = self.stop.child_token();
        let brought = Arc::new(Brought::new(self, enough.clone()));
        let in_hand = self.hook.in_hand.unwrap_or(IN_HAND_DEFAULT);
        let mut calls: JoinSet<Ended> = JoinSet::new();
        // CANCEL SAFETY: what is taken is leased, so a taking is never dropped; it ends by itself when it is enough.
        let mut taking: Option<BoxFuture<'_, Vec<Command>>> = None;
        let mut take_by = Instant::now();
        let mut is_gone = false;
        loop {
            let is_over = enough.is_cancelled();
            if is_over && taking.is_none() && calls.is_empty() {
                return is_gone;
            }
            let failures = brought.failures();
            if failures > 0 && calls.is_empty() && taking.is_none() {
                let wait = backoff::drawn(failures, None).min(self.shared.rhythm.pause_max);
                if enough.run_until_cancelled(tokio::time::sleep(wait)).await.is_none() {
                    continue;
                }
            }
            // One at a time, until it is known that the receiver takes again.
            let at_once = if failures > 0 { 1 } else { in_hand.min(CALLS_MAX) };
            let room = at_once.saturating_sub(u32::try_from(calls.len()).unwrap_or(u32::MAX));
            // With full hands it only says that it is there.
            if taking.is_none() && !is_over && (room > 0 || take_by <= Instant::now()) {
                taking = Some(self.take(room, in_hand, &enough).boxed());
            }
            tokio::select! {
                Some(ended) = calls.join_next() => {
                    is_gone |= brought.ended(ended.ok());
                    self.standing.is_failing.store(brought.failures() > 0, Ordering::Relaxed);
                }
                taken = OptionFuture::from(taking.as_mut()), if taking.is_some() => {
                    (taking, take_by) = (None, Instant::now() + TAKE_EVERY);
                    for command in taken.into_iter().flatten() {
                        let (brought, taken_at) = (brought.clone(), Instant::now());
                        calls.spawn(async move { brought.bring(command, taken_at).await });
                    }
                }
                () = tokio::time::sleep_until(take_by), if taking.is_none() && !is_over => {}
                () = enough.cancelled(), if taking.is_none() && !is_over => {}
            }
        }
    }

    /// Commands that wait, at most `max`; waits for some, unless it is none.
    async fn take(&self, max: u32, in_hand_max: u32, enough: &CancellationToken) -> Vec<Command> {
        let take = Take {
            runner: RUNNER.to_owned(),
            subject: RUNNER.to_owned(),
            capabilities: self.hook.capabilities.clone(),
            ttl_ms: THERE_MS,
            max,
            in_hand_max,
            lease_ms: self.commands.lease_ms,
            goes_on: false,
        };
        let until = Instant::now() + TAKE_EVERY;
        match self.commands.counter.take(&self.project, take, until, enough).await {
            Ok(handed) => handed.commands,
            Err(refusal) => {
                tracing::debug!(project = %self.project, code = refusal.code.as_str(), "a webhook took no commands");
                enough.run_until_cancelled(tokio::time::sleep(RETRY)).await.unwrap_or(());
                Vec::new()
            }
        }
    }
}
