//! The gateway: fans projects' logs out to their viewers. Stateless: any viewer may land on any gateway at any time.
//!
//! Owns the read side's faces: WebSocket, server-sent events, polling, history, snapshots, exports, the page. What they
//! stand on (topics, rings, pages, cursors) is `tidings_log`'s.

mod bodies;
mod connections;
mod encodings;
mod http;
mod limits;
mod metrics;
mod openapi;
mod presence;
mod shared;
mod start;
mod tenants;
mod traced;
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
use tidings_runtime::config::Config;
use tidings_runtime::http::rights::{self, Rights};
use tidings_runtime::service::Service;
use tidings_runtime::telemetry::traces::Traces;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;
use utoipa_axum::router::OpenApiRouter;
use utoipa_axum::routes;

use crate::bodies::Bodies;
use crate::connections::Connections;
use crate::http::heads::Heads;
use crate::http::names::Names;
use crate::http::summaries::Summaries;
use crate::limits::Limits;
use crate::shared::{Settings, Shared};

/// What the server calls itself.
pub(crate) const SERVER: &str = concat!("tidings/", env!("CARGO_PKG_VERSION"));

/// Largest message that a client may send: subscriptions are small.
const MESSAGE_BYTES_MAX: usize = 64 * 1024;

/// A gateway. Dropping it ends its tasks.
pub struct Gateway {
    shared: Arc<Shared>,
    tasks: TaskTracker,
    stop: CancellationToken,
}

impl Gateway {
    /// Starts a gateway over this broker, for those who have the rights; it works until it is drained. Must be called on a
    /// tokio runtime. `limits` are those of the process, registered, and `traces`
    /// where its spans go.
    ///
    /// # Errors
    /// When the registry has a gateway's metrics already.
    pub fn new(
        config: &Config,
        broker: Arc<dyn Broker>,
        rights: Rights,
        limits: tidings_limits::Metrics,
        traces: Traces,
        registry: &Registry,
    ) -> Result<Gateway, prometheus::Error> {
        let limits = Limits::new(config.limits.shared(), broker.quotas(), limits);
        let projects_shown = config.telemetry.projects_shown;
        let config = &config.gateway;
        let tasks = TaskTracker::new();
        let stop = CancellationToken::new();
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
        let shared = Arc::new(Shared {
            hub,
            presence,
            connections,
            bodies,
            rights,
            limits,
            metrics: metrics::Metrics::register(registry)?,
            traces,
            settings: Settings {
                message_bytes_max: MESSAGE_BYTES_MAX,
                ping_every: config.ping,
                stalled_after: config.stalled,
                drain_window: config.drain.min(DRAIN_WINDOW_MAX),
            },
            heads: Heads::default(),
            names: Names::default(),
            summaries: Summaries::default(),
            busiest: Mutex::new(Busiest::new(projects_shown)),
        });
        Ok(Gateway { shared, tasks, stop })
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
            .route_layer(needing(None));
        of_a_project.merge(of_several).with_state(self.shared.clone())
    }
}

/// Viewers are told to come back over at most this time.
const DRAIN_WINDOW_MAX: Duration = Duration::from_secs(5);

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
        self.documented().split_for_parts().0.merge(http::page::router())
    }

    fn openapi(&self) -> utoipa::openapi::OpenApi {
        self.documented().split_for_parts().1
    }

    fn projects(&self) -> Vec<MetricFamily> {
        tenants::figures(&self.shared.hub, &self.shared.busiest)
    }

    fn drain(&self) -> BoxFuture<'_, ()> {
        self.shared.connections.drain(self.shared.settings.drain_window);
        std::future::ready(()).boxed()
    }

    fn finished(&self) -> BoxFuture<'_, ()> {
        async {
            let connections = self.shared.connections.tasks();
            connections.close();
            connections.wait().await;
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
