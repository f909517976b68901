//! Socket.IO at `/socket.io/`, for the dialect that is spoken over it: handshakes, and what is refused.

mod face;
mod polling;

use std::sync::Arc;

use axum::Json;
use axum::extract::{Query, Request, State};
use axum::response::{IntoResponse as _, Response};
use http::{Method, StatusCode};
use serde::Deserialize;
use serde_json::json;
use tidings_dialects::engine_io::VERSION;
use tidings_dialects::pygent::Wrapping;
use tidings_log::wake::Wake;
use tidings_protocol::grant::Holder;
use tidings_ws::handshake::{Handshake, Terms};

use super::accept;
use super::coming::speaker;
use super::pygent::Factory;
use crate::limits::Caller;
use crate::ws::connection::Connection;
use crate::ws::{parts, refused, upgrade};

use face::SocketIo;
use polling::{Owner, Poller};

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
        ("websocket", None) => No::Method.response(),
        // Sessions that poll are not taken over; none was offered it.
        ("websocket", Some(_)) => No::Request.response(),
        ("polling", sid) => poll(&factory, sid, request).await.unwrap_or_else(No::response),
        _ => No::Transport.response(),
    }
}

async fn poll(factory: &Factory, sid: Option<String>, request: Request) -> Result<Response, No> {
    let (mut head, body) = request.into_parts();
    let sid = match sid {
        None if head.method != Method::GET => return Err(No::Method),
        Some(sid) if sid.len() > SID_BYTES_MAX => return Err(No::Session),
        sid => sid,
    };
    // Who asks is counted before anything is looked up for him.
    let mut coming = factory
        .coming(&mut head, Wrapping::SocketIo)
        .await
        .map_err(|farewell| if farewell == factory.served.profile.flooded { No::TooMuch } else { No::Forbidden })?;
    if let Some(sid) = &sid {
        let owner = polling::owner(factory, sid).await?;
        if owner.anonymous && *coming.grant.holder() == Holder::Anyone {
            // Who shows nothing is who he was when the session began: nobody else knows its name.
            coming.grant = factory.anyone(&owner.viewer);
        }
        if owner != Owner::new(&coming.project, &coming.grant) {
            return Err(No::Session);
        }
    }
    let encoding = factory.served.variant(coming.variant).ok_or(No::Request)?.clone();
    let caller = head.extensions.get::<Caller>().cloned();
    let caller = caller.unwrap_or_else(|| Caller::of(&coming.grant, &head.extensions));
    let (shared, project, grant) = (factory.shared.clone(), coming.project, coming.grant);
    let poller = Poller { shared, encoding, project, grant, caller };
    match (sid, &head.method) {
        (None, _) => poller.open().await,
        (Some(sid), &Method::GET) => {
            // What waits stays open like a connection.
            let _place = factory.shared.limits.open(&poller.caller).await.map_err(|_| No::TooMuch)?;
            poller.poll(&sid).await
        }
        (Some(sid), &Method::POST) => poller.post(&sid, body).await,
        (Some(_), _) => Err(No::Method),
    }
}

async fn websocket(factory: &Factory, request: Request) -> Response {
    let (mut head, body) = request.into_parts();
    let coming = factory.coming(&mut head, Wrapping::SocketIo).await;
    let mut request = Request::from_parts(head, body);
    let coming = match coming {
        Ok(coming) => coming,
        Err(farewell) => return accept(factory.shared.clone(), request, Err(farewell), &[]).await,
    };
    let terms = Terms { subprotocols: &[], deflate: None };
    let response = match Handshake::check(request.method(), request.version(), request.headers(), &terms) {
        Ok(handshake) => handshake.response(),
        Err(error) => return refused(error),
    };
    let caller = request.extensions().get::<Caller>().cloned();
    let caller = caller.unwrap_or_else(|| Caller::of(&coming.grant, request.extensions()));
    let place = match factory.shared.limits.open(&caller).await {
        Ok(place) => place,
        Err(refused) => return refused.into_response(),
    };
    upgrade(factory.shared.clone(), &mut request, async move |shared: Arc<_>, socket, input, accepted| {
        let _place = place;
        let _open = coming.served.metrics.open();
        let wake = Arc::new(Wake::default());
        let registered = shared.register(wake.clone(), coming.grant.clone(), &[&coming.project]);
        let face = SocketIo::new(speaker(&shared, coming, caller, wake));
        Connection::new(parts(&shared, registered, socket, input, accepted), face).await
    });
    response
}

/// A name that nobody guesses.
pub(super) fn name() -> String {
    format!("{:016x}{:016x}", rand::random::<u64>(), rand::random::<u64>())
}
