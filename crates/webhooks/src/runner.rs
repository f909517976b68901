//! A webhook as a runner: commands are brought to a receiver that does not ask for them.
//!
//! It is there for the capabilities that its settings name, under the name [`RUNNER`], for as long as its receiver takes what
//! it is brought: it takes commands under leases as any runner does, and calls the receiver with each. A 2xx accepts the command,
//! and the answer's `events` are its events; what comes later the receiver posts itself. What it does not take is
//! tried again for as long as the lease lasts, and then given back for other runners.
//!
//! While calls fail nothing more is taken until a pause is over, so it is not there any more when that is longer than a
//! runner may be silent; what it had accepted is then answered `runner_lost`, as of every runner that went.

use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::Duration;

use bytes::Bytes;
use futures_util::future::{BoxFuture, FutureExt as _, OptionFuture};
use serde::Deserialize;
use serde_json::json;
use serde_json::value::RawValue;
use tidings_broker::inbox::{LeaseAct, TAKEN_MAX, Take};
use tidings_commands::counter::{Command, Counter, Lease};
use tidings_protocol::project::Project;
use tidings_protocol::settings::hooks::{CommandWebhook, IN_HAND_DEFAULT};
use tokio::task::JoinSet;
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;

use crate::backoff;
use crate::body;
use crate::caller::{Delivered, Target};
use crate::dispatcher::Shared;
use crate::dispatcher::courier::Standing;
use crate::dispatcher::metrics::Kind;

/// Its name in every project, and whose it is: no credential's.
pub const RUNNER: &str = "tidings:webhook";

/// How long it is there behind its last taking, in milliseconds: as runners that ask.
const THERE_MS: u64 = 30_000;

/// It takes at least this often, so that it stays there.
const TAKE_EVERY: Duration = Duration::from_secs(10);

/// Pause before a store that did not answer is asked again.
const RETRY: Duration = Duration::from_secs(1);

/// So much of a lease is left when a command is given back: what was accepted just before must get through.
const MARGIN: Duration = Duration::from_secs(2);

/// What a receiver's answer may hold, in events: what is more it posts itself.
const EVENTS_MAX: usize = 100;

/// Where the events of an answer go.
pub trait Answers: Send + Sync + 'static {
    /// Takes events for the command of this lease, each as its JSON, as if its runner had posted them.
    ///
    /// # Errors
    /// Why not, for people.
    fn take<'a>(&'a self, lease: &'a Lease, events: Vec<String>) -> BoxFuture<'a, Result<(), NotTaken>>;
}

/// Why events of an answer were not taken.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum NotTaken {
    /// They are not valid: they would not be taken the next time either.
    #[error("{0}")]
    Invalid(String),
    /// Not now, or not any more.
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

/// What a receiver may answer.
#[derive(Debug, Default, Deserialize)]
struct Answer<'a> {
    #[serde(borrow, default)]
    events: Vec<&'a RawValue>,
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

/// How one call of the receiver ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Ended {
    /// The receiver has the command, or it was answered.
    Well,
    /// It was given back.
    Failed,
    /// The receiver wants nothing more.
    Gone,
}

/// What the calls of one runner share.
struct Brought {
    shared: Arc<Shared>,
    commands: Commands,
    project: Project,
    target: Target,
    /// Calls that failed since the last one that was taken.
    failures: AtomicU32,
    stop: CancellationToken,
}

impl Runner {
    /// Works until `stop`, or until the receiver wants nothing more and `stop`.
    pub(crate) async fn run(self) {
        let brought = Arc::new(Brought {
            shared: self.shared.clone(),
            commands: self.commands.clone(),
            project: self.project.clone(),
            target: Target::from(&self.hook),
            failures: AtomicU32::new(0),
            stop: self.stop.clone(),
        });
        let mut calls: JoinSet<Ended> = JoinSet::new();
        let gone = self.take_all(&brought, &mut calls).await;
        // What it has in hand it brings.
        while calls.join_next().await.is_some() {}
        if gone {
            self.standing.is_gone.store(true, Ordering::Relaxed);
            self.standing.is_failing.store(false, Ordering::Relaxed);
            tracing::warn!(project = %self.project, "the receiver of a project's commands is gone: it gets none until its settings change");
            let _ = self.commands.counter.leave(&self.project, RUNNER, RUNNER).await;
            self.stop.cancelled().await;
        }
    }

