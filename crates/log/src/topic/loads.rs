//! Loads a topic's fold (docs/log.md L17) beside its task, which goes on delivering: the checkpoint, then the log behind it,
//! until the ring can roll it forward.
//!
//! One load at a time. It is begun by who wants the fold; when it fails, nothing happens but a pause, after which readers
//! are woken, and only those who still want it ask again.

use std::future::pending;
use std::sync::Arc;
use std::time::Duration;

use tidings_broker::{Fields, Page, ReadError, Span};
use tidings_protocol::entry::ForkKind;
use tidings_protocol::fold::State;
use tidings_protocol::head::{Fork, Located};
use tidings_protocol::position::Position;
use tokio::time::Instant;
use tokio_util::task::AbortOnDropHandle;

use super::Topic;
use super::task::READ_BYTES;

/// Pauses after failures: the first, and the longest.
const PAUSE: (Duration, Duration) = (Duration::from_millis(100), Duration::from_secs(3));

/// The loads of one topic.
pub(super) struct Loads {
    running: Option<AbortOnDropHandle<Result<(), ReadError>>>,
    paused_until: Option<Instant>,
    /// How long the next failure pauses.
    pause: Duration,
}

impl Default for Loads {
    fn default() -> Loads {
        Loads { running: None, paused_until: None, pause: PAUSE.0 }
    }
}

impl Loads {
    /// Begins a load, if none is on its way or failed a moment ago: whoever wants the fold is woken then.
    pub(super) fn want(&mut self, topic: &Arc<Topic>) {
        if self.running.is_none() && self.paused_until.is_none() && topic.view().state().is_none() {
            self.running = Some(AbortOnDropHandle::new(tokio::spawn(load(topic.clone()))));
        }
    }

    /// Waits until readers should look again: the fold is there, or the pause after a failure is over. Cancel safe.
    pub(super) async fn news(&mut self) {
        if let Some(running) = &mut self.running {
            let failed = match running.await {
                Ok(Ok(())) => None,
                Ok(Err(error)) => Some(error.to_string()),
                Err(error) => Some(error.to_string()),
            };
            self.running = None;
            let Some(error) = failed else {
                self.pause = PAUSE.0;
                return;
            };
            tracing::warn!(error, pause = ?self.pause, "could not load a state");
            self.paused_until = Some(Instant::now() + self.pause);
            self.pause = (self.pause * 2).min(PAUSE.1);
        }
        match self.paused_until {
            Some(until) => tokio::time::sleep_until(until).await,
            None => pending().await,
        }
        self.paused_until = None;
    }
}

/// Loads the fold and hands it to the machine.
async fn load(topic: Arc<Topic>) -> Result<(), ReadError> {
    let stored = topic.broker.state(topic.project.clone(), Fields::All).await?;
    let known = stored.head;
    let mut state = State::from_fields(stored.position, stored.version, stored.fields)
        .map_err(|error| ReadError::Malformed(error.to_string()))?;
    loop {
        state = {
            let mut machine = topic.machine.write();
            if !(machine.head().knows_deletions_of(&known) && known.knows_deletions_of(machine.head())) {
                drop(machine);
                topic.ask_read();
                return Err(ReadError::Away("the project was deleted while it was folded".into()));
            }
            match machine.attach(state) {
                Ok(()) => return Ok(()),
                Err(state) => *state,
            }
        };
        let page = topic.broker.read(topic.project.clone(), Span::After(state.position().id), READ_BYTES).await?;
        if !leads_to(state.position(), &page) || !known.knows_deletions_of(&page.head) {
            topic.ask_read();
            return Err(ReadError::Away("the log was cut, deleted or trimmed while it was folded".into()));
        }
        let before = state.position();
        let top = topic.view().position();
        roll(&mut state, &page, top);
        if state.position() == before {
            // The topic has not heard the newest yet, or one of the two is of a history that was cut.
            topic.ask_read();
            return Err(ReadError::Away("the checkpoint and the topic do not meet".into()));
        }
    }
}

/// Whether what was folded up to `position` is part of the page's log: not cut by a fork, not deleted, and not so old that a
/// newer checkpoint knows what was trimmed since.
fn leads_to(position: Position, page: &Page) -> bool {
    let head = &page.head;
    let deleted = |fork: &Fork| fork.kind == ForkKind::Deleted && fork.from.n() > position.n();
    let overtaken = page.trimmed_to.n() > position.n() && head.checkpoint.n() > position.n();
    matches!(head.locate(position), Located::At(_)) && !head.forks.iter().any(deleted) && !overtaken
}

/// Folds what follows, up to `top`: the topic may yet learn that what lies above was cut. What was trimmed away is passed
/// over, and the state says so.
fn roll(state: &mut State, page: &Page, top: Position) {
    for entry in &page.entries {
        let links = entry.prev == state.position();
        let trimmed = entry.prev == page.trimmed_to && entry.prev.n() > state.position().n();
        if entry.position.n() > top.n() || !(links || trimmed) {
            break;
        }
        state.skip_to(entry.prev);
        state.apply_visible(entry, &page.head);
    }
}
