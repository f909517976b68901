//! What a service is to the process that runs it.
//!
//! The runtime owns listeners, HTTP connections, the admin port and the shutdown sequence; a service owns its routes
//! and whatever lives longer than a request (upgraded sockets, streams, writers). The trait is the whole seam between
//! them, so the binary, `dev` mode and the tests start services in the same way, alone or several on one listener.

use futures_util::future::BoxFuture;
use prometheus::proto::MetricFamily;

/// One face of Tidings: its routes, its description, and its part in a shutdown.
///
/// A service is built before it is served: when it exists its background tasks may already run. Every task that it
/// spawns ends by itself after [`Service::drain`], and [`Service::finished`] waits for all of them.
pub trait Service: Send + Sync + 'static {
    /// The service's name, for logs and metrics: `gateway`, `ingest`.
    fn name(&self) -> &'static str;

    /// The service's routes with their state. No fallback and no guard: the runtime adds both once, around all the
    /// services of a listener ([`crate::http::app`]). Routes of services that share a listener are disjoint by path and
    /// method. Handlers find the peer as the extension [`crate::http::Peer`].
    fn router(&self) -> axum::Router;

    /// The service's HTTP routes as an OpenAPI document, generated from its code.
    fn openapi(&self) -> utoipa::openapi::OpenApi;

    /// Figures of single projects for `/metrics/projects`, of a bounded number of them and `other` for all the rest
    /// ([`crate::busiest`]). Called on the admin port's thread, once per scrape.
    fn projects(&self) -> Vec<MetricFamily> {
        Vec::new()
    }

    /// Tells everything that is open to go (viewers get `draining`, streams end after what they hold, writers flush),
    /// and resolves when all has been told. Called once, after the listener has stopped accepting; requests on
    /// connections that are already open may still arrive while and after it runs. Dropping the future may leave some
    /// untold.
    fn drain(&self) -> BoxFuture<'_, ()>;

    /// Resolves when nothing of the service runs any more. Called after [`Service::drain`]. It has no limit of its own:
    /// the caller sets one, and drops the future (and then the service) when it passes.
    fn finished(&self) -> BoxFuture<'_, ()>;

    /// How many pieces of work [`Service::finished`] still waits for; the log of a shutdown that ran out of time says
    /// it.
    fn open(&self) -> usize;
}
