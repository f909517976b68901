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
