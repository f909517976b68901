//! The newest events of some types, read backwards from the log: lines and outputs of a build.

use tidings_broker::Span;
use tidings_dialects::Told;
use tidings_dialects::agent_swarm::lines::TYPES;
use tidings_dialects::agent_swarm::{Line, Unbegun};
use tidings_protocol::entry::Body;
use tidings_protocol::filter::Filter;
use tidings_protocol::grant::{Scope, visible};
use tidings_protocol::intake::envelope_value;
use tidings_protocol::position::{LogId, Position};
use tidings_protocol::project::Project;
use tidings_protocol::wire;

use super::answers::{Basis, Failure};
use super::lookup::Found;
use crate::http::params;
use crate::shared::Shared;

/// What tells of commands that failed.
const ANSWER: &str = "command.failed";

/// Such answers that are looked at.
const ANSWERS_MAX: usize = 100;

/// Reads of the log for why a build did not begin: it was asked for a few minutes ago.
const UNBEGUN_READS_MAX: usize = 16;

/// Encoded bytes that one read asks the store for.
const READ_BYTES: usize = 256 * 1024;

/// Events of a project, newest first.
pub(super) struct Recent {
    project: Project,
    events: Vec<(Position, wire::Event)>,
    /// The head by which they were read.
    pub(super) basis: Basis,
}

/// The newest `limit` events of these types, in at most so many reads: less, where others fill the log.
///
/// # Errors
/// The store is away.
pub(super) async fn recent(
    shared: &Shared,
    found: &Found,
    types: &[&str],
    limit: usize,
    reads_max: usize,
) -> Result<Recent, Failure> {
    let filter = Filter {
        types: types.iter().map(|&kind| kind.to_owned()).collect(),
        sessions: found.target.session.iter().cloned().collect(),
        ..Filter::default()
    };
    let project = &found.target.project;
    let mut recent = Recent { project: project.clone(), events: Vec::new(), basis: found.basis() };
    let mut below: Option<LogId> = None;
    for _ in 0..reads_max {
        let span = below.map_or(Span::Tail, Span::Before);
        let read = shared.hub.broker().read(project.clone(), span, READ_BYTES);
        let page = params::within(read).await?.map_err(|_| params::away())?;
        if below.is_none() {
            recent.basis.position = page.head.last;
        }
        for entry in page.entries.iter().rev() {
            below = Some(entry.position_of(0).id);
            let Body::Events(events) = &entry.body else { continue };
            for (index, event) in events.iter().enumerate().rev() {
                let position = entry.position_of(index);
                if visible(event, position, &page.head, &found.grant) && filter.passes(event) {
                    recent.events.push((position, event.clone()));
                }
                if recent.events.len() >= limit {
                    return Ok(recent);
                }
            }
        }
        if page.entries.is_empty() || below.is_none_or(|below| below.n <= page.trimmed_to.n() + 1) {
            break;
        }
    }
    Ok(recent)
}

/// The newest `limit` lines.
///
/// # Errors
/// The session is not known; the store is away.
pub(super) async fn lines(
    shared: &Shared,
    found: &Found,
    limit: usize,
    reads_max: usize,
) -> Result<(Vec<Line>, Basis), Failure> {
    let recent = recent(shared, found, &TYPES, limit, reads_max).await?;
    let lines = recent.each(Line::of);
    if lines.is_empty() {
        found.known().await?;
    }
    Ok((lines, recent.basis))
}

/// Why the session that is meant did not begin, if the caller was told so.
///
/// # Errors
/// The store is away.
pub(super) async fn unbegun(shared: &Shared, found: &Found) -> Result<Option<Unbegun>, Failure> {
    let recent = recent(shared, found, &[ANSWER], ANSWERS_MAX, UNBEGUN_READS_MAX).await?;
    Ok(recent.each(Unbegun::of).pop())
}

/// What the caller was told lately of commands about this session that failed. Only who may ask was told anything.
///
/// # Errors
/// The store is away.
pub(super) async fn refusals(shared: &Shared, found: &Found, session: &str) -> Result<Vec<Line>, Failure> {
    if session.is_empty() || !(shared.rights.is_open() || found.grant.allows(&found.target.project, Scope::Command)) {
        return Ok(Vec::new());
    }
    let recent = recent(shared, found, &[ANSWER], ANSWERS_MAX, 1).await?;
    Ok(recent.each(|told| (told.session() == session).then(|| Line::of(told)).flatten()))
}

impl Recent {
    /// What is made of each of them, in the log's order.
    pub(super) fn each<T>(&self, make: impl Fn(&Told<'_>) -> Option<T>) -> Vec<T> {
        let made = |(position, event): &(Position, wire::Event)| {
            let envelope = envelope_value(&event.json)?;
            make(&Told { project: &self.project, position: *position, event, envelope: &envelope })
        };
        self.events.iter().rev().filter_map(made).collect()
    }
}