    /// Takes commands and has them brought. True: the receiver wants nothing more.
    async fn take_all(&self, brought: &Arc<Brought>, calls: &mut JoinSet<Ended>) -> bool {
        let in_hand = self.hook.in_hand.unwrap_or(IN_HAND_DEFAULT);
        // CANCEL SAFETY: what is taken is leased, so a taking is never dropped; it ends by itself at `stop`.
        let mut taking: Option<BoxFuture<'_, Vec<Command>>> = None;
        loop {
            let failures = brought.failures.load(Ordering::Relaxed);
            if failures > 0 && calls.is_empty() && taking.is_none() {
                let wait = backoff::drawn(failures, None).min(self.shared.rhythm.pause_max);
                if self.stop.run_until_cancelled(tokio::time::sleep(wait)).await.is_none() {
                    return false;
                }
            }
            // One at a time, until it is known that the receiver takes again.
            let at_once = if failures > 0 { 1 } else { in_hand };
            let room = at_once.saturating_sub(u32::try_from(calls.len()).unwrap_or(u32::MAX));
            if taking.is_none() && room > 0 && !self.stop.is_cancelled() {
                taking = Some(self.take(room, in_hand).boxed());
            }
            tokio::select! {
                Some(ended) = calls.join_next() => {
                    if self.ended(brought, ended.ok()) {
                        return true;
                    }
                }
                taken = OptionFuture::from(taking.as_mut()), if taking.is_some() => {
                    taking = None;
                    for command in taken.into_iter().flatten() {
                        let brought = brought.clone();
                        calls.spawn(async move { brought.bring(command).await });
                    }
                }
                () = self.stop.cancelled(), if taking.is_none() => return false,
            }
        }
    }

    /// Commands that wait, at most `max`; waits for some.
    async fn take(&self, max: u32, in_hand_max: u32) -> Vec<Command> {
        let take = Take {
            runner: RUNNER.to_owned(),
            subject: RUNNER.to_owned(),
            capabilities: self.hook.capabilities.clone(),
            ttl_ms: THERE_MS,
            max: max.min(u32::try_from(TAKEN_MAX).unwrap_or(u32::MAX)),
            in_hand_max,
            lease_ms: self.commands.lease_ms,
        };
        let until = Instant::now() + TAKE_EVERY;
        match self.commands.counter.take(&self.project, take, until, &self.stop).await {
            Ok(handed) => handed.commands,
            Err(refusal) => {
                tracing::debug!(project = %self.project, code = refusal.code.as_str(), "a webhook took no commands");
                tokio::time::sleep(RETRY).await;
                Vec::new()
            }
        }
    }

    fn ended(&self, brought: &Brought, ended: Option<Ended>) -> bool {
        let failures = match ended {
            Some(Ended::Well) => {
                brought.failures.store(0, Ordering::Relaxed);
                0
            }
            Some(Ended::Gone) => return true,
            // A panic is a failure, too.
            Some(Ended::Failed) | None => brought.failures.fetch_add(1, Ordering::Relaxed).saturating_add(1),
        };
        self.standing.is_failing.store(failures > 0, Ordering::Relaxed);
        false
    }
}

impl Brought {
    /// Calls the receiver with one command, again and again while the lease lasts.
    async fn bring(&self, command: Command) -> Ended {
        let Command { id, lease: number, json } = command;
        let until = Instant::now() + Duration::from_millis(self.commands.lease_ms).saturating_sub(MARGIN);
        let lease = Lease {
            project: self.project.clone(),
            runner: RUNNER.to_owned(),
            subject: RUNNER.to_owned(),
            id: id.clone(),
            lease: number,
        };
        let (delivery, body) = (format!("{id}/{number}"), body::command(&self.project, RUNNER, &json));
        let mut attempt = 1;
        loop {
            if self.stop.is_cancelled() {
                self.give_back(&lease).await;
                return Ended::Failed;
            }
            let delivered = self.call(&delivery, attempt, body.clone()).await;
            let (why, retry_after) = match delivered {
                Delivered::Taken { body, .. } => return self.answered(&lease, &body, is_notice(&json)).await,
                Delivered::Refused { status } => {
                    let error = format!("the webhook refused it with status {status}");
                    return self.fail(&lease, "refused", &error).await;
                }
                Delivered::Gone => {
                    self.give_back(&lease).await;
                    return Ended::Gone;
                }
                Delivered::Failed { told, retry_after, .. } => (told, retry_after),
            };
            if attempt == 1 {
                tracing::warn!(project = %self.project, why, "a command was not taken by its webhook");
            }
            let wait = backoff::drawn(attempt, retry_after);
            if Instant::now() + wait >= until {
                self.give_back(&lease).await;
                return Ended::Failed;
            }
            self.stop.run_until_cancelled(tokio::time::sleep(wait)).await.unwrap_or(());
            attempt += 1;
        }
    }

