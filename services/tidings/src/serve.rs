//! Building what a subcommand serves, and running it: ports, store, services, signals, in this order, so that nothing
//! is started for a process that cannot have its ports.

use std::io::Write as _;
use std::net::SocketAddr;
use std::sync::Arc;

use anyhow::Context as _;
use prometheus::Registry;
use tidings_broker::Broker;
use tidings_broker::memory::MemoryBroker;
use tidings_broker::redis::{RedisBroker, RedisMetrics, RedisSettings};
use tidings_gateway::Gateway;
use tidings_ingest::Ingest;
use tidings_runtime::config::{Config, Loaded};
use tidings_runtime::drain::{DrainTimes, Outcome, Signals};
use tidings_runtime::http::rights::Rights;
use tidings_runtime::http::{BindError, Listener};
use tidings_runtime::process::Process;
use tidings_runtime::service::Service;
use tidings_runtime::telemetry::traces::Traces;
use tokio_util::sync::CancellationToken;
use tokio_util::task::AbortOnDropHandle;

use crate::banner;

/// What a process serves.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Mode {
    /// The gateway, on Redis.
    Gateway,
    /// The ingest, on Redis.
    Ingest,
    /// Both on one listener, on Redis.
    All,
    /// Both on one listener, in memory.
    Dev,
}

impl Mode {
    /// As the subcommand is called.
    pub(crate) fn name(self) -> &'static str {
        match self {
            Mode::Gateway => "gateway",
            Mode::Ingest => "ingest",
            Mode::All => "all",
            Mode::Dev => "dev",
        }
    }
}

/// Serves until a signal comes and the shutdown is over.
pub(crate) async fn run(mode: Mode, loaded: &Loaded, traces: &Traces) -> anyhow::Result<()> {
    let config = &loaded.config;
    let (listener, admin) = bind(mode, loaded)?;
    let registry = registry()?;
    let broker = broker(mode, config, &registry)?;
    let rights = rights(config, &broker, &registry)?;
    traces.register(&registry).context("cannot start")?;
    let services = services(mode, config, &broker, &rights, traces, &registry)?;
    // Until the process ends: keys change, and what is open may lose its right.
    let _kept = AbortOnDropHandle::new(tokio::spawn(async move { rights.keep().await }));
    let mut signals = Signals::listen().context("cannot listen for signals")?;
    if mode == Mode::Dev {
        let lines = banner::text(listener.address(), admin.address(), config.gateway.tls_cert_file.is_some());
        std::io::stdout().write_all(lines.as_bytes()).context("cannot write")?;
    }
    let drain = match mode {
        Mode::Ingest => DrainTimes { notice: config.ingest.drain_notice, total: config.ingest.drain },
        Mode::Gateway | Mode::All | Mode::Dev => {
            DrainTimes { notice: config.gateway.drain_notice, total: config.gateway.drain }
        }
    };
    let entry = match mode {
        Mode::Ingest => config.ingest_entry(),
        Mode::Gateway | Mode::All | Mode::Dev => config.gateway_entry(),
    };
    let admin_guard = config.admin_guard();
    let process = Process { listener, entry, admin, admin_guard, services, broker, registry, drain };
    let (stop, force) = (CancellationToken::new(), CancellationToken::new());
    let hear = async {
        let signal = signals.next().await;
        tracing::info!(signal, "stopping");
        stop.cancel();
        signals.next().await;
        force.cancel();
        std::future::pending::<std::convert::Infallible>().await
    };
    let outcome = tokio::select! {
        outcome = process.serve(stop.cancelled(), force.cancelled()) => outcome?,
        never = hear => match never {},
    };
    match outcome {
        // What was cut has been logged; clients go on elsewhere, which is what resuming is for.
        Outcome::Complete | Outcome::Cut(_) => Ok(()),
    }
}

/// Takes both ports.
fn bind(mode: Mode, loaded: &Loaded) -> Result<(Listener, Listener), BindError> {
    let config = &loaded.config;
    let (address, admin) = match mode {
        Mode::Ingest => (config.ingest.listen, config.ingest.admin_listen),
        Mode::Gateway | Mode::All | Mode::Dev => (config.gateway.listen, config.gateway.admin_listen),
    };
    let listener = Listener::bind(address)?;
    let admin = match Listener::bind(admin) {
        // Nobody asked for this port, and a second `tidings dev --port` should just start; the banner names the other.
        Err(BindError::InUse(_)) if mode == Mode::Dev && !loaded.origins.contains_key("gateway.admin_listen") => {
            Listener::bind(SocketAddr::new(admin.ip(), 0))?
        }
        bound => bound?,
    };
    Ok((listener, admin))
}

/// A registry with what every process says of itself.
fn registry() -> anyhow::Result<Registry> {
    let registry = Registry::new();
    registry.register(Box::new(prometheus::process_collector::ProcessCollector::for_self()))?;
    let build = prometheus::opts!("tidings_build_info", "Always 1; the version is a label.")
        .const_label("version", env!("CARGO_PKG_VERSION"));
    let build = prometheus::IntGauge::with_opts(build)?;
    build.set(1);
    registry.register(Box::new(build))?;
    Ok(registry)
}

/// The store: in memory for dev mode, else Redis, whether it can be reached now or not.
fn broker(mode: Mode, config: &Config, registry: &Registry) -> anyhow::Result<Arc<dyn Broker>> {
    match mode {
        Mode::Dev => Ok(Arc::new(MemoryBroker::new())),
        Mode::Gateway | Mode::Ingest | Mode::All => {
            let redis = &config.redis;
            tracing::info!(url = redis.url.redacted(), prefix = redis.prefix.as_str(), "using redis");
            let settings = RedisSettings { metrics: RedisMetrics::register(registry)?, ..redis.settings() };
            Ok(Arc::new(RedisBroker::connect(&settings)?))
        }
    }
}

/// Who may do what; one for all services of the process.
fn rights(config: &Config, broker: &Arc<dyn Broker>, registry: &Registry) -> anyhow::Result<Rights> {
    let told = |faults: Vec<(&'static str, String)>| {
        let faults: Vec<String> = faults.into_iter().map(|(key, message)| format!("{key}: {message}")).collect();
        anyhow::anyhow!(faults.join("; "))
    };
    // The configuration was checked; only a file that was changed since can be at fault.
    let authenticator = config.auth.authenticator(tidings_registry::stores(broker.registry())).map_err(told)?;
    Ok(Rights::new(authenticator, registry)?)
}

/// The services of a mode, on one store, with one set of rights and one registry.
fn services(
    mode: Mode,
    config: &Config,
    broker: &Arc<dyn Broker>,
    rights: &Rights,
    traces: &Traces,
    registry: &Registry,
) -> anyhow::Result<Vec<Arc<dyn Service>>> {
    let limits = tidings_limits::Metrics::register(registry)?;
    let mut services: Vec<Arc<dyn Service>> = Vec::new();
    if matches!(mode, Mode::Gateway | Mode::All | Mode::Dev) {
        services.push(Arc::new(Gateway::new(
            config,
            broker.clone(),
            rights.clone(),
            limits.clone(),
            traces.clone(),
            registry,
        )?));
    }
    if matches!(mode, Mode::Ingest | Mode::All | Mode::Dev) {
        services.push(Arc::new(Ingest::new(config, broker.clone(), rights.clone(), limits, traces.clone(), registry)?));
    }
    Ok(services)
}
