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
use tidings_ws::handshake::{Handshake, HandshakeError, Terms};

use crate::commands::Asking;
use crate::connections::Registered;
use crate::limits::Caller;
use crate::metrics::Transport;
use crate::shared::Shared;

pub(crate) mod connection;
mod native;
mod requests;
mod subscriptions;

use connection::{Connection, Parts};
use native::Native;

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
        Err(error) => return refused(error),
    };
    let place = match shared.limits.open(&caller).await {
        Ok(place) => place,
        Err(refused) => return refused.into_response(),
    };
    let deflate = handshake.deflate();
    let response = handshake.response();
    upgrade(shared, &mut request, async move |shared: Arc<Shared>, socket, input, accepted| {
        let _place = place;
        let _open = shared.metrics.open(Transport::WebSocket);
        let wake = Arc::new(Wake::default());
        let registered = shared.register(wake.clone(), grant, &[]).of_viewer();
        let ping_every = shared.settings.ping_every;
        let asking = Asking::new(shared.commands.clone(), caller);
        let native = Native::new(shared.hub.clone(), shared.presence.clone(), wake, deflate, ping_every, asking);
        let parts = Parts { deflate, ..parts(&shared, registered, socket, input, accepted) };
        Connection::new(parts, native).await
    });
    response
}

/// A handshake that is none.
pub(crate) fn refused(error: HandshakeError) -> Response {
    let code = match error.status().as_u16() {
        426 => ErrorCode::UpgradeRequired,
        _ => ErrorCode::InvalidHeader,
    };
    let mut refused = Refused::new(code, error.to_string()).into_response();
    refused.headers_mut().extend(error.headers());
    refused
}

/// Serves the socket of this request once its answer has upgraded it, as one of the gateway's connections.
pub(crate) fn upgrade<Served>(
    shared: Arc<Shared>,
    request: &mut Request,
    serve: impl FnOnce(Arc<Shared>, Socket, BytesMut, Option<Accepted>) -> Served + Send + 'static,
) where
    Served: Future<Output = std::io::Result<()>> + Send,
{
    let accepted = request.extensions().get::<Accepted>().copied();
    let upgrade = hyper::upgrade::on(request);
    let tasks = shared.connections.tasks().clone();
    tasks.spawn(async move {
        let upgraded = match upgrade.await {
            Ok(upgraded) => upgraded,
            Err(error) => {
                tracing::debug!(%error, "the upgrade did not come about");
                return;
            }
        };
        match into_socket(upgraded) {
            Ok((socket, read)) => {
                let input = BytesMut::from(&read[..]);
                // Or all of HTTP's read buffer would stay for as long as the connection does.
                drop(read);
                if let Err(error) = serve(shared, socket, input, accepted).await {
                    tracing::trace!(%error, "a viewer's socket broke");
                }
            }
            Err(error) => tracing::warn!(%error, "an upgraded connection cannot be served"),
        }
    });
}

/// What a connection without compression is made with.
pub(crate) fn parts<S>(
    shared: &Shared,
    registered: Registered,
    socket: S,
    input: BytesMut,
    accepted: Option<Accepted>,
) -> Parts<S> {
    Parts {
        socket,
        input,
        deflate: false,
        registered,
        messages: shared.limits.messages(),
        metrics: shared.metrics.clone(),
        accepted,
        traces: shared.traces.clone(),
        message_bytes_max: shared.settings.message_bytes_max,
        ping_every: shared.settings.ping_every,
        stalled_after: shared.settings.stalled_after,
    }
}
