//! The WebSocket: `/ws/admin/agent-swarm/{project_id}?token=`.
//!
//! Who may not come is let in and closed, so that a browser can read why. `?batch=1`, or the subprotocol
//! [`BATCH_SUBPROTOCOL`], asks for several messages in one where several go out together.

use std::sync::Arc;
use std::time::Duration;

use axum::Router;
use axum::extract::rejection::PathRejection;
use axum::extract::{Path, RawQuery, Request, State};
use axum::response::Response;
use axum::routing::get;
use http::header::SEC_WEBSOCKET_PROTOCOL;
use http::request::Parts;
use tidings_dialects::agent_swarm::{
    AgentSwarm, CLOSE_FORBIDDEN, CLOSE_LIMITED, CLOSE_UNAUTHENTICATED, CLOSE_UNKNOWN, MESSAGES_PER_SECOND, Target,
    Unbegun, orchestrate,
};
use tidings_limits::Rate;
use tidings_protocol::filter::Filter;
use tidings_protocol::grant::{Grant, Scope};

use super::super::asker::Turned;
use super::super::{Coming, Excess, Farewell, Profile, accept, now_ms};
use super::lookup::find;
use super::{Swarm, recent};
use crate::http::params;
use crate::limits::Caller;

/// A subprotocol: the client understands `batch`.
const BATCH_SUBPROTOCOL: &str = "agent-swarm.batch";

/// Its manners. Its clients come back after every close; the codes are for who looks at them.
pub(super) fn profile() -> Profile {
    let rate = Rate::per_second(MESSAGES_PER_SECOND.into(), MESSAGES_PER_SECOND.into());
    Profile {
        draining: Farewell { code: 1012, reason: "service restart" },
        unauthenticated: Farewell { code: CLOSE_UNAUTHENTICATED, reason: "Not authenticated" },
        forbidden: Farewell { code: CLOSE_FORBIDDEN, reason: "Not authorized to access this project" },
        flooded: Farewell { code: CLOSE_LIMITED, reason: "Rate limit exceeded" },
        talkative: Farewell { code: CLOSE_LIMITED, reason: "Rate limit exceeded" },
        messages: Some((rate, Excess::Close)),
        // The protocol has no word of the server's for it.
        ping_after: Duration::from_hours(1),
    }
}

/// Its one route.
pub(super) fn router(swarm: &Arc<Swarm>) -> Router {
    Router::new().route("/ws/admin/agent-swarm/{project_id}", get(open)).with_state(swarm.clone())
}

async fn open(
    State(swarm): State<Arc<Swarm>>,
    id: Result<Path<String>, PathRejection>,
    RawQuery(query): RawQuery,
    request: Request,
) -> Response {
    let (mut parts, body) = request.into_parts();
    // What is no text names nothing.
    let id = id.map_or_else(|_| String::new(), |Path(id)| id);
    let coming = swarm.coming(&id, query.as_deref(), &mut parts).await;
    accept(swarm.shared.clone(), Request::from_parts(parts, body), coming, &[BATCH_SUBPROTOCOL]).await
}

impl Swarm {
    async fn coming(&self, id: &str, query: Option<&str>, parts: &mut Parts) -> Result<Coming, Farewell> {
        let profile = &self.served.profile;
        let turned = |turned: Turned| turned.farewell(profile);
        let pairs = params::all_pairs(query);
        let said = |wanted: &str| pairs.iter().find(|(name, _)| name == wanted).map(|(_, value)| value.as_str());
        // What an open service is shown is not even read: clients send what they have kept from elsewhere.
        let token = said("token").filter(|token| !token.is_empty() && !self.shared.rights.is_open());
        let grant = self.shared.asker(parts, token, None).await.map_err(turned)?;
        let target = Target::parse(id).ok_or(profile.forbidden)?;
        let grant = self.shared.allowed(&grant, &target.project, Scope::Read).await.map_err(turned)?;
        if self.is_unknown(&target, &grant).await {
            return Err(Farewell { code: CLOSE_UNKNOWN, reason: "Project not found" });
        }
        let batch = matches!(said("batch"), Some("1" | "true")) || offers_batch(parts);
        let dialect = AgentSwarm { unbegun: self.unbegun(&target, &grant).await, ..AgentSwarm::of(&target, batch) };
        let places = parts.extensions.get::<Caller>().map(|caller| format!("agent_swarm:{}", caller.id()));
        Ok(Coming {
            variant: tidings_dialects::Dialect::variant(&dialect),
            served: Arc::new(self.served.with(Arc::new(dialect))),
            filter: Filter { sessions: target.session.iter().cloned().collect(), ..Filter::default() },
            project: target.project,
            grant,
            places: places.map(|user| (user, self.connections_max)),
            resumes: None,
        })
    }
}

impl Swarm {
    /// Whether it is a session that nobody knows. While the store does not say, it may be one.
    async fn is_unknown(&self, target: &Target, grant: &Grant) -> bool {
        if target.session.is_none() {
            return false;
        }
        let Ok(found) = find(&self.shared, grant, &target.id(), Scope::Read).await else { return false };
        found.is_known().await.is_ok_and(|known| !known)
    }

    /// Why a build that is awaited did not begin, for who was told so on another connection. Where the store does not say,
    /// clients learn it by REST.
    async fn unbegun(&self, target: &Target, grant: &Grant) -> Option<Unbegun> {
        if !target.session.as_ref().is_some_and(|session| orchestrate::is_awaited(session, now_ms())) {
            return None;
        }
        let found = find(&self.shared, grant, &target.id(), Scope::Read).await.ok()?;
        recent::unbegun(&self.shared, &found).await.ok()?
    }
}

fn offers_batch(parts: &Parts) -> bool {
    let lines = parts.headers.get_all(SEC_WEBSOCKET_PROTOCOL).iter().filter_map(|line| line.to_str().ok());
    { lines }.any(|line| line.split(',').any(|offered| offered.trim() == BATCH_SUBPROTOCOL))
}
