//! The gateway: fans projects' logs out to their viewers. Stateless: any viewer may land on any gateway at any time.
//!
//! Owns the read side's faces: WebSocket, server-sent events, polling, history, snapshots, exports, the page. What they
//! stand on (topics, rings, pages, cursors) is `tidings_log`'s.

mod bodies;
mod commands;
mod connections;
mod desk;
mod dialects;
mod drain;
mod encodings;
mod http;
mod limits;
mod metrics;
mod openapi;
mod presence;
mod shared;
mod shed;
mod start;
mod tenants;
mod traced;
#[cfg(test)]
#[path = "../tests/support/log.rs"]
mod written;
mod ws;

use std::sync::Arc;
use std::time::Duration;

use axum::Router;
use axum::middleware::from_fn_with_state;
use futures_util::FutureExt as _;
use futures_util::future::BoxFuture;
use parking_lot::Mutex;
use prometheus::Registry;
use prometheus::proto::MetricFamily;
use tidings_broker::Broker;
use tidings_log::hub::{Hub, HubSettings, TOPICS_MAX};
use tidings_presence::Hall;
use tidings_protocol::grant::Scope;
use tidings_runtime::busiest::Busiest;
use tidings_runtime::config::{Config, GatewayConfig};
use tidings_runtime::http::rights::{self, Rights};
use tidings_runtime::service::Service;
use tidings_runtime::telemetry::traces::Traces;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;
use utoipa_axum::router::OpenApiRouter;
use utoipa_axum::routes;

use crate::bodies::Bodies;
use crate::commands::Commands;
use crate::connections::Connections;
pub use crate::desk::StartError;
use crate::drain::Pace;
use crate::http::heads::Heads;
use crate::http::names::Names;
use crate::http::summaries::Summaries;
use crate::limits::Limits;
use crate::shared::{Settings, Shared};
use crate::shed::Shedder;

/// What the server calls itself.
pub(crate) const SERVER: &str = concat!("tidings/", env!("CARGO_PKG_VERSION"));

/// Largest message that a client may send: subscriptions are small.
const MESSAGE_BYTES_MAX: usize = 64 * 1024;

/// A gateway. Dropping it ends its tasks.
pub struct Gateway {
    shared: Arc<Shared>,
    /// The routes of dialects.
    dialects: Router,
    tasks: TaskTracker,
    stop: CancellationToken,
    /// Ends before the others: with the drain.
    shedding: CancellationToken,
}

impl Gateway {
    /// Starts a gateway over this broker, for those who have the rights; it works until it is drained. Must be called on a
    /// tokio runtime. `limits` are those of the process, registered, and `traces`
    /// where its spans go.
    ///
    /// # Errors
    /// When the registry has a gateway's metrics already, or the file that declares settings is faulty.
    pub fn new(
        config: &Config,
        broker: Arc<dyn Broker>,
        rights: Rights,
        limits: tidings_limits::Metrics,
        traces: Traces,
        registry: &Registry,
    ) -> Result<Gateway, StartError> {
        let limits = Limits::new(config.limits.shared(), broker.quotas(), limits);
        let projects_shown = config.telemetry.projects_shown;
        let tasks = TaskTracker::new();
        let stop = CancellationToken::new();
        let desk = desk::open(config, &broker, (&tasks, &stop), registry)?;
        let (config, dialects) = (&config.gateway, &config.dialects);
        let name: Arc<str> = format!("g-{:016x}", rand::random::<u64>()).into();
        let settings = HubSettings {
            ring_bytes_max: config.ring_bytes_max,
            budget_bytes: config.memory_bytes_max,
            pages_bytes_max: config.pages_bytes_max,
            tail_check: config.tail_check,
            linger: config.linger,
            topics_max: TOPICS_MAX,
            writer: Arc::clone(&name),
        };
        let hub = Hub::new(broker.clone(), settings, tasks.clone(), tidings_log::metrics::Metrics::register(registry)?);
        tasks.spawn(hub.clone().run(stop.clone()));
        let connections = Connections::default();
        let shedding = stop.child_token();
        let shed = shed::Metrics::register(registry)?;
        let shedder = Shedder::new(broker.fleet(), name.clone(), shed::Settings::of(config), connections.clone(), shed);
        tasks.spawn(shedder.run(shedding.clone()));
        let presence = Hall::new(
            broker.presences(),
            tidings_presence::Settings { lease: config.presence_lease, round: config.presence_round },
            name,
            tidings_presence::Metrics::register(registry)?,
            tasks.clone(),
            stop.clone(),
        );
        tasks.spawn(limits.places().clone().run(stop.clone()));
        tasks.spawn(watch_store(broker, connections.clone(), stop.clone()));
        let bodies = Bodies::default();
        let (keep, until) = (bodies.clone().keep(), stop.clone());
        tasks.spawn(async move { until.run_until_cancelled(keep).await.unwrap_or(()) });
        let commands = Commands::new(desk, rights.clone(), limits.clone());
        let shared = Arc::new(Shared {
            hub,
            presence,
            connections,
            bodies,
            commands: commands.clone(),
            rights,
            limits,
            metrics: metrics::Metrics::register(registry)?,
            traces,
            desk: Arc::new(commands),
            settings: Settings {
                message_bytes_max: MESSAGE_BYTES_MAX,
                ping_every: config.ping,
                stalled_after: config.stalled,
                pace: pace(config),
                closing: closing(config).min(EXPORT_CLOSING_MAX),
            },
            heads: Heads::default(),
            names: Names::default(),
            summaries: Summaries::default(),
            busiest: Mutex::new(Busiest::new(projects_shown)),
        });
        let dialects = dialects::router(dialects, &shared, &shared.metrics);
        Ok(Gateway { shared, dialects, tasks, stop, shedding })
    }

