//! Looking for what a `project_id` names, by who may see it.

use std::cmp::Reverse;
use std::sync::Arc;

use axum::response::Response;
use http::HeaderMap;
use serde_json::{Value, json};
use tidings_dialects::agent_swarm::Target;
use tidings_dialects::agent_swarm::build::Build;
use tidings_dialects::agent_swarm::orchestrate;
use tidings_dialects::agent_swarm::refusals::Refusal;
use tidings_dialects::agent_swarm::rest::Shown;
use tidings_log::hub::TopicHandle;
use tidings_protocol::codes::ErrorCode;
use tidings_protocol::fold;
use tidings_protocol::grant::{Grant, Scope};
use tidings_protocol::project::Project;
use tidings_runtime::http::problem::Refused;

use super::super::now_ms;
use super::answers::{Basis, Failure};
use super::recent;
use crate::http::params;
use crate::shared::Shared;

/// Something that is there, for who may see it.
pub(super) struct Found {
    pub(super) target: Target,
    pub(super) grant: Grant,
    pub(super) topic: TopicHandle,
}

/// A build as it stands.
pub(super) struct Seen {
    pub(super) basis: Basis,
    id: String,
    /// The session; null: nothing has begun.
    session: Value,
    name: String,
    updated_ms: u64,
}

/// A session of a list, of which more is looked up only when it is shown.
pub(super) struct Listed {
    project: Project,
    state: Arc<fold::State>,
    row: Value,
}

/// Finds what a `project_id` names. It need not have been written to.
///
/// # Errors
/// It can name nothing; nobody may do this there by that grant.
pub(super) async fn find(shared: &Shared, grant: &Grant, id: &str, scope: Scope) -> Result<Found, Failure> {
    let target = Target::parse(id).ok_or_else(|| Refusal::not_found("Project"))?;
    let grant = if shared.rights.is_open() {
        grant.clone()
    } else {
        let authorized = shared.rights.authorize(grant, &target.project, scope).await;
        authorized.map_err(|refusal| forbidden(Refused::from(refusal)))?
    };
    let topic = shared.topic(&target.project)?;
    params::started(&topic).await?;
    Ok(Found { target, grant, topic })
}

/// Their words for a right that is not there.
fn forbidden(refused: Refused) -> Failure {
    if refused.problem().code != ErrorCode::Forbidden.as_str() {
        return refused.into();
    }
    Refusal::from_code(ErrorCode::Forbidden, "Not authorized to access this project", None).into()
}

impl Found {
    /// What an answer depends on now.
    pub(super) fn basis(&self) -> Basis {
        Basis { position: self.topic.view().position() }
    }

    /// What a client gets that has the present answer already.
    pub(super) fn unchanged(&self, headers: &HeaderMap) -> Option<Response> {
        self.basis().unchanged(headers)
    }

    /// Refuses what is not there.
    ///
    /// # Errors
    /// Nobody has written to the project.
    pub(super) fn born(self) -> Result<Found, Failure> {
        let is_born = self.topic.view().head().is_born();
        if is_born || self.is_awaited() { Ok(self) } else { Err(Refusal::not_found("Project").into()) }
    }

    /// Whether it is a session that somebody has asked for, and that may begin yet.
    fn is_awaited(&self) -> bool {
        self.target.session.as_ref().is_some_and(|session| orchestrate::is_awaited(session, now_ms()))
    }

    /// Refuses a session that nobody knows, for whom nothing was found.
    ///
    /// # Errors
    /// It is not known, or gone for long; the store is away.
    pub(super) async fn known(&self) -> Result<(), Failure> {
        if self.is_known().await? { Ok(()) } else { Err(Refusal::not_found("Project").into()) }
    }

    /// Whether it is a project, or a session that somebody knows or that may begin yet.
    ///
    /// # Errors
    /// The store is away.
    pub(super) async fn is_known(&self) -> Result<bool, Failure> {
        let state = params::within(self.topic.state_at_head()).await?;
        Ok(Seen::of(&self.target, &state, self.may_begin()).is_some())
    }

