//! Sessions as their project's log has them now: their part of the checkpoint, and what was appended behind it.
//!
//! For questions that are asked seldom and must be answered rightly: whether a session runs, whether an approval is open. It
//! reads two or three pages of the store and keeps nothing.

use std::collections::HashMap;

use serde::Deserialize;
use serde_json::Value;
use tidings_broker::{Broker, Fields, ReadError, Span};
use tidings_protocol::entry::{Body, Entry};
use tidings_protocol::fold::State;
use tidings_protocol::head::{Head, Located};
use tidings_protocol::project::Project;

/// Bytes of the log that are read at once.
const READ_BYTES: usize = 2 * 1024 * 1024;

/// How often so many are read before the fold counts as too far behind: it is seconds old, unless something is wrong.
const PAGES_MAX: usize = 16;

/// How often it is begun anew when checkpoint and log were not of one history.
const TRIES: u32 = 3;

/// How a session is called that was started, and neither ended nor lost its runner.
const RUNNING: &str = "running";

/// Some sessions of a project.
pub(crate) struct Sessions(HashMap<String, Session>);

/// What is asked of a session.
#[derive(Debug, Default, Deserialize)]
struct Session {
    status: Option<String>,
    #[serde(default)]
    approvals: HashMap<String, Approval>,
}

/// What is asked of an open approval.
#[derive(Debug, Default, Deserialize)]
pub(crate) struct Approval {
    /// What may be decided; empty: anything.
    #[serde(default)]
    pub(crate) options: Vec<Value>,
    /// State holds not all of them.
    #[serde(default)]
    pub(crate) options_cut: bool,
}

/// How far reading came.
enum Reached {
    Head,
    /// What was read first is not of this log any more.
    Moved,
    TooFar,
}

impl Sessions {
    /// These sessions of a project. None: it cannot be said now, since the checkpoint is far behind, or another version's.
    ///
    /// # Errors
    /// The store is away.
    pub(crate) async fn read(
        log: &dyn Broker,
        project: &Project,
        names: &[&str],
    ) -> Result<Option<Sessions>, ReadError> {
        for _ in 0..TRIES {
            let at = log.state(project.clone(), Fields::Named(State::fields_of(names.iter().copied()))).await?;
            let mut state = match State::of_sessions(at.position, at.version, at.fields) {
                Ok(state) => state,
                Err(error) => {
                    tracing::warn!(%project, %error, "a checkpoint cannot be read");
                    return Ok(None);
                }
            };
            match roll(log, project, names, &mut state, &at.head).await? {
                Reached::Head => return Ok(Some(Sessions::of(&state, names))),
                Reached::Moved => {}
                Reached::TooFar => return Ok(None),
            }
        }
        Ok(None)
    }

    fn of(state: &State, names: &[&str]) -> Sessions {
        let read = |name: &&str| {
            let json = state.session_json(name)?;
            Some(((*name).to_owned(), serde_json::from_slice(&json).unwrap_or_default()))
        };
        Sessions(names.iter().filter_map(read).collect())
    }

    /// Whether it was started, and neither ended nor lost its runner.
    pub(crate) fn is_running(&self, session: &str) -> bool {
        self.0.get(session).is_some_and(|session| session.status.as_deref() == Some(RUNNING))
    }

    /// An open approval; none: there is none of this id in the session.
    pub(crate) fn approval(&self, session: &str, approval: &str) -> Option<&Approval> {
        self.0.get(session)?.approvals.get(approval)
    }
}

/// Folds what stands behind `state` of these sessions. `known`: the head that it was read with.
async fn roll(
    log: &dyn Broker,
    project: &Project,
    names: &[&str],
    state: &mut State,
    known: &Head,
) -> Result<Reached, ReadError> {
    let mut at = state.position();
    for _ in 0..PAGES_MAX {
        let page = log.read(project.clone(), Span::After(at.id), READ_BYTES).await?;
        let is_cut = !matches!(page.head.locate(at), Located::At(_)) || page.trimmed_to.n() > at.n();
        if is_cut || !known.knows_deletions_of(&page.head) {
            return Ok(Reached::Moved);
        }
        for entry in &page.entries {
            fold(state, entry, &page.head, names);
            at = entry.position;
        }
        if page.entries.is_empty() || at.n() >= page.head.last.n() {
            return Ok(Reached::Head);
        }
    }
    Ok(Reached::TooFar)
}

fn fold(state: &mut State, entry: &Entry, head: &Head, names: &[&str]) {
    let Body::Events(events) = &entry.body else { return state.apply(entry) };
    for (index, event) in events.iter().enumerate().filter(|(_, event)| names.contains(&event.session.as_str())) {
        let position = entry.position_of(index);
        if !head.deletes(position, event) {
            state.apply_event(position, event);
        }
    }
}
