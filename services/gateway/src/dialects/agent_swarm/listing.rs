//! The projects that a caller may see, as builds: a page of them, and figures over them.

use axum::response::Response;
use futures_util::{StreamExt as _, TryStreamExt as _, stream};
use tidings_dialects::agent_swarm::Target;
use tidings_dialects::agent_swarm::rest;
use tidings_protocol::grant::Grant;
use tidings_protocol::project::Project;

use super::Swarm;
use super::answers::{Failure, json};
use super::lookup::{Listed, Seen};
use crate::http::{params, projects};
use crate::limits::Caller;

/// Projects that are counted for one caller: a longer list is cut there.
const COUNTED_MAX: usize = 1_000;

/// Projects that figures are made over, the first ones by name.
const MEASURED_MAX: usize = 100;

/// Folds that one request waits for at the same time.
const FOLDS_AT_ONCE: usize = 8;

/// What a row of the list is about.
enum Row {
    /// A session of the project that new builds belong to: each is a project of theirs.
    Build(Listed),
    /// Any other project, by its newest session.
    Project(Project),
}

/// `GET /projects`.
pub(super) async fn page(swarm: &Swarm, who: (&Grant, &Caller), limit: u32, skip: u32) -> Result<Response, Failure> {
    let rows = rows(swarm, who, COUNTED_MAX).await?;
    let total = rows.len();
    let seen = look(swarm, who.1, rows.into_iter().skip(skip as usize).take(limit as usize).collect()).await?;
    let shown: Vec<_> = seen.iter().map(Seen::shown).collect();
    Ok(json(rest::projects(&shown, total, limit, skip)))
}

/// `GET /metrics`.
pub(super) async fn metrics(swarm: &Swarm, who: (&Grant, &Caller)) -> Result<Response, Failure> {
    let rows = rows(swarm, who, MEASURED_MAX).await?;
    let seen = look(swarm, who.1, rows).await?;
    Ok(json(rest::metrics(seen.iter().map(Seen::build))))
}

/// New builds first, the newest ahead, then projects by name.
async fn rows(swarm: &Swarm, who: (&Grant, &Caller), most: usize) -> Result<Vec<Row>, Failure> {
    let shared = &*swarm.shared;
    let mut names = projects::all_readable(shared, who, most).await?;
    let home = swarm.home.as_ref();
    let home = home.and_then(|home| Some(names.remove(names.iter().position(|name| name == home)?)));
    let mut rows = Vec::new();
    if let Some(home) = home {
        let topic = shared.topic(&home)?;
        let state = params::within(topic.state_at_head()).await?;
        rows.extend(Listed::all(&home, state).into_iter().map(Row::Build));
    }
    rows.extend(names.into_iter().map(Row::Project));
    rows.truncate(most);
    Ok(rows)
}

/// Each row counts as a request: that is what it would cost to ask for it.
async fn look(swarm: &Swarm, caller: &Caller, rows: Vec<Row>) -> Result<Vec<Seen>, Failure> {
    let shared = &*swarm.shared;
    shared.limits.charge(caller, rows.len()).await?;
    let looking = stream::iter(rows).map(async |row| {
        let project = match row {
            Row::Build(listed) => return Ok(listed.see()),
            Row::Project(project) => project,
        };
        let topic = shared.topic(&project)?;
        let state = params::within(topic.state_at_head()).await?;
        let target = Target { project, session: None };
        Ok::<_, Failure>(Seen::of(&target, &state, true).expect("a project is there always"))
    });
    looking.buffered(FOLDS_AT_ONCE).try_collect().await
}
