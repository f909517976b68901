//! How a tool runs: on one thread, until it is done or told to stop.

use std::process::ExitCode;

use anyhow::Context as _;
use tidings_runtime::drain::Signals;
use tokio_util::sync::CancellationToken;

/// Runs a tool. `stop` is cancelled by the first signal to end; by the second, the tool is left where it is.
pub(crate) fn run<F>(tool: impl FnOnce(CancellationToken) -> F) -> anyhow::Result<ExitCode>
where
    F: Future<Output = anyhow::Result<ExitCode>>,
{
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().context("cannot start")?;
    let outcome = runtime.block_on(async {
        let mut signals = Signals::listen().context("cannot listen for signals")?;
        let stop = CancellationToken::new();
        let stopped = async {
            signals.next().await;
            stop.cancel();
            signals.next().await;
        };
        tokio::select! {
            outcome = tool(stop.clone()) => outcome,
            () = stopped => Ok(ExitCode::SUCCESS),
        }
    });
    // A write to a reader that takes nothing would be waited for otherwise.
    runtime.shutdown_background();
    outcome
}

/// Says something for people, on standard output. Nobody there to read it is no failure.
pub(crate) fn say(text: &str) -> anyhow::Result<()> {
    use std::io::{ErrorKind, Write as _};
    let mut stdout = std::io::stdout().lock();
    match stdout.write_all(text.as_bytes()).and_then(|()| stdout.flush()) {
        Err(error) if error.kind() != ErrorKind::BrokenPipe => Err(error).context("cannot write"),
        _ => Ok(()),
    }
}

/// Reads a number above zero from the command line.
pub(crate) fn positive(text: &str) -> Result<f64, String> {
    match text.parse::<f64>() {
        Ok(number) if number.is_finite() && number > 0.0 => Ok(number),
        _ => Err("expected a number above zero".to_owned()),
    }
}
