//! Socket.IO at `/socket.io/`, for the dialect that is spoken over it: handshakes, and what is refused.

mod face;
mod polling;
mod record;
mod taking;
mod who;

use std::sync::Arc;

use axum::Json;
use axum::extract::{Query, Request, State};
use axum::response::{IntoResponse as _, Response};
use http::request::Parts as Head;
use http::{Extensions, Method, StatusCode};
use serde::Deserialize;
use serde_json::json;
use tidings_dialects::engine_io::VERSION;
use tidings_dialects::engine_io::session::Transport;
use tidings_dialects::pygent::Wrapping;
use tidings_log::wake::Wake;
use tidings_protocol::grant::Holder;
use tidings_ws::handshake::{Handshake, HandshakeError, Terms};

use super::coming::registered;
use super::pygent::Factory;
use super::{Coming, accept};
use crate::limits::Caller;
use crate::ws::connection::{Connection, Face};
use crate::ws::{parts, refused, upgrade};

use face::{Joining, SocketIo};
use polling::Poller;
use record::Owner;
use taking::Taking;

/// Longest name of a session, in bytes: ours are shorter.
const SID_BYTES_MAX: usize = 64;

/// What a request says in its query.
#[derive(Debug, Deserialize)]
pub(super) struct Asked {
    #[serde(rename = "EIO", default)]
    version: String,
    #[serde(default)]
    transport: String,
    sid: Option<String>,
}

/// Why a request is refused, in the numbers of Engine.IO.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum No {
    Transport,
    Session,
    Method,
    Request,
    Forbidden,
    Version,
    /// It asks, or has, too much.
    TooMuch,
    /// The store is away.
    Store,
}

impl No {
    fn response(self) -> Response {
        let (status, code, message) = match self {
            No::Transport => (StatusCode::BAD_REQUEST, 0, "Transport unknown"),
            No::Session => (StatusCode::BAD_REQUEST, 1, "Session ID unknown"),
            No::Method => (StatusCode::BAD_REQUEST, 2, "Bad handshake method"),
            No::Request => (StatusCode::BAD_REQUEST, 3, "Bad request"),
            No::Forbidden => (StatusCode::FORBIDDEN, 4, "Forbidden"),
            No::Version => (StatusCode::BAD_REQUEST, 5, "Unsupported protocol version"),
            No::TooMuch => (StatusCode::TOO_MANY_REQUESTS, 4, "Too many requests"),
            No::Store => (StatusCode::SERVICE_UNAVAILABLE, 3, "The store does not answer"),
        };
        (status, Json(json!({ "code": code, "message": message }))).into_response()
    }
}

/// Every request to `/socket.io/`.
pub(super) async fn serve(
    State(factory): State<Arc<Factory>>,
    Query(asked): Query<Asked>,
    request: Request,
) -> Response {
    if asked.version != VERSION {
        return No::Version.response();
    }
    match (asked.transport.as_str(), asked.sid) {
        ("websocket", None) if request.method() == Method::GET => websocket(&factory, request).await,
        ("websocket", Some(sid)) if request.method() == Method::GET => {
            take_over(&factory, sid, request).await.unwrap_or_else(No::response)
        }
        ("websocket", _) => No::Method.response(),
        ("polling", sid) => poll(&factory, sid, request).await.unwrap_or_else(No::response),
        _ => No::Transport.response(),
    }
}

/// Who comes, if he may, and where he names a session, if that is his.
async fn comes(factory: &Factory, head: &mut Head, sid: Option<&str>) -> Result<Coming, No> {
    if sid.is_some_and(|sid| sid.len() > SID_BYTES_MAX) {
        return Err(No::Session);
    }
    // Who asks is counted before anything is looked up for him.
    let coming = factory.coming(head, Wrapping::SocketIo).await;
    let flooded = factory.served.profile.flooded;
    let mut coming = coming.map_err(|farewell| if farewell == flooded { No::TooMuch } else { No::Forbidden })?;
    let Some(sid) = sid else { return Ok(coming) };
    let (owner, transport) = record::owner(&factory.shared, sid).await?;
    if owner.anonymous && *coming.grant.holder() == Holder::Anyone {
        // Who shows nothing is who he was when the session began: nobody else knows its name.
        coming.grant = factory.anyone(&owner.viewer);
    }
    if owner != Owner::new(&coming.project, &coming.grant) {
        return Err(No::Session);
    }
    if transport == Transport::WebSocket { Err(No::Request) } else { Ok(coming) }
}

