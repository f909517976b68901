//! The write side of Tidings: takes agent events over HTTP, validates them, and appends them to their project's log.
//!
//! Stateless: everything that outlives a request is in the store. HTTP is here; numbers, group commit and unknown outcomes
//! are `tidings_log::writer`'s, the rules of events `tidings_protocol::intake`'s.

mod admin;
mod answer;
mod append;
mod body;
mod clock;
mod commands;
mod delete;
mod describe;
mod facts;
mod hooks;
mod lines;
mod metrics;
mod projects;
mod publish;
mod rates;
mod redaction;
mod runners;
mod stream;
mod tenants;
mod traced;
mod unpack;
mod webhooks;
mod windows;

use std::sync::Arc;
use std::time::Duration;

use axum::middleware::{from_fn, from_fn_with_state};
use futures_util::FutureExt as _;
use futures_util::future::BoxFuture;
use prometheus::Registry;
use tidings_broker::Broker;
use tidings_commands::counter::Counter;
use tidings_commands::metrics::WorkMetrics;
use tidings_commands::owners::Owners;
use tidings_commands::sweeper::Sweeper;
use tidings_log::janitor::{self, Activity, Janitor};
use tidings_log::writer::budget::Budget;
use tidings_log::writer::{self, Writers};
use tidings_protocol::grant::Scope;
use tidings_protocol::limits::EventLimits;
use tidings_runtime::config::Config;
use tidings_runtime::http::rights::{self, Rights};
use tidings_runtime::service::Service;
use tidings_runtime::telemetry::traces::Traces;
use tokio::sync::watch;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;
use utoipa_axum::router::OpenApiRouter;
use utoipa_axum::routes;

use tidings_registry::SettingsReader;
use tidings_webhooks::addresses::Addresses;
use windows::Windows;

pub use answer::{EventResult, EventStatus, Published};

/// The ingest service: its routes, the writers behind them, and the janitor of the logs that it writes.
pub struct Ingest {
    inner: Arc<Inner>,
}

/// Why an ingest does not start.
#[derive(Debug, thiserror::Error)]
pub enum StartError {
    /// Metrics of these names are there already.
    #[error(transparent)]
    Metrics(#[from] prometheus::Error),
    /// The file that declares settings is faulty: all that is wrong with it.
    #[error("the file of declared settings: {0}")]
    Declared(String),
}

/// What handlers share.
pub(crate) struct Inner {
    limits: EventLimits,
    deadline: Duration,
    /// Bodies and lines in work, answers that wait, and what waits to be written.
    budget: Arc<Budget>,
    windows: Windows,
    /// What events may weigh that are to be written together.
    weight_max: usize,
    writers: Writers,
    /// Who may do what.
    rights: Rights,
    /// The store.
    broker: Arc<dyn Broker>,
    /// Keys, members and settings as they are stored.
    registry: Arc<dyn tidings_broker::registry::Registry>,
    /// Where runners take commands.
    counter: Counter,
    /// What is set for commands.
    commands: commands::Settings,
    /// Requests that stay open to wait.
    waits: commands::waits::Waits,
    /// Who is there.
    presences: Arc<dyn tidings_broker::presence::Presences>,
    /// What is set for projects.
    settings: SettingsReader,
    finds: redaction::Finds,
    /// Where webhooks may be.
    addresses: Addresses,
    /// Whose redaction rules are looked at.
    rules_turn: admin::settings::RulesTurn,
    rates: rates::Rates,
    connected: watch::Receiver<bool>,
    metrics: metrics::Metrics,
    traces: Traces,
    tenants: tenants::Tenants,
    /// Streams, the janitor and the watch for forks end when it is cancelled.
    stop: CancellationToken,
    /// Streams, the janitor and the watch for forks.
    tasks: TaskTracker,
}

impl Ingest {
    /// An ingest on this store, for those who have the rights. Its janitor starts at once. Must be called within a Tokio
    /// runtime. `limits` are those of the process, registered, and `traces` where its spans go.
    ///
    /// # Errors
    /// When `registry` has another ingest's metrics already, or the file that declares settings is faulty.
    pub fn new(
        config: &Config,
        broker: Arc<dyn Broker>,
        rights: Rights,
        limits: tidings_limits::Metrics,
        traces: Traces,
        registry: &Registry,
    ) -> Result<Ingest, StartError> {
        let budget = Budget::new(config.ingest.requests_bytes_max());
        let activity = Activity::default();
        let settings = writer::Settings {
            dedupe: config.projects.dedupe_window(),
            wait: config.projects.wait(),
            project_bytes_max: config.ingest.project_bytes_max(&config.limits),
            healing_time: config.ingest.healing,
            healing_bytes_max: config.ingest.healing_bytes_max,
            ..writer::Settings::default()
        }
        // A call that waits for replicas may stand in a queue for as long again.
        .answer_within(config.redis.response_timeout.saturating_mul(2));
        let writer_metrics = writer::Metrics::register(registry)?;
        let connected = broker.connected();
        let kept = broker.registry();
        let presences = broker.presences();
        let ceilings = config.projects.ceilings(&config.limits);
        let declared = SettingsReader::new(kept.clone(), config.auth.declared_file.clone(), ceilings);
        let declared = declared.map_err(|faults| StartError::Declared(faults.join("; ")))?;
        let own = Arc::new(projects::Projects::new(declared.clone(), config));
        let (stop, tasks) = (CancellationToken::new(), TaskTracker::new());
        let janitor = Janitor::new(
            broker.clone(),
            janitor::Settings {
                memory_watermark_percent: config.projects.memory_watermark_percent,
                dedupe: config.projects.dedupe_window(),
                ..janitor::Settings::new(config.projects.retention())
            },
            activity.clone(),
            janitor::Metrics::register(registry)?,
        )
        .keeping(own.clone());
        let rates = rates::Rates::new(config.limits.shared(), broker.quotas(), limits);
        let http_metrics = metrics::Metrics::register(registry)?;
        let tenants = tenants::Tenants::new(config.telemetry.projects_shown, janitor.measured());
        tasks.spawn(janitor.run(stop.clone()));
        let writers = Writers::with_waits(broker.clone(), settings, own, budget.clone(), activity, writer_metrics);
        let (owners, notes) = Owners::new(broker.inboxes());
        tasks.spawn(notes.run(stop.clone()));
        let work_metrics = WorkMetrics::register(registry)?;
        let counter = Counter::new(owners, work_metrics.clone());
        let sweeper = Sweeper::new(broker.clone(), writers.clone(), declared.clone(), work_metrics);
        tasks.spawn(sweeper.run(stop.clone()));
        let (watching, until) = (writers.clone(), stop.clone());
        tasks.spawn(async move { watching.watch(until).await });
        let (reader, until) = (declared.clone(), stop.clone());
        tasks.spawn(async move { until.run_until_cancelled(reader.keep()).await.unwrap_or(()) });
        let inner = Inner {
            limits: config.limits.events(),
            deadline: config.ingest.deadline,
            windows: Windows::new(config.ingest.windows_bytes_max(), budget.clone(), config.ingest.deadline),
            weight_max: settings.project_bytes_max,
            writers,
            rights,
            broker,
            registry: kept,
            counter,
            commands: commands::Settings { lease_ms: ms(config.projects.command_lease) },
            waits: commands::waits::Waits::default(),
            presences,
            settings: declared,
            finds: redaction::Finds::register(registry)?,
            addresses: Addresses::new(config.webhooks.allowed_networks.clone()),
            rules_turn: admin::settings::RulesTurn::default(),
            rates,
            budget,
            connected,
            metrics: http_metrics,
            traces,
            tenants,
            stop,
            tasks,
        };
        let inner = Arc::new(inner);
        webhooks::begin(&inner, &config.webhooks, registry)?;
        Ok(Ingest { inner })
    }

