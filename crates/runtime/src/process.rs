//! A process that serves: everything between a checked configuration with built services and an exit code, in the order
//! in which it starts and stops.

use std::sync::Arc;

use prometheus::Registry;
use tidings_broker::Broker;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

use crate::admin::{Admin, Heartbeat, ProjectFigures, Subject};
use crate::drain::{DrainTimes, Drained, Outcome, drain};
use crate::http::entry::EntrySettings;
use crate::http::guard::Guard;
use crate::http::{Listener, Server, ServerMetrics, StartError, app_behind};
use crate::readiness::{self, Readiness, SERVING};
use crate::service::Service;

/// What a process serves, and on what. Both listeners are bound already, so that no port is missing when the first
/// answers.
pub struct Process {
    /// For the services.
    pub listener: Listener,
    /// How connections come in to them, and who may ask.
    pub entry: EntrySettings,
    /// For the admin port.
    pub admin: Listener,
    /// Who may ask there.
    pub admin_guard: Guard,
    /// One or several, on one listener.
    pub services: Vec<Arc<dyn Service>>,
    /// The store that readiness follows.
    pub broker: Arc<dyn Broker>,
    /// Where the services have registered their metrics; the runtime's join them.
    pub registry: Registry,
    /// How a shutdown goes.
    pub drain: DrainTimes,
}

/// Why a process did not serve.
#[derive(Debug, thiserror::Error)]
pub enum ServeError {
    /// A socket could not be watched, or a thread not be started.
    #[error("cannot serve: {0}")]
    Io(#[from] std::io::Error),
    /// The listener cannot be served.
    #[error("cannot serve: {0}")]
    Start(#[from] StartError),
    /// Two metrics share a name.
    #[error("cannot register metrics: {0}")]
    Metrics(#[from] prometheus::Error),
}

impl Process {
    /// Serves until `stop` resolves, then shuts down; `force` ends a shutdown that waits. When it returns, nothing of the
    /// process runs any more but what the outcome says was cut.
    pub async fn serve(
        self,
        stop: impl Future<Output = ()>,
        force: impl Future<Output = ()>,
    ) -> Result<Outcome, ServeError> {
        let readiness = Readiness::default();
        let heartbeat = Heartbeat::new();
        let background = CancellationToken::new();
        let tasks = TaskTracker::new();
        let metrics = ServerMetrics::register(&self.registry)?;
        crate::vitals::register(&self.registry, readiness.clone())?;
        readiness.set(SERVING, false, "starting");
        // Every condition is there before the admin port answers, so that it never says ready too early.
        tasks.spawn(heartbeat.clone().keep(background.clone()));
        tasks.spawn(readiness::follow(self.broker, readiness.clone(), background.clone()));
        tasks.close();
        // Bound to the function's end: it answers until the shutdown is over.
        let subject = Subject {
            heartbeat,
            readiness: readiness.clone(),
            registry: self.registry,
            projects: ProjectFigures::of(&self.services),
        };
        let _admin = Admin::start(self.admin, subject, self.admin_guard)?;
        metrics.expect_routes(&self.services);
        let app = app_behind(&self.services, self.entry.guard.clone());
        let server = Server::start_with(self.listener, app, metrics, self.entry)?;
        readiness.set(SERVING, true, "");
        tracing::info!(address = %server.address(), services = names(&self.services), "serving");
        stop.await;
        let what =
            Drained { readiness: &readiness, server: &server, services: &self.services, background: &background };
        let outcome = drain(what, self.drain, force).await;
        tasks.wait().await;
        Ok(outcome)
    }
}

fn names(services: &[Arc<dyn Service>]) -> String {
    services.iter().map(|service| service.name()).collect::<Vec<_>>().join(",")
}
