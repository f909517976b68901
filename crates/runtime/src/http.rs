//! HTTP as every listener of a service speaks it: the accept loop, connections that are waited for, and what stands
//! around the routes of all services (guard, header limits, problems, `/openapi.json`).
//!
//! The loop is our own because upgraded sockets and the shutdown sequence need what `axum::serve` hides: the stream
//! behind an upgrade, a closed listener while connections live on, and a count of what is left. HTTP/1.1 and HTTP/2 (by
//! ALPN, or with prior knowledge) are served; extended CONNECT stays off. Limits on bodies are the services'.

use std::net::SocketAddr;
use std::sync::Arc;

use axum::Router;
use axum::middleware::{from_fn, from_fn_with_state};
use axum::routing::get;
use utoipa::openapi::security::{HttpAuthScheme, HttpBuilder, SecurityRequirement, SecurityScheme};

use self::guard::Guard;
use crate::service::Service;

pub mod admission;
mod bind;
mod buckets;
pub mod client;
pub mod entry;
pub mod guard;
mod headers;
mod idleness;
mod patience;
pub mod problem;
mod proxy_protocol;
mod requests;
pub mod rights;
mod serve;
mod shares;
mod socket;
mod stream;
pub mod tls;
pub mod upgraded;

pub use bind::{BindError, Listener};
pub use client::ClientAddress;
pub use serve::{Server, ServerMetrics, StartError};

/// The address at the other end of the request's socket: the client's, or that of a proxy. Every request carries it as an
/// extension. [`ClientAddress`] is the one for logs and limits.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Peer(pub SocketAddr);

/// When the request's socket was accepted, before any handshake. The first request of a connection carries it as an extension.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Accepted(pub tokio::time::Instant);

/// Lets a request's connection end behind what is open on it. Every request carries it as an extension.
#[derive(Debug, Clone)]
pub struct Parting(tokio_util::sync::CancellationToken);

impl Parting {
    /// The connection takes no further request: over HTTP/1.1 it closes behind this answer, over HTTP/2 the client is told
    /// to open another one, and what it has open goes on.
    pub fn part(&self) {
        self.0.cancel();
    }
}

/// The routes of all `services` as one application for this machine alone: as [`app_behind`] with [`Guard::Open`].
///
/// # Panics
///
/// As [`app_behind`].
pub fn app(services: &[Arc<dyn Service>]) -> Router {
    app_behind(services, Guard::Open)
}

/// The routes of all `services` as one application: merged, described at `/openapi.json`, guarded, with problem bodies
/// for whatever no route answers.
///
/// # Panics
///
/// When two services answer the same path and method, or name the same path's parameters differently.
pub fn app_behind(services: &[Arc<dyn Service>], guard: Guard) -> Router {
    let closed = matches!(guard, Guard::Closed(_));
    let document: Arc<str> = openapi(services, closed).to_json().expect("a document of strings is JSON").into();
    let mut routes = Router::new().route(
        "/openapi.json",
        get(move || std::future::ready(([(http::header::CONTENT_TYPE, "application/json")], document.to_string()))),
    );
    for service in services {
        routes = routes.merge(service.router());
    }
    around(routes, guard)
}

/// What stands around any set of routes, from the inside out: problems for unknown routes and methods, the word to
/// connections that were refused, the guard, the limits on header fields, a problem in place of a panic, and the clock.
pub(crate) fn around(routes: Router, guard: Guard) -> Router {
    routes
        .fallback(problem::no_route)
        .method_not_allowed_fallback(problem::no_method)
        .layer(from_fn(admission::told))
        .layer(from_fn_with_state(Arc::new(guard), guard::guarded))
        .layer(from_fn(headers::limited))
        .layer(from_fn(problem::in_place_of_panics))
        .layer(from_fn(requests::timed))
}

/// One OpenAPI 3.1 document for all `services`. Where they are `closed`, they ask for credentials.
pub fn openapi(services: &[Arc<dyn Service>], closed: bool) -> utoipa::openapi::OpenApi {
    let mut info = utoipa::openapi::Info::new("Tidings", env!("CARGO_PKG_VERSION"));
    info.description = Some("Watch swarms of AI agents live: events in, streams out.".into());
    let mut license = utoipa::openapi::License::new("Apache-2.0");
    license.identifier = Some("Apache-2.0".into());
    info.license = Some(license);
    let mut document = utoipa::openapi::OpenApi::new(info, utoipa::openapi::Paths::new());
    for service in services {
        document.merge(service.openapi());
    }
    if closed {
        let bearer =
            HttpBuilder::new().scheme(HttpAuthScheme::Bearer).description(Some("A token (JWT) or an API key."));
        let components = document.components.get_or_insert_default();
        components.add_security_scheme("bearer", SecurityScheme::Http(bearer.build()));
        document.security = Some(vec![SecurityRequirement::new("bearer", std::iter::empty::<String>())]);
    }
    document
}

#[cfg(test)]
mod tests;