    fn documented(&self) -> OpenApiRouter {
        let needing =
            |scope| from_fn_with_state(self.shared.rights.needing(scope).counting(self.shared.clone()), rights::check);
        let of_a_project = OpenApiRouter::new()
            .routes(routes!(http::events::read))
            .routes(routes!(http::state::snapshot))
            .routes(routes!(http::state::sessions))
            .routes(routes!(http::state::session))
            .routes(routes!(http::state::logs))
            .routes(routes!(http::export::export))
            .routes(routes!(presence::list))
            .route_layer(needing(Some(Scope::Read)));
        // These look for themselves at what each project allows.
        let of_several = OpenApiRouter::new()
            .routes(routes!(ws::open))
            .routes(routes!(http::projects::list))
            .routes(routes!(commands::ask))
            .route_layer(needing(None));
        of_a_project.merge(of_several).with_state(self.shared.clone())
    }
}

/// The last part of a shutdown's time is for connections to close, when all viewers have been told: one part in so many.
const CLOSING_PARTS: u32 = 5;

/// An export that was told to end may go on for at most so long.
const EXPORT_CLOSING_MAX: Duration = Duration::from_secs(5);

/// How fast viewers are told to go.
fn pace(config: &GatewayConfig) -> Pace {
    Pace {
        per_second_max: config.drain_reconnects_per_second,
        telling_max: config.drain.saturating_sub(config.drain_notice + closing(config)),
        away_max: config.accept_delay_max,
    }
}

/// What is left for closing.
fn closing(config: &GatewayConfig) -> Duration {
    config.drain.saturating_sub(config.drain_notice) / CLOSING_PARTS
}

/// Tells viewers when the store goes away and comes back.
async fn watch_store(broker: Arc<dyn Broker>, connections: Connections, stop: CancellationToken) {
    let mut connected = broker.connected();
    loop {
        connections.set_degraded(!*connected.borrow_and_update());
        tokio::select! {
            () = stop.cancelled() => return,
            changed = connected.changed() => if changed.is_err() { return },
        }
    }
}

impl Service for Gateway {
    fn name(&self) -> &'static str {
        "gateway"
    }

    fn router(&self) -> Router {
        self.documented().split_for_parts().0.merge(http::page::router()).merge(self.dialects.clone())
    }

    fn openapi(&self) -> utoipa::openapi::OpenApi {
        self.documented().split_for_parts().1
    }

    fn projects(&self) -> Vec<MetricFamily> {
        tenants::figures(&self.shared.hub, &self.shared.busiest)
    }

    fn drain(&self) -> BoxFuture<'_, ()> {
        self.shedding.cancel();
        self.shared.connections.drain(self.shared.settings.pace).boxed()
    }

    fn finished(&self) -> BoxFuture<'_, ()> {
        async {
            let connections = self.shared.connections.tasks();
            connections.close();
            connections.wait().await;
            self.shared.commands.desk().drain().await;
            self.stop.cancel();
            self.tasks.close();
            self.tasks.wait().await;
        }
        .boxed()
    }

    fn open(&self) -> usize {
        self.shared.connections.len()
    }
}

impl Drop for Gateway {
    fn drop(&mut self) {
        self.stop.cancel();
    }
}
