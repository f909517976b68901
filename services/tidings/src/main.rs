//! `tidings`: one binary with a subcommand for each service, for dev mode and for the tools.
//!
//! `main` answers what starts, in what order: read the command line, load the configuration, install telemetry, build a
//! runtime, run. Exit codes: 0 done, 1 failed, 2 a command line that cannot be read, 64 a configuration with faults.

mod admin;
mod banner;
mod cli;
mod client;
mod commands;
mod demo;
mod descriptors;
mod doctor;
mod replay;
mod serve;
mod tail;
mod terminal;
mod token;
mod tool;

use std::io::Write as _;
use std::process::ExitCode;

use anyhow::Context as _;
use clap::Parser as _;
use tidings_runtime::config::{Config, EXIT_CODE, Faults, Loaded, LogFilter, Sources};
use tidings_runtime::telemetry::{self, traces::Traces};

use crate::cli::{Cli, Command, ConfigAction};
use crate::serve::Mode;

#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

fn main() -> ExitCode {
    // An error says that there is one already, and this is the first line that runs.
    let _ = rustls::crypto::aws_lc_rs::default_provider().install_default();
    let cli = Cli::parse();
    let outcome = match cli.command {
        Command::Gateway(flags) => serve(Mode::Gateway, &flags.sources("gateway")),
        Command::Ingest(flags) => serve(Mode::Ingest, &flags.sources("ingest")),
        Command::All(flags) => serve(Mode::All, &flags.sources("gateway")),
        Command::Dev(flags) => serve(Mode::Dev, &flags.sources()),
        Command::Demo(flags) => tool::run(|stop| async move { demo::run(&flags, stop).await }),
        Command::Replay(flags) => tool::run(|stop| async move { replay::run(&flags, stop).await }),
        Command::Tail(flags) => tool::run(|stop| async move { tail::run(&flags, stop).await }),
        Command::Commands(flags) => tool::run(|stop| async move { commands::run(&flags, stop).await }),
        Command::Token { action } => mint(&action),
        Command::Key { action } => tool::run(|_| admin::key(action)),
        Command::Project { action } => tool::run(|_| admin::project(action)),
        Command::Doctor(flags) => doctor(&flags),
        Command::Config { action, flags } => config(action, &flags.sources()),
    };
    outcome.unwrap_or_else(|error| fail(&format!("{error:#}"), ExitCode::FAILURE))
}

/// Runs a service until it is told to stop.
fn serve(mode: Mode, sources: &Sources) -> anyhow::Result<ExitCode> {
    let descriptors = descriptors::raise();
    let Some(mut loaded) = load(sources) else { return Ok(ExitCode::from(EXIT_CODE)) };
    if mode == Mode::Dev {
        if !loaded.config.is_open() {
            writeln!(std::io::stderr(), "tidings: dev mode runs open, for this machine only: [auth] is passed over")?;
        }
        loaded = match loaded.opened() {
            Ok(loaded) => loaded,
            Err(faults) => return Ok(faulty(&faults)),
        };
    }
    if mode == Mode::Dev && !loaded.origins.contains_key("telemetry.log_filter") {
        // Who tries it out reads the few lines that dev mode prints; what goes wrong still shows.
        loaded.config.telemetry.log_filter = LogFilter::warnings();
    }
    let traces = Traces::start(&loaded.config.telemetry, mode.name())?;
    telemetry::install(&loaded.config.telemetry, &traces);
    tracing::info!(config = ?loaded.config, "configuration");
    descriptors.log();
    let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build().context("cannot start")?;
    let served = runtime.block_on(serve::run(mode, &loaded, &traces));
    traces.finish();
    served?;
    Ok(ExitCode::SUCCESS)
}

/// `tidings token mint`: prints a token.
fn mint(token::Action::Mint(flags): &token::Action) -> anyhow::Result<ExitCode> {
    let Some(loaded) = load(&flags.sources()) else { return Ok(ExitCode::from(EXIT_CODE)) };
    tool::say(&format!("{}\n", token::mint(flags, &loaded.config.auth)?))?;
    Ok(ExitCode::SUCCESS)
}

/// `tidings doctor`: looks at a deployment, by the configuration of its services.
fn doctor(flags: &doctor::Flags) -> anyhow::Result<ExitCode> {
    let Some(loaded) = load(&flags.sources()) else { return Ok(ExitCode::from(EXIT_CODE)) };
    tool::run(|stop| async move { doctor::run(flags, &loaded.config, stop).await })
}

/// `tidings config`: what is wrong with the configuration, or what it is.
fn config(action: ConfigAction, sources: &Sources) -> anyhow::Result<ExitCode> {
    let Some(loaded) = load(sources) else { return Ok(ExitCode::from(EXIT_CODE)) };
    let text = match action {
        ConfigAction::Check => "the configuration is sound\n".to_owned(),
        ConfigAction::Show => loaded.show(),
    };
    std::io::stdout().write_all(text.as_bytes()).context("cannot write")?;
    Ok(ExitCode::SUCCESS)
}

/// The configuration; none: it has faults, and all of them have been told.
fn load(sources: &Sources) -> Option<Loaded> {
    Config::load(sources).inspect_err(|faults| _ = faulty(faults)).ok()
}

/// Tells every fault of a configuration.
fn faulty(faults: &Faults) -> ExitCode {
    fail(&faults.to_string(), ExitCode::from(EXIT_CODE))
}

fn fail(message: &str, code: ExitCode) -> ExitCode {
    // Where even standard error is gone, the code still tells.
    let _ = writeln!(std::io::stderr(), "tidings: {message}");
    code
}