    async fn call(&self, delivery: &str, attempt: u32, body: Bytes) -> Delivered {
        let is_doubtful = attempt > 1 || self.failures.load(Ordering::Relaxed) > 0;
        let _turn = self.shared.turns.take(is_doubtful).await;
        let began = Instant::now();
        let delivered = self.shared.post.post(&self.target, delivery, attempt, body).await;
        self.shared.metrics.on_delivered(Kind::Command, &delivered, began.elapsed());
        delivered
    }

    /// The receiver has it: what it answered is told, or that it works on it.
    async fn answered(&self, lease: &Lease, body: &[u8], is_notice: bool) -> Ended {
        if is_notice {
            return Ended::Well;
        }
        let answer: Answer<'_> = serde_json::from_slice(body).unwrap_or_default();
        if answer.events.len() > EVENTS_MAX {
            let error = format!("the webhook answered with more than {EVENTS_MAX} events");
            return self.fail(lease, "invalid_event", &error).await;
        }
        let mut events: Vec<String> = answer.events.iter().map(|event| event.get().to_owned()).collect();
        if events.is_empty() {
            events.push(json!({"type": "command.accepted"}).to_string());
        }
        match self.commands.answers.take(lease, events).await {
            Ok(()) => Ended::Well,
            Err(NotTaken::Invalid(why)) => self.fail(lease, "invalid_event", &why).await,
            Err(NotTaken::Other(why)) => {
                // The receiver has it, and may answer yet; else its lease runs out.
                tracing::debug!(project = %self.project, why, "what a webhook answered was not taken");
                Ended::Well
            }
        }
    }

    /// Answers the command: it would fare no better the next time.
    async fn fail(&self, lease: &Lease, code: &str, error: &str) -> Ended {
        let event = json!({"type": "command.failed", "data": {"code": code, "error": error}});
        if let Err(why) = self.commands.answers.take(lease, vec![event.to_string()]).await {
            tracing::debug!(project = %self.project, %why, "a command that its webhook refused was not answered");
        }
        Ended::Well
    }

    /// Other runners may have it.
    async fn give_back(&self, lease: &Lease) {
        if self.commands.counter.step(lease, LeaseAct::Release).await.is_err() {
            tracing::debug!(project = %self.project, "a command was not given back: its lease runs out");
        }
    }
}

/// Whether nobody waits for an answer.
fn is_notice(line: &[u8]) -> bool {
    #[derive(Deserialize)]
    struct Outline {
        #[serde(default)]
        notice: bool,
    }
    serde_json::from_slice::<Outline>(line).is_ok_and(|outline| outline.notice)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_answer_has_events_or_none() {
        let read = |body: &'static [u8]| {
            let answer: Answer<'_> = serde_json::from_slice(body).unwrap_or_default();
            answer.events.iter().map(|event| event.get().to_owned()).collect::<Vec<_>>()
        };
        assert_eq!(
            read(br#"{"events":[{"type":"x","data":{"n":1.00}}],"more":1}"#),
            [r#"{"type":"x","data":{"n":1.00}}"#]
        );
        for nothing in [&b""[..], b"ok", b"{}", br#"{"events":null}"#, b"[1]"] {
            assert_eq!(read(nothing), Vec::<String>::new(), "{nothing:?}");
        }
    }

    #[test]
    fn a_notice_says_so() {
        assert!(is_notice(br#"{"type":"command.cancel","notice":true}"#));
        assert!(!is_notice(br#"{"type":"chat","data":{"notice":true}}"#));
    }
}
