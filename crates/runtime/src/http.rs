//! HTTP as every listener of a service speaks it: the accept loop, connections that are waited for, and what stands
//! around the routes of all services (guard, header limits, problems, `/openapi.json`).
//!
//! The loop is our own because upgraded sockets and the shutdown sequence need what `axum::serve` hides: the stream
//! behind an upgrade, a closed listener while connections live on, and a count of what is left. HTTP/1.1 and HTTP/2
//! with prior knowledge are served; extended CONNECT stays off. Limits on bodies are the services'.

use std::net::SocketAddr;
use std::sync::Arc;

use axum::Router;
use axum::middleware::from_fn;
use axum::routing::get;

use crate::service::Service;

mod bind;
pub mod guard;
mod headers;
mod patience;
pub mod problem;
mod serve;
mod stream;
pub mod upgraded;

pub use bind::{BindError, Listener};
pub use serve::{Server, ServerMetrics};

/// Who sent the request: the address at the other end of its socket. Every request carries it as an extension.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Peer(pub SocketAddr);

/// The routes of all `services` as one application: merged, described at `/openapi.json`, guarded, with problem bodies
/// for whatever no route answers.
///
/// # Panics
///
/// When two services answer the same path and method, or name the same path's parameters differently.
pub fn app(services: &[Arc<dyn Service>]) -> Router {
    let document: Arc<str> = openapi(services).to_json().expect("a document of strings is JSON").into();
    let mut routes = Router::new().route(
        "/openapi.json",
        get(move || std::future::ready(([(http::header::CONTENT_TYPE, "application/json")], document.to_string()))),
    );
    for service in services {
        routes = routes.merge(service.router());
    }
    around(routes)
}

/// What stands around any set of routes, from the inside out: problems for unknown routes and methods, the guard, the
/// limits on header fields, and a problem in place of a panic.
pub(crate) fn around(routes: Router) -> Router {
    routes
        .fallback(problem::no_route)
        .method_not_allowed_fallback(problem::no_method)
        .layer(from_fn(guard::loopback_only))
        .layer(from_fn(headers::limited))
        .layer(from_fn(problem::in_place_of_panics))
}

/// One OpenAPI 3.1 document for all `services`.
pub fn openapi(services: &[Arc<dyn Service>]) -> utoipa::openapi::OpenApi {
    let mut info = utoipa::openapi::Info::new("Tidings", env!("CARGO_PKG_VERSION"));
    info.description = Some("Watch swarms of AI agents live: events in, streams out.".into());
    let mut license = utoipa::openapi::License::new("Apache-2.0");
    license.identifier = Some("Apache-2.0".into());
    info.license = Some(license);
    let mut document = utoipa::openapi::OpenApi::new(info, utoipa::openapi::Paths::new());
    for service in services {
        document.merge(service.openapi());
    }
    document
}

#[cfg(test)]
mod tests;
