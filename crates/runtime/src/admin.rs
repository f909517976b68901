//! The admin port: `/livez`, `/readyz`, `/metrics` and `/metrics/projects`, on a thread and runtime of their own, so that a main runtime that
//! is busy or stuck cannot silence them.
//!
//! Liveness follows a heartbeat that the main runtime must touch; a runtime that is stuck is not alive, and whoever
//! watches may restart it. Readiness is [`crate::readiness`]'s. It asks nobody for a credential: a guard like the services'
//! stands before it, and the rest is for the network that it is on.

use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Weak};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use axum::extract::State;
use axum::response::{IntoResponse, Response};
use axum::routing::get;
use axum::{Json, Router};
use http::{StatusCode, header};
use prometheus::proto::MetricFamily;
use prometheus::{Encoder, Registry, TextEncoder};
use tokio_util::sync::CancellationToken;

use crate::http::guard::Guard;
use crate::http::{Listener, Server, ServerMetrics, around};
use crate::readiness::Readiness;
use crate::service::Service;

/// How often the main runtime touches the heartbeat.
const BEAT_EVERY: Duration = Duration::from_secs(1);

/// How old a heartbeat may be. Longer than any pause that a loaded machine explains.
const BEAT_AGE_MAX: Duration = Duration::from_secs(30);

/// How long the admin port lives on once it was told to stop: for a scrape that is on its way.
const STOP_WITHIN: Duration = Duration::from_secs(1);

/// When the main runtime last ran a task. Cheap to clone; all clones are one.
#[derive(Debug, Clone)]
pub struct Heartbeat {
    start: Instant,
    last_ms: Arc<AtomicU64>,
}

impl Heartbeat {
    /// A heartbeat that beats now.
    pub fn new() -> Heartbeat {
        Heartbeat { start: Instant::now(), last_ms: Arc::new(AtomicU64::new(0)) }
    }

    /// Beats now.
    pub fn touch(&self) {
        self.last_ms.store(self.now_ms(), Ordering::Relaxed);
    }

    /// Beats every second on the runtime that this runs on, until `stop`.
    pub async fn keep(self, stop: CancellationToken) {
        let mut ticks = tokio::time::interval(BEAT_EVERY);
        while stop.run_until_cancelled(ticks.tick()).await.is_some() {
            self.touch();
        }
    }

    /// How long ago it last beat.
    pub fn age(&self) -> Duration {
        Duration::from_millis(self.now_ms().saturating_sub(self.last_ms.load(Ordering::Relaxed)))
    }

    fn now_ms(&self) -> u64 {
        u64::try_from(self.start.elapsed().as_millis()).unwrap_or(u64::MAX)
    }
}

impl Default for Heartbeat {
    fn default() -> Heartbeat {
        Heartbeat::new()
    }
}

/// What the admin port tells about.
#[derive(Debug, Clone)]
pub struct Subject {
    /// Of the main runtime.
    pub heartbeat: Heartbeat,
    /// Of the process.
    pub readiness: Readiness,
    /// Everything that is registered here is at `/metrics`.
    pub registry: Registry,
    /// What is at `/metrics/projects`.
    pub projects: ProjectFigures,
}

/// Figures of single projects, asked of services when somebody wants them. Cheap to clone. The default has none.
#[derive(Clone, Default)]
pub struct ProjectFigures(Vec<Weak<dyn Service>>);

impl ProjectFigures {
    /// Those of `services`, for as long as they are there.
    pub fn of(services: &[Arc<dyn Service>]) -> ProjectFigures {
        ProjectFigures(services.iter().map(Arc::downgrade).collect())
    }

    fn gather(&self) -> Vec<MetricFamily> {
        let families = self.0.iter().filter_map(Weak::upgrade).flat_map(|service| service.projects());
        families.filter(|family| !family.get_metric().is_empty()).collect()
    }
}

impl std::fmt::Debug for ProjectFigures {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_tuple("ProjectFigures").field(&self.0.len()).finish()
    }
}

/// The running admin port. Dropping it stops the port and waits for its thread.
#[derive(Debug)]
pub struct Admin {
    stop: CancellationToken,
    thread: Option<JoinHandle<()>>,
}

impl Admin {
    /// Serves `subject` to whom `guard` lets in, on `listener`, from a thread of its own. On a loopback address only this
    /// machine is let in, whatever `guard` says. Fails where the machine has no thread left.
    pub fn start(listener: Listener, subject: Subject, guard: Guard) -> std::io::Result<Admin> {
        let guard = if listener.address().ip().is_loopback() { Guard::Open } else { guard };
        let stop = CancellationToken::new();
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
        let stopped = stop.clone();
        let thread = std::thread::Builder::new().name("admin".into()).spawn(move || {
            if let Err(error) = runtime.block_on(serve(listener, routes(subject, guard), stopped)) {
                tracing::error!(%error, "the admin port is not served");
            }
        })?;
        Ok(Admin { stop, thread: Some(thread) })
    }
}

impl Drop for Admin {
    fn drop(&mut self) {
        self.stop.cancel();
        if let Some(thread) = self.thread.take()
            && thread.join().is_err()
        {
            tracing::error!("the admin thread panicked");
        }
    }
}

async fn serve(listener: Listener, routes: Router, stop: CancellationToken) -> std::io::Result<()> {
    // Its own connections are not worth counting: they would be the scrapes themselves.
    let metrics = ServerMetrics::register(&Registry::new()).map_err(std::io::Error::other)?;
    let server = Server::start(listener, routes, metrics).map_err(std::io::Error::other)?;
    stop.cancelled().await;
    server.stop_accepting().await;
    server.finish_connections();
    if tokio::time::timeout(STOP_WITHIN, server.finished()).await.is_err() {
        tracing::debug!(open = server.open(), "admin connections were cut");
    }
    Ok(())
}

fn routes(subject: Subject, guard: Guard) -> Router {
    let routes = Router::new()
        .route("/livez", get(live))
        .route("/readyz", get(ready))
        .route("/metrics", get(metrics))
        .route("/metrics/projects", get(projects))
        .with_state(subject);
    around(routes, guard)
}

fn status(good: bool) -> StatusCode {
    if good { StatusCode::OK } else { StatusCode::SERVICE_UNAVAILABLE }
}

async fn live(State(subject): State<Subject>) -> impl IntoResponse {
    let age = subject.heartbeat.age();
    let alive = age <= BEAT_AGE_MAX;
    (
        status(alive),
        Json(
            serde_json::json!({ "alive": alive, "heartbeat_age_ms": u64::try_from(age.as_millis()).unwrap_or(u64::MAX) }),
        ),
    )
}

async fn ready(State(subject): State<Subject>) -> impl IntoResponse {
    let report = subject.readiness.report();
    (status(report.ready), Json(report))
}

async fn metrics(State(subject): State<Subject>) -> Response {
    encoded(&subject.registry.gather())
}

async fn projects(State(subject): State<Subject>) -> Response {
    encoded(&subject.projects.gather())
}

fn encoded(families: &[MetricFamily]) -> Response {
    let encoder = TextEncoder::new();
    let mut text = Vec::new();
    match encoder.encode(families, &mut text) {
        Ok(()) => ([(header::CONTENT_TYPE, encoder.format_type().to_owned())], text).into_response(),
        Err(error) => {
            tracing::error!(%error, "metrics cannot be encoded");
            StatusCode::INTERNAL_SERVER_ERROR.into_response()
        }
    }
}

#[cfg(test)]
mod tests;
