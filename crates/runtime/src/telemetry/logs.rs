//! Logs: structured lines on standard error, JSON unless a person is looking. No payloads, tokens or addresses; what an
//! event holds is never logged. A line that belongs to a traced request has its `trace_id`.

use std::io::IsTerminal;

use tracing::Subscriber;
use tracing_subscriber::fmt::format::FmtSpan;
use tracing_subscriber::registry::LookupSpan;
use tracing_subscriber::{EnvFilter, Layer};

use super::traces;
use crate::config::{LogFormat, TelemetryConfig};

/// What writes the lines.
pub(super) fn layer<S>(config: &TelemetryConfig) -> Box<dyn Layer<S> + Send + Sync>
where
    S: Subscriber + for<'a> LookupSpan<'a> + Send + Sync,
{
    // The configuration has parsed it once already.
    let filter = EnvFilter::try_new(config.log_filter.as_str()).unwrap_or_else(|_| EnvFilter::new("info"));
    let filter = filter.add_directive(traces::directive());
    let on_terminal = std::io::stderr().is_terminal();
    let json = match config.log_format {
        LogFormat::Auto => !on_terminal,
        LogFormat::Json => true,
        LogFormat::Text => false,
    };
    let lines = tracing_subscriber::fmt::layer()
        .with_writer(std::io::stderr)
        .with_ansi(on_terminal)
        .with_span_events(FmtSpan::NONE);
    if json {
        lines.json().flatten_event(true).with_span_list(false).with_filter(filter).boxed()
    } else {
        lines.with_filter(filter).boxed()
    }
}

/// Where it happened, and what it said. The answer to the client is another matter (`http::problem`).
pub(super) fn panic(panic: &std::panic::PanicHookInfo<'_>) {
    let place = panic.location().map(ToString::to_string).unwrap_or_default();
    let thread = std::thread::current().name().unwrap_or("?").to_owned();
    let backtrace = std::backtrace::Backtrace::capture().to_string();
    let message = panic.payload_as_str().unwrap_or("?");
    tracing::error!(message, panic.place = place, panic.thread = thread, panic.backtrace = backtrace, "panic");
}
