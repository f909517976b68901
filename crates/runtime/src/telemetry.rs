//! Logs: structured lines on standard error, JSON unless a person is looking. No payloads, tokens or addresses; what an
//! event holds is never logged.

use std::io::IsTerminal;

use tracing_subscriber::EnvFilter;
use tracing_subscriber::fmt::format::FmtSpan;
use tracing_subscriber::util::SubscriberInitExt;

use crate::config::{LogFormat, TelemetryConfig};

/// Installs the process's subscriber, and a panic hook that logs. Once, by `main`; a later call changes nothing.
pub fn install(config: &TelemetryConfig) {
    // The configuration has parsed it once already.
    let filter = EnvFilter::try_new(config.log_filter.as_str()).unwrap_or_else(|_| EnvFilter::new("info"));
    let on_terminal = std::io::stderr().is_terminal();
    let json = match config.log_format {
        LogFormat::Auto => !on_terminal,
        LogFormat::Json => true,
        LogFormat::Text => false,
    };
    let lines = tracing_subscriber::fmt()
        .with_env_filter(filter)
        .with_writer(std::io::stderr)
        .with_ansi(on_terminal)
        .with_span_events(FmtSpan::NONE);
    let installed = if json { lines.json().flatten_event(true).finish().try_init() } else { lines.finish().try_init() };
    if installed.is_ok() {
        std::panic::set_hook(Box::new(log_panic));
    }
}

/// Where it happened, and what it said. The answer to the client is another matter (`http::problem`).
fn log_panic(panic: &std::panic::PanicHookInfo<'_>) {
    let place = panic.location().map(ToString::to_string).unwrap_or_default();
    let thread = std::thread::current().name().unwrap_or("?").to_owned();
    let backtrace = std::backtrace::Backtrace::capture().to_string();
    let message = panic.payload_as_str().unwrap_or("?");
    tracing::error!(message, panic.place = place, panic.thread = thread, panic.backtrace = backtrace, "panic");
}
