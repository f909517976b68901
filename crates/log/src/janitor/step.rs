//! One step of the fold (docs/log.md L17): read checkpoint and log, fold, and write what changed, if nobody else did.

use std::panic::{AssertUnwindSafe, catch_unwind};

use tidings_broker::{CallError, CheckpointAnswer, CheckpointStep, Fields, Page, ReadError, Retention, Span};
use tidings_protocol::entry::Entry;
use tidings_protocol::fold::{FOLD_VERSION, State, StateError};
use tidings_protocol::head::Head;
use tidings_protocol::position::Position;
use tidings_protocol::project::Project;

use super::Janitor;

/// Entries that one step folds.
pub(super) const STEP_ENTRIES: usize = 1_000;

/// Encoded bytes that one step asks for.
const STEP_BYTES: usize = 8 * 1024 * 1024;

/// How far a step came.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Progress {
    /// The checkpoint stands at the head, and the log is within its retention.
    Reached,
    /// There is more to fold or to trim.
    More,
}

/// Why there was no step.
#[derive(Debug, thiserror::Error)]
pub(super) enum StepError {
    /// The store could not be read.
    #[error(transparent)]
    Read(#[from] ReadError),
    /// The store did not take it.
    #[error(transparent)]
    Call(#[from] CallError),
    /// Another janitor moved the checkpoint, or the store changed: the next step reads anew.
    #[error("the checkpoint moved")]
    Moved,
    /// The fold failed, and the log was trimmed without it, by one step.
    #[error("the fold failed: {why}")]
    Fold {
        /// Why.
        why: FoldError,
        /// Whether more is to be trimmed.
        left: Progress,
    },
}

/// Why the fold failed.
#[derive(Debug, thiserror::Error)]
pub(super) enum FoldError {
    /// The checkpoint gives no state.
    #[error(transparent)]
    State(#[from] StateError),
    /// A newer version of the rules wrote the checkpoint: it is left to those who know them.
    #[error("a newer version ({0}) of the rules wrote the checkpoint")]
    Newer(u32),
    /// The fold panicked.
    #[error("the fold panicked")]
    Panic,
}

impl Janitor {
    /// Folds the next stretch of a project's log into its checkpoint, and trims behind it.
    pub(super) async fn step(&mut self, project: &Project) -> Result<Progress, StepError> {
        let (state, page) = match self.stretch(project).await? {
            Ok(stretch) => stretch,
            Err((error, head)) => return self.give_up(project, &head, error).await,
        };
        let from = state.position();
        let more = page.entries.len() > STEP_ENTRIES;
        let entries = &page.entries[..page.entries.len().min(STEP_ENTRIES)];
        let Ok(mut state) = catch_unwind(AssertUnwindSafe(|| folded(state, &page, entries))) else {
            return self.give_up(project, &page.head, FoldError::Panic).await;
        };
        let to = state.position();
        let step = CheckpointStep {
            incarnation: page.head.incarnation.clone(),
            from,
            to,
            deletion: page.head.newest_project_deletion(),
            version: FOLD_VERSION,
            fields: state.touched(),
            retention: self.retention(project, false).await,
            hard: false,
        };
        match self.broker.checkpoint(project.clone(), step).await? {
            CheckpointAnswer::Done { trimmed, more: trims } => {
                self.metrics.on_step(trimmed);
                self.measure(project, || state.summary()).await;
                self.cache.put(project, state);
                // Without progress there is no more, whatever the head says: the next step would find the same.
                let moved = to.n() > from.n();
                let folds = moved && (more || to.n() < page.head.last.n());
                Ok(if folds || trims { Progress::More } else { Progress::Reached })
            }
            CheckpointAnswer::Moved => {
                self.metrics.moved.inc();
                Err(StepError::Moved)
            }
            CheckpointAnswer::NewerVersion(version) => {
                self.give_up(project, &page.head, FoldError::Newer(version)).await
            }
        }
    }

    /// The state at the checkpoint and what the log holds behind it, read so that both are of one history; or why there is
    /// no state.
    async fn stretch(&mut self, project: &Project) -> Result<Result<(State, Page), (FoldError, Head)>, StepError> {
        if let Some(state) = self.cache.take(project) {
            let page = self.read(project, state.position()).await?;
            // Since a deletion that was put back, the checkpoint may have come to the same place anew.
            let since = |at: Position| at.n() > state.position().n();
            let deleted = page.head.project_deletions().any(|deletion| since(deletion.position));
            if page.head.checkpoint == state.position() && !deleted {
                return Ok(Ok((state, page)));
            }
        }
        let at = self.broker.state(project.clone(), Fields::All).await?;
        if at.version > FOLD_VERSION {
            return Ok(Err((FoldError::Newer(at.version), at.head)));
        }
        let state = match State::from_fields(at.position, at.version, at.fields) {
            Ok(state) => state.with_limits(self.settings.limits),
            Err(error) => return Ok(Err((error.into(), at.head))),
        };
        let page = self.read(project, state.position()).await?;
        // The incarnation that the step names is the page's, so both must come from one.
        let same = page.head.incarnation == at.head.incarnation && at.head.knows_deletions_of(&page.head);
        if page.head.checkpoint == state.position() && same { Ok(Ok((state, page))) } else { Err(StepError::Moved) }
    }

    async fn read(&self, project: &Project, checkpoint: Position) -> Result<Page, ReadError> {
        self.broker.read(project.clone(), Span::After(checkpoint.id), STEP_BYTES).await
    }

    /// The fold failed: memory is freed all the same, at twice the retention.
    async fn give_up(&mut self, project: &Project, head: &Head, why: FoldError) -> Result<Progress, StepError> {
        tracing::error!(%project, error = %why, "the fold failed; the log is trimmed without it");
        self.metrics.failures.inc();
        let left = match self.trim_hard(project, head).await {
            Err(StepError::Moved) => Progress::Reached,
            left => left?,
        };
        Err(StepError::Fold { why, left })
    }

    /// Trims a log whose fold failed lately, by a step.
    pub(super) async fn trim(&mut self, project: &Project) -> Result<Progress, StepError> {
        let head = self.broker.heads(vec![project.clone()]).await.pop();
        let head = head.unwrap_or_else(|| Err(ReadError::Malformed("no head for a project".into())))?;
        self.trim_hard(project, &head).await
    }

    async fn trim_hard(&mut self, project: &Project, head: &Head) -> Result<Progress, StepError> {
        let step = CheckpointStep {
            incarnation: head.incarnation.clone(),
            from: head.checkpoint,
            to: head.checkpoint,
            deletion: head.newest_project_deletion(),
            version: FOLD_VERSION,
            fields: Vec::new(),
            retention: self.retention(project, true).await,
            hard: true,
        };
        match self.broker.checkpoint(project.clone(), step).await? {
            CheckpointAnswer::Done { trimmed, more } => {
                self.metrics.on_hard_trim(trimmed);
                Ok(if more { Progress::More } else { Progress::Reached })
            }
            CheckpointAnswer::Moved | CheckpointAnswer::NewerVersion(_) => Err(StepError::Moved),
        }
    }

    /// What a log keeps: no more than its share while memory is short. A hard step doubles it.
    async fn retention(&self, project: &Project, hard: bool) -> Retention {
        let keep = self.retentions.of(project).await;
        let share = self.pressure.share_of(project).unwrap_or(u64::MAX);
        Retention { bytes: keep.bytes.min(if hard { share / 2 } else { share }), ..keep }
    }
}

/// The state behind `entries`. What was trimmed without a fold is passed over.
fn folded(mut state: State, page: &Page, entries: &[Entry]) -> State {
    state.skip_to(page.trimmed_to);
    for entry in entries {
        state.apply_visible(entry, &page.head);
    }
    state
}
