//! One command as it is brought: its turn, its calls, and what becomes of its lease.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU32, Ordering};
use std::time::Duration;

use bytes::Bytes;
use serde::Deserialize;
use serde_json::json;
use serde_json::value::RawValue;
use tidings_broker::inbox::LeaseAct;
use tidings_protocol::project::Project;
use tokio::time::{Instant, timeout_at};
use tokio_util::sync::CancellationToken;

use super::{Command, Commands, Lease, NotTaken, RUNNER, Runner};
use crate::backoff;
use crate::body;
use crate::caller::{ANSWER_BYTES_MAX, Delivered, Target, Why};
use crate::dispatcher::Shared;
use crate::dispatcher::courier::SLOW;
use crate::dispatcher::metrics::Kind;

/// So much of a lease is left when a command is given back: what was accepted just before must get through.
const MARGIN: Duration = Duration::from_secs(2);

/// The same of short leases, as a part of them.
const MARGIN_PART: u32 = 4;

/// How long an answer is told again that the store does not take: a failover is over by then. Its receiver is not asked twice.
pub(super) const TELL_FOR: Duration = Duration::from_mins(1);

/// What a receiver's answer may hold, in events: what is more it posts itself.
const EVENTS_MAX: usize = 100;

/// What a receiver may answer.
#[derive(Debug, Default, Deserialize)]
struct Answer<'a> {
    #[serde(borrow, default)]
    events: Vec<&'a RawValue>,
}

/// How one command ended here.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Ended {
    /// The receiver has it, or it was answered.
    Well,
    /// It was given back.
    Failed,
    /// It was given back before a call: nothing is known of the receiver.
    Uncalled,
    /// The receiver wants nothing more.
    Gone,
}

/// What the calls of one runner share.
pub(super) struct Brought {
    shared: Arc<Shared>,
    commands: Commands,
    project: Project,
    target: Target,
    /// Calls that failed since the last one that was taken.
    failures: AtomicU32,
    /// The last call took long.
    is_slow: AtomicBool,
    /// Calls that are under way end, and no other one begins.
    enough: CancellationToken,
}

impl Brought {
    /// Nothing was brought yet.
    pub(super) fn new(runner: &Runner, enough: CancellationToken) -> Brought {
        Brought {
            shared: runner.shared.clone(),
            commands: runner.commands.clone(),
            project: runner.project.clone(),
            target: Target::from(&runner.hook),
            failures: AtomicU32::new(0),
            is_slow: AtomicBool::new(false),
            enough,
        }
    }

    /// Commands that failed since the last one that was taken.
    pub(super) fn failures(&self) -> u32 {
        self.failures.load(Ordering::Relaxed)
    }

    /// Counts how a command ended; none: by a panic. True: the receiver wants nothing more.
    pub(super) fn ended(&self, ended: Option<Ended>) -> bool {
        match ended {
            Some(Ended::Well) => self.failures.store(0, Ordering::Relaxed),
            Some(Ended::Uncalled) => {}
            Some(Ended::Failed) | None => {
                self.failures.fetch_add(1, Ordering::Relaxed);
            }
            Some(Ended::Gone) => return true,
        }
        false
    }

    /// Calls the receiver with a command that was leased at `taken_at`, again and again while the lease lasts.
    pub(super) async fn bring(&self, command: Command, taken_at: Instant) -> Ended {
        let Command { id, lease: number, json } = command;
        let lasts = Duration::from_millis(self.commands.lease_ms);
        let until = taken_at + lasts.saturating_sub(MARGIN.min(lasts / MARGIN_PART));
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
            let Some(delivered) = self.call(&delivery, attempt, body.clone(), until).await else {
                self.give_back(&lease).await;
                return if attempt == 1 { Ended::Uncalled } else { Ended::Failed };
            };
            let (why, retry_after) = match delivered {
                Delivered::Taken { body, is_cut, .. } => {
                    return self.answered(&lease, &body, is_cut, is_notice(&json)).await;
                }
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
            self.enough.run_until_cancelled(tokio::time::sleep(wait)).await.unwrap_or(());
            attempt += 1;
        }
    }

    /// One call, over by `until`. None: its turn did not come in the first half of that time, so that the other half would be
    /// the call's, or it was enough.
    async fn call(&self, delivery: &str, attempt: u32, body: Bytes, until: Instant) -> Option<Delivered> {
        let now = Instant::now();
        let turn_by = now + until.saturating_duration_since(now) / 2;
        let is_doubtful = attempt > 1 || self.failures() > 0 || self.is_slow.load(Ordering::Relaxed);
        let turn = timeout_at(turn_by, self.shared.turns.take(is_doubtful));
        let _turn = self.enough.run_until_cancelled(turn).await?.ok()?;
        if self.enough.is_cancelled() {
            return None;
        }
        let began = Instant::now();
        let post = self.shared.post.post(&self.target, delivery, attempt, body);
        let delivered = timeout_at(until, post).await.unwrap_or_else(|_| Delivered::Failed {
            why: Why::Timeout,
            told: "no answer while the lease lasted".to_owned(),
            retry_after: None,
        });
        if delivered == Delivered::Gone {
            // Before its turn is another call's.
            self.enough.cancel();
        }
        let took = began.elapsed();
        self.is_slow.store(took > SLOW, Ordering::Relaxed);
        self.shared.metrics.on_delivered(Kind::Command, &delivered, took);
        Some(delivered)
    }

    /// The receiver has it: what it answered is told, or that it works on it.
    async fn answered(&self, lease: &Lease, body: &[u8], is_cut: bool, is_notice: bool) -> Ended {
        if is_notice {
            return Ended::Well;
        }
        if is_cut {
            // A final event may be in what is missing: nobody would ever hear of it.
            let error = format!("the webhook's answer is longer than {ANSWER_BYTES_MAX} bytes, or broke off");
            return self.fail(lease, "answer_cut", &error).await;
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
        if let Err(NotTaken::Invalid(why)) = self.tell(lease, &events).await {
            return self.fail(lease, "invalid_event", &why).await;
        }
        // Whatever became of it, the receiver has it, and may answer yet; else its lease or its deadline runs out.
        Ended::Well
    }

    /// Answers the command: it would fare no better the next time.
    async fn fail(&self, lease: &Lease, code: &str, error: &str) -> Ended {
        let event = json!({"type": "command.failed", "data": {"code": code, "error": error}});
        // What comes of it is logged there, and a lease that was not answered runs out.
        let _ = self.tell(lease, &[event.to_string()]).await;
        Ended::Well
    }

    /// Tells events of the command, again and again while the store does not take them: whoever posts them itself is told to
    /// come again, and a receiver cannot be.
    async fn tell(&self, lease: &Lease, events: &[String]) -> Result<(), NotTaken> {
        let until = Instant::now() + TELL_FOR;
        let mut tries = 0;
        loop {
            tries += 1;
            let why = match self.commands.answers.take(lease, events).await {
                Err(NotTaken::Later(why)) => why,
                Err(error) => {
                    tracing::debug!(project = %self.project, %error, "what a webhook answered was not taken");
                    return Err(error);
                }
                Ok(()) => return Ok(()),
            };
            let wait = backoff::drawn(tries, None);
            let is_over = Instant::now() + wait >= until;
            if is_over || self.enough.run_until_cancelled(tokio::time::sleep(wait)).await.is_none() {
                tracing::warn!(project = %self.project, why, "what a webhook answered is lost: the store did not take it");
                return Err(NotTaken::Later(why));
            }
        }
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
