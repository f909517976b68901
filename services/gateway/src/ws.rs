//! `GET /v1/ws`: the native WebSocket protocol.

use std::sync::Arc;

use axum::Extension;
use axum::extract::{Request, State};
use axum::response::{IntoResponse, Response};
use bytes::BytesMut;
use tidings_log::wake::Wake;
use tidings_protocol::codes::ErrorCode;
use tidings_protocol::frames::SUBPROTOCOL;
use tidings_protocol::grant::Grant;
use tidings_runtime::http::Accepted;
use tidings_runtime::http::problem::Refused;
use tidings_runtime::http::upgraded::{Socket, into_socket};
use tidings_ws::deflate::WindowBits;
use tidings_ws::handshake::{Handshake, Terms};

use crate::limits::Caller;
use crate::metrics::Transport;
use crate::shared::Shared;

mod connection;
mod requests;
mod subscriptions;

use connection::{Connection, Parts};

/// Open a WebSocket
///
/// The native protocol `tidings.v1`; docs/protocol.md has its frames. Offer the subprotocol `tidings.v1`, or none. Where no
/// header can be set, a second subprotocol `tidings.token.` with the credential behind it says who connects; it is never
/// chosen. Each subscription needs `read` in its project.
#[utoipa::path(
    get,
    path = "/v1/ws",
    tag = "gateway",
    responses(
        (status = 101, description = "The connection speaks WebSocket from here on"),
        (status = 400, description = "The handshake is malformed", body = crate::openapi::Problem, content_type = "application/problem+json"),
        (status = 401, description = "There is no credential, or none that is good", body = crate::openapi::Problem, content_type = "application/problem+json"),
        (status = 429, description = "The user has too many connections, or asks too often: come back after `Retry-After`", body = crate::openapi::Problem, content_type = "application/problem+json"),
        (status = 426, description = "Not a WebSocket handshake", body = crate::openapi::Problem, content_type = "application/problem+json"),
    )
)]
pub(crate) async fn open(
    State(shared): State<Arc<Shared>>,
    Extension(grant): Extension<Grant>,
    Extension(caller): Extension<Caller>,
    mut request: Request,
) -> Response {
    let terms = Terms { subprotocols: &[SUBPROTOCOL], deflate: Some(WindowBits::MAX) };
    let handshake = match Handshake::check(request.method(), request.version(), request.headers(), &terms) {
        Ok(handshake) => handshake,
        Err(error) => {
            let code = match error.status().as_u16() {
                426 => ErrorCode::UpgradeRequired,
                _ => ErrorCode::InvalidHeader,
            };
            let mut refused = Refused::new(code, error.to_string()).into_response();
            refused.headers_mut().extend(error.headers());
            return refused;
        }
    };
    let place = match shared.limits.open(&caller).await {
        Ok(place) => place,
        Err(refused) => return refused.into_response(),
    };
    let deflate = handshake.deflate();
    let accepted = request.extensions().get::<Accepted>().copied();
    let upgrade = hyper::upgrade::on(&mut request);
    let tasks = shared.connections.tasks().clone();
    tasks.spawn(async move {
        let _place = place;
        let upgraded = match upgrade.await {
            Ok(upgraded) => upgraded,
            Err(error) => {
                tracing::debug!(%error, "the upgrade did not come about");
                return;
            }
        };
        match into_socket(upgraded) {
            Ok((socket, input)) => {
                serve(shared, grant, accepted, socket, BytesMut::from(&input[..]), deflate).await;
            }
            Err(error) => tracing::warn!(%error, "an upgraded connection cannot be served"),
        }
    });
    handshake.response()
}

async fn serve(
    shared: Arc<Shared>,
    grant: Grant,
    accepted: Option<Accepted>,
    socket: Socket,
    input: BytesMut,
    deflate: bool,
) {
    let _open = shared.metrics.open(Transport::WebSocket);
    let registered = shared.register(Arc::new(Wake::default()), grant, &[]);
    let parts = Parts {
        socket,
        input,
        deflate,
        hub: shared.hub.clone(),
        traces: shared.traces.clone(),
        presence: shared.presence.clone(),
        registered,
        messages: shared.limits.messages(),
        metrics: shared.metrics.clone(),
        accepted,
        message_bytes_max: shared.settings.message_bytes_max,
        ping_every: shared.settings.ping_every,
        stalled_after: shared.settings.stalled_after,
    };
    if let Err(error) = Connection::new(parts).await {
        tracing::trace!(%error, "a viewer's socket broke");
    }
}
