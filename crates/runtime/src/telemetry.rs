//! What a process tells of itself beside its metrics: log lines on standard error, and traces over OTLP where a collector
//! was named.

mod logs;
pub mod traces;

use tracing_subscriber::Layer as _;
use tracing_subscriber::layer::SubscriberExt as _;
use tracing_subscriber::util::SubscriberInitExt as _;

use crate::config::TelemetryConfig;
use traces::Traces;

/// Installs the process's subscriber, and a panic hook that logs. Once, by `main`; a later call changes nothing.
pub fn install(config: &TelemetryConfig, traces: &Traces) {
    let lines = tracing_subscriber::registry().with(logs::layer(config));
    let installed = match traces.layer() {
        Some(spans) => lines.with(spans.with_filter(traces::of_requests())).try_init(),
        None => lines.try_init(),
    };
    if installed.is_ok() {
        std::panic::set_hook(Box::new(logs::panic));
    }
}
