//! AgentCraft's REST routes: how things stand, for who asks without a socket, and a word to everybody. What the answers look
//! like is `tidings_dialects::agentcraft::rest`'s; refusals have the original's shape and this gateway's statuses.

use std::sync::Arc;
use std::time::Duration;

use axum::Router;
use axum::body::{Body, to_bytes};
use axum::extract::rejection::PathRejection;
use axum::extract::{Path, Request, State};
use axum::response::{IntoResponse, Response};
use axum::routing::{any, get, post};
use http::header::CONTENT_TYPE;
use http::request::Parts;
use http::{HeaderValue, Method, Uri, header};
use serde_json::Value;
use tidings_dialects::View;
use tidings_dialects::agentcraft::rest;
use tidings_protocol::codes::ErrorCode;
use tidings_protocol::echo;
use tidings_protocol::grant::Scope;
use tidings_protocol::limits::DATA_BYTES_MAX;
use tidings_protocol::position::Position;
use tidings_protocol::project::Project;
use tidings_runtime::http::problem::Refused;

use super::super::asker::Turned;
use super::super::now_ms;
use super::Tracking;
use super::broadcast::to_everybody;
use crate::http::params;
use crate::http::state::json;

/// How long a body may take to arrive.
const BODY_TIME_MAX: Duration = Duration::from_secs(30);

/// Who asks without a credential.
const ASKER: &str = "agentcraft";

/// The routes.
pub(super) fn routes() -> Router<Arc<Tracking>> {
    Router::new()
        .route("/api/ws/stats", get(stats))
        .route("/api/ws/sessions/{session_id}/logs", get(logs))
        .route("/api/ws/sessions/{session_id}/state", get(state))
        .route("/api/ws/broadcast", post(broadcast))
        .route("/api/ws/{*path}", any(no_route))
        .route("/api/efficiency/health-check", get(health))
}

/// A refusal in the original's shape.
pub(super) struct Turn(Refused);

impl From<Refused> for Turn {
    fn from(refused: Refused) -> Turn {
        Turn(refused)
    }
}

impl From<Turned> for Turn {
    fn from(turned: Turned) -> Turn {
        match turned {
            Turned::Refused(refusal) => Turn(refusal.into()),
            Turned::TooOften(refused) => Turn(refused),
        }
    }
}

impl IntoResponse for Turn {
    fn into_response(self) -> Response {
        let problem = self.0.problem();
        let body = rest::error(problem.status, &problem.code, &problem.detail, now_ms());
        let mut response = self.0.into_response();
        *response.body_mut() = Body::from(body);
        response.headers_mut().insert(CONTENT_TYPE, HeaderValue::from_static("application/json"));
        response.headers_mut().remove(header::CONTENT_LENGTH);
        response
    }
}

/// The answer to a path below `/api/ws` that the system does not have.
async fn no_route(uri: Uri) -> Turn {
    Refused::new(ErrorCode::NotFound, format!("there is nothing at {}", echo::text(uri.path()))).into()
}

/// The answer to a method that a path does not have; `Allow` is added by the router.
pub(super) async fn no_method(method: Method, uri: Uri) -> Turn {
    let detail = format!("{} does not take {}", echo::text(uri.path()), echo::text(method.as_str()));
    Refused::new(ErrorCode::MethodNotAllowed, detail).into()
}

/// The session of a path.
fn named(session: Result<Path<String>, PathRejection>) -> Result<String, Turn> {
    let wrong = |_| Refused::new(ErrorCode::InvalidUtf8, "the path is not UTF-8").into();
    session.map(|Path(session)| session).map_err(wrong)
}

async fn stats(State(tracking): State<Arc<Tracking>>, request: Request) -> Result<Response, Turn> {
    let project = tracking.asked(&mut request.into_parts().0, Scope::Read).await?;
    let stats = tracking.figures.of(&tracking.shared, &project).await?;
    tracking.answer(&project, |view| rest::stats(&stats, view)).await
}

async fn logs(
    State(tracking): State<Arc<Tracking>>,
    session: Result<Path<String>, PathRejection>,
    request: Request,
) -> Result<Response, Turn> {
    let project = tracking.asked(&mut request.into_parts().0, Scope::Read).await?;
    let session = named(session)?;
    tracking.answer(&project, |view| rest::logs(tracking.frames, view, &session)).await
}

async fn state(
    State(tracking): State<Arc<Tracking>>,
    session: Result<Path<String>, PathRejection>,
    request: Request,
) -> Result<Response, Turn> {
    let project = tracking.asked(&mut request.into_parts().0, Scope::Read).await?;
    let session = named(session)?;
    tracking.answer(&project, |view| rest::state(view, &session)).await
}

/// Healthy: the store answers now. What is known of sessions is told in any case.
async fn health(State(tracking): State<Arc<Tracking>>, request: Request) -> Result<Response, Turn> {
    let project = tracking.asked(&mut request.into_parts().0, Scope::Read).await?;
    let is_healthy = !tracking.shared.connections.is_degraded();
    if let Ok(answer) = tracking.answer(&project, |view| rest::health(is_healthy, view)).await {
        return Ok(answer);
    }
    let nothing = View { project: &project, position: Position::ZERO, state: &Value::Null, now_ms: now_ms() };
    Ok(json(rest::health(false, &nothing)))
}

/// Tells every client of the project, on all gateways, what the body says: as an event in its log.
async fn broadcast(State(tracking): State<Arc<Tracking>>, request: Request) -> Result<Response, Turn> {
    let (mut parts, body) = request.into_parts();
    let project = tracking.asked(&mut parts, Scope::Admin).await?;
    let body = tokio::time::timeout(BODY_TIME_MAX, to_bytes(body, DATA_BYTES_MAX)).await;
    let late = || Refused::new(ErrorCode::RequestTimeout, "the body took too long");
    let large = || Refused::new(ErrorCode::RequestTooLarge, format!("a broadcast has at most {DATA_BYTES_MAX} bytes"));
    let body = body.map_err(|_| late())?.map_err(|_| large())?;
    to_everybody(&tracking.shared, &project, &body).await?;
    Ok(json(rest::broadcast_sent()))
}

impl Tracking {
    /// Which project a request is about, if it may ask this there.
    async fn asked(&self, parts: &mut Parts, scope: Scope) -> Result<Project, Turned> {
        Ok(self.admitted(ASKER, parts, scope).await?.0)
    }

    /// What is said by the project's present state.
    async fn answer(&self, project: &Project, say: impl FnOnce(&View<'_>) -> String) -> Result<Response, Turn> {
        let topic = self.shared.topic(project)?;
        let snapshot = params::within(topic.shared_snapshot()).await?;
        let view = View { project, position: snapshot.position, state: snapshot.value(), now_ms: now_ms() };
        Ok(json(say(&view)))
    }
}
