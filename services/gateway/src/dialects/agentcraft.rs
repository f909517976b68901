//! AgentCraft: `/ws/agent-tracking/{client_id}`, also below `/api`, and its REST routes.

mod broadcast;
mod figures;
mod rest;

use std::sync::Arc;
use std::time::Duration;

use axum::Router;
use axum::extract::rejection::PathRejection;
use axum::extract::{Path, Request, State};
use axum::response::Response;
use axum::routing::get;
use tidings_dialects::Dialect;
use tidings_dialects::agentcraft::client::{ClientIds, REFUSED_CODE, REFUSED_REASON};
use tidings_dialects::agentcraft::{AgentCraft, Shape};
use tidings_limits::Rate;
use tidings_protocol::filter::Filter;
use tidings_protocol::grant::{Grant, Holder, Scope, Scopes};
use tidings_protocol::project::Project;
use tidings_runtime::config::DialectsConfig;

use super::asker::{Turned, anyone};
use super::{Coming, Excess, Farewell, Profile, Served, accept};
use crate::metrics::Metrics;
use crate::shared::Shared;

use figures::Figures;

/// Its clients come back after any close; they only tell 1008 apart.
const PROFILE: Profile = Profile {
    draining: Farewell { code: 1012, reason: "service restart" },
    unauthenticated: Farewell { code: 1008, reason: "Not authenticated" },
    forbidden: Farewell { code: 1008, reason: "Not allowed" },
    flooded: Farewell { code: 1013, reason: "Too many connections" },
    talkative: Farewell { code: 1013, reason: "Too many messages" },
    messages: None,
    ping_after: Duration::from_secs(30),
};

/// A client without a credential is a viewer of this name, with its own behind it.
const VIEWER: &str = "agentcraft:";

/// Messages that a client may send in a minute.
const MESSAGES_PER_MINUTE: u64 = 60;

/// What its routes share.
struct Tracking {
    shared: Arc<Shared>,
    served: Arc<Served>,
    /// Which messages clients get.
    frames: Shape,
    project: Project,
    scopes: Scopes,
    client_ids: ClientIds,
    figures: Figures,
}

/// The routes of AgentCraft, as the `index`th dialect of the process; none: it has no project.
pub(super) fn router(index: u16, config: &DialectsConfig, shared: &Arc<Shared>, metrics: &Metrics) -> Option<Router> {
    let project = config.agentcraft_project.clone()?;
    let variants = (0..).map_while(AgentCraft::of_variant).map(|one| Arc::new(one) as Arc<dyn Dialect>).collect();
    let rate = Rate::new(MESSAGES_PER_MINUTE, Duration::from_mins(1), MESSAGES_PER_MINUTE);
    let profile = Profile { messages: Some((rate, Excess::Drop)), ..PROFILE };
    let tracking = Tracking {
        shared: shared.clone(),
        served: Arc::new(Served::new(index, variants, profile, metrics)),
        frames: config.agentcraft_frames,
        project,
        scopes: config.agentcraft_scopes.0,
        client_ids: config.agentcraft_client_ids,
        figures: Figures::default(),
    };
    let router = Router::new()
        .route("/ws/agent-tracking/{client_id}", get(open))
        .route("/api/ws/agent-tracking/{client_id}", get(open))
        .merge(rest::routes())
        .method_not_allowed_fallback(rest::no_method);
    Some(router.with_state(Arc::new(tracking)))
}

async fn open(
    State(tracking): State<Arc<Tracking>>,
    client: Result<Path<String>, PathRejection>,
    request: Request,
) -> Response {
    let (mut parts, body) = request.into_parts();
    // What is no text is no client id either.
    let client = client.map_or_else(|_| String::new(), |Path(client)| client);
    let coming = tracking.coming(&client, &mut parts).await;
    accept(tracking.shared.clone(), Request::from_parts(parts, body), coming, &[]).await
}

impl Tracking {
    async fn coming(&self, client: &str, parts: &mut http::request::Parts) -> Result<Coming, Farewell> {
        if !self.client_ids.admits(client) {
            return Err(Farewell { code: REFUSED_CODE, reason: REFUSED_REASON });
        }
        let viewer = format!("{VIEWER}{client}");
        let admitted = self.admitted(&viewer, parts, Scope::Read).await;
        let (project, grant) = admitted.map_err(|turned| turned.farewell(&self.served.profile))?;
        let (served, variant) = (self.served.clone(), AgentCraft::new(self.frames).variant());
        let resumes = Some(reader(client, &grant));
        Ok(Coming { served, variant, project, grant, places: None, filter: Filter::default(), resumes })
    }

    /// Who asks, under this name without a credential, and which project that is about: the one that a token is for, if it is
    /// for one alone.
    async fn admitted(
        &self,
        viewer: &str,
        parts: &mut http::request::Parts,
        scope: Scope,
    ) -> Result<(Project, Grant), Turned> {
        let anyone = anyone(viewer, &self.project, self.scopes);
        let grant = self.shared.asker(parts, None, Some(anyone)).await?;
        let project = match grant.named(scope).as_deref() {
            Some([one]) => one.clone(),
            Some(_) | None => self.project.clone(),
        };
        let grant = self.shared.allowed(&grant, &project, scope).await?;
        Ok((project, grant))
    }
}

/// Under which name a client's place is kept. A client id is whatever its client says: with a credential it is a name among
/// those of that viewer alone. Client ids have no `:`.
fn reader(client: &str, grant: &Grant) -> String {
    match grant.holder() {
        Holder::Anyone => format!("{VIEWER}{client}"),
        _ => format!("{VIEWER}{client}:{}", grant.viewer()),
    }
}

#[cfg(test)]
mod tests {
    use tidings_auth::limits::SUBJECT_BYTES_MAX;
    use tidings_broker::bookmark::READER_BYTES_MAX;

    use super::*;

    #[test]
    fn a_clients_place_is_its_viewers_alone() {
        let of = |viewer: &str, holder| reader("c-1", &Grant::new(viewer, holder, Vec::new()));
        assert_eq!(of("agentcraft:c-1", Holder::Anyone), "agentcraft:c-1");
        assert_eq!(of("ada", Holder::User), "agentcraft:c-1:ada");
        let longest = Grant::new(&*"u".repeat(SUBJECT_BYTES_MAX), Holder::User, Vec::new());
        assert!(reader(&"c".repeat(128), &longest).len() <= READER_BYTES_MAX);
    }
}