async fn poll(factory: &Arc<Factory>, sid: Option<String>, request: Request) -> Result<Response, No> {
    let (mut head, body) = request.into_parts();
    if sid.is_none() && head.method != Method::GET {
        return Err(No::Method);
    }
    let coming = comes(factory, &mut head, sid.as_deref()).await?;
    let caller = caller(&coming, &head.extensions);
    let encoding = factory.served.variant(coming.variant).ok_or(No::Request)?.clone();
    let (factory, project, grant) = (factory.clone(), coming.project, coming.grant);
    let mut poller = Poller { factory, encoding, project, grant, caller };
    match (sid, &head.method) {
        (None, _) => poller.open().await,
        (Some(sid), &Method::GET) => {
            // What waits stays open like a connection.
            let _place = poller.factory.shared.limits.open(&poller.caller).await.map_err(|_| No::TooMuch)?;
            let _open = poller.factory.served.metrics.wait();
            poller.poll(&sid).await
        }
        (Some(sid), &Method::POST) => poller.post(&sid, body).await,
        (Some(_), _) => Err(No::Method),
    }
}

/// A session that begins on a WebSocket.
async fn websocket(factory: &Arc<Factory>, request: Request) -> Response {
    let (mut head, body) = request.into_parts();
    let coming = factory.coming(&mut head, Wrapping::SocketIo).await;
    let request = Request::from_parts(head, body);
    let coming = match coming {
        Ok(coming) => coming,
        Err(farewell) => return accept(factory.shared.clone(), request, Err(farewell), &[]).await,
    };
    match handshake(&request) {
        Ok(response) => connect(factory, request, response, coming, SocketIo::new).await,
        Err(error) => refused(error),
    }
}

/// A WebSocket that is to take a session over which polls.
async fn take_over(factory: &Arc<Factory>, sid: String, request: Request) -> Result<Response, No> {
    let response = handshake(&request).map_err(|_| No::Request)?;
    let (mut head, body) = request.into_parts();
    let coming = comes(factory, &mut head, Some(&sid)).await?;
    let request = Request::from_parts(head, body);
    Ok(connect(factory, request, response, coming, move |joining| Taking::new(sid, joining)).await)
}

fn handshake(request: &Request) -> Result<Response, HandshakeError> {
    let terms = Terms { subprotocols: &[], deflate: None };
    let checked = Handshake::check(request.method(), request.version(), request.headers(), &terms);
    checked.map(Handshake::response)
}

fn caller(coming: &Coming, extensions: &Extensions) -> Caller {
    extensions.get::<Caller>().cloned().unwrap_or_else(|| Caller::of(&coming.grant, extensions))
}

/// Answers a handshake with a connection that has such a face.
async fn connect<F: Face + Send + 'static>(
    factory: &Arc<Factory>,
    mut request: Request,
    response: Response,
    coming: Coming,
    face: impl FnOnce(Joining) -> F + Send + 'static,
) -> Response {
    let caller = caller(&coming, request.extensions());
    let place = match factory.shared.limits.open(&caller).await {
        Ok(place) => place,
        Err(refused) => return refused.into_response(),
    };
    let factory = factory.clone();
    upgrade(factory.shared.clone(), &mut request, async move |shared: Arc<_>, socket, input, accepted| {
        let _place = place;
        let _open = coming.served.metrics.open();
        let wake = Arc::new(Wake::default());
        let Coming { project, grant, variant, .. } = coming;
        let registered = registered(&shared, &project, &grant, wake.clone());
        let face = face(Joining { factory, project, grant, variant, caller, wake });
        Connection::new(parts(&shared, registered, socket, input, accepted), face).await
    });
    response
}

/// A name that nobody guesses.
pub(super) fn name() -> String {
    format!("{:016x}{:016x}", rand::random::<u64>(), rand::random::<u64>())
}
