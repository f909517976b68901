//! PyGent Factory: `/ws` and `/api/ws`, `GET /ws-test`, and Socket.IO at `/socket.io/`.

use std::sync::Arc;
use std::time::Duration;

use axum::extract::{Request, State};
use axum::response::Response;
use axum::routing::{any, get};
use axum::{Json, Router};
use tidings_dialects::Dialect;
use tidings_dialects::pygent::{PyGent, Wrapping};
use tidings_protocol::filter::Filter;
use tidings_protocol::grant::{Grant, Scope, Scopes};
use tidings_protocol::project::Project;
use tidings_runtime::config::DialectsConfig;

use super::asker::anyone;
use super::{Coming, Farewell, Profile, Served, accept, socket_io};
use crate::metrics::Metrics;
use crate::shared::Shared;

/// Its clients come back after every close but 1000.
const PROFILE: Profile = Profile {
    draining: Farewell { code: 1012, reason: "service restart" },
    unauthenticated: Farewell { code: 1008, reason: "Not authenticated" },
    forbidden: Farewell { code: 1008, reason: "Not allowed" },
    flooded: Farewell { code: 1013, reason: "Too many connections" },
    talkative: Farewell { code: 1013, reason: "Too many messages" },
    messages: None,
    // The protocol leaves pings to its clients.
    ping_after: Duration::from_hours(24),
};

/// What its routes share.
pub(super) struct Factory {
    pub(super) shared: Arc<Shared>,
    pub(super) served: Arc<Served>,
    project: Project,
    scopes: Scopes,
}

/// The routes of PyGent Factory, as the `index`th dialect of the process; none: it has no project.
pub(super) fn router(index: u16, config: &DialectsConfig, shared: &Arc<Shared>, metrics: &Metrics) -> Option<Router> {
    let project = config.pygent_project.clone()?;
    let variants =
        [Wrapping::Native, Wrapping::SocketIo].map(|wrapping| Arc::new(PyGent(wrapping)) as Arc<dyn Dialect>);
    let factory = Factory {
        shared: shared.clone(),
        served: Arc::new(Served::new(index, variants.into(), PROFILE, metrics)),
        project,
        scopes: config.pygent_scopes.0,
    };
    let router = Router::new()
        .route("/ws", get(open))
        .route("/api/ws", get(open))
        .route("/ws-test", get(test))
        .route("/socket.io/", any(socket_io::serve));
    Some(router.with_state(Arc::new(factory)))
}

/// Says that the service is there, as the system's own tools expect it.
async fn test() -> Json<serde_json::Value> {
    Json(serde_json::json!({ "message": "WebSocket router is working", "endpoint": "/ws" }))
}

async fn open(State(factory): State<Arc<Factory>>, request: Request) -> Response {
    let (mut parts, body) = request.into_parts();
    let coming = factory.coming(&mut parts, Wrapping::Native).await;
    accept(factory.shared.clone(), Request::from_parts(parts, body), coming, &[]).await
}

impl Factory {
    /// What those may who show nothing, under this id.
    pub(super) fn anyone(&self, viewer: &str) -> Grant {
        anyone(viewer, &self.project, self.scopes)
    }

    /// Who comes, and what he watches. Who shows nothing is somebody new each time, since the protocol knows no users.
    pub(super) async fn coming(
        &self,
        parts: &mut http::request::Parts,
        wrapping: Wrapping,
    ) -> Result<Coming, Farewell> {
        let turned = |turned: super::asker::Turned| turned.farewell(&self.served.profile);
        let anyone = self.anyone(&format!("pygent:{:016x}{:016x}", rand::random::<u64>(), rand::random::<u64>()));
        let grant = self.shared.asker(parts, None, Some(anyone)).await.map_err(turned)?;
        // A token for one project says which.
        let project = match grant.named(Scope::Read).as_deref() {
            Some([one]) => one.clone(),
            Some(_) | None => self.project.clone(),
        };
        let grant = self.shared.allowed(&grant, &project, Scope::Read).await.map_err(turned)?;
        let (served, variant) = (self.served.clone(), PyGent(wrapping).variant());
        Ok(Coming { served, variant, project, grant, places: None, filter: Filter::default(), resumes: None })
    }
}