    fn routes(&self) -> OpenApiRouter {
        let needing = |scope| from_fn_with_state(self.inner.rights.needing(Some(scope)), rights::check);
        let publishing = OpenApiRouter::new()
            .routes(routes!(publish::publish))
            .routes(routes!(hooks::claude_code))
            .route_layer(needing(Scope::Publish));
        // What administrators ask for costs more than a look into a cache.
        let administrating = self.inner.rights.needing(Some(Scope::Admin)).counting(self.inner.clone());
        let deleting = OpenApiRouter::new()
            .routes(routes!(delete::project))
            .routes(routes!(delete::session))
            .routes(routes!(admin::keys::make, admin::keys::list))
            .routes(routes!(admin::keys::revoke))
            .routes(routes!(admin::members::list))
            .routes(routes!(admin::members::put, admin::members::remove))
            .routes(routes!(admin::settings::show, admin::settings::set))
            // Behind the check of rights, which says who asks.
            .route_layer(from_fn(admin::audit::recorded))
            .route_layer(from_fn_with_state(administrating, rights::check));
        let working = OpenApiRouter::new()
            .routes(routes!(runners::put, runners::remove))
            .routes(routes!(commands::take))
            .routes(routes!(commands::events::publish))
            .routes(routes!(commands::release))
            .routes(routes!(commands::extend))
            .route_layer(needing(Scope::Work));
        // Two scopes may: it looks for itself.
        let asking = from_fn_with_state(self.inner.rights.needing(None), rights::check);
        let asking = OpenApiRouter::new().routes(routes!(commands::approvals::show)).route_layer(asking);
        publishing.merge(deleting).merge(working).merge(asking).with_state(self.inner.clone())
    }
}

fn ms(time: Duration) -> u64 {
    u64::try_from(time.as_millis()).unwrap_or(u64::MAX)
}

impl Service for Ingest {
    fn name(&self) -> &'static str {
        "ingest"
    }

    fn router(&self) -> axum::Router {
        self.routes().split_for_parts().0
    }

    fn openapi(&self) -> utoipa::openapi::OpenApi {
        self.routes().split_for_parts().1
    }

    fn projects(&self) -> Vec<prometheus::proto::MetricFamily> {
        self.inner.tenants.figures()
    }

    /// Streams end behind the group that they are at, with a last line that says so; then nothing more is taken, and
    /// what was taken is answered.
    fn drain(&self) -> BoxFuture<'_, ()> {
        async {
            self.inner.stop.cancel();
            self.inner.writers.drain().await;
        }
        .boxed()
    }

    fn finished(&self) -> BoxFuture<'_, ()> {
        async {
            self.inner.tasks.close();
            self.inner.tasks.wait().await;
        }
        .boxed()
    }

    fn open(&self) -> usize {
        self.inner.tasks.len() + self.inner.writers.open()
    }
}