    fn may_begin(&self) -> bool {
        self.target.session.is_none() || self.is_awaited()
    }

    /// How it stands.
    ///
    /// # Errors
    /// It is a session that is not known, or gone for long; the store is away.
    pub(super) async fn see(&self, shared: &Shared) -> Result<Seen, Failure> {
        let state = params::within(self.topic.state_at_head()).await?;
        let seen = Seen::of(&self.target, &state, self.may_begin()).ok_or_else(|| Refusal::not_found("Project"))?;
        if self.target.session.is_none() || !seen.session.is_null() {
            return Ok(seen);
        }
        let session = recent::unbegun(shared, self).await?.map_or(Value::Null, |unbegun| unbegun.value());
        Ok(Seen { session, ..seen })
    }
}

impl Seen {
    /// What a target is in this state; none: there is no such session, and none `may_begin`.
    pub(super) fn of(target: &Target, state: &fold::State, may_begin: bool) -> Option<Seen> {
        let rows = sessions(state);
        let id = target.id();
        let basis = Basis { position: state.position() };
        match Build::listed(&rows, target.session.as_deref()) {
            Some(row) => Some(Seen { basis, id, ..Seen::of_row(state, &row) }),
            None if may_begin => {
                let updated_ms = state.position().ms();
                Some(Seen { basis, id, session: Value::Null, name: String::new(), updated_ms })
            }
            None => None,
        }
    }

    /// A session of a list, with all that there is of it.
    fn of_row(state: &fold::State, row: &Build<'_>) -> Seen {
        let whole = row.is_live().then(|| state.session_json(row.session)).flatten();
        let session = whole.and_then(|json| serde_json::from_slice(&json).ok()).unwrap_or_else(|| row.value.clone());
        Seen {
            id: String::new(),
            basis: Basis { position: state.position() },
            session,
            name: row.session.to_owned(),
            updated_ms: row.value["last_ms"].as_u64().unwrap_or_default(),
        }
    }

    pub(super) fn build(&self) -> Build<'_> {
        Build { session: &self.name, value: &self.session }
    }

    /// The same with what became of the caller's own commands: of that the state tells nobody.
    pub(super) async fn with_refusals(mut self, shared: &Shared, found: &Found) -> Result<Seen, Failure> {
        let refusals = recent::refusals(shared, found, &self.name).await?;
        if let Some(logs) = self.session["logs"].as_array_mut() {
            logs.extend(refusals.iter().map(|line| json!({"level": line.level, "message": line.message})));
        }
        Ok(self)
    }

    pub(super) fn shown(&self) -> Shown<'_> {
        Shown { id: &self.id, build: self.build(), updated_ms: self.updated_ms }
    }
}

impl Listed {
    /// Every session of a project, the newest first.
    pub(super) fn all(project: &Project, state: fold::State) -> Vec<Listed> {
        let state = Arc::new(state);
        let Value::Array(rows) = sessions(&state) else { return Vec::new() };
        let listed = |row| Listed { project: project.clone(), state: state.clone(), row };
        let mut all: Vec<_> = rows.into_iter().map(listed).collect();
        all.sort_by_cached_key(|listed| Reverse((listed.build().started_ms(), listed.build().session.to_owned())));
        all
    }

    fn build(&self) -> Build<'_> {
        Build::of_row(&self.row)
    }

    /// How it stands.
    pub(super) fn see(&self) -> Seen {
        let seen = Seen::of_row(&self.state, &self.build());
        let target = Target { project: self.project.clone(), session: Some(seen.name.clone()) };
        Seen { id: target.id(), ..seen }
    }
}

/// The sessions of a project, live and gone, as they are listed.
fn sessions(state: &fold::State) -> Value {
    serde_json::from_slice(&state.sessions_json()).expect("a list of sessions is JSON")
}
